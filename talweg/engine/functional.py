"""Derivatives of functions: `vjp`, `jvp`, `jacobian`, `hessian`, `vhp`, `hvp`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from talweg.base.errors import GradientError, ShapeError
from talweg.engine.autograd import grad
from talweg.engine.conversion import numel
from talweg.engine.creation import ones_like, zeros, zeros_like
from talweg.engine.functions import FUNCTIONS, METHODS
from talweg.engine.modes import set_grad_enabled
from talweg.engine.tensor import Tensor, detached

Several = Tensor | tuple[Tensor, ...]
Function = Callable[..., Any]


def _tuple(value: Any, what: str) -> tuple[Tensor, ...]:
    listed = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(v, Tensor) for v in listed):
        raise GradientError(f"{what} must be a Tensor or a tuple of Tensors")
    return listed


def _single(values: tuple[Any, ...], single: bool) -> Any:
    return values[0] if single else values


def _fresh(inputs: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    if create_graph:
        return tuple(METHODS["view_as"](x, x) if x.requires_grad else _leaf(x) for x in inputs)
    return tuple(_leaf(x) for x in inputs)


def _leaf(x: Tensor) -> Tensor:
    leaf = detached(x)
    leaf.requires_grad = True
    return leaf


def _results(outputs: tuple[Any, ...], create_graph: bool) -> tuple[Tensor, ...]:
    return outputs if create_graph else tuple(detached(o) for o in outputs)


def _cotangents(outputs: tuple[Tensor, ...], v: Any) -> tuple[Tensor, ...]:
    if v is None:
        if len(outputs) != 1 or numel(outputs[0]) != 1:
            raise GradientError("v is needed unless the function returns one single element")
        return (ones_like(outputs[0]),)
    listed = _tuple(v, "v")
    for o, c in zip(outputs, listed, strict=True):
        if o.shape != c.shape:
            raise ShapeError(f"v has shape {c.shape}, the matching value has shape {o.shape}")
    return listed


def _gradients(
    outputs: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    cotangents: tuple[Tensor, ...] | None,
    create_graph: bool,
    strict: bool = False,
) -> tuple[Tensor, ...]:
    pairs = [
        (o, None if cotangents is None else cotangents[i])
        for i, o in enumerate(outputs)
        if o.requires_grad
    ]
    if strict and len(pairs) != len(outputs):
        raise GradientError("an output does not depend on the inputs")
    if not pairs:
        return tuple(zeros_like(x) for x in inputs)
    found = grad(
        [o for o, _ in pairs],
        inputs,
        [c for _, c in pairs],
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
    )
    if strict and any(g is None for g in found):
        raise GradientError("an output does not depend on one of the inputs")
    return tuple(zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True))


def vjp(
    func: Function, inputs: Several, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return the function's value and v times its Jacobian.

    Args:
        func: takes and returns Tensors.
        inputs: its arguments.
        v: cotangents of the results' shapes; may be None for one single element.
        create_graph: make the results differentiable.
        strict: raise where an output does not depend on an input, instead of giving zeros.

    Example:
        >>> import talweg as tw
        >>> x = tw.tensor([1.0, 2.0])
        >>> tw.autograd.functional.vjp(lambda x: x * x, x, tw.ones(2))[1]
        tensor([2., 4.])
    """
    with set_grad_enabled(True):
        xs = _fresh(_tuple(inputs, "inputs"), create_graph)
        out = func(*xs)
        outputs = _tuple(out, "the result")
        cotangents = _cotangents(outputs, v)
        found = _gradients(outputs, xs, cotangents, create_graph, strict)
    value = _single(_results(outputs, create_graph), isinstance(out, Tensor))
    return value, _single(found, isinstance(inputs, Tensor))


