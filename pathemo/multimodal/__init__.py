"""Sound and face together: nets.py, their training over folds, and late fusion of posteriors."""

from . import fusion, nets, training
from .fusion import late_fusion

__all__ = ["fusion", "late_fusion", "nets", "training"]
