"""The two lists of packages, pins in environment.yml and ranges in pyproject.toml, agree with the
code.
"""

import ast
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
