"""Index arithmetic against brute force, and the forms that later stages rely on."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.base import dtypes as d
from talweg.loops.affine import affine, moves_with, simplify
from talweg.loops.interpret import interpret
from talweg.loops.nest import Buffer, LoopNest, Store
from talweg.loops.scalar import Argument, Index, Load, Scalar, call, constant, substitute
from talweg.loops.text import format_scalar

I, J, K = Index("i"), Index("j"), Index("k")  # noqa: E741
N, M = Argument("n", d.int64), Argument("m", d.int64)
RANGES: dict[str, Scalar] = {"i": N, "j": M, "k": constant(4, d.int64)}


def value(expression: Scalar, **names: int) -> int:
    """The value of an expression, by a nest that stores it."""
    arguments = tuple(Argument(name, d.int64) for name in names)
    stored = substitute(expression, {a.name: a for a in arguments})
    nest = LoopNest("f", arguments, (), (Buffer("out", d.int64, ()),), (Store("out", (), stored),))
    return int(interpret(nest, [], names)[0])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ((I * M + J) // M, "i"),
        ((I * M + J) % M, "j"),
        (((I * M + J) // 4) * 4 + (I * M + J) % 4, "i * m + j"),
        ((I * 4 + K) // 4, "i"),
        ((I * 8 + K * 2 + 1) % 8, "k * 2 + 1"),
        (I // 4 // 3, "i // 12"),
        (((I * N + J) * M + K) // M // N, None),
        (I - I * 2, "-i"),
        (N * 2 - N - N, "0"),
        (M * (N // M) + N % M - 5, "n - 5"),
        ((J * N + I) // N, "j"),
        ((I + 1) // N, "(i + 1) // n"),  # i + 1 may be n
        (call("minimum", I + 1 - 1, N), "minimum(i, n)"),
    ],
)
def test_known_forms(expression: Scalar, expected: str | None) -> None:
    text = format_scalar(simplify(expression, RANGES))
    if expected is not None:
        assert text == expected
    for n, m in itertools.product((1, 2, 5), (1, 3)):
        for i, j, k in itertools.product(range(n), range(m), range(4)):
            at = {"i": i, "j": j, "k": k, "n": n, "m": m}
            assert value(expression, **at) == value(simplify(expression, RANGES), **at)


def grown(inner: st.SearchStrategy[Scalar]) -> st.SearchStrategy[Scalar]:
    names = st.sampled_from(["add", "sub", "mul", "add", "mul", "maximum"])
    binary = st.builds(call, names, inner, inner)
    divisors = st.one_of(
        st.integers(1, 6).map(lambda v: constant(v, d.int64)), st.sampled_from([N, M])
    )
    divided = st.builds(call, st.sampled_from(["floordiv", "mod"]), inner, divisors)
    return st.one_of(binary, divided, st.builds(call, st.just("neg"), inner))


LEAVES = st.one_of(
    st.sampled_from([I, J, K, N, M]), st.integers(-5, 9).map(lambda v: constant(v, d.int64))
)


@settings(max_examples=200)
@given(st.recursive(LEAVES, grown, max_leaves=8))
def test_simplify_keeps_the_value_and_settles(expression: Scalar) -> None:
    simple = simplify(expression, RANGES)
    assert simplify(simple, RANGES) == simple
    for n, m in ((1, 1), (3, 2), (2, 5)):
        for i, j, k in itertools.product({0, n - 1}, {0, m - 1}, (0, 3)):
            at = {"i": i, "j": j, "k": k, "n": n, "m": m}
            assert value(expression, **at) == value(simple, **at)
    form = affine(expression, RANGES)
    if form is not None:
        at = {"n": 3, "m": 5}
        steps = {name: value(step, **at) for name, step in form.coefficients}
        for i, j, k in itertools.product((0, 2), (0, 4), (0, 3)):
            places = {"i": i, "j": j, "k": k}
            total = sum(steps[name] * places[name] for name in steps)
            assert total + value(form.offset, **at) == value(expression, **at, **places)


def test_affine_forms() -> None:
    form = affine((I * 2 + K * 3 - N) * M + 1)
    assert form is not None
    assert [(name, format_scalar(c)) for name, c in form.coefficients] == [
        ("i", "m * 2"),
        ("k", "m * 3"),
    ]
    assert format_scalar(form.offset) == "1 - m * n"
    assert form.coefficient("j") == constant(0, d.int64)
    for other in (I * J, I // 2, Load("x", (I,), d.int64), call("maximum", I, N)):
        assert affine(other) is None


def test_moves_with() -> None:
    load = Load("x", (J,), d.int64)
    assert all(moves_with(e, "i") for e in (I, I * 8 + K, N - I, (I * M + J) * N))
    assert not any(
        moves_with(e, "i") for e in (J, I * I, I // 2, I * J, I + load, I * N - I, I - I)
    )
