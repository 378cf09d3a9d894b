"""The text form of a Graph: prints and parses back.

graph(%0: float32[2,3], %1: float32[])
  %2: float32[2,3] = mul %0 %1
  %3: float32[2] = reduce_sum %2 axes=(1,)
  return %3
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError
from talweg.ir.node import Graph, Node, input_node, make_node
from talweg.ir.op import INPUT, Op
from talweg.ir.types import TensorType, tensor_type

_LINE = re.compile(r"^\s*%(\d+): (\S+) = (\w+)((?: %\d+)*)((?: \w+=\S.*)?)$")


def print_graph(graph: Graph) -> str:
    """Return the text of a Graph. Data held by inputs is not printed: they become arguments.

    Raises:
        GraphError: when an attribute has no text form, such as a host function.
    """
    constants = [n for n in graph.order if n.op is INPUT]
    place = {n: i for i, n in enumerate((*graph.inputs, *constants))}
    head = ", ".join(f"%{i}: {n.type!r}" for n, i in place.items())
    lines = [f"graph({head})"]
    for node in graph.order:
        if node.op is INPUT:
            continue
        place[node] = len(place)
        operands = "".join(f" %{place[i]}" for i in node.inputs)
        attributes = "".join(
            f" {f.name}={_show(getattr(node.op, f.name))}" for f in fields(node.op)
        )
        type_text = _show_type(node.type)
        lines.append(f"  %{place[node]}: {type_text} = {node.op.name()}{operands}{attributes}")
    lines.append("  return " + " ".join(f"%{place[o]}" for o in graph.outputs))
    return "\n".join(lines) + "\n"


def parse_graph(text: str, ops: Mapping[str, type[Op]]) -> Graph:
    """Return the Graph of a text.

    Args:
        text: what `print_graph` wrote.
        ops: Op classes by name, such as `talweg.ops.BY_NAME`.

    Raises:
        GraphError: naming the line that cannot be read.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or not lines[0].startswith("graph("):
        raise GraphError("a graph's text starts with 'graph(' and ends with 'return'")
    place: dict[int, Node] = {}
    for number, type_text in re.findall(r"%(\d+): (\w+\[[\d,]*\])", lines[0]):
        place[int(number)] = input_node(_parse_type(type_text))
    inputs = list(place.values())
    for line in lines[1:-1]:
        found = _LINE.match(line)
        if not found:
            raise GraphError(f"cannot read the line {line.strip()!r}")
        number, type_text, name, operands, attributes = found.groups()
        if name not in ops:
            raise GraphError(f"unknown op {name!r} in {line.strip()!r}")
        op = ops[name](**_parse_fields(attributes, ops))
        try:
            nodes = tuple(place[int(n)] for n in re.findall(r"%(\d+)", operands))
        except KeyError as missing:
            raise GraphError(f"%{missing} is used before it is made: {line.strip()!r}") from None
        node = make_node(op, nodes, op.infer(*(n.type for n in nodes)))
        if _show_type(node.type) != type_text:
            raise GraphError(f"{line.strip()!r}: {name} gives {node.type}")
        place[int(number)] = node
    returned = re.findall(r"%(\d+)", lines[-1])
    return Graph(inputs, [place[int(n)] for n in returned])


def _show_type(type: Any) -> str:
    if isinstance(type, TensorType):
        return repr(type)
    return "(" + ";".join(map(repr, type)) + ")"


def _parse_type(text: str) -> TensorType:
    name, _, sizes = text.rstrip("]").partition("[")
    if name not in dtypes.BY_NAME:
        raise GraphError(f"unknown dtype {name!r}")
    return tensor_type(dtypes.BY_NAME[name], tuple(int(n) for n in sizes.split(",") if n))


def _show(value: object) -> str:
    if isinstance(value, DType):
        return value.name
    if isinstance(value, Graph | str):
        text = value if isinstance(value, str) else print_graph(value)
        return repr(text).replace(" ", "\\x20")
    if isinstance(value, bool | int | float | complex | tuple | None):
        return repr(value).replace(" ", "")
    raise GraphError(f"an attribute of type {type(value).__name__} has no text form")


def _parse_fields(text: str, ops: Mapping[str, type[Op]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for part in text.split():
        name, _, value = part.partition("=")
        found: Any = dtypes.BY_NAME.get(value) or _literal(value)
        nested = isinstance(found, str) and found.startswith("graph(")
        out[name] = parse_graph(found, ops) if nested else found
    return out


def _literal(text: str) -> Any:
    if text in ("inf", "-inf", "nan"):
        return float(text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise GraphError(f"cannot read the attribute {text!r}") from None
