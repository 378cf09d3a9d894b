"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from talweg.base.errors import DataError
from talweg.tools import cli, demo

ROOT = Path(__file__).parents[2]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["talweg", *arguments])
        with pytest.raises(SystemExit) as ending:
            cli.main()
    out, err = capsys.readouterr()
    return int(ending.value.code or 0), out, err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "import talweg as tw" in out
    assert "demo" in out
    assert "info" in out
    assert "bench" in out


def test_info_says_what_is_true_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TALWEG_NUM_THREADS", "3")
    monkeypatch.setenv("TALWEG_CACHE_DIR", str(tmp_path / "cache"))
    status, out, _ = run(capsys, "info")
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    rows = {words[0]: words[-1].strip() for words in lines if words}
    assert status == 0
    assert rows["threads"] == "3"
    assert rows["Python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert "LLVM" in rows["llvmlite"]
    assert cli.facts()["cache"] == f"{tmp_path / 'cache'} (not made yet)"


def test_threads_default_to_the_cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TALWEG_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 5}, raising=False)
    assert cli.facts()["threads"] == "2"


def test_a_wrong_setting_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALWEG_NUM_THREADS", "many")
    status, out, err = run(capsys, "info")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("talweg: TALWEG_NUM_THREADS='many'")


def test_demo_hands_its_options_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(demo, "run", lambda *options: calls.append(options))
    assert run(capsys, "demo")[0] == 0
    chosen = ("--data=fashion", "--epochs=3", "--seed=7", "--out=o", "--data-dir=d", "--resume")
    assert run(capsys, "demo", *chosen)[0] == 0
    assert calls == [
        ("digits", None, Path("demo-out"), 0, None, False),
        ("fashion", 3, Path("o"), 7, Path("d"), True),
    ]


@pytest.mark.parametrize(
    ("problem", "status", "line"),
    [
        (DataError("no images in d"), 1, "talweg: no images in d\n"),
        (KeyboardInterrupt(), 130, "talweg: interrupted\n"),
    ],
)
def test_demo_ends_with_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    problem: BaseException,
    status: int,
    line: str,
) -> None:
    def fail(*options: Any) -> None:
        raise problem

    monkeypatch.setattr(demo, "run", fail)
    assert run(capsys, "demo") == (status, "", line)


def test_a_defect_keeps_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*options: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(demo, "run", fail)
    monkeypatch.setattr(sys, "argv", ["talweg", "demo"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize("arguments", [["demo", "--epochs", "0"], ["demo", "--data", "x"], ["go"]])
def test_wrong_usage_exits_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert "Usage: talweg" in err


@pytest.mark.parametrize("missing", ["typer", "rich.table"])
def test_without_the_extra_it_says_how_to_install(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['talweg', 'info']\n"
        "from talweg.tools.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{missing.partition('.')[0]} is not installed" in done.stderr
    assert "pip install 'talweg[cli]'" in done.stderr


def test_the_package_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "talweg", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "talweg demo" in done.stdout
