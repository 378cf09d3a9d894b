"""Text: tokens, vocabularies, and batches of sequences.

Vocabularies have the names of torchtext, whose programs use `build_vocab_from_iterator`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from talweg.base.errors import DataError, IndexOutOfRange, InvalidValue, MissingFile
from talweg.data.chance import numbers, seed_from
from talweg.data.collate import default_collate
from talweg.data.dataset import Dataset
from talweg.data.pairs import BytePairs
from talweg.data.sampler import Sampler
from talweg.engine.creation import from_numpy
from talweg.engine.random import Generator
from talweg.engine.tensor import Tensor, values

__all__ = [
    "BucketSampler",
    "BytePairs",
    "Padding",
    "TextFolder",
    "TextLines",
    "Vocab",
    "batchify",
    "bptt_batches",
    "build_vocab_from_iterator",
    "characters",
    "get_tokenizer",
    "words",
]

_WORDS = re.compile(r"\w+(?:'\w+)?|[^\w\s]")


def characters(text: str) -> list[str]:
    """Return the letters of a text.

    >>> tw.data.text.characters("to be")
    ['t', 'o', ' ', 'b', 'e']
    """
    return list(text)


def words(text: str, lower: bool = True) -> list[str]:
    """Return words and punctuation marks of a text.

    >>> tw.data.text.words("Don't panic, friend!")
    ["don't", 'panic', ',', 'friend', '!']
    """
    return _WORDS.findall(text.lower() if lower else text)


def get_tokenizer(tokenizer: str | Callable[[str], list[str]] | None) -> Callable[[str], list[str]]:
    """Return the function that cuts a text into tokens.

    Args:
        tokenizer: "basic_english" (words and marks in lower case), "characters", None (what stands
            between spaces), or a function, which is returned.

    Raises:
        InvalidValue: for another name.
    """
    known: dict[object, Callable[[str], list[str]]] = {
        None: str.split,
        "basic_english": words,
        "characters": characters,
    }
    if callable(tokenizer):
        return tokenizer
    if tokenizer not in known:
        raise InvalidValue(f"get_tokenizer knows {list(known)} and functions, not {tokenizer!r}")
    return known[tokenizer]


class Vocab:
    """Tokens and their numbers, 0 and up.

    Args:
        tokens: in the order of their numbers.
        default_index: the number of a token that is not among them; None makes that an error.

    >>> vocab = tw.data.text.Vocab(["<unk>", "to", "be"], default_index=0)
    >>> vocab(["to", "be", "or"]), vocab.lookup_tokens([2, 1])
    ([1, 2, 0], ['be', 'to'])

    Raises:
        InvalidValue: for a token that comes twice.
    """

    def __init__(self, tokens: Iterable[str], default_index: int | None = None) -> None:
        self._tokens = list(tokens)
        self._numbers = {token: i for i, token in enumerate(self._tokens)}
        if len(self._numbers) != len(self._tokens):
            twice = next(t for t, n in Counter(self._tokens).items() if n > 1)
            raise InvalidValue(f"Vocab: the token {twice!r} comes more than once")
        self._default: int | None = None
        self.set_default_index(default_index)

    def __len__(self) -> int:
        return len(self._tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._numbers

    def __getitem__(self, token: str) -> int:
        found = self._numbers.get(token, self._default)
        if found is None:
            raise IndexOutOfRange(
                f"the token {token!r} is not in the vocabulary of {len(self)}; give unknown tokens "
                "a number with set_default_index"
            )
        return found

    def __call__(self, tokens: Iterable[str]) -> list[int]:
        return [self[token] for token in tokens]

    def set_default_index(self, index: int | None) -> None:
        """Choose the number of tokens that are not there; None makes them errors."""
        if index is not None and not 0 <= index < len(self):
            raise InvalidValue(f"default_index {index} is no token's number: there are {len(self)}")
        self._default = index

    def get_default_index(self) -> int | None:
        """Return the number of tokens that are not there."""
        return self._default

    def append_token(self, token: str) -> None:
        """Add a token at the end."""
        self.insert_token(token, len(self))

    def insert_token(self, token: str, index: int) -> None:
        """Add a token at a place; the later ones move up.

        Raises:
            InvalidValue: when it is there already, or there is no such place.
        """
        if token in self or not 0 <= index <= len(self):
            raise InvalidValue(f"cannot put {token!r} at {index}: it is there, or beyond the end")
        self._tokens.insert(index, token)
        self._numbers = {t: i for i, t in enumerate(self._tokens)}

    def lookup_token(self, index: int) -> str:
        """Return the token of a number.

        Raises:
            IndexError: when there is none.
        """
        if not 0 <= index < len(self):
            raise IndexOutOfRange(f"there is no token {index}: the vocabulary holds {len(self)}")
        return self._tokens[index]

    def lookup_tokens(self, indices: Iterable[int]) -> list[str]:
        """Return the tokens of numbers."""
        return [self.lookup_token(int(i)) for i in indices]

    def lookup_indices(self, tokens: Iterable[str]) -> list[int]:
        """Return the numbers of tokens."""
        return self(tokens)

    def get_itos(self) -> list[str]:
        """Return all tokens in order."""
        return list(self._tokens)

    def get_stoi(self) -> dict[str, int]:
        """Return every token's number."""
        return dict(self._numbers)


