"""A training loop for those who want one: `fit`, `evaluate`, and the curves that they give."""

from __future__ import annotations

from talweg.training.history import History
from talweg.training.loop import Options, evaluate, fit

__all__ = ["History", "Options", "evaluate", "fit"]
