"""Plots: each returns the axes it was given and draws what its data say; nothing is shown."""

from itertools import combinations

import cv2
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
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


def differences_by_variant():
    table = differences().assign(rival="from_scratch", variant=["k=4", "k=1", "k=1", "k=9"])
    return table.assign(protocol=["pathnet", "pathnet", "fine_tune", "fine_tune"])


DRAWINGS = {
    "path": lambda ax: plots.plot_path(PATH, n_modules=5, frozen=FROZEN, ax=ax),
    "population": lambda ax: plots.plot_path([PATH, PATH[::-1]], n_modules=5, ax=ax),
    "confusion": lambda ax: plots.plot_confusion(
        metrics.confusion(["anger", "fear", "fear", "fear"], ["anger", "anger", "fear", "sadness"]),
        ax=ax,
    ),
    "comparison": lambda ax: plots.plot_comparison(rows(), chance=1 / 7, ax=ax),
    "difference": lambda ax: plots.plot_difference_curve(
        differences_by_variant(), {"k=1": "1", "k=4": "4"}, label="speakers", legend=True, ax=ax
    ),
    "transfer": lambda ax: plots.plot_transfer_matrix(differences(), limit=8, ax=ax),
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


def intervals(ax):
    """Ends (n, 2) of the vertical lines of 95 % intervals."""
    lines = [lines for lines in ax.collections if isinstance(lines, LineCollection)]
    return np.array([segment[:, 1] for part in lines for segment in part.get_segments()])


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


def test_comparison_of_many_speakers_joins_nothing():
    """With 32 speakers there is the line of chance alone, and the dots of a corpus rise."""
    parts = [rows(("svm",), n_speakers=16, target=name) for name in ("emodb", "savee")]
    falling = pd.concat(parts, ignore_index=True).assign(value=lambda rows: 1 - rows["value"])
    ax = plots.plot_comparison(falling, chance=1 / 7)
    assert [line.get_linestyle() for line in ax.lines] == ["--"]
    dots = np.concatenate([dots.get_offsets() for dots in ax.collections if dots.get_alpha()])
    assert dots.shape == (32, 2)
    assert (np.diff(dots[:16], axis=0) > 0).all() and (np.diff(dots[16:], axis=0) > 0).all()
    assert -0.5 < dots[:, 0].min() < dots[:, 0].max() < 0.2


@pytest.mark.parametrize("scores", [[0.0, 0.3], [0.7, 1.0]])
def test_no_interval_leaves_the_range_of_scores(scores):
    """The t interval of two speakers that differ goes beyond 0 or 1, what is drawn does not."""
    whole = rows(n_speakers=2).assign(value=lambda rows: np.take(scores, rows["speaker"] == "01"))
    summary = metrics.summary(whole, ["protocol"])
    assert summary["low"].min() < 0 or summary["high"].max() > 1
    ax = plots.plot_comparison(whole, chance=0.2)
    assert intervals(ax).shape == (2, 2)
    assert 0 <= intervals(ax).min() < intervals(ax).max() <= 1


def test_colours_and_markers_are_distinct():
    """No two protocols share a colour, no two corpora a marker."""
    for looks in (plots.PROTOCOL_COLORS, plots.CORPUS_MARKERS):
        assert len(set(looks.values())) == len(looks)


def test_no_two_colours_are_taken_for_each_other():
    """Any two protocols are 20 apart in CIE L*a*b*, where 2.3 is just seen."""
    colors = np.array([to_rgb(color) for color in plots.PROTOCOL_COLORS.values()], np.float32)
    lab = cv2.cvtColor(colors[None], cv2.COLOR_RGB2LAB)[0]
    assert min(np.linalg.norm(one - other) for one, other in combinations(lab, 2)) > 20


def test_a_legend_covers_no_data():
    """The legend stands right of the axes, and whatever is written there."""
    ax = DRAWINGS["difference"](None)
    ax.figure.canvas.draw()
    left = max(box.get_window_extent().x1 for box in (ax.patch, *ax.texts))
    assert ax.get_legend().get_window_extent().x0 > left
    assert ax.get_legend().get_window_extent().x1 < ax.figure.bbox.x1


def test_a_panel_without_a_legend():
    """Of a row of panels those that are told so have none."""
    look = dict(label="speakers", legend=False)
    difference = plots.plot_difference_curve(differences_by_variant(), {"k=1": "1"}, **look)
    assert difference.get_legend() is None


def test_difference_curve_is_in_points_beside_zero_and_margin():
    """A line a protocol in its colour, intervals in points, a line at zero, the margin shaded."""
    ax = draw("difference")
    fine_tune, pathnet, zero = ax.lines
    assert pathnet.get_color() == plots.PATH_COLOR
    np.testing.assert_allclose(fine_tune.get_ydata(), [1])
    np.testing.assert_allclose(pathnet.get_ydata(), [-2, 3.1])
    np.testing.assert_allclose(intervals(ax), [[0, 2], [-5, 1], [1, 5]])
    assert set(zero.get_ydata()) == {0}
    [shade] = ax.patches
    assert (shade.get_y(), shade.get_height()) == (-2, 4)
    assert tick_labels(ax.xaxis) == ["1", "4"]


def test_transfer_matrix_prints_gains_in_points():
    """A cell holds gain and interval in points, what was not run is blank; single sources come
    first, then pools, then those learned in turn.
    """
    ax = draw("transfer")
    assert tick_labels(ax.yaxis) == ["emodb", "savee", "emodb&savee", "emodb+savee"]
    assert tick_labels(ax.xaxis) == ["emodb", "ravdess", "savee"]
    assert {text.get_position(): text.get_text() for text in ax.texts} == {
        (2, 0): "-2.0\n[-5.0, 1.0]",
        (0, 1): "+0.5\n[-10.0, 10.0]",
        (1, 2): "+1.0\n[0.0, 2.0]",
        (1, 3): "+3.1\n[1.0, 5.0]",
    }


def test_transfer_matrix_colours_what_is_clear_of_zero():
    """One of four intervals is: its cell is coloured and bold, the others white, not run blank."""
    ax = draw("transfer")
    gains = ax.images[0].get_array()
    assert gains.count() == 4
    assert gains[3, 1] == pytest.approx(3.1)
    assert sorted(gains.compressed())[:3] == [0, 0, 0]
    assert ax.images[0].cmap(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.01)
    bold = {text.get_position() for text in ax.texts if text.get_weight() == "bold"}
    grey = {text.get_position() for text in ax.texts if text.get_color() == plots.GREY}
    assert bold == {(1, 3)}
    assert grey == {(2, 0), (0, 1), (1, 2)}


def test_transfer_matrices_share_a_limit():
    """The colour scale ends there, on both sides of zero."""
    assert draw("transfer").images[0].get_clim() == (-8, 8)


def test_panels_are_a_grid_of_the_size_asked_for():
    """Two rows of three panels, each 2 by 1 inches."""
    figure, axes = plots.panels(2, 3, width=2, height=1)
    assert axes.shape == (2, 3)
    assert figure.get_size_inches().tolist() == [6, 2]
