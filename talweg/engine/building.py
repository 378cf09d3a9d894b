"""From Graphs to Programs: planned, and their kernels made."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from talweg.base import dtypes
from talweg.codegen.cpu import host
from talweg.engine import stored
from talweg.engine.copies import Sharing, laid_out, name_of, sharing_schedules
from talweg.engine.counters import count
from talweg.engine.kernels import kernels_of
from talweg.engine.program import Copied, Launched, Program
from talweg.engine.schedules import schedule_of
from talweg.engine.state import CONFIG
from talweg.engine.stored import is_open, without_values
from talweg.engine.watch import WATCHERS, now
from talweg.ir.node import Graph
from talweg.ir.types import tensor_type
from talweg.passes.apart import plan_graph
from talweg.passes.places import INPUT, HostCall, Place
from talweg.passes.plan import Launch, Plan
from talweg.schedule.ready import Copy, made_before


def build(graph: Graph, scalars: Sequence[bool], fixed: frozenset[int] = frozenset()) -> Program:
    """Return the Program of a Graph, and keep its outline for the next process.

    Args:
        graph: the Program keeps nothing of it that holds a value.
        scalars: for each input, whether it is given as a number.
        fixed: inputs that stay what they are.
    """
    start = now()
    bare = without_values(graph)
    with _uncollected():
        plan = plan_graph(bare, CONFIG.check)
        program = assemble(plan, scalars, fixed, len(graph.numbers) if is_open(graph) else 0)
    count(plans=1)
    if program.whole:
        stored.keep(bare, plan, program, fixed)
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


def assemble(
    plan: Plan,
    scalars: Sequence[bool],
    fixed: frozenset[int] = frozenset(),
    numbers: int = 0,
) -> Program:
    """Return the Program of a Plan.

    Args:
        plan: what is run.
        scalars: for each input, whether it is given as a number.
        fixed: inputs that stay what they are. Copies that kernels make of these are more inputs of
            the Program, see `Program.copied`.
        numbers: how many numbers are open in the Plan.
    """
    launches = plan.launches
    shared = sharing_schedules(launches)
    copies = [_copy(*pair, fixed) for pair in zip(launches, shared, strict=True)]
    common = [None if copy else one and one.copy for one, copy in zip(shared, copies, strict=True)]
    given = [one or copy for one, copy in zip(common, copies, strict=True)]
    schedules = [None if copy is None else copy.tiles for copy in given]
    wanted = [(step.nest, step.values) for step in launches]
    kernels = kernels_of(wanted, schedules, [(s.operations, s.nbytes) for s in launches])
    names = [one and name_of(step, one) for step, one in zip(launches, common, strict=True)]
    sizes = [
        0 if name is None else kernel.sizes(step.values)[1]
        for step, kernel, name in zip(launches, kernels, names, strict=True)
    ]
    places, arena = laid_out(names, sizes, plan.arena)
    made = iter(zip(kernels, copies, places, strict=True))
    types = list(plan.inputs)
    inputs: dict[tuple[str, tuple[Place, ...]], int] = {}
    steps: list[Launched | HostCall] = []
    for step in plan.steps:
        if not isinstance(step, Launch):
            steps.append(step)
            continue
        kernel, copy, place = next(made)
        copied = None
        if copy is not None:
            name = copy.key, tuple(step.places[n] for n in copy.reads)
            if name not in inputs:
                inputs[name] = len(types)
                shared_bytes = kernel.sizes(step.values)[1]
                types.append(tensor_type(dtypes.uint8, (shared_bytes,)))
            copied = Copied(inputs[name], copy.reads, copy.key)
        steps.append(Launched(kernel, step.places, step.values, step, None, copied, place))
    if inputs:
        scalars = (*scalars, *[False] * len(inputs))
    if inputs or arena > plan.arena:
        plan = replace(plan, inputs=tuple(types), arena=arena)
    return Program(plan, steps, scalars, lambda: plan, numbers)


def _copy(step: Launch, shared: Sharing | None, inputs: Collection[int]) -> Copy | None:
    """The copy that a kernel makes of inputs that stay what they are, None if there is none."""
    fixed = {n for n, p in enumerate(step.places) if p.kind == INPUT and p.at in inputs}
    if not fixed:
        return None
    nest, values = step.nest, step.values
    schedule = shared.schedule if shared else schedule_of(nest, values)
    return made_before(nest, schedule, nest.named(values), fixed, host())
