"""Scores as result rows, and what rows tell: means, intervals, paired differences, tables.

A result row has one fact a column, `ROW_COLUMNS`:

protocol : how it was learned: `pathnet`, `fine_tune`, `logistic`, ...
source : what was learned before (or with it, `joint`): names joined by `+` in turn, by `&` as one
    pool; empty without. In `sequence` all that was learned so far, the target perhaps among it.
target, corpus_version : what is tested.
modality : `speech`, `landmarks`, `hog`, `crops`, or a network; several joined by `+`.
inputs : `plain`, or `speaker-normalised`: scaled by each speaker's own unlabelled clips.
variant : empty in the main comparison, else the one thing that differs: `training_speakers=4`,
    `steps=100`, `source_steps=10000`, `few_people=4` (after a large source), `groups=3`,
    `speakers_shared`, `sentences_disjoint`, ...
draw : which draw of few training speakers, or which group of speakers; 0 otherwise.
fold, speaker, seed : of whom, and by which replica; `all` for scores over all clips at once.
metric, value, n, note : `uar` or `accuracy` of n clips; a note says why there is no value.
"""

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import accuracy_score, recall_score

ROW_COLUMNS = (  # one fact a column
    "protocol source target modality inputs variant draw corpus_version fold speaker seed metric "
    "value n note"
).split()
NUMBERS = {"draw": "Int64", "seed": "Int64", "value": "float64", "n": "Int64"}
ROW_TYPES = {column: NUMBERS.get(column, "string") for column in ROW_COLUMNS}
ROW_KEY = [column for column in ROW_COLUMNS if column not in ("value", "n", "note")]
DEFAULTS = dict.fromkeys(ROW_COLUMNS, "") | {"modality": "speech", "inputs": "plain"}
DEFAULTS |= {"draw": 0, "seed": pd.NA, "value": np.nan, "n": 0}
# [UAR] Differences within it are called level. Two points are the 95 % half-width that a score of
# RAVDESS's 1,440 clips has (that of Luna-Jimenez et al. 2021, 2.06 to 2.56 points), and what a
# choice that nobody reports moves a mean by (other functionals, seed, steps: 1 to 4 points here).
MARGIN = 0.02
UNITS = {"speaker": ["target", "speaker"], "draw": ["draw"]}
NEVER_AVERAGED = ("protocol", "modality", "inputs", "variant", "corpus_version")


def unweighted_average_recall(truth, prediction):
    """Return UAR, the plain mean of the recalls of the emotions in `truth`; chance is 1 / their
    number.

    >>> unweighted_average_recall(["anger", "anger", "fear"], ["anger", "fear", "fear"])
    0.75
    """
    truth, prediction = _checked(truth, prediction)
    return float(recall_score(truth, prediction, labels=np.unique(truth), average="macro"))


def accuracy(truth, prediction):
    """Return the share of clips whose emotion was recognised.

    >>> accuracy(["anger", "anger", "fear", "fear"], ["anger", "fear", "fear", "fear"])
    0.75
    """
    return float(accuracy_score(*_checked(truth, prediction)))


def confusion(truth, prediction):
    """Return clip counts: rows the emotion of `truth`, columns of `prediction`, both in
    alphabetical order.

    >>> confusion(["anger", "fear", "fear"], ["fear", "fear", "fear"]).to_numpy().tolist()
    [[0, 1], [0, 2]]
    """
    truth, prediction = _checked(truth, prediction)
    emotions = np.union1d(truth, prediction)
    counts = pd.crosstab(truth, prediction, rownames=["truth"], colnames=["prediction"])
    return counts.reindex(index=emotions, columns=emotions, fill_value=0)


