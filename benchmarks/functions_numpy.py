"""The functions that pure programs are written with, in NumPy: the oracle in float64.

Arrays keep their dtype, so that a program runs in the dtype of its parameters. `functions_jax`
has the same functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = Any

exp = np.exp
tanh = np.tanh
where = np.where
concatenate = np.concatenate
_ERF = np.vectorize(math.erf, otypes=[float])


def relu(x: Array) -> Array:
    """Return max(x, 0)."""
    return np.maximum(x, 0)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def silu(x: Array) -> Array:
    """Return x sigmoid(x)."""
    return x * sigmoid(x)


def gelu(x: Array) -> Array:
    """Return x Phi(x), Phi being the normal distribution function."""
    return x * (1 + _ERF(x / math.sqrt(2))).astype(x.dtype) / 2


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return x weightᵀ + bias."""
    y = x @ weight.T
    return y if bias is None else y + bias


def softmax(x: Array) -> Array:
    """Return the softmax along the last axis."""
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
    """Normalise along the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the mean negative logarithm of the label's softmax; classes are last."""
    logits, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    shifted = logits - logits.max(-1, keepdims=True)
    chosen = shifted[np.arange(len(labels)), labels]
    return (np.log(np.exp(shifted).sum(-1)) - chosen).mean()


def embedding(weight: Array, index: Array) -> Array:
    """Return the rows of a table."""
    return weight[index]


def _windows(x: Array, size: Sequence[int], stride: int) -> Array:
    views = np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))
    return views[:, :, ::stride, ::stride]


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Array:
    """Correlate images with kernels (O, I / groups, height, width)."""
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    windows = _windows(x, weight.shape[2:], stride)
    parts = [
        np.einsum("nchwij,ocij->nohw", part, kernels, optimize=True)
        for part, kernels in zip(
            np.split(windows, groups, 1), np.split(weight, groups), strict=True
        )
    ]
    y = np.concatenate(parts, 1)
    return y if bias is None else y + bias[:, None, None]


def max_pool2d(x: Array, size: int, stride: int, padding: int = 0) -> Array:
    """Return the maxima of windows."""
    borders = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    x = np.pad(x, borders, constant_values=-np.inf)
    return _windows(x, (size, size), stride).max((-2, -1))


def image_mean(x: Array) -> Array:
    """Return the mean of each channel of each image."""
    return x.mean((2, 3))


def flatten(x: Array) -> Array:
    """Return images as rows, channels outermost."""
    return x.reshape(len(x), -1)


def batch_norm(
    x: Array, name: str, state: Any, training: bool, momentum: float = 0.1, eps: float = 1e-5
) -> tuple[Array, dict[str, Array]]:
    """Normalise channels by the batch, or by running statistics; return the new ones too."""
    shape = (-1, 1, 1)
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    changed = {}
    if training:
        count = x.size // x.shape[1]
        unbiased = x.var((0, 2, 3)) * count / (count - 1)
        changed[f"{name}.running_mean"] = mean + momentum * (x.mean((0, 2, 3)) - mean)
        changed[f"{name}.running_var"] = variance + momentum * (unbiased - variance)
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    scale = state[f"{name}.weight"] / np.sqrt(variance + eps)
    return (x - mean.reshape(shape)) * scale.reshape(shape) + state[f"{name}.bias"].reshape(
        shape
    ), changed


def causal(length: int) -> Array:
    """Return the mask of the places that each position sees: itself and those before it."""
    return np.tril(np.ones((length, length), bool))


def positions(length: int) -> Array:
    """Return 0, 1, … length - 1."""
    return np.arange(length)


def scan(step: Callable[[Any, Any], Any], carried: Any, rows: Array) -> Any:
    """Feed the rows to `carried = step(carried, row)`; return the last."""
    for row in rows:
        carried = step(carried, row)
    return carried


def write(rows: Array, t: Array, value: Array) -> Array:
    """Return the array with row `t` of its axis before the last replaced."""
    made = rows.copy()
    made[..., t, :] = value
    return made
