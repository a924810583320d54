"""A headless Chromium that a test drives as a person does: it types, clicks, and reads what stands there.

It is spoken to in the DevTools protocol (https://chromedevtools.github.io/devtools-protocol), over two pipes: JSON
with a zero byte behind it. So no port is opened and no package is needed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60  # seconds until a test gives up; none of them waits for it


class Page:
    """One page, and what was said about it: `errors` of its script and policy, `asked`, the addresses it loaded."""

    def __init__(self, to: int, source: int) -> None:
        self._to, self._source, self._rest, self._number = to, source, b"", 0
        self._session: dict[str, str] = {}
        self.errors: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """One command of the protocol; its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, (method, told)
                return told["result"]
            self._note(told)

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            assert select.select([self._source], [], [], PATIENCE)[0], "the browser says nothing"
            part = os.read(self._source, 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, told: Any) -> None:
        params = told.get("params", {})
        if told.get("method") == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif told.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif told.get("method") == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])

    # -- what a person does --------------------------------------------------------------------------------------------

    def open(self, url: str) -> None:
        """Goes there, and waits until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, (expression, told)
        return told["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Until an expression is true, and not an element: those have no value here."""
        ends = time.monotonic() + PATIENCE
        while not (found := self.value(condition)):
            assert time.monotonic() < ends, (condition, self.errors, self.value("document.body.innerText"))
            time.sleep(0.02)
        return found

    def click(self, selector: str) -> None:
        """In the middle of an element."""
        middle = "(e => { const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })"
        x, y = self.value(f"{middle}(document.querySelector({json.dumps(selector)}))")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Where the cursor is, over what is selected."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """A PNG of what is to be seen."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def page(folder: Path, width: int = 900, height: int = 800) -> Iterator[Page]:
    """An empty page of a browser that keeps its files in this folder."""
    theirs, to = os.pipe()
    source, answers = os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]
    options += [f"--window-size={width},{height}", f"--user-data-dir={folder / 'browser'}"]
    script = f'exec "$0" "$@" 3<&{theirs} 4>&{answers}'
    process = subprocess.Popen(
        ["bash", "-c", script, str(CHROMIUM), *options],
        pass_fds=(theirs, answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    os.close(answers)
    try:
        yield Page(to, source)
    finally:
        os.close(to)  # it ends when nobody can speak to it
        os.close(source)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
