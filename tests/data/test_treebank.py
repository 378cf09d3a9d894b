"""Trees in brackets."""

from __future__ import annotations

from pathlib import Path

import pytest

from talweg import data
from talweg.base.errors import DataError, MissingFile
from tests.real import real


def written(tree: data.Tree) -> str:
    inside = tree.word or " ".join(map(written, tree.children))
    return f"({tree.label} {inside})"


def test_a_tree_and_its_nodes() -> None:
    text = "(3 (2 (2 a) (4 lovely)) (2 8\u00a01/2))"
    tree = data.Tree.read(text)
    assert written(tree) == text
    assert tree.words() == ["a", "lovely", "8\u00a01/2"]
    assert [node.label for node in tree.nodes()] == [2, 4, 2, 2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(3 (2 a)", "a bracket is not closed"),
        ("(3 a))", "closed that was not opened"),
        ("(x a)", "a whole number, got 'x'"),
        ("()", "must begin with a label"),
        ("(3 a b)", "must hold one word, or nodes alone"),
        ("(3)", "must hold one word"),
        ("(3 a) (2 b)", "must be one tree"),
        ("word", "must be one tree"),
    ],
)
def test_what_is_no_tree(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trees.txt"
    path.write_text(f"(1 a)\n\n{text}\n")
    with pytest.raises(DataError, match=rf"trees\.txt, line 3: .*{message}"):
        data.SentimentTreebank(path)


def test_files_of_trees(tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        data.SentimentTreebank(tmp_path / "none")
    (tmp_path / "trees.txt").write_text("(1 a)\n(2 (0 b) (1 c))\n")
    trees = data.SentimentTreebank(tmp_path / "trees.txt", transform=data.Tree.words)
    assert list(trees) == [["a"], ["b", "c"]]


@pytest.mark.parametrize(("part", "count"), [("train", 9645), ("dev", 1101)])
def test_every_tree_of_the_treebank_is_read(part: str, count: int) -> None:
    path = real("text", "sst-trees", "trees", f"{part}.txt")
    trees = data.SentimentTreebank(path).trees
    lines = path.read_text(encoding="utf-8").split("\n")
    assert [written(tree) for tree in trees] == lines[:-1]
    assert len(trees) == count
    assert {len(node.children) for tree in trees for node in tree.nodes()} == {0, 2}
