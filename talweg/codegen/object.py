"""Nests to object code: one by one, or many at once on several threads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from talweg.base.errors import GraphError
from talweg.codegen import contraction
from talweg.codegen.cache import Compiled, ObjectCache
from talweg.codegen.cpu import compile_text
from talweg.codegen.llvm import emit
from talweg.codegen.signature import Signature, signature_of
from talweg.codegen.sizes import expression_of
from talweg.loops.nest import LoopNest
from talweg.loops.text import format_nest
from talweg.schedule.choose import Schedule
from talweg.schedule.contraction import recognise
from talweg.schedule.contraction_tiles import Tiles
from talweg.schedule.loops import Loops, staged
from talweg.schedule.target import Target

__all__ = ["Compiled", "ObjectCache", "compile_nest", "compile_nests"]

LINES = 2000  # of a module: what LLVM does once for each is then little beside the rest
FEWEST = 250  # of a module, while another thread could compile the rest


def compile_nest(
    nest: LoopNest,
    target: Target,
    cache: ObjectCache | None = None,
    schedule: Schedule | None = None,
) -> Compiled:
    """Return the machine code of a verified nest, from the cache where it has it.

    Args:
        nest: the kernel.
        target: the machine.
        cache: where code is kept.
        schedule: how the nest is cut up; by its structure alone unless given.

    Raises:
        GraphError: when the size of scratch memory depends on more than arguments, or the schedule
            does not fit the nest.
    """
    (made,) = compile_nests([(nest, schedule or Loops())], target, cache)
    return made


def compile_nests(
    wanted: Sequence[tuple[LoopNest, Schedule]],
    target: Target,
    cache: ObjectCache | None = None,
    threads: int = 1,
) -> list[Compiled]:
    """Return the machine code of verified nests, from the cache where it has it.

    Those that it has not are compiled together: fewer modules cost less, and several threads
    compile at once.

    Args:
        wanted: the kernels, each with its schedule.
        target: the machine.
        cache: where code is kept.
        threads: how many modules may be compiled at once.

    Raises:
        GraphError: when the size of scratch memory depends on more than arguments, or a schedule
            does not fit its nest.
    """
    keys = [
        b"" if cache is None else cache.key(format_nest(nest), schedule, target)
        for nest, schedule in wanted
    ]
    found = [None if cache is None else cache.get(key) for key in keys]
    missing = [n for n, made in enumerate(found) if made is None]
    if missing:
        made = _compiled([wanted[n] for n in missing], target, threads)
        for n, new in zip(missing, made, strict=True):
            found[n] = new
            if cache is not None:
                cache.put(keys[n], new)
    if cache is not None:
        cache.misses += len(missing)
        cache.hits += len(wanted) - len(missing)
    return [made for made in found if made is not None]


def _compiled(
    wanted: Sequence[tuple[LoopNest, Schedule]], target: Target, threads: int
) -> list[Compiled]:
    if threads < 2 or len(wanted) < 2:
        module = _Module()
        for nest, schedule in wanted:
            module.add(*_written(nest, schedule, target))
        return module.compiled(compile_text(module.text(), target))
    # Long ones come first and modules get smaller, so that the threads end together; the first
    # one is small too, so that they begin.
    order = sorted(range(len(wanted)), key=lambda n: _place(*wanted[n]))
    found: dict[int, Compiled] = {}
    modules: list[tuple[list[int], _Module, Future[bytes]]] = []
    with ThreadPoolExecutor(threads) as pool:
        numbers: list[int] = []
        module, lines = _Module(), 0
        for done, n in enumerate(order, 1):
            module.add(*_written(*wanted[n], target))
            numbers.append(n)
            left = len(order) - done
            expected = (lines + module.lines) * left // done
            most = min(LINES, max(FEWEST, expected // (2 * threads))) if modules else FEWEST
            if not left or module.lines > most:
                modules.append((numbers, module, pool.submit(compile_text, module.text(), target)))
                lines += module.lines
                numbers, module = [], _Module()
        for numbers, module, code in modules:
            found |= zip(numbers, module.compiled(code.result()), strict=True)
    return [found[n] for n in range(len(wanted))]


def _place(nest: LoopNest, schedule: Schedule) -> tuple[int, int, int, str]:
    """Where to compile a kernel: beside those that have functions in common with it.

    Those are the ones that turn squares, those with the same tiles, and those of the same nest.
    """
    if isinstance(schedule, Tiles):
        return int(schedule.right != "depth"), schedule.rows, schedule.vectors, nest.name
    return 2, 0, 0, nest.name


def _written(nest: LoopNest, schedule: Schedule, target: Target) -> tuple[str, Signature]:
    """The LLVM IR of a nest, and how its kernel is called."""
    if isinstance(schedule, Tiles):
        found = recognise(nest, schedule.order)
        if found is None:
            raise GraphError(f"{nest.name} is no contraction and cannot be computed in tiles")
        return contraction.emit(found, schedule, target)
    kernel = staged(nest, schedule, target)
    scratch = any(any(True for _ in stage.scratch()) for stage in kernel.stages)
    sizes = expression_of(kernel)
    signature = signature_of(nest, len(kernel.stages), scratch, bool(kernel.shared), sizes)
    return emit(kernel, target, schedule.light), signature


class _Module:
    """Kernels whose code is one object."""

    def __init__(self) -> None:
        self.signatures: list[Signature] = []
        self.parts: dict[str, None] = {}
        self.lines = 0
        self._names: dict[str, str] = {}

    def add(self, text: str, signature: Signature) -> None:
        """Add a kernel; all of it, functions of its own or what it declares may be there already.

        Two schedules may come to the same loops, and kernels of one form have the same tiles.
        """
        own = f"@{signature.name}."
        name = f"{signature.name}_{len(self.signatures)}"
        known = self._names.setdefault(text.replace(own, "@."), name)
        self.signatures.append(replace(signature, name=known))
        if known != name:
            return
        for part in _parts(text):
            head, bracket, rest = part.partition("(")
            _, of_kernel, function = head.partition(own)
            if head.startswith("define internal") and of_kernel and own not in rest:
                there = self._names.setdefault(bracket + rest, f"{name}.{function}")
                if there != f"{name}.{function}":
                    text = text.replace(part, "").replace(f"{own}{function}(", f"@{there}(")
        added = dict.fromkeys(_parts(text.replace(own, f"@{name}.")))
        self.lines += sum(part.count("\n") + 1 for part in added.keys() - self.parts.keys())
        self.parts |= added

    def text(self) -> str:
        """Return the LLVM IR of all of them."""
        return "\n".join(self.parts)

    def compiled(self, code: bytes) -> list[Compiled]:
        """Return the kernels of the object."""
        return [Compiled(code, signature) for signature in self.signatures]


def _parts(text: str) -> Iterator[str]:
    """The declarations and functions of a module."""
    for part in re.split(r"\n(?=define )", text):
        if part.startswith("define "):
            yield part
        else:
            yield from part.splitlines()
