"""Programs of ONNX Runtime: the graph is written node by node, without an exporter."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.case import Arrays, Case, Function, Inference, Program, Skipped, Stepwise

OPSET = 20


class Graph:
    """An ONNX graph under construction; values are known by their names.

    Args:
        inputs: arrays of the shapes and dtypes of the graph's inputs.
    """

    def __init__(self, inputs: Mapping[str, np.ndarray]) -> None:
        self.onnx: Any = importlib.import_module("onnx")
        self.helper: Any = importlib.import_module("onnx.helper")
        self.given = dict(inputs)
        self.made: list[Any] = []
        self.constants: list[Any] = []
        self.count = 0

    def fresh(self) -> str:
        """Return a name that is not taken."""
        self.count += 1
        return f"v{self.count}"

    def input(self, name: str, dtype: Any = np.float32) -> str:
        """Return the name of an input, after a look at its dtype."""
        assert self.given[name].dtype == dtype, (name, self.given[name].dtype)
        return name

    def constant(self, value: Any) -> str:
        """Add an array that is known."""
        name = self.fresh()
        array = np.asarray(value)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def nodes(self, kind: str, *inputs: str, results: int, **attributes: Any) -> list[str]:
        """Add a node; return the names of its results."""
        names = [self.fresh() for _ in range(results)]
        if kind == "Split" and len(inputs) > 1:
            attributes.pop("num_outputs", None)
        self.made.append(self.helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one result; return its name."""
        return self.nodes(kind, *inputs, results=1, **attributes)[0]

    def add(self, x: str, y: str) -> str:
        """Add x + y."""
        return self.node("Add", x, y)

    def relu(self, x: str) -> str:
        """Add relu(x)."""
        return self.node("Relu", x)

    def gelu(self, x: str) -> str:
        """Add the exact gelu(x)."""
        return self.node("Gelu", x)

    def linear(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """Add x weightᵀ + bias."""
        return self.node("Gemm", x, self.constant(weight), self.constant(bias), transB=1)

    def layer_norm(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """Add layer norm along the last axis."""
        scale, shift = self.constant(weight), self.constant(bias)
        return self.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-5)

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        """Add x in another shape."""
        return self.node("Reshape", x, self.constant(np.array(shape, np.int64)))

    def transposed(self, x: str) -> str:
        """Add an array of rank 4 with its last two axes exchanged."""
        return self.node("Transpose", x, perm=[0, 1, 3, 2])

    def conv(
        self,
        x: str,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> str:
        """Add a convolution of images."""
        operands = [self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        return self.node(
            "Conv", x, *operands, strides=[stride] * 2, pads=[padding] * 4, group=groups
        )

    def max_pool(self, x: str, size: int, stride: int, padding: int = 0) -> str:
        """Add the maxima of windows."""
        return self.node(
            "MaxPool", x, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[padding] * 4
        )

    def batch_norm(self, x: str, name: str, state: Arrays) -> str:
        """Add batch norm by running statistics."""
        names = ("weight", "bias", "running_mean", "running_var")
        parameters = [self.constant(state[f"{name}.{part}"]) for part in names]
        return self.node("BatchNormalization", x, *parameters, epsilon=1e-5)

    def session(self, results: Mapping[str, str], threads: int) -> Any:
        """Return an InferenceSession with these results, by what they stand for."""
        for name, value in results.items():
            self.made.append(self.helper.make_node("Identity", [value], [f"new.{name}"]))
        kinds = self.helper.np_dtype_to_tensor_dtype
        used = {name for node in self.made for name in node.input}
        inputs = [
            self.helper.make_tensor_value_info(name, kinds(a.dtype), a.shape)
            for name, a in self.given.items()
            if name in used
        ]
        outputs = [
            self.helper.make_tensor_value_info(f"new.{name}", self.onnx.TensorProto.FLOAT, None)
            for name in results
        ]
        graph = self.helper.make_graph(self.made, "case", inputs, outputs, self.constants)
        opsets = [self.helper.make_opsetid("", OPSET)]
        model = self.helper.make_model(graph, opset_imports=opsets, ir_version=10)
        runtime = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        return runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def program(case: Case, threads: int) -> Program:
    """Return a case as a Program of ONNX Runtime.

    Raises:
        Skipped: when it is not written as a graph.
    """
    if not case.onnx:
        raise Skipped("ONNX Runtime only infers")
    if isinstance(case, Stepwise):
        return stepwise(case, threads)
    if isinstance(case, Inference | Function):
        return forward(case, threads)
    raise Skipped("not written as an ONNX graph")


def forward(case: Inference | Function, threads: int) -> Program:
    """A pass through the graph, inputs and result in NumPy arrays."""
    arrays = case.batch() if isinstance(case, Inference) else case.inputs()
    given = {f"x{i}": array for i, array in enumerate(arrays)}
    g = Graph(given)
    inputs = [g.input(name, array.dtype) for name, array in given.items()]
    if isinstance(case, Inference):
        result = case.graph(g, case.state(), *inputs)
    else:
        result = case.graph(g, *inputs)
    session = g.session({"result": result}, threads)
    feed = {i.name: given[i.name] for i in session.get_inputs()}

    def step() -> Any:
        return session.run(None, feed)[0]

    return Program(step, lambda: {"output": step()})


def stepwise(case: Any, threads: int) -> Program:
    """Generation: what is carried stays in NumPy arrays; a cache is written in place."""
    (forced,) = case.batch()
    length, half = len(forced), len(forced) // 2
    carried: Arrays = {name: array.copy() for name, array in case.start().items()}
    place = np.zeros((1,), np.int64)
    hidden = np.full((1, 1, 1, length), -np.inf, np.float32)
    feed = {"token": forced[0].copy(), "t": place, "hidden": hidden, **carried}
    g = Graph(feed)
    results = case.graph(g, case.state())
    session = g.session(results, threads)
    names = [node.name for node in session.get_inputs()]

    def advance(token: np.ndarray, t: int) -> np.ndarray:
        place[0], feed["token"] = t, token
        hidden[..., :t], hidden[..., t:] = 0, -np.inf
        logits, *rest = session.run(None, {name: feed[name] for name in names})
        for name, value in zip(list(results)[1:], rest, strict=True):
            if carried[name].shape == value.shape:
                feed[name] = value
            else:
                carried[name][:, :, t] = value[:, :, 0]
        made: np.ndarray = logits
        return made

    state: dict[str, Any] = {"token": forced[0], "t": half}

    def step() -> int:
        t = state["t"]
        state["t"] = t + 1 if t + 1 < length else half
        state["token"] = advance(state["token"], t).argmax(-1)
        return int(state["token"][0])

    def compared() -> Arrays:
        return {"output": np.stack([advance(token, t) for t, token in enumerate(forced)])}

    return Program(step, compared, period=length - half)
