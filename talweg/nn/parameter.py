"""Parameters and Buffers: Tensors that a Module registers when they are assigned to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from talweg.base.errors import InvalidValue
from talweg.engine.creation import empty
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


class _Uninitialized(Tensor):
    """A Tensor whose shape is not known yet."""

    turns_into: type[Tensor]

    def materialize(self, shape: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        """Take a shape, with unspecified values, and become a plain Parameter or Buffer."""
        kind = dtype or self.data.dtype
        self.__class__ = self.turns_into  # type: ignore[assignment]
        self.data = empty(tuple(shape), dtype=kind, device=device)

    @property
    def shape(self) -> Any:
        """There is none.

        Raises:
            InvalidValue: always.
        """
        raise InvalidValue(
            "the shape of an uninitialized parameter or buffer is not known: call the lazy module "
            "once, or load_state_dict, to initialize it"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> _Uninitialized:
        made: _Uninitialized = memo.setdefault(id(self), self.another())
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self.requires_grad,)

    def another(self) -> _Uninitialized:
        """Return one of the same kind."""
        return type(self)(self.requires_grad, None, self.data.dtype)

    def detach(self) -> _Uninitialized:
        """Return this one: it has no value."""
        return self


class UninitializedParameter(_Uninitialized, Parameter):
    """A Parameter whose shape is not known before the first input of its lazy module.

    Args:
        requires_grad: whether gradients are computed for it.
        dtype: of the values to come; the default dtype unless given.
    """

    turns_into = Parameter

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        Parameter.__init__(self, empty(0, dtype=dtype, device=device), requires_grad)


class UninitializedBuffer(_Uninitialized, Buffer):
    """A Buffer whose shape is not known before the first input of its lazy module.

    Args:
        requires_grad: accepted; buffers have no gradient here.
        dtype: of the values to come; the default dtype unless given.
        persistent: whether it is part of the Module's `state_dict()`.
    """

    turns_into = Buffer

    def __init__(
        self,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> None:
        Buffer.__init__(self, empty(0, dtype=dtype, device=device), persistent)
