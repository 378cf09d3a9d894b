"""Parts of a program whose intermediate values are not kept for gradients, but computed again.

Chen et al., "Training deep nets with sublinear memory cost" (2016). Such a part is one step of the
tape: it holds the function and its arguments. The backward pass runs the function again, and goes
through what that recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, final

from talweg.base.errors import GradientError, InvalidValue
from talweg.base.source import describe, here, warn
from talweg.engine.arranged import is_last, new
from talweg.engine.autograd import Pass
from talweg.engine.modes import set_grad_enabled
from talweg.engine.random import DEFAULT
from talweg.engine.state import STATE
from talweg.engine.tape import FREED, CallStep, Edge, GradFn, clock, end_of
from talweg.engine.tensor import AccumulateGrad, Tensor, attach, detached, edge_of
from talweg.fn.order import after
from talweg.ir.build import Builder
from talweg.ir.node import Node

Contexts = tuple[AbstractContextManager[Any], AbstractContextManager[Any]]


def noop_context_fn() -> Contexts:
    """Return two contexts that do nothing, for the forward pass and for computing again."""
    return nullcontext(), nullcontext()


class _Operand(NamedTuple):
    """A Tensor among the arguments as it was: its value, where its cotangent goes, its order."""

    node: Node
    edge: Edge
    last: bool


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], Contexts] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """Return what the function returns, without keeping its intermediate values for gradients.

    The backward pass runs it again, with the arguments, the random numbers and the region of
    autocast that it had, and keeps what that computes until it has gone through. What must not
    come twice, such as an update of running statistics, does come twice.

    Args:
        function: of Tensors, and of anything else. Results may be nested in tuples, lists and
            dicts.
        args, kwargs: its arguments; `preserve_rng_state=False` among the latter lets random
            numbers be others.
        use_reentrant: with True there are no gradients unless one of `args` requires them, and
            `kwargs` are refused. None means True, with a warning.
        context_fn: returns a context for the forward pass and one for computing again.
        determinism_check: "default" compares shapes and dtypes of results, "none" does not.
        debug, early_stop: accepted; without effect.

    Example:
        >>> import talweg as tw
        >>> layer, x = tw.nn.Linear(4, 4), tw.ones(2, 4, requires_grad=True)
        >>> y = tw.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
        >>> y.sum().backward()
        >>> x.grad.shape
        (2, 4)

    Raises:
        InvalidValue: for options that do not go together.
        GradientError: in the backward pass, when the function returns other shapes or dtypes
            than before, or reads other Tensors.
    """
    if use_reentrant is None:
        warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly; "
            "use_reentrant=False is recommended"
        )
        use_reentrant = True
    if determinism_check not in ("default", "none"):
        raise InvalidValue(
            "determinism_check should be one of ['default', 'none'] but got " + determinism_check
        )
    preserve = bool(kwargs.pop("preserve_rng_state", True))
    if use_reentrant:
        if kwargs:
            raise InvalidValue("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise InvalidValue(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        if STATE.grad and not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            warn("None of the inputs have requires_grad=True. Gradients will be None")
            with set_grad_enabled(False):
                return function(*args)
    first, second = context_fn()
    if not STATE.grad:
        with first:
            return function(*args, **kwargs)
    region = _Region(function, args, kwargs, second, preserve, determinism_check == "default")
    start = next(clock)
    with first:
        out = function(*args, **kwargs)
    return region.settled(out, start)


@final
class _Region:
    """A call that can be made again as it was made.

    Args:
        function, args, kwargs: what is called.
        context: around the second call.
        preserve: draw the same random numbers.
        compare: results must have the types they had.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: AbstractContextManager[Any],
        preserve: bool,
        compare: bool,
    ) -> None:
        now = STATE.now
        self.function, self.context, self.compare = function, context, compare
        self.given = _mapped((args, kwargs), _operand)
        self.position = DEFAULT.position if preserve else None
        self.cast, self.keeps_casts = now.cast, now.casts is not None

    def settled(self, out: Any, start: int) -> Any:
        """Return the results of the first call as results of one step of the tape.

        Args:
            out: what the function returned.
            start: when it was called.
        """
        inner = [t for t in _tensors(out) if _is_inside(edge_of(t), start)]
        if not inner:
            return out
        edges = _ends([edge_of(t) for t in inner], start)[1]
        step = CheckpointStep(self, tuple(edges), [t.node().type for t in inner])
        made: dict[int, Tensor] = {}
        for t in inner:
            if id(t) not in made:
                made[id(t)] = detached(t)
                attach(made[id(t)], step, len(made) - 1)
        return _mapped(out, lambda t: made.get(id(t), t))

    def again(self, before: Sequence[Node]) -> tuple[Any, int]:
        """Return what the function returns now, and when it was called.

        Args:
            before: what must be known before.
        """
        now = STATE.now
        here_now = DEFAULT.position, now.cast, now.casts, now.later
        args, kwargs = _mapped(self.given, lambda held: _later(now.builder, held, before[0]))
        try:
            if self.position is not None:
                DEFAULT.seek(*self.position)
            now.cast, now.casts = self.cast, {} if self.keeps_casts else None
            now.later = before[0]
            with self.context, set_grad_enabled(True):
                start = next(clock)
                return self.function(*args, **kwargs), start
        finally:
            position, now.cast, now.casts, now.later = here_now
            if self.position is not None:
                DEFAULT.seek(*position)