def score_rows(truth, prediction, speaker, **key):
    """Return the result rows of test clips: UAR and accuracy of each speaker.

    `key` gives other columns of `ROW_COLUMNS`, of all clips or of each. A speaker's UAR is over the
    emotions which that speaker has. Scores over all clips at once have speaker and fold "all"."""
    truth, prediction = _checked(truth, prediction)
    of_each = {name: value for name, value in key.items() if np.ndim(value)}
    clips = pd.DataFrame({"emotion": truth, "correct": truth == prediction} | of_each)
    clips["speaker"] = np.asarray(speaker, str)
    unit = [*of_each, "speaker"]
    correct = clips.groupby(unit, sort=False)["correct"]
    recalls = clips.groupby([*unit, "emotion"], sort=False)["correct"].mean()
    scores = correct.agg(n="size", accuracy="mean")
    scores.insert(0, "uar", recalls.groupby(unit, sort=False).mean())
    scores = scores.set_index("n", append=True).rename_axis(columns="metric").stack()
    return _complete(scores.rename("value").reset_index(), key)


def not_run_rows(reason, **key):
    """Return one result row without a value, whose note gives the reason."""
    return _complete(pd.DataFrame({"note": [f"not run: {reason}"]}), key)


def _complete(rows, key):
    if unknown := sorted(set(key) - set(ROW_COLUMNS)):
        raise TypeError(f"a result row has no column {unknown}, only {ROW_COLUMNS}")
    rows = pd.DataFrame(DEFAULTS | key | dict(rows), index=rows.index)
    return rows[ROW_COLUMNS].astype(ROW_TYPES)


def check_rows(rows):
    """Return result rows in the order and the types of their columns.

    ValueError if there are other columns, a row twice, or a missing value without a note.
    """
    if set(rows.columns) != set(ROW_COLUMNS):
        raise ValueError(f"result rows have columns {ROW_COLUMNS}, not {list(rows.columns)}")
    rows = rows[ROW_COLUMNS].astype(ROW_TYPES)
    twice, silent = rows.duplicated(ROW_KEY), rows["value"].isna() & rows["note"].eq("")
    for wrong, problem in ((twice, "there twice"), (silent, "without a value and without a note")):
        if wrong.any():
            first = rows.loc[wrong, ROW_KEY].iloc[0].to_dict()
            raise ValueError(
                f"{wrong.sum()} of {len(rows)} result rows are {problem}, the first is {first}"
            )
    return rows


def read_rows(path):
    """Return the result rows of a CSV file: speaker "03" stays text, and "NA" a speaker."""
    rows = pd.read_csv(path, dtype="string", keep_default_na=False)
    return rows.replace(dict.fromkeys(NUMBERS, ""), pd.NA).astype(ROW_TYPES)[ROW_COLUMNS]


def summary(rows, by, *, metric="uar", unit="speaker"):
    """Return means over speakers with 95 % intervals, a row a group of `by`, in the order of
    `rows`.

    Columns: `by`, then `mean, low, high, n_speakers, n_seeds`, and `pooled`: the mean over seeds of
    the score over all clips at once. A speaker counts once, by the mean of its rows (over seeds,
    draws, and sources unless `by` parts them). A group that was not run has 0 speakers, no mean.
    With `unit="draw"` a draw of few training speakers takes a speaker's place, column `n_draws`.
    ValueError if a row is there twice, or a column of NEVER_AVERAGED would be averaged.

    The interval is of a study that draws new speakers (or draws) and new seeds: mean ± t(0.975, df)
    sqrt(s_u² / n_u + s_s² / n_s), with the variances of the means of units and of those of seeds,
    and Satterthwaite's df. Seeds are a factor of their own since a source is learned once a seed,
    for all folds; what both count of one variance makes the interval a little wider than need be.
    A percentile bootstrap over 4 to 42 speakers is too narrow (its 95 % cover 80 % with 4, 92 %
    with 10); t holds its level, also when speakers vary unequally. It may leave [0, 1], and does
    not see that folds share training speakers.

    Source: Ibragimov and Müller, Journal of Business & Economic Statistics 28(4), 2010; Hesterberg,
    The American Statistician 69(4), 2015; two factors as Cameron, Gelbach and Miller, the same
    journal 29(2), 2011, without what they subtract.
    """
    by, counts = list(by), [f"n_{unit}s", "n_seeds"]
    measured = _measured(rows, metric)
    per_seed = _measured(rows, metric, pooled=True).groupby([*by, "seed"])["value"].mean()
    table = _interval(_means(measured, by), by, unit).drop(columns="p")
    table["n_seeds"] = measured.groupby(by)["seed"].nunique()
    table["pooled"] = per_seed.groupby(by).mean()
    groups = rows[by].drop_duplicates(ignore_index=True)  # also those that were not run
    table = groups.merge(table.reset_index(), how="left", on=by)
    return table.assign(**table[counts].fillna(0).astype(int))


