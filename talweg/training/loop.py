"""The training loop, with what every program adds to it: progress, files, going on, stopping."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from talweg.base.dtypes import DType
from talweg.base.errors import DataError, InvalidValue
from talweg.engine.autocast import autocast
from talweg.engine.modes import no_grad, steady
from talweg.engine.tensor import Tensor
from talweg.nn.clip import clip_grad_norm_
from talweg.nn.module import Module
from talweg.nn.state import load, save
from talweg.optim.lr_scheduler import ReduceLROnPlateau
from talweg.optim.optimizer import Optimizer
from talweg.optim.scaling import GradScaler
from talweg.optim.swa_utils import AveragedModel
from talweg.training.chance import go_on, positions
from talweg.training.history import History
from talweg.training.shown import shown

Loss = Callable[[Any, Any], Any]
Metrics = Mapping[str, Loss]
FORMAT = 1
LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True)
class Options:
    """How `fit` trains.

    Args:
        epochs: how many in all, those before going on included.
        validation: batches for a loss, and metrics, after each epoch.
        metrics: functions of outputs and targets, by name; their mean over the samples counts.
        scheduler: whose `step` is called after each epoch.
        scheduler_each: "step" to call it after each step of the optimizer instead.
        accumulate: over how many batches gradients are added up, each divided by that number.
        clip: the largest norm of all gradients together.
        dtype: bfloat16 or float16, for a region of autocast around model and loss.
        scaler: scales losses.
        ema: an average of the model, updated after each step; it is what is validated.
        folder: where files are written. The best model alone is in `best.safetensors`.
        every: how many steps of the optimizer lie between files; an epoch unless given.
        resume: False starts anew, whatever the folder holds.
        monitor: the number that says which epoch is best; "validation loss" unless given, or
            "loss" without validation.
        mode: "min", or "max" where larger is better.
        patience: stop after so many epochs in a row without a better one.
        progress: show a bar, or lines where `rich` is not installed.

    Raises:
        InvalidValue: for numbers that are not positive, and words that are not those above.
    """

    epochs: int
    validation: Iterable[Any] | None = None
    metrics: Metrics | None = None
    scheduler: Any = None
    scheduler_each: str = "epoch"
    accumulate: int = 1
    clip: float | None = None
    dtype: DType | None = None
    scaler: GradScaler | None = None
    ema: AveragedModel | None = None
    folder: str | os.PathLike[str] | None = None
    every: int | None = None
    resume: bool = True
    monitor: str | None = None
    mode: str = "min"
    patience: int | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if self.scheduler_each not in ("epoch", "step") or self.mode not in ("min", "max"):
            raise InvalidValue('scheduler_each is "epoch" or "step", mode is "min" or "max"')
        for name in ("epochs", "accumulate", "every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidValue(f"{name} must be positive, got {value}")


def fit(
    model: Module,
    data: Iterable[Any],
    loss: Loss,
    optimizer: Optimizer,
    *,
    epochs: int,
    **options: Any,
) -> History:
    """Train a model, and return what each epoch gave.

    Batches are `(*inputs, target)`, or one Tensor that is both. Each is a step: `model(*inputs)`,
    `loss(output, target)`, its gradients and `optimizer.step()`. Give `tw.compile(model)` to replay
    the model.

    With `folder=`, everything is in `last.safetensors` there after each epoch, each `every=` steps,
    and after Ctrl-C, which raises KeyboardInterrupt when the step is done. Called again, `fit` goes
    on from there: parameters become bit by bit what they would have become, given the same model,
    data and options. `data` is then read again from the epoch's beginning, without training.

    Args:
        model: a Module.
        data: gives batches; it is iterated once for each epoch.
        loss: of outputs and targets, a Tensor with one element.
        optimizer: of the model's parameters.
        epochs: how many in all, those before going on included.
        options: `validation`, `metrics`, `scheduler`, `scheduler_each`, `accumulate`, `clip`,
            `dtype`, `scaler`, `ema`, `folder`, `every`, `resume`, `monitor`, `mode`, `patience` and
            `progress`; see `tw.training.Options`.

    >>> tw.manual_seed(0).initial_seed()
    0
    >>> x = tw.randn(64, 3)
    >>> data = tw.data.DataLoader(tw.data.TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16)
    >>> model = tw.nn.Linear(3, 1)
    >>> history = tw.fit(model, data, tw.nn.functional.mse_loss,
    ...                  tw.optim.SGD(model.parameters(), lr=0.1), epochs=5, progress=False)
    >>> history["loss"][-1] < history["loss"][0] / 10
    True

    Raises:
        TypeError: for an option that is not there.
        InvalidValue: for wrong options, and a loss that is NaN or infinite without a scaler.
        DataError: when the folder holds a file of another kind, or of another model.
        KeyboardInterrupt: after Ctrl-C.
    """
    run = _Run(model, data, loss, optimizer, Options(epochs, **options))
    try:
        with steady(), run.interruptible():
            return run.all()
    finally:
        run.shown.close()


def evaluate(
    model: Module, data: Iterable[Any], loss: Loss | None = None, metrics: Metrics | None = None
) -> dict[str, float]:
    """Return the mean loss, and the means of metrics, over batches; gradients are not taken.

    Args:
        model: in evaluation mode while this runs.
        data, loss, metrics: as for `fit`.
    """
    wanted = {**({} if loss is None else {"loss": loss}), **(metrics or {})}
    sums = _Sums()
    training = model.training
    model.eval()
    try:
        with no_grad():
            for batch in data:
                inputs, target = _parts(batch)
                output = model(*inputs)
                sums.add({k: f(output, target) for k, f in wanted.items()}, _count(target))
    finally:
        model.train(training)
    return sums.means()


def _parts(batch: Any) -> tuple[tuple[Any, ...], Any]:
    if isinstance(batch, list | tuple):
        *inputs, target = batch
        return tuple(inputs), target
    return (batch,), batch


def _count(target: Any) -> int:
    return len(target) if isinstance(target, Tensor) and target.dim() else 1


@final
class _Sums:
    """Sums over samples, for means."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, float] = {}

    def add(self, values: Mapping[str, Any], count: int) -> None:
        self.count += count
        for name, value in values.items():
            number = value.item() if isinstance(value, Tensor) else float(value)
            self.sums[name] = self.sums.get(name, 0.0) + number * count

    def means(self) -> dict[str, float]:
        return {name: total / max(self.count, 1) for name, total in self.sums.items()}


