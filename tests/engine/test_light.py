"""Kernels that take little of a Program's time are compiled with little effort: the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.engine import evaluate, kernels, stored
from talweg.loops.nest import LoopNest
from talweg.nn import functional as F
from talweg.schedule.contraction_tiles import Tiles
from talweg.schedule.loops import Loops

NESTS = [LoopNest(name, (), (), (), ()) for name in ("long", "short", "also", "third")]


def chosen(times: list[int], schedules: list[Loops | Tiles]) -> list[str]:
    keys = list(zip(NESTS, schedules, strict=False))
    names = [(n, 0) for n in range(len(keys))]
    found = kernels._light(names, dict(zip(names, keys, strict=True)), [(0, t) for t in times])
    assert all(key[1].light and not replaced.light for (_, replaced), key in found.items())
    return [nest.name for nest, _ in found]


def test_the_shortest_ones_up_to_a_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "SHARE", 0.1)
    loops: list[Loops | Tiles] = [Loops()] * 4
    whole = int(kernels.WHILE * kernels._MOVED) * 10
    assert chosen([whole, whole // 50, whole // 100, whole // 10], loops) == ["also", "short"]
    assert chosen([whole // 1000, 8, 8, 8], loops) == []  # it is over soon


def step() -> list[bytes]:
    """The bits of all gradients of a small network."""
    rng = np.random.default_rng(0)
    shapes = [(192, 4, 12, 12), (8, 4, 3, 3), (8,), (288, 24), (24, 10)]
    x, w, b, v, u = (tw.tensor(rng.standard_normal(s).astype("f4") / 4) for s in shapes)
    leaves = [t.requires_grad_() for t in (x, w, b, v, u)]
    hidden = F.max_pool2d(tw.relu(F.conv2d(x, w, b, padding=1)), 2).flatten(1)
    loss = F.cross_entropy(tw.tanh(hidden @ v) @ u, tw.tensor(rng.integers(0, 10, 192)))
    found = tw.autograd.grad(loss + hidden.softmax(1).var(), leaves)
    return [t.detach().numpy().tobytes() for t in (loss, *found)]


def test_the_bits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "find", lambda *_: None)
    monkeypatch.setattr(kernels, "WHILE", 0.0)
    seen: list[set[bool]] = []
    results = []
    for share in (1.1, 0.0):
        monkeypatch.setattr(kernels, "SHARE", share)
        made: set[bool] = set()
        compiled = kernels.compile_nests

        def spy(wanted, *rest, made=made, compiled=compiled):  # type: ignore[no-untyped-def]
            made |= {schedule.light for _, schedule in wanted}
            return compiled(wanted, *rest)

        evaluate.forget_programs()
        with monkeypatch.context() as context:
            context.setattr(kernels, "compile_nests", spy)
            results.append(step())
        seen.append(made)
    assert results[0] == results[1]
    assert seen == [{True}, {False}]
