import gzip
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pathemo import report, runner
from pathemo.metrics import ROW_COLUMNS, not_run_rows, score_rows

PROJECT = Path(__file__).parents[1]
PICTURE = """import matplotlib.pyplot as plt
from pathemo import report
figure, ax = plt.subplots(figsize=(2, 1))
report.save_figure(figure, "line", alt="An empty plot, naïvely")"""
SLEEP = """import os, pathlib, time
if "NAP" in os.environ:
    pathlib.Path(os.environ["NAP"]).touch()
    time.sleep(60)"""
ROWS = """from pathemo.metrics import score_rows
rows = score_rows(["anger", "fear"] * 2, ["anger"] * 4, ["03", "03", "NA", "NA"], protocol="svm",
                  target="emodb", corpus_version="synthetic-0", fold="1", seed=0)
rows = report.save_rows(rows)"""


def write_notebook(name, *cells, parameters="seed = 0  # of every draw", title="A title", text=""):
    markdown = f"# {title}\n\n## Question\nIs $x^2$ right?\nIt costs nothing.\n\n{text}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(metadata={"kernelspec": kernel})
    notebook.cells.append(new_markdown_cell(markdown))
    notebook.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook.cells += [new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, Path("notebooks") / f"{name}.ipynb")


def write_profile(notebooks, **settings):
    settings = {"data": "synthetic", "notebooks": notebooks} | settings
    Path("reports/small.yaml").write_text(yaml.safe_dump(settings))


def some_rows(**key):
    key = {
        "protocol": "svm",
        "target": "emodb",
        "corpus_version": "v",
        "fold": "1",
        "seed": 0,
    } | key
    return score_rows(list("aabb"), list("aaab"), list("wwxx"), **key)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, the working directory of the test."""
    for folder in ("notebooks", "reports"):
        (tmp_path / folder).mkdir()
    (tmp_path / "environment.yml").write_text("name: small\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PATHEMO_DATA", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Report of one notebook, which makes a picture and rows, and its times before it was run once
    more.
    """
    with pytest.MonkeyPatch.context() as patch:
        project = tmp_path_factory.mktemp("finished")
        patch.chdir(project)
        Path("environment.yml").write_text("name: small\n")
        Path("notebooks").mkdir()
        Path("reports").mkdir()
        write_notebook(
            "01_one", PICTURE, ROWS, "import os\nprint(os.getcwd(), seed)", title="The first"
        )
        write_profile({"01_one": {"seed": 7}})
        runner.run("small")
        folder = project / "reports" / "small"
        times = {path: path.stat().st_mtime_ns for path in folder.glob("01_one.*")}
        runner.run("small")
        yield folder, times


def test_a_report_has_notebook_pages_rows_and_figure(finished):
    """A run leaves the executed notebook, its rows, its figure and the pages, and nothing of its
    work.
    """
    folder, _ = finished
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    files = {path.as_posix() for path in files if not path.parts[0].startswith("_")}
    assert files - {".lock"} == {
        "01_one.ipynb",
        "figures/01_one_line.png",
        "rows/01_one.csv.gz",
        "state/01_one.json",
        "results.csv.gz",
        "provenance.json",
        "README.md",
        "01_one.html",
        "index.html",
        "provenance.html",
        "results.html",
        "search.html",
        "searchindex.js",
    }


