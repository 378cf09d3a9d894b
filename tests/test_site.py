"""The site is built: pages, the reference, pictures, and what the notebook shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]


def made(name: str) -> ModuleType:
    """A module of docs/made, which is no package that is installed."""
    spec = spec_from_file_location(name, ROOT / "docs" / "made" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_all_layers_with_what_they_say() -> None:
    text = made("reference").page("talweg.nn")
    assert "tw.nn.Linear(in_features: int, out_features: int, bias: bool = True" in text
    assert "- `kernel_size`: the window; this and the next three are one int" in text
    assert "```pycon\n>>> import talweg as tw\n" in text


def test_signatures_show_tensors_and_no_builder() -> None:
    text = made("reference").page("talweg")
    assert "tw.conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None" in text
    signatures = [line for line in text.splitlines() if line.startswith("tw.")]
    assert len(signatures) > 400
    assert [s for s in signatures if "Node" in s or "Builder" in s or " at 0x" in s] == []


def test_every_picture_of_a_page_exists_and_is_drawn() -> None:
    figures = made("pictures")
    pages = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs").rglob("*.md"))
    for name in figures.FIGURES:
        assert f"<!-- picture: {name} -->" in pages
        drawn = ElementTree.fromstring(figures.figure(name))
        assert drawn.findall(".//{http://www.w3.org/2000/svg}rect")
    assert pages.count("<!-- picture: ") == len(figures.FIGURES)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_the_notebook_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    passes = tmp_path.joinpath("how-it-works", "passes", "index.html").read_text(encoding="utf-8")
    assert '<figure><div class="picture"><svg' in passes
    assert "<!-- picture" not in passes
    assert "talweg/passes/pipeline.py" not in passes  # links lead to pages of the site alone
    reference = tmp_path.joinpath("reference", "talweg.optim", "index.html")
    assert "AdamW" in reference.read_text(encoding="utf-8")
    notebook = tmp_path.joinpath("notebooks", "look-inside", "index.html")
    seen = notebook.read_text(encoding="utf-8")
    assert seen.count("data:image/png;base64") == 2
    assert "kernels, " in seen
    assert re.search(
        r"\n\S[^\n]* 5 +[\d.]+ \S+ +[\d.]+% ", seen
    )  # a kernel of all five steps, timed
