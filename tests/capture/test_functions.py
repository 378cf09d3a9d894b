"""Functions: replays return and leave behind what the functions do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from tests.capture.replaying import assert_same, data, replays

F = nn.functional


def views(x: tw.Tensor) -> Any:
    h = x * 2
    return h, h[1:], h.t(), x[0], x.detach()


def writes(x: tw.Tensor, y: tw.Tensor) -> Any:
    x[0] = y[1]
    x.mul_(2)
    y.t()[1:].add_(1)
    return x + y


def written_views(x: tw.Tensor) -> Any:
    part = x[1:]
    part += 1
    x.view(-1)[0] = 7
    return part


class Pair(NamedTuple):
    low: tw.Tensor
    high: tw.Tensor


def nested(x: tw.Tensor, *rest: Any, scale: float = 1.0, **more: Any) -> Any:
    low = x.min() * scale
    return {"pair": Pair(low, x.max()), "list": [x, None, 3, "text"], "more": (more, rest)}


FUNCTIONS: list[tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]]] = [
    (lambda x: x, lambda i: (data(2, 3, seed=i),)),
    (lambda x, y: (y, x), lambda i: (data(2, 3, seed=i), data(2, seed=i))),
    (lambda x: x.exp().sum(), lambda i: (data(2, 3, seed=i),)),
    (lambda x: (x > 0, x.argmax(), x.long()), lambda i: (data(2, 3, seed=i),)),
    (lambda x: None, lambda i: (data(2, seed=i),)),
    (lambda x: tw.arange(4) + tw.tensor([1, 2, 3, 4]), lambda i: (data(2, seed=i),)),
    (lambda x: tw.zeros(3), lambda i: (data(2, seed=i),)),
    (lambda x: x.to(tw.bfloat16) * 1.5, lambda i: (data(2, 3, seed=i),)),
    (lambda a: a[0] + a[1]["k"], lambda i: ([data(2, seed=i), {"k": data(2, seed=i + 1)}],)),
    (views, lambda i: (data(3, 4, seed=i),)),
    (lambda x: x.chunk(2), lambda i: (data(4, 2, seed=i),)),
    (lambda x: x + 1, lambda i: (data(6, 4, seed=i)[i % 3 : 3 + i % 3],)),
    (lambda x: x.sum(0), lambda i: (data(6, 4, seed=i).t(),)),
    (writes, lambda i: (data(3, 3, seed=i), data(3, 3, seed=i + 1))),
    (written_views, lambda i: (data(3, 3, seed=i),)),
    (written_views, lambda i: (data(6, 3, seed=i)[1:4],)),
    (nested, lambda i: (data(4, seed=i), data(2, seed=i))),
    (lambda x: x.sort(), lambda i: (data(5, seed=i),)),
]


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_functions(number: int) -> None:
    function, arguments = FUNCTIONS[number]
    compiled = tw.compile(function)
    for i in range(4):
        given, again = arguments(i), arguments(i)
        expected = function(*given)
        assert_same(compiled(*again), expected)
        assert_same(again, given)
    assert replays(compiled) == 3, compiled.explain()


def test_results_share_memory_as_they_do_without() -> None:
    compiled = tw.compile(views)
    for i in range(3):
        x = data(3, 4, seed=i)
        h, part, turned, first, whole = compiled(x)
        h += 1
        whole[0] = 5
        assert_same(part, h[1:])
        assert_same(turned, h.t())
        assert_same(first, x[0])
        assert (x[0] == 5).all()
    assert compiled(x)[4] is not x
    identity = tw.compile(lambda x: x)
    assert [identity(x) is x for _ in range(3)] == [True] * 3


def test_keywords_numbers_and_text_are_part_of_the_kind() -> None:
    @tw.compile
    def f(x: tw.Tensor, scale: float = 1.0, mode: str = "add", n: int = 2) -> tw.Tensor:
        return x[:n] + scale if mode == "add" else x[:n] * scale

    x = data(5)
    for scale in (1.0, 2.0, 3.0, 4.0, -0.0, 0.0):
        assert_same(f(x, scale), x[:2] + scale)
        assert_same(f(x, scale=scale), x[:2] + scale)
    assert_same(f(x, 2.0, "mul"), x[:2] * 2)
    assert_same(f(x, 2.0, mode="mul", n=3), x[:3] * 2)
    assert_same(f(x, 2.0, mode="mul", n=4), x[:4] * 2)
    assert_same(f(x, 2, mode="mul", n=4), x[:4] * 2)
    causes = [r.cause for r in f.reports]
    assert any("was 1.0, now it is 2.0" in c for c in causes)
    assert sum("argument[0][1] was" in c for c in causes) == 2, "then it is data"


def test_floats_among_the_arguments_become_data() -> None:
    f = tw.compile(lambda x, a: x * a + a**2, dynamic=True)
    x = data(3)
    for a in (0.5, 1.5, 2.5):
        assert_same(f(x, a), x * a + a**2)
    assert len(f.reports) == 1
    fixed = tw.compile(lambda x, a: x * a, dynamic=False)
    for a in (0.5, 1.5, 2.5):
        assert_same(fixed(x, a), x * a)
    assert len(fixed.reports) == 3


def test_each_value_of_a_number_that_decides_is_a_kind_of_its_own() -> None:
    @tw.compile
    def f(x: tw.Tensor, start: int) -> tw.Tensor:
        return x[start : start + 2] * 2

    x = data(40)
    for _ in range(3):
        for start in range(30):
            assert_same(f(x, start), x[start : start + 2] * 2)
    assert len(f.reports) <= 40
    assert replays(f) >= 50, f.explain()
    assert "argument[0][1], by which Python decides, was 1, now it is 2" in f.explain()


def test_other_shapes_and_dtypes_need_no_other_kernels() -> None:
    f = tw.compile(lambda x: (x * 2 + 1).tanh().sum(1))
    for n in (3, 5):
        f(data(n, 16))
    before = tw.counters()
    for n in (7, 9, 11, 6):
        x = data(n, 16, seed=n)
        assert_same(f(x), (x * 2 + 1).tanh().sum(1))
    assert tw.counters().compiled == before.compiled
    assert len(f.reports) == 6
    assert "argument[0][0] was float32[5,16], now it is float32[7,16]" in f.explain()


def test_arguments_that_share_memory() -> None:
    def f(x: tw.Tensor, y: tw.Tensor) -> tw.Tensor:
        x.add_(1)
        return x * y

    compiled = tw.compile(f)
    for i in range(6):
        x, again = data(3, seed=i), data(3, seed=i)
        if i % 3 == 2:
            assert_same(compiled(x, x), f(again, again))
        elif i % 3 == 1:
            assert_same(compiled(x, x[:]), f(again, again[:]))
        else:
            assert_same(compiled(x, data(3)), f(again, data(3)))
        assert_same(x, again)


def test_captured_tensors_are_read_anew() -> None:
    weight, table = data(3), {"bias": data(3, seed=1)}

    @tw.compile
    def f(x: tw.Tensor) -> tw.Tensor:
        return x * weight + table["bias"]

    x = data(3, seed=2)
    f(x)
    weight.add_(1)
    assert_same(f(x), x * weight + table["bias"])
    weight.data = data(3, seed=3)
    assert_same(f(x), x * weight + table["bias"])
    table["bias"] = data(3, seed=4)
    assert_same(f(x), x * weight + table["bias"])
    assert replays(f) == 2
    assert "table['bias'] was a Tensor of shape (3,)" in f.explain()


SCALE = 2.0


def test_python_values_that_it_read_are_compared() -> None:
    global SCALE
    offset, settings = 1.0, {"power": 2, "list": [1.0, 2.0]}

    class Options:
        factor = 3.0

        def __init__(self) -> None:
            self.shift = 0.5
            self.unused = 0

    options = Options()

    def f(x: tw.Tensor) -> Any:
        y = x * SCALE + offset + options.shift * options.factor
        return y ** settings["power"] + sum(settings["list"])

    compiled = tw.compile(f)
    x = data(3)
    causes = []

    def check() -> None:
        assert_same(compiled(x), f(x))
        causes.append(compiled.reports[-1].cause)

    check()
    SCALE = 5.0
    check()
    offset = 7.0
    check()
    settings["power"] = 3
    check()
    settings["list"].append(4.0)
    check()
    options.shift = 0.25
    check()
    Options.factor = 9.0
    check()
    count = len(compiled.reports)
    options.unused = 5
    check()
    assert len(compiled.reports) == count, compiled.explain()
    words = ("SCALE", "offset", "'power'", "'list'", "shift", "factor")
    assert all(w in c for w, c in zip(words, causes[1:], strict=False)), causes


def test_modes_are_part_of_the_kind() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    compiled = tw.compile(net)
    x = data(4, 3)
    assert compiled(x).requires_grad
    with tw.no_grad():
        assert not compiled(x).requires_grad
    compiled.eval()
    assert_same(compiled(x), net[0](x))
    assert not net.training
    assert_same(compiled(x), net[0](x))
    compiled.train()
    tw.manual_seed(5)
    first = compiled(x)
    tw.manual_seed(5)
    assert_same(first, net(x))
    assert "training was True, now it is False" in compiled.compiled.explain()


def test_random_numbers_go_on_where_they_would() -> None:
    own = tw.Generator().manual_seed(3)

    def f(x: tw.Tensor) -> Any:
        return x + tw.rand(3), tw.randn(2, generator=own), F.dropout(x, 0.5)

    compiled = tw.compile(f)
    x = tw.ones(3)
    tw.manual_seed(9)
    found = [compiled(x) for _ in range(4)], tw.get_rng_state().tolist()
    own.manual_seed(3)
    tw.manual_seed(9)
    assert_same(found, ([f(x) for _ in range(4)], tw.get_rng_state().tolist()))
    tw.manual_seed(-1)
    first = compiled(x)
    tw.manual_seed(-1)
    assert_same(first[0], f(x)[0])


def test_a_number_that_differs_is_an_index() -> None:
    @tw.compile
    def row(x: tw.Tensor, i: int) -> tw.Tensor:
        return x[i] * 2 + x.sum(i % 2)[0]

    x = tw.tensor(np.arange(16, dtype=np.float32).reshape(4, 4))
    for i in (0, 1, 2, 3, 1, -1, 2):
        expected = x.numpy()[i] * 2 + x.numpy().sum(i % 2)[0]
        np.testing.assert_allclose(row(x, i).numpy(), expected)


def test_nested_arguments_of_other_kinds_are_told_apart() -> None:
    @tw.compile
    def twice(given: dict[str, Any], by: int) -> tw.Tensor:
        return given["x"] * by if by > 1 else given["x"] + given["y"]

    for _ in range(3):
        for shape in ((2,), (3,)):
            for dtype in (np.float32, np.float64):
                for by in (1, 2, 2, 1):
                    x = np.arange(shape[0], dtype=dtype)
                    given = {"x": tw.tensor(x), "y": tw.tensor(x + 1)}
                    found = twice(given, by).numpy()
                    np.testing.assert_array_equal(found, x * 2 if by > 1 else x + x + 1)
                    assert found.dtype == dtype


def test_only_the_shape_of_an_argument_matters() -> None:
    @tw.compile
    def scaled(given: dict[str, Any]) -> tw.Tensor:
        return given["x"] * given["y"].shape[0]

    x = tw.ones(3)
    for size in (2, 2, 5, 5, 2, 2, 5):
        assert scaled({"x": x, "y": tw.ones(size)}).tolist() == [size] * 3


def test_nested_arguments_of_another_kind_are_not_replayed() -> None:
    def given(x: tw.Tensor, how: dict[str, Any], t: Any) -> Any:
        return x * 2 if t is None else (x + how["y"], {"t": "given"})

    compiled = tw.compile(given)
    x, y = data(2, 3), data(2, 3, seed=1)
    calls: list[tuple[Any, ...]] = [
        *((x, {"y": y}, t) for t in (3, 4, 5)),
        (x, {"y": y}, None),
        (x, {"y": 2.0}, 6),
        (x, {"y": y, "more": y}, 7),
        *((x, {"y": y}, t) for t in (8, 9)),
    ]
    for args in calls:
        assert_same(compiled(*args), given(*args))
    assert sum(r.replays for r in compiled.reports) >= 3
