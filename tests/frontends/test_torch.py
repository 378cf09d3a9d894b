"""The front end of PyTorch: module paths, older names, and what is not there."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from talweg.frontends.torch.autograd import Variable

import talweg as tw
import talweg.frontends.torch as torch
from talweg.base.errors import ShapeError
from talweg.frontends.torch import nn, trees
from talweg.nn import functional as F
from tests.peer.names import found, read

ROOT = "talweg.frontends.torch"


LOCAL = sorted(name for name, sources in trees.TREE.items() if ":" not in str(sources))


@pytest.mark.parametrize("name", LOCAL)
def test_every_module_shows_the_names_of_its_sources(name: str) -> None:
    sources = trees.TREE[name]
    module: Any = importlib.import_module(f"{ROOT}.{name}".removesuffix("."))
    shown = set(dir(module))
    for source in sources:
        of = importlib.import_module(source)
        assert {n for n in getattr(of, "__all__", ()) if not n.startswith("_")} <= shown
    named = shown - {"Device", "newaxis"} if sources else set()
    assert all(getattr(module, n, None) is not None for n in named)


def test_names_are_talwegs_own() -> None:
    assert torch.Tensor is tw.Tensor
    assert nn.Linear is tw.nn.Linear
    assert nn.modules.conv.Conv2d is tw.nn.Conv2d
    assert isinstance(tw.nn.Conv2d(1, 1, 1), nn.modules.conv._ConvNd)
    assert torch.utils.data.DataLoader is tw.data.DataLoader
    assert torch.utils.dlpack.from_dlpack is tw.from_dlpack
    assert torch.optim.lr_scheduler._LRScheduler is tw.optim.lr_scheduler.LRScheduler


def test_a_missing_name_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"torch\.randnn is not in talweg.*torch\.randn"):
        torch.randnn  # noqa: B018
    with pytest.raises(ImportError, match=r"torch\.nn\.Liner is not in talweg.*torch\.nn\.Linear"):
        exec(f"from {ROOT}.nn import Liner")
    with pytest.raises(ImportError, match=r"torch\.nn\.nowhere is not in talweg"):
        importlib.import_module(f"{ROOT}.nn.nowhere")
    assert not hasattr(torch, "_C")


def test_star_imports_bring_functions() -> None:
    names: dict[str, Any] = {}
    exec(f"from {ROOT}.nn.functional import *", names)
    assert names["relu"] is F.relu


@pytest.fixture
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Variable changes how Tensors read, here for one test."""
    monkeypatch.setattr(tw.Tensor, "__getitem__", tw.Tensor.__getitem__)
    monkeypatch.setattr(tw.Tensor, "volatile", False, raising=False)


@pytest.mark.usefixtures("_as_before")
def test_variables_are_tensors() -> None:
    x = tw.ones(2)
    v = Variable(x, requires_grad=True)
    assert isinstance(v, Variable)
    assert isinstance(v, tw.Tensor)
    assert (v.requires_grad, x.requires_grad, v.volatile) == (True, False, False)
    v.data[0] = 5
    assert x.tolist() == [5, 1]
    assert not Variable(x, volatile=True).requires_grad


@pytest.mark.usefixtures("_as_before")
def test_a_loss_is_read_as_it_once_was() -> None:
    loss = (tw.ones(3) * 2).sum()
    with pytest.raises(IndexError):
        loss.data[0]
    loss = (Variable(tw.ones(3)) * 2).sum()
    assert loss.data[0] == 6
    assert isinstance(loss.data[0], float)
    with pytest.raises(IndexError):
        loss[1]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("FloatTensor", "float32"),
        ("DoubleTensor", "float64"),
        ("HalfTensor", "float16"),
        ("LongTensor", "int64"),
        ("IntTensor", "int32"),
        ("ShortTensor", "int16"),
        ("CharTensor", "int8"),
        ("ByteTensor", "uint8"),
        ("BoolTensor", "bool"),
    ],
)
def test_typed_constructors(name: str, dtype: str) -> None:
    make = getattr(torch, name)
    for given in ([[1, 0]], np.array([[1, 0]]), tw.tensor([[1, 0]])):
        made = make(given)
        assert made.dtype is getattr(tw, dtype)
        assert made.tolist() == [[1, 0]]
        assert isinstance(made, make)
        assert made.type() == f"torch.{name}"
    assert make(2, 3).shape == (2, 3)
    assert make(tw.zeros(2, 3).size()).shape == (2, 3)
    assert make().shape == (0,)
    x = tw.ones(2)
    assert x.type(make).dtype is x.type(f"torch.{name}").dtype is getattr(tw, dtype)
    with pytest.raises(tw.TalwegError, match="cuda"):
        getattr(torch.cuda, name)(2)
    with pytest.raises(tw.TalwegError, match="cuda"):
        x.type(getattr(torch.cuda, name))


def test_the_default_type() -> None:
    torch.set_default_tensor_type("torch.DoubleTensor")
    try:
        assert tw.zeros(1).dtype is tw.float64
    finally:
        torch.set_default_tensor_type(torch.FloatTensor)
    assert tw.zeros(1).dtype is tw.float32


