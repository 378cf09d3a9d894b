"""The functions that pure programs are written with, in JAX.

Images have their channels last here, and kernels are (height, width, I, O): XLA's compiler for
CPUs would otherwise transpose them. `place` and `fetch` convert.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

Array = Any

exp = jnp.exp
tanh = jnp.tanh
where = jnp.where
concatenate = jnp.concatenate
relu = jax.nn.relu
sigmoid = jax.nn.sigmoid
silu = jax.nn.silu

IMAGE = (0, 2, 3, 1)
KERNEL = (2, 3, 1, 0)


def place(array: np.ndarray, kernel: bool = False) -> Array:
    """Return a NumPy array as one of JAX; one of rank 4 is an image or a kernel."""
    if array.ndim == 4:
        array = np.ascontiguousarray(array.transpose(KERNEL if kernel else IMAGE))
    return jnp.asarray(array)


def fetch(array: Array, kernel: bool = False) -> np.ndarray:
    """Return the values of an array in the order that `place` was given them."""
    values = np.asarray(array)
    return values.transpose(np.argsort(KERNEL if kernel else IMAGE)) if values.ndim == 4 else values


def gelu(x: Array) -> Array:
    """Return x Phi(x), Phi being the normal distribution function."""
    return jax.nn.gelu(x, approximate=False)


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return x weightᵀ + bias."""
    y = x @ weight.T
    return y if bias is None else y + bias


def softmax(x: Array) -> Array:
    """Return the softmax along the last axis."""
    return jax.nn.softmax(x, axis=-1)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
    """Normalise along the last axis."""
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + eps) * weight + bias


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the mean negative logarithm of the label's softmax; classes are last."""
    logits, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    chosen = jnp.take_along_axis(logits, labels[:, None], 1)[:, 0]
    return (jax.nn.logsumexp(logits, axis=-1) - chosen).mean()


def embedding(weight: Array, index: Array) -> Array:
    """Return the rows of a table."""
    return jnp.take(weight, index, axis=0)


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Array:
    """Correlate images with kernels."""
    y = lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return y if bias is None else y + bias


def max_pool2d(x: Array, size: int, stride: int, padding: int = 0) -> Array:
    """Return the maxima of windows."""
    borders = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, borders)


def image_mean(x: Array) -> Array:
    """Return the mean of each channel of each image."""
    return x.mean((1, 2))


def flatten(x: Array) -> Array:
    """Return images as rows, channels outermost."""
    return x.transpose(0, 3, 1, 2).reshape(len(x), -1)


def batch_norm(
    x: Array, name: str, state: Any, training: bool, momentum: float = 0.1, eps: float = 1e-5
) -> tuple[Array, dict[str, Array]]:
    """Normalise channels by the batch, or by running statistics; return the new ones too."""
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    changed = {}
    if training:
        count = x.size // x.shape[-1]
        of_batch, spread = x.mean((0, 1, 2)), x.var((0, 1, 2))
        unbiased = spread * count / (count - 1)
        changed[f"{name}.running_mean"] = mean + momentum * (of_batch - mean)
        changed[f"{name}.running_var"] = variance + momentum * (unbiased - variance)
        mean, variance = of_batch, spread
    scale = state[f"{name}.weight"] * lax.rsqrt(variance + eps)
    return (x - mean) * scale + state[f"{name}.bias"], changed


def causal(length: int) -> Array:
    """Return the mask of the places that each position sees: itself and those before it."""
    return jnp.tril(jnp.ones((length, length), bool))


def positions(length: int) -> Array:
    """Return 0, 1, … length - 1."""
    return jnp.arange(length)


def scan(step: Callable[[Any, Any], Any], carried: Any, rows: Array) -> Any:
    """Feed the rows to `carried = step(carried, row)`; return the last."""
    last, _ = lax.scan(lambda carried, row: (step(carried, row), None), carried, rows)
    return last


def write(rows: Array, t: Array, value: Array) -> Array:
    """Return the array with row `t` of its axis before the last replaced."""
    return lax.dynamic_update_index_in_dim(rows, value, t, rows.ndim - 2)
