"""The pages of a report, read as files and in a browser."""

import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright
from test_report import PICTURE, ROWS, write_notebook, write_profile

from pathemo import runner, site

QUICK = Path(__file__).parents[1] / "reports" / "quick"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MORE_ROWS = """import pandas as pd
from pathemo.metrics import not_run_rows
missing = not_run_rows("savee not found", target="savee", protocol="svm", inputs="plain")
right = rows.assign(target="enterface", value=1.0)
nearly = rows.assign(target="ravdess", value=0.985)
rows = report.save_rows(pd.concat([rows, right, nearly, missing]))"""
WIDE = """# A comment longer than a telephone is wide: the code scrolls within itself, and not the page
print("x" * 200)
pd.DataFrame([range(100000, 100030)])"""
FORMULAS = "Inline $x^2$ and\n\n$$ h_l = \\sum_{m \\in \\text{path}_l} f_{l,m}(h_{l-1}), \\qquad h_0 = x $$"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Report of two notebooks: the first has all that pages show, the second fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("small"))
        for folder in ("notebooks", "reports"):
            Path(folder).mkdir()
        Path("environment.yml").write_text("name: small\n")
        write_notebook("01_one", PICTURE, ROWS, MORE_ROWS, WIDE, title="The first", text=FORMULAS)
        write_notebook("02_two", "1 / 0", title="The second")
        write_profile({"01_one": {}, "02_two": {}})
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            runner.run("small")
        yield Path("reports/small").resolve()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["small", "quick"])
def pages(request):
    """All pages of a report, index first."""
    if request.param == "quick" and not (QUICK / "index.html").is_file():
        pytest.skip("no reports/quick here: make reports")
    folder = QUICK if request.param == "quick" else request.getfixturevalue("small")
    return sorted(folder.glob("*.html"), key=lambda page: page.name != "index.html")


def test_each_page_says_synthetic(small):
    """The banner is on every page, and in the text that a forge shows."""
    for path in [*small.glob("*.html"), small / "README.md"]:
        assert "<strong>SYNTHETIC</strong> data" in path.read_text(encoding="utf-8")


def test_the_index_tells_what_was_run(small):
    """It has each notebook's title, question and state, and figures with alternative text and a
    link.
    """
    page = re.sub(r"\s+", " ", (small / "index.html").read_text(encoding="utf-8"))
    assert re.search(
        r'href="01_one.html">.*?The first.*?</a>: Is .*? right\? Up to date; it ran in ', page
    )
    assert "The second: Is" in page and page.count("<strong>Not run yet.</strong>") == 1
    assert "It costs nothing" not in page
    assert re.search(
        r'href="01_one.html"><span [^>]*><img alt="An empty plot, naïvely" src="_images/', page
    )


def test_the_findings_open_the_page():
    """The first figure of the last notebook stands before the list of notebooks, all others after
    it.
    """
    done = {"title": "", "question": "", "digest": "", "current": True, "provenance": {}}
    figures = {"01_one": {"a.png": "A"}, "02_findings": {"b.png": "B", "c.png": "C"}}
    notebooks = {name: done | {"figures": of_notebook} for name, of_notebook in figures.items()}
    text = site.overview(
        {"profile": "small", "data": "recorded"}, notebooks, results="", provenance=""
    )
    order = ["figures/b.png", "## Notebooks", "figures/a.png", "figures/c.png"]
    assert sorted(order, key=text.index) == order
    assert [text.count(part) for part in order] == [1, 1, 1, 1]


def test_a_notebooks_page_has_formulas_and_alternative_text(small):
    """Formulas are MathML, which needs no script; what save_figure was told is the picture's
    alternative.
    """
    page = (small / "01_one.html").read_text(encoding="utf-8")
    assert page.count("<math ") == 3 and "<msup>" in page and "<munder>" in page
    assert 'alt="An empty plot, naïvely"' in page
    assert "MathJax" not in page


