"""torch.utils.data.datapipes: data sets as chains of small steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any, ClassVar, TypeVar

from talweg.data import Dataset, IterableDataset, default_collate
from talweg.engine.random import DEFAULT, randint, randperm

_C = TypeVar("_C", bound=type)


class IterDataPipe(IterableDataset[Any]):
    """Base of steps that give a stream: subclasses define `__iter__`.

    Each step that `functional_datapipe` names is a method of all others.

    >>> from talweg.frontends.torch.utils.data.datapipes.iter import IterableWrapper
    >>> pipe = IterableWrapper(range(5)).map(lambda n: n * n).filter(lambda n: n % 2 == 0)
    >>> list(pipe.batch(2))
    [[0, 4], [16]]
    """

    functions: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        return _step(self, type(self).functions, name)

    @classmethod
    def register_function(cls, function_name: str, function: Callable[..., Any]) -> None:
        """Let a function of the step be its method of this name."""
        cls.functions[function_name] = function

    @classmethod
    def register_datapipe_as_function(cls, function_name: str, cls_to_register: type) -> None:
        """Let a class of steps be a method of this name.

        Raises:
            Exception: when the name is taken.
        """
        if function_name in cls.functions:
            raise Exception(f"Unable to add DataPipe function name {function_name}: it is taken")
        cls.functions[function_name] = cls_to_register


class MapDataPipe(Dataset[Any]):
    """Base of steps that are indexed: subclasses define `__getitem__` and `__len__`."""

    functions: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        return _step(self, type(self).functions, name)

    @classmethod
    def register_function(cls, function_name: str, function: Callable[..., Any]) -> None:
        """Let a function of the step be its method of this name."""
        cls.functions[function_name] = function

    register_datapipe_as_function = register_function


def _step(pipe: Any, functions: dict[str, Callable[..., Any]], name: str) -> Any:
    function = functions.get(name)
    if function is None:
        raise AttributeError(f"'{type(pipe).__name__}' object has no attribute '{name}'")

    def made(*args: Any, **options: Any) -> Any:
        return function(pipe, *args, **options)

    return made


def functional_datapipe(name: str, enable_df_api_tracing: bool = False) -> Callable[[_C], _C]:
    """Return a decorator that makes a class of steps a method of all steps of its kind."""

    def registered(cls: _C) -> _C:
        base = IterDataPipe if issubclass(cls, IterDataPipe) else MapDataPipe
        base.functions[name] = cls
        return cls

    return registered


class IterableWrapper(IterDataPipe):
    """A stream of what an iterable holds; of a copy of it unless `deepcopy` is False."""

    def __init__(self, iterable: Iterable[Any], deepcopy: bool = True) -> None:
        self.iterable = iterable
        self.deepcopy = deepcopy

    def __iter__(self) -> Iterator[Any]:
        return iter(_copied(self.iterable) if self.deepcopy else self.iterable)

    def __len__(self) -> int:
        return len(self.iterable)  # type: ignore[arg-type]


def _copied(value: Any) -> Any:
    try:
        return deepcopy(value)
    except TypeError:
        return value


def _among(fn: Callable[..., Any], data: Any, input_col: Any) -> Any:
    if input_col is None:
        return fn(data)
    if isinstance(input_col, list | tuple):
        return fn(*(data[c] for c in input_col))
    return fn(data[input_col])


@functional_datapipe("map")
class Mapper(IterDataPipe):
    """What a function makes of each sample, or of one column, written to another or the same.

    Args:
        datapipe: the samples.
        fn: of a sample, or of its columns.
        input_col: which columns the function takes; all unless given.
        output_col: where its result goes; -1 puts it behind the others.
    """

    def __init__(
        self,
        datapipe: Iterable[Any],
        fn: Callable[..., Any],
        input_col: Any = None,
        output_col: Any = None,
    ) -> None:
        self.datapipe, self.fn = datapipe, fn
        self.input_col, self.output_col = input_col, output_col

    def __iter__(self) -> Iterator[Any]:
        for data in self.datapipe:
            found = _among(self.fn, data, self.input_col)
            where = self.input_col if self.output_col is None else self.output_col
            if where is None:
                yield found
                continue
            row = dict(data) if isinstance(data, dict) else list(data)
            place = where[0] if isinstance(where, list | tuple) else where
            if place == -1 and isinstance(row, list):
                row.append(found)
            else:
                row[place] = found
            yield tuple(row) if isinstance(data, tuple) else row

    def __len__(self) -> int:
        return len(self.datapipe)  # type: ignore[arg-type]


@functional_datapipe("filter")
class Filter(IterDataPipe):
    """The samples for which a function, of the sample or of some columns, is true."""

    def __init__(
        self, datapipe: Iterable[Any], filter_fn: Callable[..., Any], input_col: Any = None
    ) -> None:
        self.datapipe, self.filter_fn, self.input_col = datapipe, filter_fn, input_col

    def __iter__(self) -> Iterator[Any]:
        return (d for d in self.datapipe if _among(self.filter_fn, d, self.input_col))


@functional_datapipe("batch")
class Batcher(IterDataPipe):
    """Lists of samples; the last one may be shorter unless `drop_last`."""

    def __init__(
        self,
        datapipe: Iterable[Any],
        batch_size: int,
        drop_last: bool = False,
        wrapper_class: Callable[[list[Any]], Any] = list,
    ) -> None:
        if batch_size < 1:
            raise AssertionError("Batch size is required to be larger than 0!")
        self.datapipe, self.batch_size = datapipe, batch_size
        self.drop_last, self.wrapper_class = drop_last, wrapper_class

    def __iter__(self) -> Iterator[Any]:
        rows: list[Any] = []
        for data in self.datapipe:
            rows.append(data)
            if len(rows) == self.batch_size:
                yield self.wrapper_class(rows)
                rows = []
        if rows and not self.drop_last:
            yield self.wrapper_class(rows)

    def __len__(self) -> int:
        count = len(self.datapipe)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


@functional_datapipe("unbatch")
class UnBatcher(IterDataPipe):
    """The samples of lists, `unbatch_level` levels deep; -1 goes to the last."""

    def __init__(self, datapipe: Iterable[Any], unbatch_level: int = 1) -> None:
        self.datapipe, self.unbatch_level = datapipe, unbatch_level

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(_opened(d, self.unbatch_level) for d in self.datapipe)


def _opened(value: Any, level: int) -> Iterator[Any]:
    if level == 0 or not isinstance(value, list):
        yield value
        return
    for item in value:
        yield from _opened(item, level - 1)


@functional_datapipe("collate")
class Collator(IterDataPipe):
    """Batches of samples as Tensors, by `default_collate` or another function."""

    def __init__(
        self,
        datapipe: Iterable[Any],
        conversion: Any = None,
        collate_fn: Callable[..., Any] | None = None,
    ) -> None:
        self.datapipe = datapipe
        self.collate_fn = collate_fn or conversion or default_collate

    def __iter__(self) -> Iterator[Any]:
        return map(self.collate_fn, self.datapipe)

    def __len__(self) -> int:
        return len(self.datapipe)  # type: ignore[arg-type]


@functional_datapipe("shuffle")
class Shuffler(IterDataPipe):
    """The samples in random order, among the next `buffer_size` ones."""

    def __init__(
        self, datapipe: Iterable[Any], *, buffer_size: int = 10000, unbatch_level: int = 0
    ) -> None:
        if buffer_size <= 0:
            raise ValueError("buffer_size should be larger than 0")
        self.datapipe = UnBatcher(datapipe, unbatch_level) if unbatch_level else datapipe
        self.buffer_size, self.enabled = buffer_size, True

    def set_shuffle(self, shuffle: bool = True) -> Shuffler:
        """Shuffle, or give the samples in their own order."""
        self.enabled = shuffle
        return self

    def __iter__(self) -> Iterator[Any]:
        if not self.enabled:
            yield from self.datapipe
            return
        held: list[Any] = []
        for data in self.datapipe:
            if len(held) == self.buffer_size:
                at = int(randint(0, len(held), (1,), generator=DEFAULT))
                held[at], data = data, held[at]
                yield data
            else:
                held.append(data)
        if held:
            yield from (held[i] for i in randperm(len(held), generator=DEFAULT).tolist())

    def __len__(self) -> int:
        return len(self.datapipe)  # type: ignore[arg-type]


@functional_datapipe("sharding_filter")
class ShardingFilter(IterDataPipe):
    """Every n-th sample, where `apply_sharding` says so; all unless it does."""

    def __init__(self, source_datapipe: Iterable[Any]) -> None:
        self.source_datapipe = source_datapipe
        self.num_of_instances, self.instance_id = 1, 0

    def apply_sharding(self, num_of_instances: int, instance_id: int) -> None:
        """Give the samples whose number leaves `instance_id` when divided."""
        self.num_of_instances, self.instance_id = num_of_instances, instance_id

    def __iter__(self) -> Iterator[Any]:
        rows = enumerate(self.source_datapipe)
        return (d for i, d in rows if i % self.num_of_instances == self.instance_id)


@functional_datapipe("concat")
class Concater(IterDataPipe):
    """One stream after the other."""

    def __init__(self, *datapipes: Iterable[Any]) -> None:
        self.datapipes = datapipes

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self.datapipes)

    def __len__(self) -> int:
        return sum(map(len, self.datapipes))  # type: ignore[arg-type]


@functional_datapipe("zip")
class Zipper(IterDataPipe):
    """Tuples of a sample of each stream, until one ends."""

    def __init__(self, *datapipes: Iterable[Any]) -> None:
        self.datapipes = datapipes

    def __iter__(self) -> Iterator[Any]:
        return zip(*self.datapipes, strict=False)

    def __len__(self) -> int:
        return min(map(len, self.datapipes))  # type: ignore[arg-type]


class SequenceWrapper(MapDataPipe):
    """Samples of a sequence or dict, by index or key; of a copy unless `deepcopy` is False."""

    def __init__(self, sequence: Any, deepcopy: bool = True) -> None:
        self.sequence = _copied(sequence) if deepcopy else sequence

    def __getitem__(self, index: Any) -> Any:
        return self.sequence[index]

    def __len__(self) -> int:
        return len(self.sequence)


@functional_datapipe("map")
class MapMapper(MapDataPipe):
    """What a function makes of each sample."""

    def __init__(self, datapipe: Sequence[Any], fn: Callable[[Any], Any] = lambda x: x) -> None:
        self.datapipe, self.fn = datapipe, fn

    def __getitem__(self, index: Any) -> Any:
        return self.fn(self.datapipe[index])

    def __len__(self) -> int:
        return len(self.datapipe)


_ITER: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        *(IterableWrapper, Mapper, Filter, Batcher, UnBatcher, Collator, Shuffler),
        *(ShardingFilter, Concater, Zipper),
    )
}
_BASES = {"IterDataPipe": IterDataPipe, "MapDataPipe": MapDataPipe}
_NAMED = {"functional_datapipe": functional_datapipe}

MODULES: dict[str, dict[str, Any]] = {
    "utils.data": {**_BASES, **_NAMED},
    "utils.data.dataset": {},
    "utils.data.datapipes": {},
    "utils.data.datapipes._decorator": _NAMED,
    "utils.data.datapipes.datapipe": _BASES,
    "utils.data.datapipes.iter": {**_ITER, "IterDataPipe": IterDataPipe},
    "utils.data.datapipes.map": {
        "MapDataPipe": MapDataPipe,
        "Mapper": MapMapper,
        "SequenceWrapper": SequenceWrapper,
    },
}
