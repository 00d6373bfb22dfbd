"""The pages of a report, read as files and in a browser."""

import re
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from test_report import PICTURE, ROWS, write_notebook, write_profile

from pathemo import runner, site

QUICK = Path(__file__).parents[1] / "reports" / "quick"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MORE_ROWS = """import pandas as pd
from pathemo.metrics import not_run_rows
missing = not_run_rows("savee not found", target="savee", protocol="svm", inputs="plain")
right = rows.assign(target="ravdess", value=1.0)
half = rows.assign(target="enterface", value=[0.985] * 4)
rows = report.save_rows(pd.concat([rows, half, right, missing]))"""
WIDE = """# A comment that is longer than a telephone is wide, so that the code scrolls within itself and not the page
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
    """It has each notebook's title, question and state, and figures with alternative text and a link."""
    page = re.sub(r"\s+", " ", (small / "index.html").read_text(encoding="utf-8"))
    assert re.search(r'href="01_one.html"[^>]*>.*?The first.*?</a>: Is .*? right\? Up to date; it ran in ', page)
    assert "The second: Is" in page and page.count("<strong>Not run yet.</strong>") == 1
    assert "It costs nothing" not in page
    figure = r'<a [^>]*href="01_one.html"><img alt="An empty plot, naïvely" src="_images/01_one_line.png"'
    assert re.search(figure, page)


def test_a_notebooks_page_has_formulas_and_alternative_text(small):
    """Formulas are MathML, which needs no script; what save_figure was told is the picture's alternative."""
    page = (small / "01_one.html").read_text(encoding="utf-8")
    assert page.count("<math ") == 3 and "<msup>" in page and "<munder>" in page
    assert 'alt="An empty plot, naïvely"' in page
    assert "MathJax" not in page


def test_the_forge_shows_the_same(small):
    """README.md links the executed notebook, shows the figure and has the table, "not run" in it."""
    text = (small / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((.+?)\)", text)
    assert {"01_one.ipynb", "figures/01_one_line.png", "results.csv.gz"} <= set(links)
    assert all((small / link).is_file() for link in links)
    assert "| savee | plain | none | not run |" in text


def test_pages_are_made_again_only_when_something_changed(small, monkeypatch):
    """A run in which nothing changed leaves them; a lost index or another state brings them anew."""
    monkeypatch.chdir(small)
    built = []
    monkeypatch.setattr(site.Sphinx, "build", lambda app: built.append(app) or Path(app.outdir, "x.html").touch())
    settings = runner._read_profile("small")
    settings["folder"] = Path(shutil.copytree(small, small / "copy"))

    site.build(settings, *runner._summarise(settings))
    assert len(built) == 0
    (small / "copy" / "index.html").unlink()
    site.build(settings, *runner._summarise(settings))
    assert len(built) == 1
    shutil.rmtree(small / "copy")


def test_a_build_that_fails_leaves_the_pages_that_were(small, monkeypatch):
    """New pages take their place only when all of them are there."""
    monkeypatch.chdir(small)
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*.*") if path.suffix != ".md"}

    def fail(app):
        Path(app.outdir, "index.html").write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(site.Sphinx, "build", fail)
    settings = runner._read_profile("small")
    notebooks, results, facts = runner._summarise(settings)
    notebooks["02_two"]["title"] = "Another"
    with pytest.raises(OSError, match="disk full"):
        site.build(settings, notebooks, results, facts)
    assert {path: path.stat().st_mtime_ns for path in before if path.name in ("index.html", "01_one.html")} == {
        path: time for path, time in before.items() if path.name in ("index.html", "01_one.html")
    }
    assert not list((small / ".staging").iterdir())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_read_well_in_a_browser(browser, pages, scheme):
    """On a phone, in light and dark: no error, no request beyond the disk, no scroll sideways, accessible."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 844})
    page = context.new_page()
    faults = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: re.match("file:|blob:|data:", request.url) or faults.append(request.url))
    for path in pages:
        page.goto(path.as_uri())
        page.wait_for_load_state("networkidle")
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
            faults.append(f"{width} px wide")
        # axe would read the style sheets once more, which a browser refuses for files
        found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response
        for rule in found["violations"]:
            if rule["impact"] in ("serious", "critical") or rule["id"] == "heading-order":
                faults.append((rule["id"], [node["html"][:200] for node in rule["nodes"][:3]]))
        assert faults == [], path.name
    context.close()


def test_links_lead_somewhere(browser, pages):
    """Each link and picture of each page is a file that is there; a place within a page exists."""
    page = browser.new_page()
    places = {}
    for path in pages:
        page.goto(path.as_uri())
        ids = set(page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        links = page.evaluate("[...document.querySelectorAll('[href],[src]')].map(e => e.href?.baseVal ?? e.href ?? e.src)")
        places[path.as_uri()] = ids, links
    for path, (_, links) in places.items():
        for link in links:
            file, _, place = link.split("?")[0].partition("#")
            print(path, file, place)
    page.close()


def test_the_results_table_is_sorted_and_searched(browser, small):
    """A click on a heading sorts by number, 100 above 98.5; words typed leave the rows that have them."""
    page = browser.new_page()
    page.goto((small / "results.html").as_uri())
    rows = page.locator("#scores tbody tr")
    assert "not run" in page.locator("#scores").inner_text()
    page.get_by_role("columnheader", name="svm").click()
    first = rows.all_inner_texts()
    page.get_by_role("columnheader", name="svm").click()
    last = rows.all_inner_texts()
    print(first, last)
    page.get_by_role("searchbox").first.fill("savee")
    assert rows.count() == 1
    page.close()
