"""The runner: what it refuses, runs and leaves, and what it makes of an interruption."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pathemo import files, runner
from pathemo.metrics import ROW_COLUMNS

PROJECT = Path(__file__).parents[1]
SETUP = """import time
from pathemo import report
parameters, started = report.parameters(), time.perf_counter()"""
PICTURE = """from pathemo import report
import matplotlib.pyplot as plt
figure, ax = plt.subplots(figsize=(2, 1))
report.save_figure(figure, "line", alt="An empty plot, naïvely")"""
SLEEP = """import os, time
if "NAP" in os.environ:
    open(os.environ["NAP"], "w").close()
    time.sleep(60)"""
ROWS = """from pathemo import report
from pathemo.metrics import score_rows
rows = score_rows(["anger", "fear"] * 2, ["anger"] * 4, ["03", "03", "NA", "NA"], protocol="svm",
                  target="emodb", corpus_version="synthetic-0", fold="1", seed=0)
rows = report.save_rows(rows)"""
PROVENANCE = "report.provenance(parameters, [], started)"


def write_notebook(name, *cells, parameters="seed = 0  # of every draw", title="A title", text=""):
    """Write a notebook of code cells into the project."""
    markdown = f"# {title}\n\n## Question\nIs $x^2$ right?\nIt costs nothing.\n\n{text}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [
        new_markdown_cell(markdown),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(new_code_cell, cells),
    ]
    nbformat.write(notebook, Path("notebooks") / f"{name}.ipynb")


def write_profile(notebooks, **settings):
    """Write reports/small.yaml."""
    settings = {"data": "synthetic", "notebooks": notebooks} | settings
    Path("reports/small.yaml").write_text(yaml.safe_dump(settings))


def new_project(folder):
    """Make a folder a project without notebooks, whose pages are built as here."""
    for name in ("notebooks", "reports"):
        (folder / name).mkdir()
    (folder / "environment.yml").write_text("name: pathemo\n")
    for name in ("conf.py", "site.css"):
        shutil.copy(PROJECT / "reports" / name, folder / "reports")
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project, the working directory of the test; no pages are built, to save time."""
    monkeypatch.chdir(new_project(tmp_path))
    monkeypatch.delenv("PATHEMO_DATA", raising=False)
    monkeypatch.setattr(runner, "_build_pages", lambda folder: None)
    return tmp_path


def test_a_run_leaves_a_whole_report_and_is_not_repeated(project, capsys, monkeypatch):
    """Notebook, rows, figure and provenance in its folder, no path of the machine, nothing else.

    The notebook keeps its arrays where the caller would, though it runs in another folder.
    """
    monkeypatch.setenv("PATHEMO_CACHE", "kept")
    where = "import os\nprint(os.getcwd(), seed, os.environ['PATHEMO_CACHE'])"
    cells = [SETUP, PICTURE, ROWS, where, PROVENANCE]
    write_notebook("01_one", *cells, parameters="seed = 0  # s\nspace = {\n    'a': 1\n}  # t")
    write_profile({"01_one": {"seed": 7}})
    runner.run("small")
    folder = project / "reports" / "small"
    paths = {path: path.stat().st_mtime_ns for path in folder.glob("*/*")}
    assert {path.relative_to(folder).as_posix() for path in paths} == {
        "01_one/01_one.ipynb",
        "01_one/digest.txt",
        "01_one/line.png",
        "01_one/provenance.json",
        "01_one/rows.csv.gz",
    }
    cells = nbformat.read(folder / "01_one" / "01_one.ipynb", as_version=4).cells
    assert cells[-2].outputs[0].text == "PROJECT/notebooks 7 PROJECT/kept\n"
    facts = json.loads((folder / "01_one" / "provenance.json").read_text())
    of_parameters = {name: value for name, value in facts.items() if name.startswith("parameter")}
    assert of_parameters == {"parameter seed": "7", "parameter space": "{'a': 1}"}
    results = pd.read_csv(folder / "results.csv.gz")
    assert list(results) == ["notebook", *ROW_COLUMNS]
    assert results["value"].tolist() == [0.5] * 4
    for path in folder.rglob("*"):
        if path.suffix in (".ipynb", ".json", ".md"):
            assert str(project) not in path.read_text(encoding="utf-8")
    runner.run("small")
    assert "01_one: up to date" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*")} == paths


