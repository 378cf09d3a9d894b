"""Memory: intermediate values share one arena, laid out by how long each of them lives.

Kernels run one after the other, so a value lives from the kernel that writes it to the last one
that reads it. Offsets are given in that order: a value takes the smallest gap that holds it. A
kernel that reads an operand only at the very element it then writes may write over it, if nobody
needs the operand any more.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import final

from talweg.base.frozen import frozen
from talweg.ir.node import Node
from talweg.passes.assemble import Assembly
from talweg.passes.lower import Kernel

ALIGNMENT = 64


@final
@frozen
class Arena:
    """Where each intermediate value begins, and how many bytes there are in all.

    Args:
        offsets: of the values.
        nbytes: of all.
        rooms: where the memory begins that a kernel needs while it runs.
    """

    offsets: dict[Node, int]
    nbytes: int
    rooms: tuple[int, ...] = ()


def lay_out(
    kernels: Sequence[Kernel],
    reads: Sequence[Sequence[Node]],
    writes: Sequence[Sequence[Node]],
    placed: frozenset[Node],
    parts: Assembly,
    rooms: Sequence[int],
) -> Arena:
    """Return offsets for all values that have no place yet.

    Args:
        kernels: in the order in which they run.
        reads, writes: the Nodes of each kernel whose memory it touches.
        placed: Nodes in inputs and outputs.
        parts: Nodes that lie in the memory of others, and live as long as those.
        rooms: for each kernel, bytes that it needs while it runs.
    """
    last: dict[Node, int] = {}
    for step, nodes in enumerate(zip(reads, writes, strict=True)):
        for listed in nodes:
            last.update(dict.fromkeys((parts.home(n)[0] for n in listed), step))
    free = Gaps()
    homes: dict[Node, int] = {}
    inside: list[int] = []
    for step, kernel in enumerate(kernels):
        ending = (parts.home(n)[0] for n in reads[step])
        dying = [n for n in dict.fromkeys(ending) if n in homes and last[n] == step]
        for node in writes[step]:
            home, _ = parts.home(node)
            if home in placed or home in homes:
                continue
            over = None
            if home is node:
                may = (n for n in dying if n not in parts.wholes)
                over = next((n for n in may if _may_replace(kernel, n, node)), None)
            if over is None:
                homes[home] = free.take(_room(home))
            else:
                dying.remove(over)
                homes[home] = homes[over]
        room = -(-rooms[step] // ALIGNMENT) * ALIGNMENT
        inside.append(free.take(room) if room else 0)
        if room:
            free.give(inside[-1], room)
        written = dict.fromkeys(parts.home(n)[0] for n in writes[step])
        unread = (n for n in written if n in homes and last[n] == step)
        for node in dict.fromkeys((*dying, *unread)):
            free.give(homes[node], _room(node))
    offsets = dict(homes)
    for part in parts.homes:
        home, start = parts.home(part)
        offsets[part] = homes[home] + start
    return Arena(offsets, free.end, tuple(inside))


def _room(node: Node) -> int:
    return max(ALIGNMENT, -(-node.type.nbytes // ALIGNMENT) * ALIGNMENT)


def _may_replace(kernel: Kernel, old: Node, new: Node) -> bool:
    return _room(old) == _room(new) and (old, new) in kernel.in_place


class Gaps:
    """The free parts of the arena, by offset, with the smallest fitting one found by size."""

    def __init__(self) -> None:
        self.end = 0
        self.starts: dict[int, int] = {}  # offset of a gap -> its size
        self.ends: dict[int, int] = {}  # end of a gap -> its offset
        self.sizes: list[tuple[int, int]] = []  # (size, offset), sorted; entries may be stale

    def take(self, size: int) -> int:
        """Return the offset of so many bytes that are free."""
        self.sizes = [e for e in self.sizes if self.starts.get(e[1]) == e[0]]
        found = next((e for e in self.sizes if e[0] >= size), None)
        if found is None:
            tail = self.ends.pop(self.end, None)
            offset = self.end if tail is None else tail
            if tail is not None:
                del self.starts[tail]
            self.end = offset + size
            return offset
        room, offset = found
        del self.starts[offset], self.ends[offset + room]
        if room > size:
            self._add(offset + size, room - size)
        return offset

    def give(self, offset: int, size: int) -> None:
        """Make bytes free again, joined with the gaps beside them."""
        before = self.ends.pop(offset, None)
        if before is not None:
            size += self.starts.pop(before)
            offset = before
        behind = self.starts.pop(offset + size, None)
        if behind is not None:
            del self.ends[offset + size + behind]
            size += behind
        self._add(offset, size)

    def _add(self, offset: int, size: int) -> None:
        self.starts[offset] = size
        self.ends[offset + size] = offset
        insort(self.sizes, (size, offset))
