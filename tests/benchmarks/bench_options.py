"""What options of PathNet are worth in transfer, on development speakers of the recorded corpora.

    python tests/benchmarks/bench_options.py <data root> [seeds] [options or transfer]

Only training speakers of each corpus's first fold take part, parted into three folds of whole
speakers; the test speakers of that fold are in no row. A line a variant: UAR, and the difference to
the first (mean over speakers, 95 % interval), over three targets with one source each, plain and
speaker-normalised. "options" are those of the engine, "transfer" what becomes of the source's path
and head, with one training speaker and with all of them. README.md beside this file holds the
tables, in which v0.1.0 had more options than are left."""

import sys
from dataclasses import replace

import pandas as pd

from pathemo import corpora, metrics, study, tasks, transfer
from pathemo.splits import folds_for, speaker_folds

SOURCES = {"emodb": "ravdess", "savee": "emodb", "ravdess": "savee"}
NOW = dict(steps=400, n_layers=2, width=32, minibatches=25, dropout=0.25, label_smoothing=0.1)
KEPT = dict(frozen_path="forced", head="shared")
OPTIONS = {
    "defaults": (transfer.pathnet, {}),
    "frozen path forced": (transfer.pathnet, dict(frozen_path="forced")),
    "SGD": (transfer.pathnet, dict(optimiser="sgd", learning_rate=0.05)),
    "no dropout": (transfer.pathnet, dict(dropout=0.0)),
    "no label smoothing": (transfer.pathnet, dict(label_smoothing=0.0)),
    "minibatches as drawn": (transfer.pathnet, dict(balanced=False)),
    "Gaussian noise 0.5": (transfer.pathnet, dict(gaussian_noise=0.5)),
    "N = 5 of 10": (transfer.pathnet, dict(n_active=5)),
    "population of 16": (transfer.pathnet, dict(population_size=16)),
    "half the steps on the best path": (transfer.pathnet, dict(final_share=0.5)),
    "fine-tuning": (transfer.fine_tune, {}),
    "from scratch": (transfer.from_scratch, {}),
}
TRANSFER = {
    "from scratch": (transfer.from_scratch, {}),
    "fine-tuning": (transfer.fine_tune, {}),
    "fine-tuning, shared head": (transfer.fine_tune_shared, {}),
    "frozen features": (transfer.frozen_features, {}),
    "PathNet: free path, new head": (transfer.pathnet, {}),
    "free path, shared head": (transfer.pathnet, dict(head="shared")),
    "path kept, new head": (transfer.pathnet, dict(frozen_path="forced")),
    "path kept, shared head": (transfer.pathnet, KEPT),
    "PathNet shared": (transfer.pathnet_shared, {}),
    "PathNet shared, population of 2": (transfer.pathnet_shared, dict(population_size=2)),
    "PathNet shared, population of 8": (transfer.pathnet_shared, dict(population_size=8)),
    "PathNet shared, half on the best path": (transfer.pathnet_shared, dict(final_share=0.5)),
    "PathNet shared, 14 modules a layer": (transfer.pathnet_shared, dict(n_modules=14)),
}


def development_tasks(root, speeds):
    """Return pairs: training speakers of a corpus's first fold as a target, and its source."""
    indexes = {name: corpora.load(name, root) for name in SOURCES}
    parts = {name: folds_for(index)[0].train for name, index in indexes.items()}
    inner = {name: indexes[name].iloc[part].reset_index(drop=True) for name, part in parts.items()}
    options = list(SOURCES), "speech", ["plain", "speaker-normalised"]
    whole, part = (
        tasks.corpus_tasks(options[0], some, *options[1:], speeds=speeds, n_jobs=2)
        for some in (indexes, inner)
    )
    folds = {name: tuple(speaker_folds(index, 3, seed=0)) for name, index in inner.items()}
    return [
        (replace(task, folds=folds[name]), whole[SOURCES[name], inputs])
        for (name, inputs), task in part.items()
    ]


def print_table(variants, pairs, n_seeds):
    """Print a line a variant."""
    seeds, jobs, labels = tuple(range(n_seeds)), [], []
    for label, (protocol, settings) in variants.items():
        settings = NOW | settings | {"seeds": seeds}
        jobs += [study.Job(protocol, target, (source,), settings) for target, source in pairs]
        labels += [label] * len(pairs)
    outcomes = zip(study.run(jobs, n_jobs=2), labels, strict=True)
    rows = [outcome.rows.assign(protocol=label, source="") for outcome, label in outcomes]
    rows, (first, *others) = pd.concat(rows), variants
    means = metrics.summary(rows, ["inputs", "protocol"]).set_index(["inputs", "protocol"])["mean"]
    table = metrics.compare(rows, [(label, first) for label in others], ["inputs"])
    table = table.set_index(["inputs", "protocol"])[["difference", "low", "high"]]
    head = f"| variant | plain | to {first} | speaker-normalised | to {first} |"
    print(head, "| --- " * 5 + "|", sep="\n")
    for label in variants:
        cells = [label]
        for inputs in ("plain", "speaker-normalised"):
            cells += [f"{100 * means[inputs, label]:.1f}", ""]
            if label != first:
                difference = 100 * table.loc[(inputs, label)]
                cells[-1] = "{difference:+.1f} [{low:+.1f}, {high:+.1f}]".format(**difference)
        print("| " + " | ".join(cells) + " |", flush=True)


def main():
    """Print the tables."""
    root, n_seeds, which = (sys.argv[1:] + ["5", "options"][len(sys.argv) - 2 :])[:3]
    if which == "options":
        print_table(OPTIONS, development_tasks(root, [1.0]), int(n_seeds))
        return
    pairs = development_tasks(root, [1.0, 0.95, 1.05])
    print("\nOne training speaker:\n")
    scarce = [(transfer.with_few_speakers(task, 1), source) for task, source in pairs]
    print_table(TRANSFER, scarce, int(n_seeds))
    print("\nAll training speakers:\n")
    print_table(TRANSFER, pairs, int(n_seeds))


if __name__ == "__main__":
    main()
