"""Recurrent layers over sequences, and their cells for single steps."""

from __future__ import annotations

import math
from typing import Any

from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.source import warn
from talweg.engine.creation import empty
from talweg.engine.functions import FUNCTIONS
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor
from talweg.fn import recurrent
from talweg.nn import functional as F
from talweg.nn import init
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter
from talweg.nn.utils.rnn import PackedSequence

_layer = lift(recurrent.recurrent_layer)

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _check_options(
    mode: str,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    bias: bool,
    batch_first: bool,
    dropout: object,
    proj_size: int,
) -> None:
    if mode not in _GATES:
        raise InvalidValue(f"Unrecognized RNN mode: {mode}")
    if not isinstance(dropout, int | float) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
        raise InvalidValue(
            "dropout should be a number in range [0, 1] representing the probability of an element "
            "being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and num_layers=1"
        )
    for name, value, kind in (
        ("bias", bias, bool),
        ("batch_first", batch_first, bool),
        ("input_size", input_size, int),
        ("hidden_size", hidden_size, int),
    ):
        if not isinstance(value, kind):
            found = type(value).__name__
            raise DTypeError(f"{name} should be of type {kind.__name__}, got: {found}")
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
    for name, size in sizes.items():
        if size <= 0:
            raise InvalidValue(f"{name} must be greater than zero")
    if proj_size < 0:
        raise InvalidValue("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise InvalidValue("proj_size has to be smaller than hidden_size")


class RNNBase(Module):
    """What `RNN`, `LSTM` and `GRU` share; see there.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0: of the first layer; `l1`, … of the
            others, and `_reverse` behind those of the other direction. With projections
            `weight_hr_l0` too.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        _check_options(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size
        )
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        gates, width = _GATES[mode] * hidden_size, proj_size or hidden_size
        directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            inputs = width * len(directions) if layer else input_size
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (gates, inputs),
                "weight_hh": (gates, width),
            }
            if bias:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in directions:
                named = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in named.items():
                    setattr(self, name, Parameter(empty(shape, dtype=dtype, device=device)))
                self._all_weights.append(list(named))
        self.reset_parameters()

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def reset_parameters(self) -> None:
        """Draw new parameters, uniform within ±1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: parameters need no common memory here."""

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raise ShapeError or InvalidValue unless the input fits the parameters."""
        dtype = getattr(self, self._all_weights[0][0]).dtype
        if input.dtype != dtype:
            raise InvalidValue(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). Convert "
                f"input: input.to({dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 3 if batch_sizes is None else 2
        if input.ndim != expected:
            raise ShapeError(f"input must have {expected} dimensions, got {input.ndim}")
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.shape[-1]}"
            )

    def get_expected_hidden_size(
        self, input: Tensor, batch_sizes: Tensor | None
    ) -> tuple[int, int, int]:
        """Return the shape of h: layers times directions, batch, size."""
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.shape[0 if self.batch_first else 1]
        return len(self._all_weights), batch, self.proj_size or self.hidden_size

    def check_hidden_size(
        self,
        hx: Tensor,
        expected_hidden_size: tuple[int, int, int],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        """Raise ShapeError unless a state has the expected shape."""
        if hx.shape != expected_hidden_size:
            raise ShapeError(msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raise ShapeError or InvalidValue unless input and state fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """Return the state with its sequences in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        plain = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False}
        for name, default in (plain | {"dropout": 0.0, "bidirectional": False}).items():
            value = getattr(self, name)
            text += f", {name}={value}" if value != default else ""
        return text

    def forward(self, input: Any, hx: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        name = self.mode.partition("_")[0]
        if input.ndim not in (2, 3):
            raise ShapeError(f"{name}: Expected input to be 2D or 3D, got {input.ndim}D instead")
        single, batch = input.ndim == 2, 0 if self.batch_first else 1
        if single:
            input = input.unsqueeze(batch)
        if hx is not None:
            hx = self._states(hx, single)
            self.check_forward_args(input, hx, None)
        else:
            self.check_input(input, None)
        if not self.batch_first:
            output, last = self._run(input, hx, None)
        else:
            output, last = self._run(input.transpose(0, 1), hx, None)
            output = output.transpose(0, 1)
        if not single:
            return output, last
        return output.squeeze(batch), self._each(last, lambda t: t.squeeze(1))

    def _packed(self, input: PackedSequence, hx: Any) -> Any:
        data, batch_sizes, order, back = input
        if hx is not None:
            hx = self.permute_hidden(hx, order)
            self.check_forward_args(data, hx, batch_sizes)
        else:
            self.check_input(data, batch_sizes)
        output, last = self._run(data, hx, batch_sizes.tolist())
        return type(input)(output, batch_sizes, order, back), self.permute_hidden(last, back)

    def _states(self, hx: Any, single: bool) -> Any:
        """Return the states with a batch."""
        for t in hx if isinstance(hx, tuple | list) else (hx,):
            if t.ndim != (2 if single else 3):
                kind = "unbatched 2-D" if single else "batched 3-D"
                raise ShapeError(
                    f"For {kind} input, hx should also be {kind[-3:]} but got {t.ndim}-D tensor"
                )
        return self._each(hx, lambda t: t.unsqueeze(1)) if single else hx

    @staticmethod
    def _each(state: Any, function: Any) -> Any:
        if isinstance(state, tuple | list):
            return tuple(map(function, state))
        return function(state)

    def _run(self, x: Tensor, hx: Any, batch_sizes: list[int] | None) -> tuple[Tensor, Any]:
        """Return the outputs of the last layer, and the last states of all."""
        several = self.mode == "LSTM"
        count = 2 if several else 1
        given = (None,) * count if hx is None else tuple(hx) if several else (hx,)
        first = [[None] * len(self._all_weights) if s is None else s.unbind(0) for s in given]
        last: list[list[Tensor]] = [[] for _ in given]
        directions = 2 if self.bidirectional else 1
        for layer in range(self.num_layers):
            outputs = []
            for reverse in range(directions):
                place = layer * directions + reverse
                weights = [getattr(self, name) for name in self._all_weights[place]]
                state = [s[place] for s in first]
                out, *new = _layer(self.mode, x, state, weights, batch_sizes, bool(reverse))
                outputs.append(out)
                for listed, s in zip(last, new, strict=True):
                    listed.append(s)
            x = FUNCTIONS["cat"](outputs, -1) if directions > 1 else outputs[0]
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        stacked = tuple(FUNCTIONS["stack"](listed) for listed in last)
        return x, stacked if several else stacked[0]


class RNN(RNNBase):
    """A recurrent layer: h' = tanh(W_ih x + b_ih + W_hh h + b_hh) (Elman, 1990).

    Takes sequences [T, N, input_size], or [N, T, input_size] with `batch_first`, [T, input_size],
    or a `PackedSequence`; and maybe the first h, [D * num_layers, N, hidden_size], zeros unless
    given. Returns the outputs of the last layer, [T, N, D * hidden_size] or as the input is, and
    the last h. D is 2 for `bidirectional`, else 1.

    Args:
        input_size: of an element.
        hidden_size: of h.
        num_layers: each reads the outputs of the one before.
        nonlinearity: "tanh", or "relu" in its place.
        bias: whether there are biases.
        batch_first: which of the first two dimensions of input and output is the batch.
        dropout: probability, of the outputs of all layers but the last.
        bidirectional: go through the sequence from both ends; outputs lie side by side.
        device: where parameters are made.
        dtype: of the parameters; the default float unless given.

    Raises:
        InvalidValue, DTypeError: for options that are not allowed.
        ShapeError: when an input does not fit.

    Example:
        >>> import talweg as tw
        >>> output, h = tw.nn.RNN(10, 20, 2)(tw.rand(5, 3, 10))
        >>> output.shape, h.shape
        ((5, 3, 20), (2, 3, 20))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: DType | None = None,
        *,
        proj_size: None = None,
    ) -> None:
        _no_projection(proj_size)
        if nonlinearity not in ("tanh", "relu"):
            raise InvalidValue(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        mode = f"RNN_{nonlinearity.upper()}"
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(mode, *sizes, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        self.nonlinearity = nonlinearity


def _no_projection(proj_size: object) -> None:
    if proj_size is not None:
        raise InvalidValue("proj_size argument is only supported for LSTM, not RNN or GRU")


class LSTM(RNNBase):
    """A layer with long short-term memory (Hochreiter and Schmidhuber, 1997).

    i, f, g, o = the parts of W_ih x + b_ih + W_hh h + b_hh;
    c' = sigmoid(f) * c + sigmoid(i) * tanh(g); h' = sigmoid(o) * tanh(c').

    Inputs and outputs are those of `RNN`, with a pair (h, c) as the state.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: see `RNN`.
        proj_size: when positive, h' is multiplied by a matrix W_hr, and has this size.
        device, dtype: of the parameters.

    Example:
        >>> import talweg as tw
        >>> output, (h, c) = tw.nn.LSTM(10, 20, bidirectional=True)(tw.rand(5, 3, 10))
        >>> output.shape, h.shape, c.shape
        ((5, 3, 40), (2, 3, 20), (2, 3, 20))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(
            "LSTM", *sizes, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        )

    def get_expected_cell_size(
        self, input: Tensor, batch_sizes: Tensor | None
    ) -> tuple[int, int, int]:
        """Return the shape of c: layers times directions, batch, hidden_size."""
        return (*self.get_expected_hidden_size(input, batch_sizes)[:2], self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raise ShapeError or InvalidValue unless input and state fit."""
        self.check_input(input, batch_sizes)
        for i, expected in enumerate(
            (
                self.get_expected_hidden_size(input, batch_sizes),
                self.get_expected_cell_size(input, batch_sizes),
            )
        ):
            message = f"Expected hidden[{i}] size {{}}, got {{}}"
            self.check_hidden_size(hidden[i], expected, message)

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """Return the states with their sequences in another order."""
        if permutation is None:
            return hx
        return hx[0].index_select(1, permutation), hx[1].index_select(1, permutation)


class GRU(RNNBase):
    """A layer of gated recurrent units (Cho et al., 2014).

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr), z likewise;
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn)); h' = (1 - z) * n + z * h.

    Inputs and outputs are those of `RNN`.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: see `RNN`.
        device, dtype: of the parameters.

    Example:
        >>> import talweg as tw
        >>> output, h = tw.nn.GRU(10, 20, batch_first=True)(tw.rand(3, 5, 10))
        >>> output.shape, h.shape
        ((3, 5, 20), (1, 3, 20))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: DType | None = None,
        *,
        proj_size: None = None,
    ) -> None:
        _no_projection(proj_size)
        sizes = (input_size, hidden_size, num_layers)
        super().__init__("GRU", *sizes, bias, batch_first, dropout, bidirectional, 0, device, dtype)
