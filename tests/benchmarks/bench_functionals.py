"""What each group of functionals is worth to each corpus, and so to a target by the other corpora
alone.

    python tests/benchmarks/bench_functionals.py <data root>

Logistic regression on the study's folds. A line a group: UAR in points with all functionals minus
UAR without the group, mean of plain and speaker-normalised, mean over speakers; then, for each
target, the mean of what the other corpora say, which is what may decide for it. README.md beside
this file holds the table."""

import sys

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pathemo import corpora, metrics, speech, transfer

NAMES = "emodb", "savee", "ravdess"
INPUTS = "plain", "speaker-normalised"
GROUPS = {
    "statistics of descriptors": r"^\S+ (?:mean|sd|delta)$",
    "percentiles of pitch and voicing": r" p\d+$",
    "thirds": r" (?:first|middle|last)(?: sd)?$",
    "contours of descriptors": r"^(?!band).* contour\d$",
    "contours of bands": r"^band.* contour\d$",
    "correlations": " with ",
    "modulations": " Hz ",
}


def uar(task):
    """Return the mean over speakers of what a logistic regression reaches."""
    strength = 5 / task.features.shape[1]  # the more features, the more each is held back
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
    )
    rows = transfer.baseline(task, model=model, protocol="logistic").rows
    return metrics.summary(rows, ["target"])["mean"][0]


def main():
    """Print the table."""
    indexes = {name: corpora.load(name, sys.argv[1]) for name in NAMES}
    features = {name: speech.functionals(index) for name, index in indexes.items()}
    names = pd.Series(speech.FUNCTIONALS)
    kept = {"all": np.ones(len(names), bool)}
    kept |= {group: ~names.str.contains(pattern).to_numpy() for group, pattern in GROUPS.items()}
    assert (len(GROUPS) - 1 == sum(kept[group] for group in GROUPS)).all(), (
        "a functional has one group"
    )
    jobs = [(group, name, i) for group in kept for name in NAMES for i in INPUTS]
    reached = joblib.Parallel(2)(
        joblib.delayed(uar)(
            transfer.task(name, indexes[name], features[name][:, kept[group]], inputs=i)
        )
        for group, name, i in jobs
    )
    reached = pd.Series(reached, pd.MultiIndex.from_tuples(jobs))
    table = reached.groupby(level=[0, 1], sort=False).mean().unstack()
    worth = 100 * (table.loc["all"] - table.drop("all"))[list(NAMES)]
    for target in NAMES:
        worth[f"for {target}"] = worth[[name for name in NAMES if name != target]].mean(axis=1)
    worth.insert(0, "functionals", [(~kept[group]).sum() for group in worth.index])
    print(worth.loc[list(GROUPS)].round(1).to_string())


if __name__ == "__main__":
    main()
