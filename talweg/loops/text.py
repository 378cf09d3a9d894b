"""The text form of loop nests. It has Python's syntax, so Python's own parser reads it.

    def scale(
        n0: int64,
        x: input[float32, n0],
        out: output[float32, n0],
    ):
        for i0 in parallel(n0):              # Loop; also reduction(...), sequential(...)
            t: float32 = x[i0] * x[i0]       # Let
            s: var[float32] = float32(0.0)   # Var
            s = s + t                        # Assign
            s.add(t)                         # Accumulate; two states: (best, at).argmax(t, i0)
            out[i0] = s                      # Store
            out[i0].add(s)                   # Store that folds
            if i0 < 3:                       # Guard; may have `else:`
                b: local[float32, n0, 4]     # Allocate
            assert i0 < n0, ("index {0}", i0)   # Check

Arithmetic and comparison are infix, every other function is a call by its name in the table.
An int64 constant is a bare number, a bool one True or False, others are written `float32(1.5)`.
`parse(format_nest(nest)) == nest` for every verified nest.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError, TalwegError
from talweg.loops.functions import FUNCTIONS
from talweg.loops.nest import (
    Accumulate,
    Allocate,
    Assign,
    Block,
    Buffer,
    Check,
    Guard,
    Let,
    Loop,
    LoopNest,
    Statement,
    Store,
    Var,
)
from talweg.loops.scalar import (
    Argument,
    Bitcast,
    Call,
    Cast,
    Constant,
    Index,
    Load,
    Local,
    Number,
    Scalar,
    Select,
    call,
    constant,
)
from talweg.loops.verify import verify

_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_INFIX = {
    "mul": ("*", 6), "div": ("/", 6), "floordiv": ("//", 6), "mod": ("%", 6),
    "add": ("+", 5), "sub": ("-", 5), "shl": ("<<", 4), "shr": (">>", 4),
    "bit_and": ("&", 3), "bit_xor": ("^", 2), "bit_or": ("|", 1),
    **{name: (sign, 0) for name, sign in _COMPARE.items()},
}  # fmt: skip
_PREFIX = {"neg": "-", "bit_not": "~"}

_BINARY: dict[type[ast.AST], str] = {
    ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Add: "add",
    ast.Sub: "sub", ast.LShift: "shl", ast.RShift: "shr", ast.BitAnd: "bit_and",
    ast.BitXor: "bit_xor", ast.BitOr: "bit_or", ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt",
    ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.USub: "neg", ast.Invert: "bit_not",
}  # fmt: skip


def format_scalar(value: Scalar, level: int = 0) -> str:
    """Return the text of an expression, in parentheses where its operator binds below `level`.

    >>> format_scalar((Index("i") + 1) * 4)
    '(i + 1) * 4'
    """
    match value:
        case Constant(text, dtype):
            return _format_constant(text, dtype)
        case Argument(name) | Index(name) | Local(name):
            return name
        case Load(buffer, indices, _):
            return _format_element(buffer, indices)
        case Call(function, operands, _):
            return _format_call(function, operands, level)
        case Select(condition, then, otherwise):
            return f"select({_join((condition, then, otherwise))})"
        case Cast(operand, dtype):
            return f"cast({format_scalar(operand)}, {dtype.name})"
        case Bitcast(operand, dtype):
            return f"bitcast({format_scalar(operand)}, {dtype.name})"
    raise GraphError(f"{value!r} is not a Scalar")


def _join(values: tuple[Scalar, ...]) -> str:
    return ", ".join(map(format_scalar, values))


def _format_constant(text: str, dtype: DType) -> str:
    if dtype is dtypes.int64 or dtype is dtypes.bool_:
        return text
    return f'{dtype.name}("{text}")' if dtype.is_complex else f"{dtype.name}({text})"


def _format_element(buffer: str, indices: tuple[Scalar, ...]) -> str:
    return f"{buffer}[{_join(indices) or '()'}]"


def _format_call(function: str, operands: tuple[Scalar, ...], level: int) -> str:
    if function in _INFIX:
        sign, own = _INFIX[function]
        left = format_scalar(operands[0], max(own, 1))
        text = f"{left} {sign} {format_scalar(operands[1], own + 1)}"
        return f"({text})" if own < level else text
    if function in _PREFIX and not isinstance(operands[0], Constant):
        return _PREFIX[function] + format_scalar(operands[0], 7)
    return f"{function}({_join(operands)})"


def format_nest(nest: LoopNest) -> str:
    """Return the text of a nest; `parse` reads it back."""
    lines = [f"def {nest.name}("]
    if nest.arguments:
        lines.append("    " + ", ".join(f"{a.name}: {a.dtype.name}" for a in nest.arguments) + ",")
    for word, buffers in (("input", nest.inputs), ("output", nest.outputs)):
        lines += [f"    {_format_buffer(word, b)}," for b in buffers]
    return "\n".join([*lines, "):", *_format_block(nest.body)]) + "\n"


def _format_buffer(word: str, buffer: Buffer) -> str:
    sizes = "".join(f", {format_scalar(s)}" for s in buffer.shape)
    return f"{buffer.name}: {word}[{buffer.dtype.name}{sizes}]"


def _format_block(block: Block) -> Iterator[str]:
    for statement in block:
        for line in _format_statement(statement):
            yield "    " + line
    if not block:
        yield "    pass"


def _format_statement(statement: Statement) -> Iterator[str]:
    match statement:
        case Loop(index, extent, order, body):
            yield f"for {index} in {order}({format_scalar(extent)}):"
            yield from _format_block(body)
        case Let(name, value):
            yield f"{name}: {value.dtype.name} = {format_scalar(value)}"
        case Var(name, value):
            yield f"{name}: var[{value.dtype.name}] = {format_scalar(value)}"
        case Assign(name, value):
            yield f"{name} = {format_scalar(value)}"
        case Accumulate(combine, names, values):
            target = names[0] if len(names) == 1 else f"({', '.join(names)})"
            yield f"{target}.{combine}({_join(values)})"
        case Store(buffer, indices, value, combine):
            target = _format_element(buffer, indices)
            text = format_scalar(value)
            yield f"{target} = {text}" if combine == "set" else f"{target}.{combine}({text})"
        case Guard(condition, body, otherwise):
            yield f"if {format_scalar(condition)}:"
            yield from _format_block(body)
            if otherwise:
                yield "else:"
                yield from _format_block(otherwise)
        case Check(condition, message, values):
            parts = "".join(f", {format_scalar(v)}" for v in values)
            yield f"assert {format_scalar(condition)}, ({message!r},{parts[1:]})"
        case Allocate(buffer):
            yield _format_buffer("local", buffer)


def parse(text: str) -> LoopNest:
    """Read a nest from its text form and verify it.

    Raises:
        GraphError: for text that is not a nest; the message names the line.
    """
    try:
        module = ast.parse(text)
    except SyntaxError as error:
        raise GraphError(f"line {error.lineno}: {error.msg}") from None
    if len(module.body) != 1 or not isinstance(module.body[0], ast.FunctionDef):
        raise GraphError("the text of a nest is one `def name(...):`")
    nest = _Parser().nest(module.body[0])
    verify(nest)
    return nest


class _Parser:
    """Reads one nest; remembers what each name stands for."""

    def __init__(self) -> None:
        self.scalars: dict[str, Scalar] = {}
        self.buffers: dict[str, Buffer] = {}

    def nest(self, node: ast.FunctionDef) -> LoopNest:
        buffers: dict[str, list[Buffer]] = {"input": [], "output": []}
        arguments: list[Argument] = []
        for parameter in node.args.args:
            if isinstance(parameter.annotation, ast.Name):
                argument = Argument(parameter.arg, self.dtype(parameter.annotation))
                arguments.append(argument)
                self.scalars[argument.name] = argument
                continue
            word, buffer = self.buffer(parameter.arg, parameter.annotation)
            self.expect(word in buffers, parameter, "input[...] or output[...]")
            buffers[word].append(buffer)
        body = self.block(node.body)
        inputs, outputs = (tuple(buffers[word]) for word in ("input", "output"))
        return LoopNest(node.name, tuple(arguments), inputs, outputs, body)

    def expect(self, condition: bool, node: ast.AST, wanted: str) -> None:
        if not condition:
            line = getattr(node, "lineno", "?")
            raise GraphError(f"line {line}: expected {wanted}, got {ast.unparse(node)!r}")

    def name(self, node: ast.AST | None, wanted: str) -> str:
        if not isinstance(node, ast.Name):
            raise GraphError(f"expected {wanted}, got {ast.unparse(node) if node else 'nothing'!r}")
        return node.id

    def dtype(self, node: ast.AST | None) -> DType:
        name = self.name(node, "a dtype")
        if name not in dtypes.BY_NAME:
            raise GraphError(f"{name!r} is not a dtype")
        return dtypes.BY_NAME[name]

    def buffer(self, name: str, node: ast.AST | None) -> tuple[str, Buffer]:
        if not isinstance(node, ast.Subscript):
            raise GraphError(f"{name}: expected a dtype or word[dtype, sizes...]")
        first, *sizes = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        shape = tuple(self.scalar(s) for s in sizes)
        buffer = Buffer(name, self.dtype(first), shape)
        self.buffers[name] = buffer
        return self.name(node.value, "input, output or local"), buffer

    def block(self, nodes: list[ast.stmt]) -> Block:
        statements = (self.located(n) for n in nodes if not isinstance(n, ast.Pass))
        return tuple(statements)

    def located(self, node: ast.stmt) -> Statement:
        try:
            return self.statement(node)
        except TalwegError as error:
            if str(error).startswith("line "):
                raise
            raise GraphError(f"line {node.lineno}: {error}") from None

    def statement(self, node: ast.stmt) -> Statement:
        match node:
            case ast.For(ast.Name(index), ast.Call(ast.Name(order), [extent]), body):
                size = self.scalar(extent)
                self.scalars[index] = Index(index)
                return Loop(index, size, order, self.block(body))
            case ast.If(condition, body, otherwise):
                test = self.scalar(condition)
                return Guard(test, self.block(body), self.block(otherwise))
            case ast.AnnAssign(ast.Name(name), annotation, value):
                return self.declaration(name, annotation, value)
            case ast.Assign([ast.Name(name)], value):
                return Assign(name, self.scalar(value))
            case ast.Assign([ast.Subscript() as target], value):
                element = self.element(target)
                return Store(element.buffer, element.indices, self.scalar(value))
            case ast.Expr(ast.Call(ast.Attribute(target, combine), values)):
                return self.fold(target, combine, tuple(self.scalar(v) for v in values))
            case ast.Assert(condition, ast.Tuple([ast.Constant(str(message)), *values])):
                parts = tuple(self.scalar(v) for v in values)
                return Check(self.scalar(condition), message, parts)
        self.expect(False, node, "a statement")
        raise AssertionError

    def declaration(self, name: str, kind: ast.expr, value: ast.expr | None) -> Statement:
        if value is None:
            word, buffer = self.buffer(name, kind)
            self.expect(word == "local", kind, "local[...]")
            return Allocate(buffer)
        initial = self.scalar(value)
        self.scalars[name] = Local(name, initial.dtype)
        variable = isinstance(kind, ast.Subscript) and self.name(kind.value, "var") == "var"
        dtype = self.dtype(kind.slice if variable and isinstance(kind, ast.Subscript) else kind)
        self.expect(dtype is initial.dtype, kind, initial.dtype.name)
        return Var(name, initial) if variable else Let(name, initial)

    def fold(self, target: ast.expr, combine: str, values: tuple[Scalar, ...]) -> Statement:
        if isinstance(target, ast.Subscript):
            self.expect(len(values) == 1, target, "one value to fold")
            element = self.element(target)
            return Store(element.buffer, element.indices, values[0], combine)
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        return Accumulate(combine, tuple(self.name(p, "a variable") for p in parts), values)

    def element(self, node: ast.Subscript) -> Load:
        name = self.name(node.value, "a buffer")
        if name not in self.buffers:
            raise GraphError(f"{name!r} is not a buffer")
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return Load(name, tuple(self.scalar(p) for p in parts), self.buffers[name].dtype)

    def scalar(self, node: ast.expr) -> Scalar:
        match node:
            case ast.Constant(bool(value)):
                return constant(value, dtypes.bool_)
            case ast.Constant(int(value)):
                return constant(value, dtypes.int64)
            case ast.UnaryOp(ast.USub(), ast.Constant(int(value))):
                return constant(-value, dtypes.int64)
            case ast.Name(name) if name in self.scalars:
                return self.scalars[name]
            case ast.Subscript():
                return self.element(node)
            case ast.BinOp(left, operation, right) | ast.Compare(left, [operation], [right]):
                name = _BINARY.get(type(operation), "")
                return call(name, self.scalar(left), self.scalar(right))
            case ast.UnaryOp(operation, operand):
                return call(_BINARY.get(type(operation), ""), self.scalar(operand))
            case ast.Call(ast.Name(name), operands):
                return self.function(name, operands)
        self.expect(False, node, "an expression of known names")
        raise AssertionError

    def function(self, name: str, operands: list[ast.expr]) -> Scalar:
        if name in dtypes.BY_NAME and len(operands) == 1:
            return constant(self.number(operands[0]), dtypes.BY_NAME[name])
        if name in ("cast", "bitcast") and len(operands) == 2:
            made = Cast if name == "cast" else Bitcast
            return made(self.scalar(operands[0]), self.dtype(operands[1]))
        values = tuple(self.scalar(o) for o in operands)
        if name == "select" and len(values) == 3:
            return Select(*values)
        if name not in FUNCTIONS:
            raise GraphError(f"{name!r} is not a function")
        return call(name, *values)

    def number(self, node: ast.expr) -> Number:
        match node:
            case ast.Constant(str(value)):
                return complex(value)
            case ast.Constant(int(value) | float(value)):
                return value
            case ast.Name("nan" | "inf" as name):
                return float(name)
            case ast.UnaryOp(ast.USub(), operand):
                return -self.number(operand)
        self.expect(False, node, "a number")
        raise AssertionError
