"""Tokens, vocabularies, byte pairs, padded batches, and texts in files."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg import data
from talweg.base.errors import DataError, InvalidValue, MissingFile
from talweg.data import text
from talweg.nn.utils import rnn

TEXTS = ["the cat sat on the mat", "the dog sat", "a cat"]


def counted(**options: object) -> text.Vocab:
    return text.build_vocab_from_iterator(map(str.split, TEXTS), **options)  # type: ignore[arg-type]


def test_vocabularies_go_by_frequency_then_by_name() -> None:
    counts = Counter(" ".join(TEXTS).split())
    vocab = counted()
    assert vocab.get_itos() == ["the", "cat", "sat", "a", "dog", "mat", "on"]
    assert sorted(counts.values(), reverse=True) == [counts[t] for t in vocab.get_itos()]
    assert vocab.get_stoi()["sat"] == 2
    assert counted(min_freq=2).get_itos() == ["the", "cat", "sat"]
    special = ["<pad>", "cat"]
    assert counted(specials=special, max_tokens=4).get_itos() == ["<pad>", "cat", "the", "sat"]
    last = counted(specials=special, special_first=False, min_freq=2)
    assert last.get_itos() == ["the", "sat", "<pad>", "cat"]
    with pytest.raises(InvalidValue, match="must be more than the 2 specials"):
        counted(specials=special, max_tokens=2)


def test_tokens_that_are_not_there() -> None:
    vocab = counted(min_freq=2)
    with pytest.raises(IndexError, match="'owl' is not in the vocabulary of 3"):
        vocab["owl"]
    vocab.insert_token("<unk>", 0)
    vocab.set_default_index(0)
    assert vocab(["the", "owl"]) == [1, 0]
    assert vocab.lookup_tokens(vocab.lookup_indices(["owl", "sat"])) == ["<unk>", "sat"]
    assert ("owl" in vocab, "cat" in vocab, len(vocab)) == (False, True, 4)
    vocab.append_token("owl")
    assert vocab["owl"] == 4
    for wrong in (lambda: vocab.append_token("owl"), lambda: vocab.set_default_index(9)):
        with pytest.raises(InvalidValue):
            wrong()
    with pytest.raises(InvalidValue, match="'a' comes more than once"):
        text.Vocab("aba")
    with pytest.raises(IndexError, match="no token 5"):
        vocab.lookup_token(5)


def test_tokenizers() -> None:
    assert text.get_tokenizer("basic_english")("It's 3 p.m.!") == [
        "it's",
        "3",
        "p",
        ".",
        "m",
        ".",
        "!",
    ]
    assert text.get_tokenizer(None)(" a  B ") == ["a", "B"]
    assert text.get_tokenizer("characters")("ab") == ["a", "b"]
    assert text.get_tokenizer(str.splitlines)("a\nb") == ["a", "b"]
    with pytest.raises(InvalidValue, match="spacy"):
        text.get_tokenizer("spacy")


def slowly_learned(texts: list[str], merges: int) -> list[tuple[str, str]]:
    """Byte pairs of words in lower-case letters, written the plain way."""
    pieces = [list(w) for t in texts for w in t.replace(" ", " Ġ").split(" ")]
    found = []
    for _ in range(merges):
        pairs = Counter(p for piece in pieces for p in pairwise(piece))
        best = max(pairs, key=lambda p: (pairs[p], p))
        found.append(best)
        for piece in pieces:
            i = 0
            while i < len(piece) - 1:
                if (piece[i], piece[i + 1]) == best:
                    piece[i : i + 2] = ["".join(best)]
                i += 1
    return found


def test_byte_pairs_are_learned_by_frequency() -> None:
    texts = ["ababab abc", "abc cab", "bcabc"] * 2
    assert text.BytePairs.learn(texts, 6).merges == slowly_learned(texts, 6)


def test_byte_pairs_keep_every_text() -> None:
    pairs = text.BytePairs.learn(TEXTS, 20)
    assert pairs.tokens("the cat") == ["the", "Ġcat"]
    for words in ("the cat sat", "naïve 日本 \n\t x_1  ''s I'll", "", "\x00\xad 🙂"):
        assert pairs.decode(pairs.encode(words)) == words
    with pytest.raises(DataError, match="no token has the number 9999"):
        pairs.decode([9999])


def test_published_files_of_byte_pairs(tmp_path: Path) -> None:
    merges, numbers = tmp_path / "merges.txt", tmp_path / "vocab.json"
    merges.write_text("#version: 0.2\nl o\nlo w\nĠ low\n", encoding="utf-8")
    letters = {letter: i for i, letter in enumerate(["l", "o", "w", "Ġ", "s"])}
    numbers.write_text(json.dumps(letters | {"lo": 10, "low": 11, "Ġlow": 12}), encoding="utf-8")
    pairs = text.BytePairs.read(merges, numbers)
    assert pairs.encode("low lows wol") == [11, 12, 4, 3, 2, 1, 0]
    assert pairs.decode([11, 12, 4]) == "low lows"
    with pytest.raises(DataError, match="'x' has no number"):
        pairs.encode("x")
    assert len(text.BytePairs.read(merges)) == 259
    merges.write_text("l o\nlow\n")
    with pytest.raises(DataError, match="line 2: 'low' is not a pair"):
        text.BytePairs.read(merges)
    numbers.write_text("[1]")
    with pytest.raises(DataError, match="one object"):
        text.BytePairs.read(tmp_path / "empty.txt" if merges.write_text("") else merges, numbers)
    with pytest.raises(MissingFile):
        text.BytePairs.read(tmp_path / "none.txt")


def test_columns_and_their_pieces_hold_every_token() -> None:
    columns = text.batchify(tw.arange(23), 4)
    assert columns.shape == (5, 4)
    assert columns[:, 1].tolist() == [5, 6, 7, 8, 9]
    pieces = list(text.bptt_batches(columns, 3))
    assert [x.shape for x, _ in pieces] == [(3, 4), (1, 4)]
    for x, y in pieces:
        assert (x + 1).tolist() == y.tolist()
    assert tw.cat([x for x, _ in pieces]).tolist() == columns[:-1].tolist()
    with pytest.raises(InvalidValue, match="3 tokens cannot make 4 columns"):
        text.batchify([1, 2, 3], 4)
    with pytest.raises(InvalidValue, match="length must be positive"):
        next(text.bptt_batches(columns, 0))


def test_buckets_hold_every_sample_once_and_pad_little() -> None:
    lengths = np.random.RandomState(0).randint(1, 100, 203).tolist()
    sampler = text.BucketSampler(lengths, 8, generator=tw.Generator().manual_seed(1))
    first, second = list(sampler), list(sampler)
    assert sorted(i for batch in first for i in batch) == list(range(203))
    assert first != second
    assert len(first) == len(sampler) == 26
    again = text.BucketSampler(lengths, 8, generator=tw.Generator().manual_seed(1))
    assert list(again) == first

    def padding(batches: list[list[int]]) -> int:
        spans = [[lengths[i] for i in batch] for batch in batches]
        return sum(max(span) * len(span) - sum(span) for span in spans)

    plain = [list(range(i, min(i + 8, 203))) for i in range(0, 203, 8)]
    assert padding(first) < padding(plain) / 5
    assert len(list(text.BucketSampler(lengths, 8, drop_last=True))) == 25
    ordered = list(text.BucketSampler(lengths, 8, shuffle=False))
    assert [lengths[i] for batch in ordered for i in batch] == sorted(lengths)


SAMPLES = [([5, 6], 1.0, "a"), ([7, 8, 9], 0.0, "b"), ([4], 2.0, "c")]


def test_padding() -> None:
    padded, scores, names, lengths = text.Padding(value=-1)(SAMPLES)
    assert padded.tolist() == [[5, 6, -1], [7, 8, 9], [4, -1, -1]]
    assert (scores.tolist(), names, lengths.tolist()) == (
        [1.0, 0.0, 2.0],
        ("a", "b", "c"),
        [2, 3, 1],
    )
    rows = [tw.ones(2, 3), tw.zeros(1, 3)]
    padded, lengths = text.Padding(batch_first=False)(rows)
    assert padded.shape == (2, 2, 3)
    assert padded[:, 1].tolist() == [[0.0] * 3] * 2
    both = [([1], [2, 3]), ([4, 5], [6])]
    a, b, lengths = text.Padding(fields=(0, 1))(both)
    assert (a.tolist(), b.tolist(), lengths.tolist()) == (
        [[1, 0], [4, 5]],
        [[2, 3], [6, 0]],
        [1, 2],
    )
    with pytest.raises(DataError, match="no samples"):
        text.Padding()([])


@pytest.mark.parametrize("batch_first", [True, False])
def test_padding_into_a_packed_sequence(batch_first: bool) -> None:
    collate = text.Padding(batch_first=batch_first, pack=rnn.pack_padded_sequence)
    loader = data.DataLoader(SAMPLES, batch_size=3, collate_fn=collate)  # type: ignore[arg-type]
    packed, scores, _ = next(iter(loader))
    expected = rnn.pack_sequence([tw.tensor(s[0]) for s in SAMPLES], enforce_sorted=False)
    assert packed.data.tolist() == expected.data.tolist()
    assert packed.batch_sizes.tolist() == expected.batch_sizes.tolist()
    assert scores.tolist() == [1.0, 0.0, 2.0]
    assert rnn.pad_packed_sequence(packed, batch_first=True)[1].tolist() == [2, 3, 1]


def test_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"\xef\xbb\xbfto be\r\n \nor n\xc3\xb6t\nlast")
    lines = text.TextLines(path)
    assert [lines[i] for i in range(3)] == ["to be", "or nöt", "last"]
    assert lines[-1] == "last"
    assert len(text.TextLines(path, skip_empty=False)) == 4
    assert text.TextLines(path, str.split)[0] == ["to", "be"]
    with pytest.raises(IndexError, match="line 3 does not exist: there are 3"):
        lines[3]
    path.write_bytes(b"good\n\n\xff\n")
    with pytest.raises(DataError, match=r"lines\.txt, line 3: not UTF-8"):
        text.TextLines(path)[1]
    with pytest.raises(MissingFile):
        text.TextLines(tmp_path / "none.txt")


def test_folders_of_texts(tmp_path: Path) -> None:
    for name in ("neg/b.txt", "neg/a.txt", "pos/deep/c.txt", "pos/d.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    texts = text.TextFolder(tmp_path, target_transform=lambda label: -label)
    assert texts.classes == ["neg", "pos"]
    assert list(texts) == [("neg/a.txt", 0), ("neg/b.txt", 0), ("pos/deep/c.txt", -1)]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no text"):
        text.TextFolder(tmp_path)
    with pytest.raises(DataError, match="holds no sub-folder"):
        text.TextFolder(tmp_path / "none")
    with pytest.raises(MissingFile):
        text.TextFolder(tmp_path / "nowhere")