def paired_difference(rows, first, second, by=(), *, over=(), metric="uar", unit="speaker"):
    """Return the mean over speakers of `first` minus `second`, 95 % interval and p, a row a group
    of `by`.

    Each speaker meets itself, under the same draw and seed; where one side has one seed alone (a
    classifier without any), or one draw, it meets all of the other's.

    Parameters
    ----------
    rows : DataFrame
        Result rows.
    first, second : str or dict
        A protocol, or values of columns: `{"variant": ""}`.
    by : sequence of str
        Columns that part the differences. Where all of `second` has no source, or `second` fixes
        it, it meets every source of `first`.
    over : sequence of str
        Columns that are averaged over on purpose.
    unit : {"speaker", "draw"}
        See `summary`, of whose two factors interval and p (two-sided, t) are.

    Returns
    -------
    DataFrame
        Columns: `by`, then `difference, low, high, n_speakers, p`.

    Raises
    ------
    ValueError
        No speaker has rows of both, or what `summary` refuses.
    """
    measured, by = _measured(rows, metric), list(by)
    sides = [{"protocol": side} if isinstance(side, str) else side for side in (first, second)]
    parts = [measured[measured[list(side)].eq(pd.Series(side)).all(axis=1)] for side in sides]
    one, other = (_means(part, by, over) for part in parts)
    fixed = {*sides[0], *sides[1]}.difference(by)
    one = one.drop(columns=fixed, errors="ignore")
    if parts[1]["source"].eq("").all():
        fixed.add("source")
    other = other.drop(columns={*fixed, *sides[1]}, errors="ignore")
    for column in ("draw", "seed"):
        if one[column].nunique() > 1 == other[column].nunique():
            other = other.drop(columns=column)
        elif other[column].nunique() > 1 == one[column].nunique():
            one = one.drop(columns=column)
    shared = one.columns.intersection(other.columns).drop("value").tolist()
    both = one.merge(other, on=shared, suffixes=("", "_other"))
    if both.empty:
        protocols = sorted(measured["protocol"].unique())
        raise ValueError(
            f"no speaker has {metric!r} rows of both {first} and {second}; "
            f"protocols with such rows: {protocols}"
        )
    both["value"] -= both["value_other"]
    return _interval(both, by, unit).rename(columns={"mean": "difference"}).reset_index()


def compare(rows, pairs, by=(), **options):
    """Return the paired differences of many pairs as one table, and p-values corrected over all of
    it.

    Columns: `protocol, rival`, those of `paired_difference`, and `p_holm`. `pairs` are (first,
    second), each a protocol, or a dict of one column's value, which then stands for it; `options`
    are its own."""
    tables = []
    for pair in pairs:
        table = paired_difference(rows, *pair, by, **options)
        names = [side if isinstance(side, str) else next(iter(side.values())) for side in pair]
        tables.append(table.assign(protocol=names[0], rival=names[1]))
    table = pd.concat(tables, ignore_index=True)
    table["p_holm"] = holm(table["p"])
    return table[["protocol", "rival", *table.columns.drop(["protocol", "rival"])]]


