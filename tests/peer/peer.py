"""One call made twice: through talweg and through PyTorch, values and gradients compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import talweg as tw

torch: Any = pytest.importorskip("torch")

ROUNDING = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-5, "float64": 1e-11}


@dataclass(frozen=True)
class Case:
    """A call `call(T, *inputs)`, where T is `talweg` or `torch`.

    Args:
        name: of the test.
        call: makes the call; names are the same in both libraries.
        inputs: NumPy arrays.
        gradient: compare gradients of the floating inputs.
        slack: multiplies the allowed rounding, for long sums and ill-conditioned functions.
    """

    name: str
    call: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    gradient: bool = True
    slack: float = 1.0


class Inputs:
    """Draws inputs from a fixed stream."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.RandomState(seed)

    def real(self, *shape: int, dtype: str = "float32") -> np.ndarray:
        """Return normal numbers."""
        return np.asarray(self.random.standard_normal(shape)).astype(dtype)

    def positive(self, *shape: int) -> np.ndarray:
        """Return numbers from 0.2 to 2.2."""
        return np.asarray(self.random.rand(*shape) * 2 + 0.2).astype("float32")

    def unit(self, *shape: int) -> np.ndarray:
        """Return numbers from -0.9 to 0.9."""
        return np.asarray(self.random.rand(*shape) * 1.8 - 0.9).astype("float32")

    def probability(self, *shape: int) -> np.ndarray:
        """Return numbers from 0.05 to 0.95."""
        return np.asarray(self.random.rand(*shape) * 0.9 + 0.05).astype("float32")

    def whole(self, *shape: int, low: int = 0, high: int = 5, dtype: str = "int64") -> np.ndarray:
        """Return integers from low to high - 1."""
        return np.asarray(self.random.randint(low, high, shape)).astype(dtype)

    def truth(self, *shape: int) -> np.ndarray:
        """Return booleans."""
        return np.asarray(self.random.rand(*shape) > 0.5)


def flat(result: Any) -> list[Any]:
    """Return the Tensors of a result, in order."""
    if isinstance(result, tw.Tensor | torch.Tensor):
        return [result]
    if isinstance(result, list | tuple):
        return [t for part in result for t in flat(part)]
    return []


def differs(t: Any) -> bool:
    """Return whether a Tensor can require gradients."""
    return bool(t.is_floating_point() or t.is_complex())


def array_of(t: Any) -> np.ndarray:
    """Return a Tensor of either library as float64, int64, complex128 or bool."""
    if isinstance(t, tw.Tensor):
        return np.asarray(t.detach().numpy())
    wide = t.detach().float() if t.dtype == torch.bfloat16 else t.detach().resolve_conj()
    return np.asarray(wide.numpy(force=True))


def close(ours: Any, theirs: Any, slack: float, what: str) -> None:
    """Assert that two Tensors have one dtype, one shape and equal values within rounding."""
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1], f"{what}: dtype"
    a, b = array_of(ours), array_of(theirs)
    assert a.shape == b.shape, f"{what}: shape {a.shape} against {b.shape}"
    if a.dtype.kind in "fc":
        name = str(theirs.dtype).split(".")[-1].replace("complex64", "float32")
        rounding = ROUNDING.get(name, 1e-11) * slack
        scale = max(1.0, float(np.max(np.abs(b[np.isfinite(b)]), initial=0)))
        np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding * scale, err_msg=what)
    else:
        np.testing.assert_array_equal(a, b, err_msg=what)


def rehearse(case: Case) -> None:
    """Run a case on other values of the same types: it is recorded another way the second time."""
    leaves = [tw.tensor(np.flip(a).copy()) for a in case.inputs]
    if case.gradient:
        leaves = [t.requires_grad_() if differs(t) else t for t in leaves]
    results = [r for r in flat(case.call(tw, *leaves)) if r.requires_grad]
    if case.gradient:
        tw.autograd.backward(results, [tw.ones_like(r) for r in results])


def compare(case: Case) -> None:
    """Run a case in both libraries and compare results and gradients."""
    rehearse(case)
    sides = []
    for library in (tw, torch):
        leaves = [library.tensor(a) for a in case.inputs]
        if case.gradient:
            leaves = [t.requires_grad_() if differs(t) else t for t in leaves]
        results = flat(case.call(library, *leaves))
        sides.append((leaves, results))
    (ours, our_results), (theirs, their_results) = sides
    assert len(our_results) == len(their_results) > 0, case.name
    for i, (a, b) in enumerate(zip(our_results, their_results, strict=True)):
        close(a, b, case.slack, f"{case.name}: result {i}")
    if not case.gradient:
        return
    cotangent = np.random.RandomState(1)
    seeds = [
        np.asarray(cotangent.standard_normal(tuple(b.shape))).astype(array_of(b).dtype)
        for b in their_results
    ]
    for library, results in ((tw, our_results), (torch, their_results)):
        wanted = [(r, s) for r, s in zip(results, seeds, strict=True) if r.requires_grad]
        assert wanted, f"{case.name}: no result requires a gradient"
        tensors = [r for r, _ in wanted]
        library.autograd.backward(tensors, [library.tensor(s).to(r.dtype) for r, s in wanted])
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert (a.grad is None) == (b.grad is None), f"{case.name}: gradient {i} is missing"
        if b.grad is not None:
            close(a.grad, b.grad, 4 * case.slack, f"{case.name}: gradient {i}")


def copied(make: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return the layer in both libraries, with PyTorch's weights."""
    torch.manual_seed(0)
    ours, theirs = make(tw.nn), make(torch.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: tw.tensor(array_of(v)) for k, v in theirs.state_dict().items()})
    return ours, theirs


def parameters(cases: Sequence[Case]) -> list[Any]:
    """Return the cases as pytest parameters with their names."""
    return [pytest.param(c, id=c.name) for c in cases]
