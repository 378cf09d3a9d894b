"""`talweg.linalg` and the older names beside PyTorch.

Vectors that are fixed but for a sign or phase are compared through functions that do not depend on
it. Gradients are those of Hermitian operands where only one triangle is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Case, Inputs, compare, parameters, torch

import talweg as tw

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:.*deprecated.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*will be removed.*:UserWarning"),
]
D = Inputs(7)
F64 = "float64"
SQUARE = D.real(2, 4, 4, dtype=F64) + 3 * np.eye(4)
TALL = D.real(2, 5, 3, dtype=F64)
WIDE = D.real(3, 5, dtype=F64)
RIGHT = D.real(2, 4, 3, dtype=F64)
PHASES = SQUARE + 1j * D.real(2, 4, 4, dtype=F64)
SINGLE = (SQUARE[0]).astype("float32")
POWERS = (0, 1, 2, 3, -1, -2)


def definite(T: Any, x: Any) -> Any:
    """Return Hermitian positive-definite matrices."""
    return x @ x.mH + T.eye(x.shape[-1], dtype=x.dtype)


def symmetric(x: Any) -> Any:
    return x + x.mH


def each(name: str, call: Callable[..., Any], *inputs: np.ndarray, **how: Any) -> list[Case]:
    """Return the case in double precision, and in complex numbers."""
    how = {"slack": 1e3, **how}
    return [
        Case(name, call, inputs, **how),
        Case(f"{name} complex", call, tuple(x * (1 + 0.5j) + 0.1j for x in inputs), **how),
    ]


CASES = [
    *each("inv", lambda T, a: T.linalg.inv(a), SQUARE),
    *each("inv_ex", lambda T, a: T.linalg.inv_ex(a), SQUARE),
    *each("solve", lambda T, a, b: T.linalg.solve(a, b), SQUARE, RIGHT),
    *each("solve right", lambda T, a, b: T.linalg.solve(a, b.mT, left=False), SQUARE, RIGHT),
    *each("solve vector", lambda T, a, b: T.linalg.solve(a, b[0, :, 0]), SQUARE, RIGHT),
    *each("solve vectors", lambda T, a, b: T.linalg.solve(a, b[..., 0]), SQUARE, RIGHT),
    *each("solve batch", lambda T, a, b: T.linalg.solve(a[:, None], b), SQUARE, RIGHT),
    *each("solve_ex", lambda T, a, b: T.linalg.solve_ex(a, b), SQUARE, RIGHT),
    *[
        case
        for upper in (False, True)
        for unit in (False, True)
        for case in each(
            f"solve_triangular {upper} {unit}",
            lambda T, a, b, u=upper, n=unit: T.linalg.solve_triangular(
                a, b, upper=u, unitriangular=n
            ),
            SQUARE,
            RIGHT,
            slack=1e4,
        )
    ],
    *each(
        "solve_triangular right",
        lambda T, a, b: T.linalg.solve_triangular(a, b.mT, upper=True, left=False),
        SQUARE,
        RIGHT,
    ),
    *each("det", lambda T, a: T.linalg.det(a), SQUARE),
    *each("slogdet", lambda T, a: T.linalg.slogdet(a), SQUARE),
    *each("logdet", lambda T, a: T.logdet(definite(T, a)), SQUARE),
    Case("logdet negative", lambda T, a: T.logdet(a), (-np.eye(3),), gradient=False),
    *each("matrix_exp", lambda T, a: T.linalg.matrix_exp(a), SQUARE / 3),
    *each("matrix_exp large", lambda T, a: T.matrix_exp(a), SQUARE * 2),
    *[
        case
        for n in POWERS
        for case in each(
            f"matrix_power {n}",
            lambda T, a, n=n: T.linalg.matrix_power(a, n) + 0 * a,
            SQUARE,
        )
    ],
    *each("pinv tall", lambda T, a: T.linalg.pinv(a), TALL),
    *each("pinv wide", lambda T, a: T.linalg.pinv(a), WIDE),
    *each("pinv hermitian", lambda T, a: T.linalg.pinv(symmetric(a), hermitian=True), SQUARE),
    Case("pinv tolerance", lambda T, a: T.linalg.pinv(a, atol=2.0), (TALL,), slack=1e3),
    Case("pinv rtol", lambda T, a: T.linalg.pinv(a, rtol=0.7), (TALL,), slack=1e3),
    Case("pinverse", lambda T, a: T.pinverse(a), (WIDE,), slack=1e3),
    *each("cholesky", lambda T, a: T.linalg.cholesky(definite(T, a)), SQUARE),
    *each("cholesky upper", lambda T, a: T.linalg.cholesky(definite(T, a), upper=True), SQUARE),
    *each("cholesky_ex", lambda T, a: T.linalg.cholesky_ex(definite(T, a)), SQUARE),
    Case("cholesky triangle", lambda T, a: T.linalg.cholesky(a), (SQUARE * 2,), slack=1e3),
    Case("older cholesky", lambda T, a: T.cholesky(definite(T, a), True), (SQUARE,), slack=1e3),
    *each(
        "cholesky_solve",
        lambda T, a, b: T.cholesky_solve(b, T.linalg.cholesky(definite(T, a))),
        SQUARE,
        RIGHT,
    ),
    *each(
        "cholesky_inverse",
        lambda T, a: T.cholesky_inverse(T.linalg.cholesky(definite(T, a), upper=True), True),
        SQUARE,
    ),
    *each("qr", lambda T, a: T.linalg.qr(a), SQUARE),
    *each("qr tall", lambda T, a: T.linalg.qr(a), TALL),
    *each("qr wide", lambda T, a: T.linalg.qr(a), WIDE),
    Case("qr wide complete", lambda T, a: T.linalg.qr(a, "complete"), (WIDE,), slack=1e3),
    Case("qr complete", lambda T, a: T.linalg.qr(a, "complete"), (TALL,), False, slack=1e3),
    Case("qr r", lambda T, a: T.linalg.qr(a, mode="r"), (TALL,), False, slack=1e3),
    Case("older qr", lambda T, a: T.qr(a), (TALL,), slack=1e3),
    *each("lu", lambda T, a: T.linalg.lu(a), SQUARE[:, ::-1].copy()),
    *each("lu tall", lambda T, a: T.linalg.lu(a), TALL),
    *each("lu wide", lambda T, a: T.linalg.lu(a), WIDE),
    *each("lu_factor", lambda T, a: T.linalg.lu_factor(a), SQUARE[:, ::-1].copy()),
    *each("lu_factor_ex", lambda T, a: T.linalg.lu_factor_ex(a), WIDE),
    *[
        case
        for left in (True, False)
        for adjoint in (True, False)
        for case in each(
            f"lu_solve {left} {adjoint}",
            lambda T, a, b, m=left, h=adjoint: T.linalg.lu_solve(
                *T.linalg.lu_factor(a), b if m else b.mT, left=m, adjoint=h
            ),
            SQUARE[:, ::-1].copy(),
            RIGHT,
        )
    ],
    Case("lu_unpack", lambda T, a: T.lu_unpack(*T.linalg.lu_factor(a)), (SQUARE,), slack=1e3),
    *each("eigh values", lambda T, a: T.linalg.eigh(symmetric(a)).eigenvalues, SQUARE),
    *each("eigh vectors", lambda T, a: T.linalg.eigh(symmetric(a))[1].abs(), SQUARE, slack=1e4),
    *each("eigvalsh", lambda T, a: T.linalg.eigvalsh(symmetric(a), UPLO="U"), SQUARE),
    Case("eigh triangle", lambda T, a: T.linalg.eigvalsh(a, "U"), (SQUARE,), slack=1e3),
    *each("eigvals", lambda T, a: T.linalg.eigvals(a).abs().sort(-1).values, SQUARE),
    *each("eig", lambda T, a: T.linalg.eig(a)[1].abs().sum(-1), PHASES.real, slack=1e5),
    *each("svdvals", lambda T, a: T.linalg.svdvals(a), TALL),
    *[
        case
        for name, x in (("square", SQUARE), ("tall", TALL), ("wide", WIDE))
        for full in (False, True)
        for case in each(
            f"svd {name} {full}",
            lambda T, a, f=full: [
                (u[..., :3].abs(), s, vh[..., :3, :].abs()) for u, s, vh in [T.linalg.svd(a, f)]
            ],
            x,
            slack=1e4,
        )
    ],
    Case("older svd", lambda T, a: [x.abs() for x in T.svd(a)], (TALL,), slack=1e4),
    Case("svd without vectors", lambda T, a: T.svd(a, compute_uv=False), (TALL,), False, 1e3),
    *each(
        "lstsq tall",
        lambda T, a, b: T.linalg.lstsq(a, b).solution,
        TALL,
        D.real(2, 5, 2, dtype=F64),
    ),
    *each("lstsq wide", lambda T, a, b: T.linalg.lstsq(a, b)[0], WIDE, D.real(3, 2, dtype=F64)),
    Case(
        "lstsq gelsd",
        lambda T, a, b: T.linalg.lstsq(a, b, driver="gelsd"),
        (TALL, D.real(2, 5, 2, dtype=F64)),
        gradient=False,
        slack=1e3,
    ),
    *[
        case
        for p in (None, "fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf"))
        for case in each(
            f"cond {p}",
            lambda T, a, p=p: T.linalg.cond(a, p),
            SQUARE,
            slack=1e4,
            gradient=p in (None, 2, -2),  # PyTorch overwrites what its gradient needs
        )
    ],
    *[
        case
        for p in ("fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf"))
        for keep in (False, True)
        for case in each(
            f"matrix_norm {p} {keep}",
            lambda T, a, p=p, k=keep: T.linalg.matrix_norm(a, p, dim=(0, 2), keepdim=k),
            TALL,
        )
    ],
    *[
        case
        for p in (None, 0, 1, 2, 3.5, -1, float("inf"), -float("inf"))
        for case in each(f"norm {p}", lambda T, a, p=p: T.linalg.norm(a, p, dim=1), TALL)
        if p != 0 or "complex" not in case.name
    ],
    Case("norm of a matrix", lambda T, a: T.linalg.norm(a, 2), (WIDE,), slack=1e3),
    Case("norm of all", lambda T, a: T.linalg.norm(a), (TALL,), slack=1e3),
    Case("norm dtype", lambda T, a: T.linalg.norm(a, dtype=T.float64), (TALL.astype("f4"),)),
    Case("vector_norm", lambda T, a: T.linalg.vector_norm(a, 3, (0, 1), True), (TALL,), slack=1e3),
    Case("matrix_rank", lambda T, a: T.linalg.matrix_rank(a), (TALL,), False),
    Case("matrix_rank tol", lambda T, a: T.linalg.matrix_rank(a, tol=2.0), (TALL,), False),
    Case("matrix_rank rtol", lambda T, a: T.linalg.matrix_rank(a, rtol=0.6), (TALL,), False),
    Case(
        "matrix_rank hermitian",
        lambda T, a: T.linalg.matrix_rank(a @ a.mT, hermitian=True),
        (TALL,),
        False,
    ),
    *each(
        "multi_dot", lambda T, a, b: T.linalg.multi_dot([a, b, a]), WIDE, D.real(5, 3, dtype=F64)
    ),
    *each("cross", lambda T, a, b: T.linalg.cross(a, b), TALL, D.real(1, 5, 3, dtype=F64)),
    *each("vecdot", lambda T, a, b: T.linalg.vecdot(a, b, dim=1), TALL, D.real(2, 5, 3, dtype=F64)),
    Case("vander", lambda T, a: T.linalg.vander(a, N=5), (TALL,), slack=1e3),
    *[
        Case(f"{name} f32", call, tuple(x.astype("float32") for x in inputs), slack=1e2)
        for name, call, *inputs in (
            ("solve", lambda T, a, b: T.linalg.solve(a, b), SQUARE, RIGHT),
            ("cholesky", lambda T, a: T.linalg.cholesky(definite(T, a)), SQUARE),
            ("qr", lambda T, a: T.linalg.qr(a), TALL),
            ("svdvals", lambda T, a: T.linalg.svdvals(a), TALL),
            ("slogdet", lambda T, a: T.linalg.slogdet(a), SQUARE),
            ("pinv", lambda T, a: T.linalg.pinv(a), TALL),
            ("lu", lambda T, a: T.linalg.lu(a), WIDE),
            ("matrix_exp", lambda T, a: T.linalg.matrix_exp(a), SQUARE / 3),
        )
    ],
    Case("vander of integers", lambda T, a: T.linalg.vander(a), (D.whole(3),), False),
    Case("older vander", lambda T, a: T.vander(a[0, 0], 4), (TALL,), False),
    Case("tensorinv", lambda T, a: T.linalg.tensorinv(a, ind=1), (D.real(6, 2, 3, dtype=F64),)),
    Case(
        "tensorsolve",
        lambda T, a, b: T.linalg.tensorsolve(a, b),
        (D.real(2, 3, 6, dtype=F64), D.real(2, 3, dtype=F64)),
        slack=1e4,
    ),
    Case(
        "tensorsolve dims",
        lambda T, a, b: T.linalg.tensorsolve(a, b, dims=(0,)),
        (D.real(6, 2, 3, dtype=F64), D.real(2, 3, dtype=F64)),
        slack=1e4,
    ),
    *each(
        "householder_product",
        lambda T, a, t: T.linalg.householder_product(a, t),
        TALL,
        D.real(2, 2, dtype=F64),
    ),
    Case("diagonal", lambda T, a: T.linalg.diagonal(a, offset=1), (TALL,)),
    Case(
        "triangular_solve",
        lambda T, a, b: T.triangular_solve(b, a, upper=False, transpose=True),
        (SQUARE, RIGHT),
        slack=1e3,
    ),
    Case("inverse", lambda T, a: a.inverse(), (SINGLE,), slack=1e2),
    Case("mH", lambda T, a: a.mH * 2, (SQUARE + 1j,), False),
    Case("H", lambda T, a: a.H * 2, (SINGLE,)),
    *[
        Case(f"empty {name}", call, (np.zeros((2, 0, 0)),), False)
        for name, call in {
            "inv": lambda T, a: T.linalg.inv(a),
            "det": lambda T, a: T.linalg.det(a),
            "slogdet": lambda T, a: T.linalg.slogdet(a),
            "cholesky": lambda T, a: T.linalg.cholesky(a),
            "qr": lambda T, a: T.linalg.qr(a),
            "svd": lambda T, a: T.linalg.svd(a),
            "eigh": lambda T, a: T.linalg.eigh(a),
            "matrix_exp": lambda T, a: T.linalg.matrix_exp(a),
            "pinv": lambda T, a: T.linalg.pinv(a),
            "lu": lambda T, a: T.linalg.lu(a),
            "solve": lambda T, a: T.linalg.solve(a, a),
            "matrix_rank": lambda T, a: T.linalg.matrix_rank(a),
        }.items()
    ],
]


@pytest.mark.parametrize("case", parameters(CASES))
def test_values_and_gradients(case: Case) -> None:
    compare(case)


SINGULAR = np.stack([np.eye(3), np.diag([1.0, 0, 2])])

FAILURES: dict[str, Callable[..., Any]] = {
    "inv": lambda T, a: T.linalg.inv(a),
    "cholesky_ex": lambda T, a: T.linalg.cholesky_ex(a, check_errors=True).L,
    "matrix_power": lambda T, a: T.linalg.matrix_power(a, -1),
    "solve": lambda T, a: T.linalg.solve(a, a),
    "cholesky": lambda T, a: T.linalg.cholesky(a),
    "lu_factor": lambda T, a: T.linalg.lu_factor(a)[0],
}


@pytest.mark.parametrize("name", FAILURES)
def test_singular_matrices_raise_naming_the_batch(name: str) -> None:
    messages = []
    for library in (tw, torch):
        with pytest.raises(RuntimeError) as found:
            FAILURES[name](library, library.tensor(SINGULAR)).sum().item()
        messages.append(
            str(found.value).removeprefix("torch.").replace("_ex:", ":").splitlines()[0]
        )
    assert "(Batch element 1)" in messages[0]
    assert messages[1].startswith(messages[0].rstrip("."))


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.linalg.inv(T.ones(2, 3)),
        lambda T: T.linalg.inv(T.ones(3)),
        lambda T: T.linalg.inv(T.ones(3, 3, dtype=T.int64)),
        lambda T: T.linalg.inv(T.ones(3, 3, dtype=T.float16)),
        lambda T: T.linalg.solve(T.eye(3), T.ones(2)),
        lambda T: T.linalg.solve(T.eye(3), T.ones(3, dtype=T.float64)),
        lambda T: T.linalg.solve_triangular(T.eye(3), T.ones(3), upper=True),
        lambda T: T.linalg.cholesky(T.ones(2, 3)),
        lambda T: T.linalg.qr(T.eye(3), "full"),
        lambda T: T.linalg.eigh(T.eye(3), "x"),
        lambda T: T.linalg.svd(T.ones(3)),
        lambda T: T.linalg.det(T.ones(3, 2)),
        lambda T: T.linalg.norm(T.ones(2, 2, 2), 1),
        lambda T: T.linalg.norm(T.tensor([1, 2])),
        lambda T: T.linalg.matrix_norm(T.ones(2, 2), 3),
        lambda T: T.linalg.cross(T.ones(2), T.ones(2)),
        lambda T: T.linalg.cross(T.ones(3), T.ones(2, 3)),
        lambda T: T.linalg.vecdot(T.ones(2), T.ones(3)),
        lambda T: T.linalg.multi_dot([T.ones(2, 2)]),
        lambda T: T.linalg.tensorinv(T.ones(2, 3)),
        lambda T: T.linalg.lstsq(T.ones(3, 2), T.ones(2, 2)),
        lambda T: T.linalg.lu_factor(T.eye(2), pivot=False),
        lambda T: T.linalg.householder_product(T.ones(2, 3), T.ones(2)),
    ],
)
def test_mistakes_raise_in_both(call: Callable[[Any], Any]) -> None:
    for library in (torch, tw):
        with pytest.raises((RuntimeError, ValueError, TypeError)):
            call(library)


def test_failed_matrices_have_the_same_info() -> None:
    a = np.stack([np.eye(3), np.diag([1.0, 0, 2]), np.diag([-1.0, 1, 1])])
    for name in ("inv_ex", "cholesky_ex", "lu_factor_ex"):
        ours = getattr(tw.linalg, name)(tw.tensor(a)).info.numpy()
        np.testing.assert_array_equal(ours, getattr(torch.linalg, name)(torch.tensor(a)).info)


def test_determinants_of_singular_matrices_have_gradients() -> None:
    a = np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]])
    grads = []
    for library in (tw, torch):
        x = library.tensor(a).requires_grad_()
        library.linalg.det(x).backward()
        grads.append(np.asarray(x.grad))
    np.testing.assert_allclose(*grads, atol=1e-9)


def test_principal_components_are_pytorchs() -> None:
    a = np.random.RandomState(5).randn(9, 4)
    found = []
    for library in (torch, tw):
        x = library.tensor(a)
        parts = [*library.pca_lowrank(x, 4), *library.svd_lowrank(x, 4, 3, library.ones(4) * x[0])]
        found.append([p.numpy() for p in parts])
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(np.abs(two), np.abs(one), rtol=1e-8, atol=1e-10)
