"""What newcomers do wrong: the message says what, and how it is put right."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import DTypeError, GradientError, IndexOutOfRange, InvalidValue, ShapeError
from talweg.nn.functional import cross_entropy


class _Bare(nn.Module):
    def __init__(self) -> None:
        self.width = 3

    def forward(self, x: tw.Tensor) -> None:
        return None


class _Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(2, 2)]


SCORES, LABELS = tw.zeros(4, 3), tw.tensor([0, 1, 2, 0])
IMAGES = tw.zeros(4, 1, 8, 8)
SILENT = nn.Module()
SILENT.forward = lambda x: None

MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "features": (
        lambda: nn.Linear(64, 10)(tw.zeros(4, 512)),
        ShapeError,
        r"shape \(4, 512\) has 512 features.* takes 64; nn\.Linear\(512, 10\) would take it",
    ),
    "images": (lambda: nn.Linear(64, 10)(IMAGES), ShapeError, r"flatten the input .*flatten\(1\)"),
    "scalar": (lambda: nn.Linear(1, 1)(tw.tensor(1.0)), ShapeError, r"expected .* got shapes \(\)"),
    "channels": (
        lambda: nn.Conv2d(8, 4, 3)(tw.zeros(2, 1, 9, 9)),
        ShapeError,
        r"has 1 channels, but a weight of shape \(4, 8, 3, 3\) with groups=1 takes 8\n",
    ),
    "no channels": (lambda: nn.Conv2d(1, 4, 3)(IMAGES[:, 0]), ShapeError, r"\.unsqueeze\(1\)"),
    "channels last": (
        lambda: nn.Conv2d(3, 4, 3)(tw.zeros(4, 8, 8, 3)),
        ShapeError,
        r"if channels stand last, use \.permute\(0, 3, 1, 2\)",
    ),
    "groups": (
        lambda: nn.functional.conv2d(tw.zeros(1, 2, 4, 4), tw.zeros(3, 1, 1, 1), groups=2),
        ShapeError,
        r"3 output channels .* must be divisible by groups=2",
    ),
    "float64": (
        lambda: nn.Conv2d(1, 4, 3)(IMAGES.double()),
        DTypeError,
        r"input float64, weight float32.* input with \.to\(tw\.float32\)",
    ),
    "integers": (
        lambda: nn.Linear(3, 2)(tw.ones(3, dtype=tw.int64)),
        DTypeError,
        r"input int64, weight float32.* input with \.to\(tw\.float32\)",
    ),
    "bias of another dtype": (
        lambda: nn.functional.linear(tw.ones(3), tw.ones(2, 3), tw.ones(2).double()),
        DTypeError,
        r"use \.to\(\)",
    ),
    "float labels": (
        lambda: cross_entropy(SCORES, LABELS.float()),
        DTypeError,
        r"float32 of shape \(4,\); convert labels with \.long\(\)",
    ),
    "column of labels": (
        lambda: cross_entropy(SCORES, LABELS[:, None]),
        ShapeError,
        r"got \(4, 1\); remove the axis of size 1 with \.squeeze\(1\)",
    ),
    "one-hot labels": (
        lambda: cross_entropy(SCORES, nn.functional.one_hot(LABELS, 3)),
        ShapeError,
        r"one-hot labels become indices by \.argmax\(1\)",
    ),
    "labels from 1": (
        lambda: cross_entropy(SCORES, LABELS + 1).item(),
        IndexOutOfRange,
        r"index 3 is out of range for axis 1 of size 3; indices count from 0",
    ),
    "unknown word": (
        lambda: nn.Embedding(10, 3)(tw.tensor([10])).tolist(),
        IndexOutOfRange,
        r"index 10 is out of range for axis 0 of size 10; indices count from 0",
    ),
    "no return": (
        lambda: cross_entropy(SILENT(SCORES), LABELS),
        DTypeError,
        r"input must be a Tensor, got None, which is what a function without `return` gives",
    ),
    "no super, called": (lambda: _Bare()(IMAGES), AttributeError, r"call super\(\)\.__init__\(\)"),
    "no super, parameters": (
        lambda: list(_Bare().parameters()),
        AttributeError,
        r"must call super\(\)\.__init__\(\) first",
    ),
    "a Module for parameters": (
        lambda: tw.optim.SGD(nn.Linear(2, 2)),  # type: ignore[arg-type]
        TypeError,
        r"got Linear; give it \.parameters\(\)",
    ),
    "Modules for parameters": (
        lambda: tw.optim.SGD(nn.Sequential(nn.Linear(2, 2))),  # type: ignore[arg-type]
        TypeError,
        r"one of the params is Linear; give it \.parameters\(\)",
    ),
    "layers in a list": (
        lambda: tw.optim.Adam(_Listed().parameters()),
        InvalidValue,
        r"empty parameter list; .* nn\.ModuleList .* not those in a plain list",
    ),
    "no gradient": (
        lambda: tw.ones(3, requires_grad=True).argmax().float().backward(),
        GradientError,
        r"does not require grad .* as argmax",
    ),
    "item of many": (IMAGES.item, ShapeError, r"use \.tolist\(\)"),
    "heads": (lambda: nn.MultiheadAttention(8, 3), InvalidValue, "got 8 and 3"),
    "called Function": (
        lambda: tw.autograd.Function()(IMAGES),
        TypeError,
        r"called by Function\.apply\(",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_message_says_what_and_how_it_is_put_right(mistake: str) -> None:
    wrong, error, text = MISTAKES[mistake]
    with pytest.raises(error, match=text):
        wrong()


@pytest.mark.parametrize(("owner", "name"), [(tw, "zero"), (nn, "Conv2D"), (nn.ReLU(), "trian")])
def test_names_that_are_not_there_can_be_guessed_by_python(owner: object, name: str) -> None:
    with pytest.raises(AttributeError, match=name) as failure:
        getattr(owner, name)
    assert failure.value.name == name
    assert failure.value.obj is owner


def test_dir_of_a_module_whose_init_was_not_called() -> None:
    assert "forward" in dir(_Bare())


def test_signatures_of_functions_speak_of_tensors() -> None:
    shown = inspect.signature(cross_entropy)
    assert shown.parameters["input"].annotation == "Tensor"
    assert "Node" not in str(inspect.signature(nn.functional.conv2d))
    assert cross_entropy.__qualname__ == "cross_entropy"
