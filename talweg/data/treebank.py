"""Sentences as trees whose every node has a label, in brackets: `(3 (2 lovely) (2 film))`.

The form is that of the Stanford Sentiment Treebank: R. Socher et al., "Recursive deep models for
semantic compositionality over a sentiment treebank" (2013).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talweg.base.errors import DataError, MissingFile
from talweg.data.dataset import Dataset

_PARTS = re.compile(r"\(|\)|[^ \t\r()]+")  # other spaces may belong to a word


@dataclass(frozen=True)
class Tree:
    """A node: a label, and a word or children.

    >>> tree = tw.data.Tree.read("(3 (2 lovely) (2 film))")
    >>> tree.label, tree.words(), len(tree.children)
    (3, ['lovely', 'film'], 2)
    """

    label: int
    word: str = ""
    children: tuple[Tree, ...] = ()

    @classmethod
    def read(cls, text: str) -> Tree:
        """Return the tree of a text.

        Raises:
            DataError: for brackets that do not match, and labels that are no whole numbers.
        """
        open_nodes: list[list[Any]] = [[]]
        for part in _PARTS.findall(text):
            if part == "(":
                open_nodes.append([])
            elif part == ")":
                if len(open_nodes) < 2:
                    raise DataError("a bracket is closed that was not opened")
                closed = open_nodes.pop()
                open_nodes[-1].append(cls._node(closed))
            else:
                open_nodes[-1].append(part)
        if len(open_nodes) > 1:
            raise DataError("a bracket is not closed")
        found = open_nodes[0]
        if len(found) != 1 or not isinstance(found[0], cls):
            raise DataError(f"there must be one tree in brackets, got {text[:60]!r}")
        return found[0]

    @classmethod
    def _node(cls, parts: list[Any]) -> Tree:
        label, *rest = parts or [""]
        if not isinstance(label, str) or not label.isdigit():
            raise DataError(f"a node must begin with a label, a whole number, got {label!r}")
        if len(rest) == 1 and isinstance(rest[0], str):
            return cls(int(label), rest[0])
        if not rest or any(isinstance(part, str) for part in rest):
            raise DataError(f"the node of label {label} must hold one word, or nodes alone")
        return cls(int(label), "", tuple(rest))

    def nodes(self) -> Iterator[Tree]:
        """Yield all nodes, children before their parent, this one last."""
        for child in self.children:
            yield from child.nodes()
        yield self

    def words(self) -> list[str]:
        """Return the words from left to right."""
        return [node.word for node in self.nodes() if not node.children]


class SentimentTreebank(Dataset[Any]):
    """The trees of a file, one on each line.

    Args:
        path: the file, such as `train.txt` of the Stanford Sentiment Treebank, whose labels run
            from 0 (very negative) to 4 (very positive).
        transform: called with the `Tree`.

    `trees` holds all of them.

    Raises:
        MissingFile: when there is no such file.
        DataError: for a line that is not a tree; the message names it.
    """

    def __init__(
        self, path: str | os.PathLike[str], transform: Callable[[Tree], Any] | None = None
    ) -> None:
        self.transform = transform
        self.trees: list[Tree] = []
        if not Path(path).is_file():
            raise MissingFile(f"{path}: there is no such file; name a file of trees in brackets")
        try:
            lines = Path(path).read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 ({error})") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    self.trees.append(Tree.read(line))
                except DataError as error:
                    raise DataError(f"{path}, line {number}: {error}; correct the line") from None

    def __getitem__(self, index: int) -> Any:
        tree = self.trees[index]
        return tree if self.transform is None else self.transform(tree)

    def __len__(self) -> int:
        return len(self.trees)
