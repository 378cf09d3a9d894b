"""When pending values are computed: together, all that are alive, and their graphs let go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from sys import getrefcount
from typing import TYPE_CHECKING

from talweg.engine.evaluate import compute, compute_trace
from talweg.engine.state import CONFIG, PENDING_BYTES, STATE, Recording
from talweg.engine.tape import GradFn, end_of
from talweg.ir.node import Node, known_node
from talweg.ir.op import INPUT

if TYPE_CHECKING:
    from talweg.engine.tensor import Tensor


def note(t: Tensor, node: Node, renewed: bool = False) -> None:
    """List a Tensor whose value is a new Node as pending; run what waits when it is too much.

    Args:
        t: a new Tensor, which is listed once.
        node: its value.
        renewed: it is an old Tensor.
    """
    now = STATE.now
    if renewed:
        now.renewed[t] = None
    else:
        now.pending.append(t)
    now.nbytes += node.type.nbytes
    if len(now.trace.nodes) >= now.limit or now.nbytes >= PENDING_BYTES:
        overdue(now, node)


def overdue(now: Recording, node: Node) -> None:
    """Run what waits: so much waits, or every operation is to be run at once."""
    if CONFIG.sync:
        evaluate([node])
    else:
        flush()


def evaluate(nodes: Sequence[Node]) -> None:
    """Compute the Nodes whose value is not known yet, and with them all that is pending and alive.

    Raises:
        IndexOutOfRange and other run-time errors, with the line that recorded the Node.
    """
    wanted = [n for n in nodes if n.value is None]
    if wanted:
        observed("the value of a Tensor is needed while the function runs")
        flush(wanted)
        unknown = [n for n in wanted if n.value is None]
        if unknown:
            compute(unknown)  # raises what went wrong


def flush(wanted: Sequence[Node] = ()) -> None:
    """Evaluate every pending value that somebody holds and let go of the graphs behind them.

    Tensors hold values, and so does the tape, for gradients. Called when a value is looked at and
    at barriers: `optimizer.step()`, or when too many operations or bytes wait. Where a computation
    fails, its values stay pending and raise when they are read; the others are computed.

    Args:
        wanted: Nodes to compute in any case.
    """
    now = STATE.now
    if now.capture is not None:
        now.capture.waiting = True
        return
    if not (now.trace.nodes or now.pending or now.renewed or now.written or wanted):
        return
    alive = _alive(now)
    storages = [t._storage for t in alive]
    storages += [s for s in now.written if getrefcount(s) > _UNUSED + 1]
    now.written.clear()
    compute_trace(now.trace, wanted)
    for s in storages:
        if s.node.value is not None and s.node.op is not INPUT:
            s.node = known_node(s.node)
    _let_go({step for step, _ in (end_of(t._edge) for t in alive) if step is not None})


def observed(what: str) -> None:
    """Tell the capture that goes on, if any, that Python looks at data."""
    capture = STATE.now.capture
    if capture is not None:
        capture.observed(what)


def settle(tensors: Iterable[Tensor]) -> None:
    """Run what waits, and raise what the computation of some Tensors raises.

    While a function is captured, both come at its end.
    """
    flush()
    if STATE.now.capture is None:
        evaluate([t.node() for t in tensors])


def _alive(now: Recording) -> list[Tensor]:
    """Return the pending Tensors that somebody uses, and forget which were pending.

    Newer ones come first: when a dead one goes, the step of the tape goes that held older ones.
    """
    pending, now.pending = now.pending, []
    if now.renewed:
        pending[:] = dict.fromkeys((*pending, *now.renewed))
        now.renewed.clear()
    now.nbytes = 0
    now.limit = 0 if CONFIG.sync else CONFIG.pending
    alive: list[Tensor] = []
    while pending:
        t = pending.pop()
        if getrefcount(t) > _UNUSED:
            if t._view is not None:
                t._view.forget()
            alive.append(t)
    return alive


_UNUSED = 2  # references of an object in a local variable: that, and the argument of getrefcount


def _let_go(steps: set[GradFn]) -> None:
    """Free the steps whose gradients can no longer be taken: a pass has freed what is below.

    Between two passes every step is visited once, however often values are looked at.
    """
    passes = GradFn.passes
    seen = {step for step in steps if _uncertain(step, passes)}
    stack = list(seen)
    while stack:
        for edge in stack.pop().edges:
            step, _ = end_of(edge)
            if step is not None and step not in seen and _uncertain(step, passes):
                seen.add(step)
                stack.append(step)
    for step in sorted(seen, key=attrgetter("order")):
        ends = (end for end, _ in map(end_of, step.edges) if end is not None)
        if any(end.released for end in ends):
            step.let_go()
        else:
            step.whole = passes


def _uncertain(step: GradFn, passes: int) -> bool:
    return getattr(step, "whole", -1) != passes and not step.released
