"""Files from the network: fetched once, checked by their SHA-256, and kept in a folder."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talweg.base.errors import DataError, InvalidValue, MissingExtra, MissingFile
from talweg.base.extras import require

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Remote:
    """A published file.

    Args:
        name: of the file.
        sha256: its SHA-256 in hexadecimal digits.
        urls: folders it is published in, or whole addresses that end with its name; they are
            tried one after the other.
    """

    name: str
    sha256: str
    urls: tuple[str, ...]

    def addresses(self) -> list[str]:
        """Return whole addresses."""
        return [u if u.endswith(self.name) else f"{u.rstrip('/')}/{self.name}" for u in self.urls]


def data_folder() -> Path:
    """Return the folder of fetched files: `TALWEG_DATA_DIR`, else `~/.cache/talweg/data`."""
    chosen = os.environ.get("TALWEG_DATA_DIR") or os.path.join("~", ".cache", "talweg", "data")
    return Path(chosen).expanduser()


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

    >>> from pathlib import Path
    >>> _ = Path("a.txt").write_text("talweg")
    >>> tw.data.fetch.sha256_of("a.txt")[:16]
    'c2105c488437b2ba'
    """
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def fetch(
    url: str | Iterable[str],
    sha256: str,
    folder: str | Path | None = None,
    name: str | None = None,
    progress: bool = True,
) -> Path:
    """Return a file, which is fetched unless it lies in the folder already.

    A file that is there is checked and used without a look at the network, so on a machine
    without one it can be put there by hand.

    Args:
        url: its address, or several, tried in order.
        sha256: its SHA-256 in hexadecimal digits; a shorter text is compared with its beginning.
        folder: where it is kept; `data_folder()` by default.
        name: of the file; the last part of the address by default.
        progress: show a bar while it comes, where the errors of the program go to a terminal.

    Raises:
        InvalidValue: when `sha256` is not made of hexadecimal digits.
        MissingFile: when it cannot be fetched; the message says which file to put where.
        MissingExtra: when it must be fetched, and pooch is not installed.
        DataError: when what was fetched has another checksum; it is not kept.
    """
    urls = [url] if isinstance(url, str) else list(url)
    sha256 = sha256.lower()
    if not 8 <= len(sha256) <= 64 or set(sha256) - set("0123456789abcdef"):
        raise InvalidValue(f"sha256 must be 8 to 64 hexadecimal digits, got {sha256!r}")
    path = Path(folder or data_folder()).expanduser() / (name or urls[0].rpartition("/")[2])
    if path.is_file() and sha256_of(path).startswith(sha256):
        return path
    by_hand = f"fetch {urls[0]} elsewhere and put it there (SHA-256 {sha256})"
    try:
        pooch = require("pooch", extra="download")
    except MissingExtra as error:
        raise MissingExtra(f"{path}: cannot be fetched: {error}; or {by_hand}") from None
    pooch.get_logger().setLevel("ERROR")
    failures = []
    for address in urls:
        try:
            _from(pooch, address, path, sha256, progress and sys.stderr.isatty())
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            failures.append(f"{address} ({_short(error)})")
        else:
            return path
    raise MissingFile(f"{path}: cannot be fetched from {' or '.join(failures)}; {by_hand}")


def _from(pooch: Any, address: str, path: Path, sha256: str, bar: bool) -> None:
    """Fetch from one address into a file beside the place, check it, and move it there."""
    coming = path.with_name(f"{path.name}.{os.getpid()}.part")
    coming.unlink(missing_ok=True)
    downloader = pooch.downloaders.choose_downloader(address, progressbar=bar)
    downloader.chunk_size = _CHUNK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(address, None, coming.name, path.parent, downloader=downloader)
        found = sha256_of(coming)
        if not found.startswith(sha256):
            raise DataError(
                f"{address}: the file that came has the SHA-256 {found}, not {sha256}: it is "
                f"damaged or another one, and was not kept; fetch it elsewhere and put it at {path}"
            )
        coming.replace(path)
    finally:
        coming.unlink(missing_ok=True)


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__


def fetch_all(files: Iterable[Remote], folder: str | Path, progress: bool = True) -> list[Path]:
    """Return files, see `fetch`; those that are there, unpacked or not, are not fetched."""
    found = []
    for file in files:
        plain = Path(folder, file.name.removesuffix(".gz"))
        if plain != Path(folder, file.name) and plain.is_file():
            found.append(plain)
        else:
            found.append(fetch(file.addresses(), file.sha256, folder, file.name, progress))
    return found


def checkpoint_folder() -> Path:
    """Return the folder where PyTorch keeps weights: below `TORCH_HOME`, else `~/.cache/torch`."""
    home = os.environ.get("TORCH_HOME") or os.path.join("~", ".cache", "torch")
    return Path(home, "hub", "checkpoints").expanduser()


def fetch_checkpoint(
    url: str, folder: str | Path | None = None, name: str | None = None, progress: bool = True
) -> Path:
    """Return a file of published weights; it is fetched unless it lies in the folder.

    Its name must end with the beginning of its SHA-256, as in `resnet18-f37072fd.pth`. A file that
    is there is taken as it is.

    Args:
        url: its address.
        folder: where it is kept; `checkpoint_folder()` by default.
        name: of the file; the last part of the address by default.
        progress: see `fetch`.

    Raises:
        MissingFile: when it is not there and cannot be fetched, or has no checksum in its name;
            the message says which file to put where.
        MissingExtra, DataError: see `fetch`.
    """
    path = Path(folder or checkpoint_folder()).expanduser() / (name or url.rpartition("/")[2])
    if path.is_file():
        return path
    found = re.search(r"-([0-9a-f]{8,64})\.", path.name) or re.search(r"-([0-9a-f]{8,64})\.", url)
    if found is None:
        raise MissingFile(
            f"{path}: not fetched, since no checksum stands in its name; fetch {url} elsewhere and "
            "put it there"
        )
    return fetch(url, found[1], path.parent, path.name, progress)


def unpack(archive: str | Path, folder: str | Path) -> None:
    """Unpack a tar archive into a folder; members that would leave the folder are refused.

    Raises:
        DataError: for what is not a tar archive, is damaged, or has such a member.
    """
    if not hasattr(tarfile, "data_filter"):
        raise DataError(f"{archive}: unpack it into {folder}; this Python cannot do it safely")
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive}: cannot be unpacked into {folder} ({error})") from None
