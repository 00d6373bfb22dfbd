"""Sound and face together: networks, their training over folds, and late fusion of posteriors."""
# ruff: noqa: F401

from . import fusion, nets, training
from .fusion import late_fusion
