"""PathNet transfer for emotion recognition: corpora, features, the network, the protocols
compared.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {"PathNet": "pathnet", "evolve": "evolution", "PathNetClassifier": "estimator"}


def __getattr__(name):
    """Return a public name, its module imported on first use: `import pathemo` stays light."""
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module 'pathemo' has no attribute {name!r}")
