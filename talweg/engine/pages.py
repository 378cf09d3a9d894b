"""The page that shows an Explanation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from talweg.engine.pictures import Box, Span, flow_picture, memory_picture
from talweg.engine.report import bar, code, escaped, folded, page, table
from talweg.engine.units import bytes_text, count_text, time_text
from talweg.passes.places import HostCall, Place

if TYPE_CHECKING:
    from talweg.engine.explain import Evaluation, Explanation, KernelReport

PICTURED = 400  # steps: a picture of more shows nothing


def explanation_page(title: str, explanation: Explanation) -> str:
    """Return the whole page."""
    parts = [f"<p>{escaped(explanation.summary)}</p>"]
    for number, evaluation in enumerate(explanation.evaluations):
        parts.append(f"<h2>{number + 1}. {escaped(evaluation.title)}</h2>")
        parts += _evaluation(evaluation)
    return page(title, "\n".join(parts))


def _evaluation(evaluation: Evaluation) -> list[str]:
    parts = [f"<p>{escaped(evaluation.summary)}</p>"]
    kernels = evaluation.kernels
    if not kernels:
        return parts
    head = ("#", "kernel", "made", "bytes", "operations", "ops/byte", "items", "schedule", "from")
    most = max(k.nbytes for k in kernels)
    busiest = max(k.operations for k in kernels)
    rows = [
        (
            str(k.number),
            folded(escaped(k.name), _details(k)),
            k.how + (f" {time_text(k.made.spent)}" if k.made and k.how != "reused" else ""),
            bar(k.nbytes / max(most, 1), bytes_text(k.nbytes)),
            bar(k.operations / max(busiest, 1), count_text(k.operations)),
            f"{k.operations / max(k.nbytes, 1):.3g}",
            " + ".join(f"{items:,}" for items, _ in k.stages),
            type(k.schedule).__name__.lower(),
            "<br>".join(f"<code>{escaped(line)}</code>" for line in k.lines),
        )
        for k in kernels
    ]
    parts.append(table(head, rows, "rllrrrrll"))
    if evaluation.plan is not None and len(evaluation.plan.steps) <= PICTURED:
        flow = folded("which kernel feeds which", _flow(evaluation), open=True)
        parts += [flow, folded("what lies in the arena", _arena(evaluation), open=True)]
    texts = "".join(
        folded(f"{escaped(name)}: {text.count(chr(10))} lines", code(text))
        for name, text in evaluation.passes
    )
    parts.append(folded("the graph after every pass, and the loop nests", texts))
    return parts


def _details(kernel: KernelReport) -> str:
    launch = kernel.launch
    count = len(launch.nest.inputs)
    operands = [
        (
            "reads" if n < count else "writes",
            escaped(node.type),
            escaped(_where(place)),
            "row-major" if order is None else f"axes {escaped(order)}",
        )
        for n, (node, place, order) in enumerate(
            zip(launch.operands, launch.places, launch.orders, strict=True)
        )
    ]
    nodes = "\n".join(f"{n.op.name()}: {n.type}" for n in kernel.nodes)
    memory = f"memory of each thread {bytes_text(kernel.scratch)}, of all "
    return (
        table(("", "type", "where", "order"), operands, "llkl")
        + f"<p class='note'>{escaped(memory + bytes_text(kernel.shared))}; "
        + f"schedule <code>{escaped(kernel.schedule)}</code></p>"
        + folded(f"{len(kernel.nodes)} nodes", code(nodes))
        + folded("loop nest", code(kernel.nest))
    )


def _where(place: Place) -> str:
    return f"{place.kind} {'at ' * (place.kind == 'arena')}{place.at}"


def _flow(evaluation: Evaluation) -> str:
    kernels = evaluation.kernels
    most = max((k.nbytes for k in kernels), default=1) or 1
    boxes = {
        k.number: Box(
            k.name,
            f"#{k.number}  {bytes_text(k.nbytes)}  {count_text(k.operations)} ops",
            "\n".join([f"{k.number}: {k.name}", *k.lines]),
            k.nbytes / most,
        )
        for k in kernels
    }
    steps = evaluation.plan.steps if evaluation.plan is not None else ()
    for number, step in enumerate(steps):
        if isinstance(step, HostCall):
            boxes[number] = Box(step.node.op.name(), f"#{number}", "a Python function", 0, "host")
    edges = [(a, b, 0.8 + 0.35 * math.log10(1 + size / 1024)) for a, b, size in evaluation.flow]
    return flow_picture(boxes, edges)


def _arena(evaluation: Evaluation) -> str:
    if not evaluation.values or evaluation.plan is None:
        return "<p class='note'>nothing: no kernel leaves a value to another one</p>"
    spans = [
        Span(
            v.first,
            v.last + 1,
            v.offset,
            v.offset + v.nbytes,
            f"{v.node.op.name()}: {v.node.type}, {bytes_text(v.nbytes)} at {v.offset:,}, "
            f"from step {v.first} to {v.last}",
        )
        for v in evaluation.values
    ]
    label = f"{bytes_text(evaluation.arena)}; steps from left to right"
    return memory_picture(spans, len(evaluation.plan.steps), evaluation.arena, label)
