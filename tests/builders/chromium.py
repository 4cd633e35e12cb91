"""A real Chromium without a screen, told what to do over two pipes in its DevTools protocol."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or ""

# What the pages set when all is drawn.
_DRAWN = """new Promise(done => { const look = () =>
document.documentElement.dataset.drawn && document.querySelectorAll('.heat:not([data-drawn])').length === 0
? done(true) : requestAnimationFrame(look); look(); })"""


class Browser:
    """One process for many pages; each page begins anew."""

    def __init__(self, profile: Path) -> None:
        theirs_in, to = os.pipe()
        back, theirs_out = os.pipe()
        command = [
            PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ]  # fmt: skip
        # The browser reads from descriptor 3 and writes to 4.
        high = [fcntl.fcntl(own, fcntl.F_DUPFD_CLOEXEC, 10) for own in (theirs_in, theirs_out)]
        actions = [(os.POSIX_SPAWN_DUP2, own, number) for number, own in zip((3, 4), high, strict=True)]
        quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
        self._pid = os.posix_spawn(PROGRAM, command, os.environ, file_actions=[*actions, *quiet])
        for own in (theirs_in, theirs_out, *high):
            os.close(own)
        self._to, self._back = os.fdopen(to, "wb", 0), os.fdopen(back, "rb")
        self._number, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        """The answer to one command; what happens meanwhile is kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._to.write(json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, told["error"]
                result: dict[str, Any] = told["result"]
                return result
            self.events.append(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._back.fileno(), 1 << 20)
            assert data, "the browser ended"
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(text)
        return told

    @contextmanager
    def page(self, path: Path, width: int, dark: bool = False, height: int = 900) -> Iterator[Page]:
        """A page that is open, and drawn."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        try:
            yield Page(self, session, path, width, dark, height)
        finally:
            self.call("Target.closeTarget", targetId=target)

    def close(self) -> None:
        self.call("Browser.close")
        os.waitpid(self._pid, 0)
        self._to.close()
        self._back.close()


class Page:
    """A page, as a person with a mouse and a keyboard has it."""

    def __init__(
        self, browser: Browser, session: str, path: Path, width: int, dark: bool, height: int
    ) -> None:
        self._browser, self._session = browser, session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.prefer(dark)
        browser.events.clear()
        self._call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in browser.events):
            browser.events.append(browser._next())
        assert self.run(_DRAWN)

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        told = self._call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def prefer(self, dark: bool) -> None:
        """Ask for dark or light pages, and let this one draw itself anew."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def click(self, x: float, y: float) -> None:
        """The left button at a place of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            code = {"Enter": 13, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
            text = {"text": "\r"} if key == "Enter" and kind == "rawKeyDown" else {}
            self._call(
                "Input.dispatchKeyEvent",
                type="keyDown" if text else kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code[key],
                **text,
            )

    def shot(self, path: Path) -> None:
        """A picture of the whole page."""
        told = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(told["data"]))

    def printed(self) -> bytes:
        """The page on A4, as PDF."""
        told = self._call("Page.printToPDF", printBackground=False, paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(told["data"])

    @property
    def complaints(self) -> list[str]:
        """What the browser's console has said: errors, warnings, exceptions."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self._browser.events if event["method"] in kinds]

    @property
    def requests(self) -> list[str]:
        """What was asked for beside the page itself."""
        sent = [event for event in self._browser.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent if event["params"]["type"] != "Document"]
