# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups are kept, held against the rules in their own words."""

from __future__ import annotations

import datetime
import itertools

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.retention import RULES, expired

moments = st.datetimes(datetime.datetime(2019, 12, 1), datetime.datetime(2028, 1, 31)).map(
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ")
)
# Taken one after the other, some close together: what daily rules are about.
close = st.builds(
    lambda start, hours: [
        (datetime.datetime(2026, 1, 1) + datetime.timedelta(hours=hour + start)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for hour in hours
    ],
    st.integers(0, 100),
    st.lists(st.integers(0, 60 * 24), unique=True, max_size=40),
)
backups = st.one_of(st.lists(moments, unique=True, max_size=25), close).map(
    lambda times: [("id-%d" % number, moment) for number, moment in enumerate(times)]
)
rules = st.dictionaries(st.sampled_from(RULES), st.integers(0, 9))


def kept_by_the_words(taken: list[tuple[str, str]], keep: dict[str, int]) -> set[str]:
    """The same in other words: group by calendar, take the newest of each of the newest groups."""
    newest_first = sorted(taken, key=lambda item: item[1], reverse=True)
    kept = {identifier for identifier, _moment in newest_first[: max(1, keep.get("last", 0))]}

    def day(item: tuple[str, str]) -> datetime.date:
        return datetime.date.fromisoformat(item[1][:10])

    for rule, key in {
        "daily": day,
        "weekly": lambda item: day(item).isocalendar()[:2],
        "monthly": lambda item: (day(item).year, day(item).month),
    }.items():
        groups = [next(group) for _key, group in itertools.groupby(newest_first, key)]  # type: ignore[arg-type]
        kept |= {identifier for identifier, _moment in groups[: keep.get(rule, 0)]}
    return kept


@given(backups, rules)
def test_what_the_rules_say_is_kept(taken: list[tuple[str, str]], keep: dict[str, int]) -> None:
    assert {identifier for identifier, _moment in taken} - set(expired(taken, keep)) == kept_by_the_words(taken, keep)


@given(backups, rules)
def test_oldest_first_and_the_newest_never(taken: list[tuple[str, str]], keep: dict[str, int]) -> None:
    times = dict(taken)
    gone = expired(taken, keep)
    assert [times[identifier] for identifier in gone] == sorted(times[identifier] for identifier in gone)
    if taken:
        assert max(taken, key=lambda item: item[1])[0] not in gone


@given(backups, rules)
def test_a_second_time_nothing_goes(taken: list[tuple[str, str]], keep: dict[str, int]) -> None:
    gone = expired(taken, keep)
    assert expired([item for item in taken if item[0] not in gone], keep) == []


@given(backups, rules, st.sampled_from(RULES))
def test_a_larger_number_keeps_no_less(taken: list[tuple[str, str]], keep: dict[str, int], rule: str) -> None:
    assert set(expired(taken, {**keep, rule: keep.get(rule, 0) + 1})) <= set(expired(taken, keep))


@given(backups, rules, st.randoms())
def test_the_order_does_not_matter(taken: list[tuple[str, str]], keep: dict[str, int], random: object) -> None:
    shuffled = list(taken)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert expired(shuffled, keep) == expired(taken, keep)


def test_a_year_of_nights() -> None:
    start = datetime.datetime(2025, 1, 1, 2, 30)
    taken = [
        ("%03d" % night, (start + datetime.timedelta(days=night)).strftime("%Y-%m-%dT%H:%M:%SZ"))
        for night in range(365)
    ]
    gone = expired(taken, {"last": 3, "daily": 7, "weekly": 4, "monthly": 6})
    kept = [moment[:10] for identifier, moment in taken if identifier not in gone]
    assert kept == [
        *("2025-07-31", "2025-08-31", "2025-09-30", "2025-10-31", "2025-11-30"),
        *("2025-12-14", "2025-12-21"),
        *("2025-12-%d" % day for day in range(25, 32)),
    ]
