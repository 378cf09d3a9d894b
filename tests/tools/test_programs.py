"""Programs that are watched from the command line run as they do alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from talweg.tools import cli, programs

PROGRAM = """\
import sys
import talweg as tw
import beside
if __name__ == "__main__":
    x = tw.ones(beside.SIZE, 200)
    for _ in range(int(sys.argv[2])):
        print((x.exp() @ x.T).sum().item() > 0, sys.argv[1:])
    if sys.argv[1] == "--fail":
        sys.exit(7)
    if sys.argv[1] == "--raise":
        raise KeyError("its own")
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("SIZE = 150\n")
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


@pytest.fixture(autouse=True)
def _no_module_stays() -> None:
    sys.modules.pop("beside", None)


def command(*arguments: object) -> int:
    """Run the command; return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["talweg", *map(str, arguments)])
        with pytest.raises(SystemExit) as ending:
            cli.main()
    return int(ending.value.code or 0)


def test_profile_runs_the_program_and_shows_its_kernels(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, page = tmp_path / "trace.json", tmp_path / "page.html"
    before = list(sys.path), list(sys.argv)
    status = command("profile", "--trace", trace, "--html", page, program, "--rows", 3)
    assert (list(sys.path), list(sys.argv)) == before
    assert status == 0
    out = capsys.readouterr().out
    assert out.count("True ['--rows', '3']") == 3
    (line,) = (text for text in out.splitlines() if "dot" in text)
    assert line.split()[1] == "3", "the kernel ran three times"
    assert "recording and Python" in out
    kernels = [e for e in json.loads(trace.read_text())["traceEvents"] if e.get("cat") == "kernel"]
    assert len([k for k in kernels if "dot" in k["name"]]) == 3
    assert "program.py:7" in page.read_text()


def test_explain_runs_the_program_and_shows_its_plans(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert command("explain", "--html", page, program, "--x", 2) == 0
    out = capsys.readouterr().out
    assert out.count("True ['--x', '2']") == 2
    assert f"item() at {program}:7" in out
    assert "run 2 times" in out
    assert "<svg" in page.read_text()


def test_the_end_of_the_program_is_the_end_of_the_command(
    program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("profile", "explain"):
        sys.modules.pop("beside", None)
        assert command(name, program, "--fail", 1) == 7
        assert "dot" in capsys.readouterr().out, "what was seen is told"
    with pytest.raises(KeyError, match="its own"):
        programs.explain_program(program, ["--raise", "1"])
    assert "dot" in capsys.readouterr().out


def test_a_program_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("profile", tmp_path / "none.py") == 2
    plain = "".join(c for c in capsys.readouterr().err if c.isalnum() or c in "._")
    assert "none.py" in plain, "a long path is broken into lines within a frame"


def test_tune_runs_the_program_and_searches_schedules(
    program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("tune", "--schedules", 2, "--seconds", 1, program, "--x", 2) == 0
    out = capsys.readouterr().out
    assert out.count("True ['--x', '2']") == 2
    assert "times faster" in out


TORCH_PROGRAM = """\
import pickle
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable
from torchvision import transforms

import beside


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return F.relu(self.layer(x))


if __name__ == "__main__":
    loss = Net()(Variable(torch.ones(1, 2))).sum()
    assert type(pickle.loads(pickle.dumps(Net()))) is Net
    print(type(loss.data[0]).__name__, __file__, sys.argv[1:], sys.path[0] != "")
    if "--fail" in sys.argv:
        sys.exit(7)
    if "--raise" in sys.argv:
        raise KeyError("its own")
    if "--missing" in sys.argv:
        from torch.nn import Liner
"""


def run_alone(folder: Path, *arguments: str, how: str = "run") -> subprocess.CompletedProcess[str]:
    root = str(Path(cli.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "talweg.tools.cli", how, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_run_gives_programs_talwegs_torch(program: Path) -> None:
    (program.parent / "net.py").write_text(TORCH_PROGRAM)
    done = run_alone(program.parent, "net.py", "--help", "-m", "x")
    assert done.stderr == ""
    assert done.stdout == "float net.py ['--help', '-m', 'x'] True\n"
    assert run_alone(program.parent, "net.py", "--fail").returncode == 7
    (program.parent / "pkg").mkdir()
    (program.parent / "pkg" / "__init__.py").touch()
    (program.parent / "pkg" / "__main__.py").write_text(TORCH_PROGRAM)
    done = run_alone(program.parent, "-m", "pkg", "7")
    assert done.stdout.endswith("__main__.py ['7'] True\n")


def test_programs_for_torch_are_watched_too(program: Path) -> None:
    (program.parent / "net.py").write_text(TORCH_PROGRAM)
    for how, shown in (("profile", "recording and Python"), ("explain", "kernel")):
        done = run_alone(program.parent, "net.py", "x", how=how)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("float net.py ['x'] True\n")
        assert shown in done.stdout


def test_run_shows_the_programs_own_traceback(program: Path) -> None:
    (program.parent / "net.py").write_text(TORCH_PROGRAM)
    done = run_alone(program.parent, "net.py", "--raise")
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert lines[1].startswith('  File "net.py", line ')
    assert lines[-1] == "KeyError: 'its own'"
    assert "talweg" not in done.stderr
    done = run_alone(program.parent, "net.py", "--missing")
    assert "torch.nn.Liner is not in talweg; the nearest name is torch.nn.Linear" in done.stderr
    done = run_alone(program.parent, "none.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "none.py" in done.stderr


SPAWNING = """\
import torch
import torch.multiprocessing as mp

def work(rank, model, answers):
    with torch.no_grad():
        answers.put((rank, model(torch.ones(1, 2)).sum().item()))

if __name__ == "__main__":
    mp.set_start_method("spawn", force=True)
    model, answers = torch.nn.Linear(2, 1), mp.Queue()
    process = mp.Process(target=work, args=(3, model, answers))
    process.start()
    rank, found = answers.get(timeout=60)
    process.join()
    assert abs(found - model(torch.ones(1, 2)).item()) < 1e-6
    print("rank", rank)
"""


def test_processes_that_a_program_spawns_have_its_front_ends(tmp_path: Path) -> None:
    file = tmp_path / "spawning.py"
    file.write_text(SPAWNING)
    line = [sys.executable, "-m", "talweg.tools.cli", "run", str(file)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "rank 3"), done.stderr
