"""The study's pictures: `plot_x(data, *, ax=None)` draws into `ax`, or a figure of its own, and
returns the axes. Protocols have their colour and corpora their marker in all of them.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Circle
from matplotlib.ticker import PercentFormatter

from . import metrics

# Okabe and Ito, "Color Universal Design", 2008: told apart with every kind of colour vision.
# Darker where heads or clips of sources are shared.
PROTOCOL_COLORS = {
    "logistic": "#CC79A7",
    "logistic_joint": "#5C0A2E",
    "svm": "#D55E00",
    "from_scratch": "#000000",
    "fine_tune": "#E69F00",
    "fine_tune_shared": "#8F5A00",
    "joint": "#8FD66A",
    "rehearsal": "#31511F",
    "frozen_features": "#009E73",
    "pathnet_scratch": "#56B4E9",
    "pathnet": "#0072B2",
    "pathnet_shared": "#00315C",
    "zero_shot": "#F0E442",
}
CORPUS_MARKERS = {"emodb": "o", "enterface": "s", "ravdess": "^", "savee": "D"}
PATH_COLOR = PROTOCOL_COLORS["pathnet"]
CENTRED = dict(ha="center", va="center")  # text in a cell
FROZEN_COLOR, IDLE_COLOR, GREY = "#B5DDF5", "#D5D5D5", "#707070"
SHADES = LinearSegmentedColormap.from_list("shades", ["white", PATH_COLOR])
GAINS = LinearSegmentedColormap.from_list("gains", [PROTOCOL_COLORS["svm"], "white", PATH_COLOR])
# Type of report size: `plt.rcParams.update(plots.STYLE)`
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "figure.dpi": 100,
    "savefig.dpi": 200,
}


def panels(n_rows, n_columns=1, *, width=6, height=4):
    """Return a figure and its axes (n_rows, n_columns), each panel `width` by `height` [inches]."""
    size = (width * n_columns, height * n_rows)
    return plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", squeeze=False)


def plot_path(paths, *, n_modules, frozen=None, ax=None):
    """Draw a path, layers from left to right: outlined modules are active, filled ones frozen.

    Of several paths, a module or link is drawn the stronger, the more of them use it.

    Parameters
    ----------
    paths : int array (..., n_layers, n_active)
        The active modules of each layer: a path, or a population of paths.
    frozen : bool array (n_layers, n_modules), optional
    """
    active = (np.asarray(paths)[..., None] == np.arange(n_modules)).any(axis=-2)
    active = active.reshape(-1, *active.shape[-2:])  # (n_paths, n_layers, n_modules)
    n_paths, n_layers, _ = active.shape
    frozen = np.zeros_like(active[0]) if frozen is None else frozen
    nodes = np.pad(active, ((0, 0), (1, 1), (0, 0))).astype(float)
    nodes[:, [0, -1], n_modules // 2] = 1  # where input and head are
    links = np.einsum("plm,plk->lmk", nodes[:, :-1], nodes[:, 1:]) / n_paths
    ax = _axes(ax, 2 * n_layers + 2.4, 0.45 * n_modules + 1.2)
    # One geometry: layers 4 apart, modules 1 apart, of radius 0.33
    for (layer, *ends), share in np.ndenumerate(links):
        if share:
            looks = dict(color=(PATH_COLOR, 0.2 + 0.65 * share), linewidth=3 * share, zorder=0)
            ax.plot([4 * layer + 0.33, 4 * layer + 3.67], ends, **looks)
    for (layer, module), share in np.ndenumerate(active.mean(axis=0)):
        fill = FROZEN_COLOR if frozen[layer, module] else "white"
        edge = (PATH_COLOR, 0.25 + 0.75 * share) if share else IDLE_COLOR
        looks = dict(facecolor=fill, edgecolor=edge, linewidth=1.2 + 1.2 * share)
        ax.add_patch(Circle((4 * layer + 4, module), 0.33, **looks))
    names = ["input", *(f"layer {layer + 1}" for layer in range(n_layers)), "head"]
    ax.set_xticks(4 * np.arange(len(names)), names, color=GREY)
    ax.set(yticks=[], ylim=(n_modules - 0.4, -0.6), aspect="equal")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def plot_confusion(counts, *, ax=None):
    """Draw a confusion: rows are the truth, in whole percents of the row above numbers of clips.

    `counts` (K, K) are of clips, as of `metrics.confusion`; a cell without clips stays blank.
    """
    ax = _axes(ax, 0.75 * len(counts) + 1.8, 0.7 * len(counts) + 1.4)
    share = 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    ax.imshow(share, cmap=SHADES, vmin=0, vmax=100)  # seaborn would draw all panels for each
    for (row, column), clips in np.ndenumerate(counts):
        if clips:
            percent = share[row, column]
            color = "white" if percent > 60 else "black"
            ax.text(column, row, f"{percent:.0f}\n{clips}", color=color, **CENTRED)
    ax.set_xticks(range(len(counts)), counts.columns, rotation=30)
    ax.set_yticks(range(len(counts)), counts.index)
    ax.set(xlabel="recognised as  [% of the row, and clips]", ylabel="truth")
    return ax


def plot_comparison(rows, *, chance, metric="uar", ax=None):
    """Draw a metric by protocol: a dot a speaker, joined by lines, mean and 95 % interval.

    With more than 30 speakers a protocol's small dots stand from the lowest to the highest, and
    nothing is joined.

    Parameters
    ----------
    rows : DataFrame
        Result rows, as a rule of one target; a dot is the mean of a speaker's over the seeds.
    chance : float
        What guessing scores: 1 / K for UAR, the share of the largest class for accuracy.
    """
    table = _ordered(metrics.summary(rows, ["protocol"], metric=metric))
    table[["low", "high"]] = table[["low", "high"]].clip(0, 1)  # a t interval may leave it
    speakers = rows[(rows["metric"] == metric) & (rows["speaker"] != "all")]
    means = speakers.groupby(["target", "speaker", "protocol"])["value"].mean()
    values = means.unstack().reindex(columns=table["protocol"])  # (speakers, protocols)
    colors = table["protocol"].map(PROTOCOL_COLORS).fillna(GREY)
    ax = _axes(ax, max(1.1 * len(table) + 0.8, 5.5), 4.5)
    if len(values) <= 30:
        size, places = 28, np.zeros(len(values))
        ax.plot(values.T.to_numpy(), color=IDLE_COLOR, linewidth=0.8, zorder=0)
    else:
        values = values.groupby("target").transform(np.sort)
        size, places = 6, np.linspace(-0.25, 0.1, len(values))
    for place, ((target, _), scores) in zip(places, values.iterrows(), strict=True):
        marker = CORPUS_MARKERS.get(target, "P")
        ax.scatter(table.index + place, scores, s=size, c=colors, marker=marker, alpha=0.55)
    ax.vlines(table.index + 0.2, table["low"], table["high"], colors, linewidth=2)
    ax.scatter(table.index + 0.2, table["mean"], c=colors, zorder=3)
    for place, mean in table["mean"].items():
        text = "not run" if np.isnan(mean) else f"{100 * mean:.1f}"
        ax.text(place + 0.3, np.nan_to_num(mean, nan=chance), text)
    ax.set_xticks(table.index, table["protocol"].str.replace("_", " ").str.wrap(10))
    ax.axhline(chance, color=GREY, linewidth=1, linestyle="--", zorder=0)
    ax.text(1, chance, "chance", color=GREY, transform=ax.get_yaxis_transform())
    ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    ax.set_ylabel(f"{metric} [%]".replace("uar", "UAR"))
    return ax


def plot_difference_curve(differences, variants, *, label, legend, ax=None):
    """Draw paired differences over variants of a task, a line a protocol, with 95 % intervals.

    Shaded is what counts as level, see `metrics.MARGIN`.

    Parameters
    ----------
    differences : DataFrame
        Columns protocol, variant, difference, low and high, as of `metrics.compare`, with one rival
        a protocol, of one target and one kind of inputs.
    variants : dict of str
        What the axis says of each variant, from left to right: `{"training_speakers=1": "1",
        "": "all"}`. Those of other variants are left out.
    label : str
        What the axis counts, "training speakers" for instance.
    legend : bool
        Name the protocols, right of the axes; of a row of panels the last one is enough.
    """
    place = pd.Index(variants).get_indexer(differences["variant"])
    table = differences.assign(place=place)[place >= 0].sort_values("place")
    table[["difference", "low", "high"]] *= 100
    curves = _ordered(table).groupby("protocol", sort=False)
    ax = _axes(ax, 8, 4.5)
    for rank, (protocol, curve) in enumerate(curves):
        color = PROTOCOL_COLORS.get(protocol, GREY)
        place = curve["place"] + 0.06 * (rank - (len(curves) - 1) / 2)  # beside each other
        ax.vlines(place, curve["low"], curve["high"], color)
        ax.plot(place, curve["difference"], "o-", color=color, label=protocol)
    margin = 100 * metrics.MARGIN
    ax.axhspan(-margin, margin, color=IDLE_COLOR, alpha=0.5, linewidth=0, zorder=0)
    ax.axhline(0, color=GREY, linewidth=1, zorder=0)
    ax.set_xticks(range(len(variants)), variants.values())
    ax.set(xlabel=label, ylabel="points of UAR")
    if legend:
        ax.legend(loc="upper left", bbox_to_anchor=(1.1, 1))
    return ax


def plot_transfer_matrix(
    differences, *, limit, label="gain in UAR over from scratch [points]", ax=None
):
    """Draw gains by source (rows) and target (columns), in points, with their 95 % intervals.

    Coloured and bold is what is clear of zero, white with grey text what is not. Single sources
    come first, then pools ("a&b"), then those learned in turn ("a+b"). `differences` has columns
    source, target, difference, low and high, as of `metrics.compare`. Colours end at `limit`
    [points].
    """
    points = 100 * differences.set_index(["source", "target"])[["difference", "low", "high"]]
    clear = (points["low"] > 0) | (points["high"] < 0)
    gains = points["difference"].where(clear, 0).unstack()
    gains = gains.loc[sorted(gains.index, key=lambda name: (name.count("+"), name.count("&")))]
    ax = _axes(ax, 1.5 * len(gains.columns) + 3, 0.8 * len(gains) + 1.2)
    ax.set_facecolor("#EBEBEB")  # not run
    image = ax.imshow(gains, cmap=GAINS, vmin=-limit, vmax=limit, aspect="auto")
    for (source, target), (gain, low, high) in points.iterrows():
        color, weight = GREY, "normal"
        if clear[source, target]:
            color, weight = "white" if abs(gain) > 0.6 * limit else "black", "bold"
        place = gains.columns.get_loc(target), gains.index.get_loc(source)
        text = f"{gain:+.1f}\n[{low:.1f}, {high:.1f}]"
        ax.text(*place, text, color=color, weight=weight, **CENTRED)
    ax.set_xticks(range(len(gains.columns)), gains.columns)
    ax.set_yticks(range(len(gains)), gains.index)
    ax.set(xlabel="target", ylabel="source")
    ax.tick_params(length=0)
    ax.figure.colorbar(image, ax=ax, label=label)
    return ax


def _axes(ax, width, height):
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def _ordered(table):
    """Return the table with its protocols in the order of their colours."""
    rank = pd.Index(PROTOCOL_COLORS).get_indexer
    return table.sort_values("protocol", key=rank, kind="stable", ignore_index=True)
