"""How a kernel is called: what the runtime must know of a nest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

from talweg.loops.nest import Allocate, Check, LoopNest, statements

_FORMATS = {"bool": "q", "int": "q", "uint": "Q", "float": "d", "complex": "D"}


@final
@dataclass(frozen=True)
class Signature:
    """How a kernel is called: see `runtime.jit`, which reads these fields.

    Args:
        name: the symbol of the function.
        buffers: how many addresses it takes, inputs before outputs.
        formats: q, Q, d or D (complex, two slots) for each argument.
        messages: of the checks, in the order of their numbers.
        reported: how many values a failed check reports at most.
        scratch: whether scratch memory is needed; `name.scratch` says how much.
    """

    name: str
    buffers: int
    formats: str
    messages: tuple[str, ...]
    reported: int
    scratch: bool


def signature_of(nest: LoopNest) -> Signature:
    """Return the launch signature of a nest's kernel."""
    checks = [s for s in statements(nest.body) if isinstance(s, Check)]
    return Signature(
        name="kernel_" + re.sub(r"[^0-9A-Za-z_]", "_", nest.name),
        buffers=len(nest.inputs) + len(nest.outputs),
        formats="".join(_FORMATS[a.dtype.category] for a in nest.arguments),
        messages=tuple(check.message for check in checks),
        reported=max((len(check.values) for check in checks), default=0),
        scratch=any(isinstance(s, Allocate) for s in statements(nest.body)),
    )
