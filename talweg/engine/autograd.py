"""The backward pass: `backward`, `grad`, hooks on Tensors, `retain_grad`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from talweg.base.errors import GradientError, ShapeError
from talweg.base.source import describe, here
from talweg.engine.anomaly import refuse_nan
from talweg.engine.barrier import note
from talweg.engine.modes import set_grad_enabled
from talweg.engine.state import STATE
from talweg.engine.tape import Edge, GradFn, Hook, Removable, backward_class
from talweg.engine.tensor import (
    AccumulateGrad,
    Tensor,
    attach,
    detached,
    edge_of,
    owner,
    twin,
    wrap,
)
from talweg.ir.node import Node

Tensors = Tensor | Sequence[Tensor]


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
            out.append(step.tensor(node))
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


def _leaf_edge(t: Tensor) -> tuple[GradFn, int]:
    edge = edge_of(t)
    if edge is None:
        raise GradientError(
            f"One of the differentiated Tensors does not require grad (its shape is {t.shape})"
            f"\n  recorded at {describe(here())}"
        )
    return edge


def _roots(
    outputs: list[Tensor], cotangents: Tensor | Sequence[Tensor | None] | None
) -> list[tuple[tuple[GradFn, int], Node, Edge]]:
    given: Sequence[Tensor | None]
    if cotangents is None:
        given = [None] * len(outputs)
    else:
        given = [cotangents] if isinstance(cotangents, Tensor) else list(cotangents)
    where = f"\n  recorded at {describe(here())}"
    if len(given) != len(outputs):
        raise GradientError(f"{len(outputs)} outputs but {len(given)} gradients{where}")
    roots: list[tuple[tuple[GradFn, int], Node, Edge]] = []
    for i, (t, ct) in enumerate(zip(outputs, given, strict=True)):
        edge = edge_of(t)
        if edge is None:
            raise GradientError(
                f"element {i} of tensors does not require grad and does not have a grad_fn{where}"
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


class Pass:
    """One backward pass over the tape.

    Args:
        create_graph: record the pass itself.
        retain_graph: keep the saved values; None means as `create_graph`.
    """

    def __init__(self, create_graph: bool, retain_graph: bool | None) -> None:
        self.tape: dict[Node, Edge] | None = {} if create_graph else None
        self.retain = create_graph if retain_graph is None else retain_graph

    def run(
        self,
        roots: list[tuple[tuple[GradFn, int], Node, Edge]],
        wanted: list[tuple[GradFn, int]] | None,
        accumulate: bool,
    ) -> list[Node | None]:
        """Walk the tape from the roots; return the cotangents that arrived at `wanted`."""
        arrived: dict[GradFn, dict[int, Node]] = {}
        b = STATE.builder
        source, keep = b.source, b.keep
        b.keep = self.tape is not None
        try:
            with set_grad_enabled(self.tape is not None):
                for (step, index), node, edge in roots:
                    if self.tape is not None and edge is not None:
                        self.tape[node] = edge
                    self._add(arrived.setdefault(step, {}), index, node)
                steps = _reachable([step for (step, _), _, _ in roots])
                useful = None if wanted is None else _leading_to(steps, {s for s, _ in wanted})
                found = self._walk(steps, arrived, useful, wanted, accumulate)
        finally:
            b.source, b.keep = source, keep
        return found

    def _walk(
        self,
        steps: list[GradFn],
        arrived: dict[GradFn, dict[int, Node]],
        useful: set[GradFn] | None,
        wanted: list[tuple[GradFn, int]] | None,
        accumulate: bool,
    ) -> list[Node | None]:
        found: dict[tuple[GradFn, int], Node] = {}
        targets = set(wanted or ())
        for step in steps:
            got = arrived.pop(step, None)
            if got is None or (useful is not None and step not in useful):
                continue
            self._run_hooks(step, got)
            for index, node in got.items():
                if (step, index) in targets:
                    found[step, index] = node
            if isinstance(step, AccumulateGrad):
                if accumulate and (wanted is None or (step, 0) in targets):
                    self.accumulate(step.variable, got[0])
                continue
            if useful is not None and not any(e and e[0] in useful for e in step.edges):
                continue
            out = self._apply(step, got)
            if not self.retain:
                step.release()
            for edge, ct in zip(step.edges, out, strict=True):
                if edge is not None and ct is not None:
                    self._add(arrived.setdefault(edge[0], {}), edge[1], ct)
        return [found.get(w) for w in wanted or ()]

    def _apply(self, step: GradFn, got: dict[int, Node]) -> Sequence[Node | None]:
        count = len(step.outputs) if hasattr(step, "outputs") else 1 + max(got)
        cotangents = [got.get(i) for i in range(max(count, 1 + max(got)))]
        for pre in list(step.pre_hooks.values()):
            changed = pre(tuple(None if c is None else self.tensor(c) for c in cotangents))
            if changed is not None:
                cotangents = [None if c is None else self._node(c) for c in changed]
        out = step.apply(STATE.builder, cotangents, self.tape)
        if STATE.anomaly:
            refuse_nan(step, out)
        for hook in list(step.outer_hooks.values()):
            changed = hook(
                tuple(None if c is None else self.tensor(c) for c in out),
                tuple(None if c is None else self.tensor(c) for c in cotangents),
            )
            if changed is not None:
                out = [None if c is None else self._node(c) for c in changed]
        return out

    def _run_hooks(self, step: GradFn, got: dict[int, Node]) -> None:
        if isinstance(step, AccumulateGrad):
            hooks = {0: step.variable._hooks or {}}
        else:
            hooks = step.hooks
        for index, listed in hooks.items():
            if index not in got:
                continue
            for hook in list(listed.values()):
                changed = hook(self.tensor(got[index]))
                if changed is not None:
                    got[index] = self._replaced(hook, got[index], changed)
        for reference in step.retained:
            t = reference()
            if t is not None and t._grad_fn is step and t._index in got:
                self.accumulate(t, got[t._index])

    def _replaced(self, hook: Hook, before: Node, changed: Any) -> Node:
        if not isinstance(changed, Tensor) or changed.node().type is not before.type:
            got = changed.node().type if isinstance(changed, Tensor) else type(changed).__name__
            raise GradientError(
                f"hook {getattr(hook, '__name__', hook)!r} has changed the type of the gradient: "
                f"{got} instead of {before.type}"
            )
        return self._node(changed)

    def _add(self, sums: dict[int, Node], index: int, node: Node) -> None:
        before = sums.get(index)
        if before is None:
            sums[index] = node
            return
        total = sums[index] = STATE.builder.add(before, node)
        if self.tape is not None:
            edges = (self.tape.get(before), self.tape.get(node))
            if any(edges):
                step = backward_class("add")(edges, (before, node), (total,))
                self.tape[total] = (step, 0)

    def tensor(self, node: Node) -> Tensor:
        """Return a cotangent as a Tensor, taped when the pass is recorded."""
        t = wrap(node)
        edge = self.tape.get(node) if self.tape is not None else None
        if edge is not None:
            attach(t, *edge)
        return t

    def _node(self, t: Tensor) -> Node:
        node = t.node()
        if self.tape is not None:
            node = twin(node)
            self.tape[node] = edge_of(t)
        return node

    def accumulate(self, leaf: Tensor, node: Node) -> None:
        """Add a cotangent to `.grad`."""
        before = leaf._grad
        if before is None:
            leaf._grad = self.tensor(node)
        elif self.tape is None and not before.requires_grad:
            total = STATE.builder.add(before.node(), node)
            if before._chain:
                before.copy_(wrap(total))
            else:
                before._storage.replace(total)
                note(before)
        else:
            sums = {0: self._node(before)}
            self._add(sums, 0, node)
            leaf._grad = self.tensor(sums[0])
        for hook in list(leaf.__dict__.get("_post_accumulate", {}).values()):
            hook(leaf)


def _reachable(roots: list[GradFn]) -> list[GradFn]:
    seen = set(roots)
    stack = list(seen)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])
    return sorted(seen, key=_order, reverse=True)


def _order(step: GradFn) -> int:
    return step.order


def _leading_to(steps: list[GradFn], targets: set[GradFn]) -> set[GradFn]:
    useful = set(targets)
    for step in reversed(steps):
        if any(e is not None and e[0] in useful for e in step.edges):
            useful.add(step)
    return useful


def tensor_backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add the gradient of this Tensor to `.grad` of the leaves it was computed from.

    Args:
        gradient: the cotangent, of this Tensor's shape; may be None for one element.
        retain_graph: keep what the forward pass saved, for another pass; default `create_graph`.
        create_graph: record this pass, so that the gradients can be differentiated.
        inputs: add only to these, leaves or not.

    Raises:
        GradientError: as `tw.autograd.backward` does.
    """
    backward(self, gradient, retain_graph, create_graph, inputs)


