"""A profile for a corpus of your own: `python -m pathemo new my_corpus.csv`.

It runs the study's notebooks with your corpus as the target and all corpora that are here as its
sources, with the settings of the paper profile; notebook 08 then says what to use. A corpus that
has recordings of yours is no source: it would know those whom the target is tested on.
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import yaml

from . import corpora, files, report, splits

BASELINES, VISUAL = "02_single_domain_baselines", "03_visual_transfer"
AUDIO, COMPARISON = "04_audio_multi_source_transfer", "05_fine_tuning_comparison"
STEPS_A_SECOND = 1200  # path-steps of one core, at the study's sizes: about
RUNS = {"speech": 300, "faces": 200}  # protocols, source lists, draws and inputs of a target: about
HEADER = "# {path} as a target, with the settings of paper.yaml. Made by `python -m pathemo new`.\n"


def new(path, root=None):
    """Return the path of a new profile for a CSV file of your own, and what is in the corpus.

    The second, lines of text, has clips, speakers, emotions, folds, sources and time. ValueError,
    beside those of `corpora.from_table`, where speakers are too few or not known, or a profile or
    corpus has that name already; FileNotFoundError outside of the project.
    """
    path = Path(path).expanduser().absolute()
    index, profile = corpora.from_table(path), report.home() / "reports" / f"{path.stem}.yaml"
    if path.stem in corpora.CORPORA or profile.exists():
        raise ValueError(f"{profile.name} or a corpus {path.stem} is there: rename {path.name}")
    if index["speaker"].isna().any():
        raise ValueError(
            f"{path}: without a column speaker it can be learned from, but nothing can be tested "
            "on it; name it in `source_tables` of notebook 03 of a profile"
        )
    folds, kind = splits.folds_for(index), "faces"
    if index.reindex(columns=["audio", "video"]).notna().any(axis=1).all():
        kind = "speech"
    settings = yaml.safe_load((report.home() / "reports" / "paper.yaml").read_text("utf-8"))
    base, faces = (settings["notebooks"][name] for name in (BASELINES, VISUAL))
    names = base["names"] if kind == "speech" else faces["tables"] + faces["source_tables"]
    copies = {name: _n_copies(index, other) for name, other in corpora.indexes(names, root).items()}
    sources = [name for name in names if copies.get(Path(name).stem) == 0]
    settings["notebooks"] = _notebooks(settings["notebooks"], path, kind, sources)
    files.write_text(profile, HEADER.format(path=path.name) + _yaml(settings))
    steps = len(folds) * len(base["seeds"]) * base["steps"] * RUNS[kind]
    minutes = np.ceil(steps / STEPS_A_SECOND / 120)
    counts = index.groupby("clip")[["speaker", "emotion"]].first()
    emotions = counts["emotion"].value_counts()
    known = ", ".join(f"{name} has {n} of your recordings" for name, n in copies.items() if n)
    return profile, [
        f"{len(counts)} clips of {counts['speaker'].nunique()} speakers, as {kind}",
        f"emotions: {', '.join(f'{name} {n}' for name, n in emotions.items())}",
        f"{len(folds)} folds, no speaker on both sides of any",
        f"sources that are here: {', '.join(Path(name).stem for name in sources) or 'none'}",
        *([f"no source: {known}"] if known else []),
        f"about {minutes:.0f} minutes on two cores, features not counted",
    ]


def _yaml(settings):
    """Return settings as YAML, in their order, lists and small dictionaries in a line."""
    plain = json.loads(json.dumps(settings))  # no object twice, which YAML would make a reference
    return yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=100)


def _n_copies(index, other):
    """Return how many recordings of an index another one has too, byte for byte."""
    own, others = _sizes(index), _sizes(other)
    alike = own.index[own.isin(others)], others.index[others.isin(own)]  # few have to be read
    own, others = (paths.map(pooch.file_hash) for paths in alike)
    return own.isin(others).sum()


def _sizes(index):
    """Return the size [bytes] of each recording, by its path."""
    paths = index.reindex(columns=["audio", "video", "image"]).stack().dropna()
    return pd.Series({path: os.path.getsize(path) for path in paths})


def _notebooks(paper, path, kind, sources):
    """Return the notebooks that take the corpus, with their parameters."""
    crowds = [name for name in paper[VISUAL]["source_tables"] if name in sources]
    nothing = {"names": [], "tables": [], "landmark_names": [], "face_names": []}
    if kind == "speech":
        target = {"names": [str(path), *sources], "targets": [path.stem]}
        given = {
            BASELINES: nothing | {"names": target["names"]},
            AUDIO: target | {"group_names": []},
            COMPARISON: target | {"directions": []},
        }
    else:
        tables = [str(path), *(name for name in sources if name not in crowds)]
        no_corpus = {"landmark_names": [], "face_names": []}
        given = {
            BASELINES: nothing | {"tables": tables},
            VISUAL: no_corpus | {"tables": tables, "source_tables": crowds},
        }
    chosen = {name: paper[name] | parameters for name, parameters in given.items()}
    return chosen | {"08_your_corpus": {"target": path.stem}}
