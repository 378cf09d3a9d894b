"""A function that is not replayed warns: no test of replays may pass without noticing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def strictly() -> Iterator[None]:
    """A function that is not replayed warns: no test may pass without noticing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