def verdict(differences, *, margin=MARGIN, level=0.05):
    """Return a sentence that counts what differences say, p-values corrected over all their rows.

    Level are those whose interval lies within the margin, on whichever side of zero.

    >>> table = {"difference": [0.04, -0.01], "low": [0.01, -0.03], "high": [0.07, 0.01]}
    >>> print(verdict(pd.DataFrame(table | {"p": [0.01, 0.4]})))
    +1.5 points on average over 2 comparisons; better in 1, worse in 0, level in 0, undecided in 1;
    1 significant at 5 %
    """
    said = _outcomes(differences, margin)
    counts = [f"{word} in {said.eq(word).sum()}" for word in ("better", "worse", "level")]
    significant = (holm(differences["p"]) < level).sum()
    comparisons = f"{len(said)} comparison{'s' * (len(said) != 1)}"
    return (
        f"{100 * differences['difference'].mean():+.1f} points on average over {comparisons}; "
        f"{', '.join(counts)}, undecided in {said.eq('').sum()}; {significant} "
        f"significant at {100 * level:.0f} %"
    )


def judge(effects, *, margin=MARGIN, level=0.05):
    """Return the verdict on a claim that something is better, from its effect on each of the
    inputs.

    In this order: *level* if all intervals lie within the margin; *supported* (*contradicted*) if
    all are above (below) zero and significant; *in part* if one is, and none is clear of zero on
    the other side; else *undecided*.

    >>> effects = pd.DataFrame({"low": [0.01, -0.01], "high": [0.05, 0.04], "p_holm": [0.02, 0.3]})
    >>> judge(effects)
    'supported in part'
    """
    if _outcomes(effects, margin).eq("level").all():
        return "level"
    said, sure = _outcomes(effects, margin=0), effects["p_holm"] < level
    for word, this, other in (
        ("supported", "better", "worse"),
        ("contradicted", "worse", "better"),
    ):
        clear = said.eq(this) & sure
        if clear.any() and not said.eq(other).any():
            return word if clear.all() else f"{word} in part"
    return "undecided"


def _outcomes(effects, margin):
    """Return what each interval says: level, better, worse, or nothing."""
    low, high = effects["low"], effects["high"]
    within = low.gt(-margin) & high.lt(margin)
    clear = np.where(low > 0, "better", np.where(high < 0, "worse", ""))
    return pd.Series(clear, effects.index).mask(within, "level")


