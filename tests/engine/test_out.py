"""`out=`: results written into given Tensors."""

from __future__ import annotations

import pytest

import talweg as tw


def test_a_result_is_written_into_the_given_tensor() -> None:
    x, out = tw.tensor([1.0, 2.0]), tw.zeros(2)
    view = out[:1]
    assert tw.add(x, 1, out=out) is out
    assert out.tolist() == [2.0, 3.0]
    assert view.tolist() == [2.0]
    assert tw.mul(x, 2, out=None).tolist() == [2.0, 4.0]
    table = tw.zeros(2, 2, dtype=tw.float64)
    tw.mul(x, 10, out=table[1])
    assert table.tolist() == [[0.0, 0.0], [10.0, 20.0]]


def test_several_results() -> None:
    values, indices = tw.empty(0), tw.empty(0, dtype=tw.int64)
    found = tw.max(tw.tensor([[1.0, 5.0], [3.0, 2.0]]), 1, out=(values, indices))
    assert found.values is values
    assert values.tolist() == [5.0, 3.0]
    assert indices.tolist() == [1, 0]


def test_another_shape_is_taken_over_with_a_warning() -> None:
    out = tw.zeros(3)
    with pytest.warns(UserWarning, match="resized"):
        tw.cat([tw.ones(1), tw.zeros(1)], out=out)
    assert out.tolist() == [1.0, 0.0]


def test_creation_functions() -> None:
    out = tw.zeros(2, dtype=tw.float64)
    assert tw.rand(2, out=out) is out
    assert 0 < out.max().item() < 1
    assert tw.arange(2, out=out).tolist() == [0.0, 1.0]


def test_what_cannot_be_written() -> None:
    with pytest.raises(RuntimeError, match="requires grad"):
        tw.add(tw.ones(2, requires_grad=True), 1, out=tw.zeros(2))
    with pytest.raises(RuntimeError, match="requires grad"):
        tw.add(tw.ones(2), 1, out=tw.zeros(2, requires_grad=True))
    with pytest.raises(RuntimeError, match="can't be cast"):
        tw.add(tw.ones(2), 0.5, out=tw.zeros(2, dtype=tw.int64))
    with tw.no_grad():
        assert tw.add(tw.ones(2, requires_grad=True), 1, out=tw.zeros(2)).tolist() == [2.0, 2.0]
