"""Recurrent layers compute their formulas, over padded and packed batches."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.nn.utils import rnn

RNG = np.random.default_rng(5)
KINDS = ("RNN", "GRU", "LSTM")
INPUTS, HIDDEN = 3, 4


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def cell(kind: str, weights: dict[str, np.ndarray], x: np.ndarray, state: Any) -> Any:
    """One step, as the formulas say."""
    h = state[0]
    a = x @ weights["weight_ih"].T + weights.get("bias_ih", 0)
    u = h @ weights["weight_hh"].T + weights.get("bias_hh", 0)
    if kind == "RNN":
        return (np.tanh(a + u),)
    if kind == "GRU":
        (ar, az, an), (ur, uz, un) = np.split(a, 3, -1), np.split(u, 3, -1)
        r, z = sigmoid(ar + ur), sigmoid(az + uz)
        return ((1 - z) * np.tanh(an + r * un) + z * h,)
    i, f, g, o = np.split(a + u, 4, -1)
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (h @ weights["weight_hr"].T if "weight_hr" in weights else h), c


def layer(kind: str, net: Any, x: np.ndarray, state: list[np.ndarray]) -> Any:
    """All layers and directions over one sequence [T, inputs]; states are [layers, size]."""
    params = {k: p.detach().numpy() for k, p in net.named_parameters()}
    lasts = []
    for number in range(net.num_layers):
        outputs = []
        for suffix in ("", "_reverse")[: 2 if net.bidirectional else 1]:
            end = f"_l{number}{suffix}"
            weights = {k[: -len(end)]: v for k, v in params.items() if k.endswith(end)}
            s = tuple(part[len(lasts)] for part in state)
            rows = []
            for row in x[::-1] if suffix else x:
                s = cell(kind, weights, row, s)
                rows.append(s[0])
            outputs.append(np.stack(rows[::-1] if suffix else rows))
            lasts.append(s)
        x = np.concatenate(outputs, -1)
    return x, [np.stack(part) for part in zip(*lasts, strict=True)]


def states(net: Any, *batch: int) -> list[np.ndarray]:
    """Random first states."""
    count = net.num_layers * (2 if net.bidirectional else 1)
    widths = [net.proj_size or HIDDEN] + [HIDDEN] * (net.mode == "LSTM")
    return [RNG.standard_normal((count, *batch, width)) for width in widths]


def given(kind: str, state: list[np.ndarray]) -> Any:
    """The states as the layer takes them."""
    made = tuple(tw.tensor(s, requires_grad=True) for s in state)
    return made if kind == "LSTM" else made[0]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"num_layers": 2, "batch_first": True},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True},
]
CASES = [(kind, options) for kind in KINDS for options in OPTIONS]
CASES += [("LSTM", {"proj_size": 2, "bidirectional": True, "num_layers": 2})]


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_a_layer_computes_its_formula(kind: str, options: dict[str, Any]) -> None:
    net = getattr(nn, kind)(INPUTS, HIDDEN, **options).double()
    x = RNG.standard_normal((5, 2, INPUTS))
    state = states(net, 2)
    turned = net.batch_first
    output, last = net(tw.tensor(x.swapaxes(0, 1) if turned else x), given(kind, state))
    got = output.detach().numpy()
    for n in range(2):
        wanted, ends = layer(kind, net, x[:, n], [s[:, n] for s in state])
        np.testing.assert_allclose((got.swapaxes(0, 1) if turned else got)[:, n], wanted)
        for a, b in zip(last if kind == "LSTM" else (last,), ends, strict=True):
            np.testing.assert_allclose(a.detach().numpy()[:, n], b)


@pytest.mark.parametrize(("kind", "options"), CASES)
@pytest.mark.parametrize("lengths", [[4, 4, 2, 1], [1, 3, 5, 2]])
def test_a_packed_batch_is_its_sequences(
    kind: str, options: dict[str, Any], lengths: list[int]
) -> None:
    net = getattr(nn, kind)(INPUTS, HIDDEN, **options).double()
    state = states(net, len(lengths))
    sequences = [RNG.standard_normal((n, INPUTS)) for n in lengths]
    in_order = lengths == sorted(lengths, reverse=True)
    packed = rnn.pack_sequence([tw.tensor(s) for s in sequences], enforce_sorted=in_order)
    output, last = net(packed, given(kind, state))
    assert isinstance(output, rnn.PackedSequence)
    for n, got in enumerate(rnn.unpack_sequence(output)):
        wanted, ends = layer(kind, net, sequences[n], [s[:, n] for s in state])
        np.testing.assert_allclose(got.detach().numpy(), wanted)
        for a, b in zip(last if kind == "LSTM" else (last,), ends, strict=True):
            np.testing.assert_allclose(a.detach().numpy()[:, n], b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [None, [3, 2, 2]])
def test_gradients(kind: str, lengths: list[int] | None) -> None:
    net = getattr(nn, kind)(2, 2, bidirectional=True).double()
    names = [name for name, _ in net.named_parameters()]
    x = tw.tensor(RNG.standard_normal((3, 3, 2)), requires_grad=True)
    width = len(states(net, 3))
    first = [tw.tensor(RNG.standard_normal((2, 3, 2)), requires_grad=True) for _ in range(width)]

    def call(x: tw.Tensor, *rest: tw.Tensor) -> Any:
        net._parameters.update(zip(names, rest[width:], strict=True))
        state = rest[:width] if kind == "LSTM" else rest[0]
        if lengths is None:
            return net(x, state)[0]
        return net(rnn.pack_padded_sequence(x, lengths), state)[0].data

    assert tw.autograd.gradcheck(call, (x, *first, *list(net.parameters())))


def test_the_second_order() -> None:
    net = nn.GRU(2, 2).double()
    x = tw.tensor(RNG.standard_normal((3, 1, 2)), requires_grad=True)
    assert tw.autograd.gradgradcheck(lambda x: net(x)[0], (x,))


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_zeros_unless_given(kind: str) -> None:
    net = getattr(nn, kind)(INPUTS, HIDDEN, 2)
    x = tw.rand(5, 2, INPUTS)
    zeros = tw.zeros(2, 2, HIDDEN)
    expected = net(x, (zeros, zeros) if kind == "LSTM" else zeros)[0]
    assert tw.equal(net(x)[0], expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_without_a_batch(kind: str, batch_first: bool) -> None:
    net = getattr(nn, kind)(INPUTS, HIDDEN, 2, batch_first=batch_first).double()
    x, state = tw.tensor(RNG.standard_normal((5, INPUTS))), states(net)
    output, last = net(x, given(kind, state))
    wanted, ends = layer(kind, net, x.numpy(), state)
    np.testing.assert_allclose(output.detach().numpy(), wanted)
    for a, b in zip(last if kind == "LSTM" else (last,), ends, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b)


def test_relu_in_place_of_tanh() -> None:
    net = nn.RNN(INPUTS, HIDDEN, nonlinearity="relu", bias=False).double()
    x = tw.tensor(RNG.standard_normal((1, 2, INPUTS)))
    wanted = np.maximum(x.numpy()[0] @ net.weight_ih_l0.detach().numpy().T, 0)
    np.testing.assert_allclose(net(x)[0].detach().numpy()[0], wanted)
    cell = nn.RNNCell(INPUTS, HIDDEN, bias=False, nonlinearity="relu").double()
    cell.load_state_dict({k[:-3]: v for k, v in net.state_dict().items()})
    np.testing.assert_allclose(cell(x[0]).detach().numpy(), wanted)


@pytest.mark.parametrize(
    ("kind", "cell"), list(zip(KINDS, (nn.RNNCell, nn.GRUCell, nn.LSTMCell), strict=True))
)
@pytest.mark.parametrize("bias", [True, False])
def test_cells_in_a_loop_are_the_layer(kind: str, cell: type[nn.RNNCellBase], bias: bool) -> None:
    net = getattr(nn, kind)(INPUTS, HIDDEN, bias=bias)
    make: Any = cell
    one = make(INPUTS, HIDDEN, bias=bias)
    one.load_state_dict({k.removesuffix("_l0"): v for k, v in net.state_dict().items()})
    x = tw.rand(4, 2, INPUTS)
    state: Any = None
    for row in x:
        state = one(row, state)
    expected = net(x)[1]
    for a, b in zip(*((s if kind == "LSTM" else (s,)) for s in (state, expected)), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy()[0], rtol=1e-6)
    alone = one(x[0, 0])
    batch = one(x[0, :1])
    alone, batch = (s[0] if kind == "LSTM" else s for s in (alone, batch))
    np.testing.assert_allclose(alone.detach().numpy(), batch.detach().numpy()[0], rtol=1e-6)


def test_dropout_is_between_layers_in_training() -> None:
    net = nn.GRU(INPUTS, HIDDEN, 2, dropout=1.0)
    x = tw.rand(5, 2, INPUTS)
    silent = net(tw.rand(5, 2, INPUTS))[0]
    assert tw.equal(net(x)[0], silent), "nothing of the first layer's outputs is left"
    net.eval()
    assert not tw.equal(net(x)[0], net(tw.rand(5, 2, INPUTS))[0])
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        nn.GRU(3, 4, dropout=0.5)


def test_names_shapes_and_spread_of_parameters() -> None:
    net = nn.LSTM(3, 16, 2, bidirectional=True, proj_size=5)
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items()}
    assert shapes["weight_ih_l0_reverse"] == (64, 3)
    assert shapes["weight_ih_l1"] == (64, 10)
    assert shapes["weight_hh_l1_reverse"] == (64, 5)
    assert shapes["bias_hh_l1"] == (64,)
    assert shapes["weight_hr_l0"] == (5, 16)
    assert len(shapes) == 20
    assert [len(w) for w in net.all_weights] == [5, 5, 5, 5]
    values = np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])
    assert 0.24 < values.max() <= 0.25
    assert -0.25 <= values.min() < -0.24
    net.flatten_parameters()


@pytest.mark.parametrize("kind", KINDS)
def test_other_lengths_need_no_other_kernels(kind: str) -> None:
    net = getattr(nn, kind)(8, 24, bidirectional=True)
    optimizer = tw.optim.SGD(net.parameters(), lr=0.1)

    def step(length: int) -> None:
        optimizer.zero_grad()
        output, _ = net(tw.rand(length, 4, 8))
        (output * output).sum().backward()
        optimizer.step()
        net.weight_hh_l0.sum().item()

    for length in (23, 60):
        step(length)
    before = tw.counters()
    for length in (38, 59, 31):
        step(length)
    assert tw.counters().compiled == before.compiled


def test_compiled() -> None:
    net = nn.LSTM(INPUTS, HIDDEN, 2)
    run = tw.compile(lambda x: net(x)[0])
    for _ in range(4):
        x = tw.rand(6, 2, INPUTS)
        np.testing.assert_allclose(run(x).detach().numpy(), net(x)[0].detach().numpy(), rtol=1e-5)
    assert run.reports[-1].replays, run.explain()


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"dropout": 2}, InvalidValue, "range [0, 1]"),
    ({"dropout": True}, InvalidValue, "range [0, 1]"),
    ({"bias": 1}, DTypeError, "bias should be of type bool, got: int"),
    ({"batch_first": 1}, DTypeError, "batch_first should be of type bool"),
    ({"input_size": 3.0}, DTypeError, "input_size should be of type int, got: float"),
    ({"hidden_size": 0}, InvalidValue, "hidden_size must be greater than zero"),
    ({"num_layers": 0}, InvalidValue, "num_layers must be greater than zero"),
    ({"proj_size": -1}, InvalidValue, "proj_size should be a positive integer"),
    ({"proj_size": 4}, InvalidValue, "proj_size has to be smaller"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS)
def test_wrong_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        nn.LSTM(**({"input_size": 3, "hidden_size": 4} | options))


def test_wrong_inputs() -> None:
    net = nn.LSTM(3, 4)
    h = tw.zeros(1, 2, 4)
    x = tw.zeros(5, 2, 3)
    for call, message in (
        (lambda: net(tw.zeros(3)), "LSTM: Expected input to be 2D or 3D, got 1D"),
        (lambda: net(tw.zeros(5, 2, 2)), "Expected 3, got 2"),
        (
            lambda: net(x, (tw.zeros(1, 3, 4), h)),
            "Expected hidden[0] size (1, 2, 4)",
        ),
        (lambda: net(x, (h, tw.zeros(1, 4))), "hx should also be 3-D but got 2-D tensor"),
        (lambda: net(x[:, 0], (h, h)), "hx should also be 2-D but got 3-D tensor"),
        (lambda: net(tw.zeros(0, 2, 3)), "sequence length to be larger than 0"),
        (lambda: net(rnn.pack_sequence([x]), (h, h)), "input must have 2 dimensions, got 3"),
        (lambda: nn.GRUCell(3, 4)(tw.zeros(2, 2)), "got 2, expected 3"),
        (lambda: nn.GRUCell(3, 4)(tw.zeros(2, 3), tw.zeros(3, 4)), "(2, 4), got (3, 4)"),
        (lambda: nn.GRUCell(3, 4)(tw.zeros(2, 2, 3)), "Expected input to be 1D or 2D, got 3D"),
        (lambda: nn.GRUCell(3, 4)(x[0], x), "Expected hidden to be 1D or 2D, got 3D"),
    ):
        with pytest.raises(ShapeError, match=re.escape(message)):
            call()
    with pytest.raises(InvalidValue, match=re.escape("model.to(talweg.float64)")):
        net(x.double())
    with pytest.raises(InvalidValue, match="Unknown nonlinearity 'sin'"):
        nn.RNN(3, 4, nonlinearity="sin")
    with pytest.raises(InvalidValue, match="Unknown nonlinearity: sin"):
        nn.RNNCell(3, 4, nonlinearity="sin")(tw.zeros(2, 3))
    with pytest.raises(InvalidValue, match="only supported for LSTM"):
        nn.GRU(3, 4, proj_size=2)
    with pytest.raises(InvalidValue, match="Unrecognized RNN mode: GRUU"):
        nn.RNNBase("GRUU", 3, 4)


class TestPacking:
    sequences = (tw.tensor([[1, 2], [3, 4]]), tw.tensor([[5, 6]]), tw.tensor([[7, 8]] * 3))

    def test_there_and_back(self) -> None:
        packed = rnn.pack_sequence(self.sequences, enforce_sorted=False)
        assert packed.data[:, 0].tolist() == [7, 1, 5, 7, 3, 7]
        assert packed.batch_sizes.tolist() == [3, 2, 1]
        assert packed.sorted_indices.tolist() == [2, 0, 1]
        assert packed.unsorted_indices.tolist() == [1, 2, 0]
        for a, b in zip(rnn.unpack_sequence(packed), self.sequences, strict=True):
            assert a.tolist() == b.tolist()

    @pytest.mark.parametrize("batch_first", [False, True])
    def test_padding(self, batch_first: bool) -> None:
        packed = rnn.pack_sequence(self.sequences, enforce_sorted=False)
        padded, lengths = rnn.pad_packed_sequence(packed, batch_first, -1, total_length=4)
        assert lengths.tolist() == [2, 1, 3]
        rows = padded if batch_first else padded.transpose(0, 1)
        assert rows[:, :, 1].tolist() == [[2, 4, -1, -1], [6, -1, -1, -1], [8, 8, 8, -1]]
        again = rnn.pack_padded_sequence(padded, lengths, batch_first, enforce_sorted=False)
        assert again.data.tolist() == packed.data.tolist()

    def test_sides(self) -> None:
        rows = [t[:, 0] for t in self.sequences]
        left = rnn.pad_sequence(rows, batch_first=True, padding_side="left", padding_value=9)
        assert left.tolist() == [[9, 1, 3], [9, 9, 5], [7, 7, 7]]
        assert rnn.pad_sequence(rows).tolist() == [[1, 5, 7], [3, 0, 7], [0, 0, 7]]

    def test_equal_lengths_are_only_turned(self) -> None:
        x = tw.rand(3, 2, 4)
        packed = rnn.pack_padded_sequence(x, [3, 3])
        assert packed.data.data_ptr() == x.data_ptr()
        assert tw.equal(rnn.pad_packed_sequence(packed)[0], x)

    def test_conversion(self) -> None:
        packed = rnn.pack_sequence(self.sequences, enforce_sorted=False)
        assert packed.double().data.dtype == tw.float64
        assert packed.half().int().data.dtype == tw.int32
        assert packed.long() is packed
        assert packed.float().sorted_indices is packed.sorted_indices
        pair = rnn.PackedSequence((packed.data, packed.batch_sizes))
        assert pair.unsorted_indices is None

    def test_mistakes(self) -> None:
        x = tw.ones(4, 3)
        for call, error, message in (
            (lambda: rnn.pack_padded_sequence(x, [2, 4, 1]), InvalidValue, "enforce_sorted=False"),
            (lambda: rnn.pack_padded_sequence(x, [4, 2, 0]), InvalidValue, "greater than 0"),
            (lambda: rnn.pack_padded_sequence(x, [5, 2, 1]), ShapeError, "exceed"),
            (lambda: rnn.pack_padded_sequence(x, [4, 2]), ShapeError, "(batch_size=3)"),
            (lambda: rnn.pack_padded_sequence(x, tw.tensor(3)), ShapeError, "got 0D"),
            (lambda: rnn.pack_padded_sequence(tw.ones(0, 3), [0] * 3), ShapeError, "empty"),
            (lambda: rnn.pack_padded_sequence(tw.ones(3), [3]), ShapeError, "(3,)"),
            (lambda: rnn.pad_sequence([]), InvalidValue, "empty list"),
            (lambda: rnn.pad_sequence(3), InvalidValue, "Expected iterable"),  # type: ignore[arg-type]
            (lambda: rnn.pad_sequence([x], padding_side="up"), InvalidValue, "left or right"),
            (lambda: rnn.pad_sequence([x, x[:, :2]]), ShapeError, "(4, 2)"),
            (
                lambda: rnn.pad_packed_sequence(rnn.pack_sequence([x]), total_length=3),
                InvalidValue,
                "total_length=3 and max sequence length being 4",
            ),
            (lambda: rnn.PackedSequence(x), InvalidValue, "length 2"),
        ):
            with pytest.raises(error, match=re.escape(message)):
                call()