def test_what_is_up_to_date_is_not_run_again(finished):
    """The second run touches neither notebook nor page."""
    _, times = finished
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_parameters_and_working_directory(finished):
    """The notebook runs in notebooks/ with the profile's parameter; its report has no path of the
    machine.
    """
    folder, _ = finished
    cells = nbformat.read(folder / "01_one.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].text == "PROJECT/notebooks 7\n"
    for path in folder.rglob("*.*"):
        if path.suffix in (".ipynb", ".html", ".js", ".json", ".md"):
            assert str(folder.parents[1]) not in path.read_text(encoding="utf-8")


def test_a_picture_keeps_what_looks_like_a_path(project, monkeypatch):
    """Base64 has slashes: a short home, here /ci, is taken out of texts and paths, not out of
    pictures.
    """
    monkeypatch.setenv("HOME", "/ci")
    shown = {"image/png": "iVBO/ciB/ci/0A==", "text/plain": f"/ci/x\n/cider {project}/notebooks"}
    cell = new_code_cell("", outputs=[nbformat.v4.new_output("display_data", data=shown)])
    [cell] = runner._anonymous(new_notebook(cells=[cell])).cells
    assert cell.outputs[0].data == shown | {"text/plain": "HOME/x\n/cider PROJECT/notebooks"}


def test_result_rows_come_back(finished, monkeypatch):
    """results.csv.gz has all rows with their notebook; `rows` reads speakers "03" and "NA" as
    text.
    """
    folder, _ = finished
    monkeypatch.chdir(folder)
    rows = report.rows("01_one", profile="small")
    assert sorted(set(rows["speaker"])) == ["03", "NA"]
    assert rows["value"].tolist() == [0.5] * 4
    assert list(pd.read_csv(folder / "results.csv.gz")) == ["notebook", *ROW_COLUMNS]
    with pytest.raises(FileNotFoundError, match="02_two"):
        report.rows("02_two", profile="small")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sed": 1}, r"01_one has no parameter 'sed', only seed"),
        ({"seed": "1"}, r"01_one: seed must be int like its default 0, not str '1'"),
        ({"seed": True}, r"seed must be int like its default 0, not bool True"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(project, parameters, message):
    """An unknown parameter or another type than the default's: the message has notebook and
    parameter.
    """
    write_notebook("00_zero")
    write_notebook("01_one")
    write_profile({"00_zero": {}, "01_one": parameters})
    with pytest.raises(ValueError, match=message):
        runner.run("small")
    assert not (project / "reports" / "small").exists()


@pytest.mark.parametrize("cell", ["seed: int = 0", "seed = 1 + rate", "print(0)"])
def test_parameters_are_literals(project, cell):
    """A parameters cell with anything but `name = literal` is refused."""
    write_notebook("01_one", parameters=cell)
    write_profile({"01_one": {}})
    with pytest.raises(ValueError, match="name = literal"):
        runner.run("small")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "real"}, "synthetic or recorded"),
        ({"sedes": 1}, "sedes"),
        ({"reads": {"01_one": ["09"]}}, "'09'"),
    ],
)
def test_a_profile_with_unknown_settings_is_refused(project, settings, message):
    """A setting, a kind of data or a notebook that is not known is named."""
    write_notebook("01_one")
    write_profile({"01_one": {}}, **settings)
    with pytest.raises(ValueError, match=message):
        runner.run("small")


def test_unknown_names_are_answered_with_the_valid_ones(project):
    """A profile or notebook that is not there: the message lists those that are."""
    write_notebook("01_one")
    write_profile({"01_one": {}})
    with pytest.raises(ValueError, match="no profile 'smal': reports/ has small"):
        runner.run("smal")
    with pytest.raises(ValueError, match="no notebook '02' in profile small: 01_one"):
        runner.run("small", only="02")


def test_outdated_rows_are_not_mixed_with_new_ones(project):
    """Rows that moved from one notebook to another do not stop the run, and stand in results.csv.gz
    once.
    """
    write_notebook("01_one", "from pathemo import report\n" + ROWS)
    write_notebook("02_two")
    write_profile({"01_one": {}, "02_two": {}})
    runner.run("small")
    write_notebook("01_one")
    write_notebook("02_two", "from pathemo import report\n" + ROWS)
    runner.run("small", only="02_two")
    results = pd.read_csv(project / "reports" / "small" / "results.csv.gz")
    assert results["notebook"].tolist() == ["02_two"] * 4


