"""The order of axes in memory beside PyTorch: strides of results and of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import torch

import talweg as tw

pytestmark = pytest.mark.peer

X = np.random.default_rng(0).normal(size=(2, 6, 8, 7)).astype(np.float32)
K = np.random.default_rng(1).normal(size=(4, 6, 3, 3)).astype(np.float32)
V = np.random.default_rng(2).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)


def last(T: Any, array: np.ndarray) -> Any:
    return T.from_numpy(array).to(memory_format=T.channels_last)


FUNCTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "convolution": lambda T, x, k: T.nn.functional.conv2d(x, k, padding=1),
    "row-major images": lambda T, x, k: T.nn.functional.conv2d(x.contiguous(), k),
    "row-major kernel": lambda T, x, k: T.nn.functional.conv2d(x, k.contiguous()),
    "max pooling": lambda T, x, k: T.nn.functional.max_pool2d(x, 2),
    "mean pooling": lambda T, x, k: T.nn.functional.avg_pool2d(x, 3, 1),
    "adaptive pooling": lambda T, x, k: T.nn.functional.adaptive_avg_pool2d(x, 2),
    "batch norm": lambda T, x, k: T.nn.functional.batch_norm(
        x, T.zeros(6), T.ones(6), training=True
    ),
    "relu": lambda T, x, k: T.relu(x),
    "gelu": lambda T, x, k: T.nn.functional.gelu(x),
    "sum": lambda T, x, k: x + x,
    "scaled": lambda T, x, k: 1 - x * 2,
    "both orders": lambda T, x, k: x + x.contiguous(),
    "both orders, rows first": lambda T, x, k: x.contiguous() + x,
    "of channels": lambda T, x, k: x * T.ones(6, 1, 1),
    "channels first": lambda T, x, k: T.ones(6, 1, 1) * x,
    "compared": lambda T, x, k: x > 0,
    "chosen": lambda T, x, k: T.where(x > 0, x, x * 2),
    "cast": lambda T, x, k: x.double(),
    "clone": lambda T, x, k: x.clone(),
    "clone in rows": lambda T, x, k: x.clone(memory_format=T.contiguous_format),
    "contiguous": lambda T, x, k: x.contiguous(),
    "zeros": lambda T, x, k: T.zeros_like(x),
    "zeros in rows": lambda T, x, k: T.zeros_like(x, memory_format=T.contiguous_format),
    "cat": lambda T, x, k: T.cat([x, x], 1),
    "pad": lambda T, x, k: T.nn.functional.pad(x, (1, 2, 0, 1)),
    "slice": lambda T, x, k: x[:, 1:4],
    "of a slice": lambda T, x, k: T.relu(x[:, 1:4]),
    "channel": lambda T, x, k: x[:, 1],
    "permuted": lambda T, x, k: x.permute(0, 2, 3, 1),
    "nearest": lambda T, x, k: T.nn.functional.interpolate(x, scale_factor=2),
    "linear": lambda T, x, k: T.nn.functional.interpolate(x, size=(5, 9), mode="bilinear"),
    "pixels": lambda T, x, k: T.nn.functional.pixel_shuffle(T.cat([x, x[:, :2]], 1), 2),
    "adaptive maximum": lambda T, x, k: T.nn.functional.adaptive_max_pool2d(x, 3),
    "reflected": lambda T, x, k: T.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"),
    "group norm": lambda T, x, k: T.nn.functional.group_norm(x, 2),
    "neighbours": lambda T, x, k: T.nn.functional.local_response_norm(x, 3),
    "flip": lambda T, x, k: x.flip(2),
    "roll": lambda T, x, k: T.roll(x, 1, 2),
    "flat": lambda T, x, k: x.flatten(1),
    "transposed convolution": lambda T, x, k: T.nn.functional.conv_transpose2d(
        x, k.transpose(0, 1), stride=2
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_strides_of_results(name: str) -> None:
    found, wanted = (FUNCTIONS[name](T, last(T, X), last(T, K)) for T in (tw, torch))
    assert found.stride() == wanted.stride()
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["convolution", "max pooling", "batch norm", "relu", "scaled"])
def test_strides_of_gradients(name: str) -> None:
    strides = []
    for T in (tw, torch):
        x, k = last(T, X).requires_grad_(), last(T, K).requires_grad_()
        FUNCTIONS[name](T, x, k).sum().backward()
        strides.append([t.grad.stride() for t in (x, k) if t.grad is not None])
    assert strides[0] == strides[1]


@pytest.mark.parametrize("shape", [(2, 6, 8, 7), (2, 1, 4, 4), (2, 3, 1, 1), (1, 3, 4, 4)])
def test_what_is_contiguous(shape: tuple[int, ...]) -> None:
    rows = []
    for T in (tw, torch):
        x = T.ones(shape)
        y = x.contiguous(memory_format=T.channels_last)
        rows.append(
            [y is x, *(t.is_contiguous(memory_format=f) for t in (x, y) for f in formats(T))]
        )
    assert rows[0] == rows[1]


def formats(T: Any) -> list[Any]:
    return [T.contiguous_format, T.channels_last]


def test_images_of_three_dimensions() -> None:
    found, wanted = (
        T.relu(T.from_numpy(V).to(memory_format=T.channels_last_3d)) for T in (tw, torch)
    )
    assert found.stride() == wanted.stride()


def test_modules() -> None:
    strides = []
    for T in (tw, torch):
        net = T.nn.Sequential(T.nn.Conv2d(6, 4, 3), T.nn.BatchNorm2d(4), T.nn.Conv2d(4, 4, 1))
        net = net.to(memory_format=T.channels_last)
        y = net(last(T, X))
        y.sum().backward()
        strides.append([y.stride(), *(p.grad.stride() for p in net.parameters() if p.ndim == 4)])
    assert strides[0][:2] == strides[1][:2]
