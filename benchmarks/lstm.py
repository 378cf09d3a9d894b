"""An LSTM of 256 hidden units: a training step on 64 x 32 inputs; generation one step at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Arrays, Case, Network, Sgd, Stepwise, Training


def cell(f: Any, gates: Any, memory: Any) -> tuple[Any, Any]:
    """Return the new output and memory cell from the four gates' sums, by the functions of `f`."""
    width = memory.shape[-1]
    i, o = f.sigmoid(gates[:, :width]), f.sigmoid(gates[:, 3 * width :])
    forget = f.sigmoid(gates[:, width : 2 * width])
    memory = forget * memory + i * f.tanh(gates[:, 2 * width : 3 * width])
    return o * f.tanh(memory), memory


def modules(tw: Any) -> tuple[Any, Any]:
    """Return the layer over a sequence and the layer for one step.

    PyTorch's own where it has them, else of basic operations; names of parameters are the same.
    """
    nn = tw.nn
    if hasattr(nn, "LSTM"):
        return nn.LSTM, nn.LSTMCell

    class Cell(nn.Module):  # type: ignore[misc,name-defined]
        suffix = ""

        def __init__(self, inputs: int, hidden: int) -> None:
            super().__init__()
            for name, shape in weights(inputs, hidden, self.suffix).items():
                self.register_parameter(name, nn.Parameter(tw.empty(shape)))

        def forward(self, x: Any, state: Any) -> Any:
            h, c = state
            F = nn.functional
            gates = F.linear(x, self.weight_ih, self.bias_ih)
            return cell(tw, gates + F.linear(h, self.weight_hh, self.bias_hh), c)

    class Layer(Cell):
        suffix = "_l0"

        def forward(self, x: Any, state: Any = None) -> Any:
            F = nn.functional
            hidden = self.weight_hh_l0.shape[1]
            c = h = tw.zeros(x.shape[1], hidden) if state is None else state
            gates = F.linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
            outputs = []
            for row in gates:
                h, c = cell(tw, row + h @ self.weight_hh_l0.T, c)
                outputs.append(h)
            return tw.stack(outputs), (h, c)

    return Layer, Cell


def weights(inputs: int, hidden: int, suffix: str = "") -> dict[str, tuple[int, ...]]:
    """Return the shapes of an LSTM's parameters; gates are in the order i, f, g, o."""
    return {
        f"weight_ih{suffix}": (4 * hidden, inputs),
        f"weight_hh{suffix}": (4 * hidden, hidden),
        f"bias_ih{suffix}": (4 * hidden,),
        f"bias_hh{suffix}": (4 * hidden,),
    }


@dataclass(frozen=True, kw_only=True)
class Recurrent(Network):
    """An LSTM and a linear layer on its output.

    Args:
        rows: sequences side by side.
        length: steps.
        inputs, hidden, classes: widths.
    """

    rows: int
    length: int
    inputs: int
    hidden: int
    classes: int

    def state(self) -> Arrays:
        # As wide as PyTorch draws them: wider ones make a chaotic system of the recurrence.
        rng = self.rng()
        bound = self.hidden**-0.5
        return {
            name: rng.uniform(-bound, bound, shape).astype(np.float32)
            for name, shape in self.shapes().items()
        }


