"""What lies below steps of the tape."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

from talweg.engine.tape import Direct, Edge, GradFn, end_of
from talweg.engine.tensor import AccumulateGrad

_order = attrgetter("order")


class Below(NamedTuple):
    """What lies below a step, and that itself.

    Args:
        steps: that step first.
        leaves: below them.
        number: of each; of leaves from -2 down, and -1 of None.
    """

    steps: list[Direct]
    leaves: list[AccumulateGrad]
    number: dict[Edge, int]


def directly_below(first: GradFn | None) -> Below | None:
    """Return what lies below a step; None where that are steps of other kinds, or hooks."""
    number: dict[Any, int] = {None: -1}
    stack: list[Any] = [first]
    steps: list[Direct] = []
    leaves: list[AccumulateGrad] = []
    while stack:
        step = stack.pop()
        while step not in number:
            if isinstance(step, Direct):
                if step.watch is not None:
                    return None
                number[step] = len(steps)
                steps.append(step)
                stack.append(step.right)
                step = step.left
            elif step.__class__ is AccumulateGrad:
                number[step] = -2 - len(leaves)
                leaves.append(step)
            else:
                return None
    return Below(steps, leaves, number)


def leaves_below(roots: list[GradFn | None]) -> set[AccumulateGrad]:
    """Return the leaves below some steps, and steps that are leaves themselves."""
    seen: set[Any] = {None, *roots}
    stack: list[Any] = [step for step in roots if step is not None]
    leaves: set[AccumulateGrad] = set()
    while stack:
        step = stack.pop()
        while isinstance(step, Direct):  # mostly one after the other, by their first operands
            right, below = step.right, step.left
            if right not in seen:
                seen.add(right)
                stack.append(right)
            if below in seen:
                break
            seen.add(below)
            step = below
        else:
            if step.__class__ is tuple:
                step, _ = step
                if step in seen:
                    continue
                seen.add(step)
                stack.append(step)
            elif step.__class__ is AccumulateGrad:
                leaves.add(step)
            else:
                below_it = [edge for edge in step.edges if edge not in seen]
                seen.update(below_it)
                stack += below_it
    return leaves


def reachable(roots: list[GradFn | None]) -> list[GradFn]:
    """Return the steps below some others, later ones first, each leaf after all that read it."""
    seen: dict[GradFn, None] = dict.fromkeys(step for step in roots if step is not None)
    stack = list(seen)
    leaves: dict[GradFn, int] = {}
    while stack:
        step = stack.pop()
        order = step.order
        for edge in (step.right, step.left) if isinstance(step, Direct) else step.edges[::-1]:
            if edge is None:
                continue
            below = edge[0] if isinstance(edge, tuple) else edge
            if below.__class__ is AccumulateGrad:
                leaves[below] = min(leaves.get(below, order), order)
            elif below not in seen:
                seen[below] = None
                stack.append(below)
    for leaf, first in leaves.items():
        leaf.order = first - 1
    return sorted((*seen, *(x for x in leaves if x not in seen)), key=_order, reverse=True)


def leading_to(steps: list[GradFn], targets: set[GradFn]) -> set[GradFn]:
    """Return those of some steps, later ones first, that lead to others, and these."""
    useful = set(targets)
    for step in reversed(steps):
        if isinstance(step, Direct):
            if step.left in useful or step.right in useful:
                useful.add(step)
                continue
        if any(end_of(edge)[0] in useful for edge in step.edges):
            useful.add(step)
    return useful
