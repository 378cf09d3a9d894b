"""Cells of recurrent networks: one step, for programs that write the loop themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.creation import empty
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor
from talweg.fn import recurrent
from talweg.nn import init
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter

_cell = lift(recurrent.recurrent_cell)


class RNNCellBase(Module):
    """What the cells share.

    Attributes:
        weight_ih: [num_chunks * hidden_size, input_size].
        weight_hh: [num_chunks * hidden_size, hidden_size].
        bias_ih, bias_hh: [num_chunks * hidden_size], or None.
    """

    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((gates, input_size), dtype=dtype, device=device))
        self.weight_hh = Parameter(empty((gates, hidden_size), dtype=dtype, device=device))
        for name in ("bias_ih", "bias_hh"):
            made = Parameter(empty(gates, dtype=dtype, device=device)) if bias else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters, uniform within ±1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += "" if self.bias is True else f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text + ("" if nonlinearity == "tanh" else f", nonlinearity={nonlinearity}")

    def _step(self, mode: str, input: Tensor, state: Sequence[Tensor | None]) -> Any:
        """Return the next state, without a batch if the input has none."""
        name = type(self).__name__
        for what, t in (("input", input), *(("hidden", s) for s in state)):
            if t is not None and t.ndim not in (1, 2):
                raise ShapeError(f"{name}: Expected {what} to be 1D or 2D, got {t.ndim}D instead")
        weights = [self.weight_ih, self.weight_hh]
        if self.bias_ih is not None and self.bias_hh is not None:
            weights += [self.bias_ih, self.bias_hh]
        if input.ndim == 2:
            return _cell(mode, input, state, weights)
        rows = [None if s is None else s.unsqueeze(0) for s in state]
        new = _cell(mode, input.unsqueeze(0), rows, weights)
        return tuple(t.squeeze(0) for t in new) if isinstance(new, tuple) else new.squeeze(0)


class RNNCell(RNNCellBase):
    """One step of an `RNN`: takes x [N, input_size] and h [N, hidden_size], returns the next h.

    Args:
        input_size, hidden_size: of x and h; both may come without N. h is zeros unless given.
        bias: whether there are biases.
        nonlinearity: "tanh" or "relu".
        device, dtype: of the parameters.

    Example:
        >>> import talweg as tw
        >>> tw.nn.RNNCell(10, 20)(tw.rand(3, 10)).shape
        (3, 20)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Any:
        if self.nonlinearity not in ("tanh", "relu"):
            raise InvalidValue(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, (hx,))


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`: takes x [N, input_size] and (h, c), returns the next (h, c).

    Args:
        input_size, hidden_size: of x and h, c; all may come without N. Both are zeros unless given.
        bias: whether there are biases.
        device, dtype: of the parameters.

    Example:
        >>> import talweg as tw
        >>> h, c = tw.nn.LSTMCell(10, 20)(tw.rand(3, 10))
        >>> h.shape, c.shape
        ((3, 20), (3, 20))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> Any:
        return self._step("LSTM", input, (None, None) if hx is None else (hx[0], hx[1]))


class GRUCell(RNNCellBase):
    """One step of a `GRU`: takes x [N, input_size] and h [N, hidden_size], returns the next h.

    Args:
        input_size, hidden_size: of x and h; both may come without N. h is zeros unless given.
        bias: whether there are biases.
        device, dtype: of the parameters.

    Example:
        >>> import talweg as tw
        >>> tw.nn.GRUCell(10, 20)(tw.rand(10)).shape
        (20,)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Any:
        return self._step("GRU", input, (hx,))
