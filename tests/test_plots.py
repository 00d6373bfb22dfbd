"""Plots: each returns the axes it was given and draws what its data say; nothing is shown."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from pathemo import metrics, plots

PATH = np.array([[0, 3], [1, 2], [2, 4]])  # 3 layers of 5 modules
FROZEN = np.eye(3, 5, dtype=bool)


def rows(protocols=("from_scratch", "pathnet"), n_speakers=4, target="savee"):
    """UAR rows 0.50, 0.51, ... by protocol, speaker and seed."""
    values = iter(np.arange(50, 100) / 100)
    key = dict(target=target, corpus_version="v", fold="1")
    parts = [
        metrics.score_rows(["fear"], ["fear"], [f"{n:02d}"], protocol=protocol, seed=seed, **key)
        for protocol in protocols
        for n in range(n_speakers)
        for seed in range(2)
    ]
    uar = [part[(part["metric"] == "uar") & (part["speaker"] != "all")] for part in parts]
    return pd.concat([part.assign(value=next(values)) for part in uar], ignore_index=True)


def differences():
    return pd.DataFrame(
        {
            "source": ["emodb+savee", "emodb", "emodb&savee", "savee"],
            "target": ["ravdess", "savee", "ravdess", "emodb"],
            "difference": [0.031, -0.02, 0.01, 0.005],
            "low": [0.01, -0.05, 0.0, -0.1],
            "high": [0.05, 0.01, 0.02, 0.1],
        }
    )


def few_speakers():
    whole = rows(n_speakers=3)
    few = [whole.assign(variant=f"training_speakers={k}", value=0.1 * k) for k in (4, 1)]
    return pd.concat([*few, whole], ignore_index=True)


VARIANTS = {"training_speakers=1": "1", "training_speakers=4": "4", "": "all"}
DRAWINGS = {
    "path": lambda ax: plots.plot_path(PATH, n_modules=5, frozen=FROZEN, ax=ax),
    "population": lambda ax: plots.plot_path([PATH, PATH[::-1]], n_modules=5, ax=ax),
    "confusion": lambda ax: plots.plot_confusion(
        metrics.confusion(["anger", "fear", "fear", "fear"], ["anger", "anger", "fear", "sadness"]),
        ax=ax,
    ),
    "comparison": lambda ax: plots.plot_comparison(rows(), chance=1 / 7, ax=ax),
    "learning": lambda ax: plots.plot_learning_curve(
        few_speakers(), VARIANTS, chance=0.2, label="training speakers", ax=ax
    ),
    "transfer": lambda ax: plots.plot_transfer_matrix(differences(), ax=ax),
}


@pytest.fixture(autouse=True)
def _no_window(monkeypatch):
    """Pictures of a test go nowhere, a call of show fails, and what the test opened is closed."""
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda *_: pytest.fail("show was called"))
    plt.close("all")  # what other tests left open
    yield
    plt.close("all")


def draw(name):
    return DRAWINGS[name](plt.subplots()[1])


def texts(ax):
    return [text.get_text() for text in ax.texts]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def links(ax):
    """Ends (layer, module, layer, module) of the lines of a network; 0 is the input's layer."""
    ends = [np.round(line.get_xydata()).astype(int) for line in ax.lines]
    return {(x0 // 4, y0, x1 // 4, y1) for (x0, y0), (x1, y1) in ends}


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_given_axes_come_back(name):
    """A plot draws into the axes it was given and opens no other figure."""
    _, ax = plt.subplots()
    assert DRAWINGS[name](ax) is ax
    assert len(plt.get_fignums()) == 1
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_of_its_own(name):
    """Without axes a plot makes one figure, and rc settings are as before."""
    before = mpl.rcParams.copy()
    ax = DRAWINGS[name](None)
    assert plt.get_fignums() == [ax.figure.number]
    assert mpl.rcParams == before


def test_path_shows_active_and_frozen_modules():
    """All modules are dots, active ones are outlined and frozen ones filled, each where it is."""
    dots = {tuple(np.array(dot.center) // (4, 1) - (1, 0)): dot for dot in draw("path").patches}
    assert len(dots) == 15
    blue, light = to_rgb(plots.PATH_COLOR), plots.FROZEN_COLOR.lower()
    outlined = {place for place, dot in dots.items() if dot.get_edgecolor()[:3] == blue}
    filled = {place for place, dot in dots.items() if to_hex(dot.get_facecolor()) == light}
    assert outlined == {(0, 0), (0, 3), (1, 1), (1, 2), (2, 2), (2, 4)}
    assert filled == {(0, 0), (1, 1), (2, 2)}


def test_path_links_all_active_modules_of_successive_layers():
    """Two active modules a layer: 2 links from the input, 4 and 4 between layers, 2 to the head."""
    ax = draw("path")
    assert len(ax.lines) == 2 + 4 + 4 + 2
    assert {(1, y0, 2, y1) for y0 in (0, 3) for y1 in (1, 2)} < links(ax)
    assert tick_labels(ax.xaxis) == ["input", "layer 1", "layer 2", "layer 3", "head"]


def test_width_is_the_share_of_paths():
    """A link of both of two paths is drawn twice as wide as a link of one."""
    ax = plots.plot_path([[[0], [1]], [[0], [2]]], n_modules=3)
    assert links(ax) == {(0, 1, 1, 0), (1, 0, 2, 1), (1, 0, 2, 2), (2, 1, 3, 1), (2, 2, 3, 1)}
    widths = np.array([line.get_linewidth() for line in ax.lines])
    np.testing.assert_allclose(widths / widths[0], [1, 0.5, 0.5, 0.5, 0.5])


def test_confusion_prints_row_percents_and_clips():
    """A row of the truth is in whole percents with its clips; a cell without clips stays blank."""
    ax = draw("confusion")
    assert texts(ax) == ["100\n1", "33\n1", "33\n1", "33\n1"]
    assert tick_labels(ax.yaxis) == ["anger", "fear", "sadness"]


def test_comparison_shows_speakers_mean_and_chance():
    """Four speakers a protocol as seed means, joined by a line each; mean as of the summary."""
    ax = draw("comparison")
    joined = [line.get_ydata() for line in ax.lines if line.get_linestyle() == "-"]
    first, second = np.transpose(joined)
    np.testing.assert_allclose(first, [0.505, 0.525, 0.545, 0.565])
    np.testing.assert_allclose(second, first + 0.08)
    dots = [dots.get_offsets() for dots in ax.collections if dots.get_alpha()]
    np.testing.assert_allclose(dots[0], [[0, 0.505], [1, 0.585]])
    assert {"53.5", "61.5", "chance"} == set(texts(ax))
    [chance] = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert set(chance.get_ydata()) == {1 / 7}


def test_comparison_keeps_colours_markers_and_order():
    """Protocols stand in their order and colours, whatever the rows'; a corpus has its marker."""
    ax = plots.plot_comparison(rows(("pathnet", "svm"), target="emodb"), chance=1 / 7)
    assert tick_labels(ax.xaxis) == ["svm", "pathnet"]
    dots = next(dots for dots in ax.collections if dots.get_alpha())
    assert [to_hex(color) for color in dots.get_facecolor()] == [
        plots.PROTOCOL_COLORS[protocol].lower() for protocol in ("svm", "pathnet")
    ]
    circle = mpl.markers.MarkerStyle(plots.CORPUS_MARKERS["emodb"])
    outline = circle.get_path().transformed(circle.get_transform())
    np.testing.assert_allclose(dots.get_paths()[0].vertices, outline.vertices)


def test_comparison_says_what_was_not_run():
    """A protocol without a value keeps its place and is marked."""
    missing = metrics.not_run_rows("savee not found", protocol="fine_tune", target="savee")
    ax = plots.plot_comparison(pd.concat([rows(), missing], ignore_index=True), chance=1 / 7)
    assert tick_labels(ax.xaxis) == ["from\nscratch", "fine tune", "pathnet"]
    assert "not run" in texts(ax)


def test_colours_and_markers_are_distinct():
    """No two protocols share a colour, no two corpora a marker."""
    for looks in (plots.PROTOCOL_COLORS, plots.CORPUS_MARKERS):
        assert len(set(looks.values())) == len(looks)


def test_learning_curve_goes_from_few_speakers_to_all():
    """A point a variant in the order given; heights are the means over test speakers."""
    ax = draw("learning")
    assert tick_labels(ax.xaxis) == ["1", "4", "all"]
    mean = rows(n_speakers=3).query("protocol == 'from_scratch'")["value"].mean()
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.1, 0.4, mean])


def test_transfer_matrix_prints_gains_in_points():
    """A cell holds gain and interval in points, what was not run is blank; single sources come
    first, then pools, then those learned in turn.
    """
    ax = draw("transfer")
    gains = ["-2.0\n[-5.0, 1.0]", "+0.5\n[-10.0, 10.0]", "+1.0\n[0.0, 2.0]", "+3.1\n[1.0, 5.0]"]
    assert texts(ax) == gains
    assert tick_labels(ax.yaxis) == ["emodb", "savee", "emodb&savee", "emodb+savee"]


def test_panels_are_a_grid_of_the_size_asked_for():
    """Two rows of three panels, each 2 by 1 inches."""
    figure, axes = plots.panels(2, 3, width=2, height=1)
    assert axes.shape == (2, 3)
    assert figure.get_size_inches().tolist() == [6, 2]
