"""The functions of `tw`, and those of Tensors, that return one Tensor."""

from __future__ import annotations

from collections.abc import Callable

from talweg.engine import functions
from talweg.engine.tensor import Tensor

Call = Callable[..., Tensor]

FUNCTIONS: dict[str, Call] = functions.FUNCTIONS
METHODS: dict[str, Call] = functions.METHODS
