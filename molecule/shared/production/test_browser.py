# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person with a browser: Chromium, which trusts the edge's authority and finds the domain at the host."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.bench.browser import browser
from tests.bench.edge import LOGIN, Edge

EVENTS = 5
# Events are told apart by their text; the page's clock is that of the machine, as is the service's.
LISTEN = """() => {
  window.arrived = {};
  window.source = new EventSource("/api/events");
  window.source.addEventListener("message", (event) => {
    const told = JSON.parse(event.data);
    window.arrived[told.message] = Date.now() - Date.parse(told.time);
  });
  return new Promise((resolve) => { window.source.onopen = () => resolve(); });
}"""
SEND = """(message) => fetch("/api/events", {
  method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({message}),
}).then((answer) => answer.status)"""


@pytest.fixture(scope="module")
def chromium(edge: Edge) -> Iterator[Browser]:
    with browser({edge.domain: edge.address}, edge.authority) as running:
        yield running


@pytest.fixture
def page(chromium: Browser, edge: Edge) -> Iterator[Page]:
    """A page of somebody who is logged in."""
    context = chromium.new_context(
        base_url=f"https://{edge.domain}", http_credentials={"username": LOGIN[0], "password": LOGIN[1]}
    )
    yield context.new_page()
    context.close()


@pytest.fixture
def stranger(chromium: Browser, edge: Edge) -> Iterator[Page]:
    """A page of somebody who is not."""
    context = chromium.new_context(base_url=f"https://{edge.domain}")
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", ["/", "/workflows/some-id"])
def test_the_dashboard_loads_whole(page: Page, path: str) -> None:
    failed: list[str] = []
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.goto(path)
    assert page.title() == "Tamma"
    # The page asks both APIs, and the stream of events is open.
    page.wait_for_function("document.querySelector('#api .state').textContent.includes('ok')")
    page.wait_for_function("document.querySelector('#dotnet .state').textContent.includes('ealthy')")
    page.wait_for_function("document.querySelector('#live').textContent === 'live'")
    assert not failed


def test_events_arrive_when_they_are_sent(page: Page) -> None:
    page.goto("/")
    page.evaluate(LISTEN)
    for number in range(EVENTS):
        assert page.evaluate(SEND, f"event-{number}") == 202
        page.wait_for_function(f"window.arrived['event-{number}'] !== undefined")
    # A stream that something holds back is late with every event, not with one on a busy machine.
    assert statistics.median(page.evaluate("Object.values(window.arrived)")) < 1000
    page.locator("#events").get_by_text(f"event-{EVENTS - 1}").wait_for()


def test_a_stranger_is_asked_for_the_login_and_gets_nothing(stranger: Page) -> None:
    for path in ("/", "/workflows/some-id", "/assets/app.js", "/api/engines"):
        answer = stranger.goto(path)
        assert answer is not None
        assert answer.status == 401
        assert "Tamma" not in stranger.content()


def test_a_stranger_is_not_asked_where_it_is_open(stranger: Page) -> None:
    answer = stranger.goto("/api/health")
    assert answer is not None
    assert answer.status == 200
    assert '"ok"' in stranger.content()
