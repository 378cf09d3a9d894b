"""User-defined steps of the tape: `autograd.Function`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

from talweg.base.dtypes import DType
from talweg.base.errors import GradientError, ShapeError
from talweg.base.shapes import Shape
from talweg.base.source import describe, here
from talweg.engine.modes import set_grad_enabled
from talweg.engine.record import assign
from talweg.engine.state import STATE
from talweg.engine.tape import FREED, CallStep, Edge
from talweg.engine.tensor import Storage, Tensor, attach, detached, edge_of, twin, wrap
from talweg.ir.build import Builder
from talweg.ir.node import Node


class FunctionCtx:
    """What `forward` leaves for `backward`.

    Attributes:
        needs_input_grad: for each argument of `apply`, whether its gradient is wanted.
    """

    needs_input_grad: tuple[bool, ...] = ()
    _types: Sequence[tuple[Shape, DType] | None] = ()

    def __init__(self) -> None:
        self._saved: tuple[Tensor | None, ...] = ()
        self._versions: tuple[tuple[Storage, int] | None, ...] = ()
        self._dirty: tuple[Tensor, ...] = ()
        self._fixed: tuple[Tensor, ...] = ()
        self._materialize = True
        self._freed = False

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `backward`, where `saved_tensors` returns them."""
        self._saved = tensors
        self._versions = tuple(
            None if t is None else (t._storage, t._storage.version) for t in tensors
        )

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors given to `save_for_backward`.

        Raises:
            GradientError: when they were freed, or changed in place since.
        """
        if self._freed:
            raise GradientError(FREED.format(name=type(self).__name__))
        for t, kept in zip(self._saved, self._versions, strict=True):
            if kept is not None and t is not None and kept[0].version != kept[1]:
                raise GradientError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: a saved Tensor of shape {t.shape} is at version "
                    f"{kept[0].version}; expected version {kept[1]} instead"
                )
        return self._saved

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Declare arguments that `forward` changed in place and returns."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Declare results without gradients."""
        self._fixed = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """With False, `backward` gets None instead of zeros for results nobody used."""
        self._materialize = value


class FunctionStep(CallStep):
    """The tape step of a user-defined Function; it is the `ctx` of its backward too."""

    __slots__ = ("ctx", "function", "results", "wanted")

    def __init__(
        self,
        edges: tuple[Edge, ...],
        function: type[Function],
        ctx: FunctionCtx,
        wanted: tuple[int, ...],
        results: tuple[Node, ...],
    ) -> None:
        super().__init__(edges, here(), len(results))
        self.function = function
        self.ctx = ctx
        self.wanted = wanted
        self.results = tuple(n.type for n in results)

    def apply(
        self, b: Builder, cotangents: list[Node | None], tape: dict[Node, Edge] | None
    ) -> Sequence[Node | None]:
        ctx = self.ctx
        if ctx._freed:
            raise GradientError(
                FREED.format(name=self.name()) + f"\n  recorded at {describe(self.source)}"
            )
        given: list[Tensor | None] = []
        cotangents = cotangents + [None] * (len(self.results) - len(cotangents))
        for ct, type in zip(cotangents, self.results, strict=True):
            if ct is None and ctx._materialize:
                ct = b.expand(b.scalar(0, type.dtype), type.shape)
            t = None if ct is None else wrap(ct)
            if t is not None and tape is not None and ct is not None:
                t._edge = tape.get(ct)
            given.append(t)
        out = self.function.backward(ctx, *given)
        listed = _listed(out)
        while len(listed) > ctx_length(ctx) and listed[-1] is None:
            listed.pop()
        if len(listed) != ctx_length(ctx):
            raise GradientError(
                f"{self.name()} returned {len(listed)} gradients, expected {ctx_length(ctx)}: one "
                f"per argument of forward\n  recorded at {describe(self.source)}"
            )
        nodes: list[Node | None] = []
        for position in self.wanted:
            t = listed[position]
            nodes.append(None if t is None else self._checked(t, position, tape))
        return nodes

    def _checked(self, t: Tensor, position: int, tape: dict[Node, Edge] | None) -> Node:
        wanted = self.ctx._types[position]
        assert wanted is not None, "wanted positions are those of Tensors"
        shape, dtype = wanted
        if t.shape != shape:
            raise ShapeError(
                f"Function {self.name()} returned an invalid gradient at index {position} - got "
                f"shape {t.shape} but expected {shape}\n  recorded at {describe(self.source)}"
            )
        node = t.node()
        if t.dtype is not dtype:
            node = STATE.builder.cast(node, dtype)
        if tape is not None:
            node = twin(node)
            tape[node] = edge_of(t)
        return node

    def release(self) -> None:
        self.ctx._freed = True
        self.ctx._saved = ()
        self.ctx._versions = ()

    @property
    def released(self) -> bool:
        return self.ctx._freed


