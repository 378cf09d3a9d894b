"""Figures: the curves of a training, and the images a classifier finds hardest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from talweg.base.errors import DataError
from talweg.base.extras import require

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
TRAIN, HELD_OUT, WRONG = "#9aa5b1", "#2563a8", "#c2410c"
_STYLE = {
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "figure.dpi": 150,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training set achieved.

    Args:
        loss: mean training loss.
        accuracy: on the training images, as they were when trained on; from 0 to 1.
        held_out_loss: mean loss on the held-out images.
        held_out_accuracy: from 0 to 1.
    """

    loss: float
    accuracy: float
    held_out_loss: float
    held_out_accuracy: float


def draw_curves(history: Sequence[Epoch], path: Path, title: str) -> None:
    """Draw loss and accuracy against epochs as a PNG.

    Args:
        history: one entry for each epoch, at least one.
        path: the file to write.
        title: stands above the figure.

    Raises:
        DataError: when there is nothing to draw.
        MissingExtra: when matplotlib is not installed.
    """
    if not history:
        raise DataError("no epoch is complete yet, so there are no curves to draw")
    train, held_out = ([e.accuracy for e in history], [e.held_out_accuracy for e in history])
    with _figure(8.4, 3.6, path) as figure:
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.065, right=0.9, bottom=0.135, top=0.8, wspace=0.44)
        figure.text(0.022, 0.975, title, fontsize=11, fontweight="bold", va="top")
        left.set_yscale("log")
        ticker = require("matplotlib.ticker", extra="plot")
        left.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        left.yaxis.set_major_formatter(ticker.FuncFormatter(_plain))
        left.yaxis.set_minor_locator(ticker.NullLocator())
        _lines(left, "loss", [e.loss for e in history], [e.held_out_loss for e in history])
        _name_ends(left, "{:.3f}", history[-1].loss, history[-1].held_out_loss)
        _lines(right, "accuracy", train, held_out)
        right.yaxis.set_major_formatter(ticker.FuncFormatter(_share))
        lowest = min([*train[1:], *held_out[1:]], default=min(train[0], held_out[0]))
        right.set_ylim(min(lowest - 0.01, 0.96), 1.002)
        _name_ends(right, "{:.1%}", train[-1], held_out[-1])


def _plain(value: float, position: int) -> str:
    return f"{value:g}"


def _share(value: float, position: int) -> str:
    return f"{100 * value:.4g}%"


def _lines(axes: Any, name: str, train: Sequence[float], held_out: Sequence[float]) -> None:
    epochs = np.arange(1, len(train) + 1)
    mark = "o" if len(train) < 3 else None
    axes.plot(epochs, train, color=TRAIN, linewidth=1.5, marker=mark, markersize=4)
    axes.plot(epochs, held_out, color=HELD_OUT, linewidth=1.9, marker=mark, markersize=4)
    axes.set_title(name, loc="left", fontsize=9.5)
    axes.set_xlabel("epoch")
    if len(epochs) <= 5:
        axes.set_xticks(epochs)
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.margins(x=0.02)


def _name_ends(axes: Any, form: str, train: float, held_out: float) -> None:
    """Write beside the ends of both lines what they are, a label's height apart at least."""
    axes.get_ylim()  # settles the limits, on which the transformation depends
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((1.0, value))[1]) for value in (train, held_out)]
    middle, half = sum(heights) / 2, max(abs(heights[0] - heights[1]) / 2, 0.075)
    middle = min(max(middle, 0.05 + half), 0.97 - half) if half < 0.4 else middle
    sign = 1 if heights[0] >= heights[1] else -1
    rows = (("training", train, TRAIN, sign), ("held out", held_out, HELD_OUT, -sign))
    for label, value, color, side in rows:
        text = f"{label}\n{form.format(value)}"
        at = middle + side * half
        axes.text(1.03, at, text, color=color, fontsize=8, va="center", transform=axes.transAxes)


