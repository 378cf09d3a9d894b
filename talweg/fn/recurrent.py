"""Recurrent layers and their cells, over one direction of a batch of sequences.

The products with the inputs of all steps are one product; each step adds its product with the
state. Gates lie side by side: i, f, g, o for LSTM, r, z, n for GRU.

Several steps of one batch are a `Recurrence`: a step is recorded, differentiated and planned once,
however many there are. Where sequences end before others, steps differ and are recorded one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TypeAlias, final

from talweg.base.errors import InvalidValue, ShapeError
from talweg.fn.dense import linear
from talweg.fn.math import relu
from talweg.fn.promotion import expand_to, full
from talweg.fn.views import slice_axis
from talweg.ir.build import Builder
from talweg.ir.closed import close
from talweg.ir.node import Graph, Node, input_node
from talweg.ops.recurrence import recurrence

State: TypeAlias = tuple[Node, ...]


def _gates(b: Builder, x: Node, width: int, count: int) -> list[Node]:
    return [slice_axis(b, x, 1, i * width, (i + 1) * width) for i in range(count)]


def _tanh_step(b: Builder, x: Node, h: Node, state: State) -> State:
    return (b.tanh(b.add(x, h)),)


def _relu_step(b: Builder, x: Node, h: Node, state: State) -> State:
    return (relu(b, b.add(x, h)),)


def _lstm_step(b: Builder, x: Node, h: Node, state: State) -> State:
    memory = state[1]
    i, f, g, o = _gates(b, b.add(x, h), memory.shape[1], 4)
    kept = b.mul(b.sigmoid(f), memory)
    memory = b.add(kept, b.mul(b.sigmoid(i), b.tanh(g)))
    return b.mul(b.sigmoid(o), b.tanh(memory)), memory


def _gru_step(b: Builder, x: Node, h: Node, state: State) -> State:
    before = state[0]
    width = before.shape[1]
    (x_r, x_z, x_n), (h_r, h_z, h_n) = _gates(b, x, width, 3), _gates(b, h, width, 3)
    reset, update = b.sigmoid(b.add(x_r, h_r)), b.sigmoid(b.add(x_z, h_z))
    new = b.tanh(b.add(x_n, b.mul(reset, h_n)))
    return (b.add(b.mul(b.sub(before, new), update), new),)


_STEPS: dict[str, tuple[Callable[[Builder, Node, Node, State], State], int]] = {
    "RNN_TANH": (_tanh_step, 1),
    "RNN_RELU": (_relu_step, 1),
    "LSTM": (_lstm_step, 4),
    "GRU": (_gru_step, 3),
}


@final
class _Cell:
    """One step of one direction.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        weights: of input and state, their biases if any, and the projection of h if any.
    """

    def __init__(self, b: Builder, mode: str, weights: Sequence[Node]) -> None:
        if mode not in _STEPS:
            raise InvalidValue(f"Unrecognized RNN mode: {mode}")
        self.b = b
        self.step, self.count = _STEPS[mode]
        self.weight_ih, weight_hh, *rest = weights
        self.weight_hh = weight_hh
        self.recurrent = b.permute(weight_hh, (1, 0))
        self.biases = rest[:2] if len(rest) > 1 else None
        self.projection = b.permute(rest[-1], (1, 0)) if len(rest) % 2 else None
        self.merged = mode != "GRU"
        self.added: Node | None = None  # to the products with the state, for the rows of all steps

    def first(self, rows: int, state: Sequence[Node | None]) -> State:
        """Return the first state, zeros where it is None.

        Raises:
            ShapeError: when it has another shape.
        """
        count, hidden = self.weight_hh.shape
        shapes = (rows, hidden), (rows, count // self.count)
        found = []
        for shape, given in zip(shapes, state, strict=False):
            if given is None:
                found.append(full(self.b, shape, 0, self.weight_hh.dtype))
            elif given.shape == shape:
                found.append(given)
            else:
                raise ShapeError(f"Expected hidden size {shape}, got {given.shape}")
        return tuple(found)

    def inputs(self, x: Node) -> Node:
        """Return what the gates take from the inputs of all steps, in rows."""
        b = self.b
        if self.biases is None:
            return linear(b, x, self.weight_ih)
        first, second = self.biases
        return linear(b, x, self.weight_ih, b.add(first, second) if self.merged else first)

    def spread(self, rows: int) -> Node | None:
        """Return what is added to the products with the state, for some rows, if anything."""
        if self.biases is None or self.merged:
            return None
        bias = self.biases[1]
        return expand_to(self.b, bias, (rows, bias.shape[0]))

    def __call__(self, x: Node, start: int, stop: int, state: State) -> State:
        """Return the next state.

        Args:
            x: what the gates take from the inputs of all steps.
            start, stop: the rows of this step.
            state: h, and for LSTM c.
        """
        b, added = self.b, self.added
        rows = None if added is None else slice_axis(b, added, 0, start, stop)
        return self.after(slice_axis(b, x, 0, start, stop), rows, state)

    def after(self, x: Node, added: Node | None, state: State) -> State:
        """Return the next state.

        Args:
            x: what the gates take from the inputs of this step.
            added: what is added to the product with the state, if anything.
            state: h, and for LSTM c.
        """
        b = self.b
        h = b.dot(state[0], self.recurrent)
        new = self.step(b, x, h if added is None else b.add(h, added), state)
        if self.projection is None:
            return new
        return b.dot(new[0], self.projection), *new[1:]


def recurrent_cell(
    b: Builder, mode: str, input: Node, state: Sequence[Node | None], weights: Sequence[Node]
) -> Node | tuple[Node, ...]:
    """Return the state after one step.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "LSTM" (Hochreiter and Schmidhuber, 1997) or "GRU" (Cho et
            al., 2014).
        input: [N, inputs].
        state: h [N, hidden], for LSTM also c; None stands for zeros.
        weights: [gates * hidden, inputs] and [gates * hidden, hidden]; their biases, if any.

    Returns:
        h, or for LSTM (h, c).

    Raises:
        ShapeError: when sizes do not fit.
    """
    cell = _Cell(b, mode, weights)
    if input.shape[-1] != cell.weight_ih.shape[1]:
        raise ShapeError(
            f"input has inconsistent input_size: got {input.shape[-1]}, expected "
            f"{cell.weight_ih.shape[1]}"
        )
    rows = input.shape[0]
    new = cell.after(cell.inputs(input), cell.spread(rows), cell.first(rows, state))
    return new if len(new) > 1 else new[0]


def recurrent_layer(
    b: Builder,
    mode: str,
    input: Node,
    state: Sequence[Node | None],
    weights: Sequence[Node],
    batch_sizes: Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Node, ...]:
    """Return the outputs of all steps, and the state after the last one.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        input: [T, N, inputs]; or [sum of batch_sizes, inputs], the rows of the first step first.
        state: h before the first step, [N, hidden], for LSTM also c; None stands for zeros.
        weights: of input and state, their biases if any, and for LSTM maybe a projection of h.
        batch_sizes: how many sequences are as long as each step; they decrease.
        reverse: go from the last step to the first.

    Returns:
        Outputs, shaped as the input; h, and for LSTM c, of shape [N, hidden].
    """
    cell = _Cell(b, mode, weights)
    sizes = [input.shape[1]] * input.shape[0] if batch_sizes is None else list(batch_sizes)
    if not sizes:
        raise ShapeError(f"Expected sequence length to be larger than 0 in RNN, got {input.shape}")
    rows = b.reshape(input, (sum(sizes), input.shape[-1])) if batch_sizes is None else input
    first = cell.first(sizes[0], state)
    gates = cell.inputs(rows)
    if batch_sizes is None and len(sizes) > 1:
        gates = b.reshape(gates, (*input.shape[:2], gates.shape[1]))
        return _looped(b, mode, gates, first, weights, reverse)
    cell.added = cell.spread(rows.shape[0])
    run = _backwards if reverse else _forwards
    outputs, last = run(b, cell, gates, first, sizes)
    out = _joined(b, outputs)
    if batch_sizes is None:
        out = b.reshape(out, (*input.shape[:2], out.shape[1]))
    return out, *last


def _looped(
    b: Builder, mode: str, x: Node, first: State, weights: Sequence[Node], reverse: bool
) -> tuple[Node, ...]:
    """Return the outputs of steps that are all alike, and the last state.

    Args:
        x: what the gates take from the inputs, [T, N, gates].
        first: the state before.
    """
    state = tuple(input_node(s.type) for s in first)
    row = input_node(x.type.with_shape(x.shape[1:]))
    own = [input_node(w.type) for w in weights]
    cell = _Cell(b.apart(), mode, own)
    new = cell.after(row, cell.spread(row.shape[0]), state)
    used = {i for n in Graph((*state, row, *own), new).order for i in n.inputs}
    read = [n for n, node in enumerate(own) if node in used]
    graph, data = close(Graph((*state, row, *[own[n] for n in read]), (*new, new[0])))
    operands = (*first, x, *[weights[n] for n in read], *data)
    *last, out = recurrence(b, graph, operands, len(first), 1, reverse)
    return out, *last


def _joined(b: Builder, parts: Sequence[Node]) -> Node:
    """Return parts one behind the other; two or four at a time, so that all lengths are alike."""
    while len(parts) > 1:
        cuts = [*range(0, len(parts) - 3, 4), *range(len(parts) & ~3, len(parts), 2), len(parts)]
        parts = [b.concat(*parts[i:j], 0) if j - i > 1 else parts[i] for i, j in pairwise(cuts)]
    return parts[0]


def _forwards(
    b: Builder, cell: _Cell, x: Node, state: State, sizes: Sequence[int]
) -> tuple[list[Node], State]:
    """Sequences leave the batch, the last ones first."""
    outputs: list[Node] = []
    ended: list[State] = []
    for stop, rows in zip(accumulate(sizes), sizes, strict=True):
        present = state[0].shape[0]
        if rows < present:
            ended.append(tuple(slice_axis(b, s, 0, rows, present) for s in state))
            state = tuple(slice_axis(b, s, 0, 0, rows) for s in state)
        state = cell(x, stop - rows, stop, state)
        outputs.append(state[0])
    parts = [state, *reversed(ended)]
    return outputs, tuple(_joined(b, s) for s in zip(*parts, strict=True))


def _backwards(
    b: Builder, cell: _Cell, x: Node, first: State, sizes: Sequence[int]
) -> tuple[list[Node], State]:
    """Sequences join the batch with their first state, the longest ones first."""
    outputs: list[Node] = []
    state = tuple(slice_axis(b, s, 0, 0, sizes[-1]) for s in first)
    stop = x.shape[0]
    for rows in reversed(sizes):
        present = state[0].shape[0]
        if rows > present:
            joining = [slice_axis(b, s, 0, present, rows) for s in first]
            state = tuple(b.concat(s, new, 0) for s, new in zip(state, joining, strict=True))
        state = cell(x, stop - rows, stop, state)
        stop -= rows
        outputs.append(state[0])
    return outputs[::-1], state
