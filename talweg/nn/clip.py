"""Gradients kept within bounds, and all parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from talweg.base.errors import GradientError, InvalidValue, ShapeError
from talweg.engine.creation import zeros
from talweg.engine.functions import FUNCTIONS
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in listed if p.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Return the p-norm of all elements of the Tensors together.

    Args:
        tensors: any shapes.
        norm_type: p, or infinity for the largest magnitude.
        error_if_nonfinite: whether a norm that is NaN or infinite raises.
        foreach: accepted; has no effect.

    Raises:
        GradientError: see `error_if_nonfinite`.
    """
    listed = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not listed:
        return zeros(())
    norm = FUNCTIONS["norm"]
    with no_grad():
        parts = [norm(t.reshape(-1), float(norm_type)) for t in listed]
        total: Tensor = norm(FUNCTIONS["stack"](parts), float(norm_type))
    if error_if_nonfinite and not total.isfinite():
        raise GradientError(
            f"the total norm of order {norm_type} for gradients is non-finite ({total.item()}), so "
            "they cannot be clipped; set error_if_nonfinite=False to scale them all the same"
        )
    return total


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients so that their norm, taken together, is at most `max_norm`.

    Pascanu et al., 2013.

    Args:
        parameters: those without a gradient are passed over.
        max_norm: the largest norm allowed.
        norm_type: p of the p-norm, or infinity.
        error_if_nonfinite: whether a norm that is NaN or infinite raises.
        foreach: accepted; has no effect.

    Returns:
        The norm before.

    Example:
        >>> import talweg as tw
        >>> w = tw.tensor([3.0, 4.0], requires_grad=True)
        >>> (w * w / 2).sum().backward()
        >>> tw.nn.utils.clip_grad_norm_(w, 1.0).item()
        5.0
        >>> [round(g, 3) for g in w.grad.tolist()]
        [0.6, 0.8]
    """
    grads = _gradients(parameters)
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    _scale(grads, max_norm, total)
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Scale the gradients as `clip_grad_norm_` does, with a norm that is known.

    Args:
        parameters: those without a gradient are passed over.
        max_norm: the largest norm allowed.
        total_norm: what `get_total_norm` returned.
        foreach: accepted; has no effect.
    """
    _scale(_gradients(parameters), max_norm, total_norm)


def _scale(grads: list[Tensor], max_norm: float, total: Tensor) -> None:
    with no_grad():
        scale = (max_norm / (total + 1e-6)).clamp(max=1.0)
        for g in grads:
            g.mul_(scale.to(g.dtype))


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value]."""
    with no_grad():
        for g in _gradients(parameters):
            g.clamp_(-clip_value, clip_value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all parameters, flattened, in one vector.

    Raises:
        InvalidValue: when there are none.
    """
    flat = [p.reshape(-1) for p in parameters]
    if not flat:
        raise InvalidValue("parameters_to_vector needs at least one parameter")
    joined: Tensor = FUNCTIONS["cat"](flat)
    return joined


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the parts of a vector into the parameters: undoes `parameters_to_vector`.

    Raises:
        ShapeError: when the vector has another number of elements.
    """
    listed = list(parameters)
    count = sum(p.numel() for p in listed)
    if vec.shape != (count,):
        raise ShapeError(f"the parameters have {count} elements, the vector shape {vec.shape}")
    at = 0
    with no_grad():
        for p in listed:
            p.copy_(vec[at : at + p.numel()].reshape(p.shape))
            at += p.numel()