def build_vocab_from_iterator(
    iterator: Iterable[Iterable[str]],
    min_freq: int = 1,
    specials: Sequence[str] | None = None,
    special_first: bool = True,
    max_tokens: int | None = None,
) -> Vocab:
    """Return the vocabulary of texts: the most frequent token first, equals in their own order.

    Args:
        iterator: texts, each cut into tokens.
        min_freq: leave out tokens that come less often.
        specials: tokens beside those of the texts, such as "<unk>" and "<pad>".
        special_first: give those the lowest numbers, or the highest.
        max_tokens: how many there are at most, the specials included.

    >>> texts = (line.split() for line in ("b a b", "a b c"))
    >>> tw.data.text.build_vocab_from_iterator(texts, specials=["<unk>"]).get_itos()
    ['<unk>', 'b', 'a', 'c']

    Raises:
        InvalidValue: when `max_tokens` leaves no room for a token of the texts.
    """
    special = list(specials or ())
    if max_tokens is not None and len(special) >= max_tokens:
        raise InvalidValue(f"max_tokens={max_tokens} must be more than the {len(special)} specials")
    counts: Counter[str] = Counter()
    for tokens in iterator:
        counts.update(tokens)
    for token in special:
        counts.pop(token, None)
    order = sorted((t for t, n in counts.items() if n >= min_freq), key=lambda t: (-counts[t], t))
    if max_tokens is not None:
        order = order[: max_tokens - len(special)]
    return Vocab(special + order if special_first else order + special)


