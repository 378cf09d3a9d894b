"""Gradients compared with finite differences, for users' own functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import GradientError
from talweg.engine.autograd import grad
from talweg.engine.creation import tensor
from talweg.engine.modes import set_grad_enabled
from talweg.engine.tensor import Tensor, values


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **_: Any,
) -> bool:
    """Compare the gradients of `func` with central differences, element by element.

    Args:
        func: takes the inputs; returns a Tensor or several.
        inputs: its arguments; those that require gradients are checked and should be float64.
        eps: half the distance of the differences.
        atol, rtol: tolerances.
        raise_exception: raise on a mismatch instead of returning False.

    Example:
        >>> import talweg as tw
        >>> x = tw.tensor([1.0, 2.0], dtype=tw.float64, requires_grad=True)
        >>> tw.autograd.gradcheck(lambda x: x * x, x)
        True

    Raises:
        GradientError: naming output, input and the largest difference.
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
    if not checked:
        raise GradientError("gradcheck needs at least one input that requires gradients")
    with set_grad_enabled(True):
        outputs = _outputs(func, args)
    for number, out in enumerate(outputs):
        if not out.dtype.is_inexact:
            continue
        for position in checked:
            exact = _analytical(out, args[position])
            close = _numerical(func, args, position, number, eps)
            if not np.allclose(exact, close, rtol, atol, equal_nan=True):
                if not raise_exception:
                    return False
                worst = float(np.nanmax(np.abs(exact - close)))
                raise GradientError(
                    f"Jacobian mismatch for output {number} with respect to input {position}: "
                    f"largest difference {worst:.3g}\nnumerical:\n{close}\nanalytical:\n{exact}"
                )
    return True


def _outputs(func: Callable[..., Any], args: Sequence[Any]) -> tuple[Tensor, ...]:
    out = func(*args)
    return tuple(out) if isinstance(out, tuple | list) else (out,)


def _analytical(out: Tensor, x: Tensor) -> np.ndarray:
    """Return the Jacobian as real numbers: a complex number counts as two."""
    rows = []
    units: tuple[complex, ...] = (1, 1j) if out.dtype.is_complex else (1,)
    for place in np.ndindex(out.shape):
        for unit in units:
            seed = np.zeros(out.shape, out.dtype.compute)
            seed[place] = unit
            if not out.requires_grad:
                rows.append(np.zeros(_real(values(x)).size))
                continue
            (g,) = grad(out, x, tensor(seed), retain_graph=True, allow_unused=True)
            found = np.zeros(x.shape, x.dtype.compute) if g is None else values(g)
            rows.append(_real(found).reshape(-1))
    return np.array(rows).reshape(len(rows), -1)


def _real(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "c":
        return array.astype(np.float64)
    return np.stack([array.real, array.imag], -1).astype(np.float64)


def _numerical(
    func: Callable[..., Any], args: Sequence[Any], position: int, number: int, eps: float
) -> np.ndarray:
    x = args[position]
    start = np.array(values(x))
    columns = []
    units: tuple[complex, ...] = (1, 1j) if x.dtype.is_complex else (1,)
    for place in np.ndindex(start.shape):
        for unit in units:
            ends = []
            for sign in (1, -1):
                moved = start.copy()
                moved[place] += sign * unit * eps
                changed = [*args]
                changed[position] = tensor(moved, x.dtype)
                with set_grad_enabled(True):
                    changed[position].requires_grad = True
                    ends.append(_real(values(_outputs(func, changed)[number])).reshape(-1))
            columns.append((ends[0] - ends[1]) / (2 * eps))
    return np.array(columns).T if columns else np.zeros((1, 0))


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **_: Any,
) -> bool:
    """Compare the second-order gradients of `func` with differences of its gradients.

    Args:
        func, inputs, eps, atol, rtol, raise_exception: as for `gradcheck`.
        grad_outputs: cotangents; drawn at random (from a fixed seed) by default.
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
    with set_grad_enabled(True):
        outputs = [o for o in _outputs(func, args) if o.dtype.is_inexact]
    cotangents = _drawn(outputs) if grad_outputs is None else grad_outputs
    seeds = [cotangents] if isinstance(cotangents, Tensor) else list(cotangents)

    def gradient(*arguments: Any) -> tuple[Tensor, ...]:
        inner = arguments[: len(args)]
        outs = [o for o in _outputs(func, inner) if o.dtype.is_inexact]
        found = grad(
            outs,
            [inner[i] for i in checked],
            arguments[len(args) :],
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradient,
        (*args, *seeds),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
    )


def _drawn(outputs: Sequence[Tensor]) -> list[Tensor]:
    generator = np.random.default_rng(0)
    made = []
    for out in outputs:
        array = generator.standard_normal(out.shape)
        if out.dtype.is_complex:
            array = array + 1j * generator.standard_normal(out.shape)
        dtype = out.dtype if out.dtype.is_inexact else dtypes.float64
        made.append(tensor(array, dtype, requires_grad=True))
    return made
