"""Optimizers, and schedules of their learning rates."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from talweg.optim.optimizer import Optimizer

__all__ = [
    "ASGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "LBFGS",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "lr_scheduler",
    "swa_utils",
]

if TYPE_CHECKING:
    from talweg.optim import lr_scheduler, swa_utils
    from talweg.optim.adam import Adam, AdamW
    from talweg.optim.adam_variants import Adamax, NAdam, RAdam
    from talweg.optim.adaptive import Adadelta, Adagrad, RMSprop, Rprop
    from talweg.optim.lbfgs import LBFGS
    from talweg.optim.matrices import Adafactor, Muon
    from talweg.optim.sgd import ASGD, SGD
else:
    # A program uses one or two of them: each comes with the module that has it.
    _PARTS = {
        "adam": "Adam AdamW",
        "adam_variants": "Adamax NAdam RAdam",
        "adaptive": "Adadelta Adagrad RMSprop Rprop",
        "lbfgs": "LBFGS",
        "lr_scheduler": "",
        "matrices": "Adafactor Muon",
        "sgd": "ASGD SGD",
        "swa_utils": "",
    }
    _LATER = {name: part for part, names in _PARTS.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            found = getattr(import_module(f"talweg.optim.{_LATER[name]}"), name)
            globals()[name] = found
            return found
        if name in _PARTS:
            return import_module(f"talweg.optim.{name}")
        text = f"module 'talweg.optim' has no attribute {name!r}"
        raise AttributeError(text, name=name, obj=sys.modules[__name__])

    def __dir__() -> list[str]:
        return sorted({*globals(), *_PARTS, *_LATER})
