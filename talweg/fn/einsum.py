"""Einstein's summation: a formula of letters becomes permutes, reshapes and batched products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import size_of
from talweg.fn.promotion import cast, expand_to, result_type
from talweg.fn.views import diagonal, permute, reshape_to
from talweg.ir.build import Builder
from talweg.ir.node import Node

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass
class Labelled:
    """A value whose axes carry labels: letters, or the numbers of axes under an ellipsis."""

    node: Node
    labels: tuple[str, ...]


def _parsed(equation: str, count: int) -> tuple[list[str], str | None]:
    text = equation.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != count:
        raise InvalidValue(f"einsum: {equation!r} names {len(terms)} operands, {count} were given")
    for term in (*terms, output):
        letters = term.replace("...", "", 1)
        if not set(letters) <= _LETTERS:
            raise InvalidValue(f"einsum: {term!r} of {equation!r} may hold letters and one '...'")
    return terms, output if arrow else None


def _labels(term: str, rank: int, widest: int) -> tuple[str, ...]:
    """Return one label per axis; the axes of an ellipsis are numbered from the widest one's end."""
    head, dots, tail = term.partition("...")
    hidden = rank - len(head) - len(tail)
    return (*head, *(f"{widest - hidden + i:03d}" for i in range(hidden if dots else 0)), *tail)


def _hidden(term: str, node: Node) -> int:
    letters = len(term.replace("...", ""))
    if node.rank < letters or (node.rank > letters and "..." not in term):
        raise ShapeError(f"einsum: {term!r} does not name the dimensions of shape {node.shape}")
    return node.rank - letters


def _without_repeats(b: Builder, value: Labelled) -> Labelled:
    node, labels = value.node, list(value.labels)
    while len(set(labels)) != len(labels):
        label = next(k for k in labels if labels.count(k) > 1)
        one = labels.index(label)
        two = labels.index(label, one + 1)
        if node.shape[one] != node.shape[two]:
            raise ShapeError(
                f"einsum: label {label!r} stands for sizes {node.shape[one]} and {node.shape[two]}"
            )
        node = diagonal(b, node, 0, one, two)
        del labels[two], labels[one]
        labels.append(label)
    return Labelled(node, tuple(labels))


def _sizes(values: Sequence[Labelled]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for value in values:
        for label, n in zip(value.labels, value.node.shape, strict=True):
            before = sizes.setdefault(label, n)
            if before == 1:
                sizes[label] = n
            elif n not in (1, before):
                raise ShapeError(f"einsum: label {label!r} stands for sizes {before} and {n}")
    return sizes


def _sum_out(b: Builder, value: Labelled, keep: set[str]) -> Labelled:
    axes = tuple(i for i, k in enumerate(value.labels) if k not in keep)
    if not axes:
        return value
    return Labelled(b.reduce_sum(value.node, axes), tuple(k for k in value.labels if k in keep))


def _arranged(b: Builder, value: Labelled, labels: Sequence[str], sizes: dict[str, int]) -> Node:
    """Return the node with its axes in this order, stretched from size 1 where others are wider."""
    node = permute(b, value.node, tuple(value.labels.index(k) for k in labels))
    return expand_to(b, node, tuple(sizes[k] for k in labels))


def _product(
    b: Builder, x: Labelled, y: Labelled, keep: set[str], sizes: dict[str, int]
) -> Labelled:
    """Multiply two values, summing the labels that both have and nobody needs any more."""
    x = _sum_out(b, x, keep | set(y.labels))
    y = _sum_out(b, y, keep | set(x.labels))
    shared = [k for k in x.labels if k in y.labels]
    batch = [k for k in shared if k in keep]
    summed = [k for k in shared if k not in keep]
    rows = [k for k in x.labels if k not in shared]
    columns = [k for k in y.labels if k not in shared]

    def count(labels: Sequence[str]) -> int:
        return size_of([sizes[k] for k in labels])

    lead = tuple(sizes[k] for k in batch)
    m, k, n = count(rows), count(summed), count(columns)
    left = reshape_to(b, _arranged(b, x, (*batch, *rows, *summed), sizes), (*lead, m, k))
    right = reshape_to(b, _arranged(b, y, (*batch, *summed, *columns), sizes), (*lead, k, n))
    labels = (*batch, *rows, *columns)
    if summed:
        product = b.dot(left, right)
    else:
        wide = (*lead, m, n)
        product = b.mul(expand_to(b, left, wide), expand_to(b, right, wide))
    return Labelled(reshape_to(b, product, tuple(sizes[k] for k in labels)), labels)


def _output(terms: Sequence[str], output: str | None, widest: int) -> tuple[str, ...]:
    if output is None:
        letters = "".join(terms).replace(".", "")
        once = sorted(k for k in set(letters) if letters.count(k) == 1)
        return (*(f"{i:03d}" for i in range(widest)), *once)
    labels = _labels(output, len(output.replace("...", "")) + widest, widest)
    if len(set(labels)) != len(labels):
        raise InvalidValue(f"einsum: the output {output!r} names a dimension twice")
    return labels


def einsum(b: Builder, equation: str, *operands: Node | Sequence[Node]) -> Node:
    """Return sums of products over labelled dimensions, in Einstein's notation.

    Operands are multiplied from left to right.

    Args:
        equation: such as "bij,bjk->bik". Letters that the output lacks are summed; one that stands
            twice in an operand takes its diagonal; "..." stands for any further dimensions. Without
            "->", letters that occur once form the output in alphabetical order.
        operands: one per term, or a list of them.

    Raises:
        InvalidValue: for an equation that cannot be read.
        ShapeError: when it does not fit the shapes.

    >>> import talweg as tw
    >>> tw.einsum("ij,ij->i", tw.tensor([[1, 2], [3, 4]]), tw.tensor([[1, 1], [1, 1]])).tolist()
    [3, 7]
    """
    nodes: list[Node] = []
    for given in operands:
        nodes += [given] if isinstance(given, Node) else list(given)
    terms, right = _parsed(equation, len(nodes))
    widest = max(_hidden(t, n) for t, n in zip(terms, nodes, strict=True))
    dtype = result_type(b, *nodes)
    values = [
        _without_repeats(b, Labelled(cast(b, n, dtype), _labels(t, n.rank, widest)))
        for t, n in zip(terms, nodes, strict=True)
    ]
    sizes = _sizes(values)
    if right is not None and "..." not in right:
        output = _output(terms, right, 0)
    else:
        output = _output(terms, right, widest)
    unknown = [k for k in output if k not in sizes]
    if unknown:
        raise InvalidValue(
            f"einsum: the output of {equation!r} names {unknown[0]!r}, no input does"
        )
    result = values[0]
    for i, value in enumerate(values[1:], start=1):
        needed = set(output).union(*(v.labels for v in values[i + 1 :]))
        result = _product(b, result, value, needed, sizes)
    result = _sum_out(b, result, set(output))
    node = _arranged(b, result, output, sizes)
    return b.copy(node) if node in nodes else node


PUBLIC: tuple[Callable[..., Node], ...] = (einsum,)
