"""Downloads from torchvision's mirrors, and does not wait long where packets are dropped."""

import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from torchvision.datasets.utils import download_and_extract_archive

TIMEOUT = 10  # seconds without an answer
FAILURES = (OSError, RuntimeError, ValueError, HTTPException)  # of urllib and of torchvision


def download_archives(mirrors: Sequence[str], md5s: Mapping[str, str], folder: Path) -> None:
    """Downloads and unpacks the archives named in `md5s`, from the first mirror that has them all.

    Raises ConnectionError with each mirror's reason if none has.
    """
    reasons = []
    for mirror in mirrors:
        try:
            with _socket_timeout(TIMEOUT):
                _expect_answer(mirror + next(iter(md5s)))
                for archive, md5 in md5s.items():
                    download_and_extract_archive(mirror + archive, str(folder), md5=md5)
            return
        except FAILURES as error:
            reasons.append(f"{mirror} ({error})")
            if isinstance(error, HTTPError):
                error.close()  # it holds the connection
    raise ConnectionError(", ".join(reasons))


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torchvision passes no timeout to urllib, which then waits for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _expect_answer(url: str) -> None:
    """Raises unless the url answers in time, however many addresses its host has.

    A socket's timeout counts for each address anew, and not for the resolver.
    """
    failures: list[BaseException] = [TimeoutError(f"no answer within {TIMEOUT} s")]

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD")).close()
            failures.clear()
        except FAILURES as error:
            failures[:] = [error]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    for failure in list(failures):
        raise failure
