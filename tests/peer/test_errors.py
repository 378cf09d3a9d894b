"""Mistakes raise where PyTorch raises, with a message that names shapes and the user's line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from peer import torch

import talweg as tw

pytestmark = pytest.mark.peer


def leaf(T: Any) -> Any:
    """Return a small leaf that requires gradients."""
    return T.ones(2, 3, requires_grad=True)


def second_backward(T: Any) -> None:
    y = (leaf(T) ** 2).sum()
    y.backward()
    y.backward()


def overwritten(T: Any) -> None:
    y = leaf(T).exp()
    y.add_(1)
    y.sum().backward()


def overwritten_operand(T: Any) -> None:
    a = leaf(T) * 2
    y = a * a
    a[0] = 0.0
    y.sum().backward()


def write_to_expanded(T: Any) -> None:
    T.zeros(1, 3).expand(4, 3).add_(1)


def view_of_transposed(T: Any) -> None:
    T.ones(2, 3).t().view(6)


MISTAKES: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "broadcast": (lambda T: T.ones(2, 3) + T.ones(4, 3), ("(2, 3)", "(4, 3)")),
    "matmul": (lambda T: T.ones(2, 3) @ T.ones(4, 5), ("2", "3", "4", "5")),
    "linear": (lambda T: T.nn.Linear(3, 2)(T.ones(4, 5)), ("5", "3")),
    "conv channels": (lambda T: T.nn.Conv2d(3, 4, 3)(T.ones(1, 2, 8, 8)), ("3", "2")),
    "conv kernel too large": (lambda T: T.nn.Conv2d(1, 1, 5)(T.ones(1, 1, 3, 3)), ("3", "5")),
    "reshape": (lambda T: T.ones(2, 3).reshape(4, 2), ("6", "(4, 2)")),
    "view": (view_of_transposed, ("(2",)),
    "cat": (lambda T: T.cat([T.ones(2, 3), T.ones(2, 4)], 0), ("3", "4")),
    "stack": (lambda T: T.stack([T.ones(2), T.ones(3)]), ("2", "3")),
    "dimension": (lambda T: T.ones(2, 3).sum(5), ("5",)),
    "squeeze and index": (lambda T: T.ones(2, 3)[5], ("5", "2")),
    "too many indices": (lambda T: T.ones(2)[0, 0], ("1",)),
    "index tensor": (lambda T: T.ones(2, 3)[T.tensor([7])].sum().item(), ("7", "2")),
    "gather index": (
        lambda T: T.gather(T.ones(2, 3), 1, T.tensor([[9]])).sum().item(),
        ("9", "3"),
    ),
    "class index": (
        lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.tensor([0, 3])).item(),
        ("3",),
    ),
    "label count": (
        lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.tensor([0])),
        ("2", "1"),
    ),
    "embedding index": (lambda T: T.nn.Embedding(3, 2)(T.tensor([3])).sum().item(), ("3",)),
    "item": (lambda T: T.ones(2).item(), ("2",)),
    "truth": (lambda T: bool(T.ones(2)), ("2",)),
    "numpy of a leaf": (lambda T: leaf(T).numpy(), ("detach",)),
    "int requires grad": (lambda T: T.ones(2, dtype=T.int64).requires_grad_(), ("int64",)),
    "backward of a vector": (lambda T: (leaf(T) * 2).backward(), ("scalar", "(2, 3)")),
    "backward of a constant": (lambda T: T.ones(()).backward(), ("require",)),
    "second backward": (second_backward, ("second time", "retain_graph")),
    "overwritten result": (overwritten, ("inplace", "version 1")),
    "overwritten operand": (overwritten_operand, ("inplace", "version 1")),
    "in-place on a leaf": (lambda T: leaf(T).add_(1), ("leaf",)),
    "in-place on a leaf's view": (lambda T: leaf(T)[0].add_(1), ("leaf",)),
    "in-place changes dtype": (lambda T: T.ones(2, dtype=T.int64).add_(0.5), ("int64",)),
    "in-place changes shape": (lambda T: T.ones(2).add_(T.ones(3, 2)), ("(2,)", "(3, 2)")),
    "write to expanded": (write_to_expanded, ("single memory location",)),
    "unused input": (lambda T: T.autograd.grad(leaf(T).sum(), leaf(T)), ("not have been used",)),
    "bitwise of floats": (lambda T: T.ones(2) & T.ones(2), ("float32",)),
    "bool minus": (lambda T: T.tensor([True]) - T.tensor([True]), ("bool",)),
    "mask shape": (lambda T: T.ones(3)[T.tensor([True, False])], ("2", "3")),
    "softmax dimension": (lambda T: T.ones(2).softmax(3), ("3",)),
    "batch norm of one value": (lambda T: T.nn.BatchNorm1d(3)(T.ones(1, 3)), ("1",)),
    "grad shape": (lambda T: setattr(leaf(T), "grad", T.ones(3)), ("(3,)", "(2, 3)")),
    "load_state_dict": (
        lambda T: T.nn.Linear(3, 2).load_state_dict({"weight": T.ones(2, 3)}),
        ("bias",),
    ),
    "load_state_dict shape": (
        lambda T: T.nn.Linear(1, 2).load_state_dict({"weight": T.ones(2, 3), "bias": T.ones(2)}),
        ("weight", "3"),
    ),
    "learning rate": (lambda T: T.optim.SGD([leaf(T)], lr=-1.0), ("-1",)),
    "no parameters": (lambda T: T.optim.SGD([], lr=0.1), ("empty",)),
}

WITHOUT_A_LINE = {
    *("load_state_dict", "load_state_dict shape", "learning rate", "no parameters", "grad shape"),
    *("int requires grad", "batch norm of one value", "conv kernel too large"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_raises_in_both(name: str) -> None:
    mistake, named = MISTAKES[name]
    with pytest.raises(Exception) as theirs:
        mistake(torch)
    with pytest.raises(Exception) as ours:
        mistake(tw)
    kinds = (RuntimeError, IndexError, ValueError, TypeError)
    common = [k for k in kinds if isinstance(theirs.value, k)]
    assert any(isinstance(ours.value, k) for k in common), f"{ours.type} against {theirs.type}"
    text = str(ours.value)
    for part in named:
        assert part in text, text
    if name not in WITHOUT_A_LINE:
        assert "test_errors.py" in text, f"the user's line is missing: {text}"
