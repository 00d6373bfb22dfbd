"""PathNet transfer for emotion recognition: corpora, features, the network, the protocols."""

import lazy_loader

__version__ = "0.2.1"

ROOMS = (
    "corpora engine estimator faces files metrics multimodal own plots report runner speech "
    "splits study synthetic tasks transfer"
)
__getattr__, __dir__, __all__ = lazy_loader.attach(  # each is imported on first use
    __name__,
    ROOMS.split(),
    {"engine": ["PathNet", "evolve", "Examples"], "estimator": ["PathNetClassifier"]},
)
