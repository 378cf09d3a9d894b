"""Names of PyTorch that few programs use: layouts, switches, data pipes, copies, storages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
import talweg.frontends.torch as torch
from talweg.base.errors import InvalidValue, ShapeError

X = np.array([[0.0, 2.0, 0.0], [3.0, 4.0, 0.0]], np.float32)


def test_rows_columns_and_blocks_make_the_same_matrix() -> None:
    held = torch.tensor([2.0, 3.0, 4.0], requires_grad=True)
    rows = torch.sparse_csr_tensor([0, 1, 3], [1, 0, 1], held, (2, 3))
    np.testing.assert_array_equal(rows.detach(), X)
    (rows * torch.tensor(X)).sum().backward()
    np.testing.assert_array_equal(held.grad, [2.0, 3.0, 4.0])
    columns = torch.sparse_csc_tensor([0, 1, 3, 3], [1, 0, 1], [3.0, 2.0, 4.0], (2, 3))
    np.testing.assert_array_equal(columns, X)
    blocks = torch.sparse_bsr_tensor([0, 1], [0], torch.tensor(X[None, :, :2]), (2, 4))
    np.testing.assert_array_equal(blocks, np.pad(X[:, :2], ((0, 0), (0, 2))))
    batch = torch.sparse_csr_tensor([[0, 1, 1], [0, 0, 1]], [[1], [0]], [[5.0], [6.0]], (2, 2, 2))
    np.testing.assert_array_equal(batch, [[[0, 5], [0, 0]], [[0, 0], [6, 0]]])
    with pytest.raises(InvalidValue, match="rise from 0"):
        torch.sparse_csr_tensor([0, 2, 1], [1, 0, 1], [1.0, 2.0, 3.0], (2, 3))


def test_what_a_matrix_says_of_its_rows_and_columns() -> None:
    x = torch.tensor(X).to_sparse_csr()
    assert x.crow_indices().tolist() == [0, 1, 3]
    assert x.col_indices().tolist() == [1, 0, 1]
    assert x.values().tolist() == [2.0, 3.0, 4.0]
    assert x.ccol_indices().tolist() == [0, 1, 3, 3]
    assert x.row_indices().tolist() == [1, 0, 1]
    assert torch.tensor(X).sparse_mask(torch.tensor(X > 3)).tolist() == [[0, 0, 0], [0, 4, 0]]


def test_softmax_of_what_is_given() -> None:
    x = torch.tensor(X, requires_grad=True)
    found = torch.sparse.softmax(x.to_sparse(), 1)
    weight = np.exp([3.0, 4.0]) / np.exp([3.0, 4.0]).sum()
    np.testing.assert_allclose(found.detach(), [[0, 1, 0], [*weight, 0]], rtol=1e-6)
    (found * torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])).sum().backward()
    slope = weight[0] * weight[1]
    np.testing.assert_allclose(x.grad, [[0, 0, 0], [slope, -slope, 0]], atol=1e-6)
    logs = torch.sparse.log_softmax(x.detach(), 1)
    np.testing.assert_allclose(logs, [[0, 0, 0], [*np.log(weight), 0]], rtol=1e-5)


def test_diagonals_and_products() -> None:
    made = torch.sparse.spdiags(torch.arange(6.0).reshape(2, 3) + 1, torch.tensor([0, -1]), (3, 3))
    np.testing.assert_array_equal(made, [[1, 0, 0], [4, 2, 0], [0, 5, 3]])
    a, b = torch.tensor(X), torch.ones(3, 2)
    np.testing.assert_array_equal(torch.hspmm(a, b), X @ np.ones((3, 2)))
    one = torch.sparse.sampled_addmm(torch.eye(2), a, b, beta=2.0)
    np.testing.assert_array_equal(one, [[4, 0], [0, 9]])


def test_switches_of_libraries_keep_what_they_are_set_to() -> None:
    backends = torch.backends
    with backends.cudnn.flags(enabled=True, benchmark=True):
        assert (backends.cudnn.enabled, backends.cudnn.benchmark) == (True, True)
    assert (backends.cudnn.enabled, backends.cudnn.benchmark) == (False, False)
    with backends.mkldnn.flags(enabled=False), backends.mkldnn.verbose(1):
        assert not backends.mkldnn.is_available()
    assert backends.cuda.math_sdp_enabled()
    assert not backends.cuda.flash_sdp_enabled()
    with pytest.raises(TypeError, match="no setting 'x'"):
        backends.cudnn.set_flags(x=1)


def test_extensions_in_cpp_are_refused_with_a_way_out() -> None:
    with pytest.raises(NotImplementedError, match=r"load_inline is not in talweg.*Function"):
        torch.utils.cpp_extension.load_inline("name", "")
    with pytest.raises(NotImplementedError, match="no C"):
        torch.utils.cpp_extension.BuildExtension()


def test_pipes() -> None:
    from_numbers = torch.utils.data.datapipes.iter.IterableWrapper
    pipe = from_numbers(range(10)).filter(lambda n: n % 2).map(lambda n: n * n).batch(2)
    assert list(pipe) == [[1, 9], [25, 49], [81]]
    assert list(pipe.unbatch()) == [1, 9, 25, 49, 81]
    assert sorted(from_numbers(range(6)).shuffle()) == list(range(6))
    assert list(from_numbers([(1, 2)]).map(lambda a: a + 1, input_col=1)) == [(1, 3)]
    assert len(from_numbers(range(5)).zip(from_numbers(range(3)))) == 3
    assert [b.tolist() for b in from_numbers(range(4)).batch(2).collate()] == [[0, 1], [2, 3]]

    @torch.utils.data.functional_datapipe("doubled")
    class Doubled(torch.utils.data.IterDataPipe):  # type: ignore[misc, name-defined]
        def __init__(self, source: Any) -> None:
            self.source = source

        def __iter__(self) -> Any:
            return (2 * n for n in self.source)

    assert list(from_numbers(range(3)).doubled()) == [0, 2, 4]
    loader = torch.utils.data.DataLoader(from_numbers(range(4)).doubled(), batch_size=4)
    assert next(iter(loader)).tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("order", [1, 2])
def test_gradient_is_numpys(order: int) -> None:
    x = np.random.RandomState(0).randn(4, 5)
    t = torch.tensor(x)
    for ours, theirs in zip(
        torch.gradient(t, spacing=0.5, edge_order=order),
        np.gradient(x, 0.5, edge_order=order),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    places = np.array([0.0, 1.0, 1.5, 4.0, 5.0])
    (found,) = torch.gradient(t, spacing=[torch.tensor(places)], dim=1, edge_order=order)
    wanted = np.gradient(x, places, axis=1, edge_order=order)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    with pytest.raises(ShapeError, match="samples"):
        torch.gradient(torch.ones(order), edge_order=order)


def test_copies_strides_and_storages() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    copied = torch.transpose_copy(x, 0, 1)
    copied.zero_()
    assert x.sum().item() == 15
    assert torch.empty_permuted((2, 3, 4), (2, 0, 1)).stride() == (3, 1, 6)
    assert x.t().dim_order() == (1, 0)
    assert (
        x.untyped_storage().data_ptr() == x[1].storage().data_ptr() != copied.storage().data_ptr()
    )
    assert x.storage().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.zeros(2).set_(x).is_set_to(x)
    assert torch.zeros(0).set_(x, 1, (2, 2)).tolist() == [[1, 2], [3, 4]]
    assert x.clone().as_strided_((2, 2), (1, 2)).tolist() == [[0, 2], [1, 3]]


def test_factors_and_segments() -> None:
    a = torch.tensor(np.random.RandomState(1).randn(4, 3))
    factors, tau = torch.geqrf(a)
    q = torch.ormqr(factors, tau, torch.eye(4, dtype=torch.float64))
    np.testing.assert_allclose(q[:, :3] @ factors[:3].triu(), a, atol=1e-12)
    data = torch.arange(6.0)
    lengths = torch.tensor([1, 0, 3, 2])
    assert torch.segment_reduce(data, "max", lengths=lengths, initial=-1.0).tolist() == [
        0,
        -1,
        3,
        5,
    ]
    assert torch.segment_reduce(data, "sum", offsets=torch.tensor([0, 2, 6])).tolist() == [1, 14]
    square = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    np.testing.assert_allclose(
        torch.lobpcg(square, 1)[0], np.linalg.eigvalsh(square.numpy())[-1:], rtol=1e-6
    )
    assert torch.nonzero_static(torch.tensor([0, 1, 1]), size=3).tolist() == [[1], [2], [-1]]
    assert torch.while_loop(lambda n: n < 5, lambda n: (n + 2,), (torch.tensor(0),))[0].item() == 6
    assert torch.jit.wait(torch.jit.fork(lambda n: n + 1, 2)) == 3
    assert torch.mvlgamma(tw.tensor(3.0), 1).item() == pytest.approx(0.6931, abs=1e-4)
