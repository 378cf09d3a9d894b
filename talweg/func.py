"""Functions of functions, with the names of `torch.func`: gradients, Jacobians, `vmap`.

Arguments and results may be nested in tuples, lists and dicts.

>>> import talweg as tw
>>> tw.func.grad(lambda x: x.sin())(tw.tensor(0.0)).item()
1.0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from talweg.base.errors import GradientError, InvalidValue, ShapeError
from talweg.capture.tree import rebuild
from talweg.engine.autograd import grad as gradients
from talweg.engine.creation import ones_like, zeros, zeros_like
from talweg.engine.functions import FUNCTIONS, METHODS
from talweg.engine.modes import is_grad_enabled, set_grad_enabled
from talweg.engine.reach import leaves_below
from talweg.engine.tensor import Tensor, detached, edge_of
from talweg.mapping import opened, vmap
from talweg.nn.module import Module
from talweg.nn.normalization import _BatchNorm
from talweg.nn.utils.stateless import functional_call

__all__ = [
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]


def _tensors(name: str, what: str, leaves: Sequence[Any]) -> list[Tensor]:
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise GradientError(f"{name}: expected {what} of Tensors only, got {type(leaf)}")
    return list(leaves)


def _fresh(x: Tensor) -> Tensor:
    """Return x as a leaf of its own, or, where gradients reach it already, beneath it."""
    if x.requires_grad:
        same: Tensor = METHODS["view_as"](x, x)
        return same
    leaf = detached(x)
    leaf.requires_grad = leaf.is_floating_point() or leaf.is_complex()
    return leaf


class _Level:
    """One function under differentiation.

    Args:
        args: its arguments.
        argnums: which of them to differentiate by.

    Attributes:
        fresh: the leaves of these arguments, as the function gets them.
        nested: whether gradients also reach something else, so that results are differentiable.
    """

    def __init__(self, name: str, args: tuple[Any, ...], argnums: Argnums) -> None:
        self.name = name
        self.recording = is_grad_enabled()
        self.single = isinstance(argnums, int)
        chosen = [argnums] if isinstance(argnums, int) else list(argnums)
        count = len(args)
        for i in chosen:
            if not -count <= i < count:
                raise InvalidValue(f"{name}: argnums {argnums} do not fit {count} arguments")
        places = [i % count for i in chosen]
        if len(set(places)) != len(places):
            raise InvalidValue(f"{name}: argnums must be unique, got {argnums}")
        leaves, self.structure = opened(tuple(args[i] for i in places))
        with set_grad_enabled(True):
            self.fresh = [_fresh(x) for x in _tensors(name, "arguments", leaves)]
        given = list(args)
        for i, value in zip(places, rebuild(self.structure, self.fresh), strict=True):
            given[i] = value
        self.args = given
        self.nested = False

    def call(self, func: Function, has_aux: bool, kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the value and what the function returned beside it."""
        with set_grad_enabled(True):
            out = func(*self.args, **kwargs)
        aux = None
        if has_aux:
            if not (isinstance(out, tuple) and len(out) == 2):
                raise GradientError(
                    f"{self.name}: with has_aux, the function must return a tuple of two"
                )
            out, aux = out
        own = {id(edge_of(t)) for t in self.fresh}
        steps = [edge for t in opened(out)[0] if (edge := _edge(t)) is not None]
        self.nested = self.recording and any(id(leaf) not in own for leaf in leaves_below(steps))
        return out, aux

    def settled(self, value: Any) -> Any:
        """Return results, without the way back unless this level is nested."""
        if self.nested:
            return value
        leaves, structure = opened(value)
        return rebuild(structure, [detached(t) if isinstance(t, Tensor) else t for t in leaves])

    def of_arguments(self, found: Sequence[Tensor]) -> Any:
        """Return one Tensor per leaf in the form of the chosen arguments."""
        whole = rebuild(self.structure, found)
        return whole[0] if self.single else whole

    def pulled(self, outputs: Sequence[Tensor], cotangents: Sequence[Tensor]) -> list[Tensor]:
        """Return the cotangents of the arguments; zeros where nothing depends on one."""
        pairs = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
        wanted = [x for x in self.fresh if x.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(wanted)
        if pairs and wanted:
            with set_grad_enabled(True):
                found = gradients(
                    [o for o, _ in pairs],
                    wanted,
                    [c for _, c in pairs],
                    retain_graph=True,
                    create_graph=self.nested,
                    allow_unused=True,
                )
        by_id = {id(x): g for x, g in zip(wanted, found, strict=True)}
        given = [by_id.get(id(x)) for x in self.fresh]
        return [zeros_like(x) if g is None else g for x, g in zip(self.fresh, given, strict=True)]


def _edge(t: Any) -> Any:
    edge = edge_of(t) if isinstance(t, Tensor) and t.requires_grad else None
    return edge[0] if isinstance(edge, tuple) else edge


# ---------------------------------------------------------------------------------------------
# gradients


def grad_and_value(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """Return a function that gives the gradient of `func`, and its value.

    Args:
        func: returns a 0-d Tensor; with `has_aux`, a tuple of that and anything.
        argnums: the position of the argument, or of several; these hold Tensors only.
        has_aux: the value becomes a tuple of value and what came beside it.

    Raises:
        GradientError: when the value is not a 0-d Tensor.

    >>> import talweg as tw
    >>> gradient, value = tw.func.grad_and_value(lambda x: (x * x).sum())(tw.tensor([1.0, 2.0]))
    >>> gradient.tolist(), value.item()
    ([2.0, 4.0], 5.0)
    """

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        level = _Level("grad", args, argnums)
        out, aux = level.call(func, has_aux, kwargs)
        if not isinstance(out, Tensor) or out.ndim:
            found = f"a Tensor of shape {out.shape}" if isinstance(out, Tensor) else type(out)
            raise GradientError(f"grad: the function must return a 0-d Tensor, got {found}")
        gradient = level.settled(level.of_arguments(level.pulled([out], [ones_like(out)])))
        value = level.settled(out)
        return gradient, ((value, level.settled(aux)) if has_aux else value)

    return differentiated


def grad(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """Return a function that gives the gradient of `func`; see `grad_and_value`.

    With `has_aux` it gives a tuple of the gradient and what came beside the value. Gradients of
    gradients, and by what a function reads from outside, work as well.

    >>> import talweg as tw
    >>> tw.func.grad(tw.func.grad(lambda x: x**3))(tw.tensor(2.0)).item()
    12.0
    """
    both = grad_and_value(func, argnums, has_aux)

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return differentiated


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """Return the value, and a function from its cotangents to those of all arguments.

    Args:
        func: takes and returns nests of Tensors.
        primals: its arguments.
        has_aux: what comes beside the value is returned third.

    >>> import talweg as tw
    >>> value, pull = tw.func.vjp(lambda x: x * x, tw.tensor([1.0, 2.0]))
    >>> pull(tw.ones(2))[0].tolist()
    [2.0, 4.0]
    """
    level = _Level("vjp", primals, tuple(range(len(primals))))
    out, aux = level.call(func, has_aux, {})
    leaves, structure = opened(out)
    outputs = _tensors("vjp", "results", leaves)

    def pull(*cotangents: Any) -> Any:
        given, form = opened(cotangents[0] if len(cotangents) == 1 else cotangents)
        if form != structure and not (len(cotangents) == 1 and len(given) == len(outputs)):
            raise GradientError("vjp: the cotangents must nest as the result does")
        for o, c in zip(outputs, given, strict=True):
            if o.shape != c.shape:
                raise ShapeError(f"vjp: cotangent {c.shape} for a result of shape {o.shape}")
        reaching = level.nested
        level.nested = is_grad_enabled() and (reaching or any(c.requires_grad for c in given))
        try:
            return level.settled(rebuild(level.structure, level.pulled(outputs, given)))
        finally:
            level.nested = reaching

    value = level.settled(out)
    return (value, pull, level.settled(aux)) if has_aux else (value, pull)


def jvp(
    func: Function, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> Any:
    """Return the value, and its change with the arguments along the tangents.

    Computed by two reverse passes.

    Args:
        func: takes and returns nests of Tensors.
        primals, tangents: tuples, of the arguments and of their tangents.
        strict: accepted.
        has_aux: what comes beside the value is returned third.

    >>> import talweg as tw
    >>> tw.func.jvp(lambda x: x * x, (tw.tensor(3.0),), (tw.tensor(2.0),))[1].item()
    12.0
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise GradientError("jvp: primals and tangents must be tuples")
    level = _Level("jvp", primals, tuple(range(len(primals))))
    directions, form = opened(tangents)
    if form != level.structure:
        raise GradientError("jvp: tangents must nest as the primals do")
    out, aux = level.call(func, has_aux, {})
    leaves, structure = opened(out)
    pushed = _pushed(level, _tensors("jvp", "results", leaves), directions)
    found = (level.settled(out), level.settled(rebuild(structure, pushed)))
    return (*found, level.settled(aux)) if has_aux else found


def _pushed(level: _Level, outputs: list[Tensor], directions: Sequence[Tensor]) -> list[Tensor]:
    probes = [_fresh(zeros_like(o)) for o in outputs]
    nested, level.nested = level.nested, True
    pulled = level.pulled(outputs, probes)
    level.nested = nested
    pairs = [(g, d) for g, d in zip(pulled, directions, strict=True) if g.requires_grad]
    if not pairs:
        return [zeros_like(o) for o in outputs]
    found = gradients(
        [g for g, _ in pairs],
        probes,
        [d for _, d in pairs],
        retain_graph=True,
        create_graph=level.recording and (nested or any(d.requires_grad for d in directions)),
        allow_unused=True,
    )
    return [zeros_like(o) if g is None else g for o, g in zip(outputs, found, strict=True)]


def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """Return the value at the primals, and the function that pushes tangents through it."""
    level = _Level("linearize", primals, tuple(range(len(primals))))
    out, _ = level.call(func, False, {})
    leaves, structure = opened(out)
    outputs = _tensors("linearize", "results", leaves)

    def push(*tangents: Any) -> Any:
        directions, form = opened(tangents)
        if form != level.structure:
            raise GradientError("linearize: tangents must nest as the primals do")
        return level.settled(rebuild(structure, _pushed(level, outputs, directions)))

    return level.settled(out), push


# ---------------------------------------------------------------------------------------------
# Jacobians


def jacrev(
    func: Function,
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Function:
    """Return a function that gives the Jacobian of `func`: [*result, *argument] for each pair.

    Rows are recorded one by one and evaluated together.

    Args:
        func: takes and returns nests of Tensors.
        argnums: the position of the argument, or of several.
        has_aux: a tuple of the Jacobian and what came beside the value is returned.
        chunk_size: accepted.

    >>> import talweg as tw
    >>> tw.func.jacrev(lambda x: x * x)(tw.tensor([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        level = _Level("jacrev", args, argnums)
        out, aux = level.call(func, has_aux, kwargs)
        leaves, structure = opened(out)
        rows = [level.of_arguments(_rows(level, o)) for o in _tensors("jacrev", "results", leaves)]
        found = level.settled(rebuild(structure, rows))
        return (found, level.settled(aux)) if has_aux else found

    return differentiated


def _rows(level: _Level, output: Tensor) -> list[Tensor]:
    with set_grad_enabled(True):
        flat = METHODS["reshape"](output, (-1,))
        found = [level.pulled([flat[i]], [ones_like(flat[i])]) for i in range(flat.shape[0])]
        return [
            METHODS["reshape"](
                FUNCTIONS["stack"]([row[i] for row in found])
                if found
                else zeros(0, *x.shape, dtype=x.dtype),
                (*output.shape, *x.shape),
            )
            for i, x in enumerate(level.fresh)
        ]


def jacfwd(
    func: Function, argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Function:
    """Return what `jacrev` returns; both compute row by row.

    Args:
        randomness: accepted: the function is called once.
    """
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Function, argnums: Argnums = 0) -> Function:
    """Return a function that gives the Hessian of `func`: the Jacobian of its Jacobian.

    >>> import talweg as tw
    >>> tw.func.hessian(lambda x: (x**3).sum())(tw.tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacfwd(jacrev(func, argnums), argnums)


# ---------------------------------------------------------------------------------------------
# Modules


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters of several Modules of one class, stacked, and their buffers.

    The stacked parameters are leaves that require gradients where the Modules' own do.

    Raises:
        InvalidValue: without Modules, or with different classes.

    >>> import talweg as tw
    >>> parameters, buffers = tw.func.stack_module_state([tw.nn.Linear(2, 3) for _ in range(4)])
    >>> parameters["weight"].shape
    (4, 3, 2)
    """
    listed = list(models)
    if not listed:
        raise InvalidValue("stack_module_state: expected at least one Module")
    if len({type(m) for m in listed}) != 1 or len({m.training for m in listed}) != 1:
        raise InvalidValue("stack_module_state: the Modules must be of one class and one mode")
    parameters = {
        name: _stacked([m.get_parameter(name) for m in listed], p.requires_grad)
        for name, p in listed[0].named_parameters()
    }
    buffers = {
        name: _stacked([m.get_buffer(name) for m in listed], False)
        for name, _ in listed[0].named_buffers()
    }
    return parameters, buffers


def _stacked(parts: Sequence[Tensor], requires_grad: bool) -> Tensor:
    whole = detached(FUNCTIONS["stack"]([detached(p) for p in parts]))
    whole.requires_grad = requires_grad
    return whole


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Let every batch norm inside use the batch's own statistics; return the Module."""
    for module in root.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean = None
            module.running_var = None
            module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def functionalize(func: Function, *, remove: str = "mutations") -> Function:
    """Return the function as it is: recorded operations never write in place.

    Args:
        remove: "mutations" or "mutations_and_views".
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise InvalidValue(f"functionalize: remove={remove!r} is not known")
    return func
