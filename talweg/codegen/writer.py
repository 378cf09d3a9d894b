"""Writer: the text of one LLVM module, instruction by instruction, in SSA form.

It knows blocks, names, phis and declarations, and nothing of loop nests. LLVM parses text in any
case, so no objects are built only to be printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from talweg.schedule.target import Target

# What these write depends on their operands alone.
PURE = frozenset(
    re.findall(
        r"\w+",
        "add sub mul udiv urem sdiv srem and or xor shl lshr ashr icmp select getelementptr trunc "
        "sext zext fadd fsub fmul fdiv fneg fcmp bitcast insertelement extractelement "
        "shufflevector",
    )
)


@dataclass(eq=False)
class Phi:
    """A value that depends on where control came from; written when all its sources are known."""

    name: str
    type: str
    place: int
    sources: list[tuple[str, str]]


@dataclass(eq=False)
class Function:
    """The lines of the function that is being written."""

    head: str = ""
    rooms: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    block: str = "entry"
    count: int = 0
    known: dict[str, str] = field(default_factory=dict)


class Writer:
    """Collects the functions, constants and declarations of a module.

    Args:
        target: what the code is for; the mathematical functions ask it which instructions exist.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.declarations: dict[str, str] = {}
        self.finished: list[str] = []
        self.defined: dict[str, tuple[str, ...]] = {}
        self.function = Function()

    # -- module

    @contextmanager
    def define(self, head: str = "", light: bool = False) -> Iterator[Function]:
        """Write a function.

        Args:
            head: what stands before its body.
            light: whether LLVM spends little effort on it: half the time, and code that takes up
                to a quarter longer. The bits of results are the same.
        """
        outer, self.function = self.function, Function(head)
        yield self.function
        lines = "\n".join(self.function.rooms + self.function.lines)
        effort = "noinline optnone " if light else ""
        self.finished.append(
            f"define {self.function.head} nounwind {effort}{{\nentry:\n{lines}\n}}\n"
        )
        self.function = outer

    def declare(self, name: str, text: str) -> None:
        """Write a declaration or a constant of the module, once."""
        self.declarations[name] = text

    def text(self) -> str:
        """Return the module."""
        head = f'target triple = "{self.target.triple}"\n'
        return head + "\n".join([*self.declarations.values(), "", *self.finished])

    # -- instructions

    def emit(self, instruction: str) -> str:
        """Append an instruction that has a result, unless it is known; return its name."""
        function = self.function
        pure = instruction.partition(" ")[0] in PURE
        if pure:
            known = function.known.get(instruction)
            if known is not None:
                return known
            if instruction.startswith("getelementptr") and instruction.endswith(", i64 0"):
                _, base, _ = instruction.rsplit(", ", 2)
                if base.startswith("ptr "):
                    return base[4:]
        function.count += 1
        name = f"%t{function.count}"
        function.lines.append(f"  {name} = {instruction}")
        if pure:
            function.known[instruction] = name
        return name

    def do(self, instruction: str) -> None:
        """Append an instruction without a result."""
        self.function.lines.append(f"  {instruction}")

    def intrinsic(self, name: str, result: str, *operands: tuple[str, str]) -> str:
        """Call an intrinsic that becomes instructions; operands are (type, value) pairs."""
        types = ", ".join(kind for kind, _ in operands)
        self.declare(name, f"declare {result} @{name}({types})")
        given = ", ".join(f"{kind} {value}" for kind, value in operands)
        if result == "void":
            self.do(f"call void @{name}({given})")
            return ""
        return self.emit(f"call {result} @{name}({given})")

    def early(self, instruction: str) -> str:
        """Write an instruction that has a result in front of all others; return its name."""
        function = self.function
        function.count += 1
        name = f"%t{function.count}"
        function.rooms.append(f"  {name} = {instruction}")
        return name

    def room(self, kind: str) -> str:
        """Return the address of memory of the function, for one value of a type."""
        return self.early(f"alloca {kind}")

    # -- control

    def label(self, role: str) -> str:
        """Return the name of a new block."""
        self.function.count += 1
        return f"{role}{self.function.count}"

    @property
    def block(self) -> str:
        """The block that is being written."""
        return self.function.block

    @property
    def known(self) -> dict[str, str]:
        """The results of instructions that can be used where the block goes."""
        return self.function.known

    def start(self, label: str, known: dict[str, str] | None = None) -> None:
        """Begin a block.

        Args:
            label: its name.
            known: what was known at the end of a block through which all ways lead here.
        """
        self.function.lines.append(f"{label}:")
        self.function.block = label
        self.function.known = dict(known or {})

    def jump(self, label: str) -> None:
        """End the block: go to another one."""
        self.do(f"br label %{label}")

    def branch(self, condition: str, then: str, otherwise: str) -> None:
        """End the block: go to one of two."""
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}")

    def phi(self, kind: str, *sources: tuple[str, str]) -> Phi:
        """Begin a block with a phi of (value, block) pairs; more may be added until it is sealed.

        Phis stand before all other instructions of their block.
        """
        function = self.function
        function.count += 1
        function.lines.append("")
        return Phi(f"%t{function.count}", kind, len(function.lines) - 1, list(sources))

    def seal(self, phi: Phi) -> str:
        """Write a phi whose sources are complete; return its name."""
        pairs = ", ".join(f"[ {value}, %{block} ]" for value, block in phi.sources)
        self.function.lines[phi.place] = f"  {phi.name} = phi {phi.type} {pairs}"
        return phi.name
