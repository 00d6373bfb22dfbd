"""Scores as result rows, and what rows tell: means over speakers, 95 % intervals, paired
differences.
"""

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

ROW_COLUMNS = (
    "protocol",
    "source",
    "target",
    "inputs",
    "corpus_version",
    "fold",
    "speaker",
    "seed",
    "metric",
    "value",
    "n",
    "note",
)
ROW_TYPES = dict.fromkeys(ROW_COLUMNS, "string") | {
    "seed": "Int64",
    "value": "float64",
    "n": "Int64",
}
ROW_KEY = [column for column in ROW_COLUMNS if column not in ("value", "n", "note")]


def unweighted_average_recall(truth, prediction):
    """UAR: the plain mean of the recalls of the emotions in `truth`; chance is 1 / their number.

    >>> unweighted_average_recall(["anger", "anger", "fear"], ["anger", "fear", "fear"])
    0.75
    """
    truth, prediction = _checked(truth, prediction)
    return float(recall_score(truth, prediction, labels=np.unique(truth), average="macro"))


def accuracy(truth, prediction):
    """Share of clips whose emotion was recognised.

    >>> accuracy(["anger", "anger", "fear", "fear"], ["anger", "fear", "fear", "fear"])
    0.75
    """
    return float(accuracy_score(*_checked(truth, prediction)))


def recall_per_emotion(truth, prediction):
    """Table of `recall` and `n` [clips] by emotion, for the emotions in `truth` in alphabetical
    order.
    """
    truth, prediction = _checked(truth, prediction)
    emotions, n = np.unique(truth, return_counts=True)
    recall = recall_score(truth, prediction, labels=emotions, average=None)
    return pd.DataFrame({"recall": recall, "n": n}, index=pd.Index(emotions, name="emotion"))


def confusion(truth, prediction):
    """Table of clip counts: rows the emotion of `truth`, columns of `prediction`, both in
    alphabetical order.

    >>> confusion(["anger", "fear", "fear"], ["fear", "fear", "fear"]).to_numpy().tolist()
    [[0, 1], [0, 2]]
    """
    truth, prediction = _checked(truth, prediction)
    emotions = np.union1d(truth, prediction)
    return pd.DataFrame(
        confusion_matrix(truth, prediction, labels=emotions),
        index=pd.Index(emotions, name="truth"),
        columns=pd.Index(emotions, name="prediction"),
    )


def accuracy_half_width(p, n):
    """Half-width of the 95 % interval of an accuracy `p` [0 to 1] over `n` clips taken as
    independent.

    Clips of one speaker are not, so it is too narrow; it is here to stand beside published
    half-widths.

    Source: Luna-Jimenez et al., Sensors 21(22):7665, 2021, 1.96 sqrt(p (1 - p) / n).

    >>> round(100 * accuracy_half_width(0.8008, 1440), 2)
    2.06
    """
    return float(1.96 * np.sqrt(p * (1 - p) / n))


def score_rows(truth, prediction, speaker, **key):
    """Result rows of test folds: UAR and accuracy of each speaker, columns `ROW_COLUMNS`.

    `key` gives `protocol, target, corpus_version, fold, seed`, and `source` (else "": none) and
    `inputs` (else "plain"): of all clips, or of each. A speaker's UAR is over the emotions which
    that speaker has."""
    truth, prediction = _checked(truth, prediction)
    clips = pd.DataFrame({"speaker": np.asarray(speaker, str), "emotion": truth, **key})
    clips["right"] = truth == prediction
    unit = [*key, "speaker"]
    recalls = clips.groupby([*unit, "emotion"], sort=False)["right"].mean()
    right = clips.groupby(unit, sort=False)["right"]
    scores = pd.DataFrame(
        {
            "uar": recalls.groupby(unit, sort=False).mean(),
            "accuracy": right.mean(),
            "n": right.size(),
        }
    )
    scores = scores.set_index("n", append=True).rename_axis(columns="metric").stack()
    return _rows(scores.rename("value").reset_index())


def pooled_rows(truth, prediction, **key):
    """Result rows over the test clips of all folds of a seed: UAR and accuracy.

    Their `fold` and `speaker` are "all"; `key` gives the other columns, as in `score_rows`.
    """
    return score_rows(truth, prediction, ["all"] * len(truth), **{"fold": "all"} | key)


def not_run_rows(reason, **key):
    """One result row without a value, whose note gives the reason; columns not in `key` stay
    empty.
    """
    empty = dict.fromkeys(ROW_COLUMNS, "") | {"seed": pd.NA, "value": np.nan, "n": 0}
    return _rows(pd.DataFrame([empty | key | {"note": f"not run: {reason}"}]))


def read_rows(path):
    """Result rows of a CSV file, in their types: speaker "03" stays text, and "NA" a speaker."""
    rows = pd.read_csv(path, dtype="string", keep_default_na=False)
    return rows.replace({"seed": "", "value": "", "n": ""}, pd.NA).astype(ROW_TYPES)[
        list(ROW_COLUMNS)
    ]


