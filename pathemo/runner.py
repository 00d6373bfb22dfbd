"""The strict runner: notebooks by papermill, then what a reader opens.

A report appears under its name only when its notebook succeeded, and is made again only when
something that it depends on changed."""

import ast
import hashlib
import json
import os
import re
import shutil
import sys
import uuid
from pathlib import Path
from unittest import mock

import nbformat
import pandas as pd
import papermill
import pooch
import yaml
from filelock import FileLock, Timeout
from nbclient.exceptions import DeadKernelError
from PIL import Image as Picture

from . import site
from .corpora import data_root
from .metrics import ROW_COLUMNS
from .report import NotRun, headline, markdown_table, project, results_table, rows, write

WIDGET = "application/vnd.jupyter.widget-view+json"
PAGES = {"runner.py", "site.py"}  # change no output of a notebook


def run(profile, *, only=None, force=False):
    """Path of the index page, after the notebooks of `reports/<profile>.yaml` that are out of date
    were run.

    A notebook depends on its source, its parameters, the module, `environment.yml`, names and sizes
    of the recordings, and the rows of the notebooks that it reads. One that raises `NotRun` is told
    and passed over. `only` names the one notebook to run; `force` runs what is up to date, too.

    ValueError, before anything runs, for an unknown profile, notebook or parameter, or one of
    another type than its default; RuntimeError where a notebook failed, or another run is at work
    in the folder."""
    settings = _read_profile(profile)
    if only is not None and only not in settings["notebooks"]:
        raise ValueError(
            f"no notebook {only!r} in profile {profile}: {', '.join(settings['notebooks'])}"
        )
    folder = settings["folder"]
    folder.mkdir(exist_ok=True)
    try:
        with FileLock(
            folder / ".lock", blocking=False
        ):  # the system releases it, however a run ends
            for staging in folder.glob(".staging/*/*"):
                if _state(staging, staging.name):  # finished, then interrupted
                    _publish(staging, folder)
            shutil.rmtree(folder / ".staging", ignore_errors=True)
            try:
                for name in [only] if only else settings["notebooks"]:
                    digest = _digests(settings)[name]
                    if not force and _state(folder, name).get("digest") == digest:
                        print(f"{name}: up to date", flush=True)
                        continue
                    try:
                        _publish(_execute(settings, name, digest), folder)
                    except NotRun as reason:
                        print(f"{name}: not run: {reason}", flush=True)
                    _summarise(settings)
            finally:  # what is finished can be read, however the run ends
                site.build(settings, *_summarise(settings))
    except Timeout:
        raise RuntimeError(
            f"another run is at work in reports/{profile}: let it end, or stop it"
        ) from None
    return folder / "index.html"


