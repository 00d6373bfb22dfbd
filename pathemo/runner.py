"""The strict runner: notebooks by papermill, then the pages that a reader opens.

A report appears under its name only when its notebook succeeded, and is made again only when
something that it depends on changed.
"""

import ast
import json
import os
import re
import shutil
import sys
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import joblib
import nbformat
import pandas as pd
import papermill
import pooch
import yaml
from filelock import FileLock, Timeout
from nbclient.exceptions import DeadKernelError
from PIL import Image as Picture
from sphinx.application import Sphinx

from . import files, metrics, report

WIDGET = "application/vnd.jupyter.widget-view+json"
BANNERS = {  # by data
    "synthetic": "<strong>SYNTHETIC</strong> data: made-up voices and faces, so no findings.\n",
    "recorded": "",
}
OVERVIEW = """# pathemo: the {profile} profile

{banner}
PathNet transfer for emotion recognition, on {data} corpora. Each notebook asks one question; every
number is a row of [results.csv.gz](results.csv.gz), averaged in the [results](#results). Commit,
parameters, corpora and versions of a run are told in the last cell of its notebook. Times are
without what earlier runs had finished, which is kept.

{answers}

## Notebooks

{notebooks}

## Figures

{figures}

## Results

Unweighted average recall (UAR) in %: the mean over test speakers and sources, with its 95 %
interval over speakers and seeds.

{results}"""


def run(profile, *, only=None):
    """Run what is out of date in `reports/<profile>.yaml`, and return the path of the index page.

    A notebook depends on its source, its parameters, the module, `environment.yml`, names and sizes
    of the recordings, and, where it calls `report.rows`, the rows of those numbered before it. One
    that raises `NotRun` is told and passed over. `only` names the one notebook to run.

    Raises
    ------
    ValueError
        Before anything runs: an unknown profile, notebook or parameter, or one of another type than
        its default.
    RuntimeError
        A notebook failed, or another run is at work in the folder.
    """
    settings = _read_profile(profile)
    folder, notebooks = settings["folder"], settings["notebooks"]
    if only not in (None, *notebooks):
        raise ValueError(f"no notebook {only!r} in profile {profile}: {', '.join(notebooks)}")
    staging = folder / ".staging"
    folder.mkdir(exist_ok=True)
    try:
        with FileLock(folder / ".lock", blocking=False):  # released however a run ends
            shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
            staging.mkdir(exist_ok=True)
            try:
                for name in [only] if only else notebooks:
                    _bring_up_to_date(settings, name)
            finally:  # what is finished can be read
                _summarise(settings)
                _build_pages(folder)
                shutil.rmtree(staging, ignore_errors=True)
    except Timeout:
        message = f"another run is at work in reports/{profile}: let it end, or stop it"
        raise RuntimeError(message) from None
    return folder / "html" / "index.html"