def jvp(
    func: Function, inputs: Several, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return the function's value and its Jacobian times v, by two reverse passes.

    Args:
        func: takes and returns Tensors.
        inputs: its arguments.
        v: tangents of the inputs' shapes; may be None for one single element.
        create_graph: make the results differentiable.
        strict: raise where an output does not depend on an input.
    """
    with set_grad_enabled(True):
        xs = _fresh(_tuple(inputs, "inputs"), create_graph)
        tangents = _cotangents(xs, v)
        out = func(*xs)
        outputs = _tuple(out, "the result")
        probes = tuple(_leaf(zeros_like(o)) for o in outputs)
        pulled = _gradients(outputs, xs, probes, True, strict)
        found = _gradients(pulled, probes, tangents, create_graph)
    value = _single(_results(outputs, create_graph), isinstance(out, Tensor))
    return value, _single(_results(found, create_graph), isinstance(out, Tensor))


def jacobian(
    func: Function,
    inputs: Several,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """Return the Jacobian, of shape (*output, *input), for every pair of output and input.

    Args:
        func: takes and returns Tensors.
        inputs: its arguments.
        create_graph: make the result differentiable.
        strict: raise where an output does not depend on an input.
        vectorize: accepted; rows are always recorded one by one and evaluated together.
        strategy: only `reverse-mode`.

    Example:
        >>> import talweg as tw
        >>> tw.autograd.functional.jacobian(lambda x: x * x, tw.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    with set_grad_enabled(True):
        xs = _fresh(_tuple(inputs, "inputs"), create_graph)
        out = func(*xs)
        outputs = _tuple(out, "the result")
        table = tuple(_rows(o, xs, create_graph, strict) for o in outputs)
    rows = tuple(_single(_results(r, create_graph), isinstance(inputs, Tensor)) for r in table)
    return _single(rows, isinstance(out, Tensor))


def _rows(
    output: Tensor, xs: tuple[Tensor, ...], create_graph: bool, strict: bool
) -> tuple[Tensor, ...]:
    flat = METHODS["reshape"](output, (-1,))
    columns: list[list[Tensor]] = [[] for _ in xs]
    for i in range(flat.shape[0]):
        found = _gradients((flat[i],), xs, None, create_graph, strict)
        for column, g in zip(columns, found, strict=True):
            column.append(g)
    joined = []
    for x, column in zip(xs, columns, strict=True):
        whole = FUNCTIONS["stack"](column) if column else zeros(0, *x.shape, dtype=x.dtype)
        joined.append(METHODS["reshape"](whole, (*output.shape, *x.shape)))
    return tuple(joined)


def hessian(
    func: Function,
    inputs: Several,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Return the Hessian of a function with one single element as its value.

    Example:
        >>> import talweg as tw
        >>> tw.autograd.functional.hessian(lambda x: (x**3).sum(), tw.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])

    Raises:
        GradientError: when the value has more elements than one.
    """
    single = isinstance(inputs, Tensor)

    def gradient(*xs: Tensor) -> Any:
        out = func(*xs)
        if not isinstance(out, Tensor) or numel(out) != 1:
            raise GradientError("hessian needs a function that returns one single element")
        return _gradients((METHODS["reshape"](out, ()),), xs, None, True, strict)

    table = jacobian(gradient, inputs, create_graph, strict)
    return table[0] if single else table


def hvp(
    func: Function, inputs: Several, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return the value of a scalar function and its Hessian times v."""
    return _hessian_product(func, inputs, v, create_graph, strict)


def vhp(
    func: Function, inputs: Several, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return the value of a scalar function and v times its Hessian, which is symmetric."""
    return _hessian_product(func, inputs, v, create_graph, strict)


def _hessian_product(
    func: Function, inputs: Several, v: Any, create_graph: bool, strict: bool
) -> tuple[Any, Any]:
    with set_grad_enabled(True):
        xs = _fresh(_tuple(inputs, "inputs"), create_graph)
        out = func(*xs)
        if not isinstance(out, Tensor) or numel(out) != 1:
            raise GradientError("the function must return one single element")
        first = _gradients((METHODS["reshape"](out, ()),), xs, None, True, strict)
        found = _gradients(first, xs, _cotangents(xs, v), create_graph, strict)
    value = _results((out,), create_graph)[0]
    return value, _single(_results(found, create_graph), isinstance(inputs, Tensor))
