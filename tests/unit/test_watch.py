# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A canary that is watched: what counts as a trouble, and how long somebody looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import watch
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError


class Time:
    """A clock that goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def seen(healthy: bool = True, since: str = "12:00", container: str = "tamma-api-1") -> dict[str, Any]:
    return {"healthy": healthy, "services": [{"service": "tamma-api", "container": container, "since": since}]}


def watched(looks: list[dict[str, Any] | OperatorError], seconds: float) -> tuple[dict[str, Any], int, float]:
    """Watch a stack that is at each look what *looks* says, and at last what its last one says."""
    time, count = Time(), 0

    def every() -> Iterator[dict[str, Any] | OperatorError]:
        yield from looks
        while True:
            yield looks[-1]

    source = every()

    def look() -> dict[str, Any]:
        nonlocal count
        count += 1
        found = next(source)
        if isinstance(found, OperatorError):
            raise found
        return found

    result = watch.watch(look, seconds, time.clock, time.sleep)
    return result, count, time.now - 100


def test_one_look_when_nobody_watches_and_another_one_at_a_trouble() -> None:
    assert watched([seen()], 0) == (seen(), 1, 0)
    assert watched([seen(False)], 0) == (seen(False), 2, watch.PAUSE_SECONDS)
    assert watched([seen(False), seen()], 0) == (seen(), 2, watch.PAUSE_SECONDS)


def test_a_look_that_fails_is_a_trouble() -> None:
    assert watched([OperatorError("busy"), seen()], 0)[0] == seen()
    assert watched([seen(), OperatorError("busy"), seen()], 30)[0] == seen()
    with pytest.raises(OperatorError, match="busy"):
        watched([seen(), seen(False), OperatorError("busy"), seen()], 30)


def test_a_stack_that_stays_well_is_looked_at_to_the_end() -> None:
    result, looks, seconds = watched([seen()], 30)
    assert result["healthy"]
    assert looks == 1 + 30 / watch.PAUSE_SECONDS
    assert seconds == 30


def test_a_trouble_counts_at_the_second_look() -> None:
    result, looks, _seconds = watched([seen(), seen(False), seen(False), seen()], 60)
    assert (result["healthy"], looks) == (False, 3)


def test_a_trouble_that_passes_does_not() -> None:
    result, _looks, seconds = watched([seen(), seen(False), seen(), seen(False), seen()], 30)
    assert (result["healthy"], seconds) == (True, 30)


def test_a_trouble_at_the_last_look_is_looked_at_once_more() -> None:
    assert watched([seen(), seen(), seen(False), seen()], 2 * watch.PAUSE_SECONDS)[0]["healthy"]
    assert not watched([seen(), seen(), seen(False)], 2 * watch.PAUSE_SECONDS)[0]["healthy"]


def test_a_container_that_was_started_again_counts_at_once() -> None:
    result, looks, _seconds = watched([seen(), seen(since="12:05")], 60)
    assert (result["healthy"], result["restarted"], looks) == (False, ["tamma-api"], 2)


@pytest.mark.parametrize("other", [seen(container="tamma-api-2", since="12:05"), seen(container="", since="")])
def test_another_container_was_not_started_again(other: dict[str, Any]) -> None:
    assert watch.restarted(seen()["services"], other["services"]) == []