def test_names_without_underscore_write_in_place() -> None:
    x = tw.zeros(3, 3)
    assert nn.init.constant(x, 2) is x
    assert x.sum().item() == 18
    nn.init.xavier_uniform(x)
    x.requires_grad = True
    (x * 10).sum().backward()
    assert nn.utils.clip_grad_norm([x], 1.0).item() == pytest.approx(30)
    assert x.grad is not None
    assert x.grad.norm().item() == pytest.approx(1, rel=1e-4)


def test_no_gpu_is_there() -> None:
    assert not torch.cuda.is_available()
    assert not torch.backends.mps.is_available()
    assert not torch.accelerator.is_available()
    assert torch.accelerator.current_accelerator() is None
    torch.backends.cudnn.benchmark = True
    torch.cuda.manual_seed_all(1)
    with pytest.raises(tw.TalwegError, match=r"torch\.cuda\.set_device needs a GPU"):
        torch.cuda.set_device(0)
    assert isinstance(torch.device("cpu"), torch.device)
    scaler = torch.cuda.amp.GradScaler(enabled=False)
    with torch.autocast("cpu") if hasattr(torch, "autocast") else torch.amp.autocast("cpu"):
        assert scaler.scale(3) == 3


def test_scripting_leaves_programs_as_they_are() -> None:
    @torch.jit.script
    def twice(x: Any) -> Any:
        return 2 * x

    class Net(torch.jit.ScriptModule):
        @torch.jit.script_method
        def forward(self, x: Any) -> Any:
            return twice(x)

        @torch.jit.ignore(drop=True)
        def other(self) -> int:
            return 1

    assert Net()(3) == 6
    assert Net().other() == 1
    assert not torch.jit.is_scripting()


def test_checkpoints_have_gradients() -> None:
    x = tw.ones(2, requires_grad=True)
    torch.utils.checkpoint.checkpoint(lambda t: (t * t).sum(), x, use_reentrant=False).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2]


def test_what_is_absent_says_so(tmp_path: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"torch\.onnx\.export is not in talweg"):
        torch.onnx.export(None)
    with pytest.raises(FileNotFoundError, match="no checksum stands in its name"):
        torch.hub.load_state_dict_from_url("http://nowhere/w.pt", model_dir=str(tmp_path))
    with pytest.raises(ImportError, match=r"tensorboardX|is not in talweg"):
        exec(f"from {ROOT}.utils.tensorboard import Nothing")


def test_assert_close_sees_differences() -> None:
    close = torch.testing.assert_close
    close([tw.ones(2)], [tw.ones(2)])
    close({"a": tw.ones(2)}, {"a": tw.ones(2) + 1e-7})
    for a, b in ((tw.ones(2), tw.ones(3)), (tw.ones(2), tw.ones(2) * 1.1)):
        with pytest.raises(AssertionError):
            close(a, b)
    with pytest.raises(AssertionError, match="dtypes"):
        close(tw.ones(2), tw.ones(2, dtype=tw.float64))


def test_sizes_know_their_product() -> None:
    x = tw.zeros(2, 3, 4)
    assert isinstance(x.shape, torch.Size)
    assert x.size() == (2, 3, 4) == torch.Size([2, 3, 4])
    assert (x.shape.numel(), x.shape[1:].numel(), (x.shape + x.shape).numel()) == (24, 12, 576)
    assert torch.Tensor(x.size()).shape == (2, 3, 4)
    assert x.new_zeros(x.shape[1:]).shape == (3, 4)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)


class Plain:
    pass


def test_whole_modules_are_saved(tmp_path: Any) -> None:
    file = tmp_path / "model.pt"
    model = Own()
    torch.save(model, file)
    found = torch.load(file)
    assert type(found) is Own
    assert tw.equal(found.layer.weight, model.layer.weight)
    assert isinstance(found.layer.weight, nn.Parameter)
    assert found.layer.weight.requires_grad
    torch.save({"model": model, "step": 3}, file)
    assert torch.load(file)["model"].layer.bias.shape == (3,)
    torch.save(model.state_dict(), file)
    assert list(tw.load(file)) == ["layer.weight", "layer.bias"]


def test_files_name_only_what_is_allowed(tmp_path: Any) -> None:
    file = tmp_path / "plain.pt"
    torch.save([Plain()], file)
    with pytest.raises(tw.TalwegError, match="add_safe_globals"):
        torch.load(file)
    assert isinstance(torch.load(file, weights_only=False)[0], Plain)
    with torch.serialization.safe_globals([Plain]):
        assert isinstance(torch.load(file)[0], Plain)
    assert torch.serialization.get_safe_globals() == []
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "none.pt")


