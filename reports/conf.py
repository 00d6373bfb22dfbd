"""Sphinx: the pages of a report, which ask nothing of the network; `runner` builds them."""

import json
import re

from docutils.writers.html5_polyglot import HTMLTranslator

extensions = ["myst_nb"]
exclude_patterns = ["README.md", "failed", "html", ".staging"]
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # would be fetched
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2
html_math_renderer = "mathml"
html_theme, pygments_style = "furo", "a11y-high-contrast-light"
html_static_path = html_css_files = ["site.css"]
html_copy_source = html_show_copyright = html_show_sphinx = html_use_index = False
html_show_search_summary = False  # would fetch the pages, which a browser refuses for files
INDEX = "```{include} README.md\n```\n\n```{toctree}\n:hidden:\n:glob:\n\n*/*\n```\n"
SCROLLABLE = """addEventListener("load", () => document.querySelectorAll(
  "pre, .output, .table-wrapper, .math-wrapper").forEach(part => {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0; }));"""  # a key's way into it


def setup(app):
    """Give Sphinx an index page, title and banner, formulas as MathML, and texts for pictures."""
    (app.srcdir / "index.md").write_text(INDEX, encoding="utf-8")
    app.config.project = app.config.html_title = f"pathemo: {app.srcdir.name} profile"
    readme = (app.srcdir / "README.md").read_text(encoding="utf-8")
    if banner := re.search("^<strong>SYNTHETIC.*", readme, re.MULTILINE):
        app.config.html_theme_options = {"announcement": banner[0]}
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.add_js_file(None, body=SCROLLABLE)
    app.connect("source-read", describe_pictures)


def visit_math(translator, node):
    translator.math_output, translator.math_options = "mathml", ""
    HTMLTranslator.visit_math(translator, node)


def describe_pictures(app, page, source):
    """Put alternative text where myst-nb looks for it, beside the code that drew the picture."""
    notebook = json.loads(source[0]) if page != "index" else {"cells": []}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                cell["metadata"]["mystnb"] = {"image": {"alt": alt}}
                source[0] = json.dumps(notebook)