class TextLines(Dataset[Any]):
    """The lines of a text file, read when they are asked for.

    Args:
        path: the file, UTF-8.
        transform: called with the line, without its end.
        skip_empty: leave out lines of nothing but spaces.

    >>> from pathlib import Path
    >>> _ = Path("lines.txt").write_text("to be\\n\\nor not\\n")
    >>> list(tw.data.text.TextLines("lines.txt", tw.data.text.words))
    [['to', 'be'], ['or', 'not']]

    Raises:
        MissingFile: when there is no such file.
        DataError: for a line that is not UTF-8; the message names it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        transform: Callable[[str], Any] | None = None,
        skip_empty: bool = True,
    ) -> None:
        self.path, self.transform = Path(path), transform
        if not self.path.is_file():
            raise MissingFile(f"{path}: there is no such file; name a text")
        self.starts: list[tuple[int, int]] = []
        place = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip() or not skip_empty:
                    self.starts.append((place, number))
                place += len(line)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexOutOfRange(
                f"{self.path}: line {index} does not exist: there are {len(self)}"
            )
        place, number = self.starts[index]
        with self.path.open("rb") as file:
            file.seek(place)
            raw = file.readline()
        try:
            line = raw.decode("utf-8-sig" if place == 0 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}, line {number}: not UTF-8 ({error})") from None
        return line if self.transform is None else self.transform(line)

    def __len__(self) -> int:
        return len(self.starts)


class TextFolder(Dataset[tuple[Any, int]]):
    """Texts in folders, one sub-folder for each class: `root/<class>/**/<name>.txt`.

    Args:
        root: the folder. Its sub-folders, sorted by name, are the classes 0, 1, 2 and so on.
        transform: called with the whole text.
        target_transform: called with the class.
        extensions: which files are texts, by the end of their names.

    `classes` holds the names, `samples` all pairs (path, class).

    Raises:
        MissingFile, DataError: when the folder is not there, or a class holds no text.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[str], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        extensions: Sequence[str] = (".txt",),
    ) -> None:
        self.root = Path(root)
        self.transform, self.target_transform = transform, target_transform
        if not self.root.is_dir():
            raise MissingFile(f"{root}: there is no such folder; name one with a folder per class")
        self.classes = sorted(entry.name for entry in self.root.iterdir() if entry.is_dir())
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.samples: list[tuple[Path, int]] = []
        for name, number in self.class_to_idx.items():
            found = sorted(self.root.joinpath(name).rglob("*"))
            texts = [p for p in found if p.suffix in extensions and p.is_file()]
            if not texts:
                raise DataError(f"{self.root / name}: holds no text ({', '.join(extensions)})")
            self.samples += [(path, number) for path in texts]
        if not self.samples:
            raise DataError(f"{root}: holds no sub-folder; put the texts of each class into one")
        self.targets = [number for _, number in self.samples]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, label = self.samples[index]
        try:
            text: Any = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from None
        text = text if self.transform is None else self.transform(text)
        return text, label if self.target_transform is None else self.target_transform(label)

    def __len__(self) -> int:
        return len(self.samples)


def batchify(tokens: Tensor | Sequence[int], batch_size: int) -> Tensor:
    """Return a long text as columns side by side, [length, batch_size]; what is over is left out.

    >>> tw.data.text.batchify(range(7), 2).tolist()
    [[0, 3], [1, 4], [2, 5]]

    Raises:
        InvalidValue: when there are fewer tokens than columns.
    """
    row = values(tokens) if isinstance(tokens, Tensor) else np.asarray(tokens)
    length = len(row) // batch_size if batch_size > 0 else 0
    if length == 0:
        raise InvalidValue(f"batchify: {len(row)} tokens cannot make {batch_size} columns")
    return from_numpy(np.ascontiguousarray(row[: length * batch_size].reshape(batch_size, -1).T))


def bptt_batches(columns: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pieces of columns, [length, batch], and what follows each token, for truncated BPTT.

    The last piece may be shorter. The pieces of one column follow each other, so the state of a
    recurrent network may be carried along (Williams and Peng, 1990).

    >>> columns = tw.data.text.batchify(range(8), 2)
    >>> [(x.tolist(), y.tolist()) for x, y in tw.data.text.bptt_batches(columns, 2)]
    [([[0, 4], [1, 5]], [[1, 5], [2, 6]]), ([[2, 6]], [[3, 7]])]
    """
    if length < 1:
        raise InvalidValue(f"bptt_batches: length must be positive, got {length}")
    last = int(columns.shape[0]) - 1
    for start in range(0, last, length):
        end = min(start + length, last)
        yield columns[start:end], columns[start + 1 : end + 1]


class BucketSampler(Sampler[list[int]]):
    """Batches of samples of similar length, for `batch_sampler`: little is padded.

    The samples are shuffled, cut into buckets of many batches, each bucket is sorted by length and
    cut into batches, and the batches of all buckets are shuffled.

    Args:
        lengths: of all samples.
        batch_size: samples of a batch.
        shuffle: otherwise all samples are sorted by length, the shortest first.
        drop_last: leave out batches that are too small.
        batches_per_bucket: the more, the less is padded, and the less chance there is.
        generator: source of chance; the global one by default.

    >>> list(tw.data.text.BucketSampler([3, 1, 2, 9], 2, shuffle=False))
    [[1, 2], [0, 3]]
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        shuffle: bool = True,
        drop_last: bool = False,
        batches_per_bucket: int = 50,
        generator: Generator | None = None,
    ) -> None:
        if batch_size < 1 or batches_per_bucket < 1:
            raise InvalidValue("BucketSampler: batch_size and batches_per_bucket must be positive")
        self.lengths, self.batch_size = list(lengths), batch_size
        self.shuffle, self.drop_last = shuffle, drop_last
        self.bucket = batch_size * (batches_per_bucket if shuffle else max(len(self.lengths), 1))
        self.generator = generator

    def __iter__(self) -> Iterator[list[int]]:
        rng = numbers(seed_from(self.generator)) if self.shuffle else None
        count = len(self.lengths)
        order = list(range(count)) if rng is None else rng.permutation(count).tolist()
        batches = []
        for start in range(0, count, self.bucket):
            bucket = sorted(order[start : start + self.bucket], key=self.lengths.__getitem__)
            cut = range(0, len(bucket), self.batch_size)
            batches += [bucket[i : i + self.batch_size] for i in cut]
        if self.drop_last:
            batches = [b for b in batches if len(b) == self.batch_size]
        turns = range(len(batches)) if rng is None else rng.permutation(len(batches)).tolist()
        return iter([batches[i] for i in turns])

    def __len__(self) -> int:
        whole, rest = divmod(len(self.lengths), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)


