"""Downloads, from a server of this machine: what comes, what is kept, and what is refused."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import pickle
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talweg import data
from talweg.base import extras
from talweg.base.errors import DataError, InvalidValue, MissingExtra, MissingFile
from talweg.data.fetch import fetch, fetch_checkpoint, sha256_of, unpack
from tests.data.test_idx import idx

TEXT = b"the line of fastest flow\n" * 1000
SHA = hashlib.sha256(TEXT).hexdigest()


class Site:
    """A folder that is served, and what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()
        handler = functools.partial(Handler, directory=str(folder), site=self)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()


class Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, site: Site, **options: Any) -> None:
        self.site = site
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        self.site.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "flow.txt").write_bytes(TEXT)
    served = Site(folder)
    yield served
    served.server.shutdown()
    served.thread.join()
    served.server.server_close()


def test_a_file_is_fetched_once(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "kept" / "here"
    path = fetch(site.url + "flow.txt", SHA, folder)
    assert path == folder / "flow.txt"
    assert path.read_bytes() == TEXT
    assert fetch(site.url + "flow.txt", SHA[:8].upper(), folder) == path
    assert site.asked == ["/flow.txt"]
    assert sorted(folder.iterdir()) == [path]


def test_a_damaged_file_is_fetched_again_under_its_name(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("cut o")
    path = fetch(site.url + "flow.txt", SHA, tmp_path, "mine.txt")
    assert (path.name, sha256_of(path)) == ("mine.txt", SHA)


def test_another_file_than_expected_is_not_kept(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"has the SHA-256 {SHA}, not {'0' * 64}.*not kept"):
        fetch(site.url + "flow.txt", "0" * 64, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_addresses_are_tried_in_order(site: Site, tmp_path: Path) -> None:
    urls = [site.url + "gone/flow.txt", site.url + "flow.txt"]
    assert fetch(urls, SHA, tmp_path).read_bytes() == TEXT
    assert site.asked == ["/gone/flow.txt", "/flow.txt"]


def test_without_a_network_the_message_says_what_to_put_where(site: Site, tmp_path: Path) -> None:
    url = site.url + "gone.txt"
    place = tmp_path / "kept" / "gone.txt"
    with pytest.raises(MissingFile) as caught:
        fetch([url, "http://127.0.0.1:1/gone.txt"], SHA, tmp_path / "kept")
    text = str(caught.value)
    assert text.startswith(f"{place}: cannot be fetched from {url} (HTTPError: 404")
    assert "127.0.0.1:1/gone.txt (ConnectionError" in text
    assert text.endswith(f"fetch {url} elsewhere and put it there (SHA-256 {SHA})")
    place.write_bytes(TEXT)
    assert fetch(url, SHA, tmp_path / "kept") == place


def test_without_pooch_a_file_that_is_there_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(extras.importlib, "import_module", absent)
    with pytest.raises(MissingExtra, match=r"talweg\[download\].*put it there"):
        fetch("http://nowhere/flow.txt", SHA, tmp_path)
    (tmp_path / "flow.txt").write_bytes(TEXT)
    assert fetch("http://nowhere/flow.txt", SHA, tmp_path).read_bytes() == TEXT


@pytest.mark.parametrize("sha256", ["", "12ab", "z" * 64, "0" * 65])
def test_checksums_are_hexadecimal(sha256: str) -> None:
    with pytest.raises(InvalidValue, match="8 to 64 hexadecimal digits"):
        fetch("http://nowhere/a", sha256)


def test_the_folder_is_chosen_by_the_environment(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALWEG_DATA_DIR", str(tmp_path / "chosen"))
    assert fetch(site.url + "flow.txt", SHA) == tmp_path / "chosen" / "flow.txt"


def served_digits(site: Site) -> type[data.MNIST]:
    """A set of three digits, whose files the site has."""
    images = np.arange(3 * 28 * 28).astype(np.uint8).reshape(3, 28, 28)
    arrays = (images, np.array([4, 2, 0], np.uint8))
    sums, names = [], [file.name for file in data.MNIST.files]
    for name, array in zip(names, arrays * 2, strict=True):
        (site.folder / name).write_bytes(gzip.compress(idx(array), mtime=0))
        sums.append(sha256_of(site.folder / name))

    class Digits(data.MNIST):
        folder = "Digits"
        files = data.idx.published((site.url,), *sums)

    return Digits


def test_mnist_is_fetched_once(site: Site, tmp_path: Path) -> None:
    digits = served_digits(site)
    for _ in range(2):
        assert digits(tmp_path, download=True).targets.tolist() == [4, 2, 0]
    assert len(site.asked) == 2
    assert len(digits(tmp_path, train=False, download=True)) == 3
    assert len(site.asked) == 4
    assert (tmp_path / "Digits" / "raw" / "t10k-labels-idx1-ubyte.gz").is_file()
    plain = tmp_path / "plain"
    plain.mkdir()
    for file in digits.files:
        raw = gzip.decompress((site.folder / file.name).read_bytes())
        (plain / file.name.removesuffix(".gz")).write_bytes(raw)
    assert len(digits(plain, download=True)) == 3
    assert len(site.asked) == 4


def test_cifar_is_fetched_and_unpacked(site: Site, tmp_path: Path) -> None:
    rows = {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 0]}
    meta = {"label_names": ["a", "b"]}
    parts = dict.fromkeys((*data.CIFAR10.training, *data.CIFAR10.testing), rows)
    with tarfile.open(site.folder / "pictures.tar.gz", "w:gz") as packed:
        for name, part in {**parts, "batches.meta": meta}.items():
            raw = pickle.dumps(part)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(raw)
            packed.addfile(member, io.BytesIO(raw))

    class Pictures(data.CIFAR10):
        archive, home = "pictures.tar.gz", site.url
        sha256 = sha256_of(site.folder / "pictures.tar.gz")

    with pytest.raises(MissingFile, match="download=True"):
        Pictures(tmp_path)
    assert len(Pictures(tmp_path, download=True)) == 10
    assert len(Pictures(tmp_path, train=False, download=True)) == 2
    assert len(site.asked) == 1


def test_archives_do_not_leave_their_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        packed.addfile(tarfile.TarInfo("../out.txt"), io.BytesIO())
    (tmp_path / "b.tar").write_bytes(b"no archive")
    for name in ("a.tar", "b.tar"):
        with pytest.raises(DataError, match=r"cannot be unpacked"):
            unpack(tmp_path / name, tmp_path / "in")
    assert not (tmp_path / "out.txt").exists()


def test_weights_are_known_by_the_checksum_in_their_name(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = f"net-{SHA[:8]}.pth"
    (site.folder / name).write_bytes(TEXT)
    (site.folder / "net-00000000.pth").write_bytes(TEXT)
    folder = tmp_path / "hub" / "checkpoints"
    assert fetch_checkpoint(site.url + name) == folder / name
    assert fetch_checkpoint(site.url + name, name="mine.pth").read_bytes() == TEXT
    assert len(site.asked) == 2
    with pytest.raises(DataError, match="not 00000000"):
        fetch_checkpoint(site.url + "net-00000000.pth")
    with pytest.raises(MissingFile, match="no checksum stands in its name"):
        fetch_checkpoint(site.url + "net.pth")
    (folder / "net.pth").write_bytes(b"mine")
    assert fetch_checkpoint(site.url + "net.pth").read_bytes() == b"mine"
