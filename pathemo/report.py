"""What notebooks call: result rows, figures and provenance go to the report; tables are drawn from
rows.
"""

import gzip
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
from IPython.display import Image
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from . import cache
from .corpora import reading
from .metrics import ROW_COLUMNS, ROW_KEY, ROW_TYPES, read_rows, summary

PACKAGES = ("pathemo", "torch", "numpy", "pandas", "scikit-learn", "librosa", "papermill")


def project():
    """Folder of the project: the nearest one at or above the working directory with an
    environment.yml.
    """
    folder = reading.project()
    if folder is None:
        raise FileNotFoundError(
            "no environment.yml here or above: start this inside the project's folder"
        )
    return folder


def save_rows(rows):
    """Result rows as they were written for `results.csv.gz`, values rounded to 4 decimals; once a
    notebook.

    ValueError for other columns than `metrics.ROW_COLUMNS`, a row twice, or a value missing without
    a note."""
    if set(rows.columns) != set(ROW_COLUMNS):
        raise ValueError(
            f"result rows have columns {', '.join(ROW_COLUMNS)}, not {', '.join(rows.columns)}"
        )
    rows = rows[list(ROW_COLUMNS)].astype(ROW_TYPES).round({"value": 4})
    twice, silent = rows.duplicated(ROW_KEY), rows["value"].isna() & (rows["note"] == "")
    for wrong, problem in ((twice, "there twice"), (silent, "without a value and without a note")):
        if wrong.any():
            first = rows.loc[wrong, ROW_KEY].iloc[0].to_dict()
            raise ValueError(
                f"{wrong.sum()} of {len(rows)} result rows are {problem}, the first is {first}"
            )
    folder = _output()
    write(folder / "rows" / f"{folder.name}.csv.gz", rows.to_csv(index=False, lineterminator="\n"))
    return rows


def save_figure(figure, name, *, alt):
    """The figure as a picture, also written to `figures/<notebook>_<name>.png`; closed, so it is
    shown once.

    `name`: letters, digits and underscores; `alt`: a sentence for a reader who does not see the
    picture."""
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"figure name {name!r}: letters, digits and underscores only")
    folder = _output()
    path = folder / "figures" / f"{folder.name}_{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    about = PngInfo()
    about.add_text("Description", alt)  # the index page reads it back
    # 256 colours make a third of the size, and a report is to stay light.
    Picture.open(path).convert("RGB").quantize(256, dither=0).save(
        path, optimize=True, pnginfo=about
    )
    return Image(path.read_bytes(), format="png", alt=alt)


def interactive():
    """Whether a person runs the notebook, and not the runner: only then is a slider of use."""
    return "PATHEMO_OUTPUT" not in os.environ


class NotRun(FileNotFoundError):
    """What a notebook needs is not here: the runner says so, and goes on to the next notebook."""


def rows(*notebooks, profile=None):
    """Result rows of a profile's report, of the notebooks named or of all, with a column
    `notebook`.

    The profile is the one that is being run, else quick. A notebook that draws from another's rows
    is listed under `reads` in `reports/<profile>.yaml`, so that it is run again when those change.
    """
    profile = profile or os.environ.get("PATHEMO_PROFILE", "quick")
    folder = project() / "reports" / profile / "rows"
    names = notebooks or sorted(
        file.name.removesuffix(".csv.gz") for file in folder.glob("*.csv.gz")
    )
    files = {name: folder / f"{name}.csv.gz" for name in names}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing or not files:
        wanted = ", ".join(missing) or "any notebook"
        raise NotRun(f"reports/{profile} has no rows of {wanted}: python -m pathemo run {profile}")
    return pd.concat(
        [read_rows(file).assign(notebook=n) for n, file in files.items()], ignore_index=True
    )


