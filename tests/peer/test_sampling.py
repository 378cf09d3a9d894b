"""Grids, distances and windows at drawn places, beside PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from peer import Case, Inputs, close, compare, parameters, torch

import talweg as tw

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:Default grid_sample and affine_grid:UserWarning"),
    pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid:UserWarning"),
]
D = Inputs(31)
IMAGE, CUBE = D.real(2, 3, 5, 7), D.real(1, 2, 4, 3, 5)
PLACES, DEPTHS = D.real(2, 4, 6, 2) * 0.9, D.real(1, 2, 4, 3, 3) * 0.9

GRIDS = [
    Case(
        f"{mode} {beyond} {align} {x.ndim}",
        lambda T, x, g, m=mode, p=beyond, a=align: T.nn.functional.grid_sample(x, g, m, p, a),
        (x, g),
        slack=30,
    )
    for mode, beyond, align, (x, g) in itertools.product(
        ("bilinear", "nearest", "bicubic"),
        ("zeros", "border", "reflection"),
        (False, True),
        ((IMAGE, PLACES), (CUBE, DEPTHS)),
    )
    if not (mode == "bicubic" and x.ndim == 5)
]
AFFINE = [
    Case(
        f"affine_grid {size} {align}",
        lambda T, t, s=size, a=align: T.nn.functional.affine_grid(t, s, align_corners=a),
        (D.real(2, len(size) - 2, len(size) - 1),),
        slack=4,
    )
    for size in ((2, 3, 4, 5), (2, 1, 1, 3), (2, 3, 2, 4, 5))
    for align in (False, True)
]
DISTANCES = [
    Case(f"pdist {p}", lambda T, x, p=p: T.nn.functional.pdist(x, p), (D.real(5, 4),), slack=8)
    for p in (0, 1, 1.5, 2, float("inf"))
] + [
    Case(
        "conv_tbc",
        lambda T, x, w, c: T.nn.functional.conv_tbc(x, w, c, 1),
        (D.real(6, 2, 3), D.real(3, 3, 4), D.real(4)),
        slack=8,
    ),
    *(
        Case(
            f"{name}_with_indices",
            lambda T, x, n=name: getattr(T.nn.functional, f"{n}_with_indices")(x, 2),
            (D.real(2, 3, *(6,) * int(name[-2])),),
        )
        for name in ("max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d")
    ),
]
FRACTIONAL = [
    Case(
        f"fractional {axes} {how}",
        lambda T, x, u, a=axes, h=how: getattr(T.nn.functional, f"fractional_max_pool{a}d")(
            x, 2, **h, return_indices=True, _random_samples=u.detach()
        ),
        (x, D.probability(*x.shape[:2], axes)),
    )
    for axes, x in ((2, IMAGE), (3, D.real(1, 2, 6, 5, 7)))
    for how in ({"output_size": 3}, {"output_ratio": (0.7, 0.6, 0.5)[:axes]}, {"output_size": 1})
]


@pytest.mark.parametrize("case", parameters([*GRIDS, *AFFINE, *DISTANCES, *FRACTIONAL]))
def test_sampling(case: Case) -> None:
    compare(case)


def test_places_far_away_and_undefined() -> None:
    places = np.array([np.nan, np.inf, -np.inf, 1e30, -1.0, 1.0, 3.0, -7.5], "float32")
    grid = np.stack(np.meshgrid(places, places[3:]), -1)[None]
    for beyond in ("zeros", "border"):
        found = [
            T.nn.functional.grid_sample(
                T.tensor(IMAGE[:1]), T.tensor(grid), "nearest", beyond, align_corners=False
            )
            for T in (tw, torch)
        ]
        close(found[0], found[1], 1, beyond)


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.nn.functional.grid_sample(T.ones(1, 1, 2, 2), T.ones(1, 2, 2, 3)),
        lambda T: T.nn.functional.grid_sample(T.ones(1, 1, 2), T.ones(1, 2, 2)),
        lambda T: T.nn.functional.grid_sample(T.ones(1, 1, 2, 2), T.ones(2, 2, 2, 2)),
        lambda T: T.nn.functional.grid_sample(T.ones(1, 1, 2, 2), T.ones(1, 2, 2, 2), "cubic"),
        lambda T: T.nn.functional.grid_sample(T.ones(1, 1, 2, 2), T.ones(1, 2, 2, 2).double()),
        lambda T: T.nn.functional.affine_grid(T.ones(1, 2, 3), (2, 1, 2, 2)),
        lambda T: T.nn.functional.affine_grid(T.ones(1, 2, 3), (1, 1, 2)),
        lambda T: T.nn.functional.affine_grid(T.ones(1, 2, 3).long(), (1, 1, 2, 2)),
        lambda T: T.nn.functional.pdist(T.ones(3)),
        lambda T: T.nn.functional.pdist(T.ones(3, 2), -1),
        lambda T: T.nn.functional.fractional_max_pool2d(T.ones(1, 1, 4, 4), 2),
        lambda T: T.nn.functional.fractional_max_pool2d(T.ones(1, 1, 4, 4), 2, output_size=4),
        lambda T: T.nn.FractionalMaxPool2d(2, output_ratio=1.5),
        lambda T: T.nn.FractionalMaxPool2d(2, output_size=2, output_ratio=0.5),
        lambda T: T.nn.AdaptiveLogSoftmaxWithLoss(4, 8, [4, 2]),
        lambda T: T.nn.AdaptiveLogSoftmaxWithLoss(4, 8, [4])(T.ones(2, 4), T.tensor([1, 8])),
    ],
)
def test_errors(call: Any) -> None:
    for library in (tw, torch):
        with pytest.raises((RuntimeError, ValueError, NotImplementedError, TypeError, IndexError)):
            call(library)
