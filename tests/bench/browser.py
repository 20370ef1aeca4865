"""A real browser: headless Chromium in a container of the machine's network, driven by Playwright."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, sync_playwright

from . import engine, images
from .command import BenchError, docker, one_at_a_time, run
from .names import LABEL
from .patience import wait_until

SECONDS = 30
WIDTH, HEIGHT = 1100, 1000


def screenshot(url: str, file: Path, until: str = "true") -> None:
    """Open a page, wait until a JavaScript expression holds in it, and save a PNG."""
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(SECONDS * 1000)
        try:
            page.goto(url)
            page.wait_for_function(until)
        except Error as error:
            reason = error.message.splitlines()[0]
            raise BenchError(f"{url} did not come to show `{until}` within {SECONDS} s: {reason}") from error
        page.screenshot(path=file)


@contextmanager
def browser(names: Mapping[str, str] | None = None, authority: str = "") -> Iterator[Browser]:
    """Run Chromium, which finds *names* at these addresses and trusts one more authority (its PEM)."""
    with one_at_a_time():
        engine.ensure()
        images.build(["browser"])
    rules = ",".join(f"MAP {name} {address}" for name, address in (names or {}).items())
    container = docker(
        "run", "-d", "--init", "--shm-size", "256m", "--label", f"{LABEL}=browser", "--env", f"AUTHORITY={authority}",
        # The machine's own network: Chromium takes commands on the loopback address alone.
        "--network", "host", images.tag("browser"), f"--host-resolver-rules={rules}",
    )  # fmt: skip
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.connect_over_cdp(_address(container))
            yield chromium
            chromium.close()
    finally:
        docker("rm", "-f", container, check=False)


def _address(container: str) -> str:
    """Return where Chromium takes commands, once it does."""

    def told() -> str:
        log = run(["docker", "logs", container]).stderr
        if docker("inspect", "-f", "{{.State.Running}}", container) != "true":
            raise BenchError(f"Chromium did not start; its last words: {log.strip()[-1000:]}")
        listening = re.search(r"DevTools listening on (ws://\S+)", log)
        return listening.group(1) if listening else ""

    return wait_until(told, SECONDS, "Chromium to take commands")
