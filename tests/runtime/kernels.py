"""Small kernels written by hand: what an Executor and its threads must get right.

The body of a stage does one item: it sees the buffers as %b0, %b1, …, the shared memory as %shared,
the arguments as %a0, %a1, …, the slots of a failed check as %r0, %r1, the item as %i, and returns
the number of a check. Argument 0 is the number of items, argument 1 the grain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from talweg.codegen.cpu import compile_text, host
from talweg.codegen.executor import compile_executor
from talweg.runtime.executor import Executor, Launch, Place
from talweg.runtime.jit import Kernel
from talweg.runtime.pool import Pool

STAGE = """
define internal i32 @{name}.item.{s}(ptr %block, ptr %scratch, i64 %i) {{
entry:
{slots}  br label %begin
begin:
{body}
}}
define i32 @{name}.{s}(ptr %block, ptr %scratch, i64 %begin, i64 %end) {{
entry:
  br label %test
test:
  %i = phi i64 [ %begin, %entry ], [ %i.1, %next ]
  %more = icmp ult i64 %i, %end
  br i1 %more, label %next, label %done
next:
  %failed = call i32 @{name}.item.{s}(ptr %block, ptr %scratch, i64 %i)
  %i.1 = add i64 %i, 1
  %good = icmp eq i32 %failed, 0
  br i1 %good, label %test, label %bad
bad:
  ret i32 %failed
done:
  ret i32 0
}}
"""

# Every item is counted; argument 2 rounds of waiting make tickets take time.
COUNT = """
  br label %wait
wait:
  %n = phi i64 [ 0, %begin ], [ %n.1, %wait ]
  %n.1 = add i64 %n, 1
  %seen = load volatile i64, ptr %b0
  %again = icmp slt i64 %n.1, %a2
  br i1 %again, label %wait, label %work
work:
  %p = getelementptr i64, ptr %b0, i64 %i
  %before = atomicrmw add ptr %p, i64 1 monotonic
  ret i32 0
"""

# b1[i] = a2 * b0[i]
SCALE = """
  %p = getelementptr i64, ptr %b0, i64 %i
  %q = getelementptr i64, ptr %b1, i64 %i
  %x = load i64, ptr %p
  %y = mul i64 %x, %a2
  store i64 %y, ptr %q
  ret i32 0
"""

# Stage 0: shared[i] = b0[i] + 1. Stage 1: b1[i] = shared[a0 - 1 - i], by way of scratch memory
# that another thread would overwrite if it had the same.
SHARE = """
  %p = getelementptr i64, ptr %b0, i64 %i
  %q = getelementptr i64, ptr %shared, i64 %i
  %x = load i64, ptr %p
  %y = add i64 %x, 1
  store i64 %y, ptr %q
  ret i32 0
"""
TURN = """
  %last = sub i64 %a0, 1
  %j = sub i64 %last, %i
  %p = getelementptr i64, ptr %shared, i64 %j
  %q = getelementptr i64, ptr %b1, i64 %i
  %x = load i64, ptr %p
  store volatile i64 %x, ptr %scratch
  br label %wait
wait:
  %n = phi i64 [ 0, %begin ], [ %n.1, %wait ]
  %n.1 = add i64 %n, 1
  %y = load volatile i64, ptr %scratch
  %again = icmp slt i64 %n.1, 100
  br i1 %again, label %wait, label %done
done:
  store i64 %y, ptr %q
  ret i32 0
"""

# b1[i] = b0[i], which must be less than a2; the second check, which is of b0[i] < 0, comes first.
CHECK = """
  %p = getelementptr i64, ptr %b0, i64 %i
  %q = getelementptr i64, ptr %b1, i64 %i
  %x = load i64, ptr %p
  store i64 %i, ptr %r0
  store i64 %x, ptr %r1
  %negative = icmp slt i64 %x, 0
  br i1 %negative, label %second, label %more
more:
  %large = icmp sge i64 %x, %a2
  br i1 %large, label %first, label %fine
fine:
  store i64 %x, ptr %q
  ret i32 0
first:
  ret i32 1
second:
  ret i32 2
"""

# Item 0 is not done before all others are, which another thread must do: b0[0] counts them.
HOLD = """
  %first = icmp eq i64 %i, 0
  %others = sub i64 %a0, 1
  br i1 %first, label %wait, label %work
