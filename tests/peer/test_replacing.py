"""Parts replaced, diagonals, complex pairs and scaled slices: values and gradients of PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.peer.peer import Case, Inputs, compare

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:index_reduce:UserWarning"),
]

D = Inputs(7)
X, Y = D.real(4, 5), D.real(4, 5)

CASES = [
    Case("slice", lambda T, x, y: T.slice_scatter(x, y[:, :2], 1, 1, 4, 2), (X, Y)),
    Case("slice negative", lambda T, x, y: x.slice_scatter(y[:2], 0, -2), (X, Y)),
    Case("select", lambda T, x, y: x.select_scatter(y[:, 0], 1, -1), (X, Y)),
    Case("diagonal", lambda T, x, y: x.diagonal_scatter(y[0, :4], 1), (X, Y)),
    Case("diagonal below", lambda T, x, y: x.diagonal_scatter(y[0, :2], -2), (X, Y)),
    Case("diagonal swapped", lambda T, x, y: x.diagonal_scatter(y[0, :3], 1, 1, 0), (X, Y)),
    Case("diagflat", lambda T, x, y: T.diagflat(x * y, 2), (X, Y)),
    Case("renorm", lambda T, x: T.renorm(x * 3, 2, 0, 1.5), (X,)),
    Case("renorm 1", lambda T, x: x.renorm(1, 1, 2.0), (X,)),
    Case("strided", lambda T, x: T.as_strided(x, (3, 2), (2, 5), 1), (X,)),
    Case("complex", lambda T, x: T.view_as_complex(x).abs(), (D.real(3, 4, 2),)),
    Case("pairs", lambda T, x, y: T.view_as_real(T.complex(x, y)), (X, Y)),
    Case("sum_to_size", lambda T, x: (x * x).sum_to_size(1, 5), (X,)),
    *(
        Case(
            f"index {how} {own}",
            lambda T, x, y, i, how=how, own=own: x.index_reduce(0, i, y, how, include_self=own),
            (X, Y, D.whole(4, high=3)),
            gradient=False,
        )
        for how in ("prod", "mean", "amax", "amin")
        for own in (True, False)
    ),
    Case("gcd", lambda T, x, y: (T.gcd(x, y), T.lcm(x, y)), (D.whole(9), D.whole(9)), False),
    Case("unravel", lambda T, x: T.unravel_index(x, (2, 3)), (D.whole(4, high=6),), False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values_and_gradients(case: Case) -> None:
    compare(case)


@pytest.mark.parametrize("wrap", [False, True])
def test_filled_diagonals(wrap: bool) -> None:
    def call(T: Any, x: Any) -> Any:
        return (x * 1).fill_diagonal_(2.0, wrap)

    compare(Case("tall", call, (D.real(7, 3),)))
    compare(Case("cube", call, (D.real(3, 3, 3),)))
