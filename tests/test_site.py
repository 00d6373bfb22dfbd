"""The pages of a report, read as files."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from test_runner import (
    PICTURE,
    PROVENANCE,
    ROWS,
    SETUP,
    new_project,
    write_notebook,
    write_profile,
)

from pathemo import runner

QUICK = Path(__file__).parents[1] / "reports" / "quick"
NOT_RUN = """import pandas as pd
from pathemo.metrics import not_run_rows
missing = not_run_rows("savee not found", target="savee", protocol="svm")
rows = report.save_rows(pd.concat([rows, missing]))"""
ANSWER = """from IPython.display import Markdown, display
display(Markdown("- made of rows"))"""
FORMULA = r"""Inline $x^2$ and

$$ h_l = \sum_{m \in \text{path}_l} f_{l,m}(h_{l-1}), \qquad h_0 = x $$"""
LOADED = {"script": "src", "link": "href", "img": "src"}


class Page(HTMLParser):
    """Places, links, what a browser loads, and pictures of a page."""

    def __init__(self, path):
        super().__init__()
        self.path, self.places, self.links, self.loaded, self.pictures = path, set(), [], [], []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places.add(attributes.get("id"))
        if tag == "img":
            self.pictures.append(attributes)
        if target := attributes.get(LOADED.get(tag)):
            self.loaded.append(target)
        if target := attributes.get("href"):
            self.links.append(target)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Report of two notebooks: the first has all that pages show, the second fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(new_project(tmp_path_factory.mktemp("small")))
        cells = [SETUP, PICTURE, ROWS, NOT_RUN, ANSWER, PROVENANCE]
        write_notebook("01_one", *cells, title="The first", text=FORMULA)
        path = Path("notebooks", "01_one.ipynb")
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[-2].metadata["tags"] = ["answer"]
        nbformat.write(notebook, path)
        write_notebook("02_two", "1 / 0", title="The second")
        write_profile({"01_one": {}, "02_two": {}})
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            runner.run("small")
        yield Path("reports/small").resolve()


@pytest.fixture(params=["small", "quick"])
def pages(request):
    """All pages of a report by path."""
    if request.param == "quick" and not (QUICK / "html").is_dir():
        pytest.skip("no reports/quick here: make reports")
    folder = QUICK if request.param == "quick" else request.getfixturevalue("small")
    return {path: Page(path) for path in (folder / "html").rglob("*.html")}


def test_each_page_says_synthetic(pages):
    """The banner is on every page."""
    for path, page in pages.items():
        assert "<strong>SYNTHETIC</strong> data" in page.text, path


def test_pages_ask_nothing_of_the_network(pages):
    """Scripts, styles and pictures are files of the report, and styles load no others."""
    for path, page in pages.items():
        assert [url for url in page.loaded if urlsplit(url).netloc] == [], path
    [root] = [path.parent for path in pages if path.name == "index.html"]
    for style in root.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text()), style


def test_links_lead_somewhere(pages):
    """Whatever a page links or loads is a file that is there; a place within a page exists."""
    n_links = 0
    for path, page in pages.items():
        for link in {*page.links, *page.loaded}:
            url = urlsplit(link)
            if url.scheme:
                continue
            n_links += 1
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            assert file.is_file(), (path, link)
            assert not url.fragment or unquote(url.fragment) in pages[file].places, (path, link)
    assert n_links > 10 * len(pages)


def test_every_picture_has_alternative_text(pages):
    """What is drawn is described, in a sentence of its own where `save_figure` was told one."""
    for path, page in pages.items():
        assert all(picture.get("alt") for picture in page.pictures), path


def test_the_index_tells_what_was_run(small):
    """It has title, question and state of each notebook, results, and pictures with their text."""
    text = re.sub(r"\s+", " ", (small / "html" / "index.html").read_text(encoding="utf-8"))
    link = r'href="01_one/01_one.html">'
    assert re.search(rf"{link}.*?The first.*?</a>: Is .*? right\? Up to date\. It ran in \d", text)
    assert "The second: Is" in text and text.count("<strong>Not run yet.</strong>") == 1
    assert "It costs nothing" not in text
    assert re.search(rf'{link}<span [^>]*><img alt="An empty plot, naïvely" src="_images/', text)
    assert "Not run, for want of data: savee (speech)." in text and "made of rows" in text


def test_a_notebooks_page_has_formulas_and_alternative_text(small):
    """Formulas are MathML, which needs no script; a picture says what `save_figure` was told."""
    page = (small / "html" / "01_one" / "01_one.html").read_text(encoding="utf-8")
    assert page.count("<math ") == 3 and "<msup>" in page and "<munder>" in page
    assert 'alt="An empty plot, naïvely"' in page
    assert "MathJax" not in page


def test_the_forge_shows_the_same(small):
    """README.md links the executed notebook, shows the figure and has the table."""
    text = (small / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((.+?)\)", text)
    assert {"01_one/01_one.ipynb", "01_one/line.png", "results.csv.gz"} <= set(links)
    assert all((small / link).is_file() for link in links if link != "#results")
    assert "Not run, for want of data: savee (speech)." in text
    assert text.index("- made of rows") < text.index("## Notebooks")
    assert "<strong>SYNTHETIC</strong> data" in text


def test_pages_are_made_again_only_when_something_changed(small, monkeypatch):
    """Nothing is built where nothing changed, and the former pages stay when a build fails."""
    html = {path: path.stat().st_mtime_ns for path in (small / "html").rglob("*.*")}
    (small / ".staging").mkdir(exist_ok=True)

    def fail(app):
        Path(app.outdir, "index.html").write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(runner.Sphinx, "build", fail)
    runner._build_pages(small)
    with (small / "README.md").open("a") as file:
        file.write("more")
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            runner._build_pages(small)
    assert {path: path.stat().st_mtime_ns for path in html} == html
    assert not list((small / ".staging").iterdir())


def test_text_has_contrast():
    """What the pages colour by themselves reads well: WCAG's contrast of the banner is above 7."""
    css = (QUICK.parent / "site.css").read_text()
    colour = re.search(r"\.announcement {.*background: #(\w{6}); color: black", css)[1]
    shares = [int(colour[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    luminance = sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear))
    assert (luminance + 0.05) / 0.05 > 7
