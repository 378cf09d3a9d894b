"""Counted loops, and functions of the module that vectors call lane by lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from talweg.codegen.lanes import Lanes, constant, type_of
from talweg.codegen.writer import Phi, Writer


def repeat(
    count: Lanes,
    state: Sequence[Lanes],
    body: Callable[[Lanes, list[Lanes]], Sequence[Lanes]],
    start: Lanes | None = None,
    step: int = 1,
) -> list[Lanes]:
    """Write a loop that carries states, and return their last values.

    Args:
        count: i64; the index runs from `start` in steps while it is below `count`.
        state: values before the loop.
        body: called once, with the index and the states; returns the next states.
        start: i64, 0 unless given.
        step: a positive number.
    """
    writer = count.writer
    first = constant(writer, 0, "i64", 1) if start is None else start
    before, inside, after = writer.block, writer.label("loop"), writer.label("done")
    runs = (first < count).name
    if runs == "true":
        writer.jump(inside)
    else:
        writer.branch(runs, inside, after)
    known = writer.known
    writer.start(inside, known)
    index = writer.phi("i64", (first.name, before))
    phis = [writer.phi(s.type, (s.name, before)) for s in state]
    values = [like(phi, s) for phi, s in zip(phis, state, strict=True)]
    at = Lanes(writer, index.name, "i64", 1)
    new = list(body(at, values))
    following = at + step
    last = writer.block
    writer.branch((following < count).name, inside, after)
    index.sources.append((following.name, last))
    writer.seal(index)
    for phi, value in zip(phis, new, strict=True):
        phi.sources.append((value.name, last))
        writer.seal(phi)
    if runs == "true":
        writer.start(after, writer.known)
        return new
    writer.start(after, known)
    return _merged(writer, state, before, new, last)


def perhaps(
    condition: Lanes, state: Sequence[Lanes], body: Callable[[list[Lanes]], Sequence[Lanes]]
) -> list[Lanes]:
    """Write something that is done if a condition holds, and return the states behind it.

    Args:
        condition: a scalar.
        state: values before.
        body: called once, with the states; returns them as it leaves them.
    """
    writer = condition.writer
    before, inside, after = writer.block, writer.label("then"), writer.label("done")
    writer.branch(condition.name, inside, after)
    known = writer.known
    writer.start(inside, known)
    new = list(body(list(state)))
    last = writer.block
    writer.jump(after)
    writer.start(after, known)
    return _merged(writer, state, before, new, last)


def _merged(
    writer: Writer, state: Sequence[Lanes], before: str, new: Sequence[Lanes], last: str
) -> list[Lanes]:
    """The states where two ways meet: as they were from one block, new ones from the other."""
    merged = [
        writer.phi(s.type, (s.name, before), (n.name, last))
        for s, n in zip(state, new, strict=True)
    ]
    for phi in merged:
        writer.seal(phi)
    return [like(phi, s) for phi, s in zip(merged, state, strict=True)]


def like(phi: Phi, value: Lanes) -> Lanes:
    """Return the value of a phi, of the kind and width of another value."""
    return Lanes(value.writer, phi.name, value.kind, value.lanes)


def per_lane(
    name: str, body: Callable[..., Sequence[Lanes]], *operands: Lanes
) -> tuple[Lanes, ...]:
    """Call a scalar function of the module on every lane.

    Args:
        name: of the function in the module.
        body: writes the function at the first call: from scalar operands to scalar results.
        operands: all of one width.
    """
    writer = operands[0].writer
    if name not in writer.defined:
        _define(name, body, operands)
    kinds = writer.defined[name]
    if operands[0].lanes == 1:
        return _call(name, kinds, operands)
    lanes = operands[0].lanes
    places = [writer.room(o.type) for o in operands]
    results = [writer.room(type_of(kind, lanes)) for kind in kinds]
    for place, operand in zip(places, operands, strict=True):
        writer.do(f"store {operand.type} {operand.name}, ptr {place}")

    def step(at: Lanes, _: list[Lanes]) -> list[Lanes]:
        given = [
            Lanes(writer, writer.emit(f"load {o.kind}, ptr {_place(p, o.kind, at)}"), o.kind, 1)
            for p, o in zip(places, operands, strict=True)
        ]
        for place, value in zip(results, _call(name, kinds, given), strict=True):
            writer.do(f"store {value.kind} {value.name}, ptr {_place(place, value.kind, at)}")
        return []

    repeat(constant(writer, lanes, "i64", 1), [], step)
    return tuple(
        Lanes(writer, writer.emit(f"load {type_of(kind, lanes)}, ptr {place}"), kind, lanes)
        for kind, place in zip(kinds, results, strict=True)
    )


def _place(row: str, kind: str, at: Lanes) -> str:
    return at.writer.emit(f"getelementptr {kind}, ptr {row}, i64 {at.name}")


def _define(name: str, body: Callable[..., Sequence[Lanes]], operands: Sequence[Lanes]) -> None:
    writer = operands[0].writer
    head = ", ".join(f"{o.kind} %a{n}" for n, o in enumerate(operands))
    with writer.define() as function:
        results = body(*(Lanes(writer, f"%a{n}", o.kind, 1) for n, o in enumerate(operands)))
        kinds = tuple(r.kind for r in results)
        value, struct = "undef", _struct(kinds)
        for at, result in enumerate(results):
            value = writer.emit(f"insertvalue {struct} {value}, {result.kind} {result.name}, {at}")
        writer.do(f"ret {struct} {value}")
        function.head = f"internal {struct} @{name}({head})"
    writer.defined[name] = kinds


def _struct(kinds: tuple[str, ...]) -> str:
    return f"{{ {', '.join(kinds)} }}"


def _call(name: str, kinds: tuple[str, ...], given: Sequence[Lanes]) -> tuple[Lanes, ...]:
    writer, struct = given[0].writer, _struct(kinds)
    listed = ", ".join(f"{g.kind} {g.name}" for g in given)
    result = writer.emit(f"call {struct} @{name}({listed})")
    return tuple(
        Lanes(writer, writer.emit(f"extractvalue {struct} {result}, {at}"), kind, 1)
        for at, kind in enumerate(kinds)
    )