def test_a_picture_keeps_what_looks_like_a_path(project, monkeypatch):
    """Base64 has slashes: a short home, here /ci, is taken out of texts, not out of pictures."""
    monkeypatch.setenv("HOME", "/ci")
    shown = {"image/png": "iVBO/ciB/ci/0A==", "text/plain": f"/ci/x\n/cider {project}/notebooks"}
    bar = {runner.WIDGET: {"model_id": "0"}, "text/plain": "0 %"}
    outputs = [nbformat.v4.new_output("display_data", data=data) for data in (shown, bar)]
    [cell] = runner._anonymous(new_notebook(cells=[new_code_cell("", outputs=outputs)])).cells
    [output] = cell.outputs
    assert output.data == shown | {"text/plain": "HOME/x\n/cider PROJECT/notebooks"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sed": 1}, r"01_one has no parameter 'sed', only seed"),
        ({"seed": "1"}, r"01_one: seed must be int like its default 0, not str '1'"),
        ({"seed": True}, r"seed must be int like its default 0, not bool True"),
        ([1], r"01_one must be dict like its default {'seed': 0}, not list \[1\]"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(project, parameters, message):
    """An unknown parameter or another type than the default's: notebook and parameter are named."""
    write_notebook("00_zero")
    write_notebook("01_one")
    write_profile({"00_zero": {}, "01_one": parameters})
    with pytest.raises(ValueError, match=message):
        runner.run("small")
    assert not (project / "reports" / "small").exists()


@pytest.mark.parametrize("cell", ["seed = 1 + rate", "seed = rate", "seed = ["])
def test_parameters_are_literals(project, cell):
    """A parameter with another value than a literal is refused."""
    write_notebook("01_one", parameters=cell)
    write_profile({"01_one": {}})
    with pytest.raises(ValueError, match="01_one.ipynb: parameters are `name = literal`"):
        runner.run("small")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "real"}, "synthetic or recorded"),
        ({"sedes": 1}, "sedes"),
        ({"threads": "1"}, "threads must be int"),
        ({"notebooks": {"09": {}}}, "'09', only 01_one"),
    ],
)
def test_a_profile_with_unknown_settings_is_refused(project, settings, message):
    """A setting, a kind of data or a notebook that is not known is named."""
    write_notebook("01_one")
    write_profile(**{"notebooks": {"01_one": {}}} | settings)
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


def test_the_data_of_a_profile_go_to_the_notebooks_that_have_a_choice(project):
    """The parameter `data` is the profile's, in notebooks that share their parameters, too."""
    for name in ("01_one", "02_two"):
        write_notebook(name, parameters="data = 'synthetic'  # kind\nseed = 0  # of draws")
    write_notebook("00_zero")
    shared = {"seed": 3}
    write_profile({"00_zero": shared, "01_one": shared, "02_two": shared}, data="recorded")
    found = runner._read_profile("small")["notebooks"]
    assert found == {"00_zero": shared} | dict.fromkeys(
        ("01_one", "02_two"), shared | {"data": "recorded"}
    )