@dataclass(frozen=True)
class Padding:
    """A `collate_fn` for sequences of unequal length.

    A sample is a sequence, or a tuple with sequences at the places `fields`; a sequence is a
    Tensor, an array or a list, and may have further dimensions behind the first. A batch is the
    tuple of the sample's parts, where each sequence has become the padded Tensor, followed by
    the lengths (int64 [N]) of the first of them; with `pack` what that returns, without lengths.

    Args:
        value: what is put behind the end.
        batch_first: [N, T, ...], or [T, N, ...].
        fields: which parts of a sample are sequences.
        pack: such as `nn.utils.rnn.pack_padded_sequence`, whose PackedSequence takes the place of
            the padded Tensor; called as pack(padded, lengths, batch_first, enforce_sorted=False).

    >>> samples = [([1, 2, 3], 0), ([4], 1)]
    >>> tw.data.text.Padding()(samples)
    (tensor([[1, 2, 3],
             [4, 0, 0]]), tensor([0, 1]), tensor([3, 1]))
    >>> packed, labels = tw.data.text.Padding(pack=tw.nn.utils.rnn.pack_padded_sequence)(samples)
    >>> packed.data, packed.batch_sizes
    (tensor([1, 4, 2, 3]), tensor([2, 1, 1]))

    Raises:
        DataError: for an empty batch.
    """

    value: float = 0
    batch_first: bool = True
    fields: tuple[int, ...] = (0,)
    pack: Callable[..., Any] | None = None

    def __call__(self, batch: Sequence[Any]) -> Any:
        """Return the batch of samples."""
        if not batch:
            raise DataError("an empty batch cannot be padded: it has no samples")
        if not isinstance(batch[0], tuple):
            found = self._padded(batch)
            return found[0] if self.pack else found
        parts: list[Any] = []
        lengths = None
        for place, column in enumerate(zip(*batch, strict=True)):
            if place in self.fields:
                padded, own = self._padded(column)
                lengths = own if lengths is None else lengths
                parts.append(padded)
            else:
                parts.append(default_collate(column))
        return (*parts, *(() if self.pack or lengths is None else (lengths,)))

    def _padded(self, sequences: Sequence[Any]) -> tuple[Any, Tensor]:
        rows = [values(s) if isinstance(s, Tensor) else np.asarray(s) for s in sequences]
        lengths = from_numpy(np.array([len(row) for row in rows], np.int64))
        dtype = max((row.dtype for row in rows if len(row)), default=rows[0].dtype)
        shape = (len(rows), max(map(len, rows)), *rows[0].shape[1:])
        joined = np.full(shape, self.value, dtype)
        for row, place in zip(rows, joined, strict=True):
            place[: len(row)] = row
        if not self.batch_first:
            joined = np.ascontiguousarray(joined.swapaxes(0, 1))
        padded = from_numpy(joined)
        if self.pack is None:
            return padded, lengths
        return self.pack(padded, lengths, self.batch_first, enforce_sorted=False), lengths