@final
class CheckpointStep(CallStep):
    """The step of a call that is made again when its gradient is taken.

    Args:
        region: the call.
        edges: where what it recorded ends.
        results: types of its results on the tape, each once.
    """

    __slots__ = ("region", "results")

    def __init__(self, region: _Region, edges: tuple[Edge, ...], results: Sequence[Any]) -> None:
        super().__init__(edges, here(), len(results))
        self.region: _Region | None = region
        self.results = list(results)

    def name(self) -> str:
        return "CheckpointFunctionBackward"

    def apply(
        self, b: Builder, cotangents: list[Node | None], tape: dict[Node, Edge] | None
    ) -> Sequence[Node | None]:
        where = f"\n  recorded at {describe(self.source)}"
        if self.region is None:
            raise GradientError(FREED.format(name=self.name()) + where)
        given = [ct for ct in cotangents if ct is not None]
        out, start = self.region.again(given)
        listed = [t for t in _tensors(out) if _is_inside(edge_of(t), start)]
        found = list({id(t): t for t in listed}.values())
        types = [t.node().type for t in found]
        if len(types) != len(self.results) or (self.region.compare and types != self.results):
            raise GradientError(
                "checkpoint: the function returned other results when it was run again: "
                f"{types} instead of {self.results}" + where
            )
        steps, ends = _ends([edge_of(t) for t in found], start)
        if not set(ends) <= set(self._edges):
            raise GradientError(
                "checkpoint: the function read other Tensors that require gradients when it was "
                "run again; give them as arguments" + where
            )
        inner = Pass(tape is not None, retain_graph=tape is not None)
        inner.tape = tape
        roots = [(edge_of(t), ct) for t, ct in zip(found, cotangents, strict=True)]
        arrived = inner.between([(edge, ct) for edge, ct in roots if ct is not None], steps)
        return [arrived.get(edge) for edge in self._edges]

    def release(self) -> None:
        self.region = None

    @property
    def released(self) -> bool:
        return self.region is None


def _is_inside(edge: Edge, start: int) -> bool:
    """Whether an edge leads to what was recorded since a time."""
    step, _ = end_of(edge)
    return step is not None and not isinstance(step, AccumulateGrad) and step.order > start


def _ends(roots: Sequence[Edge], start: int) -> tuple[list[GradFn], list[Edge]]:
    """Return the steps recorded since a time, later ones first, and the edges that leave them."""
    ends: dict[Edge, None] = {}
    steps: dict[GradFn, None] = {}
    stack = list(roots)[::-1]
    while stack:
        edge = stack.pop()
        step, _ = end_of(edge)
        if step is None:
            continue
        if not _is_inside(edge, start):
            ends[edge] = None
        elif step not in steps:
            steps[step] = None
            stack += step.edges[::-1]
    return sorted(steps, key=_order, reverse=True), list(ends)


def _order(step: GradFn) -> int:
    return step.order


def _operand(t: Tensor) -> Any:
    """Return what is kept of a Tensor among the arguments; parameters are read where they are."""
    return _Operand(t.node(), edge_of(t), is_last(t)) if type(t) is Tensor else t


def _later(b: Builder, held: Any, before: Node) -> Any:
    """Return an operand as a Tensor that is not known before another value is.

    Else the compiler would find that what is computed from it was computed in the forward pass,
    and keep that.
    """
    if not isinstance(held, _Operand):
        return held
    t = new(after(b, held.node, before), held.last)
    t._edge = held.edge
    return t


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for v in value:
            yield from _tensors(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from _tensors(v)


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Return nested values with the Tensors, or what stands for them, replaced."""
    if isinstance(value, Tensor | _Operand):
        return function(value)
    if isinstance(value, tuple | list):
        each = [_mapped(v, function) for v in value]
        return type(value)(*each) if hasattr(value, "_fields") else type(value)(each)
    if isinstance(value, dict):
        return type(value)((k, _mapped(v, function)) for k, v in value.items())
    return value


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Apply functions one after the other; the values inside all segments but the last go.

    Args:
        functions: a Sequential, or a list of functions of one argument.
        segments: into how many parts they are divided.
        input: of the first one.
        use_reentrant: as for `checkpoint`.
        kwargs: `preserve_rng_state`.

    Raises:
        InvalidValue: for other keyword arguments.
    """
    if use_reentrant is None:
        warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be "
            "passed explicitly; use_reentrant=False is recommended"
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise InvalidValue("Unexpected keyword arguments: " + ",".join(kwargs))
    listed = list(functions)
    size = len(listed) // segments
    done = 0
    for _ in range(segments - 1):
        part = _Chain(listed[done : done + size])
        input = checkpoint(part, input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
        done += size
    return _Chain(listed[done:])(input)


@final
class _Chain:
    """Functions of one argument, one after the other."""

    def __init__(self, functions: Sequence[Callable[[Any], Any]]) -> None:
        self.functions = functions

    def __call__(self, input: Any) -> Any:
        for function in self.functions:
            input = function(input)
        return input
