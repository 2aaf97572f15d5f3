"""A real Chromium that looks at pages, without a window and without a network.

It is Debian's, unpacked into the cache as dnf and rpm are, and runs in namespaces of its own: there is nothing that it
could reach. It is spoken to by its DevTools protocol over a pipe, which needs no port and no library.
"""

import base64
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from adapters.unpacked import UNUSED, enter, lay_out
from clockstep_lab.cache import built
from conftest import quiet

PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core", "fontconfig-config", "coreutils", "dash")
OPTIONS = (
    "--headless",
    "--no-sandbox",  # it is root in its namespaces, and nothing else is there
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--user-data-dir=/tmp/profile",
    "--remote-debugging-pipe",
)
ANSWERS_S = 60
HIGHEST = 4000
"""How many pixels of a page are in its picture."""
Message = dict[str, Any]


@cache
def system() -> Path:
    """The root folder that has the browser and a font."""

    def build(into: Path) -> None:
        lay_out(into, "stable", PACKAGES)

    return built("chromium", [" ".join([*PACKAGES, *UNUSED]).encode(), b"1"], build, quiet)


class Browser:
    """The browser as a process; `folder` is its /mnt."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._rest = b""
        self._number = 0
        self.events: list[Message] = []

    def call(self, method: str, session: str = "", **values: Any) -> Message:
        """Have the browser do something, and return what it answers."""
        self._number += 1
        message: Message = {"id": self._number, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        while True:
            heard = self._heard()
            if heard.get("id") == self._number:
                assert "error" not in heard, (method, heard)
                answer: Message = heard["result"]
                return answer

    def await_event(self, method: str) -> None:
        """Wait until this has happened."""
        while all(one["method"] != method for one in self.events):
            self._heard()

    def _heard(self) -> Message:
        """Return the next message, which is kept if it is of something that happened."""
        assert self._process.stdout
        until_s = time.monotonic() + ANSWERS_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until_s - time.monotonic()))
            assert ready, "the browser does not answer"
            more = self._process.stdout.read1(1 << 20)  # type: ignore[attr-defined]
            assert more, "the browser has ended"
            self._rest += more
        first, _, self._rest = self._rest.partition(b"\0")
        message: Message = json.loads(first)
        if "id" not in message:
            self.events.append(message)
        return message

    def open(self, name: str) -> "Tab":
        """Load a file of its folder."""
        self.events.clear()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session, f"file:///mnt/{name}")
        for domain in ("Page", "Network", "Runtime", "Log"):
            tab.call(f"{domain}.enable")
        tab.call("Page.navigate", url=tab.address)
        self.await_event("Page.loadEventFired")
        return tab


class Tab:
    """A page that is loaded, and all that happened since it began to be."""

    def __init__(self, browser: Browser, session: str, address: str) -> None:
        self._browser, self._session, self.address = browser, session, address

    def call(self, method: str, **values: Any) -> Message:
        """Have the browser do something with this page."""
        return self._browser.call(method, self._session, **values)

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript comes to in it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def set(self, width: int, scheme: str = "light", medium: str = "screen") -> None:
        """Show it so wide, in this colour scheme and for this medium."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call(
            "Emulation.setEmulatedMedia", media=medium, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def picture(self) -> bytes:
        """Return it as a PNG, the whole of it unless it is very long."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], HIGHEST), "scale": 1}
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(taken["data"])

    def printed(self) -> bytes:
        """Return it as a PDF, as a printer would get it."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, paperWidth=8.27)["data"])

    def said(self) -> list[Message]:
        """What its console and its log have got."""
        names = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [one for one in self._browser.events if one["method"] in names]

    def requested(self) -> list[str]:
        """All addresses that it has asked for, whether or not there was an answer."""
        asked = [one for one in self._browser.events if one["method"] == "Network.requestWillBeSent"]
        return [one["params"]["request"]["url"] for one in asked]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser that sees this folder, ended afterwards with all that it has started."""
    command: Sequence[str] = ("/usr/bin/chromium-headless-shell", *OPTIONS)
    script = enter(system(), folder, " ".join(command)).replace("unshare ", "exec unshare --net ", 1)
    with tempfile.TemporaryFile() as log:
        words = ["sh", "-c", f"exec 3<&0 4>&1 0</dev/null 1>&2\n{script}"]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=log, start_new_session=True) as process:
            try:
                yield Browser(process)
            except AssertionError:
                log.seek(0)
                print(log.read().decode(errors="replace")[-3000:])  # noqa: T201
                raise
            finally:
                os.killpg(process.pid, signal.SIGKILL)
