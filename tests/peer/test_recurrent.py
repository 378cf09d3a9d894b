"""Recurrent layers beside PyTorch's: padded and packed, with the gradients of all that goes in."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from peer import Inputs, close, copied, torch

import talweg as tw

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning"),
]

D = Inputs(4)
N, T, INPUTS, HIDDEN = 4, 5, 3, 4
LENGTHS = {"padded": None, "sorted": [5, 3, 3, 1], "unsorted": [1, 5, 2, 3]}

LAYERS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {"num_layers": n}) for kind, n in product(("RNN", "GRU", "LSTM"), (1, 2))),
    *((kind, {"bidirectional": True, "num_layers": 2}) for kind in ("RNN", "GRU", "LSTM")),
    *((kind, {"bias": False, "batch_first": True}) for kind in ("RNN", "GRU", "LSTM")),
    ("RNN", {"nonlinearity": "relu", "batch_first": True}),
    ("LSTM", {"proj_size": 2}),
    ("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True, "bias": False}),
]


def run(library: Any, net: Any, kind: str, lengths: list[int] | None, state: bool) -> list[Any]:
    """Return outputs, last states and all gradients."""
    rnn = library.nn.utils.rnn
    draws = Inputs(9)
    x = library.tensor(draws.real(N, T, INPUTS) if net.batch_first else draws.real(T, N, INPUTS))
    count = len(net.all_weights)
    widths = [net.proj_size or HIDDEN, HIDDEN][: 1 + (kind == "LSTM")]
    first = [library.tensor(draws.real(count, N, width)) for width in widths]
    leaves = [t.requires_grad_() for t in (x, *first)]
    given = None if not state else tuple(first) if kind == "LSTM" else first[0]
    if lengths is None:
        output, last = net(x, given)
    else:
        packed = rnn.pack_padded_sequence(
            x, lengths, net.batch_first, enforce_sorted=lengths[0] == T
        )
        output, last = net(packed, given)
        output, found = rnn.pad_packed_sequence(output, net.batch_first, 0.5, total_length=T + 1)
        assert found.tolist() == lengths
    results = [output, *(last if kind == "LSTM" else (last,))]
    library.autograd.backward([r.sin().sum() for r in results])
    gradients = [t.grad for t in leaves if t.grad is not None]
    return [*results, *gradients, *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("state", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_a_recurrent_layer_equals_pytorchs(
    kind: str, options: dict[str, Any], lengths: str, state: bool
) -> None:
    ours, theirs = copied(lambda nn: getattr(nn, kind)(INPUTS, HIDDEN, **options))
    assert repr(ours) == repr(theirs)
    sides = [
        run(library, net, kind, LENGTHS[lengths], state)
        for library, net in ((tw, ours), (torch, theirs))
    ]
    for i, (a, b) in enumerate(zip(*sides, strict=True)):
        close(a, b, 16, f"value {i}")


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_cell_equals_pytorchs(kind: str, bias: bool, single: bool) -> None:
    ours, theirs = copied(lambda nn: getattr(nn, f"{kind}Cell")(INPUTS, HIDDEN, bias))
    assert repr(ours) == repr(theirs)
    shape = () if single else (N,)
    x, h, c = D.real(*shape, INPUTS), D.real(*shape, HIDDEN), D.real(*shape, HIDDEN)
    for state in (False, True):
        sides = []
        for library, net in ((tw, ours), (torch, theirs)):
            leaves = [library.tensor(a).requires_grad_() for a in (x, h, c)]
            given = None if not state else tuple(leaves[1:]) if kind == "LSTM" else leaves[1]
            new = net(leaves[0], given)
            results = new if isinstance(new, tuple) else (new,)
            net.zero_grad()
            library.autograd.backward([r.sin().sum() for r in results])
            gradients = [t.grad for t in leaves if t.grad is not None]
            sides.append([*results, *gradients, *(p.grad for p in net.parameters())])
        for a, b in zip(*sides, strict=True):
            close(a, b, 16, kind)


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_first_weights_have_pytorchs_spread(kind: str, options: dict[str, Any]) -> None:
    ours, theirs = (getattr(T.nn, kind)(16, 32, **options) for T in (tw, torch))
    for (a, p), (b, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert a == b
        assert 0.6 < p.std().item() / q.std().item() < 1.6


def rows(T: Any) -> list[Any]:
    """Return sequences of different lengths."""
    return [T.tensor(a) for a in (Inputs(1).real(n, 2) for n in (2, 4, 1))]


SEQUENCES: dict[str, Callable[[Any, Any], Any]] = {
    "pad": lambda T, rnn: rnn.pad_sequence(rows(T), padding_value=0.5),
    "pad left": lambda T, rnn: rnn.pad_sequence(rows(T), True, padding_side="left"),
    "pad to the first dtype": lambda T, rnn: rnn.pad_sequence([T.ones(2), T.ones(3).long()]),
    "pad rows": lambda T, rnn: rnn.pad_sequence(T.ones(2, 3)),
    "pack": lambda T, rnn: rnn.pack_sequence(rows(T), enforce_sorted=False),
    "pack ties": lambda T, rnn: rnn.pack_padded_sequence(
        T.ones(4, 3), [2, 4, 2], enforce_sorted=False
    ),
    "pack a short one": lambda T, rnn: rnn.pack_padded_sequence(T.ones(4, 3), [3, 2, 1]),
    "pack by floats": lambda T, rnn: rnn.pack_padded_sequence(
        T.ones(3, 4), T.tensor([4.0, 2.0, 1.0]), batch_first=True
    ),
    "unpack": lambda T, rnn: rnn.unpack_sequence(rnn.pack_sequence(rows(T), enforce_sorted=False)),
    "unpad": lambda T, rnn: rnn.unpad_sequence(rnn.pad_sequence(rows(T)), T.tensor([2, 4, 1])),
    "invert": lambda T, rnn: rnn.invert_permutation(T.tensor([2, 0, 3, 1])),
    "convert": lambda T, rnn: rnn.pack_sequence(rows(T), enforce_sorted=False).double(),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences(name: str) -> None:
    sides = [SEQUENCES[name](T, T.nn.utils.rnn) for T in (tw, torch)]
    listed = [s if isinstance(s, list | tuple) else [s] for s in sides]
    for a, b in zip(*listed, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            close(a, b, 1, name)


def ones(T: Any, *shape: int) -> Any:
    return T.ones(*shape)


MISTAKES: dict[str, Callable[[Any], Any]] = {
    "unsorted": lambda T: T.nn.utils.rnn.pack_padded_sequence(ones(T, 4, 3), [2, 4, 1]),
    "length 0": lambda T: T.nn.utils.rnn.pack_padded_sequence(ones(T, 4, 3), [4, 2, 0]),
    "lengths": lambda T: T.nn.utils.rnn.pack_padded_sequence(ones(T, 4, 3), [4, 2]),
    "empty": lambda T: T.nn.utils.rnn.pack_padded_sequence(ones(T, 0, 3), [0, 0, 0]),
    "total length": lambda T: T.nn.utils.rnn.pad_packed_sequence(
        T.nn.utils.rnn.pack_sequence([ones(T, 3)]), total_length=2
    ),
    "no sequences": lambda T: T.nn.utils.rnn.pad_sequence([]),
    "side": lambda T: T.nn.utils.rnn.pad_sequence([ones(T, 2)], padding_side="up"),
    "dtype": lambda T: T.nn.LSTM(3, 4)(ones(T, 2, 1, 3).double()),
    "size": lambda T: T.nn.LSTM(3, 4)(ones(T, 2, 1, 2)),
    "rank": lambda T: T.nn.LSTM(3, 4)(ones(T, 2, 1, 2, 3)),
    "no steps": lambda T: T.nn.LSTM(3, 4)(ones(T, 0, 1, 3)),
    "state": lambda T: T.nn.LSTM(3, 4)(ones(T, 2, 1, 3), (ones(T, 1, 2, 4), ones(T, 1, 1, 4))),
    "state's rank": lambda T: T.nn.GRU(3, 4)(ones(T, 2, 1, 3), ones(T, 1, 4)),
    "packed state": lambda T: T.nn.GRU(3, 4)(
        T.nn.utils.rnn.pack_sequence([ones(T, 2, 3)]), ones(T, 1, 3, 4)
    ),
    "cell's size": lambda T: T.nn.LSTMCell(3, 4)(ones(T, 2, 2)),
    "cell's rank": lambda T: T.nn.LSTMCell(3, 4)(ones(T, 2, 3, 3)),
    "cell's state": lambda T: T.nn.GRUCell(3, 4)(ones(T, 2, 3), ones(T, 2, 5)),
    "cell's nonlinearity": lambda T: T.nn.RNNCell(3, 4, nonlinearity="x")(ones(T, 2, 3)),
    "nonlinearity": lambda T: T.nn.RNN(3, 4, nonlinearity="x"),
    "projection": lambda T: T.nn.GRU(3, 4, proj_size=2),
    "dropout": lambda T: T.nn.LSTM(3, 4, dropout=2),
    "layers": lambda T: T.nn.LSTM(3, 4, 0),
    "bias": lambda T: T.nn.LSTM(3, 4, bias=1),
    "projection's size": lambda T: T.nn.LSTM(3, 4, proj_size=4),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_raise_what_pytorch_raises(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        MISTAKES[name](torch)
    with pytest.raises(theirs.type):
        MISTAKES[name](tw)


def test_equal_batches_and_states_of_no_sequences() -> None:
    ours, theirs = copied(lambda nn: nn.GRU(3, 4, bidirectional=True))
    for a, b in zip(ours(tw.ones(2, 0, 3)), theirs(torch.ones(2, 0, 3)), strict=True):
        close(a, b, 1, "empty batch")
    assert np.shape(ours(tw.ones(2, 0, 3))[0]) == (2, 0, 8)
