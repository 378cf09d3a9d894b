"""`tw.compile`: functions and Modules that run their Python code once and are replayed then."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Container, Sequence
from types import MethodType
from typing import Any, final

import numpy as np

from talweg.base.errors import CaptureError
from talweg.base.frozen import frozen
from talweg.base.source import warn
from talweg.capture.build import Building
from talweg.capture.captured import MISS, Captured, edge_kind, modes_of
from talweg.capture.replay import written
from talweg.capture.surroundings import Place, Unseen, is_plain
from talweg.capture.symbols import plain
from talweg.capture.tree import flatten, opener, paths, rebuild
from talweg.capture.watched import Capture, Refusal
from talweg.engine.arranged import is_last
from talweg.engine.barrier import flush
from talweg.engine.state import CONFIG, STATE
from talweg.engine.tensor import Tensor, edge_of

VARIANTS = 8
"""How many captures there may be for one kind of arguments, before that is given up."""

TRIES = 4
SIGNATURES = 256
"""How many kinds of arguments are kept, and how many captures in a row may find no replay."""

_NUMBERS = frozenset((int, float))
_capturing = threading.Lock()


@final
@frozen
class Report:
    """One capture, or why there was none.

    Attributes:
        cause: why the function was run and watched.
        reason: why it cannot be replayed, or None.
        nodes: operations of its graph, the forward pass only where gradients are taken outside.
        launches: kernels that a replay runs.
        replays: how often it was replayed.
    """

    cause: str
    reason: str | None
    nodes: int
    launches: int
    replays: int


@final
class Compiled:
    """A function that is captured once for each kind of arguments, and then replayed.

    Attributes:
        function: what was compiled.
        reason: why it ran uncaptured last, or None if it never did.
    """

    unseen = True

    def __init__(self, function: Callable[..., Any], fullgraph: bool, dynamic: bool | None) -> None:
        self.function = function
        self.reason: str | None = None
        self._fullgraph = fullgraph
        self._dynamic = dynamic
        self._variants: dict[Any, list[Captured]] = {}
        self._refused: dict[Any, str] = {}
        self._tries: dict[Any, int] = {}
        self._kinds: dict[Any, list[Any]] = {}
        self._numbers: dict[Any, set[int]] = {}
        self._deciding: dict[Any, set[int]] = {}
        self._idle: dict[Any, int] = {}
        self._promoted: dict[tuple[int, Any], Any] = {}
        self._objects: dict[int, Any] = {}
        self._events: list[tuple[str, str | None, int, Captured | None]] = []
        self._warned: set[str] = set()
        self._last: tuple[Callable[[Any], list[Any] | None], Captured] | None = None
        self._openers: dict[int, tuple[Callable[[Any], list[Any] | None], Captured]] = {}
        self._recent: dict[Any, Captured] = {}
        name = getattr(function, "__name__", type(function).__name__)
        self._name = name.strip("_").title().replace("_", "") or "Function"
        functools.update_wrapper(self, function, updated=())

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<compiled {self.function!r}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        last = self._last
        if last is not None:
            leaves = last[0]((args, kwargs))
            if leaves is not None:
                result = last[1].replay(leaves)
                if result is not MISS:
                    return result
        return self._call(args, kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        return self

    def __reduce__(self) -> Any:
        return _again, (self.function, self._fullgraph, self._dynamic)

    # -- dispatch

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        now = STATE.now
        if now.capture is not None or now.anomaly or CONFIG.sync:
            return self.function(*args, **kwargs)
        leaves: list[Any] = []
        structure = flatten((args, kwargs), leaves)
        shape = modes_of(now), structure
        numbers = self._numbers.get(shape, ())
        others = [
            ("number", type(v)) if i in numbers and type(v) in _NUMBERS else _kind(v)
            for i, v in enumerate(leaves)
            if not isinstance(v, Tensor)
        ]
        known = shape, tuple(others)
        recent = self._recent.get(known)
        if recent is not None:  # a replay looks at the Tensors itself
            result = recent.replay(leaves)
            if result is not MISS:
                return result
        kinds = _kinds(leaves, numbers)
        key = shape, tuple(kinds)
        for captured in self._variants.get(key, ()):
            result = captured.replay(leaves)
            if result is not MISS:
                self._remember(captured, structure, leaves, numbers)
                if len(self._recent) >= SIGNATURES:
                    self._recent.clear()
                self._recent[known] = captured
                self._idle[shape] = 0
                return result
        refused = self._refused.get(key) or self._refused.get(shape)
        if refused:
            self.reason = refused
            return self.function(*args, **kwargs)
        if not _capturing.acquire(blocking=False):
            return self.function(*args, **kwargs)
        try:
            return self._captured(shape, kinds, leaves)
        finally:
            _capturing.release()

    def _remember(
        self, captured: Captured, structure: Any, leaves: Sequence[Any], numbers: Container[int]
    ) -> None:
        """Try this one first."""
        found = self._openers.get(id(captured))
        if found is None:
            tests = [
                ("any", None)
                if isinstance(v, Tensor)
                else (("kind", type(v)) if i in numbers and type(v) in _NUMBERS else ("is", v))
                for i, v in enumerate(leaves)
            ]
            if len(self._openers) >= SIGNATURES:
                self._openers.clear()
            found = self._openers[id(captured)] = opener(structure, tests), captured
        self._last = found

    # -- capture

    def _captured(self, shape: Any, kinds: list[Any], leaves: list[Any]) -> Any:
        """Run the function, watched, and keep what can be replayed."""
        structure = shape[1]
        self._idle[shape] = idle = self._idle.get(shape, 0) + 1
        if idle > SIGNATURES:
            self._give_up(shape, f"captured {SIGNATURES} times in a row, and never replayed")
            args, kwargs = rebuild(structure, leaves)
            return self.function(*args, **kwargs)
        cause = self._cause(shape, kinds, leaves)
        numbers = self._numbers.get(shape, set())
        if self._dynamic:
            deciding = self._deciding.get(shape, set())
            numbers = {i for i, v in enumerate(leaves) if type(v) in _NUMBERS} - deciding
            self._numbers[shape] = numbers
        numbers = {i for i in numbers if type(leaves[i]) in _NUMBERS}
        kinds = _kinds(leaves, numbers)
        self._kinds[structure] = kinds
        key = shape, tuple(kinds)
        names = paths(structure, "")
        roots: list[tuple[Any, str]] = [(self.function, _title(self.function))]
        for leaf, name in zip(leaves, names, strict=True):
            if not isinstance(leaf, Tensor) and not is_plain(leaf):
                self._objects[id(leaf)] = leaf
                roots.append((leaf, f"argument{name}"))
        try:
            capture = Capture(roots, leaves, numbers, self._is_promoted, self._fullgraph)
        except Unseen as error:
            self._refuse(key, cause, Refusal(str(error)))
            args, kwargs = rebuild(structure, leaves)
            return self.function(*args, **kwargs)

        def call(values: Sequence[Any]) -> Any:
            args, kwargs = rebuild(structure, values)
            return self.function(*args, **kwargs)

        try:
            result = capture.run(call)
        except BaseException:
            capture.formulas.open = False
            raise
        try:
            for leaf, name in zip(leaves, names, strict=True):
                if isinstance(leaf, np.ndarray):
                    raise Refusal(f"argument{name} is a NumPy array; give a Tensor")
            building = Building(self._name, capture, result, shape[0])
        except Refusal as refusal:
            capture.formulas.open = False
            if capture.waiting and capture.reason is None:
                flush()
            self._refuse(key, cause, refusal)
            return _without_symbols(result)
        capture.formulas.open = False
        escaped = building.commit()
        if escaped is not None:
            self._refuse(key, cause, Refusal(escaped))
        else:
            building.captured.replay = written(building.captured)
            self._keep(key, cause, building.captured, len(building.graph.order), leaves)
        return _without_symbols(result)

    def _keep(
        self, key: Any, cause: str, captured: Captured, nodes: int, leaves: Sequence[Any]
    ) -> None:
        self._events.append((cause, None, nodes, captured))
        self._tries.pop(key, None)
        variants = self._variants.setdefault(key, [])
        variants.insert(0, captured)
        if len(variants) == VARIANTS:
            self._give_up(key, f"captured {VARIANTS} times for arguments of one kind: {cause}")
        while len(self._variants) > SIGNATURES:
            del self._variants[next(iter(self._variants))]
        self._remember(captured, key[0][1], leaves, self._numbers.get(key[0], ()))

    def _refuse(self, key: Any, cause: str, refusal: Refusal) -> None:
        """Note why there is no capture, and whether to try again at the next call."""
        self._events.append((cause, refusal.reason, 0, None))
        if refusal.place is not None and self._dynamic is not False:
            self._promote(refusal.place)
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        if refusal.again and tries < TRIES:
            return
        self._give_up(key, refusal.reason)

    def _give_up(self, key: Any, reason: str) -> None:
        """Run the function each time, for arguments of this kind, where no capture fits."""
        self._refused[key] = self.reason = reason
        if self._fullgraph:
            raise CaptureError(f"{_title(self.function)} cannot be captured: {reason}")
        if reason not in self._warned:
            self._warned.add(reason)
            warn(f"{_title(self.function)} is not replayed, but run each time: {reason}")

    def _promote(self, place: Place) -> None:
        self._promoted[id(place.container), place.key] = place.container

    def _is_promoted(self, place: Place) -> bool:
        return (id(place.container), place.key) in self._promoted

    def _cause(self, shape: Any, kinds: list[Any], leaves: Sequence[Any]) -> str:
        """Say why there is no capture yet that fits; make numbers that changed run-time numbers.

        Where Python decides by such an argument too often, each of its values is a kind of its own.
        """
        for captured in self._variants.get((shape, tuple(kinds)), ()):
            place, before, now = captured.broken(leaves)
            if isinstance(place, int):
                if len(self._variants[shape, tuple(kinds)]) == VARIANTS - 1:
                    self._deciding.setdefault(shape, set()).add(place)
                    self._numbers[shape].discard(place)
                place = f"{paths(shape[1], 'argument')[place]}, by which Python decides,"
            elif isinstance(place, Place):
                if type(before) in _NUMBERS and type(now) is type(before):
                    if self._dynamic is not False:
                        self._promote(place)
                place = place.path
            return f"{place} was {_shown(before)}, now it is {_shown(now)}"
        before = self._kinds.get(shape[1])
        if before is None:
            return "arguments nested like these come for the first time"
        for i, (old, new) in enumerate(zip(before, kinds, strict=True)):
            if old != new:
                fixed = self._dynamic is False or i in self._deciding.get(shape, ())
                if old[0] in _NUMBERS and new[0] is old[0] and not fixed:
                    self._numbers.setdefault(shape, set()).add(i)
                name = paths(shape[1], "argument")[i]
                return f"{name} was {_kind_text(old)}, now it is {_kind_text(new)}"
        if self._tries.get((shape, tuple(kinds))):
            return "the call before changed what Python sees"
        return "the gradient mode, inference mode, autocast or default dtype differs"

    # -- reports

    @property
    def reports(self) -> list[Report]:
        """All captures so far, and all runs that could not be captured."""
        return [
            Report(
                cause,
                reason,
                nodes,
                0 if captured is None else captured.recipe.program.launches,
                0 if captured is None else captured.replays,
            )
            for cause, reason, nodes, captured in self._events
        ]

    def explain(self) -> str:
        """Return a text that says what was captured and replayed, and what was not, and why."""
        lines = [f"{_title(self.function)}:"]
        for r in self.reports:
            if r.reason is None:
                what = f"{r.nodes} operations, {r.launches} kernels, replayed {r.replays} times"
            else:
                what = f"not captured: {r.reason}"
            lines.append(f"  {r.cause}: {what}")
        return "\n".join(lines)


def _kinds(leaves: Sequence[Any], numbers: Container[int]) -> list[Any]:
    """The kinds of arguments, of which some are data where they are numbers."""
    return [
        ("number", type(v)) if i in numbers and type(v) in _NUMBERS else _kind(v)
        for i, v in enumerate(leaves)
    ]


def _kind(value: Any) -> Any:
    """What must be equal for arguments to be of one kind."""
    if isinstance(value, Tensor):
        edge = edge_kind(edge_of(value))
        return type(value), value.node().type, edge, is_last(value)
    if type(value) is float or isinstance(value, slice | np.generic):
        return type(value), repr(value)
    return (type(value), value) if is_plain(value) else ("object", id(value))


def _kind_text(kind: Any) -> str:
    if isinstance(kind[0], type) and issubclass(kind[0], Tensor):
        edge = "" if kind[2] is None else ", requires gradients"
        return f"{kind[1]}{edge}{', channels last' if kind[3] else ''}"
    if kind[0] == "number":
        return f"another {kind[1].__name__}"
    return "another object" if kind[0] == "object" else str(kind[1])


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a Tensor of shape {value.shape}"
    text = str(value)
    return text if len(text) <= 60 else f"another {type(value).__name__}"


def _title(function: Any) -> str:
    if isinstance(function, MethodType) and function.__name__ == "__call__":
        return type(function.__self__).__name__
    return str(getattr(function, "__qualname__", type(function).__name__))


def _without_symbols(value: Any) -> Any:
    leaves: list[Any] = []
    structure = flatten(value, leaves)
    kept = [plain(v) for v in leaves]
    changed = any(a is not b for a, b in zip(kept, leaves, strict=True))
    return rebuild(structure, kept) if changed else value


def _again(function: Any, fullgraph: bool, dynamic: bool | None) -> Any:
    return compile(function, fullgraph=fullgraph, dynamic=dynamic)


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = None,
    mode: str | None = None,
    options: Any = None,
    disable: bool = False,
) -> Any:
    """Return a function or Module that runs its Python code once and replays it afterwards.

    Args:
        model: a function, a Module, or any other callable; without it, a decorator is returned.
        fullgraph: raise where the function cannot be captured, instead of running it each time.
        dynamic: whether Python numbers among the arguments are data (True), part of what makes a
            call another one (False), or the former once they change (None).
        backend, mode, options: accepted; without effect.
        disable: return the model as it is.

    Example:
        >>> import talweg as tw
        >>> @tw.compile
        ... def f(x, y):
        ...     return (x * y).sum()
        >>> f(tw.ones(3), tw.ones(3))
        tensor(3.)
        >>> f(tw.ones(3), tw.full((3,), 2.0))
        tensor(6.)

    Raises:
        CaptureError: with `fullgraph`, at a call that cannot be captured.
    """
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, mode=mode, disable=disable
        )
    if disable or CONFIG.compile == "never" or isinstance(model, Compiled):
        return model
    if hasattr(type(model), "forward"):
        return _compiled_module(model, fullgraph, dynamic)
    return Compiled(model, fullgraph, dynamic)


def _compiled_module(module: Any, fullgraph: bool, dynamic: bool | None) -> Any:
    """Return a Module over the same attributes, whose calls are replayed."""
    kind = type(module)
    compiled = Compiled(module.__call__, fullgraph, dynamic)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return compiled(*args, **kwargs)

    def reduce(self: Any) -> Any:
        return _again, (module, fullgraph, dynamic)

    members = {
        "__call__": call,
        "__reduce__": reduce,
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
        "compiled": compiled,
    }
    made: Any = object.__new__(type(kind.__name__, (kind,), members))
    object.__setattr__(made, "__dict__", vars(module))
    return made
