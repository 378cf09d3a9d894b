"""What is measured: a case is one program at one size, the same for every framework.

A case says what the program is in two spellings: with Modules and Tensors, which talweg and
PyTorch share word for word, and as a pure function of arrays, for JAX and for the float64 oracle
in NumPy. `eager.py`, `pure.py` and `onnx_graphs.py` make the Programs of it.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
"""Arrays by name. Names of parameters are those of the network's `state_dict`."""


class Skipped(Exception):
    """A framework does not run a case; the message says why."""


@dataclass
class Program:
    """A case, made ready in one framework.

    Args:
        step: one iteration; whatever it computes is complete when it returns.
        results: runs the first iterations and returns what they gave, for comparison; to be called
            once, before any `step`.
        metrics: further figures, taken after timing: name to value.
        period: after how many steps they are the same again; so many are run before timing.
    """

    step: Callable[[], object]
    results: Callable[[], Arrays]
    metrics: Callable[[], dict[str, float]] = dict
    period: int = 1


@dataclass(frozen=True, kw_only=True)
class Case(ABC):
    """A program at one size.

    Args:
        name: as in the table of results.
        group: cases of one group are also summed up in one line, by their geometric mean.
        tolerance: how far results of two frameworks may differ, relatively.
        onnx: whether ONNX Runtime takes part.
        numpy: whether NumPy takes part.
        beyond: frameworks that do not take part, each with the reason.
    """

    name: str
    group: str = ""
    tolerance: float = 1e-3
    onnx: bool = False
    numpy: bool = False
    beyond: Mapping[str, str] = field(default_factory=dict)

    def rng(self) -> np.random.Generator:
        """Return a random generator that depends on the name alone."""
        return np.random.default_rng(zlib.crc32(self.name.encode()))

    def flops(self) -> float:
        """Return the floating-point operations of a step; 0 where they are not the measure."""
        return 0.0

    def floor(self) -> float:
        """Return the bytes a step must read and write at least; 0 where they are not the measure.

        What is given is read once, what is asked for is written once.
        """
        return 0.0


@dataclass(frozen=True)
class Sgd:
    """Gradient descent with momentum, as `optim.SGD` has it."""

    lr: float
    momentum: float = 0.0


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay, as `optim.AdamW` has it."""

    lr: float
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class Network(Case):
    """A network with parameters, and a batch."""

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of parameters and buffers by their names in the `state_dict`."""

    @abstractmethod
    def batch(self) -> tuple[np.ndarray, ...]:
        """Return the inputs, float32 and int64."""

    @abstractmethod
    def network(self, tw: Any) -> Any:
        """Return the network as a Module of talweg or PyTorch."""

    def state(self) -> Arrays:
        """Return parameters and buffers, made by NumPy."""
        return draw(self.shapes(), self.rng())


@dataclass(frozen=True, kw_only=True)
class Training(Network):
    """A training step: forward, backward, optimizer; the loss is read after each.

    Args:
        optimizer: Sgd or AdamW.
    """

    optimizer: Sgd | AdamW

    def objective(self, tw: Any, model: Any, *batch: Any) -> Any:
        """Return the loss as a Tensor."""
        *inputs, labels = batch
        return tw.nn.functional.cross_entropy(model(*inputs), labels)

    @abstractmethod
    def loss(self, f: Any, state: Any, *batch: Any) -> tuple[Any, dict[str, Any]]:
        """Return the loss by the functions of `f`, and the new values of buffers."""


@dataclass(frozen=True, kw_only=True)
class Inference(Network):
    """A forward pass in evaluation mode, without gradients."""

    @abstractmethod
    def output(self, f: Any, state: Any, *batch: Any) -> Any:
        """Return the result by the functions of `f`."""

    def graph(self, g: Any, state: Arrays, *inputs: str) -> str:
        """Write the network into an ONNX graph; return the name of its result."""
        raise Skipped("not written as an ONNX graph")