def test_rows_are_read_by_later_notebooks_and_outdated_ones_are_left_out(project):
    """A notebook gets the rows of its own profile; those that moved stand in results once."""
    write_notebook("01_one", ROWS)
    write_notebook("02_two", "from pathemo import report\nprint(len(report.rows('01_one')))")
    write_profile({"01_one": {}, "02_two": {}})
    runner.run("small")
    folder = project / "reports" / "small"
    cells = nbformat.read(folder / "02_two" / "02_two.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].text == "4\n"
    write_notebook("01_one")
    write_notebook("02_two", ROWS)
    runner.run("small", only="02_two")
    assert pd.read_csv(folder / "results.csv.gz")["notebook"].tolist() == ["02_two"] * 4
    assert (folder / "README.md").read_text().count("**Out of date**") == 1


def test_what_does_not_succeed_leaves_no_report(project, capsys):
    """A notebook that needs more than is here is passed over; one that fails stops the run.

    The message has notebook, cell, error and where to look; finished reports stay.
    """
    needs = "class NotRun(OSError): pass\nraise NotRun('it needs two corpora')"
    write_notebook("00_zero", needs)
    write_notebook("01_one")
    write_notebook("02_two", "x = {}", "x['missing']")
    write_notebook("03_three")
    write_profile({"00_zero": {}, "01_one": {}, "02_two": {}, "03_three": {}})
    with pytest.raises(RuntimeError) as stopped:
        runner.run("small")
    assert str(stopped.value) == (
        "02_two: cell [3] stopped with KeyError: 'missing'\n"
        "The notebook as far as it came: reports/small/failed/02_two.ipynb"
    )
    assert "00_zero: not run: it needs two corpora" in capsys.readouterr().out
    folder = project / "reports" / "small"
    notebooks = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.ipynb"))]
    assert notebooks == ["01_one/01_one.ipynb", "failed/02_two.ipynb"]
    assert not list(folder.rglob("00_zero*"))
    assert (folder / "README.md").read_text().count("Not run yet") == 3


def digest(name="01_one"):
    return runner._digest(runner._read_profile("small"), name)


def test_a_notebook_is_out_of_date_when_what_it_depends_on_changed(project):
    """Source, parameters, threads, environment, recordings, rows it reads count; outputs do not."""
    sound = project / "data" / "emodb" / "wav" / "03a01Fa.wav"
    sound.parent.mkdir(parents=True)
    seen = []

    def changed():
        seen.append(digest())
        return len(set(seen)) == len(seen)

    write_notebook("01_one")
    write_profile({"01_one": {}})
    assert changed()
    write_notebook("01_one", "report.rows()")
    assert changed()
    write_profile({"01_one": {"seed": 1}})
    assert changed()
    write_profile({"01_one": {"seed": 1}}, threads=2)
    assert changed()
    (project / "environment.yml").write_text("name: pathemo\ndependencies: []\n")
    assert changed()
    write_profile({"01_one": {"seed": 1}}, data="recorded")
    assert changed()
    sound.write_bytes(b"sound")
    assert changed()
    sound.write_bytes(b"longer sound")
    assert changed()
    disk = project / "disk"
    disk.mkdir()
    (project / "data" / "savee").symlink_to(disk)
    (disk / "DC_a01.wav").write_bytes(b"sound")
    assert changed()
    (disk / "DC_a01.wav").write_bytes(b"longer sound")
    assert changed()
    for name in ("00_zero", "02_two"):
        (project / "reports" / "small" / name).mkdir(parents=True)
        (project / "reports" / "small" / name / "rows.csv.gz").write_bytes(b"rows")
        assert changed() == (name == "00_zero")

    notebook = nbformat.read("notebooks/01_one.ipynb", as_version=4)
    output = nbformat.v4.new_output("stream", text="2")
    notebook.cells[-1].update(execution_count=9, outputs=[output])
    nbformat.write(notebook, "notebooks/01_one.ipynb")
    (project / "data" / "synthetic").mkdir()
    (project / "data" / "synthetic" / "clip.wav").touch()
    assert digest() == seen[-1]


def test_what_lies_under_the_data_root_is_listed_once_a_run(project, monkeypatch):
    """Neither another notebook nor the summary lists it again."""
    for name in ("00_zero", "01_one"):
        write_notebook(name)
    write_profile({"00_zero": {}, "01_one": {}}, data="recorded")
    listed = []
    monkeypatch.setattr(files, "walk", lambda folder: listed.append(folder) or [])
    monkeypatch.setattr(runner, "_bring_up_to_date", lambda settings, name: None)
    runner.run("small")
    assert len(listed) == 1


def test_code_of_the_runner_alone_makes_no_notebook_out_of_date(project, monkeypatch):
    """The runner may change, and what no notebook calls; every other module, in whatever folder,
    may not."""
    write_notebook("01_one")
    write_profile({"01_one": {}})
    package = project / "pathemo"
    (package / "engine").mkdir(parents=True)
    for name in ("report.py", "runner.py", "engine/pathnet.py"):
        (package / name).touch()
    monkeypatch.setattr(files, "PACKAGE", package)

    def digest_of_code():
        files.code_digest.cache_clear()
        return digest()

    before = digest_of_code()
    for name in ("runner.py", "own.py"):
        (package / name).write_text("changed")
        assert digest_of_code() == before
    for name in ("report.py", "engine/pathnet.py", "engine/new.py"):
        (package / name).write_text("changed")
        assert digest_of_code() != before
        before = digest_of_code()
    files.code_digest.cache_clear()


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
    """Killed in its second notebook, it has kept the first, shows no second, and goes on."""
    write_notebook("00_zero", PICTURE)
    write_notebook("01_one", SLEEP)
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
    names = {path.name for path in folder.glob("[0-9]*/*")}
    assert names == {"00_zero.ipynb", "digest.txt", "line.png"}

    again = run_outside()
    output, errors = again.communicate()
    assert again.returncode == 0, errors
    assert "00_zero: up to date" in output
    assert "01_one: up to date" not in output
    assert {path.name for path in folder.glob("*/*.ipynb")} == {"00_zero.ipynb", "01_one.ipynb"}
    assert (folder / "html" / "index.html").is_file()
    assert not (folder / ".staging").exists()