wait:
  %seen = load atomic i64, ptr %b0 seq_cst, align 8
  %all = icmp eq i64 %seen, %others
  br i1 %all, label %done, label %wait
work:
  %before = atomicrmw add ptr %b0, i64 1 seq_cst
  br label %done
done:
  ret i32 0
"""

# Every item waits until b0[0] is set, and counts itself in b0[1] before.
GATE = """
  %p = getelementptr i64, ptr %b0, i64 1
  %before = atomicrmw add ptr %p, i64 1 seq_cst
  br label %wait
wait:
  %seen = load atomic i64, ptr %b0 seq_cst, align 8
  %open = icmp ne i64 %seen, 0
  br i1 %open, label %done, label %wait
done:
  ret i32 0
"""


@dataclass(frozen=True)
class Call:
    name: str
    buffers: int
    formats: str
    messages: tuple[str, ...]
    reported: int
    stages: int
    sizes: str


def _slots(buffers: int, arguments: int, reported: int) -> str:
    names = [f"b{n}" for n in range(buffers)] + ["shared"]
    names += [f"a{n}" for n in range(arguments)] + [f"r{n}" for n in range(reported)]
    lines = []
    for slot, name in enumerate(names):
        kind = "i64" if name[0] == "a" else "ptr"
        place = f"%{name}" if name[0] == "r" else f"%p.{name}"
        lines.append(f"  {place} = getelementptr i64, ptr %block, i64 {slot}")
        if name[0] != "r":
            lines.append(f"  %{name} = load {kind}, ptr %p.{name}")
    return "\n".join(lines) + "\n"


@cache
def executor_code() -> bytes:
    return compile_executor(host())


@cache
def kernel(
    name: str,
    buffers: int,
    arguments: int,
    *bodies: str,
    messages: tuple[str, ...] = (),
    scratch: int = 0,
    shared_slots: int = 0,
) -> Kernel:
    reported = 2 if messages else 0
    work = ", v[0], v[1]" * len(bodies)
    sizes = f"({scratch}, {8 * shared_slots} * v[0]{work})"
    call = Call(name, buffers, "q" * arguments, messages, reported, len(bodies), sizes)
    slots = _slots(buffers, arguments, reported)
    parts = [
        STAGE.format(name=name, s=s, slots=slots, body=body.strip("\n"))
        for s, body in enumerate(bodies)
    ]
    return Kernel(compile_text("".join(parts), host()), call)


def count() -> Kernel:
    return kernel("count", 1, 3, COUNT)


def scale() -> Kernel:
    return kernel("scale", 2, 3, SCALE)


def share() -> Kernel:
    return kernel("share", 2, 2, SHARE, TURN, scratch=8, shared_slots=1)


def check() -> Kernel:
    messages = ("item {0} is {1}, too large", "item {0} is {1}, negative")
    return kernel("check", 2, 3, CHECK, messages=messages)


def hold() -> Kernel:
    return kernel("hold", 1, 2, HOLD)


def gate() -> Kernel:
    return kernel("gate", 1, 2, GATE)


def addresses(*arrays: np.ndarray) -> list[int]:
    return [array.ctypes.data for array in arrays]


def held(pool: Pool) -> tuple[Executor, np.ndarray]:
    """A plan that another thread must help with, and its output."""
    launch = Launch(hold(), [Place("output")], [8, 1])
    return Executor(pool, [launch], 0, 0, 0, 1), np.zeros(1, int)


def run_held(pool: Pool) -> None:
    executor, done = held(pool)
    executor.run([], b"", addresses(done))
    assert done[0] == 7


def shared(pool: Pool, n: int = 300) -> Callable[[int], bool]:
    """A function that runs a plan of split stages and says whether the result is right."""
    launch = Launch(share(), [Place("input"), Place("output")], [n, 1])
    executor = Executor(pool, [launch] * 3, 0, 1, 0, 1)

    def right(seed: int) -> bool:
        x, y = np.arange(seed, seed + n), np.zeros(n, int)
        executor.run(addresses(x), b"", addresses(y))
        return np.array_equal(y, x[::-1] + 1)

    return right
