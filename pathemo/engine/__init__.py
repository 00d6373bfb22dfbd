"""The engine: PathNets of stacked replicas, the examples that they learn from, and the evolution of
paths. Nothing here knows of corpora or emotions."""
# ruff: noqa: F401

from .evolution import Evolution, Population, evolve, mutate, random_genotype
from .examples import Examples
from .pathnet import PathNet
from .settings import COUNT, SHARE, check
