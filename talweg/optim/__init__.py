"""Optimizers, and schedules of their learning rates."""

from __future__ import annotations

from talweg.optim.adam import Adam, AdamW
from talweg.optim.optimizer import Optimizer
from talweg.optim.sgd import ASGD, SGD

__all__ = ["ASGD", "Adam", "AdamW", "Optimizer", "SGD"]
