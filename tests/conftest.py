"""What every test runs under: one BLAS thread, fixed seeds, markers by folder."""

from __future__ import annotations

import os

# Read by NumPy's BLAS when it is first loaded; the runner's workers are the parallelism.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from pathlib import Path  # noqa: E402

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

import talweg as tw  # noqa: E402

# `make test` tries the same examples every time; HYPOTHESIS_PROFILE=explore looks for new ones.
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    peer = Path(__file__).parent / "peer"
    for item in items:
        if item.path.is_relative_to(peer):
            item.add_marker(pytest.mark.peer)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    np.random.seed(0)
    tw.manual_seed(0)
