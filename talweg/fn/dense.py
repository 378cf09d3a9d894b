"""Products with a weight: linear and bilinear maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from talweg.base.errors import DTypeError, ShapeError
from talweg.base.shapes import size_of
from talweg.fn.promotion import expand_to, one_dtype
from talweg.ir.build import Builder
from talweg.ir.node import Node


def _same_dtype(name: str, **nodes: Node | None) -> None:
    given = {k: n.dtype for k, n in nodes.items() if n is not None}
    if len(set(given.values())) > 1:
        found = ", ".join(f"{k} {d.name}" for k, d in given.items())
        raise DTypeError(f"{name}: {found} must have one dtype; {one_dtype(*given.values())}")


def _check_features(input: Node, weight: Node) -> None:
    if input.rank == 0 or weight.rank != 2:
        raise ShapeError(
            f"linear: expected an input [*, in_features] and a weight [out_features, in_features], "
            f"got shapes {input.shape} and {weight.shape}"
        )
    (outputs, taken), given = weight.shape, input.shape[-1]
    if given == taken:
        return
    if size_of(input.shape[1:]) == taken:
        remedy = "flatten the input first, with .flatten(1)"
    else:
        remedy = f"nn.Linear({given}, {outputs}) would take it"
    raise ShapeError(
        f"linear: the input of shape {input.shape} has {given} features, but the weight of shape "
        f"{weight.shape} takes {taken}; {remedy}"
    )


def linear(b: Builder, input: Node, weight: Node, bias: Node | None = None) -> Node:
    """Return input @ weight.T + bias.

    Args:
        input: [*, in_features].
        weight: [out_features, in_features], or [in_features].
        bias: [out_features], or 0-d for a weight of one dimension.

    Returns:
        [*, out_features], or [*] for a weight of one dimension.

    Raises:
        ShapeError: when the sizes do not fit; the message names the shapes.
        DTypeError: when the dtypes differ.

    >>> import talweg as tw
    >>> x, weight = tw.tensor([[1.0, 2.0]]), tw.tensor([[3.0, 4.0], [5.0, 6.0]])
    >>> tw.nn.functional.linear(x, weight).tolist()
    [[11.0, 17.0]]
    """
    if weight.rank == 1:
        bias = bias if bias is None or bias.rank else b.reshape(bias, (1,))
        out = linear(b, input, b.reshape(weight, (1, *weight.shape)), bias)
        return b.reshape(out, out.shape[:-1])
    _check_features(input, weight)
    _same_dtype("linear", input=input, weight=weight, bias=bias)
    lead = input.shape[:-1]
    rows = input if input.rank == 2 else b.reshape(input, (size_of(lead), input.shape[-1]))
    out = b.dot(rows, b.permute(weight, (1, 0)))
    if bias is not None:
        if bias.shape != (weight.shape[0],):
            raise ShapeError(
                f"linear: bias must have shape {(weight.shape[0],)} for a weight of shape "
                f"{weight.shape}, got {bias.shape}"
            )
        out = b.add(out, expand_to(b, bias, out.shape))
    return out if input.rank == 2 else b.reshape(out, (*lead, weight.shape[0]))


def bilinear(
    b: Builder, input1: Node, input2: Node, weight: Node, bias: Node | None = None
) -> Node:
    """Return input1 @ weight[k] @ input2 + bias for every k.

    Args:
        input1: [*, in1_features].
        input2: [*, in2_features].
        weight: [out_features, in1_features, in2_features].
        bias: [out_features].

    Raises:
        ShapeError: when the sizes do not fit.
        DTypeError: when the dtypes differ.
    """
    lead = input1.shape[:-1]
    fits = weight.rank == 3 and input1.rank > 0 and lead == input2.shape[:-1]
    if not fits or (input1.shape[-1], input2.shape[-1]) != weight.shape[1:]:
        raise ShapeError(
            f"bilinear: inputs of shapes {input1.shape} and {input2.shape} do not fit a weight of "
            f"shape {weight.shape}: expected [*, {weight.shape[1:2]}] and [*, {weight.shape[2:]}]"
        )
    _same_dtype("bilinear", input1=input1, input2=input2, weight=weight, bias=bias)
    out_features, n, m = weight.shape
    count = size_of(lead)
    # [count, n] x [n, out * m], then each row's [out, m] with its own input2.
    table = b.reshape(b.permute(weight, (1, 0, 2)), (n, out_features * m))
    half = b.reshape(b.dot(b.reshape(input1, (count, n)), table), (count, out_features, m))
    out = b.dot(half, b.reshape(input2, (count, m, 1)))
    out = b.reshape(out, (*lead, out_features))
    return out if bias is None else b.add(out, expand_to(b, bias, out.shape))


FUNCTIONAL: tuple[Callable[..., Any], ...] = (linear, bilinear)
PUBLIC: tuple[Callable[..., Any], ...] = (bilinear,)
METHODS: tuple[str, ...] = ()
