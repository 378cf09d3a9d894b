"""The bundled digits and their fixed split."""

from __future__ import annotations

import numpy as np
import pytest

from talweg import data

datasets = pytest.importorskip("sklearn.datasets")


def test_the_split_is_fixed_and_covers_everything_once() -> None:
    train, held_out = data.digits()
    assert (len(train), len(held_out)) == (1438, 359)
    bunch = datasets.load_digits()
    images = np.concatenate([part.tensors[0].numpy() for part in (held_out, train)])
    labels = np.concatenate([part.tensors[1].numpy() for part in (held_out, train)])
    order = np.random.RandomState(0).permutation(1797)
    np.testing.assert_array_equal(images[:, 0] * 16, bunch.images[order])
    np.testing.assert_array_equal(labels, bunch.target[order])
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    assert sorted(np.bincount(held_out.tensors[1].numpy(), minlength=10))[0] > 20
