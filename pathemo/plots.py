"""The study's pictures: `plot_x(data, *, ax=None)` draws into `ax`, or a new figure, and returns
the axes.

Nothing is shown or saved here. One colour a protocol and one marker a corpus, the same in every
notebook."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.collections import EllipseCollection, PathCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter

from . import metrics

# Okabe and Ito, "Color Universal Design", 2008: told apart with every kind of colour vision
PROTOCOL_COLORS = {
    "logistic": "#CC79A7",
    "svm": "#D55E00",
    "from_scratch": "#000000",
    "fine_tune": "#E69F00",
    "frozen_features": "#009E73",
    "pathnet_scratch": "#56B4E9",
    "pathnet": "#0072B2",
    "zero_shot": "#F0E442",
}
# Darker where heads are shared, lighter where size or budget is another
PROTOCOL_COLORS |= {
    "fine_tune_shared": "#8F5A00",
    "pathnet_shared": "#00315C",
    "from_scratch_wide": "#606060",
    "from_scratch_long": "#A0A0A0",
}
CORPUS_MARKERS = {"emodb": "o", "enterface": "s", "ravdess": "^", "savee": "D"}
PATH_COLOR, FROZEN_COLOR, IDLE_COLOR, GREY = (
    PROTOCOL_COLORS["pathnet"],
    "#B5DDF5",
    "#D5D5D5",
    "#707070",
)
SHADES = LinearSegmentedColormap.from_list("shades", ["white", PATH_COLOR])
OVER_REPLICAS = {"errorbar": "sd", "color": PATH_COLOR, "linewidth": 2}
# Type of report size: `plt.rcParams.update(plots.STYLE)`
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}


def panels(n_rows, n_columns=1, *, width=6, height=4):
    """A figure and its axes (n_rows, n_columns), each panel `width` by `height` inches."""
    size = (width * n_columns, height * n_rows)
    return plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", squeeze=False)


def plot_path(path, *, n_modules, frozen=None, ax=None):
    """A path through the network, layers left to right: outlined modules are active, filled ones
    frozen.

    `path` (n_layers, n_active) holds the active modules; `frozen` (n_layers, n_modules) is True or
    False."""
    active = _active(path, n_modules)
    frozen = np.zeros_like(active) if frozen is None else np.asarray(frozen, dtype=bool)
    ax = _network(active.shape, ax)
    _links(active, active[:-1, :, None] & active[1:, None, :], ax, width=1.8)
    _modules(
        frozen, ax, facecolor=FROZEN_COLOR, edgecolor=FROZEN_COLOR, linewidth=1.2, label="frozen"
    )
    _modules(active, ax, facecolor="none", edgecolor=PATH_COLOR, linewidth=2.4, label="on the path")
    dot = {"linestyle": "", "marker": "o", "markersize": 11, "markeredgewidth": 2.4}
    ring = Line2D([], [], **dot, color="white", markeredgecolor=PATH_COLOR, label="on the path")
    filled = Line2D([], [], **dot, color=FROZEN_COLOR, label="frozen")
    _legend_below(ax, [ring, filled] if frozen.any() else [ring])
    return ax


def plot_population(genotypes, *, n_modules, legend=True, ax=None):
    """All paths of a population at once: the more of them use a module or a link, the stronger it
    is drawn.

    `genotypes` is (population_size, n_layers, n_active).
    """
    active = _active(genotypes, n_modules).astype(float)
    use = active.mean(axis=0)
    ax = _network(use.shape, ax)
    _links(use, np.einsum("plm,plk->lmk", active[:, :-1], active[:, 1:]) / len(active), ax, width=5)
    _modules(
        use > 0,
        ax,
        facecolor=SHADES(use[use > 0]),
        edgecolor=PATH_COLOR,
        linewidth=1.2,
        label="used",
    )
    if legend:
        _legend_below(
            ax,
            [
                Line2D(
                    [],
                    [],
                    color=to_rgba(PATH_COLOR, _alpha(share)),
                    linewidth=5 * share,
                    label=f"{share:.0%} of paths",
                )
                for share in (0.25, 0.5, 1)
            ],
        )
    return ax


def browse_populations(populations, *, n_modules):
    """A slider over the generations, with the population's paths of each; for JupyterLab, which it
    needs.

    `populations` is (generations + 1, population_size, n_layers, n_active).
    """
    from ipywidgets import IntSlider, interact  # slow to load, and only needed here

    def show(generation):
        plot_population(populations[generation], n_modules=n_modules)
        plt.show()

    interact(show, generation=IntSlider(0, 0, len(populations) - 1, description="generation"))


def plot_module_use(populations, *, n_modules, frozen=None, ax=None):
    """How many paths of the population use each module (rows), after each generation (columns).

    `populations` is (generations + 1, population_size, n_layers, n_active). Modules that are
    `frozen` (n_layers, n_modules) get a mark before their row."""
    use = _active(populations, n_modules).mean(axis=1)
    n_layers = use.shape[1]
    ax = _axes(ax, 7, 0.12 * n_layers * n_modules + 1.5)
    use = use.reshape(len(use), -1).T
    mesh = ax.imshow(use, aspect="auto", cmap=SHADES, vmin=0, vmax=1, interpolation="none")
    ax.figure.colorbar(mesh, ax=ax, label="share of paths", format=PercentFormatter(1))
    ax.hlines(np.arange(1, n_layers) * n_modules - 0.5, *ax.get_xlim(), color=GREY, linewidth=1)
    ax.set_yticks(
        (np.arange(n_layers) + 0.5) * n_modules - 0.5, [f"layer {n + 1}" for n in range(n_layers)]
    )
    ax.set(xlabel="generation", ylabel="modules")
    if frozen is not None:
        rows = np.flatnonzero(frozen)
        ax.plot(
            np.full(len(rows), -1.5), rows, "s", color=FROZEN_COLOR, clip_on=False, label="frozen"
        )
        ax.set_xlim(left=-2)
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return ax


def plot_reuse(history, *, chance, ax=None):
    """Share of frozen modules on the winning paths over the generations: mean over replicas, band
    of one sd.

    `history` is as of `evolve`, `chance` the share of all modules that are frozen.
    """
    ax = _axes(ax, 7, 4)
    sns.lineplot(history, x="generation", y="frozen_share", ax=ax, **OVER_REPLICAS)
    ax.axhline(chance, color=GREY, linewidth=1, linestyle="--", label="chance")
    ax.set(ylabel="frozen modules on winning paths", ylim=(0, 1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(frameon=False)
    return ax


def plot_fitness(history, *, ax=None):
    """Fitness of the winners in a history of `evolve`: mean over replicas, band of one standard
    deviation.
    """
    winners = history.assign(
        fitness=history[["fitness_first", "fitness_second"]].max(axis="columns")
    )
    ax = _axes(ax, 7, 4)
    sns.lineplot(winners, x="generation", y="fitness", ax=ax, **OVER_REPLICAS)
    ax.set(
        ylabel="fitness of the winner",
        title=f"mean ± standard deviation of {history['replica'].nunique()} replicas",
    )
    return ax


def plot_confusion(counts, *, ax=None):
    """Confusion: rows are the truth, in whole percents of the row, with the clips below.

    `counts` (K, K) are of clips, as of `metrics.confusion`.
    """
    ax = _axes(ax, 0.75 * len(counts) + 1.8, 0.7 * len(counts) + 1.4)
    share = 100 * counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0)
    sns.heatmap(
        share,
        annot=True,
        fmt=".0f",
        annot_kws={"va": "bottom"},
        vmin=0,
        vmax=100,
        cmap=SHADES,
        cbar=False,
        square=True,
        linewidths=1,
        linecolor="#F4F4F4",
        ax=ax,
    )
    for percent, clips in zip(
        list(ax.texts), counts.to_numpy()[share.notna().to_numpy()], strict=True
    ):
        ax.text(
            *percent.get_position(),
            f"{clips}",
            color=percent.get_color(),
            ha="center",
            va="top",
            size=7,
        )
    ax.set(xlabel="recognised as  [% of the row, and clips]", ylabel="truth")
    ax.tick_params(length=0, rotation=0)
    plt.setp(ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
    return ax


def plot_comparison(rows, *, chance, metric="uar", ax=None):
    """A metric by protocol: a dot a speaker, thin lines that join a speaker's dots, mean and 95 %
    interval.

    `rows` are result rows, as a rule of one target; a dot is the mean of a speaker's over the
    seeds. `chance` is what guessing scores: 1 / K for UAR, the share of the largest class for
    accuracy."""
    table = metrics.summary(rows, ["protocol"], metric=metric)
    rank = {protocol: place for place, protocol in enumerate(PROTOCOL_COLORS)}
    table = table.sort_values("protocol", key=lambda names: names.map(rank), ignore_index=True)
    speakers = rows[(rows["metric"] == metric) & (rows["speaker"] != "all")]
    means = speakers.groupby(["target", "speaker", "protocol"])["value"].mean()
    values = means.unstack().reindex(columns=table["protocol"])
    colors = table["protocol"].map(PROTOCOL_COLORS).fillna(GREY)
    ax = _axes(ax, max(1.1 * len(table) + 0.8, 5.5), 4.5)
    ax.axhline(chance, color=GREY, linewidth=1, linestyle="--", label="chance", zorder=0)
    ax.plot(values.to_numpy().T, color=IDLE_COLOR, linewidth=0.8, zorder=1)
    for target, of_target in values.groupby("target"):
        dot = {"marker": CORPUS_MARKERS.get(target, "P"), "s": 28, "linewidths": 0}
        for place, color in colors.items():
            ax.scatter(
                [place] * len(of_target), of_target.iloc[:, place], color=color, alpha=0.55, **dot
            )
        ax.scatter([], [], color=GREY, label=f"{target} speaker", **dot)
    bar = {"fmt": "o", "markersize": 7, "linewidth": 2, "capsize": 4}
    ax.errorbar([], [], [], color=GREY, label="mean, 95 % interval", **bar)
    for place, (row, color) in enumerate(zip(table.itertuples(), colors, strict=True)):
        if not row.n_speakers:
            ax.text(
                place, 0.5, "not run", transform=ax.get_xaxis_transform(), color=GREY, ha="center"
            )
            continue
        ax.errorbar(
            place + 0.2, row.mean, [[row.mean - row.low], [row.high - row.mean]], color=color, **bar
        )
        ax.annotate(
            f"{100 * row.mean:.1f}",
            (place + 0.2, row.mean),
            (8, 0),
            textcoords="offset points",
            va="center",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
    ax.set_xticks(range(len(table)), table["protocol"].str.replace("_", " ").str.wrap(10))
    ax.set(xlim=(-0.4, len(table) - 0.3), ylabel="UAR [%]" if metric == "uar" else f"{metric} [%]")
    ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    ax.tick_params(axis="x", labelsize="small")
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
        ncols=3,
        frameon=False,
        fontsize="small",
        columnspacing=1,
        handletextpad=0.4,
    )
    return ax


def plot_learning_curve(rows, *, chance, unit="training speakers", ax=None):
    """UAR over the number of training speakers, a line a protocol: mean over test speakers, 95 %
    interval.

    `rows` are result rows of one target whose `inputs` end in ", k training speakers", or have all
    of them. `unit` is what is counted, if it is not training speakers: "steps", for instance."""
    table = metrics.summary(rows, ["protocol", "inputs"])
    count = table["inputs"].str.extract(rf"(\d+) {unit}")[0].astype(float)
    table["place"], counts = pd.factorize(count, sort=True, use_na_sentinel=False)
    ax = _axes(ax, 6.5, 4.5)
    shown = [protocol for protocol in PROTOCOL_COLORS if protocol in set(table["protocol"])]
    for shift, protocol in zip(np.linspace(-0.15, 0.15, len(shown)), shown, strict=True):
        of_protocol = table[table["protocol"] == protocol].sort_values("place")
        spread = [
            of_protocol["mean"] - of_protocol["low"],
            of_protocol["high"] - of_protocol["mean"],
        ]
        ax.errorbar(
            of_protocol["place"] + shift,
            of_protocol["mean"],
            spread,
            fmt="o-",
            capsize=3,
            color=PROTOCOL_COLORS[protocol],
            label=protocol,
        )
    ax.axhline(chance, color=GREY, linewidth=1, linestyle="--", label="chance")
    ax.set_xticks(range(len(counts)), ["all" if np.isnan(k) else f"{k:.0f}" for k in counts])
    ax.set(xlabel=unit, ylabel="UAR [%]")
    ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    ax.legend(frameon=False, fontsize="small")
    return ax


def plot_transfer_matrix(differences, *, label="gain in UAR over from scratch [points]", ax=None):
    """Gain by source (rows) and target (columns), in points, each with its 95 % interval.

    `differences` are as of `metrics.paired_difference(..., by=["source", "target"])`.
    """
    points = 100 * differences.set_index(["source", "target"])[["difference", "low", "high"]]
    texts = [f"{gain:+.1f}\n[{low:.1f}, {high:.1f}]" for gain, low, high in points.to_numpy()]
    gain, text = points["difference"].unstack(), pd.Series(texts, points.index).unstack()
    sources = sorted(gain.index, key=lambda source: (source.count("+"), source))
    limit = points["difference"].abs().max()
    ax = _axes(ax, 1.5 * len(gain.columns) + 3, 0.8 * len(gain) + 1.2)
    ax.set_facecolor("#F4F4F4")
    sns.heatmap(
        gain.loc[sources],
        annot=text.loc[sources],
        fmt="",
        vmin=-limit,
        vmax=limit,
        cmap="vlag_r",
        linewidths=1,
        cbar_kws={"label": label},
        ax=ax,
    )
    ax.set(xlabel="target", ylabel="source")
    ax.tick_params(length=0, rotation=0)
    return ax


def plot_effects(effects, *, label="difference in UAR [points]", ax=None):
    """Effects with their 95 % intervals, one below the other: blue is above zero, red below, grey
    undecided.

    `effects` has columns difference, low, high, as of `metrics.paired_difference`, and two levels
    of the index: what was compared, a line each, and the kind of inputs, filled and hollow dots.
    """
    names, kinds = (effects.index.unique(level).tolist() for level in (0, 1))
    ax = _axes(ax, 9, 0.34 * len(names) + 1.2)
    ax.axvline(0, color=GREY, linewidth=1)
    dot = {"fmt": "o", "markersize": 6, "capsize": 3}
    for (name, kind), effect in (100 * effects).iterrows():
        color = (
            PATH_COLOR
            if effect["low"] > 0
            else PROTOCOL_COLORS["svm"]
            if effect["high"] < 0
            else GREY
        )
        spread = [[effect["difference"] - effect["low"]], [effect["high"] - effect["difference"]]]
        ax.errorbar(
            effect["difference"],
            names.index(name) + 0.3 * kinds.index(kind) - 0.15,
            xerr=spread,
            color=color,
            markerfacecolor="white" if kinds.index(kind) else color,
            **dot,
        )
    for kind in kinds:
        ax.errorbar(
            [],
            [],
            [],
            color=GREY,
            markerfacecolor="white" if kinds.index(kind) else GREY,
            label=kind,
            **dot,
        )
    ax.set_yticks(range(len(names)), names)
    ax.set(ylim=(len(names) - 0.4, -0.6), xlabel=label)
    ax.grid(axis="y", color=IDLE_COLOR, linewidth=0.5)
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _axes(ax, width, height):
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def _legend_below(ax, handles):
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        ncols=len(handles),
        frameon=False,
    )


def _active(paths, n_modules):
    # (..., n_layers, n_active) to (..., n_layers, n_modules)
    return (np.asarray(paths)[..., None] == np.arange(n_modules)).any(axis=-2)


# The one geometry of networks: layers 4 apart from left to right, modules 1 apart from the top,
# radius 0.33.


def _network(shape, ax):
    n_layers, n_modules = shape
    ax = _axes(ax, 2 * n_layers + 2.4, 0.45 * n_modules + 1.2)
    for x, name in ((-4, "input"), (4 * n_layers, "head")):
        ax.text(
            x,
            (n_modules - 1) / 2,
            name,
            rotation=90,
            ha="center",
            va="center",
            color=GREY,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "#F4F4F4", "edgecolor": IDLE_COLOR},
        )
    for layer in range(n_layers):
        ax.text(4 * layer, n_modules, f"layer {layer + 1}", ha="center", va="center", color=GREY)
    everywhere = np.ones(shape, dtype=bool)
    _modules(
        everywhere, ax, facecolor="white", edgecolor=IDLE_COLOR, linewidth=1.2, label="modules"
    )
    ax.set(xlim=(-4.8, 4 * n_layers + 0.8), ylim=(n_modules + 0.5, -0.6), aspect="equal")
    ax.axis("off")
    return ax


def _modules(which, ax, **look):
    layer, module = np.nonzero(which)
    size = np.full(len(layer), 0.66)
    ax.add_collection(
        EllipseCollection(
            size,
            size,
            0 * size,
            units="xy",
            offsets=np.c_[4 * layer, module],
            offset_transform=ax.transData,
            zorder=2,
            **look,
        )
    )


def _links(use, between, ax, *, width):
    # `use` (L, M) and `between` (L - 1, M, M) are shares of paths; input and head are one node in
    # the middle.
    middle, curves, shares = (use.shape[1] - 1) / 2, [], []
    for layer, share in enumerate([use[:1], *between, use[-1:].T], start=-1):
        left, right = 4 * layer + 0.33, 4 * layer + 3.67
        for start, end in np.argwhere(share):
            y = middle if layer == -1 else start, middle if layer == len(use) - 1 else end
            points = (left, y[0]), (left + 1.6, y[0]), (right - 1.6, y[1]), (right, y[1])
            curves.append(Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]))
            shares.append(float(share[start, end]))
    ax.add_collection(
        PathCollection(
            curves,
            facecolor="none",
            edgecolor=[to_rgba(PATH_COLOR, _alpha(share)) for share in shares],
            linewidth=width * np.array(shares),
            zorder=1,
            label="links",
        )
    )


def _alpha(share):
    return 0.1 + 0.75 * share
