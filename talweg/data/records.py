"""Samples from files of numbers: CSV, NumPy, HDF5 and LMDB."""

from __future__ import annotations

import csv
import os
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from talweg.base.errors import DataError, IndexOutOfRange, InvalidValue, MissingFile
from talweg.base.extras import require
from talweg.data.dataset import Dataset
from talweg.engine.creation import from_numpy

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def _existing(path: str | os.PathLike[str], what: str) -> Path:
    found = Path(path).expanduser()
    if not found.exists():
        raise MissingFile(f"{found}: there is no such file; name {what}")
    return found


def _place(index: Any, size: int, name: str) -> int:
    at = int(index)
    if not -size <= at < size:
        raise IndexOutOfRange(f"{name}: sample {at} does not exist: there are {size}")
    return at % size


class CSVDataset(Dataset[Any]):
    """Rows of a text table: a sample is a row's numbers, with its target where one is named.

    Args:
        path: the file, UTF-8; fields as RFC 4180 has them.
        target: the target's column, by name or number; its whole numbers become int64, other
            numbers float32, and words the numbers of `classes`. None: samples have no target.
        columns: those to read, by name or number, in this order; by default all but the target.
        header: whether the first line names the columns.
        delimiter: between fields.
        missing: what an empty field stands for, such as `math.nan`; by default it is an error.
        converters: by column, a function from the field's text to a number.
        transform: called with the row, a float32 Tensor.
        target_transform: called with the target.

    Attributes:
        data: all rows, float32 [N, number of columns].
        targets: all targets, int64 or float32 [N], or None.
        columns: names of the columns read; their numbers where there is no header.
        classes: the words of the target, sorted; empty where it holds numbers.

    >>> from pathlib import Path
    >>> _ = Path("iris.csv").write_text("length,width,kind\\n5.1,3.5,setosa\\n6.2,2.9,other\\n")
    >>> rows = tw.data.CSVDataset("iris.csv", target="kind")
    >>> rows[0], rows.classes
    ((tensor([5.1000, 3.5000]), 1), ['other', 'setosa'])

    Raises:
        MissingFile: when there is no such file.
        DataError: for a line with too few or too many fields, or a field that is no number; the
            message names file, line and column.
        InvalidValue: for a column that is not there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        target: str | int | None = None,
        *,
        columns: Sequence[str | int] | None = None,
        header: bool = True,
        delimiter: str = ",",
        missing: float | None = None,
        converters: Mapping[str | int, Callable[[str], float]] | None = None,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.path = _existing(path, "a table of text")
        self.transform, self.target_transform = transform, target_transform
        names, lines, rows = _table(self.path, header, delimiter)
        aim = None if target is None else _column(self.path, names, target)
        if columns is None:
            read = [i for i in range(len(names)) if i != aim]
        else:
            read = [_column(self.path, names, c) for c in columns]
        made = {_column(self.path, names, k): f for k, f in (converters or {}).items()}
        self.columns = [names[i] for i in read]
        self.data = np.empty((len(rows), len(read)), np.float32)
        for k, i in enumerate(read):
            where = f"column {names[i]!r}"
            self.data[:, k] = _numbers(self.path, lines, rows, i, where, missing, made.get(i))
        self.classes: list[str] = []
        self.targets: np.ndarray | None = None
        if aim is not None:
            self.targets = self._aims([row[aim].strip() for row in rows], lines, made.get(aim))

    def _aims(
        self, texts: list[str], lines: list[int], convert: Callable[[str], float] | None
    ) -> np.ndarray:
        if "" in texts:
            line = lines[texts.index("")]
            raise DataError(f"{self.path}, line {line}: the target is empty; fill or remove it")
        try:
            found = np.array([convert(t) if convert else float(t) for t in texts], np.float64)
        except ValueError:
            self.classes = sorted(set(texts))
            number = {word: i for i, word in enumerate(self.classes)}
            return np.array([number[t] for t in texts], np.int64)
        whole = np.isfinite(found).all() and (found == np.floor(found)).all()
        return found.astype(np.int64 if whole else np.float32)

    def __getitem__(self, index: int) -> Any:
        at = _place(index, len(self), str(self.path))
        row: Any = from_numpy(self.data[at].copy())
        row = row if self.transform is None else self.transform(row)
        if self.targets is None:
            return row
        aim = self.targets[at].item()
        return row, aim if self.target_transform is None else self.target_transform(aim)

    def __len__(self) -> int:
        return len(self.data)


def _table(path: Path, header: bool, delimiter: str) -> tuple[list[Any], list[int], list[Any]]:
    """Return the columns' names, and the rows that are not empty with their lines."""
    lines, rows = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for row in reader:
                if row:
                    lines.append(reader.line_num)
                    rows.append(row)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); save the table as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; correct the quotes") from None
    if not rows:
        raise DataError(f"{path}: holds no line; name a table with rows")
    names: list[Any] = [n.strip() for n in rows[0]] if header else list(range(len(rows[0])))
    lines, rows = lines[header:], rows[header:]
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(names):
            raise DataError(
                f"{path}, line {line}: {len(row)} fields where {len(names)} are expected; correct "
                f"the line, or give another delimiter than {delimiter!r}"
            )
    return names, lines, rows


