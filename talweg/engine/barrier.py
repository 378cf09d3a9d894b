"""When pending values are computed: at a barrier, all that are alive, and their graphs let go."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING
from weakref import ref

from talweg.engine.evaluate import evaluate
from talweg.engine.state import CONFIG, PENDING_BYTES, STATE
from talweg.engine.tape import GradFn
from talweg.ir.node import known_node

if TYPE_CHECKING:
    from talweg.engine.tensor import Storage, Tensor


def note(t: Tensor) -> None:
    """List a Tensor as pending, and run what waits when it is too much."""
    state = STATE
    state.pending.append(ref(t))
    b = state.builder
    if b.count >= CONFIG.pending or b.nbytes >= PENDING_BYTES or len(state.pending) >= 10_000:
        flush()
    elif CONFIG.sync:
        evaluate([t._storage.node])


def flush() -> None:
    """Evaluate every pending Tensor that is still alive and let go of the graphs behind them.

    Called at a barrier: `optimizer.step()`, or when too many operations or bytes wait. A Tensor
    whose computation fails keeps its graph and raises when it is read; the others are computed.
    """
    state = STATE
    state.builder.count = state.builder.nbytes = 0
    alive = [t for t in (r() for r in state.pending) if t is not None]
    state.pending = []
    storages = list({id(t._storage): t._storage for t in alive}.values())
    _evaluate_each(storages)
    for s in storages:
        if s.node.inputs and s.node.value is not None:
            s.node = known_node(s.node)
            s.generation += 1
    for t in alive:
        t._node = None
    _let_go({t._grad_fn for t in alive if t._grad_fn is not None})


def _evaluate_each(storages: Sequence[Storage]) -> None:
    """Evaluate together; where that fails, in halves, so that only those at fault stay behind."""
    try:
        evaluate([s.node for s in storages])
    except Exception:
        if len(storages) > 1:
            half = len(storages) // 2
            _evaluate_each(storages[:half])
            _evaluate_each(storages[half:])


def _let_go(steps: set[GradFn]) -> None:
    """Free the steps whose gradients can no longer be taken: a pass has freed what is below."""
    stack = [step for step in steps if not step.released]
    seen = set(stack)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and edge[0] not in seen and not edge[0].released:
                seen.add(edge[0])
                stack.append(edge[0])
    for step in sorted(seen, key=attrgetter("order")):
        if any(edge is not None and edge[0].released for edge in step.edges):
            step.release()
            if step.released:
                step.edges = ()