@dataclass(frozen=True)
class Answers:
    """What a classifier said about images.

    Args:
        images: grey values of shape (count, height, width).
        truth: the right class of each image.
        probabilities: of shape (count, classes).
        names: of the classes.
    """

    images: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray
    names: Sequence[str]

    @property
    def said(self) -> np.ndarray:
        """The most probable class of each image."""
        return np.asarray(self.probabilities.argmax(axis=1))

    def hardest(self, count: int) -> np.ndarray:
        """The images that were given the least probability of being what they are: worst first.

        Mistakes come before right answers.
        """
        of_truth = self.probabilities[np.arange(len(self.truth)), self.truth]
        return np.lexsort((of_truth, self.said == self.truth))[:count]


def draw_mistakes(
    answers: Answers, path: Path, title: str, rows: int = 3, columns: int = 6
) -> None:
    """Draw the worst mistakes as a PNG; right answers that were near misses fill what is left.

    Args:
        answers: of the classifier on held-out images.
        path: the file to write.
        title: stands above the figure.
        rows: of the grid.
        columns: of the grid.

    Raises:
        MissingExtra: when matplotlib is not installed.
    """
    chosen = answers.hardest(rows * columns)
    wrong = int((answers.said != answers.truth).sum())
    rows = -(-len(chosen) // columns)
    with _figure(1.45 * columns, 1.86 * rows + 0.9, path) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, index in zip(grid.flat, chosen, strict=False):
            _tile(axes, answers, int(index))
        height = figure.get_figheight()
        figure.text(0.025, 1 - 0.13 / height, title, fontsize=11, fontweight="bold", va="top")
        text = _summary(wrong, len(chosen), len(answers.truth))
        figure.text(0.025, 1 - 0.4 / height, text, fontsize=9, color=MUTED, va="top")
        figure.subplots_adjust(
            left=0.025, right=0.975, bottom=0.03, top=1 - 1.08 / height, wspace=0.12, hspace=0.42
        )


def _summary(wrong: int, shown: int, total: int) -> str:
    images = f"{total:,} held-out images"
    if wrong == 0:
        return f"No mistake in {images}. These {shown} right answers are the least certain."
    if wrong >= shown:
        which = "The" if wrong == shown else f"The worst {shown} of"
        return f"{which} {wrong:,} mistakes in {images}. Red is the wrong answer."
    mistakes = f"The {wrong} mistakes" if wrong > 1 else "The only mistake"
    least = f"the {shown - wrong} least certain right answers"
    return f"{mistakes} in {images} (red is the wrong answer), and {least}."


def _tile(axes: Any, answers: Answers, index: int) -> None:
    truth, said = int(answers.truth[index]), int(answers.said[index])
    chance, wrong = answers.probabilities[index], said != truth
    axes.set_axis_on()
    axes.imshow(answers.images[index], cmap="gray_r", vmin=0, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=WRONG if wrong else GRID, linewidth=1.6 if wrong else 1.0)
    other = truth if wrong else int(np.argsort(chance)[-2])
    first = f"{answers.names[said]}, {_percent(chance[said])}"
    second = f"{'is' if wrong else 'or'} {answers.names[other]}, {_percent(chance[other])}"
    rows = (first, 14.5, WRONG if wrong else INK, 8.5), (second, 3.5, MUTED, 8)
    for text, above, color, size in rows:
        axes.annotate(
            text,
            (0, 1),
            xytext=(0, above),
            xycoords="axes fraction",
            textcoords="offset points",
            color=color,
            fontsize=size,
        )


def _percent(chance: float) -> str:
    return f"{chance:.0%}" if chance >= 0.01 else "<1%"


@contextmanager
def _figure(width: float, height: float, path: Path) -> Iterator[Any]:
    """Yield an empty figure in our style; at the end of the block, write it to `path`."""
    matplotlib = require("matplotlib", extra="plot")
    canvas = require("matplotlib.backends.backend_agg", extra="plot").FigureCanvasAgg
    with matplotlib.rc_context(_STYLE):
        figure = require("matplotlib.figure", extra="plot").Figure(figsize=(width, height))
        canvas(figure)
        yield figure
        figure.savefig(path, facecolor="white")
