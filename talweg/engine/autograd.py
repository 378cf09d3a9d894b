"""The backward pass: `backward`, `grad`, hooks on Tensors, `retain_grad`."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from heapq import heappop, heappush
from typing import Any

from talweg.autodiff.reverse import settled
from talweg.base.errors import GradientError, ShapeError
from talweg.base.source import describe, here
from talweg.engine.anomaly import refuse_nan
from talweg.engine.arranged import is_last, new
from talweg.engine.barrier import note
from talweg.engine.modes import set_grad_enabled
from talweg.engine.reach import Below, directly_below, leading_to, leaves_below, reachable
from talweg.engine.state import STATE
from talweg.engine.stretch import Stretch
from talweg.engine.tape import (
    Direct,
    Edge,
    GradFn,
    Hook,
    backward_class,
    end_of,
)
from talweg.engine.tensor import (
    AccumulateGrad,
    Tensor,
    Writes,
    edge_of,
    twin,
    wrap,
)
from talweg.engine.watch import WATCHERS
from talweg.ir.node import Node

Tensors = Tensor | Sequence[Tensor]
End = tuple[GradFn | None, int]


def backward(
    tensors: Tensors,
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add the gradients of `tensors` to `.grad` of the leaves they were computed from.

    Args:
        tensors: what to differentiate.
        grad_tensors: cotangents of their shapes; may be None for one-element tensors.
        retain_graph: keep what the forward pass saved, for another pass; default `create_graph`.
        create_graph: record this pass, so that the gradients can be differentiated.
        inputs: add only to these, leaves or not.

    Raises:
        GradientError: when nothing requires a gradient, when saved values were freed by an earlier
            pass or overwritten in place.
    """
    roots = _roots(_listed(tensors), grad_tensors)
    asked = None if inputs is None else _listed(inputs)
    wanted = None if asked is None else [_leaf_edge(t) for t in asked]
    step = Pass(create_graph, retain_graph)
    found = step.run(roots, wanted, accumulate=True)
    for t, node in zip(asked or (), found, strict=True):
        if node is not None and not t.is_leaf and not t.retains_grad:
            step.accumulate(t, node)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of `outputs` with respect to `inputs`, leaves or not.

    Args:
        outputs: what to differentiate.
        inputs: with respect to what.
        grad_outputs: cotangents of the outputs' shapes; may be None for one-element outputs.
        retain_graph: keep what the forward pass saved, for another pass; default `create_graph`.
        create_graph: record this pass, so that the results can be differentiated.
        only_inputs: accepted for old programs; `.grad` is never changed by this function.
        allow_unused: return None for inputs that do not take part, instead of raising.
        is_grads_batched: not supported; call `grad` once per cotangent.
        materialize_grads: return zeros instead of None.

    Example:
        >>> import talweg as tw
        >>> x = tw.tensor(3.0, requires_grad=True)
        >>> (g,) = tw.autograd.grad(x**3, x, create_graph=True)
        >>> tw.autograd.grad(g, x)
        (tensor(18.),)

    Raises:
        GradientError: as `backward` does, and for an unused input.
    """
    if is_grads_batched:
        raise GradientError("is_grads_batched is not supported; call grad once per cotangent")
    asked = _listed(inputs)
    roots = _roots(_listed(outputs), grad_outputs)
    step = Pass(create_graph, retain_graph)
    found = step.run(roots, [_leaf_edge(t) for t in asked], accumulate=False)
    out: list[Tensor | None] = []
    for t, node in zip(asked, found, strict=True):
        if node is not None:
            out.append(step.tensor(node, t))
        elif materialize_grads:
            b = STATE.builder
            out.append(wrap(b.expand(b.scalar(0, t.dtype), t.shape)))
        elif allow_unused:
            out.append(None)
        else:
            raise GradientError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set "
                f"allow_unused=True if this is the desired behavior (its shape is {t.shape})"
                f"\n  recorded at {describe(here())}"
            )
    return tuple(out)


def _listed(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _leaf_edge(t: Tensor) -> Edge:
    edge = edge_of(t)
    if edge is None:
        raise GradientError(
            f"One of the differentiated Tensors does not require grad (its shape is {t.shape})"
            f"\n  recorded at {describe(here())}"
        )
    return edge


def _roots(
    outputs: list[Tensor], cotangents: Tensor | Sequence[Tensor | None] | None
) -> list[tuple[Edge, Node, Edge]]:
    given: Sequence[Tensor | None]
    if cotangents is None:
        given = [None] * len(outputs)
    else:
        given = [cotangents] if isinstance(cotangents, Tensor) else list(cotangents)
    where = f"\n  recorded at {describe(here())}"
    if len(given) != len(outputs):
        raise GradientError(f"{len(outputs)} outputs but {len(given)} gradients{where}")
    roots: list[tuple[Edge, Node, Edge]] = []
    for i, (t, ct) in enumerate(zip(outputs, given, strict=True)):
        edge = edge_of(t)
        if edge is None:
            raise GradientError(
                f"element {i} of tensors does not require grad and does not have a grad_fn: it was "
                "computed under no_grad(), of Tensors none of which requires grad, or by what has "
                f"no gradient, as argmax{where}"
            )
        if ct is None:
            if t.node().type.size != 1:
                raise GradientError(
                    f"grad can be implicitly created only for scalar outputs, this one has shape "
                    f"{t.shape}; give backward() a gradient of that shape{where}"
                )
            b = STATE.builder
            roots.append((edge, b.expand(b.scalar(1, t.dtype), t.shape), None))
            continue
        if ct.shape != t.shape:
            raise ShapeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {ct.shape} and output[{i}] "
                f"has a shape of {t.shape}{where}"
            )
        node = twin(ct.node())
        if ct.dtype is not t.dtype:
            node = STATE.builder.cast(node, t.dtype)
        roots.append((edge, node, edge_of(ct)))
    return roots


def _goes_on(step: Direct) -> bool:
    """Whether more steps of one Op follow: for one or two it is quicker to make their Nodes."""
    below = step.left or step.right
    return isinstance(below, Direct) and isinstance(below.left or below.right, Direct)


class Pass:
    """One backward pass over the tape.

    Args:
        create_graph: record the pass itself.
        retain_graph: keep the saved values; None means as `create_graph`.
    """

    __slots__ = ("arrived", "builder", "leaves", "retain", "tape", "waiting")

    def __init__(self, create_graph: bool, retain_graph: bool | None) -> None:
        self.tape: dict[Node, Edge] | None = {} if create_graph else None
        kept = create_graph or STATE.now.repeated
        self.retain = kept if retain_graph is None else retain_graph
        self.builder = STATE.builder
        self.arrived: dict[Edge, Node] = {}  # cotangents that no step has taken yet
        self.waiting: list[tuple[int, GradFn]] | None = None
        self.leaves: list[AccumulateGrad] = []
        if not self.retain:
            GradFn.passes += 1

    def run(
        self,
        roots: list[tuple[Edge, Node, Edge]],
        wanted: list[Edge] | None,
        accumulate: bool,
    ) -> list[Node | None]:
        """Walk the tape from the roots; return the cotangents that arrived at `wanted`."""
        b = self.builder
        source = b.source
        found: list[Node | None] = []
        try:
            with set_grad_enabled(self.tape is not None):
                if self.tape is not None:
                    self.tape.update((node, edge) for _, node, edge in roots if edge is not None)
                steps = [end_of(target)[0] for target, _, _ in roots]
                if not (AccumulateGrad.watching and any(x.hooked for x in leaves_below(steps))):
                    self.waiting = []
                for target, node, _ in roots:
                    self.add(target, node)
                if self.waiting is None:
                    found = self._walk_to(reachable(steps), wanted, accumulate)
                elif wanted is None:
                    self._walk(self.waiting)
                    for leaf in self.leaves:
                        self.accumulate_at(leaf, self.arrived.pop(leaf))
                else:
                    found = self._walk_for(self.waiting, steps, wanted, accumulate)
        finally:
            b.source = source
            if not self.retain:
                GradFn.passes += 1
        return found

    def add(self, edge: Edge, node: Node) -> None:
        """Add a cotangent to those that arrived at the end of an edge."""
        before = self.arrived.get(edge)
        if before is not None:
            self.arrived[edge] = self._sum(before, node)
            return
        self.arrived[edge] = node
        if self.waiting is not None:
            self._reach(edge)

    def _reach(self, edge: Edge) -> None:
        """Note that something arrived at the end of an edge."""
        step, _ = end_of(edge)
        if isinstance(step, AccumulateGrad):
            self.leaves.append(step)
        elif step is not None and self.waiting is not None:
            heappush(self.waiting, (-step.order, step))

    def _taken(self, step: GradFn) -> dict[int, Node]:
        """Return the cotangents that arrived at a step, by the number of its result."""
        arrived = self.arrived
        got: dict[int, Node] = {}
        if step in arrived:
            got[0] = arrived.pop(step)
        for i in range(1, step.width):
            if (step, i) in arrived:
                got[i] = arrived.pop((step, i))
        return got

    def _sum(self, before: Node, node: Node) -> Node:
        total = self.builder.add(before, node)
        if self.tape is not None:
            edges = (self.tape.get(before), self.tape.get(node))
            if any(edges):
                self.tape[total] = backward_class("add")(edges, (before, node), (total,))
        return total

    def _walk_for(
        self,
        waiting: list[tuple[int, GradFn]],
        roots: list[GradFn | None],
        wanted: list[Edge],
        accumulate: bool,
    ) -> list[Node | None]:
        """Walk where that leads to some results or leaves, and return what arrives there."""
        ends = list(map(end_of, wanted))
        leaves = {step for step, _ in ends if isinstance(step, AccumulateGrad)}
        below = directly_below(roots[0]) if len(roots) == 1 else None
        under = leaves_below(roots) if below is None else leaves.union(below.leaves)
        if len(leaves) == len(ends) and under <= leaves:
            found = self._walk(waiting, below=below)
        else:
            steps = reachable(roots)
            useful = leading_to(steps, {step for step, _ in ends if step is not None})
            found = self._walk(waiting, useful, {end for end in ends if end[0] in useful})
        for leaf in self.leaves:
            if (leaf, 0) in ends:
                node = found[leaf, 0] = self.arrived.pop(leaf)
                if accumulate:
                    self.accumulate_at(leaf, node)
        return [found.get(end) for end in ends]

    def _walk(
        self,
        waiting: list[tuple[int, GradFn]],
        useful: Container[GradFn] | None = None,
        targets: Collection[End] = (),
        below: Below | None = None,
    ) -> dict[End, Node]:
        """Take the cotangents down to the leaves: later steps first; what reaches leaves stays.

        Args:
            waiting: a heap of the steps at which something arrived, by negated time.
            useful: the steps to go through, and leaves; all without it.
            targets: steps and numbers of their results: what arrives there is returned.
            below: what lies below the only step that waits, if that is known.
        """
        arrived = self.arrived
        asked = {step for step, _ in targets if step is not None}
        found: dict[End, Node] = {}
        plain = self.tape is None and not STATE.anomaly
        stretch = self._stretch(waiting, useful, asked, below) if plain else None
        while waiting:
            step = heappop(waiting)[1]
            given = arrived.pop(step, None)
            if useful is not None and step not in useful:
                continue
            free = plain and step.watch is None and step not in asked
            if free and given is not None and isinstance(step, Direct):
                if stretch is not None and _goes_on(step):
                    if stretch.run(step, given):
                        continue
                elif self._one(step, given):
                    continue
            if free and given is not None and step.width == 1:
                self._apply(step, {0: given})
                continue
            if given is not None:
                arrived[step] = given
            taken = self._taken(step)
            if taken:
                found |= self._pass_through(step, taken, useful, targets)
        return found

    def _one(self, step: Direct, given: Node) -> bool:
        """Take a cotangent through a step of one Op, if nothing stands against it."""
        node, left, right, b = step.node, step.left, step.right, self.builder
        if node is None or left is right or step.order <= Writes.latest:
            return False
        b.code = step.code
        b.offset = step.offset
        found = node.op.vjp(b, node, given)
        for edge, x, ct in zip((left, right), node.inputs, found, strict=False):
            if edge is not None and ct is not None:
                self.add(edge, ct if ct.type is x.type else settled(b, node, x, ct))
        if not self.retain:
            step.node = step.first = step.second = step.result = None
        return True

    def _stretch(
        self,
        waiting: list[tuple[int, GradFn]],
        useful: Container[GradFn] | None,
        asked: Collection[GradFn],
        below: Below | None,
    ) -> Stretch | None:
        """Return what takes cotangents through steps of one Op; None where each Node is watched."""
        trace = self.builder.trace
        if trace is None or STATE.now.capture is not None or WATCHERS:
            return None
        on_the_way = (self.arrived, waiting, self.leaves)
        return Stretch(self.builder, trace, on_the_way, useful, asked, not self.retain, below)

    def _pass_through(
        self,
        step: GradFn,
        taken: dict[int, Node],
        useful: Container[GradFn] | None,
        targets: Collection[End],
    ) -> dict[End, Node]:
        """Take cotangents through any step; return those that are asked for."""
        self._run_hooks(step, taken)
        found: dict[End, Node] = {(step, i): ct for i, ct in taken.items() if (step, i) in targets}
        if useful is None or any(end_of(edge)[0] in useful for edge in step.edges):
            self._apply(step, taken)
        return found

    def _walk_to(
        self, steps: list[GradFn], wanted: list[Edge] | None, accumulate: bool
    ) -> list[Node | None]:
        """Take the cotangents to some results or leaves only, or to all, and return those."""
        ends = list(map(end_of, wanted or ()))
        useful = set(steps)
        if wanted is not None:
            useful = leading_to(steps, {step for step, _ in ends if step is not None})
        found: dict[End, Node] = {}
        targets = set(ends)
        for step in steps:
            got = self._taken(step)
            if not got or step not in useful:
                continue
            self._run_hooks(step, got)
            for index, node in got.items():
                if (step, index) in targets:
                    found[step, index] = node
            if isinstance(step, AccumulateGrad):
                if accumulate and (wanted is None or (step, 0) in targets):
                    self.accumulate_at(step, got[0])
            elif wanted is None or any(end_of(edge)[0] in useful for edge in step.edges):
                self._apply(step, got)
        return [found.get(end) for end in ends]

    def between(
        self, roots: Sequence[tuple[Edge, Node]], steps: Sequence[GradFn]
    ) -> dict[Edge, Node]:
        """Take cotangents through some steps, later ones first; return what arrives beyond."""
        with set_grad_enabled(self.tape is not None):
            for edge, node in roots:
                self.add(edge, node)
            for step in steps:
                got = self._taken(step)
                if got:
                    self._run_hooks(step, got)
                    self._apply(step, got)
        return self.arrived

    def _apply(self, step: GradFn, got: dict[int, Node]) -> None:
        """Run one step on the cotangents of its results, and send on those of its operands."""
        cotangents = [got.get(i) for i in range(step.width)]
        watch = step.watch
        if watch is not None:
            for pre in list(watch.before.values()):
                changed = pre(tuple(None if c is None else self.tensor(c) for c in cotangents))
                if changed is not None:
                    cotangents = [None if c is None else self._node(c) for c in changed]
        out = step.apply(self.builder, cotangents, self.tape)
        if STATE.anomaly:
            refuse_nan(step, out)
        if watch is not None:
            for hook in list(watch.outer.values()):
                changed = hook(
                    tuple(None if c is None else self.tensor(c) for c in out),
                    tuple(None if c is None else self.tensor(c) for c in cotangents),
                )
                if changed is not None:
                    out = [None if c is None else self._node(c) for c in changed]
        if not self.retain:
            step.release()
        for edge, ct in zip(step.edges, out, strict=True):
            if edge is not None and ct is not None:
                self.add(edge, ct)

    def _run_hooks(self, step: GradFn, got: dict[int, Node]) -> None:
        watch = step.watch
        if watch is None:
            return
        for index, listed in watch.hooks.items():
            if index not in got:
                continue
            for hook in list(listed.values()):
                changed = hook(self.tensor(got[index]))
                if changed is not None:
                    got[index] = self._replaced(hook, got[index], changed)
        for reference in watch.retained:
            t = reference()
            if t is not None:
                end, index = end_of(t._edge)
                if end is step and index in got:
                    self.accumulate(t, got[index])

    def _replaced(self, hook: Hook, before: Node, changed: Any) -> Node:
        if not isinstance(changed, Tensor) or changed.node().type is not before.type:
            got = changed.node().type if isinstance(changed, Tensor) else type(changed).__name__
            raise GradientError(
                f"hook {getattr(hook, '__name__', hook)!r} has changed the type of the gradient: "
                f"{got} instead of {before.type}"
            )
        return self._node(changed)

    def tensor(self, node: Node, like: Tensor | None = None) -> Tensor:
        """Return a cotangent as a Tensor, taped when the pass is recorded.

        Its channels stand last where those of `like` do.
        """
        t = wrap(node) if like is None or like._view is None else new(node, is_last(like))
        if self.tape is not None:
            t._edge = self.tape.get(node)
        return t

    def _node(self, t: Tensor) -> Node:
        node = t.node()
        if self.tape is not None:
            node = twin(node)
            self.tape[node] = edge_of(t)
        return node

    def accumulate_at(self, step: AccumulateGrad, node: Node) -> None:
        """Add a cotangent to `.grad` of a leaf, if anybody can still see it."""
        leaf = step.variable
        if leaf is not None:
            self.accumulate(leaf, node)
            for hook in list(step.after.values()) if step.after else ():
                hook(leaf)

    def accumulate(self, t: Tensor, node: Node) -> None:
        """Add a cotangent to `.grad`."""
        before = t._grad
        if before is None:
            t._grad = self.tensor(node, t)
        elif self.tape is None and not before.requires_grad:
            total = self.builder.add(before.node(), node)
            if before._chain:
                before.copy_(wrap(total))
            else:
                before._storage.replace(total)
                note(before, total, renewed=True)
        else:
            t._grad = self.tensor(self._sum(self._node(before), node), t)
