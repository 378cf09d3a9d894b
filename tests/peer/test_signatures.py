"""What talweg has of PyTorch is called as PyTorch's is: names, order and defaults of parameters."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import talweg as tw
from tests.peer.peer import torch

pytestmark = pytest.mark.peer

SPACES = (
    *(
        "nn",
        "nn.functional",
        "nn.init",
        "nn.utils",
        "nn.utils.rnn",
        "nn.Module",
        "amp",
        "cpu.amp",
        "optim",
        "optim.swa_utils",
        "optim.lr_scheduler",
    ),
    *(
        "utils.checkpoint",
        "utils.data",
        "autograd",
        "autograd.functional",
        "func",
        "Generator",
        "Tensor",
        "",
    ),
)
HERE = {"utils.data": "data"}

# The reasons for which a signature may differ.
PRIVATE = "PyTorch's further parameter is private"
OUT = "results are not written into given Tensors"
DISPATCH = "PyTorch shows *args; what it dispatches to agrees"
WIDER = "talweg's names are those of the function of the same name"
FORMAT = "files have another format"
CLASSES = "made by talweg, never by programs"
CHECKS = "checks of kinds of derivatives that talweg does not have"
DEFAULT = "the default means the same"
FRAMES = "align_to_window: frames are aligned as by default"

EXCEPTIONS = {
    "nn": {"Hardtanh": "min_value and max_value are the names of before 2017"},
    "nn.functional": {
        **dict.fromkeys(("softmax", "softmin", "log_softmax"), PRIVATE),
        "normalize": OUT,
    },
    "nn.init": {"eye": WIDER},
    "nn.Module": {
        "forward": WIDER,
        "modules": "every module is given once",
        "state_dict": "positional arguments are those of before 2021",
    },
    "utils.data": {
        "DataLoader": "batches always come in order",
        "random_split": DEFAULT,
    },
    "autograd": {
        "backward": "grad_variables is the name of before 2017",
        "gradcheck": CHECKS,
        "gradgradcheck": CHECKS,
        "enable_grad": DEFAULT,
        "no_grad": DEFAULT,
    },
    "Tensor": {
        "split": "the function's name is accepted, and PyTorch's",
        "stft": FRAMES,
    },
    "": {
        **dict.fromkeys(("atleast_1d", "atleast_2d", "atleast_3d"), WIDER),
        "cdist": "there is one way to compute it",
        "chain_matmul": OUT,
        "compile": "later parameters steer what talweg does not have",
        "device": DEFAULT,
        "dtype": CLASSES,
        "einsum": DISPATCH,
        "enable_grad": DEFAULT,
        "layout": CLASSES,
        "load": FORMAT,
        "memory_format": CLASSES,
        "meshgrid": DEFAULT,
        "no_grad": DEFAULT,
        "norm": OUT,
        "save": FORMAT,
        "set_default_dtype": WIDER,
        "split": WIDER,
        "stft": FRAMES,
        "tensordot": WIDER,
    },
}


def found(root: Any, path: str) -> Any:
    for part in path.split(".") if path else ():
        root = getattr(root, part)
    return root


def parameters(function: Any) -> list[tuple[str, Any]] | None:
    """Name and default of each parameter; None where Python cannot tell, or there is no list."""
    try:
        listed = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL and p.name == "args" for p in listed):
        return None
    return [(p.name, default_of(p)) for p in listed if p.name not in ("device", "dtype", "self")]


def default_of(parameter: inspect.Parameter) -> Any:
    value = parameter.default
    if isinstance(value, bool | int | float | str | tuple | type(None)):
        return value
    return "none" if value is parameter.empty else "an object"


def pairs(space: str) -> Iterator[tuple[str, Any, Any]]:
    theirs, ours = found(torch, space), found(tw, HERE.get(space, space))
    for name in sorted(n for n in dir(theirs) if not n.startswith("_")):
        a, b = getattr(theirs, name), getattr(ours, name, None)
        if b is None or inspect.ismodule(a) or inspect.isclass(a) != inspect.isclass(b):
            continue
        if callable(a) and callable(b):
            yield name, a, b


def first_name(listed: list[tuple[str, Any]], method: bool) -> list[tuple[str, Any]]:
    return listed[1:] if method and listed and listed[0][0] == "input" else listed


@pytest.mark.parametrize("space", SPACES)
def test_signatures_are_pytorchs(space: str) -> None:
    importlib.import_module("talweg.data")
    excused, wrong, compared = EXCEPTIONS.get(space, {}), {}, 0
    for name, a, b in pairs(space):
        theirs, ours = parameters(a), parameters(b)
        if theirs is None or ours is None:
            continue
        compared += 1
        if theirs != first_name(ours, space == "Tensor"):
            wrong[name] = (theirs, ours)
    assert {k: v for k, v in wrong.items() if k not in excused} == {}
    assert set(excused) & {n for n, *_ in pairs(space)} <= set(wrong) | TOLD_APART, "not needed"
    assert compared or space == "Generator"


TOLD_APART = {"forward", "state_dict", "eye", "device", "layout", "dtype", "split", "einsum"}
