"""The demonstration: train a convolutional network, save it, load it elsewhere, show its mistakes.

`python -m talweg.tools.demo MODEL TASK FOLDER` is the other process: it loads the model and writes
the classes of the held-out images to standard output, as JSON.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import talweg as tw
from talweg import data, nn, optim
from talweg.base.errors import DataError, InvalidValue, TalwegError
from talweg.base.extras import require
from talweg.tools.viz import Answers, Epoch, draw_curves, draw_mistakes

REPOSITORY = Path(__file__).resolve().parents[2]
GOAL = {"digits": 0.98}


@dataclass(frozen=True)
class Images:
    """Images and their classes.

    Args:
        pixels: float32 of shape (count, 1, height, width), from 0 to 1.
        labels: int64 of shape (count,).
    """

    pixels: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """What to train on, and how.

    Args:
        title: for people.
        names: of the classes.
        train: images to learn from.
        held_out: images to be judged by.
        network: makes a network with new parameters.
        epochs: passes over the training images.
        batch_size: images per step.
        lr: the highest learning rate.
        shift: how far, in pixels, training images are moved about.
    """

    title: str
    names: Sequence[str]
    train: Images
    held_out: Images
    network: Callable[[], nn.Module]
    epochs: int
    batch_size: int
    lr: float
    shift: int


class Shifted(data.Dataset[tuple[np.ndarray, int]]):
    """Images moved by up to `shift` pixels in any direction, another way each time.

    Args:
        images: what is moved; empty space moves in.
        shift: pixels.
    """

    def __init__(self, images: Images, shift: int) -> None:
        margin = ((0, 0), (0, 0), (shift, shift), (shift, shift))
        self.padded = np.pad(images.pixels, margin)
        self.labels = images.labels
        self.size = images.pixels.shape[2:]
        self.shift = shift

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        # The loader seeds NumPy's global generator for every batch.
        top, left = np.random.randint(0, 2 * self.shift + 1, 2)
        height, width = self.size
        window = self.padded[index, :, top : top + height, left : left + width]
        return window, int(self.labels[index])

    def __len__(self) -> int:
        return len(self.labels)


# ---------------------------------------------------------------------------------------------
# the two data sets


def _digits_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 4 * 4, 10),
    )


def _fashion_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def digits(folder: Path | None) -> Recipe:
    """The digits that come with scikit-learn.

    Args:
        folder: not used.
    """
    parts = (part.tensors for part in data.digits())
    train, held_out = (Images(x.numpy(), y.numpy()) for x, y in parts)
    names = [str(n) for n in range(10)]
    return Recipe("Handwritten digits", names, train, held_out, _digits_network, 15, 64, 0.01, 1)


def fashion(folder: Path | None) -> Recipe:
    """Fashion-MNIST.

    Args:
        folder: where its four files are; by default `$TALWEG_DATA`, or
            `../shared/data/fashion-mnist` beside the repository.

    Raises:
        DataError: when they are not there, or damaged.
    """
    if folder is None:
        named = os.environ.get("TALWEG_DATA")
        folder = Path(named) if named else REPOSITORY.parent / "shared" / "data" / "fashion-mnist"
        if (folder / "fashion-mnist").is_dir():
            folder = folder / "fashion-mnist"
    try:
        sets = [data.FashionMNIST(folder, train=train) for train in (True, False)]
    except DataError as error:
        raise DataError(f"{error} with --data-dir or TALWEG_DATA") from None
    train, held_out = (
        Images(s.data[:, None].astype(np.float32) / np.float32(255), s.targets) for s in sets
    )
    names = data.FashionMNIST.classes
    return Recipe("Fashion-MNIST", names, train, held_out, _fashion_network, 3, 128, 0.005, 0)


RECIPES = {"digits": digits, "fashion": fashion}


# ---------------------------------------------------------------------------------------------
# training


@dataclass
class Training:
    """A training under way: all that a checkpoint holds.

    Args:
        recipe: what is trained.
        model: the network.
        optimizer: of its parameters.
        schedule: of the learning rate.
        history: of the epochs that are complete.
    """

    recipe: Recipe
    model: nn.Module
    optimizer: optim.Optimizer
    schedule: Any
    history: list[Epoch]

    def state(self) -> dict[str, Any]:
        """What continues this training when loaded."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]


def begin(recipe: Recipe, epochs: int, seed: int) -> Training:
    """Make the network and what trains it.

    Args:
        recipe: what to train.
        epochs: how many there will be.
        seed: of the network's first parameters.
    """
    tw.manual_seed(seed)
    model = recipe.network()
    optimizer = optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=0.01)
    steps = epochs * math.ceil(len(recipe.train.labels) / recipe.batch_size)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=recipe.lr, total_steps=steps)
    return Training(recipe, model, optimizer, schedule, [])


