"""`tw.fit`: what it trains, writes and goes on from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn, optim
from tests.training import program

F = nn.functional
ROOT = Path(__file__).parents[2]


def data(size: int = 8) -> Any:
    x = np.random.RandomState(0).randn(32, 3).astype("float32")
    y = x @ np.array([[1.0], [-2.0], [0.5]], "float32")
    return tw.data.DataLoader(tw.data.TensorDataset(tw.tensor(x), tw.tensor(y)), batch_size=size)


def line() -> nn.Linear:
    tw.manual_seed(1)
    return nn.Linear(3, 1)


def trained(size: int = 8, **options: Any) -> tuple[nn.Linear, Any]:
    model = line()
    sgd = optim.SGD(model.parameters(), lr=options.pop("lr", 0.1))
    options = {"epochs": 2, "progress": False, **options}
    return model, tw.fit(model, data(size), F.mse_loss, sgd, **options)


def test_steps_are_those_of_a_plain_loop() -> None:
    model, history = trained()
    plain, losses = line(), []
    sgd = optim.SGD(plain.parameters(), lr=0.1)
    for _ in range(2):
        found = []
        for x, y in data():
            sgd.zero_grad()
            loss = F.mse_loss(plain(x), y)
            loss.backward()
            sgd.step()
            found.append(loss.item())
        losses.append(np.mean(found))
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(model.weight.tolist(), plain.weight.tolist(), rtol=1e-5)
    assert history.stopped == "epochs"


def test_gradients_of_several_batches_are_those_of_one() -> None:
    few, _ = trained(4, accumulate=4)
    whole, _ = trained(16)
    np.testing.assert_allclose(few.weight.tolist(), whole.weight.tolist(), rtol=1e-5)


def test_a_rest_of_batches_is_a_step_too() -> None:
    steps: list[int] = []
    model = line()
    sgd = optim.SGD(model.parameters(), lr=0.1)
    sgd.register_step_post_hook(lambda *_: steps.append(1))
    tw.fit(model, data(), F.mse_loss, sgd, epochs=1, accumulate=3, progress=False)
    assert len(steps) == 2


def test_validation_metrics_and_the_curves(tmp_path: Path) -> None:
    metrics = {"distance": lambda y, t: (y - t).abs().mean()}
    _, history = trained(validation=data(7), metrics=metrics, epochs=4)
    names = ["epoch", "loss", "distance", "lr", "validation loss", "validation distance"]
    assert history.names == names
    assert history["validation loss"][-1] < history["validation loss"][0]
    assert history.best("validation loss")["epoch"] == 4
    assert "4 epochs" in repr(history)
    figure = history.draw(tmp_path / "curves.png")
    assert [len(ax.lines) for ax in figure.axes] == [2, 2, 1]
    assert (tmp_path / "curves.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="nothing"):
        history["nothing"]


def test_a_mean_over_samples_is_not_one_over_batches() -> None:
    model = line()
    found = tw.training.evaluate(model, data(20), F.mse_loss)
    x, y = next(iter(data(32)))
    np.testing.assert_allclose(found["loss"], F.mse_loss(model(x), y).item(), rtol=1e-5)
    assert model.training


def test_it_stops_when_nothing_gets_better() -> None:
    values = iter([3.0, 2.0, 2.5, 2.2, 1.0])
    _, history = trained(
        epochs=9,
        validation=[next(iter(data(32)))],
        metrics={"worth": lambda y, t: next(values) if not y.requires_grad else 0.0},
        monitor="validation worth",
        patience=2,
    )
    assert history["validation worth"] == [3.0, 2.0, 2.5, 2.2]
    assert history.stopped == "patience"


@pytest.mark.parametrize("each", ["epoch", "step"])
def test_schedules(each: str) -> None:
    model = line()
    sgd = optim.SGD(model.parameters(), lr=1e-3)
    schedule = optim.lr_scheduler.ExponentialLR(sgd, 0.5)
    options = {"scheduler": schedule, "scheduler_each": each, "progress": False}
    history = tw.fit(model, data(16), F.mse_loss, sgd, epochs=2, **options)
    assert history["lr"] == ([1e-3, 5e-4] if each == "epoch" else [2.5e-4, 6.25e-5])


def test_a_plateau_lowers_the_rate() -> None:
    model = line()
    sgd = optim.SGD(model.parameters(), lr=0.0)
    schedule = optim.lr_scheduler.ReduceLROnPlateau(sgd, patience=0, eps=0.0)
    sgd.param_groups[0]["lr"] = 1e-20
    history = tw.fit(model, data(16), F.mse_loss, sgd, epochs=3, scheduler=schedule, progress=False)
    np.testing.assert_allclose(history["lr"], [1e-20, 1e-20, 1e-21])


def test_mixed_precision_with_scaled_losses() -> None:
    scaler = tw.amp.GradScaler("cpu", init_scale=256.0)
    model, history = trained(dtype=tw.float16, scaler=scaler, epochs=8, clip=5.0)
    assert history["loss"][-1] < history["loss"][0] / 20
    assert model.weight.dtype is tw.float32


def test_one_killed_goes_on_bit_by_bit(tmp_path: Path) -> None:
    wanted = program.main(tmp_path / "whole")
    folder = tmp_path / "killed"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for after in (2, 9):  # steps: inside of the first epoch, and of the second
        run = subprocess.Popen([sys.executable, program.__file__, str(folder), "0.3"], env=env)
        limit = time.monotonic() + 120
        while time.monotonic() < limit and run.poll() is None:
            if steps_in(folder) >= after:
                break
            time.sleep(0.02)
        run.kill()
        run.wait()
        assert after <= steps_in(folder) < program.EPOCHS * program.BATCHES
    assert not list(folder.glob(".best*"))
    assert program.main(folder) == wanted


def steps_in(folder: Path) -> int:
    file = folder / "last.safetensors"
    return int(tw.load(file)["place"][2]) if file.exists() else 0


def test_ctrl_c_writes_and_the_next_call_goes_on(tmp_path: Path) -> None:
    wanted, whole = trained(epochs=3)
    calls: list[int] = []

    def interrupting(y: tw.Tensor, t: tw.Tensor) -> float:
        calls.append(1)
        if len(calls) == 6:
            signal.raise_signal(signal.SIGINT)
        return 0.0

    options = {"epochs": 3, "folder": tmp_path, "metrics": {"none": interrupting}}
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trained(**options)
    assert signal.getsignal(signal.SIGINT) is before
    assert steps_in(tmp_path) == 6
    model, history = trained(**options)
    assert model.weight.tolist() == wanted.weight.tolist()
    assert history["loss"] == whole["loss"]
    again, history = trained(**options)
    assert again.weight.tolist() == wanted.weight.tolist()
    assert len(history) == 3


def test_more_epochs_go_on_and_a_fresh_start_does_not(tmp_path: Path) -> None:
    wanted, _ = trained(epochs=4)
    trained(epochs=2, folder=tmp_path)
    model, history = trained(epochs=4, folder=tmp_path)
    assert model.weight.tolist() == wanted.weight.tolist()
    assert history["epoch"] == [1, 2, 3, 4]
    _, history = trained(epochs=1, folder=tmp_path, resume=False)
    assert len(history) == 1
    assert tw.load(tmp_path / "best.safetensors").keys() == {"weight", "bias"}


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    trained(epochs=1, folder=tmp_path)
    model = nn.Linear(3, 2)
    with pytest.raises(tw.TalwegError, match="another model"):
        tw.fit(model, data(), F.mse_loss, optim.SGD(model.parameters()), epochs=2, folder=tmp_path)
    with pytest.raises(tw.TalwegError, match="has no scaler"):
        trained(folder=tmp_path, scaler=tw.amp.GradScaler("cpu"))
    tw.save({"a": 1}, tmp_path / "last.safetensors")
    with pytest.raises(tw.TalwegError, match="not written by fit"):
        trained(folder=tmp_path)


def test_wrong_options() -> None:
    for wrong in ({"epochs": 0}, {"accumulate": 0}, {"mode": "best"}, {"scheduler_each": "day"}):
        with pytest.raises(ValueError, match=r"positive|mode"):
            trained(**wrong)
    with pytest.raises(ValueError, match="validation loss"):
        trained(monitor="validation loss")
    with pytest.raises(ValueError, match=r"the loss is (nan|inf)"):
        trained(lr=1e30, epochs=3)


def test_a_bar_and_lines(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    trained(progress=True)
    assert "epoch 2: loss" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    trained(progress=True)
    assert capsys.readouterr().out.startswith("epoch 1: loss")
