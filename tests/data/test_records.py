"""CSV, NumPy, HDF5 and LMDB files: written by their own libraries, read back, and broken."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import data
from talweg.base import extras
from talweg.base.errors import DataError, InvalidValue, MissingExtra, MissingFile
from tests.real import real

TABLE = "length,width,kind,count\n1.5,2,b,3\n-4e1, 5,a,6\n\n7,8,b,9\n"


def table(folder: Path, text: str = TABLE) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_of_a_table(tmp_path: Path) -> None:
    rows = data.CSVDataset(table(tmp_path), target="kind")
    assert rows.columns == ["length", "width", "count"]
    assert rows.classes == ["a", "b"]
    np.testing.assert_array_equal(rows.data, np.float32([[1.5, 2, 3], [-40, 5, 6], [7, 8, 9]]))
    assert [rows[i][1] for i in range(-3, 3)] == [1, 0, 1] * 2
    x, y = next(iter(data.DataLoader(rows, batch_size=3)))
    assert (x.dtype, x.shape, y.dtype) == (tw.float32, (3, 3), tw.int64)


@pytest.mark.parametrize(
    ("target", "dtype", "first"), [("count", np.int64, 3), ("length", np.float32, 1.5)]
)
def test_targets_that_are_numbers(tmp_path: Path, target: str, dtype: Any, first: float) -> None:
    rows = data.CSVDataset(table(tmp_path), target, columns=["width", 1], transform=tw.sum)
    assert rows.targets is not None
    assert rows.targets.dtype == dtype
    assert (rows[0][0].item(), rows[0][1]) == (4.0, first)
    assert rows.classes == []


def test_tables_without_names_missing_fields_and_converters(tmp_path: Path) -> None:
    path = table(tmp_path, "1;;yes\n2;3;no\n")
    rows = data.CSVDataset(
        path, header=False, delimiter=";", missing=math.nan, converters={-1: ["no", "yes"].index}
    )
    np.testing.assert_array_equal(rows.data, np.float32([[1, math.nan, 1], [2, 3, 0]]))
    assert rows[1].tolist() == [2, 3, 0]


def test_fields_may_hold_what_separates_them(tmp_path: Path) -> None:
    rows = data.CSVDataset(table(tmp_path, '\ufeffa,b\n"x, ""y""\nz",1\nw,2\n'), target="a")
    assert rows.classes == ["w", 'x, "y"\nz']
    assert rows.data.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n3\n", {}, r"table\.csv, line 3: 1 fields where 2 are expected"),
        ("a,b\n1,2\n\n3,x\n", {}, r"line 4, column 'b': 'x' is not a number; correct it"),
        ("a,b\n1,\n", {}, r"line 2, column 'b': '' is not a number; give missing="),
        ("a\n1\n", {"converters": {"a": {}.__getitem__}}, r"line 2, .*\(KeyError: '1'\)"),
        ("a,b\n1,\n", {"target": "b"}, r"line 2: the target is empty"),
        ('a\n"1\n', {}, r"line 2: unexpected end of data; correct the quotes"),
        ("", {}, "holds no line"),
    ],
)
def test_what_is_wrong_with_a_table(
    tmp_path: Path, text: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        data.CSVDataset(table(tmp_path, text), **options)


def test_a_table_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"a\n\xff\n")
    with pytest.raises(DataError, match="not UTF-8"):
        data.CSVDataset(tmp_path / "table.csv")


def test_columns_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"no column 'height'; there are \['length'"):
        data.CSVDataset(table(tmp_path), target="height")
    for kind in (data.CSVDataset, data.NumPyDataset, data.HDF5Dataset, data.LMDBDataset):
        with pytest.raises(MissingFile, match=r"nothing\.x: there is no such file"):
            kind(tmp_path / "nothing.x")


ARRAYS = {
    "x": np.arange(24, dtype=np.float32).reshape(4, 3, 2),
    "y": np.array([3, 1, 2, 0]),
    "z": np.asfortranarray(np.arange(8).reshape(4, 2)),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_npz_files(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "set.npz", **ARRAYS)
    rows = data.NumPyDataset(tmp_path / "set.npz", keys=["z", "x", "y"])
    mapped = [isinstance(a, np.memmap) for a in rows.arrays]
    assert mapped == [save is np.savez] * 3
    for i in (0, 3, -1):
        for part, key in zip(rows[i], "zxy", strict=True):
            np.testing.assert_array_equal(part.numpy(), ARRAYS[key][i])
    assert len(data.NumPyDataset(tmp_path / "set.npz")[0]) == 3


def test_arrays_of_npy_files_stay_on_the_disk(tmp_path: Path) -> None:
    for name in "xy":
        np.save(tmp_path / f"{name}.npy", ARRAYS[name])
    rows = data.NumPyDataset([tmp_path / "x.npy", tmp_path / "y.npy"])
    assert all(isinstance(a, np.memmap) for a in rows.arrays)
    x, y = rows[2]
    assert y.item() == 2
    x += 100.0  # a sample is the reader's own
    np.testing.assert_array_equal(rows[2][0].numpy(), ARRAYS["x"][2])
    sent = pickle.dumps(rows)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)[1][0].numpy(), ARRAYS["x"][1])
    batches = [b.tolist() for _, b in data.DataLoader(rows, batch_size=2, num_workers=2)]
    assert batches == [[3, 1], [2, 0]]


def test_what_is_wrong_with_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(4))
    np.save(tmp_path / "b.npy", np.array([{}], object))
    np.save(tmp_path / "c.npy", np.zeros(()))
    (tmp_path / "d.npy").write_bytes(b"PK\x03\x04 nothing")
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "e.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(tmp_path / "f.npz", x=np.array(["text", {}], object))
    for name, message in (
        ("a.npz", "must have one first size"),
        ("b.npy", "without Python objects"),
        ("c.npy", "must have one first size"),
        ("d.npy", "cannot be read as a file of NumPy"),
        ("e.npz", "cannot be read as a file of NumPy"),
        ("f.npz", "without Python objects"),
    ):
        with pytest.raises(DataError, match=message):
            data.NumPyDataset(tmp_path / name)
    with pytest.raises(DataError, match=r"no array 'z'; there are \['x', 'y'\]"):
        data.NumPyDataset(tmp_path / "a.npz", keys=["z"])
    with pytest.raises(IndexError, match="sample 3 does not exist: there are 3"):
        data.NumPyDataset(tmp_path / "a.npz", keys=["x"])[3]


def hdf5(path: Path, **arrays: Any) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, chunks=(2, *np.shape(array)[1:]))
    return path


def test_rows_of_hdf5_files_follow_each_other(tmp_path: Path) -> None:
    x, y = ARRAYS["x"], ARRAYS["y"]
    first = hdf5(tmp_path / "a.h5", label=y[:3], data=x[:3])
    second = hdf5(tmp_path / "b.h5", label=y[3:].repeat(2), data=x[3:].repeat(2, 0))
    rows = data.HDF5Dataset([first, second])
    assert rows.keys == ["data", "label"]
    assert len(rows) == 5
    for i, k in enumerate((0, 1, 2, 3, 3)):
        np.testing.assert_array_equal(rows[i][0].numpy(), x[k])
        assert rows[i - 5][1].item() == y[k]
    read = data.DataLoader(rows, batch_size=2, num_workers=2)
    assert [label.tolist() for _, label in read] == [[3, 1], [2, 0], [0]]
    again = pickle.loads(pickle.dumps(rows))
    assert again[4][1].item() == 0
    assert data.HDF5Dataset(first, "label", transform=tw.neg)[0].item() == -3


def test_what_is_wrong_with_hdf5_files(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    good = hdf5(tmp_path / "a.h5", x=np.zeros((2, 3)), y=np.zeros(3))
    (tmp_path / "b.h5").write_text("no")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_group("inner").create_dataset("text", data=["a", "b"])
    for path, keys, message in (
        (good, None, r"a\.h5: the data sets are of unequal length: \{'x': \(2,\), 'y': \(3,\)\}"),
        (good, "z", r"holds no data set 'z'; there are \['x', 'y'\]"),
        (tmp_path / "b.h5", None, r"b\.h5: cannot be read as HDF5"),
        (tmp_path / "c.h5", None, "holds no data set at the top"),
        (tmp_path / "c.h5", "inner/text", "not of numbers"),
    ):
        with pytest.raises(DataError, match=message):
            data.HDF5Dataset(path, keys)


def lmdb(path: Path, name: str | None = None, subdir: bool = True) -> Path:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), map_size=1 << 20, max_dbs=1, subdir=subdir) as database:
        inner = database.open_db(name.encode()) if name else None
        with database.begin(write=True, db=inner) as writing:
            for i in (2, 0, 1):
                writing.put(b"%08d" % i, bytes([i]) * 4)
    return path


@pytest.mark.parametrize("subdir", [True, False])
def test_entries_of_a_database_come_by_their_keys(tmp_path: Path, subdir: bool) -> None:
    rows = data.LMDBDataset(lmdb(tmp_path / "set", subdir=subdir))
    assert [rows[i] for i in range(3)] == [(b"%08d" % i, bytes([i]) * 4) for i in range(3)]
    decoded = data.LMDBDataset(tmp_path / "set", decode=pixels)
    read = data.DataLoader(decoded, batch_size=3, num_workers=1)
    assert next(iter(read)).tolist() == [[0] * 4, [1] * 4, [2] * 4]
    assert pickle.loads(pickle.dumps(decoded))[-1].tolist() == [2] * 4


def pixels(key: bytes, value: bytes) -> np.ndarray:
    return np.frombuffer(value, np.uint8)


def test_databases_inside_a_database(tmp_path: Path) -> None:
    lmdb(tmp_path / "set", name="inner")
    assert len(data.LMDBDataset(tmp_path / "set", name="inner")) == 3
    with pytest.raises(DataError, match="holds no database 'outer'"):
        data.LMDBDataset(tmp_path / "set", name="outer")


def test_what_is_no_database(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    with pytest.raises(MissingFile, match=r"data\.mdb: there is no such file"):
        data.LMDBDataset(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"no" * 5000)
    with pytest.raises(DataError, match="cannot be read as an LMDB database"):
        data.LMDBDataset(tmp_path)


@pytest.mark.parametrize(
    ("kind", "extra"), [(data.HDF5Dataset, "hdf5"), (data.LMDBDataset, "lmdb")]
)
def test_what_must_be_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, extra: str
) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(extras.importlib, "import_module", absent)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MissingExtra, match=rf"pip install 'talweg\[{extra}\]'"):
        kind(tmp_path / "file")


def test_the_files_that_caffe_tests_with() -> None:
    pytest.importorskip("h5py")
    folder = real("caffe", "bvlc", "src", "caffe", "test", "test_data")
    names = ("sample_data.h5", "sample_data_2_gzip.h5")
    rows = data.HDF5Dataset([folder / name for name in names], ("data", "label"))
    assert len(rows) == 20
    assert rows[0][0].shape == (8, 6, 5)
    for i in (0, 3, 13, -1):  # numbers follow each other through both files
        image = np.arange(240, dtype=np.float32).reshape(8, 6, 5) + (i % 20) * 240
        np.testing.assert_array_equal(rows[i][0].numpy(), image)
    labels = [rows[i][1].item() for i in (3, 13)]
    assert labels == [4.0, 4.0]
