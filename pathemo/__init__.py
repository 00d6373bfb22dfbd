"""PathNet transfer for emotion recognition across speakers and corpora."""

__version__ = "0.1.0"
