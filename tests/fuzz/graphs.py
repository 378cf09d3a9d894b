"""Random graphs: all kinds of Ops, wired in ways that fusion, layout and memory must get right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talweg.base import dtypes
from talweg.ir.closed import close
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.rewrite import rewrite, same
from talweg.ir.types import tensor_type
from talweg.ops import OpBuilder
from talweg.ops.recurrence import Recurrence

_UNARY = ("neg", "tanh", "sin", "sigmoid", "relu", "abs", "exp", "square_root", "floor")
_BINARY = ("add", "sub", "mul", "maximum", "minimum", "div")
_SIZES = (1, 1, 2, 3, 4, 5, 16, 17)


@dataclass
class RandomGraph:
    """A graph under construction: Nodes that may be used, and arrays of its inputs."""

    rng: np.random.Generator
    dtype: dtypes.DType

    def __post_init__(self) -> None:
        self.b = OpBuilder()
        self.inputs: list[Node] = []
        self.nodes: list[Node] = []

    def value(self, shape: tuple[int, ...]) -> Node:
        """A new input with moderate values."""
        drawn = self.rng.uniform(-2, 2, shape)
        array = dtypes.encode(drawn.astype(self.dtype.compute), self.dtype)
        node = input_node(tensor_type(self.dtype, shape))
        node.array = array
        self.inputs.append(node)
        return node

    def pick(self, rank: int | None = None) -> Node:
        """One of the Nodes so far, rather a late one, of some rank."""
        fitting = [n for n in self.nodes if rank is None or n.rank == rank]
        if not fitting or self.rng.random() < 0.1:
            count = int(self.rng.integers(0, 4)) if rank is None else rank
            return self.value(tuple(int(s) for s in self.rng.choice(_SIZES, count)))
        place = int(len(fitting) * np.sqrt(self.rng.random()))
        return fitting[min(place, len(fitting) - 1)]

    def like(self, x: Node) -> Node:
        """A Node of the same shape: an earlier one, a broadcast one or a new one."""
        same = [n for n in self.nodes if n.shape == x.shape and n.dtype is x.dtype]
        choice = self.rng.random()
        if same and choice < 0.6:
            return same[int(self.rng.integers(len(same)))]
        if choice < 0.75:
            return self.b.scalar(float(self.rng.uniform(-1, 1)), self.dtype)
        small = tuple(n if self.rng.random() < 0.5 else 1 for n in x.shape)
        return self.b.expand(self.value(small), x.shape) if choice < 0.95 else self.value(x.shape)

    def step(self) -> None:
        """Add a Node."""
        kinds = [name for name in dir(self) if name.startswith("make_")]
        made = getattr(self, str(self.rng.choice(kinds)))()
        if made is not None and made.type.size <= 4096:
            self.nodes.append(made)

    # -- one method for each family

    def make_unary(self) -> Node:
        x, name = self.pick(), str(self.rng.choice(_UNARY))
        if name == "exp":
            return self.b.exp(self.b.neg(self.b.abs(x)))
        if name == "square_root":
            return self.b.sqrt(self.b.abs(x))
        found: Node = getattr(self.b, name)(x)
        return found

    make_unary_too = make_unary

    def make_binary(self) -> Node:
        x, name = self.pick(), str(self.rng.choice(_BINARY))
        y = self.like(x)
        if name == "div":
            return self.b.div(x, self.b.add(self.b.abs(y), self.b.scalar(1.0, self.dtype)))
        found: Node = getattr(self.b, name)(x, y)
        return found

    make_binary_too = make_binary

    def make_where(self) -> Node:
        x = self.pick()
        y = self.value(x.shape)
        return self.b.where(self.b.lt(x, y), y, x)

    def make_reduction(self) -> Node | None:
        x = self.pick()
        if not x.rank:
            return None
        count = int(self.rng.integers(1, x.rank + 1))
        axes = sorted(int(a) for a in self.rng.choice(x.rank, count, replace=False))
        if self.rng.random() < 0.6:
            axes = list(range(x.rank - count, x.rank))
        name = str(self.rng.choice(["reduce_sum", "reduce_max", "reduce_min"]))
        total: Node = getattr(self.b, name)(x, axes=tuple(axes))
        if self.rng.random() < 0.7:  # used at the places it was made from, as norms do
            kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
            return self.b.sub(x, self.b.expand(self.b.reshape(total, kept), x.shape))
        return total

    make_reduction_too = make_reduction

    def make_permute(self) -> Node | None:
        x = self.pick()
        order = tuple(int(a) for a in self.rng.permutation(x.rank))
        return self.b.permute(x, order) if x.rank else None

    def make_reshape(self) -> Node | None:
        x = self.pick()
        if x.rank < 2 or self.rng.random() < 0.3:
            return self.b.reshape(x, (*x.shape, 1))
        a = int(self.rng.integers(x.rank - 1))
        shape = (*x.shape[:a], x.shape[a] * x.shape[a + 1], *x.shape[a + 2 :])
        return self.b.reshape(x, shape)

    def part_of(self, x: Node) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Starts, stops and steps of elements of x, which has some."""
        starts = tuple(int(self.rng.integers(n)) for n in x.shape)
        stops = tuple(
            int(self.rng.integers(a, n)) + 1 for a, n in zip(starts, x.shape, strict=True)
        )
        return starts, stops, tuple(int(self.rng.integers(1, 3)) for _ in x.shape)

    def make_slice(self) -> Node | None:
        x = self.pick()
        if not x.rank or 0 in x.shape:
            return None
        return self.b.slice(x, *self.part_of(x))

    def make_set_slice(self) -> Node | None:
        x = self.pick()
        if not x.rank or 0 in x.shape:
            return None
        where = self.part_of(x)
        update = self.b.slice(self.like_full(x), *where)
        return self.b.set_slice(x, self.b.mul(update, self.b.scalar(0.5, self.dtype)), *where)

    def make_embed(self) -> Node | None:
        x = self.pick()
        if not x.rank or max(x.shape) > 20 or x.type.size > 1 << 12:
            return None
        starts, steps, more = self.rng.integers((0, 1, 0), (3, 3, 3), (x.rank, 3)).T.tolist()
        rows = zip(x.shape, starts, steps, more, strict=True)
        shape = tuple(a + (s * (n - 1) + 1 if n else 0) + z for n, a, s, z in rows)
        return self.b.embed(x, tuple(starts), tuple(steps), shape)

    def make_flip(self) -> Node | None:
        x = self.pick()
        return self.b.flip(x, (int(self.rng.integers(x.rank)),)) if x.rank else None

    def make_pad(self) -> Node:
        x = self.pick()
        low, high = (tuple(int(n) for n in self.rng.integers(0, 3, x.rank)) for _ in range(2))
        return self.b.pad(x, self.b.scalar(0.5, self.dtype), low, high, (0,) * x.rank)

    def make_concat(self) -> Node | None:
        x = self.pick()
        return self.b.concat(x, self.like_full(x), x, axis=x.rank - 1) if x.rank else None

    def like_full(self, x: Node) -> Node:
        """As `like`, but never a 0-d Node."""
        y = self.like(x)
        return y if y.shape == x.shape else self.b.expand(y, x.shape)

    def make_dot(self) -> Node:
        x = self.pick(2)
        y = self.value((x.shape[1], int(self.rng.choice(_SIZES))))
        if self.rng.random() < 0.3:
            return self.b.dot(self.b.permute(y, (1, 0)), self.b.permute(x, (1, 0)))
        return self.b.dot(x, y)

    def make_image(self) -> Node:
        channels, outputs = (int(self.rng.choice([1, 3, 16])) for _ in range(2))
        fitting = [n for n in self.nodes if n.rank == 4 and min(n.shape[2:]) > 2]
        x = fitting[-1] if fitting and self.rng.random() < 0.7 else self.value((2, channels, 5, 4))
        weight = self.value((outputs, x.shape[1], 3, 3))
        pad = int(self.rng.integers(2))
        stride = int(self.rng.integers(1, 3))
        how = (stride, stride), ((pad, pad), (pad, pad)), (1, 1), 1
        y = self.b.conv(x, weight, *how)
        if self.rng.random() < 0.4:
            return self.b.conv_input_grad(y, weight, *how, x.shape[2:])
        if self.rng.random() < 0.3:
            return self.b.conv_weight_grad(x, y, *how, weight.shape[2:])
        return y

    def make_pool(self) -> Node | None:
        fitting = [n for n in self.nodes if n.rank == 4 and min(n.shape[2:]) > 1]
        if not fitting:
            return None
        how = (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)
        name = str(self.rng.choice(["window_max", "window_sum"]))
        found: Node = getattr(self.b, name)(fitting[-1], *how)
        shape = fitting[-1].shape
        if not any(n % 2 for n in shape[2:]) and self.rng.random() < 0.4:
            return self.b.window_max_grad(self.value(shape), found, *how)
        return found

    def make_take(self) -> Node | None:
        x = self.pick()
        if not x.rank or not x.shape[0]:
            return None
        index = self.b.constant(self.rng.integers(0, x.shape[0], 3))
        self.inputs.append(index)
        if self.rng.random() < 0.5:
            return self.b.take(x, index, 0)
        return self.b.add_at(x, index, self.value((3, *x.shape[1:])), 0)

    def make_scan(self) -> Node | None:
        x = self.pick()
        return self.b.cum_sum(x, int(self.rng.integers(x.rank))) if x.rank else None

    def make_sort(self) -> Node | None:
        x = self.pick()
        if not x.rank:
            return None
        axis = int(self.rng.integers(x.rank))
        return self.b.take_along(x, self.b.arg_sort(x, axis, False), axis)


