"""What `import torch` means while `talweg run` runs a program: the front end of that name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from multiprocessing import spawn
from types import ModuleType
from typing import Any

FRONT_ENDS = {
    "torch": "talweg.frontends.torch",
    "torchvision": "talweg.frontends.torchvision",
}


class FrontEnds(MetaPathFinder):
    """Finds modules of other libraries in talweg's front ends."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module of one of these libraries.

        Raises:
            ModuleNotFoundError: when talweg lacks it; the message names the nearest one.
        """
        top, dot, rest = name.partition(".")
        if top not in FRONT_ENDS:
            return None
        module = import_module(f"{FRONT_ENDS[top]}{dot}{rest}")
        return ModuleSpec(name, _Found(module), is_package=True)


class _Found(Loader):
    """Gives a module that is there already, and leaves it as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Installed:
    """Pickles as a call of `install`."""

    def __reduce__(self) -> Any:
        return install, ()


_prepared = spawn.get_preparation_data


def _preparation(name: str) -> dict[str, Any]:
    return {**_prepared(name), "talweg": _Installed()}


def install() -> None:
    """Let this process find the front ends under the names of their libraries, from now on.

    So do the processes that it spawns: what a new one unpickles first installs them there.
    """
    if not any(isinstance(finder, FrontEnds) for finder in sys.meta_path):
        sys.meta_path.insert(0, FrontEnds())
        setattr(spawn, "get_preparation_data", _preparation)  # noqa: B010
