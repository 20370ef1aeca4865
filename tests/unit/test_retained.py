# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases stay on a host, and which copy of the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.history import FAILED, RUNNING, SERVES, Entry, History
from ansible_collections.meywd.tamma.plugins.module_utils.retained import (
    apply,
    divide,
    name_images,
    superfluous_guards,
    tag,
)
from tests.unit.test_history import entry

HISTORIES = st.lists(
    st.tuples(st.sampled_from([SERVES, FAILED, RUNNING]), st.booleans(), st.booleans()), max_size=20
).map(
    lambda rows: [
        entry(
            number + 1,
            outcome=outcome,
            guard="guard_%d" % number if guarded else "",
            before="a",
            schema="b" if migrated else "a",
        )
        for number, (outcome, guarded, migrated) in enumerate(rows)
    ]
)


def numbers(entries: list[Entry]) -> list[int]:
    return [item.number for item in entries]


def test_the_last_ones_that_served_stay_and_the_failed_ones_among_them() -> None:
    outcomes = [SERVES, FAILED, SERVES, FAILED, SERVES, FAILED]
    known = [entry(number + 1, outcome=outcome) for number, outcome in enumerate(outcomes)]
    assert tuple(map(numbers, divide(known, 2))) == ([3, 4, 5, 6], [1, 2])
    assert tuple(map(numbers, divide(known, 9))) == ([1, 2, 3, 4, 5, 6], [])


@given(HISTORIES, st.integers(0, 10))
def test_what_serves_and_what_it_goes_back_to_stay(known: list[Entry], keep: int) -> None:
    stay, go = divide(known, keep)
    assert [*go, *stay] == known
    served = [item for item in known if item.outcome != FAILED]
    assert set(numbers(served[-max(keep, 1) :])) <= set(numbers(stay))
    assert len([item for item in stay if item.outcome != FAILED]) <= max(keep, 1)


@given(HISTORIES)
def test_one_copy_of_the_database_stays(known: list[Entry]) -> None:
    stays = [item for item in known if item.guard and item not in superfluous_guards(known)]
    guarded = [item for item in known if item.guard]
    needed = [item for item in guarded if item.before != item.schema]
    assert stays == (needed or guarded)[-1:]


def test_a_copy_that_a_rollback_needs_stays_when_a_release_with_the_same_schema_comes() -> None:
    migrated = entry(2, guard="guard_2", before="a", schema="b")
    since = entry(3, guard="guard_3", before="b", schema="b")
    assert superfluous_guards([entry(1), migrated, since]) == [since]
    assert superfluous_guards([migrated, since, entry(4, guard="guard_4", before="b", schema="c")]) == [migrated, since]


def test_what_a_rollback_has_left_goes_only_when_somebody_says_so() -> None:
    """It has rows that are nowhere else."""
    back = entry(3, guard="guard_3", before="b", schema="a", target=1)
    known = [entry(1), entry(2), back, entry(4, guard="guard_4", before="a", schema="b")]
    assert superfluous_guards(known) == []
    assert superfluous_guards([*known, entry(5, guard="guard_5", before="b", schema="c")]) == [known[3]]
    # One that only changed images has a copy like any release.
    same = entry(5, guard="guard_5", before="b", schema="b", target=4)
    assert superfluous_guards([*known, same]) == [same]


class Images:
    """An engine with some images."""

    def __init__(self, *identifiers: str) -> None:
        self._here = identifiers
        self.names: dict[str, str] = {}
        self.removed: list[str] = []

    def image(self, identifier: str) -> dict[str, Any] | None:
        return {"Id": identifier} if identifier in self._here else None

    def image_names(self, _repository: str) -> dict[str, str]:
        return self.names

    def remove_image(self, identifier: str) -> bool:
        self.removed.append(identifier)
        return True

    def tag_image(self, identifier: str, repository: str, tag: str) -> None:
        assert identifier in self._here
        self.names[f"{repository}:{tag}"] = identifier


def test_an_image_that_somebody_has_removed_is_in_nobodys_way(tmp_path: Path) -> None:
    known = History(str(tmp_path))
    known.note(entry(1, images={"api": {"reference": "api:1", "id": "sha256:gone"}}))
    known.note(entry(2, images={"api": {"reference": "api:2", "id": "sha256:here"}}))
    engine: Any = Images("sha256:here")
    apply(engine, "tamma", known, 5, lambda _name: None)
    assert set(engine.names.values()) == {"sha256:here"}


def test_images_of_a_rollout_that_did_not_come_go_with_the_next_release(tmp_path: Path) -> None:
    known = History(str(tmp_path))
    known.note(entry(1, images={"api": {"reference": "api:1", "id": "sha256:present"}}))
    engine: Any = Images("sha256:present", "sha256:pulled")
    name_images(engine, "tamma", {"sha256:pulled"})
    apply(engine, "tamma", known, 5, lambda _name: None)
    assert engine.removed == ["sha256:pulled"]


def test_the_tag_is_one_for_each_image() -> None:
    assert tag("sha256:" + "0123456789" * 6) == "01234567890123456789"
    assert tag("0123456789" * 6) == "01234567890123456789"