def provenance(parameters, indexes, started):
    """Table of what a run depended on: commit, parameters, corpora, versions, device, duration.

    `indexes` are the index tables that were read, `started` [s] is `time.perf_counter()` at the
    beginning."""
    seconds = time.perf_counter() - started
    import torch  # takes a second by itself

    facts = {"commit": _commit()}
    facts |= {f"parameter {name}": str(value) for name, value in parameters.items()}
    for index in indexes:
        corpus, version = (
            ", ".join(index["corpus"].unique()),
            index.attrs.get("version", "own table"),
        )
        n_clips, n_speakers = index["clip"].nunique(), index["speaker"].nunique()
        facts[f"corpus {corpus}"] = f"{version}, {n_clips} clips, {n_speakers} speakers"
    facts["python"] = platform.python_version()
    facts |= {package: metadata.version(package) for package in PACKAGES}
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    )
    facts["device"] = f"{device}, {torch.get_num_threads()} threads, {platform.system()}"
    facts["duration"] = f"{seconds:.1f} s"
    folder = _output()
    write(folder / "provenance" / f"{folder.name}.json", json.dumps(facts))
    return pd.DataFrame({"value": facts})


def _output():
    """Folder, named after the notebook, for what it saves: the runner's, else one for interactive
    use.
    """
    if folder := os.environ.get("PATHEMO_OUTPUT"):
        return Path(folder)
    name = Path(os.environ.get("JPY_SESSION_NAME", "notebook")).stem  # set by JupyterLab
    return project() / "reports" / "interactive" / name


def _commit():
    git = ["git", "-C", str(project())]
    try:
        commit = subprocess.check_output(
            [*git, "rev-parse", "--short", "HEAD"], stderr=subprocess.DEVNULL
        )
        changed = subprocess.check_output([*git, "status", "--porcelain", "--", ".", ":!reports"])
    except (OSError, subprocess.CalledProcessError):
        return "unknown: no git here"
    return commit.decode().strip() + " with uncommitted changes" * bool(changed)


def write(path, text):
    """Write a text, packed if the name ends in .gz, so that the name holds a whole one at any
    moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode("utf-8")
    with cache.whole(path) as file:
        file.write(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def results_table(rows, *, row=("target", "inputs", "source"), metric="uar"):
    """A score in percent with its 95 % interval as text, or "not run": a column for each protocol.

    A row of the table stands for the columns `row` of the result rows; what is left out is averaged
    over."""
    row = list(row)
    by = [*row, "protocol"]
    part = rows[(rows["metric"] == metric) | (rows["note"] != "")]
    table = summary(part, by, metric=metric).replace({"source": "", "protocol": ""}, "none")
    percent = (100 * table[["mean", "low", "high"]].clip(0, 1)).map("{:.1f}".format)
    interval = (" [" + percent["low"] + ", " + percent["high"] + "]").where(
        table["low"].notna(), ""
    )
    table["score"] = (percent["mean"] + interval).where(table["n_speakers"] > 0, "not run")
    wide = table.set_index(by)["score"].unstack(sort=False, fill_value="")
    counts = table.groupby(row, sort=False).agg(
        speakers=("n_speakers", "max"), seeds=("n_seeds", "max")
    )
    return wide.join(counts)


def headline(rows):
    """Rows of the study's main comparison: a task learned whole, tested on strangers.

    What was learned or tested in part, what sources are remembered, and the fusion of notebook 06
    stand in the notebooks that made them."""
    partly = (
        r", (?:\d+ (?:training speakers|groups|steps)|speakers_shared|shared emotions|with .+)$"
    )
    beside = rows["inputs"].str.contains(partly) | rows["protocol"].str.endswith(" the target")
    return rows[~beside & rows["notebook"].ne("06_ravdess_multimodal")]


def readme(*, check=False):
    """Bring README.md's table, between its two markers, up to date with `reports/paper`.

    `check` only looks, and raises ValueError where it is out of date.
    """
    path = project() / "README.md"
    old = path.read_text(encoding="utf-8")
    parts = re.fullmatch(r"(.*<!-- results -->\n).*(<!-- end of results -->.*)", old, re.DOTALL)
    if not parts:
        raise ValueError("README.md lacks the lines <!-- results --> and <!-- end of results -->")
    table = results_table(headline(rows(profile="paper")), row=["target", "inputs"])
    new = f"{parts[1]}\n{markdown_table(table)}\n{parts[2]}"
    if check and new != old:
        raise ValueError(
            "README.md: table and reports/paper differ; `python -m pathemo readme` mends it"
        )
    if not check:
        write(path, new)


def markdown_table(table):
    """A table with its index as Markdown."""
    table = table.reset_index()
    cells = [table.columns, ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)
