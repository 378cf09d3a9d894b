"""The plan loop and the worker loop as LLVM IR: what runs a plan's kernels, alone or with a team.

Three functions, whose memory `runtime.executor` and `runtime.pool` lay out:

    i64 talweg_run(ptr table)             run a plan; 0, or (record + 1) << 32 | failed check
    i64 talweg_work(ptr pool, i64 index)  be worker 1, 2, …; returns when told to stop
    void talweg_stop(ptr pool)            tell the workers to stop
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from talweg.codegen.cpu import compile_text
from talweg.codegen.team import STAGE, SYSTEM, WAITING
from talweg.schedule.target import Target

LINE = 128
"""Bytes between places that different threads write; processors fetch lines of 64 in pairs."""

_SLOTS = {
    "table": "pool records first last moving movings fixed fixeds base scratch stride arena",
    "record": "function block items step tickets",
    "semaphore": "sleepers tokens read write",
}
_LINES = {
    "job": "word record scratch stride",
    "count": "pending failed",
    "lock": "owner",
    "sleep": _SLOTS["semaphore"],
    "join": _SLOTS["semaphore"],
    "limits": "workers stop spin linger patience",
    "system": "clock kind yield futex call reader writer",
}


def _places() -> dict[str, tuple[str, int]]:
    """Return for `structure.slot` the name of its base and the offset in bytes."""
    places = {
        f"{name}.{slot}": (name, 8 * n)
        for name, slots in _SLOTS.items()
        for n, slot in enumerate(slots.split())
    }
    for line, (name, slots) in enumerate(_LINES.items()):
        places[f"pool.{name}"] = ("pool", LINE * line)
        for n, slot in enumerate(slots.split()):
            places[f"{name}.{slot}"] = ("pool", LINE * line + 8 * n)
    return places


_PLAN = """
define internal void @patch(ptr %patch, i64 %count) {
entry:
  %none = icmp eq i64 %count, 0
  br i1 %none, label %done, label %next
next:
  %patch.1 = phi ptr [ %patch, %entry ], [ %patch.2, %next ]
  %left = phi i64 [ %count, %entry ], [ %left.1, %next ]
  %source.p = getelementptr i64, ptr %patch.1, i64 1
  %offset.p = getelementptr i64, ptr %patch.1, i64 2
  %slot = load ptr, ptr %patch.1
  %source = load ptr, ptr %source.p
  %offset = load i64, ptr %offset.p
  %base = load i64, ptr %source
  %address = add i64 %base, %offset
  store i64 %address, ptr %slot
  %patch.2 = getelementptr i64, ptr %patch.1, i64 3
  %left.1 = sub i64 %left, 1
  %more = icmp ne i64 %left.1, 0
  br i1 %more, label %next, label %done
done:
  ret void
}

define internal i32 @whole(ptr %record, ptr %scratch, i64 %begin, i64 %end) {
entry:
  %function = load ptr, <record.function>
  %block = load ptr, <record.block>
  %code = call i32 %function(ptr %block, ptr %scratch, i64 %begin, i64 %end)
  ret i32 %code
}

define i64 @talweg_run(ptr %table) {
entry:
  %arena = load i64, <table.arena>
  %base = load i64, <table.base>
  %same = icmp eq i64 %arena, %base
  br i1 %same, label %patched, label %moved
moved:
  %fixed = load ptr, <table.fixed>
  %fixeds = load i64, <table.fixeds>
  call void @patch(ptr %fixed, i64 %fixeds)
  store i64 %arena, <table.base>
  br label %patched
patched:
  %moving = load ptr, <table.moving>
  %movings = load i64, <table.movings>
  call void @patch(ptr %moving, i64 %movings)
  %pool = load ptr, <table.pool>
  %records = load ptr, <table.records>
  %first = load i64, <table.first>
  %last = load i64, <table.last>
  %memory = load ptr, <table.arena>
  %offset = load i64, <table.scratch>
  %scratch = getelementptr i8, ptr %memory, i64 %offset
  %stride = load i64, <table.stride>
  br label %test
test:
  %n = phi i64 [ %first, %patched ], [ %n.1, %ran ]
  %more = icmp ult i64 %n, %last
  br i1 %more, label %next, label %done
next:
  %record = getelementptr [5 x i64], ptr %records, i64 %n
  %tickets = load i64, <record.tickets>
  %items = load i64, <record.items>
  %split = icmp ugt i64 %tickets, 1
  br i1 %split, label %together, label %alone
together:
  %code.1 = call i32 @stage(ptr %pool, ptr %record, ptr %scratch, i64 %stride)
  br label %ran
alone:
  %code.2 = call i32 @whole(ptr %record, ptr %scratch, i64 0, i64 %items)
  br label %ran
ran:
  %code = phi i32 [ %code.1, %together ], [ %code.2, %alone ]
  %n.1 = add i64 %n, 1
  %good = icmp eq i32 %code, 0
  br i1 %good, label %test, label %bad
bad:
  %high = shl i64 %n.1, 32
  %low = zext i32 %code to i64
  %result = or i64 %high, %low
  ret i64 %result
done:
  ret i64 0
}
"""

_RELAX = {
    "x86": ("llvm.x86.sse2.pause", "", ""),
    "aarch64": ("llvm.aarch64.hint", "i32", "i32 1"),
}


def _relax(target: Target) -> str:
    """Return the function that spends a moment of a spin loop."""
    family = "x86" if target.is_x86 else "aarch64" if target.is_aarch64 else ""
    if family not in _RELAX:
        return "define internal void @relax() {\n  ret void\n}\n"
    name, kind, value = _RELAX[family]
    body = f"  call void @{name}({value})\n  ret void\n"
    return f"declare void @{name}({kind})\ndefine internal void @relax() {{\n{body}}}\n"


def executor_text(target: Target) -> str:
    """Return the module of the three functions for a machine."""
    places = _places()
    count = itertools.count()

    def addressed(found: re.Match[str]) -> str:
        base, offset = places[found[2]]
        name = f"%at.{next(count)}"
        return f"  {name} = getelementptr i8, ptr %{base}, i64 {offset}\n{found[1]}ptr {name}"

    head = f'target triple = "{target.triple}"\ndeclare i64 @llvm.umin.i64(i64, i64)\n'
    body = re.sub(
        r"^(.*)<([a-z]+\.[a-z]+)>", addressed, _PLAN + STAGE + WAITING + SYSTEM, flags=re.M
    )
    return head + _relax(target) + body


def compile_executor(target: Target) -> bytes:
    """Return the object code of the three functions for a machine.

    Generated without effort: it takes a fifth of the time, and a record 6 ns more.
    """
    return compile_text(executor_text(target), replace(target, level=0))
