"""Random Tensors, and the Generator whose counter makes them reproducible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PUBLIC: tuple[Callable[..., Any], ...] = ()
METHODS: dict[str, Callable[..., Any]] = {}