@dataclass(frozen=True, kw_only=True)
class LstmTraining(Recurrent, Training):
    """A training step: the class of each sequence from its last output."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        made = {f"rnn.{n}": s for n, s in weights(self.inputs, self.hidden, "_l0").items()}
        return made | {"out.weight": (self.classes, self.hidden), "out.bias": (self.classes,)}

    def batch(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        x = rng.standard_normal((self.length, self.rows, self.inputs), np.float32)
        return x, rng.integers(0, self.classes, self.rows)

    def network(self, tw: Any) -> Any:
        nn, case = tw.nn, self
        layer, _ = modules(tw)

        class Classifier(nn.Module):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.rnn = layer(case.inputs, case.hidden)
                self.out = nn.Linear(case.hidden, case.classes)

            def forward(self, x: Any) -> Any:
                outputs, _ = self.rnn(x)
                return self.out(outputs[-1])

        return Classifier()

    def loss(self, f: Any, state: Any, *batch: Any) -> tuple[Any, dict[str, Any]]:
        x, labels = batch
        bias = state["rnn.bias_ih_l0"] + state["rnn.bias_hh_l0"]
        gates = f.linear(x, state["rnn.weight_ih_l0"], bias)
        recurrent = state["rnn.weight_hh_l0"].T

        def step(carried: Any, row: Any) -> Any:
            h, c = carried
            return cell(f, row + h @ recurrent, c)

        empty = 0 * gates[0, :, : self.hidden]
        h, _ = f.scan(step, (empty, empty), gates)
        return f.cross_entropy(f.linear(h, state["out.weight"], state["out.bias"]), labels), {}

    def flops(self) -> float:
        products = 2 * self.inputs + 3 * self.hidden
        return 2.0 * self.length * self.rows * 4 * self.hidden * products


@dataclass(frozen=True, kw_only=True)
class LstmGeneration(Recurrent, Stepwise):
    """One sequence, step by step: a table row in, the most probable class out."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        made = {f"rnn.{n}": s for n, s in weights(self.inputs, self.hidden).items()}
        made["table.weight"] = (self.classes, self.inputs)
        return made | {"out.weight": (self.classes, self.hidden), "out.bias": (self.classes,)}

    def batch(self) -> tuple[np.ndarray, ...]:
        return (self.rng().integers(0, self.classes, (self.length, self.rows)),)

    def start(self) -> Arrays:
        empty = np.zeros((self.rows, self.hidden), np.float32)
        return {"h": empty, "c": empty}

    def network(self, tw: Any) -> Any:
        nn, case = tw.nn, self
        _, one = modules(tw)

        class Generator(nn.Module):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.table = nn.Embedding(case.classes, case.inputs)
                self.rnn = one(case.inputs, case.hidden)
                self.out = nn.Linear(case.hidden, case.classes)

            def forward(self, token: Any, t: int, carried: Any) -> Any:
                h, c = self.rnn(self.table(token), (carried["h"], carried["c"]))
                return self.out(h), {"h": h, "c": c}

        return Generator()

    def advance(self, f: Any, state: Any, carried: dict[str, Any], token: Any, t: Any) -> Any:
        x = f.embedding(state["table.weight"], token)
        gates = f.linear(x, state["rnn.weight_ih"], state["rnn.bias_ih"])
        gates = gates + f.linear(carried["h"], state["rnn.weight_hh"], state["rnn.bias_hh"])
        h, c = cell(f, gates, carried["c"])
        return f.linear(h, state["out.weight"], state["out.bias"]), {"h": h, "c": c}

    def graph(self, g: Any, state: Arrays) -> dict[str, str]:
        token, h, c = g.input("token", np.int64), g.input("h"), g.input("c")
        x = g.node("Gather", g.constant(state["table.weight"]), token)
        gates = g.linear(x, state["rnn.weight_ih"], state["rnn.bias_ih"])
        gates = g.add(gates, g.linear(h, state["rnn.weight_hh"], state["rnn.bias_hh"]))
        i, forget, j, o = g.nodes("Split", gates, results=4, axis=1, num_outputs=4)
        kept = g.node("Mul", g.node("Sigmoid", forget), c)
        c = g.add(kept, g.node("Mul", g.node("Sigmoid", i), g.node("Tanh", j)))
        h = g.node("Mul", g.node("Sigmoid", o), g.node("Tanh", c))
        logits = g.linear(h, state["out.weight"], state["out.bias"])
        return {"logits": logits, "h": h, "c": c}

    def flops(self) -> float:
        return 2.0 * self.rows * self.hidden * (4 * (self.inputs + self.hidden) + self.classes)


def cases(sizes: str) -> Sequence[Case]:
    """Return the cases in sizes `full` or `tiny`."""
    full = sizes == "full"
    length, rows, inputs, hidden, classes = (64, 32, 256, 256, 10) if full else (4, 3, 5, 4, 3)
    return [
        LstmTraining(
            name="LSTM hidden 256, seq 64, batch 32, training step",
            length=length,
            rows=rows,
            inputs=inputs,
            hidden=hidden,
            classes=classes,
            optimizer=Sgd(lr=0.1),
        ),
        LstmGeneration(
            name="LSTM hidden 256, batch 1, one step",
            length=length,
            rows=1,
            inputs=inputs,
            hidden=hidden,
            classes=classes,
            onnx=True,
        ),
    ]


if __name__ == "__main__":
    main("lstm")