def test_a_failing_notebook_stops_with_one_message_and_no_report(project):
    """The message has notebook, cell, error and where to look; finished reports stay, it gets
    none.
    """
    write_notebook("00_zero")
    write_notebook("01_one", "x = {}", "x['missing']")
    write_notebook("02_two")
    write_profile({"00_zero": {}, "01_one": {}, "02_two": {}})
    with pytest.raises(RuntimeError) as stopped:
        runner.run("small")
    assert str(stopped.value) == (
        "01_one: cell [3] stopped with KeyError: 'missing'\n"
        "The notebook as far as it came: reports/small/failed/01_one.ipynb"
    )
    folder = project / "reports" / "small"
    assert sorted(path.name for path in folder.glob("*.ipynb")) == ["00_zero.ipynb"]
    assert (folder / "failed" / "01_one.ipynb").is_file()
    assert (folder / "README.md").read_text().count("Not run yet") == 2


def digest():
    return runner._digests(runner._read_profile("small"))["01_one"]


def test_a_notebook_is_out_of_date_when_what_it_depends_on_changed(project, monkeypatch):
    """Source, parameters, threads, environment, recordings, rows that it reads count; outputs do
    not.
    """
    (project / "data" / "emodb" / "wav").mkdir(parents=True)
    seen = []
    write_notebook("00_zero")
    write_notebook("01_one")

    def changed():
        seen.append(digest())
        return len(set(seen)) == len(seen)

    write_profile({"01_one": {}})
    assert changed()
    write_notebook("01_one", "1 + 1")
    assert changed()
    write_profile({"01_one": {"seed": 1}})
    assert changed()
    write_profile({"01_one": {"seed": 1}}, threads=2)
    assert changed()
    (project / "environment.yml").write_text("name: other\n")
    assert changed()
    write_profile({"01_one": {"seed": 1}}, data="recorded")
    assert changed()
    (project / "data" / "emodb" / "wav" / "03a01Fa.wav").write_bytes(b"sound")
    assert changed()
    (project / "data" / "emodb" / "wav" / "03a01Fa.wav").write_bytes(b"longer sound")
    assert changed()
    write_profile(
        {"00_zero": {}, "01_one": {"seed": 1}}, data="recorded", reads={"01_one": ["00_zero"]}
    )
    (project / "reports" / "small" / "rows").mkdir(parents=True)
    (project / "reports" / "small" / "rows" / "00_zero.csv.gz").write_bytes(gzip.compress(b"rows"))
    assert changed()

    notebook = nbformat.read("notebooks/01_one.ipynb", as_version=4)
    notebook.cells[-1].update(
        execution_count=9, outputs=[nbformat.v4.new_output("stream", text="2")]
    )
    nbformat.write(notebook, "notebooks/01_one.ipynb")
    assert digest() == seen[-1]


def test_code_of_the_pages_makes_no_notebook_out_of_date(project, monkeypatch):
    """The runner and the site may change; report.py, which notebooks call, may not."""
    write_notebook("01_one")
    write_profile({"01_one": {}})
    module = project / "pathemo"
    module.mkdir()
    for name in ("report.py", "runner.py", "site.py"):
        (module / name).touch()
    monkeypatch.setattr(runner, "__file__", str(module / "runner.py"))
    before = digest()
    for name in ("runner.py", "site.py"):
        (module / name).write_text("changed")
    assert digest() == before
    (module / "report.py").write_text("changed")
    assert digest() != before


def run_outside(**environment):
    return subprocess.Popen(
        [sys.executable, "-m", "pathemo", "run", "small"],
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not of this system")
def test_a_killed_run_leaves_no_half_report_and_goes_on(project):
    """Killed in its second notebook, a run has kept the first, shows nothing of the second, and
    goes on.
    """
    write_notebook("00_zero", PICTURE)
    write_notebook("01_one", PICTURE, SLEEP)
    write_profile({"00_zero": {}, "01_one": {}})
    folder = project / "reports" / "small"
    running = run_outside(NAP=str(project / "asleep"))
    while not (project / "asleep").exists():
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)

    with pytest.raises(RuntimeError, match="another run is at work in reports/small"):
        runner.run("small")
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert sorted(path.name for path in folder.glob("*.ipynb")) == ["00_zero.ipynb"]
    assert [path.name for path in folder.glob("figures/*")] == ["00_zero_line.png"]

    again = run_outside()
    output, errors = again.communicate()
    assert again.returncode == 0, errors
    assert "00_zero: up to date" in output
    assert "01_one: up to date" not in output
    assert sorted(path.name for path in folder.glob("*.ipynb")) == ["00_zero.ipynb", "01_one.ipynb"]
    assert not (folder / ".staging").exists() or not list((folder / ".staging").iterdir())


