"""Speech: recordings decoded, log-mel spectrograms, and one row of functionals an utterance.

recordings.py decodes, spectrograms.py and utterances.py describe what was said.
"""

from .recordings import decode
from .spectrograms import log_mel, segments
from .utterances import FUNCTIONALS, functionals, functionals_of

__all__ = ["FUNCTIONALS", "decode", "functionals", "functionals_of", "log_mel", "segments"]