def summary(rows, by, *, metric="uar"):
    """Means over speakers with 95 % intervals, one table row a group of `by`, in the order of
    `rows`.

    Columns: `by`, then `mean, low, high, n_speakers, n_seeds`, and `pooled`: the mean over seeds of
    the score over all clips at once. A speaker counts once, by the mean of its rows (over seeds,
    and over sources unless `by` parts them). A group that was not run has 0 speakers, no mean.

    ValueError if a row is there twice, or protocols, inputs or versions of a corpus would be
    averaged.

    The interval is Student's t over speakers, mean ± t(0.975, n - 1) sd / sqrt(n), for speakers are
    what changes when a study is repeated, and a corpus has 4 to 42. A percentile bootstrap over so
    few is too narrow (its 95 % cover 80 % with 4 speakers, 92 % with 10); t holds its level, also
    when speakers vary unequally. It may leave [0, 1], and it does not see that folds share training
    speakers.

    Source: Ibragimov and Müller, Journal of Business & Economic Statistics 28(4), 2010; Hesterberg,
    The American Statistician 69(4), 2015."""
    by = list(by)
    measured = _measured(rows, metric)
    per_seed = _measured(rows, metric, pooled=True).groupby([*by, "seed"])["value"].mean()
    table = _interval(_speaker_means(measured, by).groupby(by))
    table["n_seeds"] = measured.groupby(by)["seed"].nunique()
    table["pooled"] = per_seed.groupby(by).mean()
    table = (
        rows[by].drop_duplicates(ignore_index=True).merge(table.reset_index(), how="left", on=by)
    )
    return table.fillna({"n_speakers": 0, "n_seeds": 0}).astype({"n_speakers": int, "n_seeds": int})


def paired_difference(rows, first, second, by=(), *, metric="uar"):
    """Mean over speakers of `first` minus `second`, 95 % interval and p, one table row a group of
    `by`.

    Columns: `by`, then `difference, low, high, n_speakers, p`. Each speaker is compared with
    itself, by the means of its rows on either side; the interval is that of `summary`. `p` is
    two-sided, by the sign-flip permutation test of the mean: exact up to 13 speakers, 9,999 seeded
    draws above. With n speakers it is at least 2 / 2**n, which is 0.125 for 4.

    Either side is a protocol, or a dict of values of columns. A column of `by` that `second` fixes
    is not matched, so one reference serves all groups: `{"protocol": "from_scratch", "source":
    ""}`."""
    first, second = (
        {"protocol": side} if isinstance(side, str) else side for side in (first, second)
    )
    measured, by = _measured(rows, metric), list(by)
    means, reference = (
        _speaker_means(measured[measured[list(side)].eq(pd.Series(side)).all(axis=1)], by)
        for side in (first, second)
    )
    reference = reference.droplevel(
        [column for column in reference.index.names if column in second]
    )
    difference = (means - reference).dropna()
    if difference.empty:
        raise ValueError(
            f"no speaker has {metric!r} rows of both {first} and {second}; "
            f"protocols with such rows: {sorted(measured['protocol'].unique())}"
        )
    groups = difference.groupby(by or np.zeros(len(difference)))
    table = _interval(groups).rename(columns={"mean": "difference"})
    table["p"] = groups.agg(_sign_flip_p)
    return table.reset_index(drop=not by)


def verdict(differences, *, level=0.05):
    """Sentence that counts what `paired_difference` found, p-values corrected by Holm over all its
    rows.

    >>> found = pd.DataFrame({"difference": [0.02, -0.01], "low": [0.01, -0.03], "high": [0.03, 0.01],
    ...                       "p": [0.01, 0.4]})
    >>> verdict(found)
    '+0.5 points on average over 2 comparisons; better in 1, worse in 0, undecided in 1; 1
    significant at 5 %'"""
    better, worse = (differences["low"] > 0).sum(), (differences["high"] < 0).sum()
    mean, n = 100 * differences["difference"].mean(), len(differences)
    return (
        f"{mean:+.1f} points on average over {n} comparisons; better in {better}, worse in {worse}, "
        f"undecided in {n - better - worse}; "
        f"{(holm(differences['p']) < level).sum()} significant at {level:.0%}".replace("%", " %")
    )


def holm(p):
    """Holm's adjusted p-values, in the order given: each at most 0.05 keeps the family's error rate
    at 5 %.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = pd.Series(np.asarray(p, dtype=float)).sort_values()
    return (p * np.arange(len(p), 0, -1)).cummax().clip(upper=1).sort_index().to_numpy()


def _measured(rows, metric, pooled=False):
    chosen = (
        (rows["metric"] == metric) & ((rows["speaker"] == "all") == pooled) & rows["value"].notna()
    )
    twice = rows.loc[chosen & rows.duplicated(ROW_KEY), ROW_KEY]
    if len(twice):
        raise ValueError(
            f"{len(twice)} result rows are there twice, first {twice.iloc[0].to_dict()}: "
            "take the rows of one notebook, or drop the duplicates"
        )
    return rows[chosen]


def _speaker_means(rows, by):
    for column in ("protocol", "inputs", "corpus_version"):
        for values in rows.groupby(list(dict.fromkeys([*by, "target"])))[column].unique():
            if len(values) > 1 and column not in by:
                raise ValueError(
                    f"{column} {sorted(values)} would be averaged: select one, or part by it"
                )
    unit = [*by, "inputs", "target", "corpus_version", "speaker"]
    return rows.groupby(list(dict.fromkeys(unit)))["value"].mean()


def _interval(groups):
    table = groups.agg(mean="mean", low="sem", high="sem", n_speakers="count")
    half_width = stats.t.ppf(0.975, table["n_speakers"] - 1) * table["high"]
    return table.assign(low=table["mean"] - half_width, high=table["mean"] + half_width)


def _sign_flip_p(difference):
    flip = {"permutation_type": "samples", "rng": 0}
    return (
        stats.permutation_test((difference,), np.mean, **flip).pvalue
        if len(difference) > 1
        else np.nan
    )


def _rows(scores):
    rows = pd.DataFrame(
        {"source": "", "inputs": "plain", "note": ""} | dict(scores), index=scores.index
    )
    if set(rows) != set(ROW_COLUMNS):
        raise TypeError(
            f"a result row needs {sorted(set(ROW_COLUMNS) - set(rows))}, "
            f"and has no column {sorted(set(rows) - set(ROW_COLUMNS))}"
        )
    return rows[list(ROW_COLUMNS)].astype(ROW_TYPES)


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
