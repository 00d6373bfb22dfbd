"""What the settings of a network, its training and its evolution may be, checked in one place."""

import math

from pandas import Interval

COUNT = Interval(1, math.inf, closed="left")
SHARE = Interval(0, 1, closed="left")  # below 1: something is left
LIMITS = {
    "n_layers": COUNT,
    "n_modules": COUNT,
    "width": COUNT,
    "batch_size": COUNT,
    "generations": COUNT,
    "minibatches": COUNT,
    "population_size": Interval(2, math.inf, closed="left"),  # a tournament needs two
    "steps": COUNT,
    "learning_rate": Interval(0, math.inf, closed="neither"),
    "gaussian_noise": Interval(0, math.inf, closed="left"),
    "dropout": SHARE,
    "label_smoothing": SHARE,
    "optimiser": ("adam", "sgd"),
}


def check(limits=LIMITS, **settings):
    """Raise a ValueError that names a setting out of its limits, an interval or names to choose."""
    for name, value in settings.items():
        limit = limits[name]
        if value not in limit:
            valid = limit if isinstance(limit, Interval) else ", ".join(limit)
            raise ValueError(f"{name} = {value!r}: choose from {valid}")
