"""Plots: each returns the axes it was given and draws what its data say; nothing is shown or left
open.
"""

import ipywidgets
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from pathemo import metrics, plots

PATH = np.array([[0, 3], [1, 2], [2, 4]])  # 3 layers of 5 modules
FROZEN = np.eye(3, 5, dtype=bool)
POPULATIONS = np.array([[PATH, PATH[::-1]], [PATH, PATH]])  # 2 generations of 2 paths


def rows(protocols=("from_scratch", "pathnet"), n_speakers=4, target="savee"):
    """UAR rows 0.50, 0.51, ... by protocol, speaker and seed."""
    values = iter(np.arange(50, 100) / 100)
    return pd.concat(
        [
            metrics.score_rows(
                ["fear"],
                ["fear"],
                [f"{speaker:02d}"],
                protocol=protocol,
                target=target,
                corpus_version="v",
                fold="1",
                seed=seed,
            ).assign(value=next(values))
            for protocol in protocols
            for speaker in range(n_speakers)
            for seed in range(2)
        ],
        ignore_index=True,
    )


def differences():
    return pd.DataFrame(
        {
            "source": ["emodb+savee", "emodb", "savee"],
            "target": ["ravdess", "savee", "emodb"],
            "difference": [0.031, -0.02, 0.005],
            "low": [0.01, -0.05, -0.1],
            "high": [0.05, 0.01, 0.1],
        }
    )


