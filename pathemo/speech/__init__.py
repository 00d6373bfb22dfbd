"""Speech: recordings decoded, log-mel spectrograms, and one row of functionals an utterance."""
# ruff: noqa: F401

from .functionals import FUNCTIONALS, functionals, functionals_of
from .recordings import decode
from .spectrograms import log_mel, segments