def _column(path: Path, names: list[Any], wanted: str | int) -> int:
    if isinstance(wanted, int) and -len(names) <= wanted < len(names):
        return wanted % len(names)
    if wanted in names:
        return names.index(wanted)
    raise InvalidValue(f"{path}: there is no column {wanted!r}; there are {names}")


def _numbers(
    path: Path,
    lines: list[int],
    rows: list[Any],
    column: int,
    where: str,
    missing: float | None,
    convert: Callable[[str], float] | None,
) -> list[float]:
    found = []
    for line, row in zip(lines, rows, strict=True):
        text = row[column].strip()
        if not text and missing is not None:
            found.append(missing)
            continue
        try:
            found.append(float(text) if convert is None else float(convert(text)))
        except (ValueError, TypeError, KeyError) as error:
            remedy = "give missing=" if not text else "correct it, or give converters="
            said = f" ({type(error).__name__}: {error})" if convert else ""
            raise DataError(
                f"{path}, line {line}, {where}: {text!r} is not a number{said}; {remedy}"
            ) from None
    return found


class NumPyDataset(Dataset[Any]):
    """Rows of arrays in `.npy` and `.npz` files, read from the disk when they are asked for.

    Arrays of `.npy` files are mapped into memory, and so are those of `.npz` files that are not
    compressed (`numpy.savez`): a set may be larger than the memory. Python objects are not read.

    Args:
        path: one file; or `.npy` files of equal length, whose rows go together.
        keys: which arrays of an `.npz` file, in this order; by default all, in the file's order.
        transform: called with the sample.

    A sample is a Tensor, or a tuple of them where there are several arrays; whole rows of shape ()
    too. `arrays` holds the arrays themselves.

    >>> np.savez("set.npz", x=np.arange(6.0).reshape(3, 2), y=np.array([0, 1, 0]))
    >>> tw.data.NumPyDataset("set.npz")[1]
    (tensor([2., 3.], dtype=talweg.float64), tensor(1))

    Raises:
        MissingFile: when there is no such file.
        DataError: for a file of another kind, a damaged one, or one of Python objects; for a key
            that is not there; for arrays of unequal length.
    """

    def __init__(
        self,
        path: Paths,
        keys: Sequence[str] | None = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        listed = [path] if isinstance(path, str | os.PathLike) else list(path)
        self.paths = [_existing(p, "a file of numpy.save or numpy.savez") for p in listed]
        self.keys = None if keys is None else list(keys)
        self.transform = transform
        self._open()

    def _open(self) -> None:
        self.arrays: list[np.ndarray] = []
        for path in self.paths:
            self.arrays += _arrays(path, self.keys)
        lengths = [a.shape[:1] for a in self.arrays]
        if not lengths or () in lengths or len(set(lengths)) > 1:
            shapes = [a.shape for a in self.arrays]
            raise DataError(
                f"{', '.join(map(str, self.paths))}: the arrays must have one first size, got "
                f"shapes {shapes}; choose some with keys="
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "arrays"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __getitem__(self, index: int) -> Any:
        at = _place(index, len(self), str(self.paths[0]))
        parts = tuple(from_numpy(np.array(a[at])) for a in self.arrays)
        sample = parts if len(parts) > 1 else parts[0]
        return sample if self.transform is None else self.transform(sample)

    def __len__(self) -> int:
        return len(self.arrays[0])


def _arrays(path: Path, keys: list[str] | None) -> list[np.ndarray]:
    try:
        with path.open("rb") as file:
            single = file.read(6) == b"\x93NUMPY"
        if single:
            return [np.load(path, mmap_mode="r", allow_pickle=False)]
        with zipfile.ZipFile(path) as packed:
            members = {m.filename.removesuffix(".npy"): m for m in packed.infolist()}
            if absent := [k for k in keys or () if k not in members]:
                raise DataError(f"{path}: holds no array {absent[0]!r}; there are {list(members)}")
            wanted = list(members) if keys is None else keys
            return [_member(path, packed, members[key]) for key in wanted]
    except DataError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: cannot be read as a file of NumPy ({error}); write it with numpy.save or "
            "numpy.savez, without Python objects"
        ) from None


def _member(path: Path, packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Return one array: mapped into memory where it is stored as it is."""
    if member.compress_type == zipfile.ZIP_STORED:
        with path.open("rb") as file:
            file.seek(member.header_offset + 26)
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            file.seek(member.header_offset + 30 + name + extra)
            version = np.lib.format.read_magic(file)
            if version in ((1, 0), (2, 0)):
                first = version == (1, 0)
                head = np.lib.format.read_array_header_1_0 if first else (
                    np.lib.format.read_array_header_2_0
                )  # fmt: skip
                shape, fortran, dtype = head(file)
                if not dtype.hasobject and all(shape):
                    order: Any = "F" if fortran else "C"
                    return np.memmap(path, dtype, "r", file.tell(), shape, order)
    with packed.open(member) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        return array


class HDF5Dataset(Dataset[Any]):
    """Rows of the data sets in HDF5 files, read when they are asked for.

    Args:
        path: a file, or several whose rows follow each other, as in Caffe's lists of sources.
        keys: which of its data sets, such as ("data", "label"); by default all of the top level,
            by name.
        transform: called with the sample.

    A sample is a Tensor, or a tuple of them where there are several keys. Every process opens the
    files for itself, so worker processes may read side by side.

    Raises:
        MissingFile: when there is no such file.
        DataError: for a file that is not HDF5, a key that is not there, data sets of unequal
            length, or text and compound types; the message names file and key.
        MissingExtra: when h5py is not installed.
    """

    def __init__(
        self,
        path: Paths,
        keys: str | Sequence[str] | None = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        listed = [path] if isinstance(path, str | os.PathLike) else list(path)
        if not listed:
            raise InvalidValue("HDF5Dataset needs at least one file")
        self.paths = [_existing(p, "an HDF5 file") for p in listed]
        self.transform = transform
        self._files: dict[int, Any] = {}
        self._owner = os.getpid()
        chosen = [keys] if isinstance(keys, str) else keys
        self.keys = list(self._keys() if chosen is None else chosen)
        self.ends = list(accumulate(self._length(i) for i in range(len(self.paths))))

    def _file(self, number: int) -> Any:
        if self._owner != os.getpid():  # a handle is not for a process that was forked
            self._files, self._owner = {}, os.getpid()
        if number not in self._files:
            h5py = require("h5py", extra="hdf5")
            try:
                self._files[number] = h5py.File(self.paths[number], "r")
            except OSError as error:
                raise DataError(
                    f"{self.paths[number]}: cannot be read as HDF5 ({error}); fetch or write it "
                    "again"
                ) from None
        return self._files[number]

    def _keys(self) -> list[str]:
        found = [k for k, v in self._file(0).items() if hasattr(v, "shape")]
        if not found:
            raise DataError(f"{self.paths[0]}: holds no data set at the top; name one with keys=")
        return sorted(found)

    def _length(self, number: int) -> int:
        path, file, lengths = self.paths[number], self._file(number), {}
        for key in self.keys:
            if key not in file or not hasattr(file[key], "shape"):
                raise DataError(f"{path}: holds no data set {key!r}; there are {sorted(file)}")
            if file[key].dtype.kind not in "biufc":
                raise DataError(f"{path}: {key!r} is of {file[key].dtype}, not of numbers")
            lengths[key] = file[key].shape[:1]
        if () in lengths.values() or len(set(lengths.values())) > 1:
            raise DataError(f"{path}: the data sets are of unequal length: {lengths}")
        return int(next(iter(lengths.values()))[0])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_files": {}}

    def __getitem__(self, index: int) -> Any:
        at = _place(index, len(self), str(self.paths[0]))
        number = bisect_right(self.ends, at)
        row = at - (self.ends[number - 1] if number else 0)
        file = self._file(number)
        parts = tuple(from_numpy(np.asarray(file[key][row])) for key in self.keys)
        sample = parts if len(parts) > 1 else parts[0]
        return sample if self.transform is None else self.transform(sample)

    def __len__(self) -> int:
        return self.ends[-1]


_DATABASES: WeakValueDictionary[tuple[int, str], Any] = WeakValueDictionary()
"""Open databases by process and path: LMDB lets a process open one only once."""


def _database(path: Path) -> Any:
    lmdb: ModuleType = require("lmdb", extra="lmdb")
    key = os.getpid(), str(path.resolve())
    opened = _DATABASES.get(key)
    if opened is None:
        whole = path.is_dir()
        if whole and not (path / "data.mdb").is_file():
            raise MissingFile(f"{path / 'data.mdb'}: there is no such file")
        for other, inherited in list(_DATABASES.items()):  # by a process that was forked
            if other[0] != key[0] and other[1] == key[1]:
                inherited.close()
        try:
            opened = lmdb.open(
                str(path), subdir=whole, readonly=True, lock=False, readahead=False, max_dbs=64
            )
        except lmdb.Error as error:
            raise DataError(f"{path}: cannot be read as an LMDB database ({error})") from None
        _DATABASES[key] = opened
    return opened


class LMDBDataset(Dataset[Any]):
    """Entries of an LMDB database, in the order of their keys.

    Args:
        path: the folder of the database, or its file.
        decode: makes a sample of key and value, both bytes; by default the pair itself.
        name: of a database inside, where there are several.

    Every process opens the database for itself, read-only and without a lock.

    >>> rows = tw.data.LMDBDataset("digits", decode=lambda key, value: value[0])  # doctest: +SKIP

    Raises:
        MissingFile: when it is not there.
        DataError: when it is no LMDB database, or `name` is not in it.
        MissingExtra: when lmdb is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        decode: Callable[[bytes, bytes], Any] | None = None,
        name: str | None = None,
    ) -> None:
        self.path = _existing(path, "the folder or the file of an LMDB database")
        self.decode = decode
        self.name = name
        self._opened: Any = None
        self._owner = os.getpid()
        with self._reading() as reading:
            self.keys = [bytes(key) for key in reading.cursor().iternext(keys=True, values=False)]

    def _reading(self) -> Any:
        """Return a transaction of this process."""
        if self._opened is None or self._owner != os.getpid():
            self._opened, self._owner = _database(self.path), os.getpid()
        lmdb = require("lmdb", extra="lmdb")
        try:
            inside = self._opened.open_db(self.name.encode(), create=False) if self.name else None
        except lmdb.Error as error:
            raise DataError(f"{self.path}: holds no database {self.name!r} ({error})") from None
        return self._opened.begin(db=inside)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": None}

    def __getitem__(self, index: int) -> Any:
        key = self.keys[_place(index, len(self), str(self.path))]
        with self._reading() as reading:
            value = bytes(reading.get(key))
        return (key, value) if self.decode is None else self.decode(key, value)

    def __len__(self) -> int:
        return len(self.keys)