def test_the_forge_shows_the_same(small):
    """README.md links the executed notebook, shows the figure and has the table, "not run" in
    it.
    """
    text = (small / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((.+?)\)", text)
    assert {"01_one.ipynb", "figures/01_one_line.png", "results.csv.gz"} <= set(links)
    assert all((small / link).is_file() for link in links if link != "#results")
    assert "| savee | plain | none | not run |" in text


def test_pages_are_made_again_only_when_something_changed(small, monkeypatch):
    """Nothing is built where nothing changed; after the index was lost the same pages come back."""
    monkeypatch.chdir(small)
    settings = runner._read_profile("small")
    made = runner._summarise(settings)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in small.glob("*.html")}
    site.build(settings, *made)
    assert {path: path.stat().st_mtime_ns for path in before} == {
        path: t for path, (t, _) in before.items()
    }
    (small / "index.html").unlink()
    site.build(settings, *made)
    assert {path: path.read_bytes() for path in before} == {
        path: text for path, (_, text) in before.items()
    }


def test_a_build_that_fails_leaves_the_pages_that_were(small, monkeypatch):
    """New pages take their place only when all of them are there, and are tried again in the next
    run.
    """
    monkeypatch.chdir(small)
    before = {
        path: path.stat().st_mtime_ns for path in [*small.glob("*.html"), *small.glob("_*/**/*.*")]
    }
    settings = runner._read_profile("small")
    notebooks, results, facts = runner._summarise(settings)
    notebooks["02_two"]["title"] = "Another"

    def fail(app):
        Path(app.outdir, "index.html").write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(site.Sphinx, "build", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            site.build(settings, notebooks, results, facts)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not list(small.glob(".staging/*/pages"))


@pytest.mark.parametrize(
    ("pages", "scheme"),
    [("small", "light"), ("small", "dark"), ("quick", "light")],
    indirect=["pages"],
)
def test_pages_read_well_in_a_browser(browser, pages, scheme):
    """On a phone, in light and dark: no error, no request beyond the disk, no scroll sideways,
    accessible.

    Contrast is of the small report alone, which has the same styles: on the long pages it takes
    minutes."""
    contrast = {"color-contrast": {"enabled": pages[0].parent != QUICK}}
    options = {
        "rules": contrast,
        "resultTypes": ["violations"],
        "preload": False,
    }  # of styles, once more
    context = browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 844})
    page = context.new_page()
    faults = []
    page.on(
        "console", lambda message: faults.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda got: re.match("file:|blob:|data:", got.url) or faults.append(got.url))
    for path in pages:
        page.goto(path.as_uri())
        page.wait_for_load_state("networkidle")
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
            faults.append(f"{width} px wide")
        for rule in Axe().run(page, options=options).response["violations"]:
            if rule["impact"] in ("serious", "critical") or rule["id"] == "heading-order":
                faults.append((rule["id"], [node["html"][:200] for node in rule["nodes"][:3]]))
        assert faults == [], path.name
    context.close()


def test_links_lead_somewhere(browser, pages):
    """Whatever a page links, shows or loads is a file that is there; a place within a page
    exists.
    """
    page, places, links = browser.new_page(), {}, []
    for path in pages:
        page.goto(path.as_uri())
        places[path] = page.evaluate("[...document.querySelectorAll('[id]')].map(part => part.id)")
        of_page = "[...document.querySelectorAll('a, link, img, script')].map(part => part.href || part.src)"
        links += [(path.name, link) for link in page.evaluate(of_page) if link.startswith("file:")]
    page.close()
    assert len(links) > 10 * len(pages)
    for name, link in links:
        url = urlsplit(link)
        file, place = Path(url2pathname(url.path)), unquote(url.fragment)
        assert file.is_file(), (name, link)
        assert not place or place in places[file], (name, link)


def test_the_results_table_is_sorted_and_searched(browser, small):
    """A click on a heading sorts by the mean, 100.0 behind 98.5; a word leaves the rows that have
    it.
    """
    page = browser.new_page()
    page.goto((small / "results.html").as_uri())
    search, title = page.get_by_label("Search:"), page.locator("#scores th", has_text="svm")
    scores = page.locator("#scores tbody tr td:nth-child(4)")
    expect(search).to_be_visible()
    title.click()
    expect(scores).to_contain_text(["50.0 [", "98.5 [", "100.0 [", "not run"])
    title.click()
    expect(scores).to_contain_text(["not run", "100.0 [", "98.5 [", "50.0 ["])
    search.fill("savee")
    expect(scores).to_contain_text(["not run"])
    page.close()
