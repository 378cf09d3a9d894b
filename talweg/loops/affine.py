"""Index arithmetic: a normal form for int64 expressions, and the affine ones among them.

An int64 expression is kept as a polynomial: a map from products of atoms to integer coefficients.
Atoms are indices, arguments, locals and what is not arithmetic (loads, selects, quotients). Equal
polynomials are equal values, so `i * n + j - i * n` is `j`, and the quotient and remainder that a
reshape leaves behind join again: `n * (k // n) + k % n` is `k`.

`ranges` maps the enclosing loops' indices to their extents; with it `(i * n + j) // n` becomes `i`
where j runs below n. Two things are taken for granted, as the arithmetic of addresses allows: no
product or sum leaves int64, and no divisor is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TypeAlias

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.loops.nest import Block, Guard, LoopNest, Statement, map_scalars
from talweg.loops.nest import Loop as Loop_
from talweg.loops.scalar import (
    Argument,
    Call,
    Constant,
    Index,
    Load,
    Local,
    Scalar,
    call,
    children,
    constant,
    rebuild,
    walk,
)

Monomial: TypeAlias = tuple[Scalar, ...]
Polynomial: TypeAlias = dict[Monomial, int]
Ranges: TypeAlias = Mapping[str, Scalar]

_ATOM_ORDER = {Index: 0, Argument: 2}


def _product(left: Monomial, right: Monomial) -> Monomial:
    if not left or not right:
        return left or right
    return tuple(sorted(left + right, key=_order))


def _order(atom: Scalar) -> tuple[int, str]:
    name = atom.name if isinstance(atom, Argument | Index) else repr(atom)
    return _ATOM_ORDER.get(type(atom), 1), name


def _plus(left: Polynomial, right: Polynomial, scale: int = 1) -> Polynomial:
    total = dict(left)
    for monomial, factor in right.items():
        total[monomial] = total.get(monomial, 0) + scale * factor
    return {monomial: factor for monomial, factor in total.items() if factor}


def _times(left: Polynomial, right: Polynomial) -> Polynomial:
    total: Polynomial = {}
    for a, x in left.items():
        for b, y in right.items():
            total = _plus(total, {_product(a, b): x * y})
    return total


def _without(monomial: Monomial, part: Monomial) -> Monomial | None:
    """The monomial divided by a part, or None where the part is not a factor."""
    rest = list(monomial)
    for atom in part:
        if atom not in rest:
            return None
        rest.remove(atom)
    return tuple(rest)


def _expand(atom: Scalar, value: Polynomial, polynomial: Polynomial) -> Polynomial:
    """The polynomial with `value` put in place of an atom."""
    total: Polynomial = {}
    for monomial, factor in polynomial.items():
        term: Polynomial = {(): factor}
        for part in monomial:
            term = _times(term, value if part == atom else {(part,): 1})
        total = _plus(total, term)
    return total


def _divide(dividend: Polynomial, divisor: Polynomial) -> tuple[Polynomial, Polynomial] | None:
    """(Q, R) with dividend = divisor * Q + R and no multiple of the divisor left in R."""
    if len(divisor) != 1:
        return None
    ((part, step),) = divisor.items()
    if step < 1:
        return None
    quotient: Polynomial = {}
    rest: Polynomial = {}
    for monomial, factor in dividend.items():
        left = _without(monomial, part)
        whole, remainder = divmod(factor, step) if left is not None else (0, factor)
        if left is not None:
            quotient = _plus(quotient, {left: whole} if whole else {})
        rest = _plus(rest, {monomial: remainder} if remainder else {})
    return quotient, rest


def _at_least_zero(polynomial: Polynomial, ranges: Ranges) -> bool:
    """Whether the value is surely not negative: extents of running loops are at least 1."""
    positive = {extent for extent in ranges.values() if isinstance(extent, Argument)}
    for atom in positive:
        polynomial = _expand(atom, {(atom,): 1, (): 1}, polynomial)
    known = all(
        atom in positive
        or (isinstance(atom, Index) and atom.name in ranges)
        or (_is(atom, "mod") and _at_least_zero(to_polynomial(children(atom)[1], {}), ranges))
        for monomial in polynomial
        for atom in monomial
    )
    return known and all(factor >= 0 for factor in polynomial.values())


def _is(atom: Scalar, function: str) -> bool:
    return isinstance(atom, Call) and atom.function == function


def _is_remainder(value: Polynomial, divisor: Polynomial, ranges: Ranges) -> bool:
    """Whether 0 <= value < divisor surely holds."""
    if not _at_least_zero(value, ranges):
        return False
    largest = value
    for atom in {atom for monomial in value for atom in monomial}:
        if isinstance(atom, Index):
            top = to_polynomial(ranges[atom.name], {})
            largest = _expand(atom, _plus(top, {(): -1}), largest)
        elif _is(atom, "mod"):
            top = to_polynomial(children(atom)[1], {})
            largest = _expand(atom, _plus(top, {(): -1}), largest)
    return _at_least_zero(_plus(_plus(divisor, {(): -1}), largest, -1), ranges)


def _quotient(dividend: Polynomial, divisor: Polynomial, ranges: Ranges) -> Polynomial:
    split = _divide(dividend, divisor)
    if split is None:
        return {(call("floordiv", to_scalar(dividend), to_scalar(divisor)),): 1}
    whole, rest = split
    if not rest or _is_remainder(rest, divisor, ranges):
        return whole
    (atoms,) = rest if len(rest) == 1 else ((),)
    if len(atoms) == 1 and rest[atoms] == 1 and () in divisor and _is(atoms[0], "floordiv"):
        inner, step = (to_polynomial(part, ranges) for part in children(atoms[0]))
        if step.keys() == {()} and step[()] > 0:
            return _plus(whole, _quotient(inner, _times(step, divisor), ranges))
    return _plus(whole, {(call("floordiv", to_scalar(rest), to_scalar(divisor)),): 1})


def _remainder(dividend: Polynomial, divisor: Polynomial, ranges: Ranges) -> Polynomial:
    split = _divide(dividend, divisor)
    rest = dividend if split is None else split[1]
    if split is not None and (not rest or _is_remainder(rest, divisor, ranges)):
        return rest
    return {(call("mod", to_scalar(rest), to_scalar(divisor)),): 1}


def _joined(polynomial: Polynomial, ranges: Ranges) -> Polynomial:
    """Replace n * (k // n) + k % n by k, wherever both stand with one factor."""
    for monomial, factor in polynomial.items():
        for atom in monomial:
            if not _is(atom, "mod"):
                continue
            dividend, divisor = (to_polynomial(part, ranges) for part in children(atom))
            others = {_without(monomial, (atom,)) or (): factor}
            pair = _times(_times(divisor, _quotient(dividend, divisor, ranges)), others)
            if pair and all(polynomial.get(m) == f for m, f in pair.items()):
                rest = _plus(_plus(polynomial, pair, -1), {monomial: factor}, -1)
                return _joined(_plus(rest, _times(dividend, others)), ranges)
    return polynomial


def to_polynomial(value: Scalar, ranges: Ranges) -> Polynomial:
    """Return the normal form of an int64 expression. It may be shared: do not change it."""
    return _to_polynomial(value, ranges) if ranges else _known_polynomial(value)


@lru_cache(maxsize=1 << 16)
def _known_polynomial(value: Scalar) -> Polynomial:
    return _to_polynomial(value, {})


def _to_polynomial(value: Scalar, ranges: Ranges) -> Polynomial:
    match value:
        case Constant():
            number = int(value.text)
            return {(): number} if number else {}
        case Call("add" | "sub" as function, (left, right)):
            scale = 1 if function == "add" else -1
            total = _plus(to_polynomial(left, ranges), to_polynomial(right, ranges), scale)
            return _joined(total, ranges)
        case Call("mul", (left, right)):
            return _times(to_polynomial(left, ranges), to_polynomial(right, ranges))
        case Call("neg", (operand,)):
            return _times({(): -1}, to_polynomial(operand, ranges))
        case Call("floordiv" | "mod" as function, (left, right)):
            divided = _quotient if function == "floordiv" else _remainder
            return divided(to_polynomial(left, ranges), to_polynomial(right, ranges), ranges)
        case Index(name) if name in ranges and ranges[name] == constant(1, dtypes.int64):
            return {}
    return {(_simplify_parts(value, ranges),): 1}


def to_scalar(polynomial: Polynomial) -> Scalar:
    """Return the expression of a normal form: the same one for equal polynomials."""
    total: Scalar | None = None
    terms = sorted(polynomial.items(), key=lambda t: (t[1] < 0, -len(t[0]), *map(_order, t[0])))
    for monomial, factor in terms:
        parts = list(monomial)
        if abs(factor) != 1 or not parts:
            parts.append(
                constant(abs(factor) if parts or total is not None else factor, dtypes.int64)
            )
        term = parts[0]
        for part in parts[1:]:
            term = term * part
        if total is None:
            total = term if factor > 0 or not monomial else -term
        else:
            total = total + term if factor > 0 else total - term
    return constant(0, dtypes.int64) if total is None else total


def _simplify_parts(value: Scalar, ranges: Ranges) -> Scalar:
    parts = children(value)
    return rebuild(value, tuple(simplify(p, ranges) for p in parts)) if parts else value


def simplify(value: Scalar, ranges: Ranges | None = None) -> Scalar:
    """Bring every int64 part of an expression into normal form.

    >>> i, n = Index("i"), Argument("n", dtypes.int64)
    >>> simplify((i * n + 3) - (n * i + 1)).text
    '2'
    """
    ranges = ranges or {}
    if value.dtype is dtypes.int64:
        return to_scalar(to_polynomial(value, ranges))
    return _simplify_parts(value, ranges)


def simplify_nest(nest: LoopNest) -> LoopNest:
    """Return the nest with every index expression simplified under the ranges of its loops."""
    return replace(nest, body=_simplify_block(nest.body, {}))


def _simplify_block(block: Block, ranges: Ranges) -> Block:
    return tuple(_simplify_statement(statement, ranges) for statement in block)


def _simplify_statement(statement: Statement, ranges: Ranges) -> Statement:
    match statement:
        case Loop_(index, extent, order, body):
            size = simplify(extent, ranges)
            return Loop_(index, size, order, _simplify_block(body, {**ranges, index: size}))
        case Guard(condition, body, otherwise):
            inside, outside = (_simplify_block(b, ranges) for b in (body, otherwise))
            return Guard(simplify(condition, ranges), inside, outside)
    (simple,) = map_scalars((statement,), lambda value: simplify(value, ranges))
    return simple


@frozen
class Affine:
    """The sum of coefficient * index over the loops that an expression moves with, plus an offset.

    Coefficients and offset hold arguments and constants only.
    """

    coefficients: tuple[tuple[str, Scalar], ...]
    offset: Scalar

    def coefficient(self, index: str) -> Scalar:
        """Return the step of the value when this index grows by one; 0 for other indices."""
        return dict(self.coefficients).get(index, constant(0, dtypes.int64))


def affine(value: Scalar, ranges: Ranges | None = None) -> Affine | None:
    """Return the affine form of an int64 expression, or None where it has none.

    >>> i, j, n = Index("i"), Index("j"), Argument("n", dtypes.int64)
    >>> form = affine((i * n + j) * 2 + 5)
    >>> form.coefficient("j").text, form.offset.text
    ('2', '5')
    >>> affine(i * j) is None
    True
    """
    parts: dict[str, Polynomial] = {"": {}}
    for monomial, factor in to_polynomial(value, ranges or {}).items():
        moving = [atom for atom in monomial if isinstance(atom, Index)]
        still = tuple(atom for atom in monomial if not isinstance(atom, Index))
        if len(moving) > 1 or any(
            isinstance(w, Index | Local | Load) for a in still for w in walk(a)
        ):
            return None
        name = moving[0].name if moving else ""
        parts[name] = _plus(parts.get(name, {}), {still: factor})
    offset = to_scalar(parts.pop(""))
    return Affine(tuple((name, to_scalar(parts[name])) for name in sorted(parts)), offset)


def moves_with(value: Scalar, index: str) -> bool:
    """Whether distinct values of the index surely give distinct values of the expression.

    The other indices are held fixed. True for polynomials in which the index stands in one product,
    beside arguments and constants only (which are taken to be different from 0).
    """
    if not any(isinstance(part, Index) and part.name == index for part in walk(value)):
        return False
    found = 0
    for monomial in to_polynomial(value, {}):
        inside = [a for a in monomial if any(w == Index(index) for w in walk(a))]
        if any(isinstance(w, Local | Load) for a in monomial for w in walk(a)):
            return False
        if inside:
            plain = inside == [Index(index)]
            fixed = all(a == Index(index) or isinstance(a, Argument) for a in monomial)
            found += 1 if plain and fixed else 2
    return found == 1


def without_offset(value: Scalar) -> tuple[Scalar, int]:
    """Return the normal form of an int64 expression without its constant term, and that term."""
    polynomial = to_polynomial(value, {})
    moving = {monomial: factor for monomial, factor in polynomial.items() if monomial}
    return to_scalar(moving), polynomial.get((), 0)


def step_of(value: Scalar, index: str) -> int:
    """Return by how much an expression that moves with an index differs at least between two."""
    for monomial, factor in to_polynomial(value, {}).items():
        if Index(index) in monomial:
            return abs(factor)
    return 0
