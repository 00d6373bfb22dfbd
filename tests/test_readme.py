"""What README.md says is so."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from pathemo import metrics, report
from pathemo.__main__ import COMMANDS

PROJECT = Path(__file__).parents[1]
README = PROJECT / "README.md"


@pytest.fixture(scope="module")
def text():
    if not README.is_file():
        pytest.skip("no README.md yet")
    return README.read_text(encoding="utf-8")


def code_of(text):
    """All code of the text: fenced blocks and words in backticks."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return "\n".join(
        blocks + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    )


def test_make_targets_exist(text):
    """Every `make TARGET` of the README is a target of the Makefile; the main ones are in the
    README.
    """
    targets = set(re.findall(r"^([a-z]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", code_of(text))) <= targets
    assert {"reports", "test", "lab"} <= set(re.findall(r"\bmake ([a-z]+)", code_of(text)))


def test_commands_exist(text):
    """Every `python -m pathemo VERB` of the README is a command; profiles and corpora that it names
    exist.
    """
    from pathemo.corpora import CORPORA

    uses = re.findall(r"python -m pathemo (\w+)(?: (\w+))?", code_of(text))
    assert {verb for verb, _ in uses} <= set(COMMANDS)
    for verb, name in uses:
        if verb == "run" and not name.startswith("my_"):  # which `new` writes
            assert (PROJECT / "reports" / f"{name}.yaml").is_file()
        if verb == "fetch" and name.islower():
            assert name in CORPORA


def test_paths_exist(text):
    """Every file or folder that the README links to, or shows in its tree, is there."""
    links = [
        link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link
    ]
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    [tree] = [block for block in blocks if "\nnotebooks/" in f"\n{block}"]
    tree = re.findall(r"^([\w.][\w./-]*)", tree, re.MULTILINE)
    assert [path for path in [*links, *tree] if not (PROJECT / path).exists()] == []


def test_python_examples_are_python(text):
    """Every Python block of the README compiles and imports what is there."""
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(block, "README.md", "exec")
        imports = "\n".join(re.findall(r"^(?:from|import) .+$", block, re.MULTILINE))
        subprocess.run([sys.executable, "-c", imports], check=True, cwd=PROJECT)


def test_results_table_is_that_of_the_rows(text, monkeypatch):
    """The table between the markers is what reports/paper gives."""
    monkeypatch.chdir(PROJECT)
    report.readme(check=True)


def test_sentences_are_those_of_the_findings(text):
    """What was found is what notebook 07 made of the rows of reports/paper, word by word."""
    [path] = (PROJECT / "reports" / "paper").glob("07_*/*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    answer = [cell for cell in cells if "answer" in cell.metadata.get("tags", ())][0]
    sentences = answer.outputs[0]["data"]["text/markdown"]
    assert " ".join(sentences.split()) in " ".join(text.split())


def test_it_is_short(text):
    """A newcomer reads it to its end: at most 900 words beside code and table, and 130 lines."""
    prose = re.sub(r"```.*?```|<!-- results.*results -->", "", text, flags=re.DOTALL)
    assert len(prose.split()) <= 900 and len(text.splitlines()) <= 130


def test_the_last_look_is_of_these_rows(monkeypatch):
    """The last line of the log of looks has the main effects of the rows of reports/paper."""
    monkeypatch.chdir(PROJECT)
    last = pd.read_csv(PROJECT / "reports" / "looks.csv").iloc[-1, 5:].astype(float)
    rows = report.rows(profile="paper")
    speech = rows[rows["modality"].eq("speech") & ~rows["notebook"].str.startswith("06")]
    whole, few = speech[speech["variant"].eq("")], speech["variant"].str.startswith("training_")
    faces = rows[rows["modality"].eq("hog") & rows["variant"].eq("")]
    within = rows["modality"].eq("landmarks") & rows["variant"].str.startswith("groups=")
    parts = {
        "one_source": whole[~whole["source"].str.contains("[+&]")],
        "several_sources": whole[
            ~whole["source"].str.contains("&") & whole["source"].str.contains(r"\+|^$")
        ],
        "few_speakers": speech[few],
        "faces_within": rows[within],
        "faces_across": faces,
    }
    for effect, value in last.items():
        [where] = [name for name in parts if effect.startswith(name)]
        way, _, rival = re.fullmatch(rf"{where}_(pathnet(_shared)?)_(.+)_\w+", effect).groups()
        over = ["variant"] if where == "few_speakers" else []
        table = metrics.paired_difference(parts[where], way, rival, ["inputs"], over=over)
        inputs = "plain" if effect.endswith("_plain") else "speaker-normalised"
        difference = table.set_index("inputs")["difference"][inputs]
        assert value == pytest.approx(100 * difference, abs=0.051), effect
