"""Whole training runs: the same program with talweg and with PyTorch, from the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.shakespeare import Run

pytest.importorskip("torch")


@pytest.mark.parametrize("framework", ["talweg", "talweg-compile"])
def test_letters_are_learned_as_pytorch_learns_them(framework: str) -> None:
    numbers = np.random.RandomState(0).choice(11, 12000, p=np.arange(1, 12) / 66)
    ours, theirs = (Run(name, numbers, 11, 12, seed=3) for name in (framework, "torch"))
    for _ in range(3):
        np.testing.assert_allclose(ours.advance(4), theirs.advance(4), rtol=2e-5)
    np.testing.assert_allclose(ours.held_out(), theirs.held_out(), rtol=2e-5)
    assert ours.held_out() < np.log(11)
