"""Every method that writes into its Tensor writes what the function of its name returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
from tests.engine.in_place import CALLS

VIEWS = ("squeeze", "unsqueeze", "transpose", "swapaxes", "swapdims", "t")
COMPUTED = [n for n in CALLS if n not in (*VIEWS, "copy", "fill", "fill_diagonal", "zero")]


def prepared(name: str) -> tuple[tw.Tensor, list[Any]]:
    """Return a leaf and the arguments of a call."""
    array, arguments = CALLS[name]
    leaf = tw.tensor(array)
    leaf.requires_grad = leaf.is_floating_point()
    return leaf, [tw.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments]


@pytest.mark.parametrize("name", COMPUTED)
def test_writes_what_the_function_returns(name: str) -> None:
    leaf, given = prepared(name)
    wanted = getattr(leaf, name)(*given).to(leaf.dtype)
    y = leaf * 1
    beside, version = y.detach(), y._version
    assert getattr(y, f"{name}_")(*given) is y
    assert y._version == version + 1
    np.testing.assert_array_equal(y.detach().numpy(), wanted.detach().numpy())
    np.testing.assert_array_equal(beside.numpy(), wanted.detach().numpy())
    if wanted.requires_grad:
        slopes = [tw.autograd.grad(t.sum(), leaf, allow_unused=True)[0] for t in (y, wanted)]
        ours, theirs = (tw.zeros_like(leaf) if s is None else s for s in slopes)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("name", COMPUTED)
def test_a_leaf_that_requires_a_gradient_is_not_written_to(name: str) -> None:
    leaf, given = prepared(name)
    if leaf.requires_grad:
        method = getattr(leaf, f"{name}_")
        own_name = method.__name__  # of an alias, that of the method it stands for
        with pytest.raises(RuntimeError, match=rf"leaf Variable .*operation \({own_name}\)"):
            method(*given)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_takes_the_place_of_its_tensor(name: str) -> None:
    leaf, given = prepared(name)
    wanted = getattr(leaf, name)(*given)
    y = leaf * 1
    beside = y.detach()
    assert getattr(y, f"{name}_")(*given) is y
    assert (y.shape, y.stride()) == (wanted.shape, wanted.stride())
    np.testing.assert_array_equal(y.detach().numpy(), wanted.detach().numpy())
    y.mul_(2)
    np.testing.assert_array_equal(beside.numpy(), 2 * leaf.detach().numpy())


def test_copy_fill_and_zero() -> None:
    x = tw.arange(6.0).reshape(2, 3)
    column = x[:, 1]
    assert column.copy_(tw.tensor(7)) is column
    assert x.tolist() == [[0, 7, 2], [3, 7, 5]]
    assert column.fill_(tw.tensor(1.5)) is column
    assert x[0].zero_().tolist() == [0, 0, 0]
    assert x.tolist() == [[0, 0, 0], [3, 1.5, 5]]
    assert x.fill_diagonal_(-1).tolist() == [[-1, 0, 0], [3, -1, 5]]
    assert x.copy_(tw.tensor([[0, 0, 0], [3, 1.5, 5]])) is x
    assert x.apply_(lambda v: v + 1) is x
    assert x.tolist() == [[1, 1, 1], [4, 2.5, 6]]