def test_a_run_killed_while_it_publishes_is_finished_by_the_next(project):
    """Files that were not moved yet get their name in the next run, which does not run the notebook
    again.
    """
    write_notebook("01_one", "raise RuntimeError('run again')")
    write_profile({"01_one": {}})
    folder = project / "reports" / "small"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "01_one_old.png").touch()
    (folder / "state").mkdir()
    old = {"files": ["01_one.ipynb", "figures/01_one_old.png"]}
    (folder / "state" / "01_one.json").write_text(json.dumps(old))
    staging = folder / ".staging" / "x" / "01_one"
    (staging / "state").mkdir(parents=True)
    (staging / "rows").mkdir()
    some_rows().to_csv(staging / "rows" / "01_one.csv.gz", index=False)
    write_notebook("moved_already")
    os.replace("notebooks/moved_already.ipynb", folder / "01_one.ipynb")
    state = {"digest": digest(), "title": "", "question": "", "provenance": {}, "figures": {}}
    state["files"] = ["01_one.ipynb", "rows/01_one.csv.gz"]
    (staging / "state" / "01_one.json").write_text(json.dumps(state))
    runner.run("small")
    assert len(report.rows("01_one", profile="small")) == len(some_rows())
    assert "run again" not in (folder / "01_one.ipynb").read_text()
    assert not (folder / "figures" / "01_one_old.png").exists()


def test_save_rows_refuses_wrong_rows(project):
    """Rows with a column too few, there twice, or without value and note are refused; nothing is
    written.
    """
    rows = some_rows()
    for wrong, message in (
        (rows.drop(columns="seed"), "have columns"),
        (pd.concat([rows, rows]), "4 of 8 result rows are there twice"),
        (rows.assign(value=np.nan), "without a note"),
    ):
        with pytest.raises(ValueError, match=message):
            report.save_rows(wrong)
    assert not (project / "reports" / "interactive").exists()


def test_interactive_use_writes_under_the_notebooks_name(project, monkeypatch):
    """Outside the runner, rows (rounded) and pictures go to reports/interactive/<notebook>/."""
    monkeypatch.setenv("JPY_SESSION_NAME", "somewhere/02_two.ipynb")
    rows = some_rows().assign(value=1 / 3)
    report.save_rows(rows)
    picture = report.save_figure(plt.figure(figsize=(1, 1)), "blank", alt="Nothing")
    folder = project / "reports" / "interactive" / "02_two"
    assert pd.read_csv(folder / "rows" / "02_two.csv.gz")["value"].tolist() == [0.3333] * 4
    assert (folder / "figures" / "02_two_blank.png").read_bytes() == picture.data
    assert picture.alt == "Nothing"
    assert not plt.get_fignums()
    with pytest.raises(ValueError, match="'a b'"):
        report.save_figure(plt.figure(), "a b", alt="")


def test_provenance_has_no_path_and_no_host(project, monkeypatch):
    """The table names commit, parameters, corpora, versions, device and duration; nothing of this
    machine.
    """
    index = pd.DataFrame({"corpus": ["emodb"] * 2, "clip": ["a", "b"], "speaker": ["03", "03"]})
    index.attrs["version"] = "synthetic-12345678"
    table = report.provenance({"seeds": 3}, [index], time.perf_counter() - 2)
    facts = table["value"]
    assert facts["parameter seeds"] == "3"
    assert facts["corpus emodb"] == "synthetic-12345678, 2 clips, 1 speakers"
    assert facts["commit"] == "unknown: no git here"
    assert facts["duration"] in ("2.0 s", "2.1 s")
    text = table.to_csv()
    assert str(project) not in text
    assert platform.node() not in text


