"""The reference interpreter: runs a Graph by the NumPy `reference` rule of each Op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import GraphError, located
from talweg.base.source import describe
from talweg.ir.node import Graph, Node
from talweg.ir.types import TensorType


def interpret(graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run a Graph on stored arrays, one per input; return one stored array per output.

    Intermediate values are dropped after their last use.

    Raises:
        GraphError: when arrays and inputs differ in number.
        IndexOutOfRange and other errors of a rule, with the user's line added.
    """
    if len(arrays) != len(graph.inputs):
        raise GraphError(f"{len(graph.inputs)} inputs are needed, {len(arrays)} were given")
    values: dict[Node, Any] = {
        n: dtypes.decode(a, n.type.dtype) for n, a in zip(graph.inputs, arrays, strict=True)
    }
    uses: dict[Node, int] = {}
    for node in graph.order:
        for i in node.inputs:
            uses[i] = uses.get(i, 0) + 1
    for node in graph.outputs:
        uses[node] = uses.get(node, 0) + 1
    for node in graph.order:
        array = node.array
        if array is not None:
            values[node] = dtypes.decode(array, node.type.dtype)
            continue
        values[node] = run(node, [values[i] for i in node.inputs])
        for i in node.inputs:
            uses[i] -= 1
            if not uses[i]:
                values.pop(i, None)
    return [dtypes.encode(values[o], o.type.dtype) for o in graph.outputs]


def run(node: Node, operands: Sequence[np.ndarray]) -> Any:
    """Run one Node's reference rule and bring the result to the inferred type.

    Raises:
        GraphError: when the rule's result has another shape or dtype than `infer` says.
    """
    try:
        with np.errstate(all="ignore"):
            result = node.op.reference(*operands)
    except (TypeError, GraphError):
        raise
    except Exception as error:
        raise located(error, describe(node.source)) from error
    type: Any = node.type
    if not isinstance(type, TensorType):
        return tuple(_settle(node, r, t) for r, t in zip(result, type, strict=True))
    return _settle(node, result, type)


def _settle(node: Node, result: Any, type: TensorType) -> np.ndarray:
    array = np.asarray(result)
    if array.shape != type.shape or array.dtype != type.dtype.compute:
        raise GraphError(
            f"{node.op.name()}: reference gave {array.dtype}{array.shape}, infer says {type}"
        )
    return dtypes.round_to_bfloat16(array) if type.dtype is dtypes.bfloat16 else array
