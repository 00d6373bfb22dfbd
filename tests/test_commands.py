"""Every command and example that README.md, CONTRIBUTING.md and the start page give is run."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pathemo import corpora

PROJECT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "notebooks/START.md"]
TEXTS = {page: (PROJECT / page).read_text(encoding="utf-8") for page in PAGES}
NEW = "test_commands.test_a_table_of_ones_own_goes_through_the_study"
CORPUS = "test_contributing.test_the_toy_corpus_and_protocol_work"
LAB = "test_main.test_lab_shows_the_start_page"
BUILD = "test_environment.test_the_wheel_works_in_an_empty_folder"
RUN = {  # by a test, or by what else
    "make env": "CI, before all else",
    "make check": "CI",
    "make test": "CI",
    "make test-long": "CI",
    ".ci/run": "CI",
    ".ci/oldest": "CI",
    "make reports": "`make test-long`, whose first line is the same",
    "make reports PROFILE=paper": "test_commands.test_a_paper_report_without_corpora",
    "make lab": LAB,
    "python -m pathemo run quick": "`make test-long`",
    "python -m pathemo run": NEW,
    "python -m pathemo new": NEW,
    "python -m pathemo lab": LAB,
    "python -m pathemo corpora": CORPUS,
    "python -m pytest tests": "CI",
    "pytest tests/test_corpora.py": CORPUS,
    "pytest tests/test_notebooks.py": "CI",
    "nbstripout --keep-count": "`make check`, which verifies what it leaves",
    "python -m pip install build": BUILD,
    "python -m build": BUILD,
    'python -m pip install "pathemo[cluster]"': "`make env`, with versions",
    "python -m pip install -e .": "`make env`, with versions",
    "PATHEMO_DASK=": "test_cluster.test_a_study_outlives_a_worker",
}


def code_of(text):
    """Lines of indented and fenced code, and words in backticks."""
    fenced = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    words = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", rest)]
    return ["".join(fenced), *re.findall(r"^ {4}(\S.*)", rest, re.MULTILINE), *words]


def test_each_command_is_run_somewhere():
    """Of the commands in the texts none is left out here, and what is said to run them is there."""
    first = r"make |python |pytest |nbstripout |\.ci/|PATHEMO_\w+="
    lines = [line for text in TEXTS.values() for code in code_of(text) for line in code.split("\n")]
    commands = {line.split("  ")[0] for line in lines if re.match(first, line)}
    assert len(commands) > 20
    unknown = {c for c in commands if not c.startswith(tuple(RUN))}
    assert unknown == set() and [c for c in RUN if c not in str(lines)] == []
    for test in filter(re.compile(r"\w+\.\w+").fullmatch, RUN.values()):
        module, name = test.split(".")
        assert hasattr(importlib.import_module(module), name), test


def example(page, beginning):
    """The Python example of a page that begins so."""
    blocks = re.findall(r"```python\n(.*?)```", TEXTS[page], re.DOTALL)
    [block] = [block for block in blocks if block.startswith(beginning)]
    return block


def follow(block, **shorter):
    """What a block leaves, with fewer steps."""
    for setting, value in shorter.items():
        block, n = re.subn(rf"\b{setting}=\d+", f"{setting}={value}", block)
        assert n == 1
    names = {}
    exec(compile(block, "example", "exec"), names)
    return names


def write_table(path, name, medium, root, n_clips):
    """A table of one's own: some clips of four speakers in two emotions."""
    index = corpora.load(name, root).dropna(subset=medium)
    index = index[index["emotion"].isin(["anger", "sadness"])]
    index = index[index["speaker"].isin(index["speaker"].unique()[:4])]
    index = index.groupby(["speaker", "emotion"]).head(n_clips)
    index[["clip", "speaker", "emotion", medium]].to_csv(path, index=False)