@dataclass(frozen=True, kw_only=True)
class Function(Case):
    """A pure function of arrays: forward, or forward and backward with a given cotangent.

    Args:
        gradient: whether the gradients by all floating inputs belong to the step.
        kernels: which inputs are kernels of a convolution.
    """

    gradient: bool = False
    kernels: tuple[int, ...] = ()

    @abstractmethod
    def inputs(self) -> tuple[np.ndarray, ...]:
        """Return the arguments."""

    @abstractmethod
    def eager(self, tw: Any, *tensors: Any) -> Any:
        """Return the result, written for talweg and PyTorch."""

    def pure(self, f: Any, *arrays: Any) -> Any:
        """Return the result by the functions of `f`."""
        return self.eager(f, *arrays)

    def graph(self, g: Any, *inputs: str) -> str:
        """Write the function into an ONNX graph; return the name of its result."""
        raise Skipped("not written as an ONNX graph")


@dataclass(frozen=True, kw_only=True)
class Stepwise(Network):
    """One step after another, each fed what the one before it chose: generation.

    `batch()` is the sequence of class numbers that is forced for the comparison.
    """

    @abstractmethod
    def start(self) -> Arrays:
        """Return the state before the first step."""

    @abstractmethod
    def advance(self, f: Any, state: Any, carried: dict[str, Any], token: Any, t: Any) -> Any:
        """Return (logits, new carried state) of step `t` by the functions of `f`."""


@dataclass(frozen=True, kw_only=True)
class Own(Case):
    """A case that every framework spells in its own way."""

    @abstractmethod
    def program(self, framework: str) -> Program:
        """Return the Program in a framework; raises Skipped where there is none."""


def draw(shapes: Mapping[str, Sequence[int]], rng: np.random.Generator) -> Arrays:
    """Make parameters of a sensible size for shapes and names.

    Matrices and kernels are normal with variance 2 / fan-in, biases small, scales near 1; running
    means are 0, running variances 1.
    """
    made: Arrays = {}
    for name, shape in shapes.items():
        last = name.rpartition(".")[2]
        if last == "running_mean":
            array = np.zeros(shape)
        elif last == "running_var":
            array = np.ones(shape)
        elif last == "num_batches_tracked":
            made[name] = np.zeros(shape, np.int64)
            continue
        elif len(shape) > 1:
            array = rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        else:
            array = (0.0 if "bias" in last else 1.0) + 0.05 * rng.standard_normal(shape)
        made[name] = array.astype(np.float32)
    return made


def is_buffer(name: str) -> bool:
    """Whether a name of a `state_dict` is that of a buffer, which has no gradient."""
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def difference(first: Arrays, second: Arrays) -> dict[str, float]:
    """Return how far two sets of results are apart: for each kind, the largest relative distance.

    The kind of `gradient.fc.weight` is `gradient`. Distances are Euclidean; an array that is tiny
    beside the largest of its kind is measured by a thousandth of that one's length. What several
    steps changed is measured as one long vector: single parameters may owe their change to
    rounding alone.
    """
    if {n: a.shape for n, a in first.items()} != {n: a.shape for n, a in second.items()}:
        return {"names or shapes": float("inf")}
    kinds: dict[str, list[tuple[float, float]]] = {}
    for name, array in second.items():
        gap = np.ravel(first[name].astype(np.float64) - array)
        length = float(np.linalg.norm(np.ravel(array)))
        kinds.setdefault(name.partition(".")[0], []).append((float(np.linalg.norm(gap)), length))
    apart = {}
    for kind, pairs in kinds.items():
        if kind == "change":
            pairs = [(math.hypot(*(gap for gap, _ in pairs)), math.hypot(*(n for _, n in pairs)))]
        floor = max(1e-3 * max(length for _, length in pairs), 1e-30)
        shares = [gap / max(length, floor) for gap, length in pairs]
        apart[kind] = float("inf") if any(map(math.isnan, shares)) else max(shares)
    return apart


def agree(case: Case, apart: Mapping[str, float]) -> bool:
    """Whether results are as near as the case asks.

    Parameters after several steps may differ twenty times as much: an error of the first step
    grows with the others.
    """
    return all(
        gap <= case.tolerance * (20 if kind == "change" else 1) for kind, gap in apart.items()
    )
