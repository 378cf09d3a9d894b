"""What the constructors and the verifier refuse."""

from __future__ import annotations

import pytest

from talweg.base import dtypes as d
from talweg.base.errors import DTypeError, GraphError, TalwegError
from talweg.loops import scalar
from talweg.loops.nest import Accumulate, Buffer, Loop, LoopNest, Store
from talweg.loops.scalar import Argument, Bitcast, Index, Load, Local, Select, call, constant
from talweg.loops.text import parse

HEAD = """\
def f(
    n: int64, m: int64,
    x: input[float32, n, m],
    at: input[int64, n],
    out: output[float32, n, m],
):
"""


def nest(body: str) -> LoopNest:
    lines = body.strip("\n").splitlines()
    return parse(HEAD + "".join(f"    {line}\n" for line in lines))


GOOD = [
    # A tile of two loops, a let for the row, scratch of each iteration.
    """
for i in parallel(n // 4):
    for j in parallel(4):
        row: int64 = i * 4 + j
        t: local[float32, m]
        for k in sequential(m):
            t[k] = x[row, k]
            out[row, k] = t[k]
""",
    # Order matters along k only.
    """
for i in parallel(n):
    for k in sequential(m):
        out[i, k] = x[i, k] + select(0 < k, out[i, k - 1], float32(0.0))
""",
    # Rows at loaded places, one after the other; columns at once.
    """
for i in sequential(n):
    for k in parallel(m):
        out[at[i], k].add(x[i, k])
""",
    # Two rows in each iteration, as far apart as the rows of neighbouring ones.
    """
for i in parallel(n // 2):
    out[i * 2, 0] = x[i, 0]
    out[i * 2 + 1, 0] = x[i, 1]
""",
    # Any order may fold into the same place.
    """
for i in reduction(n):
    out[at[i], 0].add(x[i, 0])
""",
]


@pytest.mark.parametrize("body", GOOD)
def test_accepted(body: str) -> None:
    nest(body)


BAD = [
    ("out[0, 0] = x[0, i]", "expression of known names, got 'i'"),
    ("for i in parallel(n):\n    out[i, 0] = x[i, 0]\nout[0, 0] = x[i, 0]", "i is not bound here"),
    ("out[0, 0] = x[0]", "x has 2 axes, got 1"),
    ("out[0, 0] = at[0]", "out holds float32, not int64"),
    ("out[0, 0] = x[0, 0]\nx[0, 0] = float32(1.0)", "input x is written"),
    ("v: float32 = x[0, 0]", "output out is never written"),
    ("v: float32 = x[0, 0]\nv = x[0, 1]\nout[0, 0] = v", "v is not a variable here"),
    ("v: var[float32] = x[0, 0]\nv = 3\nout[0, 0] = v", "v is float32, its new value int64"),
    ("v: float32 = x[0, 0]\nv: float32 = x[0, 1]\nout[0, 0] = v", "v is bound twice"),
    ("n: int64 = 3\nout[0, 0] = x[0, 0]", "n is bound twice"),
    ("if 0 < n:\n    v: float32 = x[0, 0]\nout[0, 0] = v", "v is not bound here"),
    ("for i in parallel(n):\n    out[0, 0] = x[i, 0]", "loop i may meet in out"),
    ("for i in parallel(n):\n    out[at[i], 0].add(x[i, 0])", "loop i may meet in out"),
    ("for i in parallel(n):\n    out[i % 2, 0] = x[i, 0]", "loop i may meet in out"),
    ("for i in parallel(n):\n    out[i * i, 0] = x[i, 0]", "loop i may meet in out"),
    ("for i in parallel(n):\n    out[i, 0] = x[i, 0]\n    out[0, i] = x[i, 1]", "may meet in out"),
    ("for i in parallel(n):\n    out[i, 0] = out[i - 1, 0]", "loop i may meet in out"),
    (
        "for i in parallel(n):\n    out[i * 2, 0] = x[i, 0]\n    out[i * 2 + 2, 0] = x[i, 1]",
        "loop i may meet in out",
    ),
    (
        "v: var[float32] = x[0, 0]\nfor i in parallel(n):\n    v.add(x[i, 0])\nout[0, 0] = v",
        r"parallel loop i writes the outer variable \['v'\]",
    ),
    (
        "v: var[float32] = x[0, 0]\nfor i in reduction(n):\n    v = x[i, 0]\nout[0, 0] = v",
        "reduction loop i assigns the outer v",
    ),
    (
        "v: var[float32] = x[0, 0]\nfor i in reduction(n):\n    v.add(x[i, 0] * v)\nout[0, 0] = v",
        "reduction loop i reads v, which it folds",
    ),
    (
        "v: var[float32] = x[0, 0]\nfor i in reduction(n):\n    v.add(x[i, 0])\n"
        "    v.mul(x[i, 1])\nout[0, 0] = v",
        "v is folded by add and mul in i",
    ),
    ("for i in reduction(n):\n    out[i, 0] = x[i, 0]", "reduction loop i overwrites out"),
    (
        "v: var[float32] = x[0, 0]\n(v, v).argmax(x[0, 0], 0)\nout[0, 0] = v",
        "v is folded twice at once",
    ),
    ("v: var[float32] = x[0, 0]\nv.argmax(x[0, 0])", "argmax folds 2 values"),
    ("v: var[float32] = x[0, 0]\nv.bit_or(x[0, 0])", "bit_or does not accept float32"),
    ("out[0, 0].argmin(x[0, 0])", "'argmin' cannot fold a store"),
    ("out[x[0, 0], 0] = x[0, 0]", "an index of out must be int64, got float32"),
    ("for i in parallel(x[0, 0]):\n    out[i, 0] = x[i, 0]", "the extent of i must be int64"),
    ("if n:\n    out[0, 0] = x[0, 0]", "the condition of a guard must be bool, got int64"),
]


@pytest.mark.parametrize(("body", "message"), BAD)
def test_refused(body: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        nest(body)


N = Argument("n", d.int64)
X = Load("x", (), d.float32)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Select(X, X, X),
        lambda: Select(call("isnan", X), X, N),
        lambda: call("add", X),
        lambda: call("shl", X, X),
        lambda: call("complex", Load("h", (), d.float16), Load("h", (), d.float16)),
        lambda: scalar.Call("eq", (X, X), d.float32),
        lambda: Bitcast(X, d.int64),
        lambda: Bitcast(call("isnan", X), d.int8),
        lambda: Load("x", (X,), d.float32),
        lambda: Load("x y", (), d.float32),
        lambda: scalar.Constant("1", d.float32),
        lambda: scalar.Constant("300", d.uint8),
        lambda: Loop("i", N, "backwards", ()),
        lambda: Loop("i", N, "parallel", (X,)),
        lambda: Loop("exp", N, "parallel", ()),
        lambda: Buffer("b", d.float32, (X,)),
        lambda: Store("b", (), X, "sub"),
        lambda: Accumulate("add", ("a", "b"), (X, X)),
        lambda: LoopNest("f", (Local("n", d.int64),), (), (), ()),
    ],
)
def test_ill_formed_parts_cannot_be_made(make: object) -> None:
    assert callable(make)
    with pytest.raises(TalwegError):
        make()


def test_messages_name_both_dtypes_and_the_remedy() -> None:
    with pytest.raises(DTypeError, match="float32, int64; cast them"):
        X + Index("i")
    with pytest.raises(DTypeError, match="shl: float32 is not accepted here, only uint, int"):
        X << 1
    with pytest.raises(GraphError, match="use select"):
        bool(X < 0)
    assert constant(1, d.float32) + X == call("add", constant(1, d.float32), X)
