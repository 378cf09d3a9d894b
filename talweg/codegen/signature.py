"""How a kernel is called: what the runtime must know of a nest."""

from __future__ import annotations

import re
from typing import final

from talweg.base.frozen import frozen
from talweg.loops.nest import Check, LoopNest, statements

_FORMATS = {"bool": "q", "int": "q", "uint": "Q", "float": "d", "complex": "D"}


@final
@frozen
class Signature:
    """How a kernel is called: see `runtime.jit`, which reads these fields.

    Args:
        name: the stem of the symbols: `name.0`, `name.1`, ….
        buffers: how many addresses it takes, inputs before outputs.
        formats: q, Q, d or D (complex, two slots) for each argument; n for each number behind
            them, which the runtime computes.
        messages: of the checks, in the order of their numbers.
        reported: how many values a failed check reports at most.
        stages: how many stages run one after the other.
        scratch: whether a running thread needs memory of its own.
        shared: whether stages and threads share memory.
        sizes: Python's text of what `Kernel.sizes` returns, and of the numbers behind that, made
            of `v`, the values of the arguments; where it is empty, the function `name.sizes` says
            it.
    """

    name: str
    buffers: int
    formats: str
    messages: tuple[str, ...]
    reported: int
    stages: int
    scratch: bool
    shared: bool
    sizes: str = ""


def symbol(nest: LoopNest) -> str:
    """Return the stem of the symbols of a nest's kernel."""
    return "kernel_" + re.sub(r"[^0-9A-Za-z_]", "_", nest.name)


def signature_of(
    nest: LoopNest, stages: int, scratch: bool, shared: bool, sizes: str = "", numbers: int = 0
) -> Signature:
    """Return the launch signature of a kernel made of so many stages.

    Args:
        nest: the kernel.
        stages, scratch, shared, sizes: as in `Signature`.
        numbers: how many numbers that `sizes` says stand behind the arguments.
    """
    checks = [s for s in statements(nest.body) if isinstance(s, Check)]
    return Signature(
        name=symbol(nest),
        buffers=len(nest.inputs) + len(nest.outputs),
        formats="".join(_FORMATS[a.dtype.category] for a in nest.arguments) + "n" * numbers,
        messages=tuple(check.message for check in checks),
        reported=max((len(check.values) for check in checks), default=0),
        stages=stages,
        scratch=scratch,
        shared=shared,
        sizes=sizes,
    )
