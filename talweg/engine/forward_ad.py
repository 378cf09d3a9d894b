"""Forward mode with the names of `torch.autograd.forward_ad`.

A dual Tensor is recorded like any other; its tangent is found when it is unpacked, by two reverse
passes, as `functional.jvp` does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from talweg.base.errors import DTypeError, GradientError, ShapeError
from talweg.engine.autograd import grad
from talweg.engine.creation import zeros_like
from talweg.engine.functions import METHODS
from talweg.engine.modes import is_grad_enabled
from talweg.engine.tensor import Tensor

_OPEN: list[_Level] = []


class UnpackedDualTensor(NamedTuple):
    """A value, and how it changes; None where it does not depend on a dual Tensor."""

    primal: Tensor
    tangent: Tensor | None


class _Level:
    def __init__(self) -> None:
        self.duals: list[tuple[Tensor, Tensor]] = []
        self.differentiable = False


def enter_dual_level() -> int:
    """Begin forward mode, and return its level: 0.

    Raises:
        GradientError: within another one.
    """
    if _OPEN:
        raise GradientError(
            "Nested forward mode AD is not supported at the moment: use tw.func.jvp within tw.func"
        )
    _OPEN.append(_Level())
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End forward mode.

    Raises:
        GradientError: where it has not begun.
    """
    if not _OPEN or level not in (None, 0):
        raise GradientError("Trying to exit a forward AD level that does not exist")
    _OPEN.pop()


class dual_level:
    """Forward mode, as a context.

    Example:
        >>> import talweg as tw
        >>> forward = tw.autograd.forward_ad
        >>> with forward.dual_level():
        ...     x = forward.make_dual(tw.tensor(3.0), tw.tensor(2.0))
        ...     forward.unpack_dual(x * x).tangent.item()
        12.0
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *error: object) -> None:
        exit_dual_level()


def _opened(level: int | None, what: str) -> _Level:
    if not _OPEN or level not in (None, 0):
        raise GradientError(
            f"Trying to {what} a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first."
        )
    if not is_grad_enabled():
        raise GradientError("dual Tensors are recorded: they need gradients enabled")
    return _OPEN[-1]


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """Return the Tensor with a tangent, which what is computed from it will have, too.

    Args:
        tensor, tangent: floating or complex, of one shape and dtype.

    Raises:
        GradientError: outside `dual_level`, and without gradients; DTypeError, ShapeError.
    """
    found = _opened(level, "create")
    for name, one in (("primal", tensor), ("tangent", tangent)):
        if not one.dtype.is_inexact:
            raise DTypeError(
                f"Expected {name} to be floating point or complex, but got: {one.dtype}"
            )
    if tensor.shape != tangent.shape:
        raise ShapeError(f"make_dual: the primal is {tensor.shape}, the tangent {tangent.shape}")
    dual: Tensor = (
        METHODS["clone"](tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
    )
    found.differentiable |= tensor.requires_grad or tangent.requires_grad
    found.duals.append((dual, tangent))
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """Return a Tensor's value and its tangent; None outside `dual_level` or without one."""
    if not _OPEN or not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    found = _opened(level, "unpack")
    keep = found.differentiable
    primal = tensor if keep else tensor.detach()
    for dual, tangent in found.duals:
        if dual is tensor:
            return UnpackedDualTensor(primal, tangent)
    tangent = _pushed(tensor, found.duals, keep)
    return UnpackedDualTensor(primal, tangent)


def _pushed(tensor: Tensor, duals: list[tuple[Tensor, Tensor]], keep: bool) -> Any:
    probe = zeros_like(tensor).requires_grad_()
    leaves = [d for d, _ in duals]
    how: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    pulled = grad([tensor], leaves, [probe], create_graph=True, **how)
    pairs = [(g, t) for g, (_, t) in zip(pulled, duals, strict=True) if g is not None]
    if not pairs:
        return None
    pairs = [(g, t) for g, t in pairs if g.requires_grad]
    if not pairs:
        return zeros_like(tensor)
    back = grad([g for g, _ in pairs], [probe], [t for _, t in pairs], create_graph=keep, **how)
    return zeros_like(tensor) if back[0] is None else back[0]
