"""The arena: values that live at once never overlap."""

from __future__ import annotations

import pytest

import talweg as tw
from talweg.passes.pipeline import compile_graph
from talweg.passes.places import ARENA
from talweg.passes.plan import Plan
from tests.fuzz.graphs import random_graph

from .programs import known, plan_of


def check(plan: Plan) -> None:
    """Between the kernel that writes a place and the last that reads it, nobody else writes it."""
    owner: dict[int, tuple[int, int]] = {}
    for number, launch in enumerate(plan.launches):
        nest = launch.nest
        buffers = (*nest.inputs, *nest.outputs)
        values = dict(zip((a.name for a in nest.arguments), launch.values, strict=True))
        for n, (buffer, place) in enumerate(zip(buffers, launch.places, strict=True)):
            if place.kind != ARENA:
                continue
            size = buffer.dtype.itemsize
            for extent in buffer.shape:
                size *= int(values.get(getattr(extent, "name", ""), getattr(extent, "text", 0)))
            assert place.at % 64 == 0
            assert place.at + size <= plan.arena
            if n < len(nest.inputs):
                for other, (end, _) in owner.items():
                    overlaps = other < place.at + size and place.at < end
                    assert not overlaps or other == place.at, "a value was written over"
                assert place.at in owner, "a value is read that nobody wrote"
            else:
                stale = [o for o, (e, _) in owner.items() if o < place.at + size and place.at < e]
                for other in stale:
                    del owner[other]
                owner[place.at] = place.at + size, number


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_random_graphs(start: int) -> None:
    for seed in range(start, start + 50):
        check(compile_graph(random_graph(seed, steps=25)))


def test_a_long_chain_of_products_needs_two_places() -> None:
    x = w = known(64, 64)
    for _ in range(10):
        x = x @ w
    plan = plan_of(x)
    assert plan.arena == 2 * 64 * 64 * 4


def test_elementwise_results_take_the_place_of_their_operands() -> None:
    x = known(64, 64)
    y = (x @ x).exp() @ x
    z = (y * x.sum(0)).reshape(16, 256)
    plan = plan_of((z @ known(256, 4)).sum())
    assert plan.arena <= 3 * 64 * 64 * 4


def test_inputs_and_outputs_are_not_in_the_arena() -> None:
    x = known(64, 64)
    assert plan_of(x.exp()).arena == 0


def test_empty_values_have_a_place() -> None:
    x = known(0, 4)
    plan = plan_of((x @ known(4, 3)).sum(0) @ known(3, 3))
    assert plan.arena >= 0
    assert (x @ known(4, 3)).sum(0).tolist() == [0.0, 0.0, 0.0]
    assert tw.counters().interpreted == 0
