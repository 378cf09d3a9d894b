"""Loops that do nothing but keep a machine busy: what it can reach at most is measured with them.

Three kinds of functions, without a nest and called directly:

    void fma.<dtype>(i64 rounds, ptr values)                 `fma_flops` operations a round
    void read(i64 bytes, ptr from, ptr values)               reads, adding up
    void triad(i64 bytes, ptr to, ptr from, ptr other)       to = from + s * other
    void stream(i64 bytes, ptr to, ptr from, ptr other)      the same, past the caches

`values` are 4 KiB from which accumulators start and where they end, so that no work is idle; bytes
are multiples of 4096, and addresses of 64.
"""

from __future__ import annotations

from talweg.schedule.target import Target

SYMBOLS = ("fma.float32", "fma.float64", "read", "triad", "stream")
BLOCK = 4096


def accumulators(target: Target) -> int:
    """Return how many sums run at once: enough to hide the latency, few enough for registers."""
    wide = target.is_aarch64 or (target.is_x86 and target.has("avx512f"))
    return 20 if wide else 10


def fma_flops(target: Target, itemsize: int) -> int:
    """Return the floating-point operations of one round of `fma`."""
    return 2 * accumulators(target) * (target.vector_bytes // itemsize)


def module_text(target: Target) -> str:
    """Return the LLVM IR of all probes."""
    return "\n".join(
        [
            _fma(target, "float32", "float", 4),
            _fma(target, "float64", "double", 8),
            _read(target),
            _triad(target, "triad", ""),
            _triad(target, "stream", ", !nontemporal !0"),
            "!0 = !{i32 1}",
        ]
    )


def _fma(target: Target, dtype: str, scalar: str, itemsize: int) -> str:
    lanes, count = target.vector_bytes // itemsize, accumulators(target)
    vector, size = f"<{lanes} x {scalar}>", target.vector_bytes
    start, phis, body, end = [], [], [], []
    for n in range(count + 2):
        start.append(f"  %p{n} = getelementptr i8, ptr %values, i64 {n * size}")
        start.append(f"  %s{n} = load {vector}, ptr %p{n}, align {size}")
    for n in range(count):
        phis.append(f"  %a{n} = phi {vector} [ %s{n}, %start ], [ %b{n}, %loop ]")
        body += _multiply_add(target, n, vector, f"v{lanes}f{8 * itemsize}", count)
        end.append(f"  store {vector} %b{n}, ptr %p{n}, align {size}")
    declared = f"declare {vector} @llvm.fma.v{lanes}f{8 * itemsize}({vector}, {vector}, {vector})"
    signature = f'define void @"fma.{dtype}"(i64 %rounds, ptr %values) nounwind {{'
    head = [declared, signature, "start:"]
    loop = _loop(phis, body, "%rounds", 1)
    return "\n".join([*head, *start, "  br label %loop", *loop, *end, "  ret void", "}"])


def _multiply_add(target: Target, n: int, vector: str, suffix: str, count: int) -> list[str]:
    if target.fma:
        operands = f"{vector} %a{n}, {vector} %s{count}, {vector} %s{count + 1}"
        return [f"  %b{n} = call {vector} @llvm.fma.{suffix}({operands})"]
    return [
        f"  %m{n} = fmul {vector} %a{n}, %s{count}",
        f"  %b{n} = fadd {vector} %m{n}, %s{count + 1}",
    ]


def _loop(phis: list[str], body: list[str], limit: str, step: int) -> list[str]:
    return [
        "loop:",
        "  %i = phi i64 [ 0, %start ], [ %next, %loop ]",
        *phis,
        *body,
        f"  %next = add i64 %i, {step}",
        f"  %more = icmp slt i64 %next, {limit}",
        "  br i1 %more, label %loop, label %end",
        "end:",
    ]


def _read(target: Target) -> str:
    size, count = target.vector_bytes, 8
    vector = f"<{size // 4} x i32>"
    phis, body, end = [], [], []
    for n in range(count):
        phis.append(f"  %a{n} = phi {vector} [ zeroinitializer, %start ], [ %b{n}, %loop ]")
        body += [
            f"  %o{n} = add i64 %i, {n * size}",
            f"  %p{n} = getelementptr i8, ptr %from, i64 %o{n}",
            f"  %x{n} = load {vector}, ptr %p{n}, align {size}",
            f"  %b{n} = add {vector} %a{n}, %x{n}",
        ]
        end += [
            f"  %q{n} = getelementptr i8, ptr %values, i64 {n * size}",
            f"  store {vector} %b{n}, ptr %q{n}, align {size}",
        ]
    head = ["define void @read(i64 %bytes, ptr %from, ptr %values) nounwind {", "start:"]
    loop = _loop(phis, body, "%bytes", size * count)
    return "\n".join([*head, "  br label %loop", *loop, *end, "  ret void", "}"])


def _triad(target: Target, name: str, hint: str) -> str:
    size, count = target.vector_bytes, 4
    vector = f"<{size // 4} x float>"
    lanes = ", ".join(["float 3.0"] * (size // 4))
    body = []
    for n in range(count):
        body.append(f"  %o{n} = add i64 %i, {n * size}")
        for role in ("to", "from", "other"):
            body.append(f"  %{role}{n} = getelementptr i8, ptr %{role}, i64 %o{n}")
        body += [
            f"  %x{n} = load {vector}, ptr %from{n}, align {size}",
            f"  %y{n} = load {vector}, ptr %other{n}, align {size}",
            f"  %m{n} = fmul {vector} %y{n}, <{lanes}>",
            f"  %z{n} = fadd {vector} %x{n}, %m{n}",
            f"  store {vector} %z{n}, ptr %to{n}, align {size}{hint}",
        ]
    head = [f"define void @{name}(i64 %bytes, ptr %to, ptr %from, ptr %other) nounwind {{"]
    loop = _loop([], body, "%bytes", size * count)
    return "\n".join([*head, "start:", "  br label %loop", *loop, "  ret void", "}"])
