"""Methods of feature selection, by name, and the settings with which each trains."""

from __future__ import annotations

from typing import Any

from tsnn.engine.autoencoder import WAST, QuickSelection
from tsnn.engine.input_removal import Elimination, NeuroFS
from tsnn.engine.selection import EntryPrune, Products, Ranking, SummedAttribution, SummedStrength

METHODS: dict[str, type[Ranking]] = {
    "strength": SummedStrength,
    "attribution": SummedAttribution,
    "elimination": Elimination,
    "products": Products,
    "neurofs": NeuroFS,
    "entryprune": EntryPrune,
    "quickselection": QuickSelection,
    "wast": WAST,
}
UNSUPERVISED = ("quickselection", "wast")

_EVOLVED = {
    "hidden": (500, 500), "epsilon": 20.0, "epochs": 50, "batch_size": 32, "learning_rate": 0.01, "dropout": 0.3,
    "activation": "relu", "alpha": 0.6, "initializer": "he_uniform_sparse", "regrow": "gradient", "zeta": 0.3,
    "shrinkage": 2.0, "momentum": 0.9, "method": "set",
}  # fmt: skip
_PLAIN = {"dropout": 0.0, "weight_decay": 0.0, "momentum": 0.9, "initializer": "xavier_uniform"}
#: Settings of each method where the parameters of the selector are None: those of its paper, or ours. The weight decay
#: is ``shrinkage`` over the number of batches: without it, the weights of the start hide what few batches add to them.
RECIPES: dict[str, dict[str, Any]] = {
    "strength": _EVOLVED,
    "attribution": _EVOLVED,
    "elimination": _EVOLVED,
    "products": _EVOLVED | {  # folded activations learn products of features
        "hidden": (200, 200), "epsilon": 30.0, "epochs": 60, "activation": "all_relu", "alpha": 0.8, "shrinkage": 7.5,
    },
    "neurofs": _PLAIN | {"hidden": (1000, 1000, 1000), "epsilon": 30.0, "epochs": 100, "batch_size": 100,
                         "learning_rate": 0.01, "activation": "tanh"},
    "entryprune": _PLAIN | {"hidden": (100,), "epsilon": 20.0, "epochs": 100, "batch_size": 32, "learning_rate": 0.01,
                            "activation": "relu"},
    "quickselection": _PLAIN | {"hidden": (1000,), "epsilon": 13.0, "epochs": 100, "batch_size": 100,
                                "learning_rate": 0.01, "zeta": 0.2},
    "wast": _PLAIN | {"hidden": (200,), "density": 0.2, "epochs": 10, "batch_size": 128, "learning_rate": 0.025},
}  # fmt: skip