def register_hook(self: Tensor, hook: Hook) -> Removable:
    """Call `hook(grad)` when this Tensor's gradient is computed; what it returns replaces it.

    Raises:
        GradientError: when the Tensor does not require a gradient.
    """
    if not self.requires_grad:
        raise GradientError("cannot register a hook on a tensor that doesn't require gradient")
    step = self.grad_fn
    if step is not None:
        return Removable(step.hooks_of(self._index), hook)
    if self._hooks is None:
        self._hooks = {}
    return Removable(self._hooks, hook)


def register_post_accumulate_grad_hook(self: Tensor, hook: Any) -> Removable:
    """Call `hook(tensor)` after a gradient was added to `.grad` of this leaf.

    Raises:
        GradientError: when the Tensor is not a leaf that requires gradients.
    """
    if not self.is_leaf or not self.requires_grad:
        raise GradientError("post accumulate grad hooks need a leaf that requires gradients")
    return Removable(self.__dict__.setdefault("_post_accumulate", {}), hook)


def retain_grad(self: Tensor) -> None:
    """Keep the gradient of this non-leaf Tensor in `.grad` when it is computed.

    Raises:
        GradientError: when the Tensor does not require a gradient.
    """
    if not self.requires_grad:
        raise GradientError("can't retain_grad on Tensor that has requires_grad=False")
    if self.is_leaf or self.retains_grad:
        return
    self.retains_grad = True
    attach(self, self.grad_fn, self._index)  # type: ignore[arg-type]


def requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Set `requires_grad` of a leaf and return the Tensor."""
    self.requires_grad = requires_grad
    return self


def detach(self: Tensor) -> Tensor:
    """Return a Tensor over the same storage that gradients do not see."""
    return detached(self)


def detach_(self: Tensor) -> Tensor:
    """Cut this Tensor off the tape: it becomes a leaf.

    Raises:
        GradientError: for a view, whose base would still be on the tape.
    """
    base = owner(self)
    if base is not None and base.requires_grad:
        raise GradientError("Can't detach views in-place. Use detach() instead")
    self._grad_fn = None
    self._requires = False
    return self


def get_data(self: Tensor) -> Tensor:
    """The value without gradients, over the same storage; writes to it are not seen by the tape."""
    return detached(self, counted=False)


def set_data(self: Tensor, value: Tensor) -> None:
    """Make this Tensor hold another value, of any shape and dtype; leaf and tape status stay."""
    self._storage = value._storage
    self._chain = value._chain
    self._base = None
    self._node = None
    self._seen = -1
    self._taped = value._storage.taped
    self._header = None
