"""Products of narrow types: what they are summed in, and how narrow they are in memory."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.engine.evaluate import pending_graph
from talweg.nn import functional as F
from talweg.ops.contract import Conv
from talweg.passes.pipeline import compile_graph
from talweg.passes.plan import Launch
from talweg.schedule.contraction import recognise


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def launches(x: tw.Tensor) -> list[Launch]:
    return list(compile_graph(pending_graph([x.node()])).launches)


@pytest.mark.parametrize("turned", [False, True])
def test_int8_matrices_are_multiplied_to_int32_from_where_they_are(turned: bool) -> None:
    x, w = drawn(37, 300), drawn(300, 70, seed=1)
    factor = tw.tensor(w.T.copy()).to(tw.int32).T if turned else tw.tensor(w).to(tw.int32)
    y = tw.tensor(x).to(tw.int32) @ factor
    (launch,) = launches(y)
    assert [b.dtype for b in launch.nest.inputs] == [tw.int8, tw.int8]
    assert recognise(launch.nest) is not None
    got = y.numpy()
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, x.astype(np.int32) @ w.astype(np.int32))


@pytest.mark.parametrize("depth", [1, 2, 4095, 4096])
def test_the_largest_products_of_int8_are_exact(depth: int) -> None:
    x = tw.tensor(np.full((8, depth), -128, np.int8))
    got = (x.to(tw.int32) @ x.to(tw.int32).T).numpy()
    np.testing.assert_array_equal(got, np.full((8, 8), 128 * 128 * depth, np.int32))


@pytest.mark.parametrize("dtype", [tw.int8, tw.uint8, tw.int16])
def test_products_in_a_short_dtype_wrap(dtype: tw.DType) -> None:
    x = drawn(20, 133).astype(dtype.compute)
    got = (tw.tensor(x) @ tw.tensor(x.T.copy())).numpy()
    assert got.dtype == x.dtype
    want = (x.astype(np.int64) @ x.T.astype(np.int64)).astype(x.dtype)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "stride", "padding", "groups"),
    [
        ((2, 32, 9, 9), (16, 32, 3, 3), 1, 1, 1),
        ((2, 3, 12, 10), (16, 3, 5, 5), 2, 2, 1),
        ((1, 8, 9, 9), (8, 4, 3, 3), 1, 0, 2),
        ((2, 16, 8, 8), (32, 16, 1, 1), 1, 0, 1),
        ((1, 5, 7, 7), (7, 5, 3, 3), 1, 1, 1),
    ],
)
def test_int8_images_are_convolved_to_int32(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: int, padding: int, groups: int
) -> None:
    x, w = drawn(*x_shape), drawn(*w_shape, seed=1)
    given = tw.tensor(x).to(tw.int32), tw.tensor(w).to(tw.int32)
    got = F.conv2d(*given, stride=stride, padding=padding, groups=groups).numpy()
    how = (stride,) * 2, ((padding,) * 2,) * 2, (1, 1), groups
    want = Conv(*how).reference(x.astype(np.int64), w.astype(np.int64))
    np.testing.assert_array_equal(got, want.astype(np.int32))


def test_int8_images_are_stored_as_int8_only() -> None:
    x, w = tw.tensor(drawn(2, 32, 9, 9)), tw.tensor(drawn(64, 32, 3, 3))
    found = launches(F.conv2d(x.to(tw.int32), w.to(tw.int32), padding=1))
    (conv,) = (launch.nest for launch in found if recognise(launch.nest) is not None)
    assert [b.dtype for b in conv.inputs] == [tw.int8, tw.int8]


def test_what_a_cast_is_made_of_is_computed_once() -> None:
    x, w = tw.tensor(drawn(37, 300)), tw.tensor(drawn(300, 70))
    found = launches((x + 1).to(tw.int32) @ w.to(tw.int32))
    assert len(found) == 2
    stored = {b.dtype for launch in found[:-1] for b in launch.nest.outputs}
    assert stored == {tw.int8}


def test_bfloat16_accumulates_in_float32() -> None:
    ones = tw.ones(3, 4096).to(tw.bfloat16)
    assert (ones @ ones.T).to(tw.float32).tolist() == [[4096.0] * 3] * 3
    rng = np.random.default_rng(0)
    x, w = (tw.tensor(rng.uniform(0, 1, s).astype(np.float32)) for s in ((8, 4096), (4096, 40)))
    x, w = x.to(tw.bfloat16), w.to(tw.bfloat16)
    exact = x.to(tw.float64).numpy() @ w.to(tw.float64).numpy()
    got = (x @ w).to(tw.float64).numpy()
    np.testing.assert_allclose(got, exact, rtol=2.0**-8)
    wide = (x.to(tw.float32) @ w.to(tw.float32)).to(tw.float64).numpy()
    np.testing.assert_allclose(wide, exact, rtol=1e-5)
