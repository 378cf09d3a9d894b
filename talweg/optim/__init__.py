"""Optimizers, and schedules of their learning rates."""

from __future__ import annotations

from talweg.optim import lr_scheduler
from talweg.optim.adam import Adam, AdamW
from talweg.optim.adam_variants import Adamax, NAdam, RAdam
from talweg.optim.adaptive import Adadelta, Adagrad, RMSprop, Rprop
from talweg.optim.lbfgs import LBFGS
from talweg.optim.optimizer import Optimizer
from talweg.optim.sgd import ASGD, SGD

__all__ = [
    "ASGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "LBFGS",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "lr_scheduler",
]
