"""Speech: recordings decoded, log-mel spectrograms, and of an utterance functionals, or what a
network that others trained makes of it."""
# ruff: noqa: F401

from .functionals import FUNCTIONALS, functionals, functionals_of
from .pretrained import embeddings, is_here
from .recordings import decode
from .spectrograms import log_mel
