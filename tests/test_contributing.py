"""What CONTRIBUTING.md says to do works, and what it names is there; so is what CI calls."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
TEXT = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TOY = PROJECT / "tests" / "toy"
MODULES = {path.stem for path in (PROJECT / "pathemo").glob("[a-z]*")}


@pytest.fixture
def copy(tmp_path):
    """The project's code, tests and guide to the corpora, to be changed."""
    for folder in ("pathemo", "tests", "data/checksums"):
        shutil.copytree(
            PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in ("data/README.md", "environment.yml", "pyproject.toml"):
        shutil.copy(PROJECT / file, tmp_path / file)
    return tmp_path


def change(folder, block):
    """Replace lines of the file that a diff begins with, or add to its end where it replaces
    none.
    """
    name, *lines = block.splitlines(keepends=True)
    file = folder / name.removeprefix("+++ ").strip()
    old, new = ("".join(line[1:] for line in lines if line[0] == sign) for sign in "-+")
    text = file.read_text(encoding="utf-8")
    assert not old or text.count(old) == 1, f"{file.name} has not one {old!r}"
    file.write_text(text.replace(old, new) if old else text + new, encoding="utf-8")


def run(folder, *arguments):
    """Return what Python prints in the folder; the test fails where it does."""
    settings = {
        "PYTHONPATH": str(folder),
        "PATHEMO_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    environment = {
        name: value for name, value in os.environ.items() if name != "PATHEMO_DATA"
    } | settings
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_toy_corpus_and_protocol_work(copy):
    """Added as the text says, the corpus keeps the contract of all; the protocol has rows."""
    shutil.copy(TOY / "corpus.py", copy / "pathemo" / "corpora" / "toy.py")
    changes = (TOY / "changes.diff").read_text(encoding="utf-8")
    for block in re.findall(r"^\+\+\+ .*\n(?:[-+](?!\+\+).*\n)+", changes, re.MULTILINE):
        change(copy, block)
    run(copy, "tests/toy/make.py")
    printed = run(copy, "-m", "pytest", "-q", "tests/test_corpora.py", "-k", "toy or section")
    printed += run(copy, "-m", "pathemo", "corpora") + run(copy, "tests/toy/study.py")
    tests, failed = re.search(r"(\d+) passed", printed), re.search(r"\d+ failed", printed)
    assert int(tests[1]) >= 5 and not failed
    assert re.search(r"toy: .*toy\n +clips +24/24\n", printed)
    assert re.search(r"pathnet_forced +toy +toy +groups=2", printed)


def test_it_is_short():
    """At most 80 lines."""
    assert len(TEXT.splitlines()) <= 80


def test_what_it_names_is_there():
    """Every `module.name` of pathemo in the text exists; every file that it names is there."""
    names = [name for name in re.findall(r"`(\w+\.\w+)`", TEXT) if name.split(".")[0] in MODULES]
    assert len(names) > 15
    for module, name in (name.split(".") for name in names):
        assert hasattr(importlib.import_module(f"pathemo.{module}"), name), f"{module}.{name}"
    files = re.findall(r"(?<![\w/<])((?:pathemo|tests|reports|data|\.ci)/[\w./]+\w/?)(?!<)", TEXT)
    assert len(files) > 8
    assert [file for file in files if not (PROJECT / file).exists()] == []


def test_make_targets_and_ci_scripts_exist():
    """Every target and script that the text or the workflow calls is there."""
    workflow = (PROJECT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(workflow)["jobs"].values()
    called = "\n".join(step.get("run", "") for job in jobs for step in job["steps"])
    targets = set(re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", TEXT, re.MULTILINE)) <= targets
    assert set(re.findall(r"\bmake ([a-z-]+)", called)) <= targets
    scripts = re.findall(r"\.ci/\w+", called)
    assert {".ci/run", ".ci/oldest"} == set(scripts)
    assert all(os.access(PROJECT / script, os.X_OK) for script in scripts)
