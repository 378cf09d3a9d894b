"""Byte-pair encoding: tokens between letters and words, learned or read from a published file.

R. Sennrich, B. Haddow, A. Birch, "Neural machine translation of rare words with subword units"
(2016), on bytes as in GPT-2 (A. Radford et al., 2019).
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from talweg.base.errors import DataError, InvalidValue, MissingFile

Pair = tuple[str, str]

_PIECES = re.compile(
    r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+"
)  # a word with the space before it, a number, marks, spaces


def _shown() -> list[str]:
    """Return the letter that stands for each byte: itself where it can be seen."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in seen]
    letters = {b: chr(b) for b in seen} | {b: chr(256 + i) for i, b in enumerate(hidden)}
    return [letters[b] for b in range(256)]


_LETTERS = _shown()
_BYTES = {letter: byte for byte, letter in enumerate(_LETTERS)}


class BytePairs:
    """A tokeniser that joins the bytes of words, pair by pair.

    Args:
        merges: pairs of tokens that are joined, the most urgent first; bytes are written as the
            letters that GPT-2's files have for them.
        numbers: every token's number; by default the 256 bytes, then the merges in order.

    >>> pairs = tw.data.text.BytePairs.learn(["low lower lowest"] * 3, merges=4)
    >>> pairs.tokens("low lowest")
    ['low', 'Ġlowe', 's', 't']
    >>> pairs.decode(pairs.encode("so low, naïve"))
    'so low, naïve'

    Raises:
        InvalidValue: when a merge makes a token without a number.
    """

    def __init__(self, merges: Iterable[Pair], numbers: dict[str, int] | None = None) -> None:
        self.merges = [(a, b) for a, b in merges]
        self._ranks = {pair: i for i, pair in enumerate(self.merges)}
        if numbers is None:
            made = dict.fromkeys([*_LETTERS, *(a + b for a, b in self.merges)])
            numbers = {token: i for i, token in enumerate(made)}
        self.numbers = dict(numbers)
        self._texts = {number: token for token, number in self.numbers.items()}
        self._known: dict[str, list[str]] = {}
        if missing := [a + b for a, b in self.merges if a + b not in self.numbers]:
            raise InvalidValue(f"BytePairs: the merged token {missing[0]!r} has no number")

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def learn(cls, texts: Iterable[str], merges: int) -> BytePairs:
        """Return the tokeniser whose merges join the most frequent pairs of some texts.

        Args:
            texts: to learn from.
            merges: how many at most; fewer where no pair comes twice.
        """
        counts = Counter(piece for text in texts for piece in _PIECES.findall(text))
        pieces = {piece: _letters(piece) for piece in counts}
        found: list[Pair] = []
        while len(found) < merges:
            pairs: Counter[Pair] = Counter()
            for piece, tokens in pieces.items():
                for pair in pairwise(tokens):
                    pairs[pair] += counts[piece]
            if not pairs:
                break
            best = max(pairs, key=lambda pair: (pairs[pair], pair))
            if pairs[best] < 2:
                break
            found.append(best)
            pieces = {piece: _joined(tokens, best) for piece, tokens in pieces.items()}
        return cls(found)

    @classmethod
    def read(
        cls, merges: str | os.PathLike[str], numbers: str | os.PathLike[str] | None = None
    ) -> BytePairs:
        """Return the tokeniser of published files, such as GPT-2's merges.txt and vocab.json.

        Args:
            merges: a file with a pair on each line; lines that begin with "#version" do not count.
            numbers: a JSON file with every token's number.

        Raises:
            MissingFile, DataError: when a file is not there, or not such a file; the message names
                the line.
        """
        pairs: list[Pair] = []
        for number, line in enumerate(_text(merges).split("\n"), 1):
            parts = line.rstrip("\r").split(" ")
            if parts == [""] or line.startswith("#version"):
                continue
            if len(parts) != 2:
                raise DataError(f"{merges}, line {number}: {line!r} is not a pair of tokens")
            pairs.append((parts[0], parts[1]))
        if numbers is None:
            return cls(pairs)
        try:
            found = json.loads(_text(numbers))
        except ValueError as error:
            raise DataError(f"{numbers}: not JSON ({error})") from None
        if not isinstance(found, dict) or not all(isinstance(n, int) for n in found.values()):
            raise DataError(f"{numbers}: must hold one object of tokens and whole numbers")
        return cls(pairs, found)

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of a text, with letters for their bytes."""
        return [token for piece in _PIECES.findall(text) for token in self._cut(piece)]

    def _cut(self, piece: str) -> list[str]:
        found = self._known.get(piece)
        if found is None:
            found = _letters(piece)
            while len(found) > 1:
                pairs = pairwise(found)
                best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
                if best not in self._ranks:
                    break
                found = _joined(found, best)
            self._known[piece] = found
        return found

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens.

        Raises:
            DataError: for a byte that has no number.
        """
        try:
            return [self.numbers[token] for token in self.tokens(text)]
        except KeyError as error:
            raise DataError(f"the token {error} has no number in this vocabulary") from None

    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of numbers; bytes that are no UTF-8 become the replacement character.

        Raises:
            DataError: for a number that no token has.
        """
        letters: list[str] = []
        for number in numbers:
            if int(number) not in self._texts:
                raise DataError(f"no token has the number {number}: there are {len(self)}")
            letters += self._texts[int(number)]
        known = (bytes([_BYTES[c]]) if c in _BYTES else c.encode() for c in letters)
        return b"".join(known).decode("utf-8", errors="replace")


def _letters(piece: str) -> list[str]:
    return [_LETTERS[byte] for byte in piece.encode()]


def _joined(tokens: list[str], pair: Pair) -> list[str]:
    """Return tokens with every occurrence of a pair, from the left, joined."""
    found: list[str] = []
    for token in tokens:
        if found and found[-1] == pair[0] and token == pair[1]:
            found[-1] = pair[0] + pair[1]
        else:
            found.append(token)
    return found


def _text(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFile(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error})") from None