@pytest.mark.parametrize(
    "name",
    [
        *("os\nsystem", "builtins\neval", "talweg.base.extras\nrequire"),
        *("talweg.nn.state\nsave", "talweg.tools.programs\nrun_program"),
    ],
)
def test_files_run_nothing(name: str, tmp_path: Any) -> None:
    file = tmp_path / "bad.pt"
    file.write_bytes(f"talweg pickle 1\nc{name}\n(S'echo'\ntR.".encode())
    with pytest.raises(tw.TalwegError, match="the file names"):
        torch.load(file)


def test_what_the_note_lists_is_not_there() -> None:
    page = Path(__file__).parents[2] / "docs" / "notes" / "017-names-not-there.md"
    listed = read(page.read_text(encoding="utf-8"))
    assert sum(map(len, listed.values())) > 50
    for space, names in listed.items():
        here = found(torch, space)
        assert not [n for n in names if here is not None and hasattr(here, n)]


def test_ways_to_compute_attention_are_accepted() -> None:
    attention: Any = importlib.import_module(f"{ROOT}.nn.attention")
    q = tw.ones(1, 2, 3, 4)
    with attention.sdpa_kernel([attention.SDPBackend.MATH]):
        assert F.scaled_dot_product_attention(q, q, q).shape == q.shape


def test_functions_with_the_name_of_a_module() -> None:
    assert torch.autograd.gradcheck is tw.autograd.gradcheck
    for name in ("nn.utils.parametrize", "nn.utils.prune", "func", "special", "nn.modules.lazy"):
        assert importlib.import_module(f"{ROOT}.{name}")


def test_errors_that_programs_catch() -> None:
    assert issubclass(torch.cuda.OutOfMemoryError, RuntimeError)
    assert torch.cuda.memory_stats(0) == {}
    assert torch.cuda.memory_summary() == ""


def test_tensors_given_by_places_and_values() -> None:
    places, numbers = np.array([[0, 1, 1], [2, 0, 0]]), np.array([3.0, 4.0, 5.0], np.float32)
    full = np.zeros((2, 3), np.float32)
    np.add.at(full, tuple(places), numbers)
    held = tw.tensor(numbers, requires_grad=True)
    made = torch.sparse_coo_tensor(places, held, (2, 3))
    other = tw.arange(12.0).reshape(3, 4)
    for product in (torch.spmm(made, other), torch.sparse.mm(made, other), made @ other):
        np.testing.assert_allclose(product.detach().numpy(), full @ other.numpy())
    (made * tw.tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3))).sum().backward()
    assert held.grad is not None
    assert held.grad.tolist() == [2.0, 3.0, 3.0]
    sparse = tw.tensor(full).to_sparse()
    assert sparse.indices().tolist() == [[0, 1], [2, 0]]
    assert sparse.values().tolist() == [3.0, 9.0]
    assert torch.sparse_coo_tensor([[1]], [[2, 3]]).tolist() == [[0, 0], [2, 3]]
    assert torch.sparse_coo_tensor(places, tw.ones(3), dtype=tw.int64).dtype is tw.int64
    assert torch.sparse.sum(sparse, 0).tolist() == [9.0, 0.0, 3.0]
    summed = torch.sparse.addmm(tw.ones(2, 4), sparse, other, beta=2.0)
    np.testing.assert_allclose(summed.numpy(), 2 + full @ other.numpy())
    older = torch.sparse.FloatTensor(torch.LongTensor(places), tw.tensor(numbers), (2, 3))
    np.testing.assert_array_equal(older.to_dense().numpy(), full)


@pytest.mark.parametrize(
    ("places", "numbers", "size", "error"),
    [
        ([[0], [3]], [1.0], (2, 2), IndexError),
        ([[0], [-1]], [1.0], (2, 2), IndexError),
        ([0], [1.0], (2,), ShapeError),
        ([[0, 1]], [1.0], (2,), ShapeError),
        ([[0]], [1.0], (2, 2), ShapeError),
        ([[0], [0]], [1.0], (10**6, 10**6), MemoryError),
    ],
)
def test_places_must_fit(places: Any, numbers: Any, size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="sparse_coo_tensor"):
        torch.sparse_coo_tensor(places, numbers, size)


def test_marks_for_the_compiler_leave_functions_as_they_are() -> None:
    def double(x: Any) -> Any:
        return x * 2

    compiler: Any = importlib.import_module(f"{ROOT}.compiler")
    assert compiler.allow_in_graph(double) is double
    assert compiler.disable(double) is double
    assert compiler.disable(recursive=False)(double) is double
    assert not compiler.is_compiling()
    assert compiler.reset() is None


def test_modules_that_programs_import_and_never_use_here() -> None:
    collective = importlib.import_module("talweg.frontends.torch.distributed.nn")
    assert importlib.import_module("talweg.frontends.torch.distributed.nn.functional").all_reduce
    with pytest.raises(NotImplementedError, match="one process"):
        collective.all_reduce(tw.ones(1))
    cuda = importlib.import_module("talweg.frontends.torch.backends.cuda")
    with cuda.sdp_kernel(enable_flash=False, enable_math=True):
        assert not cuda.flash_sdp_enabled()
    cuda.enable_math_sdp(True)
