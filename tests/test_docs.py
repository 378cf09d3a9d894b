"""The documents are true: every Python block and every docstring example runs.

The blocks of one Markdown file share one namespace, top to bottom, in an empty folder.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import talweg as tw

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "talweg").rglob("*.py")
)
FENCE = re.compile(
    r"^(?P<marks>```+)(?P<label>[^\n`]*)\n(?P<body>.*?)^(?P=marks)[ ]*$", re.M | re.S
)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def python_blocks(text: str) -> Iterator[tuple[int, str]]:
    """The line number and the source of each Python block of a Markdown text."""
    for fence in FENCE.finditer(text):
        words = fence["label"].split()
        if words[:1] in (["python"], ["py"], ["pycon"]):
            line = text.count("\n", 0, fence.start()) + 1
            assert words == ["python"], f"line {line}: mark it ```python alone, so that it runs"
            yield line, fence["body"]


def run_page(path: Path) -> dict[str, Any]:
    """Run the blocks of a page as one module; return its names."""
    page = ModuleType("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "page", page)  # a dataclass looks its module up
        for line, body in python_blocks(path.read_text(encoding="utf-8")):
            # Empty lines in front make a traceback name the line of the page.
            exec(compile("\n" * line + body, str(path), "exec"), vars(page))
    return vars(page)


def docstring_failures(module: ModuleType) -> str:
    """Run the examples of one module; return what went wrong."""
    tw = importlib.import_module("talweg")
    runner = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
    report = io.StringIO()
    for case in doctest.DocTestFinder(recurse=True).find(module, module.__name__):
        case.globs.update(tw=tw, np=np)
        runner.run(case, out=report.write)
    return report.getvalue()


def undocumented(module: ModuleType) -> list[str]:
    """Public items defined in the module without a docstring, their own or an inherited one."""
    missing = [] if module.__doc__ else [module.__name__]
    for name, item in vars(module).items():
        if name.startswith("_") or getattr(item, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(item) and not inspect.getdoc(item):
            missing.append(name)
        if inspect.isclass(item):
            missing += [] if item.__doc__ else [name]
            missing += [
                f"{name}.{attribute}"
                for attribute, value in vars(item).items()
                if not attribute.startswith("_")
                and isinstance(value, DOCUMENTED)
                and not any(vars(base).get(attribute).__doc__ for base in item.__mro__)
            ]
    return missing


DOCUMENTED = (type(undocumented), classmethod, staticmethod, property)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_python_block_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(path)


def test_the_readme_runs_and_its_program_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_page(README)
    assert names["accuracy"] > 0.95
    assert capsys.readouterr().out.startswith("loss 0.")


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tw.Tensor, "__getitem__", tw.Tensor.__getitem__)  # a Variable changes it
    report = docstring_failures(importlib.import_module(name))
    if report:
        pytest.fail(report, pytrace=False)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_item_is_documented(name: str) -> None:
    assert undocumented(importlib.import_module(name)) == []


def test_links_between_pages_lead_somewhere() -> None:
    dead = [
        f"{path.name}: {target}"
        for path in [README, *PAGES]
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert dead == []


def test_a_failing_block_is_reported_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\n```\n\n```python\nx += 1\nassert x == 3\n```\n")
    with pytest.raises(AssertionError) as failure:
        run_page(page)
    assert failure.traceback[-1].lineno == 8
    assert failure.traceback[-1].path == page


def test_a_block_that_asks_not_to_run_is_refused() -> None:
    with pytest.raises(AssertionError, match="line 2"):
        list(python_blocks("\n```python no-run\nx\n```\n"))


def test_a_wrong_example_and_a_missing_docstring_are_found(tmp_path: Path) -> None:
    module = ModuleType("made_up", "A module.\n\n>>> 1 + 1\n3\n")
    exec("class A:\n    '''An A.'''\n    def f(self): ...\ndef g(): ...\n", vars(module))
    for item in ("A", "g"):
        getattr(module, item).__module__ = "made_up"
    assert undocumented(module) == ["A.f", "g"]
    assert "Expected:\n    3\nGot:\n    2" in docstring_failures(module)
