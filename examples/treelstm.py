"""Judge sentences by their parse trees: a Tree-LSTM on the Stanford Sentiment Treebank.

    python examples/treelstm.py trees/train.txt trees/dev.txt

K. S. Tai, R. Socher, C. D. Manning, "Improved semantic representations from tree-structured long
short-term memory networks" (2015), the binary form, without pretrained word vectors. Every sentence
is a network of its own; nodes of equal height, of all trees of a batch, are computed together.
Trees of the second file that the first one holds, too, are not trained on. After two epochs some
45% of the sentences get the right one of five classes, and 84% are told good from bad.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import talweg as tw
from talweg import nn, optim
from talweg.data import DataLoader, SentimentTreebank, Tree
from talweg.data.text import Vocab, build_vocab_from_iterator

CLASSES = 5
NOWHERE = -100  # the label of a node that only fills a level up


@dataclass(frozen=True)
class Batch:
    """Trees, with all nodes numbered: the words first, then by height.

    Args:
        words: the words' numbers, [sizes[0]].
        children: the left and the right children of all other nodes, [2, nodes - sizes[0]].
        labels: of all nodes.
        roots: one of each tree.
        sizes: how many nodes there are of each height.
    """

    words: tw.Tensor
    children: tw.Tensor
    labels: tw.Tensor
    roots: tw.Tensor
    sizes: tuple[int, ...]


class Gather:
    """Makes batches of trees, all of one shape, so that one compiled step serves them.

    Levels are filled up with nodes that do not count; they grow when a batch needs more.

    Args:
        vocab: the words.
    """

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab
        self.sizes: list[int] = []

    def __call__(self, trees: Sequence[Tree]) -> Batch:
        """Return trees as a batch.

        Raises:
            ValueError: for a node that has neither a word nor two children.
        """
        levels = by_height(trees)
        for height, level in enumerate(levels):
            if height == len(self.sizes):
                self.sizes.append(0)
            if len(level) > self.sizes[height]:
                self.sizes[height] = 8 + len(level) * 5 // 4
        number: dict[int, int] = {}
        labels = [NOWHERE] * sum(self.sizes)
        sides = [[0] * (len(labels) - self.sizes[0]) for _ in range(2)]
        words = [0] * self.sizes[0]
        start = 0
        for size, level in zip(self.sizes, levels, strict=False):
            for place, node in enumerate(level, start):
                number[id(node)] = place
                labels[place] = node.label
                if not node.children:
                    words[place] = self.vocab[node.word]
                for side, child in zip(sides, node.children, strict=False):
                    side[place - self.sizes[0]] = number[id(child)]
            start += size
        roots = [number[id(tree)] for tree in trees]
        tensors = map(tw.tensor, (words, sides, labels, roots))
        return Batch(*tensors, tuple(self.sizes))


def by_height(trees: Sequence[Tree]) -> list[list[Tree]]:
    """Return the nodes of trees by their height: the words, what stands over words only, ..."""
    heights: dict[int, int] = {}
    levels: list[list[Tree]] = []
    for tree in trees:
        for node in tree.nodes():
            if len(node.children) not in (0, 2):
                raise ValueError(f"a node has {len(node.children)} children, not 2")
            height = 1 + max((heights[id(child)] for child in node.children), default=-1)
            heights[id(node)] = height
            if height == len(levels):
                levels.append([])
            levels[height].append(node)
    return levels


class TreeLSTM(nn.Module):
    """Gives every node of a tree a state, from its word or its two children, and classes a score.

    Args:
        words: how many there are.
        width: of word vectors and states.
        dropout: of word vectors, and of states before they are judged.
    """

    def __init__(self, words: int, width: int = 100, dropout: float = 0.5) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        nn.init.uniform_(self.words.weight, -0.05, 0.05)
        self.leaf = nn.Linear(width, 3 * width)
        self.inner = nn.Linear(2 * width, 5 * width)
        self.dropout = nn.Dropout(dropout)
        self.judge = nn.Linear(width, CLASSES)

    def forward(self, words: tw.Tensor, children: tw.Tensor, sizes: Sequence[int]) -> tw.Tensor:
        """Return scores of all nodes, [nodes, 5]; the arguments are those of `Batch`."""
        write, read, new = self.leaf(self.dropout(self.words(words))).chunk(3, -1)
        cells = write.sigmoid() * new.tanh()
        states = read.sigmoid() * cells.tanh()
        for left, right in zip(*(side.split(sizes[1:]) for side in children), strict=True):
            both = tw.cat([states[left], states[right]], -1)
            write, read, new, keep_left, keep_right = self.inner(both).chunk(5, -1)
            made = write.sigmoid() * new.tanh()
            made = made + keep_left.sigmoid() * cells[left] + keep_right.sigmoid() * cells[right]
            states = tw.cat([states, read.sigmoid() * made.tanh()])
            cells = tw.cat([cells, made])
        return self.judge(self.dropout(states))


def judged(
    model: TreeLSTM, trees: Sequence[Tree], gather: Gather, batch_size: int
) -> dict[str, float]:
    """Return the share of right answers: for all nodes, sentences, and good against bad ones."""
    model.eval()

    @tw.compile
    def scored(words: tw.Tensor, children: tw.Tensor, sizes: tuple[int, ...]) -> tw.Tensor:
        with tw.no_grad():
            return model(words, children, sizes)

    right = {"nodes": 0.0, "sentences": 0.0, "good or bad": 0.0}
    count = dict(right)
    for start in range(0, len(trees), batch_size):
        batch = gather(trees[start : start + batch_size])
        scores = scored(batch.words, batch.children, batch.sizes).numpy()
        labels, roots = batch.labels.numpy(), batch.roots.numpy()
        hits = scores.argmax(-1) == labels
        better = np.exp(scores[:, 3:]).sum(-1) > np.exp(scores[:, :2]).sum(-1)
        clear = roots[labels[roots] != 2]
        right["nodes"] += hits.sum()
        right["sentences"] += hits[roots].sum()
        right["good or bad"] += (better[clear] == (labels[clear] > 2)).sum()
        count["nodes"] += (labels != NOWHERE).sum()
        count["sentences"] += len(roots)
        count["good or bad"] += len(clear)
    return {name: float(right[name] / max(count[name], 1)) for name in right}


def train(
    model: TreeLSTM,
    trees: Sequence[Tree],
    held_out: Sequence[Tree],
    vocab: Vocab,
    epochs: int,
    batch_size: int = 25,
    show: bool = True,
) -> list[dict[str, float]]:
    """Train a model; return loss and shares of right answers of every epoch."""
    optimizer = optim.Adagrad(model.parameters(), lr=0.05, weight_decay=1e-5)
    gather = Gather(vocab)
    loader = DataLoader(trees, batch_size, shuffle=True, collate_fn=gather)

    @tw.compile
    def step(
        words: tw.Tensor, children: tw.Tensor, labels: tw.Tensor, sizes: tuple[int, ...]
    ) -> tw.Tensor:
        scores = model(words, children, sizes)
        loss = nn.functional.cross_entropy(scores, labels, ignore_index=NOWHERE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    curve = []
    for epoch in range(epochs):
        began, total = time.perf_counter(), 0.0
        model.train()
        for batch in loader:
            total += step(batch.words, batch.children, batch.labels, batch.sizes).item()
        right = judged(model, held_out, gather, batch_size)
        found = {"epoch": epoch + 1, "loss": total / len(loader), **right}
        curve.append(found)
        if show:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
            print(f"{shown} ({time.perf_counter() - began:.1f} s)", flush=True)
    return curve


def vocabulary(trees: Sequence[Tree]) -> Vocab:
    """Return the words of trees that come twice or more, and one for all others."""
    vocab = build_vocab_from_iterator((t.words() for t in trees), 2, ["<unk>"])
    vocab.set_default_index(0)
    return vocab


def main() -> None:
    """Train, judge, draw."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("train")
    parser.add_argument("held_out")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--curve", default="treelstm.png", help="the picture's file")
    options = parser.parse_args()
    tw.manual_seed(0)
    held_out = SentimentTreebank(options.held_out).trees
    known = {" ".join(tree.words()) for tree in held_out}
    listed = SentimentTreebank(options.train).trees
    trees = [tree for tree in listed if " ".join(tree.words()) not in known]
    vocab = vocabulary(trees)
    print(f"{len(trees)} trees to train on, {len(held_out)} held out, {len(vocab)} words")
    model = TreeLSTM(len(vocab))
    curve = train(model, trees, held_out, vocab, options.epochs)
    tw.training.History(curve).draw(options.curve)


if __name__ == "__main__":
    main()
