"""Pages in a real browser: headless Chromium, without a network, each with a profile of its own."""

import shutil
import subprocess
from pathlib import Path

import pytest

_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-component-update "
    "--disable-background-networking --disable-sync --disable-dev-shm-usage --disable-extensions "
    "--autoplay-policy=no-user-gesture-required --mute-audio --hide-scrollbars"
)
_LONGEST_S = 120


def run(page: str, folder: Path, *options: str) -> str:
    """Open a page with further options of the browser, and return what it prints."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on this machine")
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8", errors="replace")
    nowhere = "--host-resolver-rules=MAP * ~NOTFOUND"
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [found, *_OPTIONS.split(), nowhere, profile, *options, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=True).stdout


def dump(page: str, folder: Path, script: str = "", *, budget_ms: int = 4000) -> str:
    """Return the document after the browser ran the page, and then `script` where given."""
    if script:  # a test's script is let in beside the page's own
        page = page.replace("script-src 'sha256", "script-src 'nonce-t' 'sha256")
        page = page.replace("</body>", f'<script nonce="t">{script}</script></body>')
    return run(page, folder, f"--virtual-time-budget={budget_ms}", "--dump-dom")
