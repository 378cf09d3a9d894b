"""save and load: every value comes back, other programs can read it, and bad files are named."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import talweg as tw
from talweg import nn, optim
from talweg.base import dtypes
from talweg.base.errors import DataError, InvalidValue, MissingExtra
from talweg.nn import state

safetensors = pytest.importorskip("safetensors")
safetensors_numpy = pytest.importorskip("safetensors.numpy")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.safetensors"


def back(value: Any, path: Path) -> Any:
    tw.save(value, path)
    return tw.load(path)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 4), (2, 3)])
def test_every_dtype_and_shape_comes_back(
    path: Path, dtype: dtypes.DType, shape: tuple[int, ...]
) -> None:
    raw = np.random.RandomState(0).randint(0, 2, math.prod(shape) * dtype.itemsize).astype(np.uint8)
    t = tw.from_numpy(raw.view(dtype.storage if dtype.name != "bfloat16" else np.uint16))
    if dtype is tw.bfloat16:
        t = t.to(tw.bfloat16)
    found = back({"t": t.reshape(shape)}, path)["t"]
    assert found.dtype is dtype
    assert found.shape == shape
    np.testing.assert_array_equal(found.numpy(), t.reshape(shape).numpy())


def test_a_view_is_saved_as_what_it_shows(path: Path) -> None:
    t = tw.arange(12).reshape(3, 4)
    found = back({"t": t.t()[1:], "s": t[:, ::2]}, path)
    assert found["t"].tolist() == t.t()[1:].tolist()
    assert found["s"].tolist() == t[:, ::2].tolist()


VALUES: list[Any] = [
    None,
    True,
    -(10**30),
    0.1,
    -0.0,
    math.inf,
    "text é",
    1 + 2j,
    complex(math.nan, -0.0),
    [],
    {},
    (),
    [1, [2.5, (3, "x")], ()],
    {"a": {"b": [None]}, "$tensor": 1, "": 2},
    {0: "zero", "0": "text", (1, 2): "pair", None: 3, 1.5: True},
    OrderedDict(z=1, a=2),
    tw.bfloat16,
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_structures_come_back(path: Path, value: Any) -> None:
    found = back(value, path)
    assert repr(found) == repr(dict(value) if isinstance(value, OrderedDict) else value)


def test_nan_comes_back(path: Path) -> None:
    assert math.isnan(back([math.nan], path)[0])


def test_arrays_stay_arrays(path: Path) -> None:
    value = {"a": np.arange(3, dtype=">i4"), "s": np.float32(1.5), "c": np.array([1 + 2j])}
    found = back(value, path)
    assert isinstance(found["a"], np.ndarray)
    assert found["a"].tolist() == [0, 1, 2]
    assert found["a"].dtype.isnative
    found["a"][0] = 7
    assert found["s"].dtype == np.float32
    assert found["s"] == 1.5
    assert found["c"].tolist() == [1 + 2j]


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(trees)
def test_any_structure_comes_back(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    found = back(tree, tmp_path_factory.getbasetemp() / "tree.safetensors")
    assert repr(found) == repr(tree)


def test_names_that_meet_are_kept_apart(path: Path) -> None:
    value = {"a.b": tw.ones(1), "a": {"b": tw.zeros(1)}, "__metadata__": tw.ones(2)}
    found = back(value, path)
    assert found["a.b"].tolist() == [1.0]
    assert found["a"]["b"].tolist() == [0.0]
    assert found["__metadata__"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, object()]}, r"value at \['a'\]\[1\] is object"),
        ({"f": print}, r"\['f'\] is builtin_function"),
        ({"s": {1, 2}}, "is set"),
        ({"w": np.array(["x"])}, r"\['w'\]: NumPy dtype"),
        (print, "^save: the value is"),
    ],
)
def test_what_cannot_be_saved_is_named_and_leaves_no_file(
    path: Path, value: Any, text: str
) -> None:
    with pytest.raises(InvalidValue, match=text):
        tw.save(value, path)
    assert list(path.parent.iterdir()) == []


def test_a_structure_that_holds_itself(path: Path) -> None:
    loop: list[Any] = [1]
    loop.append({"again": loop})
    with pytest.raises(InvalidValue, match=r"\[1\]\['again'\] holds itself"):
        tw.save(loop, path)
    shared = [1]
    assert back([shared, shared], path) == [[1], [1]]


def test_others_read_what_we_write(path: Path) -> None:
    weight = np.random.RandomState(0).randn(3, 2).astype(np.float32)
    tw.save({"model": {"weight": tw.from_numpy(weight)}, "step": 7}, path)
    found = safetensors_numpy.load_file(path)
    assert list(found) == ["model.weight"]
    np.testing.assert_array_equal(found["model.weight"], weight)


def test_bfloat16_is_bfloat16_for_others(path: Path) -> None:
    tw.save({"w": tw.tensor([1.0, -2.5], dtype=tw.bfloat16)}, path)
    ((_, entry),) = safetensors.deserialize(path.read_bytes())
    assert entry["dtype"] == "BF16"
    assert np.frombuffer(entry["data"], np.uint16).tolist() == [0x3F80, 0xC020]


def test_we_read_what_others_write(path: Path) -> None:
    arrays = {"b": np.arange(3, dtype=np.int16), "a": np.eye(2), "c": np.array([True])}
    safetensors_numpy.save_file(arrays, path, {"format": "np"})
    found = tw.load(path)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert isinstance(found[name], tw.Tensor)
        np.testing.assert_array_equal(found[name].numpy(), array)


def test_a_dtype_we_lack_is_named(path: Path) -> None:
    header = b'{"x":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"ab")
    with pytest.raises(DataError, match="tensor 'x' has dtype F8_E4M3"):
        tw.load(path)


@pytest.fixture
def saved(path: Path) -> bytes:
    tw.save({"w": tw.arange(100), "step": 3}, path)
    return path.read_bytes()


def test_every_truncation_is_an_error_that_names_the_file(path: Path, saved: bytes) -> None:
    for length in [*range(60), *range(60, len(saved), 37), len(saved) - 1]:
        path.write_bytes(saved[:length])
        with pytest.raises(DataError, match="truncated") as failure:
            tw.load(path)
        assert str(path) in str(failure.value)
        assert str(length) in str(failure.value)


def test_a_damaged_header_is_an_error(path: Path, saved: bytes) -> None:
    size = int.from_bytes(saved[:8], "little")
    for at in range(8, 8 + size):
        broken = bytearray(saved)
        broken[at] ^= 0x15
        path.write_bytes(broken)
        # A name that changed is no damage that can be seen; everything else must be a DataError.
        with suppress(DataError):
            tw.load(path)


def test_bytes_behind_the_end_are_an_error(path: Path, saved: bytes) -> None:
    path.write_bytes(saved + b"!")
    with pytest.raises(DataError, match=f"too long: its tensors need {len(saved)} bytes"):
        tw.load(path)


def test_other_kinds_of_files_are_named(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(DataError, match="a pickle, but not one of"):
        tw.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "x")
    with pytest.raises(DataError, match="a zip archive, but not one of"):
        tw.load(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n and more")
    with pytest.raises(DataError, match="an HDF5 file, neither a safetensors file nor"):
        tw.load(path)
    path.write_bytes(b"some text that is long enough")
    with pytest.raises(DataError, match="no header follows"):
        tw.load(path)


def test_keywords_of_old_programs_and_open_files(path: Path) -> None:
    saved = {"a": tw.arange(3), "step": 2}
    tw.save(obj=saved, f=path)
    for loaded in (
        tw.load(f=path, map_location="cpu", weights_only=True),
        tw.load(path, map_location=tw.device("cpu")),
        tw.load(path, map_location=lambda storage, place: storage),
    ):
        assert loaded["a"].tolist() == [0, 1, 2]
    with pytest.raises(tw.TalwegError, match="device 'cuda' is not available"):
        tw.load(path, map_location="cuda")
    with io.BytesIO() as file:
        tw.save(saved, file)
        assert file.getvalue() == path.read_bytes()
        file.seek(0)
        assert tw.load(file)["a"].tolist() == [0, 1, 2]
        file.seek(40)
        with pytest.raises(DataError, match="the open file: "):
            tw.load(file)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: there is no such file to load"):
        tw.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="absent: there is no such file to load"):
        tw.load(tmp_path / "absent")
    with pytest.raises(DataError, match="cannot be read"):
        tw.load(tmp_path)
    with pytest.raises(DataError, match="none/x: cannot be written"):
        tw.save({}, tmp_path / "none" / "x")


def test_a_newer_format_asks_for_an_update(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(state, "VERSION", 2)
        tw.save({}, path)
    with pytest.raises(DataError, match="newer talweg"):
        tw.load(path)


def test_a_failure_while_writing_leaves_the_old_file(
    path: Path, saved: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot be written .No space left"):
        tw.save({"w": tw.zeros(5)}, path)
    assert path.read_bytes() == saved
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_without_safetensors_it_says_how_to_install(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    path.write_bytes(bytes(16))
    for call in (lambda: tw.save({}, path), lambda: tw.load(path)):
        with pytest.raises(MissingExtra, match=r"talweg\[io\]"):
            call()


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_a_module_is_saved_by_its_parameters(path: Path) -> None:
    model = network()
    tw.save(model, path)
    assert sorted(safetensors_numpy.load_file(path)) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    other = network()
    other.load_state_dict(tw.load(path))
    x = tw.ones(2, 3)
    assert other(x).tolist() == model(x).tolist()


def test_parameters_of_another_network_are_refused_and_nothing_changes(path: Path) -> None:
    tw.save(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), path)
    model = network()
    before = model(tw.ones(1, 3)).tolist()
    with pytest.raises(InvalidValue, match=r"0\.weight.*\(5, 3\).*\(4, 3\)"):
        model.load_state_dict(tw.load(path))
    tw.save({"0.weight": tw.zeros(4, 3), "extra": tw.zeros(1)}, path)
    with pytest.raises(InvalidValue, match=r'"extra"(.|\n)*"0.bias"'):
        model.load_state_dict(tw.load(path))
    assert model(tw.ones(1, 3)).tolist() == before


OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.1, amsgrad=True),
    "AdamW": lambda p: optim.AdamW([{"params": [q], "lr": 0.1 / (i + 1)} for i, q in enumerate(p)]),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_training_continues_to_the_same_bits(path: Path, name: str) -> None:
    tw.manual_seed(0)
    x, y = tw.randn(8, 3), tw.randn(8, 2)

    def train(model: nn.Module, optimizer: optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            loss = nn.functional.mse_loss(model(x + 0.1 * tw.randn(8, 3)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    model = network()
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    train(model, optimizer, 3)
    rng = tw.get_rng_state()
    tw.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": rng}, path)
    train(model, optimizer, 3)

    other = network()
    again = OPTIMIZERS[name](list(other.parameters()))
    found = tw.load(path)
    other.load_state_dict(found["model"])
    again.load_state_dict(found["optimizer"])
    tw.set_rng_state(found["rng"])
    train(other, again, 3)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert a.tolist() == b.tolist()


def test_a_state_with_json_that_is_damaged(path: Path) -> None:
    text = json.dumps({"version": 1, "content": {"$tensor": "absent"}})
    safetensors_numpy.save_file({"w": np.zeros(1)}, path, {"talweg": text})
    with pytest.raises(DataError, match="description is damaged"):
        tw.load(path)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_saved_file_has_the_mode_of_any_new_file(path: Path) -> None:
    tw.save({"w": tw.ones(2)}, path)
    plain = path.with_name("plain")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
