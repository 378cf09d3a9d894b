"""Parameters and Buffers: Tensors that a Module registers when they are assigned to it."""

from __future__ import annotations

from talweg.engine.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that is trained: assigned to a Module, it is among its `parameters()`.

    Args:
        data: its value, whose memory is shared; default: empty.
        requires_grad: whether gradients are computed for it.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Parameter(tw.zeros(2))
        Parameter containing:
        tensor([0., 0.], requires_grad=True)
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        super().__init__()
        if data is not None:
            self.data = data.detach()
        self.requires_grad = requires_grad


class Buffer(Tensor):
    """A Tensor that is kept but not trained: assigned to a Module, it is among its `buffers()`.

    Args:
        data: its value, whose memory is shared; default: empty.
        persistent: whether it is part of the Module's `state_dict()`.
    """

    persistent: bool

    def __init__(self, data: Tensor | None = None, persistent: bool = True) -> None:
        super().__init__()
        if data is not None:
            self.data = data.detach()
        self.persistent = persistent
