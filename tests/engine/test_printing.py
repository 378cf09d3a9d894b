"""The printed form of Tensors, in PyTorch's format."""

from __future__ import annotations

from typing import Any

import pytest

import talweg as tw

INF, NAN = float("inf"), float("nan")


def grid(*shape: int) -> tw.Tensor:
    size = 1
    for n in shape:
        size *= n
    return tw.arange(size).reshape(shape)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([1, -2, 300], "tensor([  1,  -2, 300])"),
        ([[1, -2], [300, 4]], "tensor([[  1,  -2],\n        [300,   4]])"),
        ([1.5, 2.25, -3.125], "tensor([ 1.5000,  2.2500, -3.1250])"),
        ([1.0, 2.0, 30.0], "tensor([ 1.,  2., 30.])"),
        ([1.0, 20000.0, -3.0], "tensor([ 1.0000e+00,  2.0000e+04, -3.0000e+00])"),
        ([1e-5, 1.0], "tensor([1.0000e-05, 1.0000e+00])"),
        ([0.001, 1.5], "tensor([1.0000e-03, 1.5000e+00])"),
        ([0.1, 0.01, 0.0], "tensor([0.1000, 0.0100, 0.0000])"),
        ([1e9], "tensor([1.0000e+09])"),
        ([1.0, NAN, INF, -INF], "tensor([1., nan, inf, -inf])"),
        (
            [[NAN, 1.5], [200.25, INF]],
            "tensor([[     nan,   1.5000],\n        [200.2500,      inf]])",
        ),
        ([NAN, NAN], "tensor([nan, nan])"),
        ([-0.0, 1.0], "tensor([-0., 1.])"),
        ([True, False], "tensor([ True, False])"),
        ([], "tensor([])"),
        (3, "tensor(3)"),
        (3.0, "tensor(3.)"),
        (3.14159, "tensor(3.1416)"),
        (1e-9, "tensor(1.0000e-09)"),
        (INF, "tensor(inf)"),
        (True, "tensor(True)"),
        (1 + 2j, "tensor(1.+2.j)"),
        ([1 + 2j, -1.5 - 0.5j], "tensor([ 1.0000+2.0000j, -1.5000-0.5000j])"),
        ([1 + 2j, 1 + 10j, 100 - 3j], "tensor([  1.+2.j,   1.+10.j, 100.-3.j])"),
    ],
)
def test_values(data: Any, text: str) -> None:
    assert repr(tw.tensor(data)) == str(tw.tensor(data)) == text


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: tw.tensor([1.5], dtype=tw.float64), "tensor([1.5000], dtype=talweg.float64)"),
        (lambda: tw.tensor([1, 255], dtype=tw.uint8), "tensor([  1, 255], dtype=talweg.uint8)"),
        (
            lambda: tw.tensor([1.5, 1 / 3], dtype=tw.bfloat16),
            "tensor([1.5000, 0.3340], dtype=talweg.bfloat16)",
        ),
        (lambda: tw.zeros(2, 0), "tensor([], size=(2, 0))"),
        (lambda: tw.zeros(0, dtype=tw.int64), "tensor([], dtype=talweg.int64)"),
        (
            lambda: tw.zeros(0, 3, dtype=tw.float64),
            "tensor([], size=(0, 3), dtype=talweg.float64)",
        ),
        (lambda: tw.ones(1, 1, 1), "tensor([[[1.]]])"),
        (lambda: tw.ones(2, requires_grad=True), "tensor([1., 1.], requires_grad=True)"),
        (
            lambda: tw.ones(2, requires_grad=True) * 2,
            "tensor([2., 2.], grad_fn=<MulBackward0>)",
        ),
        (
            lambda: tw.exp(tw.ones(2, dtype=tw.float64, requires_grad=True) + 1),
            "tensor([7.3891, 7.3891], dtype=talweg.float64, grad_fn=<ExpBackward0>)",
        ),
        (
            lambda: grid(2, 2, 2),
            "tensor([[[0, 1],\n         [2, 3]],\n\n        [[4, 5],\n         [6, 7]]])",
        ),
        (
            lambda: tw.arange(30),
            "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n"
            "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])",
        ),
        (lambda: tw.arange(1001), "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
        (
            lambda: tw.cat([tw.zeros(1500), tw.tensor([1e-9])]),
            "tensor([0.0000e+00, 0.0000e+00, 0.0000e+00,  ..., 0.0000e+00, 0.0000e+00,\n"
            "        1.0000e-09])",
        ),
        (
            lambda: grid(7, 300),
            "tensor([[   0,    1,    2,  ...,  297,  298,  299],\n"
            "        [ 300,  301,  302,  ...,  597,  598,  599],\n"
            "        [ 600,  601,  602,  ...,  897,  898,  899],\n"
            "        ...,\n"
            "        [1200, 1201, 1202,  ..., 1497, 1498, 1499],\n"
            "        [1500, 1501, 1502,  ..., 1797, 1798, 1799],\n"
            "        [1800, 1801, 1802,  ..., 2097, 2098, 2099]])",
        ),
    ],
)
def test_shapes_dtypes_and_gradients(made: Any, text: str) -> None:
    assert repr(made()) == text


def test_summaries_keep_the_corners_of_every_dimension() -> None:
    text = repr(grid(20, 30, 40))
    assert text.count("\n\n") == 6
    assert text.count("\n        ...,\n") == 1
    assert text.count("\n         ...,\n") == 6
    assert "[22800, 22801, 22802,  ..., 22837, 22838, 22839]" in text
    assert text.endswith("23997, 23998, 23999]]])")


def test_a_thousand_elements_are_printed_in_full() -> None:
    assert "..." not in repr(tw.arange(1000))


def test_format_specifications() -> None:
    x = tw.tensor(1.23456)
    assert f"{x:.2f} {x}" == f"1.23 {x.item()}"
    assert f"{tw.tensor(7):03d}" == "007"
    assert f"{tw.tensor([1.5])}" == "tensor([1.5000])"
    text = "%d and %.1f"
    assert text % (tw.tensor(3), tw.tensor(3.25)) == "3 and 3.2"


def test_the_name_of_a_parameter() -> None:
    text = repr(tw.nn.Parameter(tw.ones(2)))
    assert text == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"


def test_options() -> None:
    x = tw.tensor([0.123456, 1000.0], requires_grad=True)
    try:
        tw.set_printoptions(precision=2, linewidth=30)
        assert repr(x) == "tensor([1.23e-01, 1.00e+03],\n       requires_grad=True)"
        tw.set_printoptions(sci_mode=False)
        assert repr(x).startswith("tensor([   0.12, 1000.00]")
        tw.set_printoptions(profile="short", threshold=3, edgeitems=1)
        assert repr(tw.arange(5.0) + 0.5) == "tensor([0.50,  ..., 4.50])"
        with pytest.raises(ValueError, match="'long' must be one of default, short, full"):
            tw.set_printoptions(profile="long")
    finally:
        tw.set_printoptions(profile="default")
    assert repr(x.detach()) == "tensor([1.2346e-01, 1.0000e+03])"


def test_formats_of_one_element_are_those_of_its_number() -> None:
    x, whole = tw.tensor(1.5), tw.tensor(3)
    assert f"{x} {whole} {tw.tensor(True)}" == "1.5 3 True"
    assert f"{x:.3f} {whole:>3}" == "1.500   3"
    assert f"{tw.tensor([1.5])}" == "tensor([1.5000])"
    parameter = tw.nn.Parameter(tw.tensor(2.0))
    assert (f"{parameter}", f"{parameter:.1f}") == (repr(parameter), "2.0")
