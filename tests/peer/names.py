"""Which of PyTorch's public names talweg's front end lacks: what docs/notes/017 lists.

`python -m tests.peer.names` prints the list for the note.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from typing import Any

SPACES = (
    *("", "nn", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn", "nn.utils.prune"),
    *("optim", "optim.lr_scheduler", "utils.data", "autograd", "autograd.functional"),
    *("autograd.forward_ad", "autograd.graph", "func", "linalg", "fft", "special"),
    *("distributions", "cuda", "amp", "jit", "Tensor", "nn.Module", "Generator"),
)
# What is no part of what programs use: typing, the machinery of dispatch, other devices.
FOREIGN = ("typing", "collections", "contextlib", "functools", "enum", "warnings", "math", "_C")
MACHINERY = (
    *("cudnn_", "miopen_", "mkldnn_", "fbgemm_", "quantized_", "native_", "sym_", "batch_norm_"),
    *("handle_torch_function", "has_torch_function", "merge_type", "parse_", "import_ir", "Sym"),
    *("fused_", "fake_quantize", "choose_qparams", "q_", "unify_type", "boolean_dispatch"),
)


def found(root: Any, path: str) -> Any:
    """Return a module or class below the root; None where there is none."""
    for part in path.split(".") if path else ():
        below = getattr(root, part, None)
        if below is None and inspect.ismodule(root):
            try:
                below = importlib.import_module(f"{root.__name__}.{part}")
            except ImportError:
                return None
        root = below
    return root


def public(name: str, value: Any) -> bool:
    """Return whether a name of PyTorch is one that programs are meant to use."""
    if name.startswith(("_", *MACHINERY)) or inspect.ismodule(value):
        return False
    home = getattr(value, "__module__", None) or ""
    if home.split(".")[0] in FOREIGN or home == "torch._C" or home.startswith("torch._ops"):
        return False
    return callable(value) and bool(value.__doc__)


def missing(torch: Any, ours: Any) -> dict[str, list[str]]:
    """Return, for each of PyTorch's modules, the public names that talweg's lacks."""
    table = {}
    for space in SPACES:
        theirs, here = found(torch, space), found(ours, space)
        names = [n for n in dir(theirs) if public(n, getattr(theirs, n, None))]
        lacking = [n for n in names if here is None or not hasattr(here, n)]
        if lacking:
            table[space] = sorted(lacking)
    return table


def written(table: dict[str, list[str]]) -> str:
    """Return the table as the note has it."""
    parts = []
    for space, names in table.items():
        title = f"torch.{space}".removesuffix(".")
        body = textwrap.fill(", ".join(f"`{n}`" for n in names), 100, break_on_hyphens=False)
        parts.append(f"**{title}**\n\n{body}\n")
    return "\n".join(parts)


def read(page: str) -> dict[str, list[str]]:
    """Return the table that a note holds."""
    table: dict[str, list[str]] = {}
    space = None
    for line in page.splitlines():
        if line.startswith("**torch"):
            space = line.strip("*").removeprefix("torch").removeprefix(".")
            table[space] = []
        elif space is not None and line.startswith("`"):
            table[space] += [n.strip("`, ") for n in line.split(", ") if n.strip("`, ")]
    return table


if __name__ == "__main__":
    frontend = importlib.import_module("talweg.frontends.torch")
    print(written(missing(importlib.import_module("torch"), frontend)))
