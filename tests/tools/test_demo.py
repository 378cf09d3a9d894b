"""The demonstration: it learns, leaves whole files behind, and loses nothing to Ctrl-C."""

from __future__ import annotations

import gzip
import os
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import DataError, InvalidValue, TalwegError
from talweg.tools import demo, viz

image = pytest.importorskip("PIL.Image")
pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[2]


def run(out: Path, epochs: int | None = 2, dataset: str = "digits", **options: Any) -> None:
    demo.run(dataset, epochs, out, **{"seed": 0, "data_dir": None, **options})


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer digits, so that an epoch is short."""

    def few(folder: Path | None) -> demo.Recipe:
        recipe = demo.digits(folder)
        train = demo.Images(recipe.train.pixels[:192], recipe.train.labels[:192])
        return replace(recipe, train=train)

    monkeypatch.setitem(demo.RECIPES, "digits", few)


def history(out: Path) -> list[dict[str, float]]:
    found: list[dict[str, float]] = tw.load(out / "checkpoint.safetensors")["history"]
    return found


@pytest.mark.slow
def test_digits_are_learned_and_the_model_is_the_same_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, epochs=None)
    text = capsys.readouterr().out
    accuracy = re.search(r"Held-out accuracy ([\d.]+)%", text)
    assert accuracy is not None
    assert float(accuracy[1]) >= 98
    assert "A new process loaded the model and gave the same answers" in text
    for name in ("model.safetensors", "curves.png", "mistakes.png"):
        assert name in text
    for name in ("curves.png", "mistakes.png"):
        with image.open(tmp_path / name) as picture:
            picture.load()
            assert picture.width > 800
            assert np.asarray(picture.convert("L")).std() > 5
    recipe = demo.digits(None)
    model = recipe.network()
    model.load_state_dict(tw.load(tmp_path / "model.safetensors"))
    chances = demo.probabilities(model, recipe.held_out.pixels)
    assert np.mean(chances.argmax(1) == recipe.held_out.labels) >= 0.98


@pytest.mark.usefixtures("small")
def test_an_interrupted_run_resumes_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(whole)
    train = demo.train_epoch

    def interrupted(training: demo.Training, seed: int, report: Any) -> None:
        steps = 0

        def count(*values: Any) -> None:
            nonlocal steps
            steps += 1
            if training.history and steps == 2:
                raise KeyboardInterrupt

        train(training, seed, count)

    with monkeypatch.context() as patch:
        patch.setattr(demo, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(cut)
    assert "1 of 2 epochs are in" in capsys.readouterr().out
    assert sorted(p.name for p in cut.iterdir()) == ["checkpoint.safetensors", "curves.png"]
    assert history(cut) == history(whole)[:1]
    run(cut, resume=True)
    assert history(cut) == history(whole)
    first, second = (tw.load(folder / "model.safetensors") for folder in (whole, cut))
    assert list(first) == list(second)
    for name, value in first.items():
        np.testing.assert_array_equal(value.numpy(), second[name].numpy())


@pytest.mark.usefixtures("small")
def test_the_seed_decides(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path / name, epochs=1, seed=seed)
    assert history(tmp_path / "a") == history(tmp_path / "b") != history(tmp_path / "c")


@pytest.mark.usefixtures("small")
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path, epochs=1)
    with pytest.raises(InvalidValue, match=r"'seed': 0.*'seed': 5"):
        run(tmp_path, epochs=1, seed=5, resume=True)
    with pytest.raises(DataError, match="there is no such file"):
        run(tmp_path / "other", resume=True)


@pytest.mark.usefixtures("small")
def test_a_loss_that_is_no_number_ends_the_run_and_keeps_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = demo.train_epoch

    def spoiled(training: demo.Training, *rest: Any) -> None:
        if training.history:
            training.recipe.train.pixels[:] = np.nan
        train(training, *rest)

    monkeypatch.setattr(demo, "train_epoch", spoiled)
    with pytest.raises(TalwegError, match="loss became nan in epoch 2"):
        run(tmp_path)
    assert len(history(tmp_path)) == 1
    assert (tmp_path / "curves.png").exists()


def test_shifted_images_hold_the_image_at_every_place() -> None:
    pixels = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    moved = demo.Shifted(demo.Images(pixels, np.array([4])), 1)
    found = {moved[0][0].tobytes() for _ in range(200)}
    padded = np.pad(pixels[0, 0], 1)
    wanted = {padded[i : i + 3, j : j + 3].tobytes() for i in range(3) for j in range(3)}
    assert found == wanted
    assert moved[0][1] == 4


def write_fashion(root: Path, count: int) -> None:
    """Files in the format of Fashion-MNIST: class n is bright in row 2n."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.RandomState(0)
    for part in ("train", "t10k"):
        labels = rng.randint(0, 10, count).astype(np.uint8)
        images = rng.randint(0, 60, (count, 28, 28)).astype(np.uint8)
        images[np.arange(count), 2 * labels + 3] = 255
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            path = root / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(head + array.tobytes(), 1))


def test_fashion_reads_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fashion(tmp_path / "data" / "fashion-mnist", 256)
    monkeypatch.setenv("TALWEG_DATA", str(tmp_path / "data"))
    run(tmp_path / "out", epochs=1, dataset="fashion")
    assert (tmp_path / "out" / "mistakes.png").exists()
    monkeypatch.delenv("TALWEG_DATA")
    run(tmp_path / "two", 1, "fashion", data_dir=tmp_path / "data" / "fashion-mnist")
    assert history(tmp_path / "two") == history(tmp_path / "out")


def test_missing_data_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"download the four files .*--data-dir or TALWEG_DATA"):
        run(tmp_path / "out", dataset="fashion", data_dir=tmp_path / "absent")
    with pytest.raises(InvalidValue, match="choose digits or fashion"):
        run(tmp_path / "out", dataset="letters")
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_is_an_error_of_the_other_process(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tw.save(demo.digits(None).network(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TalwegError, match="truncated"):
        demo.predict_elsewhere(path, "digits", None)


def test_the_example_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "digits.py"), "--epochs", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    last = re.findall(r"epoch 2: ([\d.]+)%", done.stdout)
    assert float(last[0]) > 80
    assert "2.weight" in tw.load(tmp_path / "digits.safetensors")


def test_the_hardest_come_first_and_mistakes_before_the_rest() -> None:
    chances = np.array([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8], [0.6, 0.4], [0.05, 0.95]])
    answers = viz.Answers(np.zeros((5, 2, 2)), np.array([0, 0, 0, 0, 1]), chances, "ab")
    assert answers.said.tolist() == [0, 1, 1, 0, 1]
    assert answers.hardest(4).tolist() == [2, 1, 3, 0]


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_curves_are_drawn_for_any_number_of_epochs(tmp_path: Path, epochs: int) -> None:
    shown = [viz.Epoch(1 / (i + 1), 1 - 0.5 / (i + 1), 0.9 / (i + 1), 1.0) for i in range(epochs)]
    viz.draw_curves(shown, tmp_path / "curves.png", "Title")
    with image.open(tmp_path / "curves.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def test_without_an_epoch_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no epoch"):
        viz.draw_curves([], tmp_path / "curves.png", "Title")