def train_epoch(training: Training, seed: int, report: Callable[[int, float, float], None]) -> None:
    """Train for one epoch, and add what it achieved to the history.

    Args:
        training: is changed.
        seed: of the run; with the epoch's number it rules all chance in it.
        report: called after each step with the images of the batch, and the mean loss and the
            accuracy of the epoch so far.

    Raises:
        TalwegError: when the loss is not finite.
    """
    recipe, number = training.recipe, len(training.history)
    tw.manual_seed(seed * 100_003 + number + 1)
    loader = data.DataLoader(
        Shifted(recipe.train, recipe.shift), batch_size=recipe.batch_size, shuffle=True
    )
    training.model.train()
    seen, right, total = 0, 0.0, 0.0
    for images, labels in loader:
        scores = training.model(images)
        loss = nn.functional.cross_entropy(scores, labels)
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
        training.schedule.step()
        value = loss.item()
        if not math.isfinite(value):
            raise TalwegError(
                f"the loss became {value} in epoch {number + 1}; a lower learning rate may help. "
                "The epochs before it are kept"
            )
        seen += len(labels)
        total += value * len(labels)
        right += float((scores.detach().argmax(1) == labels).sum().item())
        report(len(labels), total / seen, right / seen)
    chances = probabilities(training.model, recipe.held_out.pixels)
    labels = recipe.held_out.labels
    of_truth = chances[np.arange(len(labels)), labels]
    training.history.append(
        Epoch(
            total / seen,
            right / seen,
            float(-np.log(np.maximum(of_truth, 1e-12)).mean()),
            float((chances.argmax(1) == labels).mean()),
        )
    )


def probabilities(model: nn.Module, pixels: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """The probability of each class for each image, of shape (count, classes)."""
    model.eval()
    with tw.no_grad():
        parts = [
            nn.functional.softmax(model(tw.from_numpy(pixels[i : i + batch_size])), 1).numpy()
            for i in range(0, len(pixels), batch_size)
        ]
    return np.concatenate(parts)


# ---------------------------------------------------------------------------------------------
# what is seen and left behind


@contextmanager
def _progress(console: Any, total: int, done: int) -> Iterator[Callable[[str], Any]]:
    """Yield a function that takes the name of an epoch and returns its `report`."""
    rich = require("rich.progress", extra="cli")
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=24),
        rich.TextColumn("{task.percentage:>3.0f}%"),
        rich.TextColumn("loss {task.fields[loss]}"),
        rich.TextColumn("accuracy {task.fields[accuracy]}"),
        rich.TextColumn("{task.fields[speed]} samples/s"),
        rich.TimeRemainingColumn(compact=True),
        rich.TextColumn("left"),
    )
    with rich.Progress(*columns, console=console) as bar:
        dashes = {"loss": "-", "accuracy": "-", "speed": "-"}
        task = bar.add_task("", total=total, completed=done, **dashes)
        start, count = time.perf_counter(), 0

        def epoch(name: str) -> Callable[[int, float, float], None]:
            def report(images: int, loss: float, accuracy: float) -> None:
                nonlocal count
                count += images
                speed = f"{count / (time.perf_counter() - start):,.0f}"
                shown = {"loss": f"{loss:.3f}", "accuracy": f"{accuracy:.1%}", "speed": speed}
                bar.update(task, advance=images, description=name, **shown)

            return report

        yield epoch


def _resumed(path: Path, dataset: str, epochs: int, seed: int) -> dict[str, Any]:
    state = tw.load(path)
    wanted = {"dataset": dataset, "epochs": epochs, "seed": seed}
    found = state.get("run") if isinstance(state, dict) else None
    if found != wanted:
        raise InvalidValue(
            f"{path} continues a run with {found}, not with {wanted}; give the same settings, or "
            "another folder with --out"
        )
    return dict(state)


def run(
    dataset: str,
    epochs: int | None,
    out: Path,
    seed: int,
    data_dir: Path | None,
    resume: bool = False,
) -> None:
    """Train, save, load in a new process, and draw.

    `out` receives `model.safetensors`, `curves.png` and `mistakes.png`. After every epoch it also
    receives `checkpoint.safetensors`, from which an interrupted run continues to the same numbers.

    Args:
        dataset: `digits` or `fashion`.
        epochs: passes over the training set; None for the recipe's own number.
        out: folder; made if it does not exist.
        seed: the same seed gives the same numbers.
        data_dir: folder of the Fashion-MNIST files.
        resume: continue from the checkpoint in `out`.

    Raises:
        InvalidValue: for an unknown data set, or a checkpoint of another run.
        DataError: for missing or damaged files.
        KeyboardInterrupt: after Ctrl-C, when what is complete has been saved.
    """
    if dataset not in RECIPES:
        raise InvalidValue(f"there is no data set {dataset!r}; choose {' or '.join(RECIPES)}")
    console = require("rich.console", extra="cli").Console(highlight=False)
    recipe = RECIPES[dataset](data_dir)
    count = recipe.epochs if epochs is None else epochs
    checkpoint = out / "checkpoint.safetensors"
    training = begin(recipe, count, seed)
    if resume:
        training.load(_resumed(checkpoint, dataset, count, seed))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be made ({error.strerror}); choose --out") from None
    console.print(
        f"[bold]{recipe.title}[/bold]: {len(recipe.train.labels):,} images to learn from, "
        f"{len(recipe.held_out.labels):,} held out, "
        f"{sum(p.numel() for p in training.model.parameters()):,} parameters, seed {seed}",
        soft_wrap=True,
    )
    start = time.perf_counter()
    settings = {"dataset": dataset, "epochs": count, "seed": seed}
    # The matrices are small: BLAS is faster without threads, and by far on a busy machine.
    limits = require("threadpoolctl", extra="demo").threadpool_limits(1, user_api="blas")
    try:
        with limits:
            _train(training, settings, checkpoint, console)
    except BaseException:
        if training.history:
            draw_curves(training.history, out / "curves.png", f"{recipe.title}: interrupted")
            done = f"{len(training.history)} of {count} epochs are in {checkpoint}"
            text = f"{done}; --resume continues from there to the same numbers."
            console.print(text, soft_wrap=True)
        raise
    _finish(training, dataset, data_dir, out, console, time.perf_counter() - start)


