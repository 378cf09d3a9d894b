"""The Tensor methods around gradients: `backward`, hooks, `retain_grad`, `detach`, `data`."""

from __future__ import annotations

from typing import Any

from talweg.base.errors import GradientError
from talweg.engine.autograd import Tensors, backward
from talweg.engine.tape import Hook, Removable, end_of
from talweg.engine.tensor import AccumulateGrad, Tensor, attach, detached, owner, view_of


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
    step, index = end_of(self._edge)
    assert step is not None, "a Tensor that requires gradients has a place on the tape"
    return Removable(step.hooks_of(index), hook)


def register_post_accumulate_grad_hook(self: Tensor, hook: Any) -> Removable:
    """Call `hook(tensor)` after a gradient was added to `.grad` of this leaf.

    Raises:
        GradientError: when the Tensor is not a leaf that requires gradients.
    """
    if not self.is_leaf or not self.requires_grad:
        raise GradientError("post accumulate grad hooks need a leaf that requires gradients")
    step = self._edge
    assert isinstance(step, AccumulateGrad)
    step.hold()
    step.watching.add(step)
    return Removable(step.after, hook)


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
    step, index = end_of(self._edge)
    assert step is not None, "this is no leaf"
    attach(self, step, index)


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
    self._edge = None
    return self


def get_data(self: Tensor) -> Tensor:
    """The value without gradients, over the same storage; writes to it are not seen by the tape."""
    return detached(self, counted=False)


def set_data(self: Tensor, value: Tensor) -> None:
    """Make this Tensor hold another value, of any shape and dtype; leaf and tape status stay."""
    counted = self._counted
    self._storage = value._storage
    self._view = None
    if value._chain or not counted:
        self._view = view_of(value, None, value.node(), value._chain, value.header())
        self._view.counted = counted
