"""A person who opens every page of the dashboard: each link of its menu, and each tab of a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Error, Page, Request, Response

from tests.bench.browser import SECONDS, browser
from tests.bench.command import BenchError

LINKS, TABS = "nav a[href]", "main nav button, main [role=tab]"
PATIENCE = SECONDS * 1000


class Seen(NamedTuple):
    """What was opened, how many requests the API had, and what failed or was complained of."""

    opened: list[str]
    asked: int
    failed: list[str]


def look(
    url: str,
    picture: Path,
    names: Mapping[str, str] | None = None,
    authority: str = "",
    login: tuple[str, str] | None = None,
) -> Seen:
    """Open the dashboard and everything in it; save a picture of its first page."""
    with browser(names, authority) as chromium:
        credentials = {"username": login[0], "password": login[1]} if login else None
        context = chromium.new_context(http_credentials=credentials)  # type: ignore[arg-type]
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        asked: list[str] = []
        failed: list[str] = []

        def answered(response: Response) -> None:
            if "/api/" in response.url:
                asked.append(response.url)
            # The browser asks once without the login, and again with it.
            if response.status >= 400 and not (response.status == 401 and "www-authenticate" in response.headers):
                failed.append(f"{response.status} {response.request.method} {response.url}")

        def lost(request: Request) -> None:
            # What a page no longer wants is no failure.
            if request.failure != "net::ERR_ABORTED":
                failed.append(f"{request.failure} {request.method} {request.url}")

        page.on("response", answered)
        page.on("requestfailed", lost)
        page.on("pageerror", lambda error: failed.append(str(error)))
        try:
            page.goto(url)
            page.locator(LINKS).first.wait_for()
        except Error as error:
            raise BenchError(f"{url} shows no menu: {failed or error.message.splitlines()[0]}") from error
        _settle(page)
        picture.parent.mkdir(parents=True, exist_ok=True)
        opened = []
        for link in [item.get_attribute("href") or "" for item in page.locator(LINKS).all()]:
            page.locator(f'{LINKS.replace("[href]", "")}[href="{link}"]').first.click()
            _settle(page)
            opened.append(link)
            if link == "/":
                page.screenshot(path=picture)
            for tab in range(page.locator(TABS).count()):
                page.locator(TABS).nth(tab).click()
                _settle(page)
                opened.append(f"{link}#{page.locator(TABS).nth(tab).inner_text().splitlines()[0]}")
        context.close()
    return Seen(opened, len(asked), failed)


def _settle(page: Page) -> None:
    """Wait until a page has what it asked for, and shows something that stays: the page before it goes only then."""
    page.wait_for_load_state("networkidle")
    page.wait_for_function(
        """() => {
            const shown = document.querySelector('main').innerText;
            if (window.shownBefore !== shown) {
                window.shownBefore = shown;
                window.shownSince = Date.now();
            }
            return shown.trim() !== '' && Date.now() - window.shownSince > 500;
        }"""
    )