@final
class _Run:
    """One call of `fit`: its options, and how far it is."""

    def __init__(
        self,
        model: Module,
        data: Iterable[Any],
        loss: Loss,
        optimizer: Optimizer,
        options: Options,
    ) -> None:
        self.model, self.data, self.loss, self.optimizer = model, data, loss, optimizer
        self.options = options
        self.metrics = dict(options.metrics or {})
        self.scheduler, self.scaler, self.ema = options.scheduler, options.scaler, options.ema
        self.folder = None if options.folder is None else Path(options.folder)
        self.monitor = options.monitor or (
            "loss" if options.validation is None else "validation loss"
        )
        self.shown = shown(options.progress)
        found = getattr(data, "generator", None)
        self.generators = [] if found is None else [found]
        self.history = History()
        self.sums = _Sums()
        self.epoch = self.batch = self.steps = self.waited = 0
        self.best = math.inf
        self.start: dict[str, Any] | None = None  # of the epoch
        self.now: dict[str, Any] | None = None  # where a file says that it was written
        self.interrupted = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C wait for the end of a step; a second one does not wait."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def later(number: int, frame: Any) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, later)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def all(self) -> History:
        """Train for all epochs."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.options.resume and (self.folder / LAST).exists():
                self.read(self.folder / LAST)
        while self.epoch < self.options.epochs and not self.history.stopped:
            self.one()
        self.history.stopped = self.history.stopped or "epochs"
        return self.history

    def one(self) -> None:
        """Train for an epoch, or for what is left of it."""
        if self.start is None:
            self.start = positions(self.generators)
        else:
            go_on(self.start, self.generators)
        total = len(self.data) if isinstance(self.data, Sized) else None
        self.shown.begin(self.epoch + 1, self.options.epochs, total, self.batch)
        self.model.train()
        batches = iter(self.data)
        for _ in range(self.batch):
            next(batches)
        if self.now is not None:
            go_on(self.now, self.generators)
            self.now = None
        self.optimizer.zero_grad()
        open_batches = 0
        for batch in batches:
            self.gradients(batch)
            self.batch += 1
            open_batches += 1
            if open_batches == self.options.accumulate:
                self.step()
                open_batches = 0
                self.between()
        if open_batches:
            self.step()
        self.end()

    def gradients(self, batch: Any) -> None:
        """Add the gradients of a batch."""
        inputs, target = _parts(batch)
        region: AbstractContextManager[Any] = nullcontext()
        if self.options.dtype is not None:
            region = autocast("cpu", dtype=self.options.dtype)
        with region:
            output = self.model(*inputs)
            value = self.loss(output, target)
        part = value / self.options.accumulate if self.options.accumulate > 1 else value
        (part if self.scaler is None else self.scaler.scale(part)).backward()
        number = value.item()
        if self.scaler is None and not math.isfinite(number):
            raise InvalidValue(
                f"the loss is {number} at batch {self.batch + 1} of epoch {self.epoch + 1}"
            )
        found = {"loss": number}
        with no_grad():
            found.update((name, f(output, target)) for name, f in self.metrics.items())
        self.sums.add(found, _count(target))
        self.shown.step(number)

    def step(self) -> None:
        """Step the optimizer, and what goes with it."""
        if self.options.clip is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            clip_grad_norm_(self.model.parameters(), self.options.clip)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        if self.scheduler is not None and self.options.scheduler_each == "step":
            self.scheduler.step()
        self.steps += 1

    def between(self) -> None:
        """Write a file where it is time to; stop after Ctrl-C."""
        if self.interrupted or (
            self.options.every is not None and self.steps % self.options.every == 0
        ):
            self.write()
        if self.interrupted:
            raise KeyboardInterrupt

    def end(self) -> None:
        """Close an epoch: judge, step the scheduler, write."""
        row: dict[str, Any] = {"epoch": self.epoch + 1, **self.sums.means()}
        row["lr"] = float(self.optimizer.param_groups[0]["lr"])
        judged: Module = self.model if self.ema is None else self.ema.module
        if self.options.validation is not None:
            found = evaluate(judged, self.options.validation, self.loss, self.metrics)
            row.update((f"validation {name}", value) for name, value in found.items())
        self.history.rows.append(row)
        if self.monitor not in row:
            raise InvalidValue(f"monitor: there is no {self.monitor!r}, only {', '.join(row)}")
        if self.scheduler is not None and self.options.scheduler_each == "epoch":
            plateau = isinstance(self.scheduler, ReduceLROnPlateau)
            self.scheduler.step(*([row[self.monitor]] if plateau else []))
        value = row[self.monitor] * (-1 if self.options.mode == "max" else 1)
        self.waited += 1
        if value < self.best:
            self.best, self.waited = value, 0
            if self.folder is not None:
                save(judged, self.folder / BEST)
        if self.options.patience is not None and self.waited >= self.options.patience:
            self.history.stopped = "patience"
        self.epoch, self.batch, self.sums, self.start = self.epoch + 1, 0, _Sums(), None
        self.write()
        self.shown.end(row)
        if self.interrupted:
            raise KeyboardInterrupt

    # -- files

    def parts(self) -> dict[str, Any]:
        """What has a state beside the model."""
        found = {
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "scaler": self.scaler,
            "ema": self.ema,
        }
        return {name: part for name, part in found.items() if part is not None}

    def write(self) -> None:
        """Write everything to a file, which takes the place of the last one when it is whole."""
        if self.folder is None:
            return
        state = {
            "format": FORMAT,
            "model": self.model.state_dict(),
            **{name: part.state_dict() for name, part in self.parts().items()},
            "place": [self.epoch, self.batch, self.steps, self.waited, self.best],
            "sums": [self.sums.count, self.sums.sums],
            "rows": self.history.rows,
            "stopped": self.history.stopped,
            "start": self.start,
            "now": positions(self.generators),
        }
        save(state, self.folder / LAST)

    def read(self, path: Path) -> None:
        """Go on from a file."""
        state = load(path)
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise DataError(f"{path}: was not written by fit; remove it, or give resume=False")
        missing = [name for name in self.parts() if name not in state]
        if missing:
            raise DataError(f"{path}: has no {missing[0]}; give resume=False to start anew")
        try:
            self.model.load_state_dict(state["model"])
            for name, part in self.parts().items():
                part.load_state_dict(state[name])
        except (RuntimeError, KeyError) as error:
            raise DataError(f"{path}: is that of another model or optimizer: {error}") from error
        self.epoch, self.batch, self.steps, self.waited, self.best = state["place"]
        self.sums.count, self.sums.sums = state["sums"]
        self.history = History(state["rows"], state["stopped"])
        self.start, self.now = state["start"], state["now"]
        if self.start is None:  # between epochs
            go_on(state["now"], self.generators)
            self.now = None
