"""What README.md says is so."""

import re
import subprocess
import sys
from pathlib import Path

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
        if verb == "run":
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


def test_sentences_say_what_the_rows_say(text, monkeypatch):
    """What speakers and sentences give away, and sound and face together: numbers of the text."""
    monkeypatch.chdir(PROJECT)
    words, rows = " ".join(text.split()), report.rows(profile="paper")
    rows = rows[rows["note"].eq("")]
    key = ["target", "inputs", "protocol"]

    def percent(part, by, **options):
        return 100 * metrics.summary(part, by, **options).set_index(by)[["mean", "pooled"]]

    speech = rows[rows["notebook"].str.startswith("02") & rows["modality"].eq("speech")]
    leak = percent(speech[speech["variant"].isin(["", "speakers_shared"])], [*key, "variant"])
    leak = leak["pooled"].unstack().dropna().diff(axis=1)["speakers_shared"]
    assert f"adds {leak.min():.0f} to {leak.max():.0f} points" in words

    heard = percent(speech[speech["variant"].str.startswith("sent")], [*key, "variant"])["mean"]
    savee = heard.unstack().xs(("savee", "logistic"), level=("target", "protocol")).round(1)
    plain, normalised = (savee.loc[i] for i in ("plain", "speaker-normalised"))
    falls = "from {sentences_shared} to {sentences_disjoint} ({})"
    assert falls.format("plain", **plain) in words
    assert falls.format("speaker-normalised", **normalised) in words
    price = heard.unstack().drop("savee").diff(axis=1)["sentences_shared"]
    assert f"new words cost {price.min():.0f} to {price.max():.0f} points" in words

    fused = rows[rows["variant"].eq("members=all") & rows["notebook"].str.startswith("06")]
    fused = percent(fused, ["inputs", "protocol"], metric="accuracy")["mean"].unstack(0).round(1)
    product, nested = (
        "{plain} % of the clips, speaker-normalised {speaker-normalised} %",
        "{plain} % and {speaker-normalised} %",
    )
    assert product.format(**fused.loc["fusion_product"]) in words
    assert nested.format(**fused.loc["fusion_nested"]) in words


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
