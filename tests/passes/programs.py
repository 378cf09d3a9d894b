"""What the compiler makes of eager programs, for the tests of passes."""

from __future__ import annotations

import talweg as tw
from talweg.engine.evaluate import pending_graph
from talweg.ir.node import Graph
from talweg.passes.pipeline import compile_graph
from talweg.passes.plan import Launch, Plan


def graph_of(*tensors: tw.Tensor) -> Graph:
    """The Graph from known values to Tensors that nobody has looked at."""
    return pending_graph([t.node() for t in tensors])


def plan_of(*tensors: tw.Tensor) -> Plan:
    """The Plan of that Graph, verified after every pass."""
    return compile_graph(graph_of(*tensors), checking=True)


def known(*shape: int) -> tw.Tensor:
    """A Tensor whose value is known."""
    return tw.tensor(tw.zeros(*shape).numpy())


def ops_of(launch: Launch) -> list[str]:
    """The names of the Ops that one kernel computes, views aside."""
    return [node.op.name() for node in launch.nodes]