def test_results_table_says_what_was_not_run():
    """A column a protocol; a corpus that was not found was not run; sources can be averaged
    over.
    """
    reason = "savee not found, see data/README.md"
    missing = not_run_rows(reason, target="savee", protocol="svm", inputs="plain")
    rows = pd.concat([some_rows(), some_rows(protocol="logistic"), missing])
    table = report.results_table(rows)
    assert table.index.names == ["target", "inputs", "source"]
    assert table.columns.tolist() == ["svm", "logistic", "speakers", "seeds"]
    assert table["svm"].tolist() == ["75.0 [0.0, 100.0]", "not run"]
    assert table["logistic"].tolist()[1] == ""
    assert report.results_table(rows, row=["target", "inputs"]).shape == (2, 4)


def test_what_needs_more_than_is_here_is_passed_over(project, capsys):
    """A notebook that raises NotRun leaves no report and no failure; the page says so, the next one
    runs.
    """
    write_notebook(
        "00_zero", "from pathemo import report\nraise report.NotRun('it needs two corpora')"
    )
    write_notebook("01_one", "1 + 1")
    write_profile({"00_zero": {}, "01_one": {}})
    runner.run("small")
    assert "00_zero: not run: it needs two corpora" in capsys.readouterr().out
    folder = project / "reports" / "small"
    assert not list(folder.rglob("00_zero*")) and (folder / "01_one.ipynb").is_file()
    assert "Not run yet" in (folder / "README.md").read_text()


def test_a_profile_extends_another(project):
    """It has the other's parameters but for its own, and the notebooks that it names itself."""
    for name in ("00_zero", "01_one", "02_two"):
        write_notebook(name, parameters="seed = 0\nsteps = 1")
    write_profile(
        {"00_zero": {}, "01_one": {"seed": 3, "steps": 5}, "02_two": {"seed": 6}}, threads=2
    )
    more = {"extends": "small", "notebooks": {"01_one": {"seed": 4}, "02_two": {}}}
    Path("reports/more.yaml").write_text(yaml.safe_dump(more))
    settings = runner._read_profile("more")
    assert settings["notebooks"] == {"01_one": {"seed": 4, "steps": 5}, "02_two": {"seed": 6}}
    assert (settings["data"], settings["threads"], settings["reads"]) == ("synthetic", 2, {})
    Path("reports/more.yaml").write_text(yaml.safe_dump(more | {"extends": "smal"}))
    with pytest.raises(ValueError, match="no profile 'smal'"):
        runner._read_profile("more")
    Path("reports/more.yaml").write_text(yaml.safe_dump(more | {"extends": "more"}))
    with pytest.raises(ValueError, match="reports/more.yaml extends itself"):
        runner._read_profile("more")
    Path("reports/more.yaml").write_text(yaml.safe_dump(more | {"notebooks": {"01_one": [1]}}))
    with pytest.raises(ValueError, match="reports/more.yaml: notebooks: 01_one must be dict"):
        runner._read_profile("more")


def test_readme_table_follows_the_paper_profile(project):
    """`readme` writes the table between the markers; `check` only tells, and passes after it."""
    folder = project / "reports" / "paper" / "rows"
    folder.mkdir(parents=True)
    part = some_rows().assign(inputs="hog, plain, 2 training speakers")
    pd.concat([some_rows(), part]).to_csv(folder / "02_two.csv.gz", index=False)
    (project / "README.md").write_text(
        "above\n<!-- results -->\nold\n<!-- end of results -->\nbelow\n"
    )
    with pytest.raises(ValueError, match="python -m pathemo readme"):
        report.readme(check=True)
    report.readme()
    report.readme(check=True)
    text = (project / "README.md").read_text()
    assert text.startswith("above\n<!-- results -->\n")
    assert "| emodb | plain |" in text and "training speakers" not in text
    assert text.endswith("<!-- end of results -->\nbelow\n")


def test_only_a_person_gets_sliders(monkeypatch):
    """Within the runner, which names a folder for outputs, nothing is interactive."""
    monkeypatch.delenv("PATHEMO_OUTPUT", raising=False)
    assert report.interactive()
    monkeypatch.setenv("PATHEMO_OUTPUT", "somewhere")
    assert not report.interactive()
