"""Files of `torch.save`: published ones, hand-made ones, and ones that would run a program."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import DataError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
INDEX = SHARED / "reference" / "index.json"
CASES = json.loads(INDEX.read_text()) if INDEX.is_file() else {}
PUBLISHED = {
    *("torch-alex", "torch-complex_nested", "torch-non_contiguous_indexes", "torch-pnet"),
    *("torch-rnet", "torch-squeeze", "torch-yunet_s", "safetensors-mnist"),
}


def tensors(value: Any, path: str = "") -> Iterator[tuple[str, tw.Tensor]]:
    if isinstance(value, tw.Tensor):
        yield path, value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from tensors(v, f"{path}/{k}")
    elif isinstance(value, list | tuple):
        for k, v in enumerate(value):
            yield from tensors(v, f"{path}/{k}")


@pytest.mark.skipif(not CASES, reason=f"no reference data in {SHARED}")
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_files_hold_what_pytorch_finds_in_them(name: str) -> None:
    case = CASES[name]
    if name.startswith("safetensors"):
        pytest.importorskip("safetensors")
    found = dict(tensors(tw.load(SHARED / case["model"], map_location="cpu", weights_only=True)))
    nested = next(iter(case["tensors"])).startswith("/")
    found = {k if nested else k[1:]: v for k, v in found.items()}
    assert set(found) == set(case["tensors"])
    for key, wanted in case["tensors"].items():
        array = found[key].numpy()
        assert str(array.dtype) == wanted["dtype"]
        assert list(array.shape) == wanted["shape"]
        assert float(array.sum(dtype=np.float64)) == pytest.approx(
            wanted["sum"], rel=1e-6, abs=1e-6
        )
        assert hashlib.sha256(array.tobytes()).hexdigest() == wanted["sha256_of_bytes"], key


@pytest.mark.skipif(not CASES, reason=f"no reference data in {SHARED}")
def test_a_published_training_state_has_its_other_values() -> None:
    found = tw.load(SHARED / "torch/yunet/yunet_s.pth", mmap=True)
    assert set(found) >= {"meta", "state_dict", "optimizer"}
    assert isinstance(found["meta"]["epoch"], int)
    assert found["optimizer"]["param_groups"][0]["momentum"] == 0.9
    assert found["state_dict"]._metadata


# Files made here, by a pickler that writes PyTorch's names.


class Storage:
    """Numbers, pickled as a reference to them."""

    def __init__(self, kind: str, values: np.ndarray, key: str = "0") -> None:
        self.kind, self.values, self.key = kind, values, key


class Name:
    """Pickled as the name of a function or class."""

    def __init__(self, name: str) -> None:
        self.name = name


class Call:
    """Pickled as the call of a name, and what is set on its result."""

    def __init__(self, name: str, *arguments: Any, state: Any = None) -> None:
        self.name, self.arguments, self.state = name, arguments, state


class New(Call):
    """Pickled as an object of a class, made without arguments."""


class Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
    def __init__(self, file: Any, stream: bool) -> None:
        super().__init__(file, protocol=2)
        self.stream = stream
        self.storages: dict[str, np.ndarray] = {}

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, Storage):
            return None
        self.storages[obj.key] = obj.values
        place = ("storage", Name(f"torch.{obj.kind}Storage"), obj.key, "cpu", obj.values.size)
        return (*place, None) if self.stream else place

    def save_name(self, obj: Name) -> None:
        module, _, name = obj.name.rpartition(".")
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())

    def save_call(self, obj: Call) -> None:
        self.save(Name(obj.name))
        self.save(obj.arguments)
        self.write(pickle.NEWOBJ if isinstance(obj, New) else pickle.REDUCE)
        self.memoize(obj)
        if obj.state is not None:
            self.save(obj.state)
            self.write(pickle.BUILD)

    dispatch: ClassVar[dict[Any, Any]] = {
        **pickle._Pickler.dispatch,  # type: ignore[attr-defined]
        Name: save_name,
        Call: save_call,
        New: save_call,
    }


def zipped(value: Any, order: str = "little") -> bytes:
    file, text = io.BytesIO(), io.BytesIO()
    pickler = Pickler(text, False)
    pickler.dump(value)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", text.getvalue())
        archive.writestr("model/byteorder", order)
        for key, values in pickler.storages.items():
            mark = "<" if order == "little" else ">"
            raw = values.astype(values.dtype.newbyteorder(mark)).tobytes()
            archive.writestr(f"model/data/{key}", raw)
        archive.writestr("model/version", "3\n")
    return file.getvalue()


def streamed(value: Any) -> bytes:
    file = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(part, file, protocol=2)
    pickler = Pickler(file, True)
    pickler.dump(value)
    pickle.dump(sorted(pickler.storages), file, protocol=2)
    for key in sorted(pickler.storages):
        values = pickler.storages[key]
        file.write(struct.pack("<q", values.size) + values.tobytes())
    return file.getvalue()


def tensor(storage: Storage, *how: Any, grad: bool = False) -> Call:
    return Call("torch._utils._rebuild_tensor_v2", storage, *how, grad, OrderedDict())


LAYOUTS = pytest.mark.parametrize("layout", [zipped, streamed])
NUMBERS = Storage("Float", np.arange(12, dtype=np.float32))


def loaded(layout: Any, value: Any) -> Any:
    return tw.load(io.BytesIO(layout(value)))


@LAYOUTS
def test_tensors_come_through_any_stride(layout: Any) -> None:
    state = OrderedDict(
        whole=tensor(NUMBERS, 0, (3, 4), (4, 1)),
        turned=tensor(NUMBERS, 0, (4, 3), (1, 4)),
        part=tensor(NUMBERS, 5, (2, 2), (4, 2)),
        same=tensor(NUMBERS, 7, (2, 3), (0, 0)),
        one=tensor(NUMBERS, 11, (), ()),
        none=tensor(NUMBERS, 0, (0, 3), (3, 1)),
    )
    found = loaded(layout, state)
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    wanted = {
        "whole": base,
        "turned": base.T,
        "part": [[5, 7], [9, 11]],
        "same": np.full((2, 3), 7),
        "one": 11.0,
        "none": np.zeros((0, 3)),
    }
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name].numpy(), values)
        assert not found[name].requires_grad


@LAYOUTS
@pytest.mark.parametrize(
    ("kind", "values", "dtype"),
    [
        ("Bool", np.array([True, False]), tw.bool),
        ("Byte", np.array([1, 255], np.uint8), tw.uint8),
        ("Long", np.array([-5, 2**40]), tw.int64),
        ("Half", np.array([0.5, -2], np.float16), tw.float16),
        ("BFloat16", np.array([0x3F80, 0xC000], np.uint16), tw.bfloat16),
        ("Double", np.array([0.1, 1e300]), tw.float64),
        ("ComplexFloat", np.array([1 + 2j, -3j], np.complex64), tw.complex64),
    ],
)
def test_every_storage(layout: Any, kind: str, values: np.ndarray, dtype: Any) -> None:
    found = loaded(layout, [tensor(Storage(kind, values), 0, (2,), (1,))])[0]
    assert found.dtype is dtype
    wanted = [1.0, -2.0] if kind == "BFloat16" else values.tolist()
    assert found.tolist() == wanted


def test_bytes_of_other_machines() -> None:
    state = {"w": tensor(NUMBERS, 0, (12,), (1,))}
    assert tw.load(io.BytesIO(zipped(state, "big")))["w"].tolist() == list(range(12))


@LAYOUTS
def test_values_around_tensors(layout: Any) -> None:
    weight = Call("torch._utils._rebuild_parameter", tensor(NUMBERS, 0, (3,), (1,)), True, {})
    kind = Call("numpy.dtype", "f8", False, True, state=(3, "<", None, None, None, -1, -1, 0))
    numbers = (1, (2, 2), kind, True, np.arange(4.0).tobytes())
    array = Call(
        "numpy._core.multiarray._reconstruct", Name("numpy.ndarray"), (0,), b"b", state=numbers
    )
    options = argparse.Namespace(lr=0.1, layers=[1, 2])
    state = {
        "weights": [weight, (weight,)],
        "best": Call("numpy._core.multiarray.scalar", kind, struct.pack("<d", 0.75)),
        "array": array,
        "options": options,
        "shape": Call("torch.Size", (2, 3)),
        "device": Call("torch.device", "cuda", 1),
        "names": {"a", "b"},
        "path": Call("pathlib.PosixPath", "data", "train"),
        3: 1.5 + 2j,
    }
    found = loaded(layout, state)
    first, (second,) = found["weights"]
    assert isinstance(first, nn.Parameter)
    assert first.requires_grad
    assert first is second
    assert found["best"] == 0.75
    assert found["array"].tolist() == [[0.0, 2.0], [1.0, 3.0]]
    assert found["options"] == options
    assert (found["shape"], found["device"], found["path"]) == ((2, 3), "cuda:1", "data/train")
    assert (found["names"], found[3]) == ({"a", "b"}, 1.5 + 2j)


def layer(kind: str, **state: Any) -> Call:
    """A Module as PyTorch pickles it: an object without arguments, then its attributes."""
    tables = {t: state.pop(t, {}) for t in ("_parameters", "_buffers", "_modules")}
    attributes = {"training": False, **tables, **state}
    return New(f"torch.nn.modules.{kind}", state=attributes)


@LAYOUTS
def test_whole_modules_become_ours(layout: Any) -> None:
    weight = Call("torch._utils._rebuild_parameter", tensor(NUMBERS, 0, (4, 3), (3, 1)), True, {})
    model = layer(
        "container.Sequential",
        _modules={
            "0": layer(
                "linear.Linear",
                in_features=3,
                out_features=4,
                _parameters={"weight": weight, "bias": None},
            ),
            "act": layer("activation.LeakyReLU", negative_slope=0.25, inplace=False),
        },
    )
    found = loaded(layout, model)
    assert isinstance(found, nn.Sequential)
    assert repr(found.act) == "LeakyReLU(negative_slope=0.25)"
    assert not found[0].training
    assert found(tw.tensor([[-1.0, 0.0, 0.0]])).tolist() == [[0.0, -0.75, -1.5, -2.25]]
    assert [k for k, _ in found.named_parameters()] == ["0.weight"]


def test_modules_that_do_not_fit_are_refused() -> None:
    wrong = Call("torch._utils._rebuild_parameter", tensor(NUMBERS, 0, (2, 3), (3, 1)), True, {})
    for state, problem in (
        ({"in_features": 3}, "does not say its out_features"),
        ({"in_features": 3, "out_features": 4}, "holds a Linear with"),
        (
            {"in_features": 3, "out_features": 4, "_parameters": {"weight": wrong, "bias": None}},
            "Linear.weight does not fit",
        ),
    ):
        with pytest.raises(DataError, match=problem):
            loaded(zipped, layer("linear.Linear", **state))


@LAYOUTS
@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "posix.system", "builtins.eval", "builtins.getattr", "subprocess.Popen"),
        *("torch.load", "torch.nn.modules.module.Module", "numpy.load", "elsewhere.Net"),
        *("builtins.__import__", "pickle.loads", "torch.hub.load", "functools.partial"),
    ],
)
def test_a_file_that_would_run_a_program_is_refused(
    layout: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, last = name.rpartition(".")
    text = b"\x80\x02c" + module.encode() + b"\n" + last.encode() + b"\n(S'touch here'\ntR."
    if layout is zipped:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("model/data.pkl", text)
        raw = file.getvalue()
    else:
        parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        raw = b"".join(pickle.dumps(p, protocol=2) for p in parts) + text
    path = tmp_path / "model.pt"
    path.write_bytes(raw)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"model.pt: asks for {name}, .* nothing was loaded"):
        tw.load(path, weights_only=False)
    assert os.listdir(tmp_path) == ["model.pt"]


def test_instructions_on_the_stand_ins_change_nothing_outside() -> None:
    setting = b"\x80\x02cargparse\nNamespace\n(N}S'__init__'\nNstb."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", setting)
    before = argparse.Namespace.__init__
    with pytest.raises(DataError):
        tw.load(io.BytesIO(file.getvalue()))
    assert argparse.Namespace.__init__ is before


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (13,), (1,)), (1, (3, 4), (4, 1)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 2), (1,))],
)
def test_a_tensor_beyond_its_storage(offset: int, size: Any, stride: Any) -> None:
    with pytest.raises(DataError):
        loaded(zipped, [tensor(NUMBERS, offset, size, stride)])


@LAYOUTS
def test_every_truncation_is_an_error(layout: Any) -> None:
    raw = layout({"w": tensor(NUMBERS, 0, (12,), (1,))})
    for length in range(2, len(raw), 7):
        with pytest.raises(DataError):
            tw.load(io.BytesIO(raw[:length]))


def test_other_programs_and_objects() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", b"")
        archive.writestr("model/constants.pkl", b"")
    with pytest.raises(DataError, match="TorchScript"):
        tw.load(io.BytesIO(file.getvalue()))
    kind = Call("numpy.dtype", "O8", False, True)
    with pytest.raises(DataError, match="dtype object"):
        loaded(zipped, Call("numpy._core.multiarray.scalar", kind, b"12345678"))
