"""What cannot be replayed is run, and it is said why."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import CaptureError
from tests.capture.replaying import assert_same, data, replays

LOG: list[Any] = []
HIDDEN: dict[int, tw.Tensor] = {}


class Hidden:
    """A Tensor behind a function that the capture does not follow."""

    __slots__ = ("_cell",)

    def __init__(self) -> None:
        self._cell = iter([data(3) for _ in range(99)])

    def __next__(self) -> tw.Tensor:
        return next(self._cell)


source = Hidden()
kept: Any = iter([])


def keeps(x: tw.Tensor) -> tw.Tensor:
    y = x * 2
    HIDDEN[len(HIDDEN)] = y
    return y + 1


def counts(x: tw.Tensor) -> tw.Tensor:
    LOG.append(1)
    return x + 1


def hooked(x: tw.Tensor) -> tw.Tensor:
    y = x * 2
    y.register_hook(lambda g: None)
    return y.sin()


REFUSED: list[tuple[Callable[..., Any], str]] = [
    (lambda x: x + 1 if x.sum() > 0 else x - 1, "a Tensor is"),
    (lambda x: x * x.max().item(), "value of a Tensor is looked at"),
    (lambda x: x + tw.tensor(np.ones(3, np.float32)), "NumPy array becomes a Tensor"),
    (lambda x: x[x > 0], "value of a Tensor is looked at"),
    (lambda x: x + next(source), "a state that cannot be looked at"),
    (keeps, "gained or lost"),
    (counts, "gained or lost"),
    (lambda x: object(), "an object of type object"),
    (lambda x: (tw.manual_seed(3), x + tw.rand(3))[1], "seed"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_cannot_be_replayed_runs_and_says_why(number: int) -> None:
    function, words = REFUSED[number]
    compiled = tw.compile(function)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(8):
            x = data(3, seed=i)
            found = compiled(x)
            if number not in (4, 7, 8):
                assert_same(found, function(data(3, seed=i)))
    assert len(caught) == 1
    assert words in str(caught[0].message)
    assert words in compiled.reason
    assert words in compiled.explain()
    assert replays(compiled) == 0
    strict = tw.compile(function, fullgraph=True)
    with pytest.raises(CaptureError, match="cannot be captured"):
        [strict(data(3)) for _ in range(8)]


def test_hooks_inside_are_not_captured() -> None:
    compiled = tw.compile(hooked)

    def check() -> None:
        x = data(3, grad=True)
        compiled(x).sum().backward()
        assert_same(x.grad, 2 * (2 * x.detach()).cos())

    with pytest.warns(UserWarning, match="hook"):
        check()
    check()


def test_a_backward_pass_into_the_graph_of_an_argument() -> None:
    compiled = tw.compile(lambda y: (y * y).sum().backward())

    def check() -> None:
        x = data(3, grad=True)
        compiled(x * 2)
        assert_same(x.grad, 8 * x.detach())

    with pytest.warns(UserWarning, match="recorded outside"):
        check()
    check()


def test_too_many_captures_of_one_kind() -> None:
    state = {"n": "0"}

    def f(x: tw.Tensor) -> tw.Tensor:
        return x + len(state["n"])

    compiled = tw.compile(f)

    def check(n: int) -> None:
        state["n"] = "0" * n
        assert compiled(tw.zeros(1)).item() == n

    for i in range(7):
        check(i)
    with pytest.warns(UserWarning, match="captured 8 times"):
        check(7)
    for i in range(8, 12):
        check(i)
    assert len([r for r in compiled.reports if r.reason is None]) == 8


def test_a_number_that_decides_between_two_ways() -> None:
    compiled = tw.compile(lambda x, n: x + n if n % 2 else x - n)
    for n in range(20):
        assert compiled(tw.zeros(1), n).item() == (n if n % 2 else -n)
    assert len(compiled.reports) == 3, compiled.explain()


def test_a_number_that_decides_and_never_comes_again() -> None:
    compiled = tw.compile(lambda x, n: x + len(range(n)))

    def check(n: int) -> None:
        assert compiled(tw.zeros(1), n).item() == n

    for n in range(250):
        check(n)
    with pytest.warns(UserWarning, match="256 times in a row"):
        [check(n) for n in range(250, 262)]
    count = len(compiled.reports)
    check(1000)
    assert len(compiled.reports) == count


def test_a_count_in_a_module_becomes_data() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: tw.Tensor) -> tw.Tensor:
            self.calls += 1
            return x * self.calls

    net = Counting()
    compiled = tw.compile(net)
    for i in range(6):
        assert compiled(tw.ones(1)).item() == i + 1
    assert net.calls == 6
    assert replays(compiled.compiled) >= 4, compiled.compiled.explain()


def test_a_tensor_kept_in_a_module_is_replaced_by_every_replay() -> None:
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.state = tw.zeros(2)

        def forward(self, x: tw.Tensor) -> tw.Tensor:
            self.state = (self.state + x).tanh()
            return self.state * 2

    one, two = Remembering(), Remembering()
    compiled = tw.compile(one)
    for i in range(5):
        x = data(2, seed=i)
        assert_same(compiled(x), two(x))
        assert_same(one.state, two.state)
    assert replays(compiled.compiled) == 4, compiled.compiled.explain()


def test_python_random_numbers_are_not_captured() -> None:
    compiled = tw.compile(lambda x: x * random.random())

    def check(seed: int) -> None:
        random.seed(seed)
        found = compiled(tw.ones(1)).item()
        random.seed(seed)
        assert found == pytest.approx(random.random())

    with pytest.warns(UserWarning, match="random"):
        check(0)
    check(1)
