"""The engine: PathNets of stacked replicas, the examples that they learn from, and the evolution of
paths.

layers.py computes and differentiates modules, examples.py holds inputs, pathnet.py trains and
predicts, evolution.py holds the tournament. Nothing here knows of corpora or emotions."""

from .evolution import Evolution, Population, evolve, mutate, random_genotype
from .examples import Examples
from .pathnet import PathNet

__all__ = ["Evolution", "Examples", "PathNet", "Population", "evolve", "mutate", "random_genotype"]
