"""The handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from talweg.base.extras import require
from talweg.data.dataset import TensorDataset
from talweg.data.idx import check_labels
from talweg.engine.creation import from_numpy


def digits() -> tuple[TensorDataset, TensorDataset]:
    """Return 1,797 handwritten digits of 8 by 8 pixels: 1,438 to train on and 359 held out.

    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository (1998), as bundled with scikit-learn. The split is the same on every machine.

    Returns:
        Two data sets of pairs: the image, float32 of shape (1, 8, 8) with values from 0 to 1, and
        the digit, int64.

    >>> train, held_out = tw.data.digits()
    >>> len(train), len(held_out), train[0][0].shape
    (1438, 359, (1, 8, 8))

    Raises:
        MissingExtra: when scikit-learn is not installed.
    """
    bunch = require("sklearn.datasets", extra="demo").load_digits()
    images = (np.asarray(bunch.images, np.float32) / np.float32(16)).reshape(-1, 1, 8, 8)
    labels = np.asarray(bunch.target, np.int64)
    check_labels(labels, 10, "scikit-learn's digits")
    # The legacy stream of NumPy is frozen, so this order will never change.
    order = np.random.RandomState(0).permutation(len(labels))
    held_out, train = np.split(order, [len(order) // 5])
    return _rows(images, labels, train), _rows(images, labels, held_out)


def _rows(images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> TensorDataset:
    return TensorDataset(from_numpy(images[order]), from_numpy(labels[order]))