def _read_profile(profile, extending=()):
    """Settings of a profile, its name and folder among them, parameters checked against the
    notebooks'.

    What a profile `extends` gives its data, threads, and the parameters of the notebooks that both
    name."""
    source = f"reports/{profile}.yaml"
    profiles = sorted(path.stem for path in (project() / "reports").glob("*.yaml"))
    if profile not in profiles:
        raise ValueError(f"no profile {profile!r}: reports/ has {', '.join(profiles)}")
    try:
        found = yaml.safe_load((project() / source).read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as problem:
        raise ValueError(f"{source} is damaged or no YAML: {problem}") from None
    _check({"profile": found}, {"profile": {}}, source)
    _check(
        found,
        {"data": "synthetic", "threads": 1, "notebooks": {}, "reads": {}, "extends": ""},
        source,
    )
    notebooks, reads = found.get("notebooks", {}), found.get("reads", {})
    known = sorted(path.stem for path in (project() / "notebooks").glob("*.ipynb"))
    _check(notebooks, dict.fromkeys(known, {}), f"{source}: notebooks")
    _check(reads, dict.fromkeys(notebooks, []), f"{source}: reads")
    for name, others in reads.items():
        if unknown := [
            other for other in others if other not in list(notebooks)
        ]:  # lists have no hash
            raise ValueError(f"{source}: reads: {name}: the profile does not run {unknown}")
    if base := found.pop("extends", None):
        if base in (profile, *extending):
            raise ValueError(f"{source} extends itself")
        given = _read_profile(base, (profile, *extending))
        found = {"data": given["data"], "threads": given["threads"]} | found
        notebooks = {
            name: given["notebooks"].get(name, {}) | own for name, own in notebooks.items()
        }
    if not {"data", "notebooks"} <= set(found) or found["data"] not in ("synthetic", "recorded"):
        raise ValueError(f"{source} needs notebooks, and data: synthetic or recorded")
    for name, parameters in notebooks.items():
        defaults = _defaults(name)
        if "data" in defaults:
            parameters["data"] = found["data"]
        _check(parameters, defaults, f"{source}: {name}")
    settings = {"threads": 1, "reads": {}} | found | {"notebooks": notebooks}
    return settings | {"profile": profile, "folder": project() / "reports" / profile}


def _check(given, defaults, where):
    """ValueError for a name without a default, or a value of another type than the default's."""
    for name, value in given.items():
        if name not in defaults:
            raise ValueError(f"{where} has no parameter {name!r}, only {', '.join(defaults)}")
        if type(value) is not type(defaults[name]):
            kind, found = type(defaults[name]).__name__, type(value).__name__
            raise ValueError(
                f"{where}: {name} must be {kind} like its default {defaults[name]!r}, "
                f"not {found} {value!r}"
            )


def _read_notebook(name):
    return nbformat.read(project() / "notebooks" / f"{name}.ipynb", as_version=4)


def _defaults(name):
    """Parameters of a notebook with their defaults."""
    cells = [
        cell for cell in _read_notebook(name).cells if "parameters" in cell.metadata.get("tags", [])
    ]
    try:
        [cell] = cells
        return {
            line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(cell.source).body
        }
    except (AttributeError, ValueError):
        raise ValueError(
            f"notebooks/{name}.ipynb needs one cell tagged parameters, made of lines "
            f"`name = literal`; it has {[cell.source for cell in cells]}"
        ) from None


def _digests(settings):
    """Digest by notebook of all that it depends on."""
    files = [file for file in Path(__file__).parent.rglob("*.py") if file.name not in PAGES]
    files += [project() / "environment.yml"]
    common = [settings["threads"], *(file.read_text(encoding="utf-8") for file in sorted(files))]
    if settings["data"] == "recorded":
        root = data_root().resolve()
        files = {file for file in root.rglob("[!.]*") if file.is_file()} - {
            *root.glob("synthetic/**/*")
        }
        common += sorted(
            f"{file.relative_to(root).as_posix()} {file.stat().st_size}" for file in files
        )
    digests = {}
    for name, parameters in settings["notebooks"].items():
        cells = _read_notebook(name).cells
        cells = [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in cells]
        read = [
            settings["folder"] / "rows" / f"{other}.csv.gz"
            for other in settings["reads"].get(name, [])
        ]
        read = [pooch.file_hash(path) for path in read if path.is_file()]
        everything = json.dumps([common, parameters, cells, read])
        digests[name] = hashlib.sha256(everything.encode()).hexdigest()
    return digests


def _state(folder, name, kind="state"):
    """What is known of a finished report: digest, title, question, provenance, figures, files."""
    path = folder / kind / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _execute(settings, name, digest):
    """Folder that holds the whole report of a notebook, not yet under its name."""
    folder = settings["folder"]
    # A new folder every time: the kernel of a killed run may write on for a moment.
    staging = folder / ".staging" / uuid.uuid4().hex / name
    staging.mkdir(parents=True)
    path = staging / f"{name}.ipynb"
    environment = {
        "PATHEMO_OUTPUT": str(staging),
        "PATHEMO_PROFILE": settings["profile"],
        "PATHEMO_DATA": str(data_root().resolve()),
        "OMP_NUM_THREADS": str(settings["threads"]),
        "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment, whatever else the user installed
    }
    notebooks = project() / "notebooks"
    try:
        with mock.patch.dict(os.environ, environment):
            notebook = papermill.execute_notebook(
                notebooks / path.name,
                path,
                settings["notebooks"][name],
                kernel_name="python3",
                cwd=notebooks,
                progress_bar={"desc": name},
                extra_arguments=["--IPKernelApp.log_level=50"],
            )
    except (papermill.PapermillExecutionError, DeadKernelError) as error:
        if getattr(error, "ename", None) == "NotRun":
            shutil.rmtree(staging.parent)
            raise NotRun(error.evalue) from None
        (folder / "failed").mkdir(exist_ok=True)
        os.replace(path, folder / "failed" / path.name)
        reason = str(error)
        if isinstance(error, papermill.PapermillExecutionError):
            reason = f"cell [{error.exec_count}] stopped with {error.ename}: {error.evalue}"
        where = f"reports/{settings['profile']}/failed/{path.name}"
        raise RuntimeError(f"{name}: {reason}\nThe notebook as far as it came: {where}") from None

    notebook = _anonymous(notebook)
    nbformat.write(notebook, path)
    state = {
        "digest": digest,
        **_headline(notebook),
        "provenance": _state(staging, name, "provenance"),
    }
    figures = sorted(staging.glob("figures/*.png"), key=lambda figure: figure.stat().st_mtime_ns)
    state["figures"] = {figure.name: Picture.open(figure).info["Description"] for figure in figures}
    files = [path, *figures, *staging.glob("rows/*.csv.gz")]
    state["files"] = [file.relative_to(staging).as_posix() for file in files]
    write(staging / "state" / f"{name}.json", json.dumps(state, indent=1))
    return staging


def _anonymous(notebook):
    """The notebook without paths of this machine, papermill's times, and widgets, which would not
    move.
    """
    for cell in notebook.cells:
        if shown := cell.get("outputs"):
            cell.outputs = [output for output in shown if WIDGET not in output.get("data", ())]
    for part in (notebook, *notebook.cells):
        for key in ("papermill", "execution", "widgets"):
            part.metadata.pop(key, None)
    text = nbformat.writes(notebook, split_lines=False)
    places = {
        "DATA": data_root().resolve(),
        "PROJECT": project(),
        "PYTHON": sys.prefix,
        "HOME": Path.home(),
    }
    words = {
        json.dumps(str(place))[1:-1]: word
        for word, place in places.items()
        if len(Path(place).parts) > 1
    }  # some accounts have / for a home
    # A picture's base64 has slashes, too, and may hold a short path by chance.
    pattern = rf'"image/(?:png|jpeg)": "[^"]*"|(?:{"|".join(map(re.escape, words))})(?!\w)'
    text = re.sub(pattern, lambda found: words.get(found[0], found[0]), text)
    return nbformat.reads(text, as_version=4)


def _headline(notebook):
    """Title of a notebook, and the first sentence of its section Question."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    question = re.search(r"^## Question\s+(.+?[.?!])(?=\s|$)", text, re.MULTILINE | re.DOTALL)
    return {"title": title[1] if title else "", "question": question[1] if question else ""}


def _publish(staging, folder):
    """Give a finished report its name, file by file, its state last; repeated, it goes on where it
    was.
    """
    name = staging.name
    files = _state(staging, name)["files"]
    for gone in {*_state(folder, name).get("files", ())} - {*files} | {f"failed/{name}.ipynb"}:
        (folder / gone).unlink(missing_ok=True)
    for file in [*files, f"state/{name}.json"]:
        (folder / file).parent.mkdir(exist_ok=True)
        if (staging / file).is_file():
            os.replace(staging / file, folder / file)
    shutil.rmtree(staging.parent)


def _summarise(settings):
    """Notebooks, results table and provenance of a report, written to README.md and the files
    beside it.

    Results are of reports that are up to date: rows of another code or another corpus are not mixed
    in."""
    folder, digests = settings["folder"], _digests(settings)
    notebooks = {name: _state(folder, name) or _headline(_read_notebook(name)) for name in digests}
    for name, notebook in notebooks.items():
        notebook["current"] = notebook.get("digest") == digests[name]
    facts = {
        name: notebook["provenance"] for name, notebook in notebooks.items() if "digest" in notebook
    }
    write(folder / "provenance.json", json.dumps(facts, indent=1))
    names = [
        n
        for n in notebooks
        if notebooks[n]["current"] and (folder / "rows" / f"{n}.csv.gz").is_file()
    ]
    columns = ["notebook", *ROW_COLUMNS]
    table = (
        rows(*names, profile=settings["profile"])[columns]
        if names
        else pd.DataFrame(columns=columns)
    )
    write(folder / "results.csv.gz", table.to_csv(index=False, lineterminator="\n"))
    shown = headline(table)
    results = results_table(shown) if shown["metric"].eq("uar").any() else pd.DataFrame()
    text = site.overview(settings, notebooks, results="#results", provenance="provenance.json")
    write(folder / "README.md", f"{text}## Results\n\n{site.SCORES}\n{markdown_table(results)}")
    return notebooks, results, facts