def holm(p):
    """Return Holm's adjusted p-values, in order: each at most 0.05 keeps a family's error at 5 %.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = pd.Series(np.asarray(p, dtype=float)).sort_values()
    return (p * np.arange(len(p), 0, -1)).cummax().clip(upper=1).sort_index().to_numpy()


def headline(rows):
    """Return the rows of the main comparison, without the fusion of notebook 06."""
    return rows[rows["variant"].eq("") & rows["notebook"].ne("06_ravdess_multimodal")]


def results_table(rows, *, row=("target", "modality", "inputs", "source"), metric="uar"):
    """Return a score in percent with its interval as text; a column a protocol.

    A row stands for the columns `row` of the result rows; what is left out is averaged over. What
    was not run has no row, see `not_run`.
    """
    table = score_table(rows, [*row, "protocol"], metric=metric)
    wide = table[metric].unstack(sort=False, fill_value="")
    return wide.join(table[["speakers", "seeds"]].groupby(list(row), sort=False).max())


def score_table(rows, by, *, metric="uar"):
    """Return a score in percent with its interval as text, in a column named as the metric, a line
    for each value of `by`."""
    measured = rows[rows["metric"].eq(metric) & rows["value"].notna()]
    table = summary(measured, by, metric=metric).replace({"source": ""}, "none").set_index(by)
    percent = (100 * table[["mean", "low", "high"]].clip(0, 1)).map("{:.1f}".format).astype(str)
    interval = " [" + percent["low"] + ", " + percent["high"] + "]"
    table[metric] = percent["mean"] + interval.where(table["low"].notna(), "")
    table = table.rename(columns={"n_speakers": "speakers", "n_seeds": "seeds"})
    return table[[metric, "speakers", "seeds"]]


def not_run(rows):
    """Return a sentence that names the targets without any value; an empty one if all have some.

    >>> not_run(not_run_rows("savee not found", target="savee", modality="hog"))
    'Not run, for want of data: savee (hog).'
    """
    counts = rows.groupby(["target", "modality"], sort=False)["value"].count()
    absent = counts.index[counts.eq(0)].to_frame(index=False)
    modalities = absent.groupby("target", sort=False)["modality"].agg(", ".join)
    names = "; ".join(f"{target} ({kinds})" for target, kinds in modalities.items())
    return f"Not run, for want of data: {names}." if names else ""


def markdown_table(table):
    """Return a table with its index as Markdown."""
    table = table.reset_index()
    cells = [table.columns, ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _measured(rows, metric, pooled=False):
    chosen = rows["metric"].eq(metric) & rows["value"].notna()
    chosen &= rows["speaker"].eq("all") == pooled
    twice = rows.loc[chosen & rows.duplicated(ROW_KEY), ROW_KEY]
    if len(twice):
        first = twice.iloc[0].to_dict()
        raise ValueError(
            f"{len(twice)} result rows are there twice, first {first}: "
            "take the rows of one notebook, or drop the duplicates"
        )
    return rows[chosen]


def _means(rows, by, over=()):
    """Return the means of what one speaker reached in one draw with one seed, a row each."""
    unit = list(dict.fromkeys([*by, "target"]))
    for column in set(NEVER_AVERAGED) - {*by, *over}:
        for values in rows.groupby(unit)[column].unique():
            if len(values) > 1:
                raise ValueError(
                    f"{column} {sorted(values)} would be averaged: select one, or part by it"
                )
    unit += ["modality", "inputs", "variant", "corpus_version", "draw", "speaker", "seed"]
    unit = [column for column in dict.fromkeys(unit) if column not in over]
    return rows.fillna({"seed": 0}).groupby(unit)["value"].mean().reset_index()


def _interval(values, by, unit):
    """Return mean, 95 % interval, number of units and p of each group of values, see `summary`."""
    values, by = values.assign(all="") if not by else values, by or ["all"]
    means, of_seeds = (
        values.groupby(list(dict.fromkeys([*by, *factor])))["value"]
        .mean()
        .groupby(by)
        .agg(["mean", "sem", "count"])
        for factor in (UNITS[unit], ["seed"])
    )
    pairs = values.drop_duplicates([*by, *UNITS[unit], "seed"]).groupby(by).size()
    crossed = pairs > means["count"]  # units with several seeds
    variances = [means["sem"] ** 2, of_seeds["sem"].where(crossed, 0).fillna(0) ** 2]
    freedom = [means["count"] - 1, (of_seeds["count"] - 1).clip(lower=1)]
    error, total = sum(variances) ** 0.5, sum(variances)
    df = total**2 / sum(variance**2 / own for variance, own in zip(variances, freedom))
    df = df.fillna(freedom[0])
    half_width, mean = stats.t.ppf(0.975, df) * error, means["mean"]
    table = pd.DataFrame({"mean": mean, "low": mean - half_width, "high": mean + half_width})
    table[f"n_{unit}s"], table["p"] = means["count"], 2 * stats.t.sf(abs(mean) / error, df)
    return table


def _checked(truth, prediction):
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape or not truth.size:
        raise ValueError(
            f"{len(truth)} truths, {len(prediction)} predictions: a clip has one of each"
        )
    if pd.isna(truth).any() or pd.isna(prediction).any():
        raise ValueError(
            "an emotion is missing in truth or prediction: drop those clips before the split"
        )
    return truth, prediction
