"""Optimizers, and schedules of their learning rates."""

from __future__ import annotations

from talweg.optim import lr_scheduler, swa_utils
from talweg.optim.adam import Adam, AdamW
from talweg.optim.adam_variants import Adamax, NAdam, RAdam
from talweg.optim.adaptive import Adadelta, Adagrad, RMSprop, Rprop
from talweg.optim.lbfgs import LBFGS
from talweg.optim.matrices import Adafactor, Muon
from talweg.optim.optimizer import Optimizer
from talweg.optim.sgd import ASGD, SGD

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
