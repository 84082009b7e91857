"""Pages in a real browser: headless Chromium over its debugging pipe, without a network.

    with chromium.opened(html, tmp_path) as page:
        page.press("j")
        assert page.run("document.title") == "..."

A test that asks for a page is skipped where there is no Chromium. The page is as a user has it: scripts of
the test run beside its own and do not touch its content policy.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-component-update "
    "--disable-background-networking --disable-sync --disable-dev-shm-usage --disable-extensions "
    "--autoplay-policy=no-user-gesture-required --mute-audio --remote-debugging-pipe"
)
_LONGEST_S = 60.0


class BrowserError(Exception):
    """The browser said no, said nothing in time, or ended."""


class Page:
    """One page, and the addresses that it asked for beside itself."""

    def __init__(self, into: int, out: int) -> None:
        self._into, self._out, self._rest, self._number = into, out, b"", 0
        self._session: str | None = None
        self.asked: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call the browser, and return what it answers."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while (told := self._message()).get("id") != self._number:
            self._note(told)
        if "error" in told:
            raise BrowserError(f"{method}: {told['error']['message']}")
        result: dict[str, Any] = told["result"]
        return result

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + _LONGEST_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._out], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._out, 1 << 20) if ready else b""
            if not part:
                raise BrowserError("the browser ended" if ready else f"no answer in {_LONGEST_S:.0f} s")
            self._rest += part
        first, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(first)
        return told

    def _note(self, told: dict[str, Any]) -> None:
        """Keep what the page asks for; data in the page itself is no request."""
        if told.get("method") == "Network.requestWillBeSent":
            address = told["params"]["request"]["url"]
            if not address.startswith("data:"):
                self.asked.append(address)

    def open(self, address: str, width: int, height: int) -> None:
        """Open an address and wait until it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Network.enable")
        self.call("Page.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        self.call("Page.navigate", url=address)
        while (told := self._message()).get("method") != "Page.loadEventFired":
            self._note(told)
        self.asked.remove(address)

    def run(self, expression: str) -> Any:
        """Return the value of JavaScript; of a promise, what it comes to."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise BrowserError(found["exceptionDetails"].get("exception", {}).get("description", str(found)))
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until JavaScript is true."""
        end = time.monotonic() + _LONGEST_S
        while not self.run(expression):
            if time.monotonic() > end:
                raise BrowserError(f"not in {_LONGEST_S:.0f} s: {expression}")
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press a key, as on a keyboard."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def click(self, selector: str, x: float = 0.5) -> None:
        """Click on an element, so far from its left side."""
        box = self.run(
            f"(() => {{ const one = document.querySelector({selector!r});"
            " one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect();"
            " return [box.x, box.y, box.width, box.height]; })()"
        )
        place = {"x": box[0] + x * box[2], "y": box[1] + box[3] / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **place)

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def opened(html: str, folder: Path, *, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """Open a page in a browser of its own, which ends with the block."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on this machine")
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8", errors="replace")
    (browser_in, into), (out, browser_out) = os.pipe(), os.pipe()
    nowhere = "--host-resolver-rules=MAP * ~NOTFOUND"
    command = [found, *_OPTIONS.split(), nowhere, f"--user-data-dir={folder / 'profile'}"]
    shell = f'exec "$0" "$@" 3<&{browser_in} 4>&{browser_out}'
    with subprocess.Popen(
        ["bash", "-c", shell, *command], pass_fds=(browser_in, browser_out),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as browser:  # fmt: skip
        os.close(browser_in)
        os.close(browser_out)
        page = Page(into, out)
        try:
            page.open(file.as_uri(), width, height)
            yield page
        finally:
            browser.kill()
            os.close(into)
            os.close(out)
