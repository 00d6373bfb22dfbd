"""What notebooks call, so that parameters, result rows, figures and provenance reach the report."""

import copy
import functools
import io
import json
import os
import platform
import re
import subprocess
import time
from importlib import metadata
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython import get_ipython
from IPython.display import Image
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from . import files, metrics

README_COLUMNS = "logistic encoder fine_tune joint pathnet".split()
PACKAGES = ("pathemo", "torch", "numpy", "pandas", "scikit-learn", "librosa", "papermill")


class NotRun(FileNotFoundError):
    """What a notebook needs is not here: the runner says so, and goes on to the next notebook."""


def home():
    """Return the project's folder; FileNotFoundError outside of one."""
    if (folder := files.project()) is None:
        raise FileNotFoundError(
            "no environment.yml of pathemo here or above: start this inside the project's folder"
        )
    return folder


def parameters():
    """Return the notebook's parameters, with the values of now; call it first in Setup.

    They are the variables with types of literals that the kernel has when it first calls this.
    """
    shell = get_ipython()
    return copy.deepcopy({name: shell.user_ns[name] for name in _parameter_names(shell)})


@functools.cache
def _parameter_names(shell):
    return shell.run_line_magic("who_ls", "bool dict float int list str")


def save_rows(rows):
    """Write result rows for `results.csv.gz`, and return them as written; once a notebook.

    Values are rounded to 4 decimals. ValueError where `metrics.check_rows` finds a fault.
    """
    rows = metrics.check_rows(rows).round({"value": 4})
    files.write_text(_output() / "rows.csv.gz", rows.to_csv(index=False, lineterminator="\n"))
    return rows


def save_figure(figure, name, *, alt):
    """Write a figure to `<name>.png`, close it, and return it as a picture.

    `name`: letters, digits and underscores; `alt`: a sentence for a reader who does not see it.
    """
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"figure name {name!r}: letters, digits and underscores only")
    path, drawn, about = _output() / f"{name}.png", io.BytesIO(), PngInfo()
    about.add_text("Description", alt)  # the runner reads it back
    figure.savefig(drawn, dpi=110, bbox_inches="tight")
    plt.close(figure)  # or it would be shown twice
    # 256 colours make a third of the size, and a report is to stay light.
    picture = Picture.open(drawn).convert("RGB").quantize(256, dither=0)
    with files.atomic_write(path) as file:
        picture.save(file, "png", optimize=True, pnginfo=about)
    return Image(path.read_bytes(), format="png", alt=alt)


def rows(*notebooks, profile=None):
    """Return result rows of the notebooks named, or of all, with their `notebook` first.

    They are those of a profile's report: the one that is being run, else quick. The runner runs a
    notebook that calls this again when rows of earlier ones changed. NotRun where there are none.
    """
    profile = profile or os.environ.get("PATHEMO_PROFILE", "quick")
    paths = sorted((home() / "reports" / profile).glob("*/rows.csv.gz"))
    paths = {path.parent.name: path for path in paths}
    missing = [name for name in notebooks if name not in paths]
    if missing or not paths:
        wanted = ", ".join(missing) or "any notebook"
        raise NotRun(f"reports/{profile} has no rows of {wanted}: python -m pathemo run {profile}")
    tables = {name: metrics.read_rows(paths[name]) for name in notebooks or paths}
    return pd.concat(tables, names=["notebook", ""]).reset_index(0).reset_index(drop=True)


def provenance(parameters, indexes, started):
    """Return a table of what a run depended on, and write it to `provenance.json`.

    `indexes` are the index tables that were read, `started` [s] is `time.perf_counter()` at the
    beginning. It has commit, parameters, corpora, versions, device and duration.
    """
    seconds = time.perf_counter() - started
    import torch  # takes a second by itself

    facts = {"commit": _commit()}
    facts |= {f"parameter {name}": str(value) for name, value in parameters.items()}
    for index in indexes:
        corpus, version = index["corpus"].unique(), index.attrs.get("version", "own table")
        counts = f"{index['clip'].nunique()} clips, {index['speaker'].nunique()} speakers"
        facts[f"corpus {', '.join(corpus)}"] = f"{version}, {counts}"
    facts["python"] = platform.python_version()
    facts |= {package: metadata.version(package) for package in PACKAGES}
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU"
    facts["device"] = f"{device}, {torch.get_num_threads()} threads, {platform.system()}"
    facts["duration"] = f"{seconds:.1f} s"
    files.write_text(_output() / "provenance.json", json.dumps(facts))
    return pd.DataFrame({"value": facts})


def readme(*, check=False):
    """Bring README.md's table, between its two markers, up to date with `reports/paper`.

    ValueError without the markers, or, with `check`, which only looks, where it is out of date.
    """
    path, by = home() / "README.md", ["target", "variant", "protocol", "inputs"]
    every = rows(profile="paper")
    kept = metrics.headline(every)
    unheard = every["variant"].eq("sentences_disjoint") & every["target"].eq("savee")
    shown = pd.concat([kept, every[unheard]])
    others = ~shown["modality"].str.fullmatch(r"speech|hog|crops|landmarks|.*(\+| layer |_).*")
    encoder = shown[others & shown["protocol"].eq("logistic")].assign(protocol="encoder")
    shown = shown[shown["modality"].isin(["speech", "hog"])]
    shown = pd.concat([shown, encoder])
    shown = shown[shown["protocol"].isin(README_COLUMNS) & shown["value"].notna()]
    means = metrics.summary(shown, [*by, "modality"]).set_index(by)["mean"].unstack()
    means = (100 * means).map("{:.1f}".format).replace("nan", "")
    cells = means.agg(" / ".join, axis=1).unstack("protocol", sort=False)
    cells = cells.reindex(columns=README_COLUMNS).astype(object).fillna("").reset_index("variant")
    unknown = cells.pop("variant").map({"": "", "sentences_disjoint": ", sentences unheard"})
    table = metrics.markdown_table(cells.set_axis((cells.index + unknown).rename("target")))
    text = path.read_text(encoding="utf-8")
    parts = re.fullmatch(r"(.*<!-- results -->\n).*(<!-- end of results -->.*)", text, re.DOTALL)
    if not parts:
        raise ValueError("README.md lacks the lines <!-- results --> and <!-- end of results -->")
    new = f"{parts[1]}\n{table}\n{parts[2]}"
    if check and new != text:
        raise ValueError("README.md: table and reports/paper differ: python -m pathemo readme")
    if not check:
        files.write_text(path, new)


def _output():
    """Return the folder for what a notebook saves: the runner's, else one of its own."""
    name = Path(os.environ.get("JPY_SESSION_NAME", "notebook")).stem  # set by JupyterLab
    own = home() / "reports" / "interactive" / name
    return Path(os.environ.get("PATHEMO_OUTPUT", own))


def _commit():
    command = ["git", "-C", home(), "status", "--porcelain=v2", "--branch", "--", ".", ":!reports"]
    own = os.environ | {"GIT_CEILING_DIRECTORIES": str(home().parent)}  # not of a folder above
    try:
        text = subprocess.check_output(command, env=own, stderr=subprocess.DEVNULL, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown: no git here"
    changed = re.search("^[^#]", text, re.MULTILINE)
    return text.split()[2][:7] + " with uncommitted changes" * bool(changed)
