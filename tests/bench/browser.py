"""A picture of a page, taken with headless Chromium once the page shows what it should.

Chromium's own `--screenshot` cannot do it: it takes the picture before the first answer is there,
and with virtual time it waits for ever for a page that listens to events.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .command import BenchError

SECONDS = 30
WIDTH, HEIGHT = 1100, 1000


def screenshot(url: str, file: Path, until: str = "true") -> None:
    """Open a page, wait until a JavaScript expression holds in it, and save a PNG."""
    with _browser() as browser:
        target = browser.call("Target.createTarget", url=url)["targetId"]
        session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        deadline = time.monotonic() + SECONDS
        question = f"document.readyState === 'complete' && Boolean({until})"
        while not browser.call("Runtime.evaluate", session, expression=question)["result"].get("value"):
            if time.monotonic() > deadline:
                raise BenchError(f"{url} did not come to show `{until}` within {SECONDS} s.")
            time.sleep(0.2)
        picture = browser.call("Page.captureScreenshot", session, format="png")["data"]
    file.write_bytes(base64.b64decode(picture))


class _Browser:
    """Chromium's debugging protocol: JSON messages that end with a zero byte, over two pipes."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = os.fdopen(commands, "wb", 0), os.fdopen(answers, "rb", 0)
        self._rest = b""
        self._number = 0

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BenchError(f"Chromium refuses {method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> bytes:
        while b"\0" not in self._rest:
            piece = self._answers.read(1 << 16)
            if not piece:
                raise BenchError("Chromium ended before the page was shown.")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return message


@contextmanager
def _browser() -> Iterator[_Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        raise BenchError("A screenshot needs Chromium: apt-get install --no-install-recommends chromium")
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    # Chromium talks on the file descriptors 3 and 4.
    redirect = f'exec "$0" "$@" 3<&{their_in} 4>&{their_out}'
    with tempfile.TemporaryDirectory(prefix="tamma-bench-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["bash", "-c", redirect, program, "--headless", "--no-sandbox", "--disable-gpu",
             "--remote-debugging-pipe", f"--window-size={WIDTH},{HEIGHT}", f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(their_in, their_out),
        )  # fmt: skip
        os.close(their_in)
        os.close(their_out)
        try:
            yield _Browser(our_out, our_in)
        finally:
            process.terminate()
            process.wait()
