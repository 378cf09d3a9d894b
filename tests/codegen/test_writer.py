"""The writer repeats nothing that is known, and knows only what surely was computed."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.codegen.cpu import host
from talweg.codegen.lanes import Lanes
from talweg.codegen.repeat import repeat
from talweg.codegen.writer import Writer


def test_what_is_known_is_not_written_again() -> None:
    writer = Writer(host())
    with writer.define("void @f(i64 %a, i64 %b)"):
        a, b = (Lanes(writer, f"%{n}", "i64", 1) for n in "ab")
        before = (a + b).name
        inside: list[str] = []

        def body(at: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            inside.extend(((a + b).name, (a * b).name))
            return []

        repeat(b, [], body)
        assert (a + b).name == before == inside[0]
        assert (a * b).name != inside[1], "the loop may not have run"


def test_nothing_is_written_for_zeros_and_ones() -> None:
    writer = Writer(host())
    with writer.define("void @f(i64 %a, float %x, ptr %p)"):
        a, x = Lanes(writer, "%a", "i64", 1), Lanes(writer, "%x", "float", 1)
        assert {y.name for y in (a + 0, 0 + a, a - 0, a * 1, 1 * a)} == {"%a"}
        assert (a * 0).name == (0 * a).name == "0"
        assert (0 - a).name != "%a"
        assert (x + 0.0).name != "%x", "-0.0 would stay"
        assert writer.emit("getelementptr float, ptr %p, i64 0") == "%p"
