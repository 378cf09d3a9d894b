"""Chance in data loading: every order and every worker follows from one seed of a Generator."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from talweg.engine.random import DEFAULT, Generator


def seed_from(generator: Generator | None) -> int:
    """Draw a fresh 63-bit seed: from `generator`, or from the one that `manual_seed` sets."""
    return mixed(*(generator or DEFAULT).take(1))


def numbers(seed: int) -> np.random.Generator:
    """The stream of random numbers of a seed."""
    return np.random.Generator(np.random.PCG64(seed))


def mixed(seed: int, number: int) -> int:
    """A seed for part `number` of what `seed` stands for; parts do not resemble each other."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)


def seed_everything(seed: int) -> None:
    """Seed the global generators of talweg, NumPy and `random`."""
    DEFAULT.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the global generators of talweg, NumPy and `random` run from `seed`."""
    before = DEFAULT.get_state(), np.random.get_state(), random.getstate()
    seed_everything(seed)
    try:
        yield
    finally:
        DEFAULT.set_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
