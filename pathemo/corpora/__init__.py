"""Emotion corpora as index tables: one row a clip, whatever names and folders a corpus came with.

`load` reads one of the four corpora, `from_table` your own; `fetch` gets a corpus or says how to;
`overview` shows what is there. data/README.md tells origin, licence and expected tree of each.
"""
# ruff: noqa: F401

from ..files import data_root
from .fetching import fetch, model
from .reading import CORPORA, found, load, overview
from .tables import from_table, indexes
