"""What a reader opens: README.md for a forge, and pages by Sphinx that ask nothing of the
network.
"""

import hashlib
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pandas as pd
import pooch
from docutils.writers.html5_polyglot import HTMLTranslator
from itables import options, to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from sphinx.application import Sphinx

from .report import project, write

STYLE = Path(__file__).with_name("site.css")
SYNTHETIC = (
    "<strong>SYNTHETIC</strong> data: made-up voices and faces. These numbers are no findings."
)
OVERVIEW = """# pathemo: the {profile} profile

PathNet transfer for emotion recognition, on {data} corpora. Each notebook asks one question; every number is
a row of [results.csv.gz](results.csv.gz), averaged in [the results table]({results}). Commit, parameters,
corpora and versions of each run are its [provenance]({provenance}).

{opening}

## Notebooks

{notebooks}

## Figures

{figures}

"""
SCORES = """Unweighted average recall (UAR) in %: the mean over speakers, with its 95 % interval. All rows,
to be downloaded: [results.csv.gz](results.csv.gz).
"""
OUTPUT = """````{{raw}} html
<div class="output">
{}
</div>
````
"""
SCROLLABLE = """addEventListener("load", () => {
  for (const part of document.querySelectorAll("pre, .output, .table-wrapper, .math-wrapper"))
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
});"""
TABLE = {
    "paging": False,
    "text_in_header_can_be_selected": False,  # a click on it sorts
    "layout": {"topStart": "search", "topEnd": None, "bottomStart": None, "bottomEnd": None},
}
PARTS = ("_*", "*.js", "*.html")  # of the pages in a report folder
SETTINGS = {
    "extensions": ["myst_nb", __name__],
    "nb_execution_mode": "off",
    "nb_ipywidgets_js": {},  # would be fetched from afar
    "nb_render_image_options": {"alt": "Drawn by the code above."},
    "myst_enable_extensions": ["dollarmath"],
    "html_math_renderer": "mathml",
    "html_theme": "furo",
    "pygments_style": "a11y-high-contrast-light",
    "html_static_path": [str(STYLE)],
    "html_css_files": [STYLE.name],
    "html_copy_source": False,
    "html_show_copyright": False,
    "html_show_search_summary": False,  # would fetch the pages, which a browser refuses for files
    "html_show_sphinx": False,
    "html_use_index": False,
}


def setup(app):
    """What this module adds to Sphinx: formulas as MathML by docutils, and a key's way into what
    scrolls.
    """

    def visit(translator, node):
        translator.math_output, translator.math_options = "mathml", ""
        HTMLTranslator.visit_math(translator, node)

    app.add_html_math_renderer("mathml", (visit, None), (visit, None))
    app.add_js_file(None, body=SCROLLABLE)


def overview(settings, notebooks, **links):
    """Markdown that says what each notebook asks and whether it is up to date, and shows all
    figures.

    `links` are where a reader finds the table of `results` and the `provenance`.
    """
    items, figures = [], []
    for name, notebook in notebooks.items():
        title, question = notebook["title"] or name, " ".join(notebook["question"].split())
        if "digest" not in notebook:
            items.append(f"- {title}: {question} **Not run yet.**")
            continue
        state = (
            "Up to date"
            if notebook["current"]
            else "**Out of date**: what it depends on has changed"
        )
        duration = notebook["provenance"].get("duration", "a time unknown")
        items.append(f"- [{title}]({name}.ipynb): {question} {state}; it ran in {duration}.")
        for file, alt in notebook["figures"].items():
            figures.append(f"- [![{alt}](figures/{file})]({name}.ipynb) {alt}")
    # The last notebook has the findings, and its first figure opens the page.
    opening = (
        figures.pop(-len(notebook["figures"])).removeprefix("- ") if notebook.get("figures") else ""
    )
    parts = {"notebooks": "\n".join(items), "figures": "\n".join(figures), "opening": opening}
    text = OVERVIEW.format_map(settings | links | parts)
    return text.replace("\n", f"\n\n{SYNTHETIC}\n", 1) if settings["data"] == "synthetic" else text


def build(settings, notebooks, results, facts):
    """Pages of a report, made aside and put in place when whole; nothing, where they are up to
    date.
    """
    folder, staging = settings["folder"], settings["folder"] / ".staging"
    staging.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=staging) as work:
        source, pages, doctrees = (Path(work) / part for part in ("source", "pages", "doctrees"))
        _write_source(source, settings, notebooks, results, facts)
        files = [Path(__file__), STYLE, project() / "environment.yml", *sorted(source.rglob("*.*"))]
        digest = hashlib.sha256(
            "".join(pooch.file_hash(file) for file in files).encode()
        ).hexdigest()
        index, stamp = folder / "index.html", folder / "_static" / "digest.txt"
        if index.is_file() and stamp.is_file() and stamp.read_text() == digest:
            return
        print("building the pages", flush=True)
        title = f"pathemo: {settings['profile']} profile"
        banner = {"announcement": SYNTHETIC} if settings["data"] == "synthetic" else {}
        about = {"project": title, "html_title": title, "html_theme_options": banner}
        Sphinx(source, None, pages, doctrees, "html", SETTINGS | about, status=None).build()
        for old in [path for pattern in PARTS for path in folder.glob(pattern)]:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for new in [path for pattern in PARTS for path in pages.glob(pattern)]:
            os.replace(new, folder / new.name)
    write(stamp, digest)


def _write_source(source, settings, notebooks, results, facts):
    """What Sphinx reads: notebooks, figures and results of the report, and three pages in
    Markdown.
    """
    done = list(facts)
    for name in done:
        notebook = nbformat.read(settings["folder"] / f"{name}.ipynb", as_version=4)
        for cell in notebook.cells:  # alternative text, where myst-nb looks for it
            for output in cell.get("outputs", []):
                if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                    cell.metadata["mystnb"] = {"image": {"alt": alt}}
        write(source / f"{name}.ipynb", nbformat.writes(notebook))
    (source / "figures").mkdir(parents=True, exist_ok=True)
    figures = [f"figures/{figure}" for name in done for figure in notebooks[name]["figures"]]
    for file in ["results.csv.gz", *figures]:
        shutil.copy(settings["folder"] / file, source / file)

    contents = "\n".join(["```{toctree}", ":hidden:", "", *done, "results", "provenance", "```\n"])
    index = overview(settings, notebooks, results="results.md", provenance="provenance.md")
    write(source / "index.md", index + contents)
    # A blank before 98.0 sorts it before 100.0.
    results = results.replace({r"^(\d\.)": r"  \1", r"^(\d\d\.)": r" \1"}, regex=True).reset_index()
    table = to_html_datatable(results, connected=False, table_id="scores", **TABLE)
    table = generate_init_offline_itables_html(options.dt_bundle) + table
    write(source / "results.md", f"# Results\n\n{SCORES}\n{OUTPUT.format(table)}")
    tables = {
        name: pd.DataFrame({"value": values}).to_html(border=0) for name, values in facts.items()
    }
    sections = [f"## {name}\n\n{OUTPUT.format(table)}" for name, table in tables.items()]
    write(source / "provenance.md", "\n".join(["# Provenance\n", *sections]))