def _listed(out: Any) -> list[Any]:
    return list(out) if isinstance(out, tuple | list) else [out]


def ctx_length(ctx: FunctionCtx) -> int:
    """Return the number of arguments that `forward` was applied to."""
    return len(ctx.needs_input_grad)


class Function:
    """Base of user-defined differentiable functions.

    Subclasses define static methods `forward(ctx, *args)` and `backward(ctx, *grad_outputs)`, which
    returns one gradient (or None) per argument of forward; they are called through `apply`. Where
    `setup_context(ctx, inputs, output)` is defined, forward takes no ctx.

    Example:
        >>> import talweg as tw
        >>> class Double(tw.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         return grad * 2
        >>> x = tw.ones(2, requires_grad=True)
        >>> Double.apply(x).sum().backward()
        >>> x.grad
        tensor([2., 2.])
    """

    _ctx_class: ClassVar[type[FunctionCtx]]
    _step_class: ClassVar[type[FunctionStep]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = f"{cls.__name__}Backward"
        cls._ctx_class = type(name, (FunctionCtx,), {})
        cls._step_class = type(name, (FunctionStep,), {"__slots__": ()})

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result; must be defined."""
        raise NotImplementedError("a Function needs a static forward")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the gradients of the arguments; must be defined to differentiate."""
        raise NotImplementedError("a Function needs a static backward to be differentiated")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what `backward` needs, when `forward` takes no ctx."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = type(self).__name__
        raise TypeError(f"a Function has no instances that compute: it is called by {name}.apply()")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` and record the step."""
        ctx = cls._ctx_class()
        tensors = [a for a in args if isinstance(a, Tensor)]
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        ctx._types = [(a.shape, a.dtype) if isinstance(a, Tensor) else None for a in args]
        tracked = STATE.grad and any(ctx.needs_input_grad)
        wanted = tuple(i for i, a in enumerate(args) if isinstance(a, Tensor))
        edges = tuple(edge_of(t) if tracked else None for t in tensors)
        with set_grad_enabled(False):
            if cls.setup_context is not Function.setup_context:
                out = cls.forward(*args)
                cls.setup_context(ctx, args, out)
            else:
                out = cls.forward(ctx, *args)
        results = out if isinstance(out, tuple) else (out,)
        made = tuple(cls._result(ctx, r, tensors) for r in results)
        if tracked:
            first = tensors[0].node()
            nodes = tuple(t.node() if isinstance(t, Tensor) else first for t in made)
            step = cls._step_class(edges, cls, ctx, wanted, nodes)
            for i, (r, t) in enumerate(zip(results, made, strict=True)):
                if not isinstance(t, Tensor) or not t.dtype.is_inexact:
                    continue
                if any(r is f for f in ctx._fixed):
                    continue
                if any(r is d for d in ctx._dirty):
                    changed = wrap(nodes[i])
                    attach(changed, step, i)
                    assign(t, changed, f"{cls.__name__}.apply")
                else:
                    attach(t, step, i)
        return made if isinstance(out, tuple) else made[0]

    @staticmethod
    def _result(ctx: FunctionCtx, r: Any, tensors: list[Tensor]) -> Any:
        if not isinstance(r, Tensor) or any(r is d for d in ctx._dirty):
            return r
        return detached(r) if any(r is t for t in tensors) or not r.is_leaf else r


class OnceDifferentiable(CallStep):
    """The tape step of a backward that cannot be differentiated again."""

    __slots__ = ()

    def __init__(self, edges: tuple[Edge, ...]) -> None:
        super().__init__(edges, None, 1)

    def apply(
        self, b: Builder, cotangents: list[Node | None], tape: dict[Node, Edge] | None
    ) -> Sequence[Node | None]:
        raise GradientError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


def once_differentiable(backward: Any) -> Any:
    """Decorate a `backward` whose result cannot be differentiated again: trying to is an error."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        with set_grad_enabled(False):
            out = backward(ctx, *grads)
        edges = tuple(edge_of(g) for g in grads if isinstance(g, Tensor))
        if not STATE.grad or not any(edges):
            return out
        step = OnceDifferentiable(edges)
        listed = [detached(t) if isinstance(t, Tensor) else t for t in _listed(out)]
        for t in listed:
            if isinstance(t, Tensor):
                attach(t, step, 0)
        return tuple(listed)

    return wrapper
