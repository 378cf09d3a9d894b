"""From a Graph to a Plan: every pass, in order, with its reason."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from talweg.ir.node import Graph
from talweg.ir.text import print_graph
from talweg.ir.verify import verify
from talweg.loops.text import format_nest
from talweg.passes.assemble import assemble
from talweg.passes.blocks import compute_in_blocks
from talweg.passes.cse import merge_equal
from talweg.passes.fuse import fuse
from talweg.passes.halves import leave_out_zeros
from talweg.passes.layout import choose_orders
from talweg.passes.lower import lower_group
from talweg.passes.plan import Plan, make_plan
from talweg.passes.recurrence import body_of
from talweg.passes.simplify import leave_out_unread, repeats, results_of, write_out_calls
from talweg.passes.strides import without_steps
from talweg.passes.sums import join_terms, sum_sources
from talweg.passes.verify import verify_plan

Dump: TypeAlias = Callable[[str, str], None]

GRAPH_PASSES: tuple[Callable[[Graph], Graph], ...] = (
    write_out_calls,  # a called graph is fused with what stands around the call
    merge_equal,  # what is written twice is computed once
    leave_out_unread,  # what steps keep for gradients is not stored where there are none
    sum_sources,  # zeros that pooling puts beside gradients are not added up
    join_terms,  # products that are added up are one: their sum stays in registers
    without_steps,  # products of whole rows where kernels meet every other pixel
    compute_in_blocks,  # scores of attention are made in blocks of rows and not stored
    leave_out_zeros,  # products of triangles, and those that a causal mask hides
)


def compile_graph(graph: Graph, checking: bool = False, dump: Dump | None = None) -> Plan:
    """Return the Plan that computes the outputs of a Graph from its inputs.

    Args:
        graph: without data but in its inputs.
        checking: verify the Graph after each pass, every loop nest and the Plan.
        dump: called with the name of every pass and the text of what it gave.
    """
    for run in GRAPH_PASSES:
        graph = run(graph)
        if checking:
            verify(graph)
        if dump is not None:
            dump(run.__name__, print_graph(graph))
    graph, orders = choose_orders(graph)  # images channels last: no reordering between convolutions
    results = results_of(graph)
    fusion = fuse(graph, orders)  # which Nodes one kernel computes: values stay in registers
    parts = assemble(graph, fusion, orders)  # what is joined lies side by side from the start
    kernels = [  # every group as one loop nest, made of the rules of its Ops
        lower_group(group, fusion, results, orders, checking)
        for group in fusion.groups
        if not parts.is_made(group)
    ]
    bodies = {  # what is repeated is planned once
        node: body_of(node, partial(compile_graph, checking=checking))
        for node in filter(repeats, graph.order)
    }
    if dump is not None:
        nests = [k.nest for k in kernels if bodies.keys().isdisjoint(k.group.members)]
        nests += [launch.nest for body in bodies.values() for launch in body.plan.launches]
        dump("lower", "\n".join(map(format_nest, nests)))
    plan = make_plan(  # memory shared by liveness
        graph, fusion, kernels, results, orders, parts, bodies
    )
    if checking:
        verify_plan(plan)
    return plan
