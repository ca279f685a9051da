"""Headless Chromium, and what must not happen in it: errors, and requests to another machine."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Response, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # so that a request that should not be made fails here, on every machine
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
LOCAL_SCHEMES = ("data", "blob", "about", "file", "chrome-error")
HOST = "127.0.0.1"


def executable() -> str:
    """The browser that is installed on this machine.

    Raises:
        LookupError: if there is none.
    """
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    raise LookupError(
        f"expected {', '.join(NAMES[:-1])} or {NAMES[-1]} on the PATH, got none; "
        "install one, such as by apt-get install chromium fonts-dejavu-core"
    )


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield browser
        browser.close()


def watch(page: Page) -> list[str]:
    """A list that grows by each error on the page and each request to another machine."""
    problems: list[str] = []

    def check_request(url: str) -> None:
        address = urlsplit(url)
        if address.scheme not in LOCAL_SCHEMES and address.hostname != HOST:
            problems.append(f"request off the machine: {url}")

    def check_response(response: Response) -> None:
        if response.status >= 400:
            problems.append(f"{response.status} for {response.url}")

    def check_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(f"console: {message.text}")

    page.on("request", lambda request: check_request(request.url))
    page.on("websocket", lambda socket: check_request(socket.url))
    page.on("response", check_response)
    page.on("console", check_console)
    page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
    return problems
