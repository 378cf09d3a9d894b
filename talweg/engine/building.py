"""From Graphs to Programs: planned, and their kernels made."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from talweg.engine import stored
from talweg.engine.counters import count
from talweg.engine.kernels import kernels_of
from talweg.engine.program import Launched, Program
from talweg.engine.state import CONFIG
from talweg.engine.stored import without_values
from talweg.engine.watch import WATCHERS, now
from talweg.ir.node import Graph
from talweg.passes.apart import plan_graph
from talweg.passes.plan import Launch, Plan
from talweg.runtime.executor import Executor


def build(graph: Graph, scalars: Sequence[bool]) -> Program:
    """Return the Program of a Graph, and keep its outline for the next process.

    Args:
        graph: the Program keeps nothing of it that holds a value.
        scalars: for each input, whether it is given as a number.
    """
    start = now()
    bare = without_values(graph)
    with _uncollected():
        plan = plan_graph(bare, CONFIG.check)
        program = assemble(plan, scalars)
    count(plans=1)
    if program.whole:
        stored.keep(bare, plan, [p for p in program.parts if isinstance(p, Executor)])
    for watcher in tuple(WATCHERS):
        watcher.planned(graph, program, start, now() - start)
    return program


@contextmanager
def _uncollected() -> Iterator[None]:
    """Planning makes many objects and no cycles: the collector would look at them in vain."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def assemble(plan: Plan, scalars: Sequence[bool]) -> Program:
    """Return the Program of a Plan.

    Args:
        plan: what is run.
        scalars: for each input, whether it is given as a number.
    """
    launches = plan.launches
    made = zip(launches, kernels_of([(step.nest, step.values) for step in launches]), strict=True)
    kernels = {id(step): kernel for step, kernel in made}
    steps = [
        Launched(kernels[id(step)], step.places, step.values, step)
        if isinstance(step, Launch)
        else step
        for step in plan.steps
    ]
    return Program(plan, steps, scalars, lambda: plan)
