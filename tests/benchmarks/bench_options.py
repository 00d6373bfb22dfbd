"""What each option of PathNet is worth in transfer, on development speakers of the recorded corpora.

    python tests/benchmarks/bench_options.py <data root> [seeds]

Only training speakers of each corpus's first fold take part, parted into three folds of whole speakers; the
test speakers of that fold are in no row. A line a variant: UAR, and the difference to the defaults (mean over
speakers, 95 % interval), over three targets with one source each, plain and speaker-normalised. README.md
beside this file holds the table.
"""

import sys

import pandas as pd

from pathemo import corpora, metrics, speech, study, transfer
from pathemo.splits import folds_for, speaker_folds

SOURCES = {"emodb": "ravdess", "savee": "emodb", "ravdess": "savee"}
DEFAULTS = dict(population_size=16, steps=1000, width=32, minibatches=25, dropout=0.25, label_smoothing=0.1)
VARIANTS = {
    "defaults": {},
    "clamp at the edge": dict(edge="clamp"),
    "mean of modules": dict(combine="mean"),
    "frozen path seeded": dict(frozen_path="seeded"),
    "frozen path forced": dict(frozen_path="forced"),
    "fitness on dev speakers": dict(fitness="dev"),
    "SGD, momentum 0.9": dict(optimiser="sgd", learning_rate=0.01),
    "plain SGD": dict(optimiser="sgd", momentum=0.0, learning_rate=0.05),
    "no dropout": dict(dropout=0.0),
    "no label smoothing": dict(label_smoothing=0.0),
    "minibatches as drawn": dict(balanced=False),
    "salt and pepper 0.1": dict(salt_and_pepper=0.1),
    "salt and pepper 0.5": dict(salt_and_pepper=0.5),
    "Gaussian noise 0.5": dict(gaussian_noise=0.5),
    "N = 5 of 10": dict(n_active=5),
    "mutation rate doubled": dict(rate=2 / 9),
    "population of 64": dict(population_size=64),
    "population of 4, now the default": dict(population_size=4),
    "half the steps on the best path": dict(final_share=0.5),
    "half so, population of 4": dict(final_share=0.5, population_size=4),
    "half so, population of 4, seeded": dict(final_share=0.5, population_size=4, frozen_path="seeded"),
    "half so, fitness on dev speakers": dict(final_share=0.5, population_size=4, fitness="dev"),
    "best path 80 % of the steps": dict(final_share=0.8, population_size=4),
}


def development_tasks(name, root):
    """The corpus as a source, whole, and as a target, training speakers of its first fold alone."""
    index = corpora.load(name, root)
    features = speech.functionals(index)
    part = folds_for(index)[0].train
    inner = index.iloc[part].reset_index(drop=True)
    for inputs in ("plain", "speaker-normalised"):
        whole = transfer.task(name, index, features, inputs=inputs)
        folds = speaker_folds(inner, 3, seed=0)
        yield inputs, whole, transfer.task(name, inner, features[part], inputs=inputs)._replace(folds=folds)


def main():
    """Print the table."""
    root, n_seeds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    tasks = {}
    for name in SOURCES:
        for inputs, whole, inner in development_tasks(name, root):
            tasks[name, inputs] = whole, inner
    jobs, labels = [], []
    for label, changed in [*VARIANTS.items(), ("fine-tuning", None), ("from scratch", None)]:
        protocol = {"fine-tuning": transfer.fine_tune, "from scratch": transfer.from_scratch}
        settings = dict(seeds=tuple(range(n_seeds)), **{**DEFAULTS, **(changed or {})})
        for (target, inputs), (_, inner) in tasks.items():
            source = tasks[SOURCES[target], inputs][0]
            jobs.append((protocol.get(label, transfer.pathnet), inner, (source,), settings))
            labels.append(label)
    outcomes = zip(study.outcomes_of(jobs, n_jobs=2), labels, strict=True)
    rows = pd.concat([outcome.rows.assign(protocol=label, source="") for outcome, label in outcomes])
    print("| variant | plain | to defaults | speaker-normalised | to defaults |", "| --- " * 5, sep="\n")
    for label in dict.fromkeys(labels):
        cells = [label]
        for _, part in rows.groupby("inputs"):
            mean = metrics.summary(part[part["protocol"] == label], ["protocol"])["mean"][0]
            cells += [f"{100 * mean:.1f}", ""]
            if label != "defaults":
                difference = metrics.paired_difference(part, label, "defaults").iloc[0]
                cells[-1] = "{difference:+.1f} [{low:+.1f}, {high:+.1f}]".format(**100 * difference)
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