def test_the_example_of_the_readme(synthetic_root, tmp_path, monkeypatch):
    """Rows of all own speakers come out, with the public corpus as their source."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATHEMO_DATA", str(synthetic_root))
    write_table("my_corpus.csv", "savee", "audio", synthetic_root, 2)
    rows = follow(example("README.md", "from pathemo import corpora, speech"), steps=50)
    rows = rows["outcome"].rows
    assert rows["source"].eq("emodb").all() and rows["value"].notna().all()
    assert set(rows["speaker"]) == {"DC", "JE", "JK", "KL", "all"} and rows["seed"].nunique() == 3


def test_the_example_of_faces(synthetic_root, tmp_path, monkeypatch):
    """Faces of films become rows of all own speakers."""
    monkeypatch.chdir(tmp_path)
    write_table("my_faces.csv", "savee", "video", synthetic_root, 1)
    left = follow(example("notebooks/START.md", "from pathemo import corpora, faces"), steps=50)
    assert left["images"].shape[1:] == (48, 48) and set(left["clip"]) == set(range(8))
    assert left["outcome"].rows["speaker"].nunique() == 5  # four, and all at once


def test_the_example_of_the_engine():
    """Five replicas evolve, and their paths are frozen."""
    left = follow(example("notebooks/START.md", "import numpy"), generations=1)
    assert left["evolution"].history["replica"].nunique() == 5
    assert left["net"].frozen.any(dim=2).all()


def test_the_example_of_a_cluster(tmp_path, monkeypatch):
    """Four jobs of eight workers are handed to Slurm, which stands in here and starts none."""
    jobqueue = pytest.importorskip("dask_jobqueue", reason="pathemo[cluster] is not installed")
    (sbatch := tmp_path / "sbatch").write_text(f"#!/bin/sh\ncat $1 >> {tmp_path}/jobs\necho 1\n")
    (tmp_path / "scancel").write_text("#!/bin/sh\n")
    for command in (sbatch, tmp_path / "scancel"):
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told, jobs, start = [], tmp_path / "jobs", jobqueue.SLURMCluster
    options = {"host": "127.0.0.1", "dashboard": False}
    monkeypatch.setattr(
        jobqueue, "SLURMCluster", lambda **given: start(**given, scheduler_options=options)
    )

    def wait(prompt):  # for Return, as long as the cluster is wanted
        end = time.monotonic() + 60
        while not jobs.exists() or jobs.read_text().count("dask") < 4:
            assert time.monotonic() < end, "no job"
            time.sleep(0.1)
        told.append(prompt)

    monkeypatch.setattr("builtins.input", wait)
    follow(example("notebooks/START.md", "from dask_jobqueue"))["cluster"].close()
    address = re.match(r"PATHEMO_DASK=(tcp://127.0.0.1:\d+) ", told[0])[1]
    assert jobs.read_text().count(f"{address} --name") == 4
    assert jobs.read_text().count("--nworkers 8 ") == 4


@pytest.fixture
def project(tmp_path):
    """A project of two notebooks, whose paper profile takes seconds."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "reports").mkdir()
    for file in ("environment.yml", "Makefile", "reports/conf.py", "reports/site.css"):
        shutil.copy(PROJECT / file, tmp_path / file)
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        shutil.copy(path, tmp_path / "notebooks")
    paper = yaml.safe_load((PROJECT / "reports" / "paper.yaml").read_text(encoding="utf-8"))
    for parameters in paper["notebooks"].values():
        parameters |= {"steps": 50, "seeds": [0]} if "steps" in parameters else {}
    (tmp_path / "reports" / "paper.yaml").write_text(yaml.safe_dump(paper, sort_keys=False))
    (tmp_path / "data").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    (tmp_path / ".venv" / "installed").touch()
    return tmp_path


def shell(folder, command, **settings):
    """What a command prints in a folder; the test fails where it does."""
    environment = {name: value for name, value in os.environ.items() if "PATHEMO" not in name}
    environment |= {"PATHEMO_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"} | settings
    command = command.replace("python", sys.executable)
    options = dict(shell=True, capture_output=True, text=True)
    done = subprocess.run(command, cwd=folder, env=environment, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_table_of_ones_own_goes_through_the_study(project, synthetic_root):
    """`new` writes the profile, `run` makes rows of it, and notebook 08 says what to use."""
    write_table(project / "my_corpus.csv", "savee", "audio", synthetic_root, 2)
    told = shell(project, "python -m pathemo new my_corpus.csv")
    assert "16 clips of 4 speakers, as speech" in told and "python -m pathemo run my_corpus" in told
    for name in ("02_single_domain_baselines", "08_your_corpus"):
        told = shell(project, f"python -m pathemo run my_corpus --only {name}")
        assert told.splitlines()[-1] == "open reports/my_corpus/html/index.html"
    report = project / "reports" / "my_corpus"
    rows = pd.read_csv(report / "results.csv.gz", keep_default_na=False)
    assert set(rows["target"]) == {"my_corpus"} and rows["speaker"].nunique() >= 4
    assert (report / "html" / "08_your_corpus" / "08_your_corpus.html").is_file()


def test_a_paper_report_without_corpora(project):
    """`make reports PROFILE=paper` with an empty folder for PATHEMO_DATA says what it needs."""
    profile = project / "reports" / "paper.yaml"
    paper = yaml.safe_load(profile.read_text(encoding="utf-8"))
    wanted = "02_single_domain_baselines"
    paper["notebooks"] = {wanted: paper["notebooks"][wanted]}
    profile.write_text(yaml.safe_dump(paper, sort_keys=False))
    told = shell(project, f"make reports PROFILE=paper PATHEMO_DATA={project / 'data'}")
    assert f"{wanted}: not run: it needs one of" in told
    assert (project / "reports" / "paper" / "html" / "index.html").is_file()
