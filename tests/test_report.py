"""What notebooks save: rows, figures and provenance; what they read back; the README's table."""

import platform
import subprocess
import time

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from pathemo import report
from pathemo.metrics import ROW_COLUMNS, score_rows


def some_rows(**key):
    key = {"protocol": "svm", "target": "emodb", "fold": "1", "seed": 0} | key
    return score_rows(list("aabb"), list("aaab"), list("wwxx"), corpus_version="v", **key)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, the working directory of the test."""
    (tmp_path / "environment.yml").write_text("name: pathemo\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_rows(folder, *tables):
    """Write the result rows of a notebook into its folder of a report."""
    folder.mkdir(parents=True)
    pd.concat(tables).to_csv(folder / "rows.csv.gz", index=False)


@pytest.fixture
def shell():
    shell = InteractiveShell.instance()
    yield shell
    InteractiveShell.clear_instance()


def test_parameters_are_those_that_setup_finds(shell):
    """All variables with a type of literals are parameters, and none that comes later is.

    Set up a second time, their names are the same, and their values those of now.
    """
    shell.run_cell("data, seeds, space = 'synthetic', [0, 1], {'dropout': [0.5]}\nrate = 0.1")
    shell.run_cell("import time\nfrom pathemo import report")
    expected = {"data": "synthetic", "seeds": [0, 1], "space": {"dropout": [0.5]}, "rate": 0.1}
    first = report.parameters()
    assert first == expected
    shell.run_cell("started, n = 2.5, 3\nseeds.append(2)")
    assert report.parameters() == expected | {"seeds": [0, 1, 2]}
    assert first == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda rows: rows.drop(columns="seed"), "have columns"),
        (lambda rows: pd.concat([rows, rows]), "4 of 8 result rows are there twice"),
        (lambda rows: rows.assign(value=None), "without a note"),
    ],
)
def test_wrong_rows_are_not_saved(project, wrong, message):
    """A column too few, a row twice, a value missing without a note: refused, nothing written."""
    with pytest.raises(ValueError, match=message):
        report.save_rows(wrong(some_rows()))
    assert not (project / "reports").exists()


def test_interactive_use_writes_under_the_notebooks_name(project, monkeypatch):
    """Outside the runner, rows (rounded) and pictures go to reports/interactive/<notebook>/."""
    monkeypatch.setenv("JPY_SESSION_NAME", "somewhere/02_two.ipynb")
    report.save_rows(some_rows().assign(value=1 / 3))
    picture = report.save_figure(plt.figure(figsize=(1, 1)), "blank", alt="Nothing")
    rows = report.rows("02_two", profile="interactive")
    assert rows["value"].tolist() == [0.3333] * 4
    assert list(rows) == ["notebook", *ROW_COLUMNS]
    path = project / "reports" / "interactive" / "02_two" / "blank.png"
    assert path.read_bytes() == picture.data
    assert picture.alt == "Nothing"
    assert not plt.get_fignums()
    with pytest.raises(ValueError, match="'a b'"):
        report.save_figure(plt.figure(), "a b", alt="")


def test_rows_come_back_as_they_were(project, monkeypatch):
    """Speakers "03" and "NA" stay text; what is not there is named, with the way to it."""
    rows = some_rows().replace({"w": "03", "x": "NA"})
    write_rows(project / "reports" / "small" / "02_two", rows)
    monkeypatch.setenv("PATHEMO_PROFILE", "small")
    assert set(report.rows()["speaker"]) == {"03", "NA"}
    assert report.rows("02_two")["value"].tolist() == rows["value"].tolist()
    with pytest.raises(report.NotRun, match="no rows of 03_three: python -m pathemo run small"):
        report.rows("02_two", "03_three")
    with pytest.raises(report.NotRun, match="reports/quick has no rows of any notebook"):
        report.rows(profile="quick")


def test_provenance_has_no_path_and_no_host(project):
    """It names commit, parameters, corpora, versions, device and duration."""
    index = pd.DataFrame({"corpus": ["emodb"] * 2, "clip": ["a", "b"], "speaker": ["03", "03"]})
    index.attrs["version"] = "synthetic-12345678"
    table = report.provenance({"seeds": 3}, [index], time.perf_counter() - 2)
    facts = table["value"]
    assert facts["parameter seeds"] == "3"
    assert facts["corpus emodb"] == "synthetic-12345678, 2 clips, 1 speakers"
    assert facts["commit"] == "unknown: no git here"
    assert facts["duration"] in ("2.0 s", "2.1 s")
    assert str(project) not in table.to_csv()
    assert platform.node() not in table.to_csv()


def test_the_commit_says_what_is_not_committed(project, monkeypatch):
    """Changes of the project count, those of its reports do not; nor does a repository that merely
    holds the project's folder.
    """

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    write_rows(project / "reports" / "small" / "02_two", some_rows())
    commit = git("rev-parse", "HEAD")[:7]
    assert report._commit() == commit
    below = project / "downloaded"
    (below / "environment.yml").parent.mkdir()
    (project / "environment.yml").rename(below / "environment.yml")
    monkeypatch.chdir(below)
    assert report._commit() == "unknown: no git here"
    monkeypatch.chdir(project)
    (below / "environment.yml").rename(project / "environment.yml")
    (project / "new.py").touch()
    assert report._commit() == f"{commit} with uncommitted changes"


def test_readme_table_follows_the_paper_profile(project):
    """`readme` writes the table between the markers; `check` only tells, and passes after it."""
    part = some_rows(protocol="logistic", variant="training_speakers=2", target="savee")
    shown = [some_rows(protocol="logistic", inputs=i) for i in ("plain", "speaker-normalised")]
    write_rows(project / "reports" / "paper" / "02_two", *shown, part)
    readme = project / "README.md"
    readme.write_text("above\n<!-- results -->\nold\n<!-- end of results -->\nbelow\n")
    with pytest.raises(ValueError, match="python -m pathemo readme"):
        report.readme(check=True)
    report.readme()
    report.readme(check=True)
    text = readme.read_text()
    assert text.startswith("above\n<!-- results -->\n")
    assert "| emodb | 75.0 / 75.0 |" in text and "savee" not in text
    assert text.endswith("<!-- end of results -->\nbelow\n")
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="lacks the lines"):
        report.readme(check=True)


def test_outside_of_a_project_nothing_is_guessed(tmp_path, monkeypatch):
    """Without an environment.yml here or above, the error says where to start."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="start this inside the project's folder"):
        report.rows()
