"""The contract of the notebooks: what every one of them keeps to."""

import ast
import re
from pathlib import Path
from statistics import median

import nbformat
import papermill
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
HEADINGS = ["Question", "Parameters", "Setup", "Data", "Method", "Results", "Check", "Provenance"]
TAGS = {
    "parameters",
    "keep_output",
    "nbval-check-output",
    "nbval-ignore-output",
    "raises-exception",
    "answer",  # ours: the front page of a report shows what such a cell displays
}
ABSOLUTE = re.compile(r"(?<![\w.:/~])/(home|root|tmp|usr|Users|mnt|opt|var|work)/|[A-Z]:\\\\")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture
def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def parsed(cell):
    """Syntax tree of a cell; lines for IPython alone are left out."""
    lines = cell.source.splitlines()
    return ast.parse("\n".join(line for line in lines if not line.lstrip().startswith("%")))


def test_the_eight_headings(notebook):
    """A title, then the same eight headings in the same order, and no other of their level."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert notebook.cells[0].source.startswith("# ")
    assert re.findall(r"^## (.+?)\s*$", text, re.MULTILINE) == HEADINGS


def test_one_cell_of_parameters(notebook):
    """One cell is tagged parameters: `name = literal  # meaning`, and papermill reads all of it."""
    [cell] = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    defaults = {line.targets[0].id: ast.literal_eval(line.value) for line in parsed(cell).body}
    found = papermill.inspect_notebook(notebook)
    assert {name: ast.literal_eval(found[name]["default"]) for name in found} == defaults
    assert all(parameter["help"] for parameter in found.values())
    assert all(type(value) in (bool, int, float, str, list, dict) for value in defaults.values())
    assert defaults.get("data", "synthetic") == "synthetic"


def test_provenance_has_every_parameter(notebook, code):
    """What Setup takes for the parameters, and provenance gets, are all of them alone."""
    shell = InteractiveShell.instance()
    try:
        shell.run_cell(code[0].source).raise_error()
        setup, line, _ = code[1].source.partition("parameters = report.parameters()\n")
        shell.run_cell(setup + line).raise_error()
        taken = shell.user_ns["parameters"]
    finally:
        InteractiveShell.clear_instance()
    found = papermill.inspect_notebook(notebook)
    assert taken == {name: ast.literal_eval(found[name]["default"]) for name in found}
    assert "report.provenance(parameters, " in code[-1].source


def test_a_notebook_tells_and_the_module_does(code):
    """No class, three defs of 15 lines at most, no cell above 25, half of the cells at most 5."""
    trees = [node for cell in code for node in ast.walk(parsed(cell))]
    assert not [node.name for node in trees if isinstance(node, ast.ClassDef)]
    functions = [node for node in trees if isinstance(node, ast.FunctionDef)]
    assert len(functions) <= 3
    assert all(node.end_lineno - node.lineno < 15 for node in functions)
    lengths = [len(cell.source.splitlines()) for cell in code]
    assert max(lengths) <= 25
    assert median(lengths) <= 5


def test_words_before_code(notebook):
    """At least 5 words of prose for a line of code."""
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    lines = sum(
        len(cell.source.splitlines()) for cell in notebook.cells if cell.cell_type == "code"
    )
    assert words >= 5 * lines


def test_nothing_of_this_machine(notebook):
    """No absolute path, no installation, no blanket filter of warnings."""
    for cell in notebook.cells:
        assert not ABSOLUTE.search(cell.source), cell.source
        if cell.cell_type == "code":
            assert "pip install" not in cell.source
            assert not re.search(r"filterwarnings\(\s*.ignore.\s*\)", cell.source)


def test_rows_and_figures_go_through_the_report(code):
    """Rows are saved once; figures are shown and saved by `report.save_figure` alone, with a
    description.
    """
    source = "\n".join(cell.source for cell in code)
    assert source.count("save_rows(") <= 1
    assert ".savefig(" not in source
    assert "plt.show(" not in source
    assert source.count("save_figure(") == source.count("alt=")


def test_known_tags(notebook):
    """Only tags that papermill, nbval, nbstripout or we know, so a misspelt one is found."""
    for cell in notebook.cells:
        assert tags(cell) <= TAGS
        assert ("nbval-check-output" in tags(cell)) == ("keep_output" in tags(cell))


def test_stored_outputs_are_those_of_check_cells(code):
    """Check cells keep their outputs, without pictures; all others are stripped."""
    for cell in code:
        assert bool(cell.outputs) == ("keep_output" in tags(cell)), cell.source
        for output in cell.outputs:
            assert output.output_type in ("stream", "execute_result", "display_data")
            assert "image/png" not in output.get("data", {})
            assert not ABSOLUTE.search(str(output))


def test_something_is_checked(code):
    """The notebook has a check cell with stored outputs."""
    assert any("nbval-check-output" in tags(cell) for cell in code)


def test_executed_in_order(code):
    """Stored counts are 1..n: the notebook was run from top to bottom before it was stored."""
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_ends_with_provenance(notebook):
    """The last cell is provenance, whose output differs from run to run."""
    assert "provenance(" in notebook.cells[-1].source
    assert "nbval-ignore-output" in tags(notebook.cells[-1])


def test_kernel(notebook):
    """The kernel is python3, the one of the environment, whatever its name on the author's
    machine.
    """
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_profiles_run_every_notebook_in_order(profile):
    """A profile lists all notebooks by their numbers; quick runs each with its defaults."""
    settings = yaml.safe_load((PROJECT / "reports" / f"{profile}.yaml").read_text(encoding="utf-8"))
    if not NOTEBOOKS:
        pytest.skip("no notebooks yet")
    assert list(settings["notebooks"]) == [path.stem for path in NOTEBOOKS]
    assert settings["data"] == {"quick": "synthetic", "paper": "recorded"}[profile]


@pytest.mark.parametrize(
    ("name", "found", "targets", "needs"),
    [
        ("02_single_domain_baselines", [], None, "it needs one of"),
        ("04_audio_multi_source_transfer", ["savee", "emodb"], None, None),
        ("04_audio_multi_source_transfer", ["savee", "emodb"], ["enterface"], "it needs two of"),
        ("05_fine_tuning_comparison", ["savee"], None, "it needs two of"),
        ("05_fine_tuning_comparison", ["savee", "emodb"], ["enterface"], "it needs two of"),
    ],
)
def test_with_few_corpora_a_notebook_runs_or_says_what_it_needs(
    name, found, targets, needs, synthetic_root, tmp_path, monkeypatch
):
    """Two corpora are each the other's source; where a notebook needs more, or a target that is not
    here, NotRun says so."""
    for corpus in found:
        (tmp_path / corpus).symlink_to(synthetic_root / corpus)
    environment = {"DATA": tmp_path, "CACHE": tmp_path / "cache", "OUTPUT": tmp_path / "out"}
    for variable, folder in environment.items():
        monkeypatch.setenv(f"PATHEMO_{variable}", str(folder))
    source, target = PROJECT / "notebooks" / f"{name}.ipynb", tmp_path / "executed.ipynb"
    options = dict(kernel_name="python3", cwd=source.parent, progress_bar=False)
    parameters = {"data": "recorded", "steps": 20} | ({"targets": targets} if targets else {})
    if needs:
        with pytest.raises(papermill.PapermillExecutionError, match=f"NotRun: {needs}"):
            papermill.execute_notebook(source, target, parameters, **options)
    else:
        papermill.execute_notebook(source, target, parameters, **options)


FOLDER = PROJECT / "reports" / "paper"
PUBLISHED = [*FOLDER.glob("*.*"), *FOLDER.glob("[0-9]*/*.*")]
PAPER = sorted(path for path in PUBLISHED if path.name not in (".lock", "index.md"))


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_the_committed_study_is_light_and_anonymous(path):
    """Below 1 MB a file; no path of a machine, no recording, no video."""
    assert path.stat().st_size < 1_000_000
    if path.suffix in (".ipynb", ".json", ".csv", ".md"):
        text = path.read_text(encoding="utf-8")
        assert not ABSOLUTE.search(text), ABSOLUTE.search(text)
        assert not re.search(r"data:(audio|video)/|\"(audio|video)/", text)