DRAWINGS = {
    "path": lambda ax: plots.plot_path(PATH, n_modules=5, frozen=FROZEN, ax=ax),
    "population": lambda ax: plots.plot_population([PATH, PATH[::-1]], n_modules=5, ax=ax),
    "fitness": lambda ax: plots.plot_fitness(
        pd.DataFrame(
            {
                "generation": [0, 0, 1, 1],
                "replica": [0, 1, 0, 1],
                "fitness_first": [0.1, 0.3, 0.8, 0.6],
                "fitness_second": [0.2, 0.4, 0.5, 0.5],
            }
        ),
        ax=ax,
    ),
    "module_use": lambda ax: plots.plot_module_use(POPULATIONS, n_modules=5, frozen=FROZEN, ax=ax),
    "reuse": lambda ax: plots.plot_reuse(
        pd.DataFrame(
            {
                "generation": [0, 0, 1, 1],
                "replica": [0, 1, 0, 1],
                "frozen_share": [0.0, 0.5, 0.5, 1.0],
            }
        ),
        chance=0.3,
        ax=ax,
    ),
    "confusion": lambda ax: plots.plot_confusion(
        metrics.confusion(["anger", "fear", "fear", "fear"], ["anger", "anger", "fear", "sadness"]),
        ax=ax,
    ),
    "comparison": lambda ax: plots.plot_comparison(rows(), chance=1 / 7, ax=ax),
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


def drawn(name):
    return DRAWINGS[name](plt.subplots()[1])


def collection(ax, label):
    return next(artist for artist in ax.collections if artist.get_label() == label)


def texts(ax):
    return [text.get_text() for text in ax.texts]


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
    ax = drawn("path")
    assert len(collection(ax, "modules").get_offsets()) == 15
    active, frozen = collection(ax, "on the path"), collection(ax, "frozen")
    assert sorted(map(tuple, active.get_offsets())) == [
        (0, 0),
        (0, 3),
        (4, 1),
        (4, 2),
        (8, 2),
        (8, 4),
    ]
    assert sorted(map(tuple, frozen.get_offsets())) == [(0, 0), (4, 1), (8, 2)]
    assert len(active.get_facecolor()) == 0
    assert to_hex(frozen.get_facecolor()[0]) == plots.FROZEN_COLOR.lower()


def test_path_links_all_active_modules_of_successive_layers():
    """Two active modules a layer: 2 links from the input, 4 and 4 between the layers, 2 to the
    head.
    """
    ax = drawn("path")
    links = collection(ax, "links").get_paths()
    assert len(links) == 2 + 4 + 4 + 2
    between = {tuple(np.round(path.vertices[[0, -1]].ravel(), 2)) for path in links[2:6]}
    assert between == {(0.33, y0, 3.67, y1) for y0 in (0, 3) for y1 in (1, 2)}
    assert {"input", "head", "layer 1", "layer 2", "layer 3"} <= set(texts(ax))


def test_nothing_frozen_is_not_explained():
    """The legend names frozen modules only when there are some."""
    ax = plots.plot_path(PATH, n_modules=5)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["on the path"]


def test_population_width_is_the_share_of_paths():
    """A link of both of two paths is drawn twice as wide as a link of one."""
    ax = plots.plot_population([[[0], [1]], [[0], [2]]], n_modules=3)
    widths = collection(
        ax, "links"
    ).get_linewidths()  # input to 0, 0 to 1, 0 to 2, 1 to head, 2 to head
    np.testing.assert_allclose(widths / widths[0], [1, 0.5, 0.5, 0.5, 0.5])
    assert sorted(map(tuple, collection(ax, "used").get_offsets())) == [(0, 0), (4, 1), (4, 2)]


def test_module_use_is_the_share_of_paths_after_each_generation():
    """A row a module, a column a generation; frozen modules are marked, and no others."""
    ax = drawn("module_use")
    use = ax.images[0].get_array().reshape(3, 5, 2)
    np.testing.assert_array_equal(use[0], [[0.5, 1], [0, 0], [0.5, 0], [0.5, 1], [0.5, 0]])
    marks = next(line for line in ax.lines if line.get_label() == "frozen")
    np.testing.assert_array_equal(marks.get_ydata(), [0, 6, 12])


def test_reuse_is_the_mean_share_beside_chance():
    """The line is the mean over replicas; the dashed one is chance."""
    mean, chance = drawn("reuse").lines
    np.testing.assert_allclose(mean.get_ydata(), [0.25, 0.75])
    assert set(chance.get_ydata()) == {0.3}


def test_the_slider_steps_through_all_generations(monkeypatch):
    """It runs from the first population to the last, and draws the one that it stands at."""
    made, shown = {}, []
    monkeypatch.setattr(
        ipywidgets, "interact", lambda show, **sliders: made.update(sliders, show=show)
    )
    monkeypatch.setattr(plots, "plot_population", lambda paths, **_: shown.append(paths))
    monkeypatch.setattr(plt, "show", lambda: None)
    plots.browse_populations(POPULATIONS, n_modules=5)
    assert (made["generation"].min, made["generation"].max) == (0, 1)
    made["show"](1)
    np.testing.assert_array_equal(shown, POPULATIONS[1:])


def test_fitness_is_the_mean_of_the_winners():
    """The line is the mean over replicas of the better competitor."""
    np.testing.assert_allclose(drawn("fitness").lines[0].get_ydata(), [0.3, 0.7])


def test_confusion_prints_row_percents_and_clips():
    """Each row of the truth is in whole percents with its clips; an emotion never true stays
    blank.
    """
    ax = drawn("confusion")
    assert texts(ax) == ["100", "0", "0", "33", "33", "33", "1", "0", "0", "1", "1", "1"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["anger", "fear", "sadness"]


def test_comparison_shows_speakers_mean_and_chance():
    """Four speakers a protocol as seed means, joined by a line each; mean as of the summary; chance
    line.
    """
    ax = drawn("comparison")
    dots = [artist.get_offsets() for artist in ax.collections if len(artist.get_offsets()) == 4]
    np.testing.assert_allclose(dots[0], [[0, 0.505], [0, 0.525], [0, 0.545], [0, 0.565]])
    np.testing.assert_allclose(dots[1][:, 0], 1)
    joined = [
        line.get_ydata()
        for line in ax.lines
        if len(line.get_xdata()) == 2 and line.get_zorder() == 1
    ]
    np.testing.assert_allclose(joined[0], [0.505, 0.585])
    assert len(joined) == 4
    assert "53.5" in texts(ax)
    chance = next(line for line in ax.lines if line.get_label() == "chance")
    assert set(chance.get_ydata()) == {1 / 7}


def test_comparison_keeps_colours_markers_and_order():
    """Protocols stand in their order and colours, whatever the order of rows; a corpus has its
    marker.
    """
    ax = plots.plot_comparison(rows(("pathnet", "svm"), target="emodb"), chance=1 / 7)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["svm", "pathnet"]
    dots = [artist for artist in ax.collections if len(artist.get_offsets()) == 4]
    assert [to_hex(artist.get_facecolor()[0]) for artist in dots] == [
        plots.PROTOCOL_COLORS[protocol].lower() for protocol in ("svm", "pathnet")
    ]
    circle = mpl.markers.MarkerStyle(plots.CORPUS_MARKERS["emodb"])
    np.testing.assert_allclose(
        dots[0].get_paths()[0].vertices,
        circle.get_path().transformed(circle.get_transform()).vertices,
    )


def test_comparison_says_what_was_not_run():
    """A protocol without a value keeps its place and is marked."""
    missing = metrics.not_run_rows("savee not found", protocol="fine_tune", target="savee")
    ax = plots.plot_comparison(pd.concat([rows(), missing], ignore_index=True), chance=1 / 7)
    assert [label.get_text() for label in ax.get_xticklabels()] == [
        "from\nscratch",
        "fine tune",
        "pathnet",
    ]
    assert "not run" in texts(ax)


def test_colours_and_markers_are_distinct():
    """No two protocols share a colour, no two corpora a marker."""
    for looks in (plots.PROTOCOL_COLORS, plots.CORPUS_MARKERS):
        assert len(set(looks.values())) == len(looks)


def test_transfer_matrix_prints_gains_in_points():
    """A cell holds gain and interval in points; single sources come first, what was not run stays
    blank.
    """
    ax = drawn("transfer")
    assert texts(ax) == ["-2.0\n[-5.0, 1.0]", "+0.5\n[-10.0, 10.0]", "+3.1\n[1.0, 5.0]"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["emodb", "savee", "emodb+savee"]


def test_panels_are_a_grid_of_the_size_asked_for():
    """Two rows of three panels, each 2 by 1 inches."""
    figure, axes = plots.panels(2, 3, width=2, height=1)
    assert axes.shape == (2, 3)
    assert figure.get_size_inches().tolist() == [6, 2]
    plt.close(figure)


def test_learning_curve_goes_from_few_speakers_to_all():
    """A point a number of training speakers, "all" last; heights are the means over test
    speakers.
    """
    whole = rows(n_speakers=3)
    label = "hog, plain, {} training speakers"
    parts = [whole.assign(inputs=label.format(k), value=whole["value"] - 0.1 / k) for k in (4, 1)]
    ax = plots.plot_learning_curve(
        pd.concat([*parts, whole.assign(inputs="hog, plain")]), chance=0.2
    )
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "4", "all"]
    mean = whole.query("protocol == 'from_scratch'")["value"].mean()
    np.testing.assert_allclose(np.float64(ax.containers[0][0].get_ydata()), mean - [0.1, 0.025, 0])


def test_effects_are_coloured_by_what_their_interval_says():
    """A dot an effect, in points: blue where the interval is above zero, red below, grey
    across it.
    """
    found = {
        "difference": [0.02, -0.03, 0.01],
        "low": [0.01, -0.05, -0.01],
        "high": [0.03, -0.01, 0.03],
    }
    index = pd.MultiIndex.from_tuples([("a", "plain"), ("b", "plain"), ("b", "speaker-normalised")])
    axes = plots.plot_effects(pd.DataFrame(found, index))
    drawn = [bar.lines[0] for bar in axes.containers if len(bar.lines[0].get_xdata())]
    assert [float(dot.get_xdata()[0]) for dot in drawn] == pytest.approx([2, -3, 1])
    assert [dot.get_color() for dot in drawn] == [
        plots.PATH_COLOR,
        plots.PROTOCOL_COLORS["svm"],
        plots.GREY,
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
