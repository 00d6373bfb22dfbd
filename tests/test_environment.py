"""The two lists of packages, pins in environment.yml and ranges in pyproject.toml, agree with the
code; what is given out as a package works where no project is.
"""

import ast
import os
import re
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pathemo

PROJECT = Path(__file__).parents[1]
ENVIRONMENT = yaml.safe_load((PROJECT / "environment.yml").read_text())["dependencies"][-1]["pip"]
PINS = {pin.name: pin for pin in map(Requirement, (line for line in ENVIRONMENT if line != "-e ."))}
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
EXTRAS = sum(METADATA["optional-dependencies"].values(), [])
RANGES = [Requirement(line) for line in METADATA["dependencies"] + EXTRAS]


def test_each_pin_is_one_version():
    """The pip section of environment.yml pins every package with ==, and ends with the project
    itself.
    """
    assert {str(pin.specifier)[:2] for pin in PINS.values()} == {"=="}
    assert ENVIRONMENT[-1] == "-e ."


def test_each_range_holds_its_pin():
    """What pyproject.toml requires is pinned in environment.yml, at a version inside the range."""
    for required in RANGES:
        [pinned] = PINS[required.name].specifier
        assert required.specifier.contains(pinned.version), required


def test_imports_are_required():
    """Every package that the module, or the pages' configuration, imports is required."""
    files = [*(PROJECT / "pathemo").rglob("*.py"), PROJECT / "reports" / "conf.py"]
    nodes = [
        node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    ]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    packages = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"pathemo"}
    provided = metadata.packages_distributions()
    required = {requirement.name for requirement in RANGES}
    assert {
        name
        for name in packages
        if not required & {canonicalize_name(d) for d in provided.get(name, [])}
    } == set()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the packages that `python -m build` makes, as CONTRIBUTING.md says."""
    folder = tmp_path_factory.mktemp("built")
    tools = ["-m", "pip", "install", "--quiet", "--no-input", "--target", str(folder / "tools")]
    got = run(folder, *tools, "build", "hatchling")
    if "No matching distribution" in got.stderr:
        pytest.skip("no connection to PyPI: nothing to build with")
    command = ["-m", "build", "--no-isolation", "--outdir", str(folder), str(PROJECT)]
    done = run(folder, *command, PYTHONPATH=str(folder / "tools"))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run(folder, *arguments, **settings):
    """What a Python does in a folder, which is of no project."""
    environment = {name: value for name, value in os.environ.items() if "PATHEMO" not in name}
    command = [sys.executable, *arguments]
    options = dict(cwd=folder, env=environment | settings, capture_output=True, text=True)
    return subprocess.run(command, **options)


def test_the_source_package_has_all_but_reports(built):
    """Module, notebooks, tests and licence are in it, each light; what was computed is not."""
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        sizes = {name.split("/", 1)[1]: archive.getmember(name).size for name in archive.getnames()}
    needed = "LICENSE Makefile environment.yml data/README.md reports/conf.py reports/paper.yaml"
    needed = {*needed.split(), "notebooks/START.md", "tests/conftest.py"}
    needed |= {p.relative_to(PROJECT).as_posix() for p in (PROJECT / "pathemo").rglob("*.py")}
    assert needed <= set(sizes) and max(sizes.values()) < 250_000
    assert not [name for name in sizes if re.match(r"reports/\w+/|data/\w+/.*\.(?!txt)", name)]


def test_the_wheel_works_in_an_empty_folder(built, synthetic_root):
    """Corpora are found and read there; what needs the project's folder says so in a sentence."""
    [wheel] = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site := built / "site")
    (empty := built / "empty").mkdir()
    code = f"""
        import pathemo
        print(pathemo.__file__, pathemo.__version__)
        pathemo.synthetic.write("savee", {str(synthetic_root)!r})
        index = pathemo.corpora.load("savee", {str(synthetic_root)!r})
        index[["clip", "speaker", "emotion", "audio"]].to_csv("my_corpus.csv", index=False)
        print(len(pathemo.corpora.from_table("my_corpus.csv")))
        print(pathemo.PathNetClassifier(width=4))
        pathemo.corpora.load("emodb")"""
    paths = {"PYTHONPATH": str(site), "PATHEMO_CACHE": str(built / "cache")}
    told = run(empty, "-c", textwrap.dedent(code), **paths)
    assert told.stdout.split()[:2] == [str(site / "pathemo" / "__init__.py"), pathemo.__version__]
    assert told.stdout.splitlines()[1:] == ["64", "PathNetClassifier(width=4)"]
    assert f"EMO-DB not found: {empty / 'data' / 'emodb'}" in told.stderr
    overview = run(empty, "-m", "pathemo", "corpora", **paths).stdout
    assert overview.count("(not found)") == 4 and "0/1440" in overview
    for command in ("run quick", "new my_corpus.csv", "lab", "readme"):
        told = run(empty, "-m", "pathemo", *command.split(), **paths)
        assert told.returncode == 1 and told.stderr.count("\n") == 1
        assert "start this inside the project's folder" in told.stderr


def test_there_is_one_version():
    """Package, citation and the newest section of the changelog have the same."""
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    newest = re.search(r"^## (\S+) \(", (PROJECT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert pathemo.__version__ == cited == newest[1]