def random_graph(seed: int, steps: int = 12) -> Graph:
    """Return a graph that is the same for the same seed, its inputs with data."""
    rng = np.random.default_rng(seed)
    dtype = dtypes.float64 if rng.random() < 0.3 else dtypes.float32
    made = RandomGraph(rng, dtype)
    while len(made.nodes) < steps:
        made.step()
    count = int(rng.integers(1, 4))
    outputs = [made.nodes[-1]]
    outputs += [made.nodes[int(i)] for i in rng.integers(0, steps, count - 1)]
    return Graph(_known(outputs), list(dict.fromkeys(outputs)))


def turned_graph(seed: int) -> Graph:
    """Return a random graph of images, some of whose borders have the channels last in memory."""
    rng = np.random.default_rng(seed)
    graph = random_graph(seed)
    b = OpBuilder()
    stands: dict[Node, Node] = {}
    for node in graph.inputs:
        if node.rank == 4 and rng.random() < 0.7:
            assert node.array is not None
            stored = input_node(tensor_type(node.dtype, tuple(node.shape[a] for a in (0, 2, 3, 1))))
            stored.array = np.ascontiguousarray(node.array.transpose(0, 2, 3, 1))
            stands[node] = b.permute(stored, (0, 3, 1, 2))
    graph = rewrite(graph, lambda n, inputs: same(n, tuple(stands.get(i, i) for i in inputs)))
    outputs = [stands.get(o, o) for o in graph.outputs]
    turned = [b.permute(o, (0, 2, 3, 1)) for o in outputs if o.rank == 4 and rng.random() < 0.7]
    rest = [o for o in outputs if o.rank != 4 or not turned or rng.random() < 0.3]
    outputs = list(dict.fromkeys((*turned, *rest)))
    return Graph(_known(outputs), outputs)


