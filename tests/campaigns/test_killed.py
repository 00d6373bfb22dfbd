"""Processes that get SIGKILL at random moments: who goes on ends with what one has that was left
alone.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import scenes
from damage import LONG
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not of this system")
N_KILLS = 20 if LONG else 4


@pytest.mark.parametrize("seed", range(3 if LONG else 1))
def test_extraction_of_features(forker, synthetic_root, tmp_path, tell, seed):
    """The cache has the same entries with the same bytes, and the features are the same."""
    kills, same = forker(scenes.killed_extraction, tmp_path, synthetic_root, N_KILLS, seed)[1]
    tell(f"killed extractions of features, seed {seed}", f"{kills} kills")
    assert same


@pytest.mark.parametrize("seed", range(3 if LONG else 1))
def test_download(forker, tmp_path, tell, seed):
    """The corpus is whole, to the byte, and nothing of the work is left in its folder."""
    kills, same = forker(scenes.killed_fetch, tmp_path, N_KILLS, seed)[1]
    tell(f"killed downloads, seed {seed}", f"{kills} kills")
    assert same


CELL = """from pathemo.metrics import score_rows
from pathemo import report
rows = score_rows(["anger", "fear"] * 2, ["anger"] * 4, ["03", "03", "NA", "NA"], protocol="svm",
                  target="emodb", corpus_version="synthetic-0", fold="1", seed=seed)
rows = report.save_rows(rows)"""


def project(folder):
    """A project of one small notebook, which makes result rows."""
    for name in ("notebooks", "reports"):
        (folder / name).mkdir(parents=True)
    (folder / "environment.yml").write_text("name: pathemo\n")
    for name in ("conf.py", "site.css"):
        shutil.copy(Path(__file__).parents[2] / "reports" / name, folder / "reports")
    (folder / "reports" / "small.yaml").write_text(
        "data: synthetic\nnotebooks: {01_one: {seed: 3}}\n"
    )
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [
        new_code_cell("seed = 0", metadata={"tags": ["parameters"]}),
        new_code_cell(CELL),
    ]
    nbformat.write(notebook, folder / "notebooks" / "01_one.ipynb")
    return folder


def run(folder, delay=None):
    """Exit code of a run in the project; it is killed after the delay [s], if one is given."""
    environment = {k: v for k, v in os.environ.items() if k != "PATHEMO_DATA"}
    running = subprocess.Popen(
        [sys.executable, "-m", "pathemo", "run", "small"],
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if delay is not None:
        time.sleep(delay)
        os.killpg(running.pid, signal.SIGKILL)
    _, errors = running.communicate()
    assert delay is not None or running.returncode == 0, errors
    return running.returncode


@pytest.mark.skipif(not LONG, reason="three whole runs of a project")
def test_runner(tmp_path, tell):
    """Results are the same to the byte, every page is there, and nothing of the work is left."""
    folders, draw = (
        {name: project(tmp_path / name) for name in ("alone", "killed")},
        random.Random(0),
    )
    started = time.monotonic()
    run(folders["alone"])
    duration = time.monotonic() - started
    delays = [draw.uniform(0.2, 0.6) * duration for _ in range(4)]
    kills = sum(run(folders["killed"], delay) == -signal.SIGKILL for delay in delays)
    run(folders["killed"])
    tell("killed runs", f"{kills} kills")
    files = {}
    for name, folder in folders.items():
        folder = folder / "reports" / "small"
        assert not list(folder.glob(".staging/*"))
        names = {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
        rows = {path: (folder / path).read_bytes() for path in names if path.endswith(".csv.gz")}
        files[name] = {path for path in names if not path.endswith((".lock", ".part"))}, rows
    assert files["alone"] == files["killed"] and files["alone"][1]
