"""What each option of PathNet is worth in transfer, on development speakers of the recorded
corpora.

    python tests/benchmarks/bench_options.py <data root> [seeds] [options or transfer]

Only training speakers of each corpus's first fold take part, parted into three folds of whole
speakers; the test speakers of that fold are in no row. A line a variant: UAR, and the difference to
the first (mean over speakers, 95 % interval), over three targets with one source each, plain and
speaker-normalised. "options" are those of the engine, "transfer" what becomes of the source's path
and head, with one training speaker and with all of them. README.md beside this file holds the
tables."""

import sys

import pandas as pd

from pathemo import corpora, metrics, study, transfer
from pathemo.splits import folds_for, speaker_folds

SOURCES = {"emodb": "ravdess", "savee": "emodb", "ravdess": "savee"}
FIRST = dict(
    population_size=16, steps=1000, width=32, minibatches=25, dropout=0.25, label_smoothing=0.1
)
OPTIONS = {
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
    "half so, population of 4, seeded": dict(
        final_share=0.5, population_size=4, frozen_path="seeded"
    ),
    "half so, fitness on dev speakers": dict(final_share=0.5, population_size=4, fitness="dev"),
    "best path 80 % of the steps": dict(final_share=0.8, population_size=4),
}
OPTIONS = {label: (transfer.pathnet, FIRST | changed) for label, changed in OPTIONS.items()}
OPTIONS |= {
    "fine-tuning": (transfer.fine_tune, FIRST),
    "from scratch": (transfer.from_scratch, FIRST),
}

NOW = dict(steps=400, n_layers=2, width=32, minibatches=25, dropout=0.25, label_smoothing=0.1)
KEPT = dict(frozen_path="forced", head="shared")
TRANSFER = {
    "from scratch": (transfer.from_scratch, {}),
    "fine-tuning": (transfer.fine_tune, {}),
    "from scratch, mean of modules": (transfer.from_scratch, dict(combine="mean")),
    "fine-tuning, shared head": (transfer.fine_tune_shared, {}),
    "fine-tuning, shared head, mean of modules": (transfer.fine_tune_shared, dict(combine="mean")),
    "frozen features": (transfer.frozen_features, {}),
    "PathNet: free path, new head": (transfer.pathnet, {}),
    "free path, shared head": (transfer.pathnet, dict(head="shared")),
    "path seeded, shared head": (transfer.pathnet, dict(frozen_path="seeded", head="shared")),
    "path kept, new head": (transfer.pathnet, dict(frozen_path="forced")),
    "path kept, shared head": (transfer.pathnet, KEPT),
    "PathNet shared": (transfer.pathnet_shared, {}),
    "PathNet shared, fitness is the loss": (transfer.pathnet_shared, dict(fitness="loss")),
    "PathNet shared, population of 2": (transfer.pathnet_shared, dict(population_size=2)),
    "PathNet shared, population of 8": (transfer.pathnet_shared, dict(population_size=8)),
    "PathNet shared, half the steps on the best path": (
        transfer.pathnet_shared,
        dict(final_share=0.5),
    ),
    "PathNet shared, 14 modules a layer": (transfer.pathnet_shared, dict(n_modules=14)),
    "PathNet shared, mean of modules": (transfer.pathnet_shared, dict(combine="mean")),
}
TRANSFER = {label: (protocol, NOW | changed) for label, (protocol, changed) in TRANSFER.items()}


def development_tasks(root, speeds):
    """Each corpus as a source, whole, and as a target, training speakers of its first fold
    alone.
    """
    indexes = {name: corpora.load(name, root) for name in SOURCES}
    parts = {name: folds_for(index)[0].train for name, index in indexes.items()}
    inner = {
        name: index.iloc[parts[name]].reset_index(drop=True) for name, index in indexes.items()
    }
    options = dict(speeds=speeds, n_jobs=2)
    inputs = ["plain", "speaker-normalised"]
    whole, part = (study.tasks_of(some, "speech", inputs, **options) for some in (indexes, inner))
    for (name, i), task in part.items():
        yield (
            task._replace(folds=tuple(speaker_folds(inner[name], 3, seed=0))),
            whole[SOURCES[name], i],
        )


def print_table(variants, tasks, n_seeds):
    """Print a line a variant."""
    seeds = tuple(range(n_seeds))
    runs = [(label, target, source) for label in variants for target, source in tasks]
    jobs = [
        (variants[label][0], target, (source,), variants[label][1] | {"seeds": seeds})
        for label, target, source in runs
    ]
    outcomes = zip(study.outcomes_of(jobs, n_jobs=2), runs, strict=True)
    rows = pd.concat(
        [outcome.rows.assign(protocol=label, source="") for outcome, (label, *_) in outcomes]
    )
    first, *_ = variants
    print(
        f"| variant | plain | to {first} | speaker-normalised | to {first} |",
        "| --- " * 5,
        sep="\n",
    )
    for label in variants:
        cells = [label]
        for _, part in rows.groupby("inputs"):
            mean = metrics.summary(part[part["protocol"] == label], ["protocol"])["mean"][0]
            cells += [f"{100 * mean:.1f}", ""]
            if label != first:
                difference = metrics.paired_difference(part, label, first).iloc[0]
                cells[-1] = "{difference:+.1f} [{low:+.1f}, {high:+.1f}]".format(**100 * difference)
        print("| " + " | ".join(cells) + " |", flush=True)


def main():
    """Print the tables."""
    root, n_seeds, which = (sys.argv[1:] + ["5", "options"][len(sys.argv) - 2 :])[:3]
    if which == "options":
        print_table(OPTIONS, list(development_tasks(root, [1.0])), int(n_seeds))
        return
    tasks = list(development_tasks(root, [1.0, 0.95, 1.05]))
    print("\nOne training speaker:\n")
    scarce = [(transfer.with_few_speakers(task, 1), source) for task, source in tasks]
    print_table(TRANSFER, scarce, int(n_seeds))
    print("\nAll training speakers:\n")
    print_table(TRANSFER, tasks, int(n_seeds))


if __name__ == "__main__":
    main()
