"""Names that few programs use, beside PyTorch: incomplete gamma functions, LDL, layouts, slopes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peer import Case, Inputs, array_of, close, compare, parameters, torch

import talweg as tw
import talweg.frontends.torch as front

pytestmark = pytest.mark.peer
D = Inputs(41)
A = np.array([0.01, 0.3, 1.0, 2.5, 19.0, 25.0, 300.0])
X = np.array([0.02, 1.7, 0.4, 9.0, 18.0, 31.0, 280.0])
ENDS = np.array([0.0, 1.0, np.inf, -1.0, 2.5])
FIRST, SECOND = (m.reshape(-1) for m in np.meshgrid(ENDS, ENDS))

CASES = [
    *(
        Case(
            f"{n} {d}",
            lambda T, x, n=n: getattr(T, n)(T.tensor(A, dtype=x.dtype), x),
            (X,),
            slack=100,
        )
        for n in ("igamma", "igammac")
        for d in ("float64",)
    ),
    *(
        Case(
            f"{n} of float32",
            lambda T, a, x, n=n: getattr(T.special, n)(a, x),
            (A.astype("float32"), X.astype("float32")),
            gradient=False,
        )
        for n in ("gammainc", "gammaincc")
    ),
    *(
        Case(
            f"{n} at its ends",
            lambda T, a, x, n=n: getattr(T, n)(a, x),
            (FIRST, SECOND),
            gradient=False,
        )
        for n in ("igamma", "igammac")
    ),
    Case("igamma broadcast", lambda T, x: T.igamma(T.tensor([[2.0], [3.0]]), x), (D.positive(4),)),
    Case("igamma_", lambda T, a, x: a.igamma_(x), (D.positive(4), D.positive(4)), gradient=False),
    Case(
        "Gamma.cdf",
        lambda T, x: T.distributions.Gamma(T.tensor(2.0), T.tensor(0.7)).cdf(x),
        (D.positive(4),),
    ),
    Case("Chi2.cdf", lambda T, x: T.distributions.Chi2(T.tensor(3.0)).cdf(x), (D.positive(4),)),
]


@pytest.mark.parametrize("case", parameters(CASES))
def test_incomplete_gamma_functions(case: Case) -> None:
    compare(case)


def test_the_first_operand_has_no_gradient_in_pytorch() -> None:
    a = torch.tensor(2.0, requires_grad=True)
    with pytest.raises(NotImplementedError):
        torch.igamma(a, torch.tensor(1.0)).backward()


@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_ldl(kind: str, hermitian: bool) -> None:
    x = D.real(2, 6, 6, dtype="float64").astype(kind)
    if kind == "complex128":
        x = x + 1j * D.real(2, 6, 6, dtype="float64")
    x = x + (x.conj() if hermitian else x).swapaxes(-1, -2)
    ours = tw.linalg.ldl_factor_ex(tw.tensor(x), hermitian=hermitian)
    theirs = torch.linalg.ldl_factor_ex(torch.tensor(x), hermitian=hermitian)
    np.testing.assert_array_equal(ours.pivots.numpy(), theirs.pivots.numpy())
    np.testing.assert_array_equal(ours.info.numpy(), theirs.info.numpy())
    close(ours.LD, theirs.LD, 1e3, "LD")
    rhs = D.real(2, 6, 3, dtype="float64").astype(kind)
    mine, other = (
        T.linalg.ldl_solve(f.LD, f.pivots, T.tensor(rhs), hermitian=hermitian)
        for T, f in ((tw, ours), (torch, theirs))
    )
    close(mine, other, 1e4, "solution")


M = np.array([[0.0, 2.0, 0.0], [3.0, 4.0, 0.0]], np.float32)


def _both(call: Any) -> tuple[Any, Any]:
    ours, theirs = call(front), call(torch)
    return ours, theirs.to_dense() if theirs.layout is not torch.strided else theirs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.sparse_csr_tensor([0, 1, 3], [1, 0, 1], [2.0, 3.0, 4.0], (2, 3)),
        lambda T: T.sparse_csr_tensor([0, 1, 3], [1, 0, 1], [2.0, 3.0, 4.0]),
        lambda T: T.sparse_csc_tensor([0, 1, 3], [1, 0, 1], [3.0, 2.0, 4.0], (2, 2)),
        lambda T: T.sparse_bsr_tensor([0, 1, 2], [1, 0], T.ones(2, 2, 3), (4, 6)),
        lambda T: T.sparse.softmax(T.tensor(M).to_sparse(), 1),
        lambda T: T.sparse.softmax(T.tensor(M).to_sparse(), 0),
        lambda T: T.sparse.log_softmax(T.tensor(M).to_sparse(), 1),
        lambda T: T.sparse.sum(T.tensor(M).to_sparse(), 0),
        lambda T: T.sparse.mm(T.tensor(M).to_sparse(), T.ones(3, 2)),
        lambda T: T.tensor(M).to_sparse_csr().crow_indices(),
        lambda T: T.tensor(M).to_sparse_csr().col_indices(),
        lambda T: T.tensor(M).to_sparse_csc().ccol_indices(),
        lambda T: T.tensor(M).to_sparse_csc().row_indices(),
        lambda T: T.sparse.spdiags(T.arange(6.0).reshape(2, 3), T.tensor([0, -1]), (3, 3)),
        lambda T: T.gradient(T.tensor(M), dim=1)[0],
        lambda T: T.gradient(T.tensor(M), spacing=0.5, dim=1, edge_order=2)[0],
        lambda T: T.gradient(T.tensor(M), spacing=(T.tensor([0.0, 1.0, 4.0]),), dim=1)[0],
        lambda T: T.segment_reduce(T.arange(6.0), "mean", lengths=T.tensor([2, 4])),
        lambda T: T.as_strided_scatter(T.zeros(3, 3), T.ones(2, 2), (2, 2), (1, 2), 1),
        lambda T: T.empty_permuted((2, 3, 4), (2, 0, 1)) * 0,
        lambda T: T.nonzero_static(T.tensor([0, 1, 1]), size=4),
        lambda T: T.mvlgamma(T.tensor([3.0, 4.0]), 2),
        lambda T: T.nested.nested_tensor([T.ones(2, 3), T.ones(4, 3)]).to_padded_tensor(0.5),
        lambda T: T.softmax(T.nested.nested_tensor([T.ones(2, 3), T.ones(4, 3)]), -1)[1],
    ],
)
def test_functions(call: Any) -> None:
    ours, theirs = _both(call)
    close(ours, theirs, 10, "result")


def test_a_meta_tensor_has_pytorchs_shapes_and_text() -> None:
    for T in (tw, torch):
        x = T.empty(2, 3, device="meta")
        y = (x @ x.T).sum(0)
        assert (tuple(y.shape), y.is_meta, str(y.device)) == ((2,), True, "meta")
        assert repr(x) == "tensor(..., device='meta', size=(2, 3))"
        with T.device("meta"):
            assert T.nn.Linear(2, 2).weight.is_meta


@pytest.mark.parametrize(
    "call",
    [
        lambda T, x: T.nn.functional.linear(x, T.ones(2, 3), T.ones(2)),
        lambda T, x: x @ T.ones(3, 2),
        lambda T, x: x.reshape(6),
        lambda T, x: T.nn.functional.conv1d(x[None], T.ones(2, 2, 1)),
        lambda T, x: T.nn.functional.layer_norm(x, (3,)),
        lambda T, x: T.nn.functional.max_pool2d(x[None], 2),
        lambda T, x: T.nn.functional.cross_entropy(x, T.tensor([0, 1])),
        lambda T, x: x.log_softmax(1),
    ],
)
def test_names_of_steps(call: Any) -> None:
    names = [
        call(T, T.tensor(M, requires_grad=True)).grad_fn.name().removesuffix("0")
        for T in (tw, torch)
    ]
    assert names[0] in names[1] or names[1] == "SqueezeBackward1"


def test_saved_values() -> None:
    for T in (tw, torch):
        x = T.tensor(M, requires_grad=True)
        np.testing.assert_array_equal(array_of(x.pow(2).grad_fn._saved_self), M)
        np.testing.assert_array_equal(array_of(x.exp().grad_fn._saved_result), array_of(x.exp()))
