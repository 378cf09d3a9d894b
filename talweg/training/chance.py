"""Where all sources of chance stand, so that a program can go on from there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from talweg.engine.random import DEFAULT, Generator


def positions(generators: Sequence[Generator]) -> dict[str, Any]:
    """Return the state of talweg's default stream, NumPy's, Python's, and other generators."""
    version, numbers, gauss = random.getstate()
    kind, key, place, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "talweg": [list(g.position) for g in (DEFAULT, *generators)],
        "python": [version, np.array(numbers, np.uint64), gauss],
        "numpy": [kind, np.asarray(key), int(place), int(has_gauss), float(cached)],
    }


def go_on(state: dict[str, Any], generators: Sequence[Generator]) -> None:
    """Set all of them to what `positions` returned."""
    for generator, (seed, offset) in zip((DEFAULT, *generators), state["talweg"], strict=True):
        generator.seek(seed, offset)
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(map(int, numbers)), gauss))
    kind, key, place, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, key, place, has_gauss, cached))