def _train(training: Training, settings: dict[str, Any], checkpoint: Path, console: Any) -> None:
    size, epochs, seed = len(training.recipe.train.labels), settings["epochs"], settings["seed"]
    done = len(training.history)
    with _progress(console, epochs * size, done * size) as progress:
        for number in range(done + 1, epochs + 1):
            train_epoch(training, seed, progress(f"epoch {number}/{epochs}"))
            tw.save({"run": settings, **training.state()}, checkpoint)
            if not console.is_terminal:
                last = training.history[-1]
                console.print(
                    f"epoch {number}/{epochs}: loss {last.loss:.3f}, accuracy "
                    f"{last.accuracy:.1%}; held out {last.held_out_accuracy:.1%}"
                )


def _finish(
    training: Training, dataset: str, folder: Path | None, out: Path, console: Any, seconds: float
) -> None:
    recipe, last = training.recipe, training.history[-1]
    model = out / "model.safetensors"
    tw.save(training.model, model)
    chances = probabilities(training.model, recipe.held_out.pixels)
    answers = Answers(recipe.held_out.pixels[:, 0], recipe.held_out.labels, chances, recipe.names)
    title = f"{recipe.title}: {last.held_out_accuracy:.1%} of the held-out images are recognised"
    draw_curves(training.history, out / "curves.png", title)
    draw_mistakes(answers, out / "mistakes.png", f"{recipe.title}: the hardest images")
    elsewhere = predict_elsewhere(model, dataset, folder)
    if elsewhere != answers.said.tolist():
        wrong = sum(a != b for a, b in zip(elsewhere, answers.said.tolist(), strict=True))
        raise TalwegError(f"{model}, loaded in a new process, classifies {wrong} images otherwise")
    goal = GOAL.get(dataset)
    wrong = int((answers.said != answers.truth).sum())
    console.print(
        f"\nHeld-out accuracy [bold]{last.held_out_accuracy:.2%}[/bold]: {wrong:,} of "
        f"{len(answers.truth):,} images are mistaken, after {seconds:.0f} s of training.",
        soft_wrap=True,
    )
    if goal is not None and last.held_out_accuracy < goal:
        console.print(f"[yellow]That is less than {goal:.0%}: more epochs may help.[/yellow]")
    console.print("A new process loaded the model and gave the same answers.\n")
    for path, what in (
        (model, "the parameters"),
        (out / "curves.png", "loss and accuracy by epoch"),
        (out / "mistakes.png", "the images it finds hardest"),
    ):
        console.print(f"  {path}  [dim]{what}[/dim]", soft_wrap=True)


# ---------------------------------------------------------------------------------------------
# the other process


def predict_elsewhere(model: Path, dataset: str, folder: Path | None) -> list[int]:
    """The classes that a new process gives the held-out images, with the model of a file.

    Raises:
        TalwegError: when that process fails; the message holds what it wrote.
    """
    place = str(Path(tw.__file__).resolve().parents[1])
    paths = [place, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "talweg.tools.demo", str(model), dataset, str(folder or "")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TalwegError(f"the process that loads {model} failed:\n{done.stderr.strip()}")
    return list(json.loads(done.stdout))


def predict(model: Path, dataset: str, folder: Path | None) -> list[int]:
    """Load a model from its file and classify the held-out images.

    Raises:
        DataError: when the file is missing, damaged, or of another network.
    """
    recipe = RECIPES[dataset](folder)
    network = recipe.network()
    network.load_state_dict(tw.load(model))
    return [int(n) for n in probabilities(network, recipe.held_out.pixels).argmax(1)]


def main(arguments: Sequence[str]) -> None:
    """Write the classes of the held-out images to standard output.

    Args:
        arguments: the model's file, the data set, and the data set's folder or nothing.
    """
    model, dataset, folder = arguments
    print(json.dumps(predict(Path(model), dataset, Path(folder) if folder else None)))


if __name__ == "__main__":
    main(sys.argv[1:])
