"""What `torch.save` writes is what `tw.load` reads, in both layouts."""

from __future__ import annotations

import io
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Inputs, array_of, torch

import talweg as tw
from talweg.base.errors import DataError

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:.*TypedStorage is deprecated:UserWarning"),
]
D = Inputs(11)
ZIPPED = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])


def through(value: Any, zipped: bool) -> Any:
    """Return what talweg reads of what PyTorch has written."""
    with io.BytesIO() as file:
        torch.save(value, file, _use_new_zipfile_serialization=zipped)
        file.seek(0)
        return tw.load(file)


def same(ours: Any, theirs: Any) -> None:
    """Assert that two nested values are equal, Tensors by dtype, shape and value."""
    if isinstance(theirs, torch.Tensor):
        assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
        np.testing.assert_array_equal(array_of(ours), array_of(theirs))
        assert ours.requires_grad == theirs.requires_grad
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            same(ours[key], value)
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    else:
        assert ours == theirs


def training() -> tuple[Any, Any]:
    """Return a network and its optimizer after a step."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 2),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    net(torch.tensor(D.real(2, 3, 6, 6))).sum().backward()
    optimizer.step()
    return net, optimizer


VALUES: dict[str, Callable[[], Any]] = {
    "state_dict": lambda: dict(training()[0].state_dict()),
    "optimizer": lambda: dict(training()[1].state_dict()),
    "parameters": lambda: list(training()[0].parameters()),
    "dtypes": lambda: {
        str(d): torch.ones(2, 3).to(d)
        for d in (
            *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
            *(torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.complex128),
            *(torch.uint16, torch.uint32, torch.uint64),
        )
    },
    "views": lambda: (lambda t: [t, t.t(), t[1:, ::2], t[0], t.expand(2, 4, 6), t[:0]])(
        torch.tensor(D.real(4, 6))
    ),
    "numbers": lambda: {"lr": 1e-3, "n": 2**70, "none": None, "flag": True, (1, 2): [3 + 1j]},
    "numpy": lambda: {"best": np.float64(0.5), "count": np.int64(3)},
    "options": lambda: Namespace(lr=0.1, name="x", betas=(0.9, 0.999)),
    "requires_grad": lambda: torch.ones(3, requires_grad=True),
}


@ZIPPED
@pytest.mark.parametrize("name", VALUES)
def test_values(name: str, zipped: bool) -> None:
    value = VALUES[name]()
    same(through(value, zipped), value)


@ZIPPED
def test_arrays(zipped: bool) -> None:
    arrays = {"f": D.real(3, 4), "t": np.asfortranarray(D.real(3, 4)), "i": np.arange(5)}
    for key, array in through(arrays, zipped).items():
        np.testing.assert_array_equal(array, arrays[key])
        assert array.dtype == arrays[key].dtype


@ZIPPED
def test_versions_travel_with_a_state_dict(zipped: bool) -> None:
    state = training()[0].state_dict()
    assert through(state, zipped)._metadata == state._metadata


def layers(nn: Any) -> list[Any]:
    """Return layers whose attributes differ from the defaults."""
    return [
        nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2, bias=False),
        nn.Conv1d(2, 4, 3, padding="same", padding_mode="circular"),
        nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1),
        *(nn.Linear(3, 4, bias=False), nn.Bilinear(2, 3, 4), nn.Identity()),
        *(nn.BatchNorm1d(3, eps=0.1, momentum=None), nn.BatchNorm2d(3, affine=False)),
        *(nn.LayerNorm((3, 4), eps=0.1), nn.GroupNorm(2, 4), nn.InstanceNorm1d(3, affine=True)),
        *(nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d((None, 2))),
        *(nn.Dropout(0.25), nn.GELU("tanh"), nn.PReLU(3), nn.Softmax(1), nn.Hardtanh(-2, 3)),
        *(nn.Flatten(0, 1), nn.Unflatten(1, (2, 3)), nn.PixelShuffle(2), nn.ZeroPad2d(1)),
        *(nn.Embedding(5, 3, padding_idx=1), nn.Upsample(scale_factor=2, mode="bilinear")),
        nn.ModuleDict({"a": nn.ReLU6(inplace=True), "b": nn.ModuleList([nn.Tanh()])}),
        nn.CrossEntropyLoss(ignore_index=2, label_smoothing=0.1),
    ]


@ZIPPED
@pytest.mark.parametrize("place", range(len(layers(tw.nn))))
def test_whole_layers(place: int, zipped: bool) -> None:
    theirs = layers(torch.nn)[place].eval()
    ours = through(theirs, zipped)
    assert repr(ours) == repr(theirs)
    assert not ours.training
    same(dict(ours.state_dict()), dict(theirs.state_dict()))


@ZIPPED
def test_a_whole_network_computes_the_same(zipped: bool) -> None:
    theirs = training()[0].eval()
    ours = through(theirs, zipped)
    x = D.real(2, 3, 6, 6)
    np.testing.assert_allclose(
        array_of(ours(tw.tensor(x))), array_of(theirs(torch.tensor(x))), rtol=1e-4, atol=1e-5
    )
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    back = through(tied, zipped)
    assert back[0].weight is back[1].weight


class Net(torch.nn.Module):
    """A program's own class."""


@ZIPPED
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Net(), "test_files.Net"),
        (torch.eye(2).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
        (print, "builtin.*print"),
        (torch.nn.functional.relu, "torch.nn.functional.relu"),
    ],
)
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code:UserWarning")
def test_what_is_not_known_is_named(value: Any, name: str, zipped: bool) -> None:
    with pytest.raises(DataError, match=rf"asks for \S*{name}"):
        through(value, zipped)