def repeated_graph(seed: int) -> Graph:
    """Return a random graph around one that is run for every element of an operand."""
    rng = np.random.default_rng(seed)
    dtype = dtypes.float64 if rng.random() < 0.3 else dtypes.float32
    rows, columns = (int(n) for n in rng.choice(_SIZES, 2))
    inside = RandomGraph(rng, dtype)
    state, other, x = (input_node(tensor_type(dtype, (rows, columns))) for _ in range(3))
    inside.nodes += [state, other, x]
    while len(inside.nodes) < 10:
        inside.step()
    b = inside.b
    fitting = [n for n in inside.nodes if n.shape == x.shape and n.dtype is dtype]
    new = [b.tanh(b.add(fitting[int(i)], x)) for i in rng.integers(0, len(fitting), 1)]
    new.append(fitting[int(rng.integers(len(fitting)))])
    made = [*inside.nodes, *new]
    stacked = [made[int(i)] for i in rng.integers(0, len(made), int(rng.integers(1, 4)))]
    graph, data = close(Graph((state, other, x), (*new, *stacked)))
    outside = RandomGraph(rng, dtype)
    outside.nodes.append(outside.value((int(rng.integers(1, 5)), rows, columns)))
    many = outside.nodes[0]
    first = [outside.value((rows, columns)) for _ in range(2)]
    op = Recurrence(graph, 2, 1, bool(rng.random() < 0.5))
    outside.nodes += b.results(op, *first, many, *data)
    while len(outside.nodes) < 11:
        outside.step()
    outputs = [outside.nodes[int(i)] for i in rng.integers(0, 11, 3)]
    return Graph(_known(outputs), list(dict.fromkeys(outputs)))


def _known(outputs: list[Node]) -> list[Node]:
    seen: dict[Node, None] = {}
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            stack.extend(node.inputs)
    return [n for n in seen if not n.inputs and n.known]
