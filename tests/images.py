"""Images in either order of memory, for tests."""

from __future__ import annotations

import numpy as np

import talweg as tw


def images(*shape: int, seed: int = 0, last: bool = True) -> tw.Tensor:
    """Return normal numbers, with the channels last in memory where `last` says so."""
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    made = tw.from_numpy(values)
    return made.to(memory_format=tw.channels_last) if last else made