def _read_profile(profile):
    """Return the checked settings of a profile, its folder, and what all notebooks depend on."""
    reports, source = report.home() / "reports", f"reports/{profile}.yaml"
    profiles = sorted(path.stem for path in reports.glob("*.yaml"))
    if profile not in profiles:
        raise ValueError(f"no profile {profile!r}: reports/ has {', '.join(profiles)}")
    try:
        settings = yaml.safe_load((reports / f"{profile}.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as problem:
        raise ValueError(f"{source} is damaged or no YAML: {problem}") from None
    names = sorted(path.stem for path in report.home().glob("notebooks/*.ipynb"))
    known = {"data": "synthetic", "threads": 1, "notebooks": {n: _defaults(n) for n in names}}
    _check(settings, known, source, depth=3)
    if settings.get("data") not in BANNERS:
        raise ValueError(f"{source} needs data: synthetic or recorded")
    settings = {"threads": 1, "notebooks": {}} | settings
    for name, parameters in settings["notebooks"].items():
        if "data" in known["notebooks"][name]:
            settings["notebooks"][name] = parameters | {"data": settings["data"]}
    return settings | {"folder": reports / profile, "common": _common(settings)}


def _check(given, default, where, depth=0):
    """ValueError for another type than the default's, or, so deep, for names that it has not."""
    if type(given) is not type(default):
        kinds = f"{type(default).__name__} like its default {default!r}, not {type(given).__name__}"
        raise ValueError(f"{where} must be {kinds} {given!r}")
    for name, value in given.items() if depth and isinstance(given, dict) else ():
        if name not in default:
            raise ValueError(f"{where} has no parameter {name!r}, only {', '.join(default)}")
        _check(value, default[name], f"{where}: {name}", depth - 1)


def _read_notebook(name):
    return nbformat.read(report.home() / "notebooks" / f"{name}.ipynb", as_version=4)


def _defaults(name):
    """Return the parameters of a notebook with their defaults."""
    found = papermill.inspect_notebook(_read_notebook(name)).values()
    try:
        return {parameter["name"]: ast.literal_eval(parameter["default"]) for parameter in found}
    except (SyntaxError, ValueError):
        defaults = [parameter["default"] for parameter in found]
        message = f"notebooks/{name}.ipynb: parameters are `name = literal`, not {defaults}"
        raise ValueError(message) from None


def _common(settings):
    """Return a digest of what all notebooks share: threads, environment, code, and recordings."""
    environment = pooch.file_hash(report.home() / "environment.yml")
    others = "runner.py", "own.py"  # what no notebook calls
    rooms = sorted(path.name for path in files.PACKAGE.iterdir() if path.name not in others)
    root = files.data_root().resolve()
    sizes = [
        (path.relative_to(root).as_posix(), path.stat().st_size)
        for path in (files.walk(root) if settings["data"] == "recorded" else [])
        if not path.is_relative_to(root / "synthetic")
    ]
    return joblib.hash([settings["threads"], environment, files.code_digest(*rooms), sizes])


def _digest(settings, name):
    """Return a digest of all that a notebook depends on."""
    cells = [(c.cell_type, c.source, c.metadata.get("tags")) for c in _read_notebook(name).cells]
    read = sorted(settings["folder"].glob("*/rows.csv.gz")) if "report.rows(" in str(cells) else []
    read = [pooch.file_hash(path) for path in read if path.parent.name < name]
    return joblib.hash([settings["common"], settings["notebooks"][name], cells, read])


def _is_current(settings, name):
    path = settings["folder"] / name / "digest.txt"
    return path.is_file() and path.read_text() == _digest(settings, name)


def _bring_up_to_date(settings, name):
    """Run a notebook if it is out of date, and give its whole report its name."""
    folder, notebooks = settings["folder"], report.home() / "notebooks"
    if _is_current(settings, name):
        print(f"{name}: up to date", flush=True)
        return
    digest = _digest(settings, name)  # of now: files may change while the notebook runs
    # A new folder every time: the kernel of a killed run may write on for a moment.
    staging, failed = folder / ".staging" / uuid.uuid4().hex, folder / "failed" / f"{name}.ipynb"
    staging.mkdir()
    executed = staging / failed.name
    environment = {
        "PATHEMO_OUTPUT": str(staging),
        "PATHEMO_PROFILE": folder.name,
        "PATHEMO_DATA": str(files.data_root().resolve()),
        "PATHEMO_CACHE": str(files.cache_folder()),
        "OMP_NUM_THREADS": str(settings["threads"]),
        "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment, not the user's
    }
    try:
        with mock.patch.dict(os.environ, environment):
            notebook = papermill.execute_notebook(
                notebooks / executed.name,
                executed,
                settings["notebooks"][name],
                kernel_name="python3",
                cwd=notebooks,
                progress_bar={"desc": name},
                extra_arguments=["--IPKernelApp.log_level=50"],
            )
    except (papermill.PapermillExecutionError, DeadKernelError) as error:
        reason = str(error)
        if isinstance(error, papermill.PapermillExecutionError):
            reason = f"cell [{error.exec_count}] stopped with {error.ename}: {error.evalue}"
            if error.ename == "NotRun":
                print(f"{name}: not run: {error.evalue}", flush=True)
                return
        failed.parent.mkdir(exist_ok=True)
        os.replace(executed, failed)
        where = failed.relative_to(report.home()).as_posix()
        raise RuntimeError(f"{name}: {reason}\nThe notebook as far as it came: {where}") from None
    nbformat.write(_anonymous(notebook), executed)
    files.write_text(staging / "digest.txt", digest)
    shutil.rmtree(folder / name, ignore_errors=True)
    os.replace(staging, folder / name)
    failed.unlink(missing_ok=True)


def _anonymous(notebook):
    """Return the notebook without paths of this machine, times of papermill, and progress bars."""
    for part in (notebook, *notebook.cells):
        for key in ("papermill", "execution", "widgets"):
            part.metadata.pop(key, None)
        if "outputs" in part:
            part.outputs = [out for out in part.outputs if WIDGET not in out.get("data", ())]
    places = {files.data_root().resolve(): "DATA", report.home(): "PROJECT"}
    places |= {Path(sys.prefix): "PYTHON", Path.home(): "HOME"}
    words = {json.dumps(str(place))[1:-1]: word for place, word in places.items() if place.name}
    # A picture's base64 has slashes, too, and may hold a short path by chance.
    pattern = rf'"image/(?:png|jpeg)": "[^"]*"|(?:{"|".join(map(re.escape, words))})(?!\w)'
    text = nbformat.writes(notebook, split_lines=False)
    text = re.sub(pattern, lambda match: words.get(match[0], match[0]), text)
    return nbformat.reads(text, as_version=4)


def title_and_question(name):
    """Return the title of a notebook, and the first sentence of its section Question."""
    pattern = r"# (.+?)\s+## Question\s+(.+?[.?!])(?=\s|\Z)"
    match = re.match(pattern, _read_notebook(name).cells[0].source, re.DOTALL)
    title, question = match.groups() if match else (name, "")
    return title, " ".join(question.split())


def _summarise(settings):
    """Write README.md and results.csv.gz of a report.

    Results are of notebooks that are up to date: rows of another code or corpus are not mixed in.
    """
    folder, lines, figures, answers, current = settings["folder"], [], {}, [], []
    for name in settings["notebooks"]:
        title, question = title_and_question(name)
        place, state, shown = folder / name, "**Not run yet.**", []
        if place.is_dir():
            title = f"[{title}]({name}/{name}.ipynb)"
            state = "**Out of date**: what it depends on has changed."
        if _is_current(settings, name):
            state = "Up to date."
            current += [path.parent.name for path in place.glob("rows.csv.gz")]
            cells = nbformat.read(place / f"{name}.ipynb", as_version=4).cells
            tagged = [cell for cell in cells if "answer" in cell.metadata.get("tags", ())]
            shown += [out for cell in tagged for out in cell.outputs]
        for path in place.glob("provenance.json"):
            state += f" It ran in {json.loads(path.read_text(encoding='utf-8'))['duration']}."
        lines.append(f"- {title}: {question} {state}")
        for figure in sorted(place.glob("*.png")):
            alt = Picture.open(figure).info["Description"]
            figures[alt] = f"[![{alt}]({name}/{figure.name})]({name}/{name}.ipynb)"
        for out in shown:  # a sentence, or a figure that is there as a file
            alt = out.get("metadata", {}).get("image/png", {}).get("alt")
            answers.append(figures.pop(alt) if alt else out["data"]["text/markdown"])
    rows = pd.DataFrame(columns=["notebook", *metrics.ROW_COLUMNS])
    if current:
        rows = report.rows(*current, profile=folder.name)
    shown, results = metrics.headline(rows), ""
    if shown["metric"].eq("uar").any():
        table = metrics.score_table(shown, ["target", "modality", "inputs", "protocol"])
        table = metrics.markdown_table(table.rename(columns={"uar": "UAR"}))
        results = f"{table}\n{metrics.not_run(shown)}\n"
    parts = {"profile": folder.name, "banner": BANNERS[settings["data"]], "results": results}
    parts |= {"notebooks": "\n".join(lines), "figures": "\n".join(figures.values())}
    parts["answers"] = "\n\n".join(answers)
    files.write_text(folder / "README.md", OVERVIEW.format_map(settings | parts))
    files.write_text(folder / "results.csv.gz", rows.to_csv(index=False, lineterminator="\n"))


def _build_pages(folder):
    """Build a report's pages by `reports/conf.py`, aside until they are whole, if need be."""
    sources = [folder / "README.md", *folder.glob("*/*.ipynb"), *folder.parent.glob("*.*")]
    digest = joblib.hash([path.read_bytes() for path in sorted(sources)])
    pages, stamp = folder / "html", folder / "html" / "digest"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    with TemporaryDirectory(dir=folder / ".staging") as work:
        new, doctrees = Path(work, "html"), Path(work, "doctrees")
        Sphinx(folder, folder.parent, new, doctrees, "html", status=None).build()
        (new / stamp.name).write_text(digest)
        shutil.rmtree(pages, ignore_errors=True)
        os.replace(new, pages)
