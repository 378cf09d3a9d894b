"""The pictures of the pages: of what talweg makes of small programs, drawn by its own means."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import talweg as tw
from talweg.engine.evaluate import pending_graph
from talweg.engine.explain import Explanation
from talweg.engine.pictures import Box, Mark, Span, flow_picture, memory_picture, time_picture
from talweg.engine.units import bytes_text
from talweg.ir.node import Graph
from talweg.nn import functional as F

FIGURES: dict[str, tuple[Callable[[], str], str]] = {}


def drawn(caption: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Enter a picture under the name of its function, with what is said below it."""

    def enter(draw: Callable[[], str]) -> Callable[[], str]:
        FIGURES[draw.__name__] = draw, caption
        return draw

    return enter


def figure(name: str) -> str:
    """The picture of that name as HTML."""
    draw, caption = FIGURES[name]
    return f"<figure>{draw()}<figcaption>{caption}</figcaption></figure>"


def graph_picture(graph: Graph, solid: Graph | None = None) -> str:
    """Draw a Graph: a box for each Node, arrows from operands to results.

    Args:
        graph: what was recorded.
        solid: Nodes that are not in here have dashed outlines.
    """
    nodes = *graph.inputs, *graph.order
    places = {node: n for n, node in enumerate(nodes)}
    whole = set(nodes) if solid is None else {*solid.inputs, *solid.order}
    boxes = {
        n: Box(node.op.name(), str(node.type), repr(node), 0, "" if node in whole else "soft")
        for n, node in enumerate(nodes)
    }
    edges = [(places[i], n, 1.2) for n, node in enumerate(nodes) for i in node.inputs]
    return flow_picture(boxes, edges)


def chain(names: Sequence[tuple[str, str]], edges: Sequence[tuple[int, int]]) -> str:
    """Draw named steps and what follows what."""
    boxes = {n: Box(name, below, name, 0) for n, (name, below) in enumerate(names)}
    return flow_picture(boxes, [(a, b, 1.2) for a, b in edges])


def small_network() -> tuple[tw.Tensor, tw.Tensor, tw.Tensor]:
    """The loss of one layer, its weight and its data."""
    x = tw.tensor(tw.rand(32, 64).numpy())
    w = tw.tensor(tw.rand(64, 10).numpy(), requires_grad=True)
    return (x @ w).relu().sum(), w, x


def explained() -> Explanation:
    """What a step of a small network becomes."""
    x, y = tw.rand(64, 784), tw.randint(0, 10, (64,))
    layers = [tw.rand(784, 256), tw.rand(256, 10)]
    for layer in layers:
        layer.requires_grad_()

    def step() -> tuple[tw.Tensor, ...]:
        loss = F.cross_entropy((x @ layers[0]).relu() @ layers[1], y)
        return loss, *tw.autograd.grad(loss, layers)

    return tw.explain(step)


@drawn("From the line that is written to the instruction that is run.")
def stages() -> str:
    """All stages in a row."""
    names = [
        ("Python", "your program"),
        ("Graph", "Nodes with types"),
        ("Graph", "with gradients"),
        ("Plan", "kernels and memory"),
        ("LoopNest", "what is computed"),
        ("LoopNest", "scheduled: how"),
        ("LLVM IR", "vectors, masks"),
        ("object code", "cached on disk"),
        ("threads", "one foreign call"),
    ]
    return chain(names, [(n, n + 1) for n in range(len(names) - 1)])


@drawn("The Nodes of <code>(x @ w).relu().sum()</code>, recorded and not yet computed.")
def recorded() -> str:
    """The graph of one expression."""
    loss, _, _ = small_network()
    return graph_picture(pending_graph([loss.node()]))


@drawn("The same with its gradient: the lower part was made by the rules of the Ops above.")
def differentiated() -> str:
    """The graph of an expression and of its gradient."""
    loss, w, _ = small_network()
    forward = pending_graph([loss.node()])
    (gradient,) = tw.autograd.grad(loss, w)
    return graph_picture(pending_graph([loss.node(), gradient.node()]), forward)


@drawn("A network of two layers, its loss and both gradients, as kernels. Bars: bytes moved.")
def fused() -> str:
    """The kernels of a step, and which feeds which."""
    (evaluation,) = explained().evaluations
    most = max(k.nbytes for k in evaluation.kernels)
    boxes = {
        k.number: Box(k.name, bytes_text(k.nbytes), k.name, k.nbytes / most)
        for k in evaluation.kernels
    }
    edges = [(a, b, 0.8 + 0.35 * math.log10(1 + size / 1024)) for a, b, size in evaluation.flow]
    return flow_picture(boxes, edges)


@drawn("A result in tiles of 6 rows and 32 columns. Equal colours: one ticket for a thread.")
def tiles() -> str:
    """How the result of a product is dealt to threads."""
    marks = [
        Mark(f"rows {6 * row} to {6 * row + 5}", 32 * column, 31, f"ticket {row // 2}", "a tile")
        for row in range(8)
        for column in range(8)
    ]
    return time_picture(marks, "256 columns")


@drawn("How a kernel is made, once for each structure, and found ever after.")
def compiled() -> str:
    """The way of a kernel into memory."""
    names = [
        ("LoopNest + Schedule", "hashed: the key"),
        ("cache folder", "has it: load"),
        ("LLVM IR", "has it not: write"),
        ("LLVM", "instructions, registers"),
        ("object code", "1 to 6 KB"),
        ("memory", "executable"),
    ]
    return chain(names, [(0, 1), (0, 2), (2, 3), (3, 4), (4, 5), (1, 5)])


@drawn("The arena of that step: a rectangle for each value, from its first to its last use.")
def arena() -> str:
    """Memory over steps."""
    (evaluation,) = explained().evaluations
    spans = [
        Span(v.first, v.last + 1, v.offset, v.offset + v.nbytes, v.node.op.name())
        for v in evaluation.values
    ]
    steps = len(evaluation.plan.steps) if evaluation.plan is not None else 0
    label = f"{bytes_text(evaluation.arena)}; steps from left to right"
    return memory_picture(spans, steps, evaluation.arena, label)


@drawn("What a call of a compiled function does.")
def captured() -> str:
    """Guards, replay, capture."""
    names = [
        ("call", "step(x, y)"),
        ("kind of arguments", "shapes, dtypes, modes"),
        ("places", "what the code read"),
        ("replay", "numbers, one call"),
        ("capture", "run once, watched"),
        ("refused: run as ever", "a warning says why"),
        ("results", "the same bits"),
    ]
    return chain(names, [(0, 1), (1, 2), (2, 3), (1, 4), (2, 4), (4, 5), (3, 6), (4, 6), (5, 6)])
