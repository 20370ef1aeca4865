# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused of the variables of backups, before any host is visited."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.plugin_utils.backups import problems, together, warnings

GOOD = {"name": "local", "location": "/var/backups/tamma", "password": "kX7-long-enough-and-odd"}


def settings(**changed: Any) -> dict[str, Any]:
    return {
        "production": False,
        "host": "tamma1",
        "repositories": [GOOD],
        "keep": {"last": 3, "daily": 7, "weekly": 4, "monthly": 6},
        "schedule": {"backup": "*-*-* 02:30:00", "prune": "", "check": "weekly", "drill": "weekly"},
        "keep_workflows": "",
        "with_elsa": True,
        "overdue_hours": {"backup": 50, "drill": 384},
        "random_delay": 900,
        "check_subset": "5%",
        "notify_webhook": "",
        "metrics_file": "",
        **changed,
    }


def of_repository(production: bool = False, **changed: Any) -> list[str]:
    return problems(settings(repositories=[{**GOOD, **changed}], production=production))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"keep_workflows": "0d"},
            "tamma_backup_keep_workflows: '0d' is no time after which finished workflows may go",
        ),
        ({"keep_workflows": 30}, "'30' is no time after which"),
        ({"keep_workflows": "30d", "with_elsa": False}, "the profile lite has no ELSA"),
        ({"keep_workflows": "30d", "schedule": {"backup": "daily"}}, "tamma_backup_schedule has no time for it"),
    ],
)
def test_a_retention_of_workflows_that_makes_no_sense(changed: dict[str, Any], words: str) -> None:
    (problem,) = problems(settings(**{"schedule": {"workflows": "daily"}, **changed}))
    assert words in problem


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"keep_workflows": "30d", "schedule": {"workflows": "daily"}},
        {"repositories": []},
        {"production": True},
        {"check_subset": "1/7"},
        {"check_subset": "500M"},
        {"check_subset": "2.5%"},
        {"keep": {"last": "3"}},
        {"notify_webhook": "https://hooks.example.org/x"},
        {"metrics_file": "/var/lib/prometheus/node-exporter/tamma.prom"},
        {
            "repositories": [
                GOOD,
                {**GOOD, "name": "s3", "location": "s3:https://host/b", "environment": {"AWS_KEY": "x"}},
            ]
        },
    ],
)
def test_what_makes_sense_is_taken(changed: dict[str, Any]) -> None:
    assert problems(settings(**changed)) == []


@pytest.mark.parametrize(
    "location",
    [
        "/x",
        "local:/x",
        "sftp:user@host:/x",
        "sftp://user@host//x",
        "rest:https://host/",
        "s3:https://host/b",
        "rclone:r:p",
        "b2:bucket:path",
        "azure:c:/",
        "gs:b:/",
        "swift:c:/p",
    ],
)
def test_every_kind_of_location_is_taken(location: str) -> None:
    assert of_repository(location=location) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": ""}, "the repository number 1 has the name '', and a file is called after it: use letters"),
        ({"name": "off/site"}, "has the name 'off/site'"),
        ({"name": "../x"}, "has the name '../x'"),
        ({"location": ""}, "the repository local has no location: give it a directory"),
        ({"location": "backups"}, "neither an absolute path nor begins with one of local:, sftp:"),
        ({"location": "ftp:host"}, "neither an absolute path nor begins with one of"),
        ({"location": "local:x"}, "neither an absolute path nor begins with one of"),
        ({"password": ""}, "has no password: without one restic stores nothing"),
        ({"password": "  "}, "has no password"),
        ({"password": "canary "}, "begins or ends with a space"),
        ({"password": "can\nary"}, "line break, which restic cuts off"),
        ({"passwort": "canary"}, "has the key passwort, which does not exist: did you mean password."),
        ({"zzz": "canary"}, "has the key zzz, which does not exist: it takes name, location, password, environment."),
        ({"environment": {"1X": "canary"}}, "has '1X' in its environment, which is not the name of a variable"),
        ({"environment": {"RESTIC_PASSWORD": "canary"}}, "which the collection sets itself: use location and password"),
        ({"environment": {"RESTIC_REPOSITORY": "canary"}}, "which the collection sets itself"),
        ({"environment": {"KEY": "can\nary"}}, "has KEY in its environment with a line break in its value"),
    ],
)
def test_a_repository_that_makes_no_sense(changed: dict[str, Any], words: str) -> None:
    (found,) = of_repository(**changed)
    assert words in found
    assert found.startswith("tamma_backup_repositories")
    assert found.endswith(".")
    assert "canary" not in found


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("short-kX7", "has a password of 9 characters: in production it has at least 12"),
        ("change-me-please", "is a placeholder or easily guessed, which production refuses"),
    ],
)
def test_production_asks_more_of_a_password(password: str, words: str) -> None:
    assert of_repository(password=password) == []
    (found,) = of_repository(True, password=password)
    assert words in found
    assert password not in found


def test_two_repositories_are_two() -> None:
    twice = [GOOD, {**GOOD, "location": "/elsewhere"}]
    assert problems(settings(repositories=twice)) == [
        "tamma_backup_repositories has two repositories local: give one of them another name."
    ]
    (found,) = problems(
        settings(repositories=[GOOD, {**GOOD, "name": "other", "location": "local:/var/backups/tamma/"}])
    )
    assert "the repository other is at the same location as local" in found


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"keep": {"yearly": 1}}, "tamma_backup_keep has yearly, which it does not know: it takes last, daily, weekly"),
        ({"keep": {"last": -1}}, "tamma_backup_keep says -1 for last: it takes a whole number, 0 or more."),
        ({"keep": {"last": "many"}}, "tamma_backup_keep says 'many' for last"),
        ({"schedule": {"backups": "daily"}}, "tamma_backup_schedule has backups, which it does not know"),
        ({"overdue_hours": {"restore": 5}}, "tamma_backup_overdue_hours has restore, which it does not know"),
        ({"overdue_hours": {"backup": 1.5}}, "tamma_backup_overdue_hours says 1.5 for backup"),
        ({"check_subset": "much"}, "tamma_backup_check_subset is 'much': it takes a share such as 5%"),
        ({"random_delay": -1}, "tamma_backup_random_delay is less than 0"),
        ({"notify_webhook": "hooks.example.org/canary"}, "tamma_backup_notify_webhook is no address"),
        ({"notify_webhook": "https:///canary"}, "tamma_backup_notify_webhook is no address"),
        ({"metrics_file": "tamma.prom"}, "it is an absolute path that ends with .prom"),
        ({"metrics_file": "/x/tamma.txt"}, "it is an absolute path that ends with .prom"),
    ],
)
def test_a_variable_that_makes_no_sense(changed: dict[str, Any], words: str) -> None:
    (found,) = problems(settings(**changed))
    assert words in found
    assert found.endswith(".")
    assert "canary" not in found


anything = st.one_of(
    st.none(), st.text(max_size=8), st.integers(), st.booleans(), st.dictionaries(st.text(max_size=5), st.text())
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "name": anything,
                "location": anything,
                "password": st.text(max_size=8).map(lambda text: "canary" + text),
                "environment": st.dictionaries(st.text(max_size=9), anything, max_size=2),
                "more": anything,
            },
        ),
        max_size=3,
    ),
    st.booleans(),
)
def test_whatever_it_is_it_gets_sentences(repositories: list[dict[str, Any]], production: bool) -> None:
    for found in problems(settings(repositories=repositories, production=production)):
        assert found.startswith("tamma_backup_repositories")
        assert "canary" not in found


def test_everything_is_said_at_once() -> None:
    assert len(problems(settings(repositories=[{}], keep={"x": 1}, check_subset=""))) == 5


def test_production_without_a_backup_is_a_warning() -> None:
    (warning,) = warnings(settings(production=True, repositories=[]))
    assert warning.startswith("Nothing of this stack is backed up")
    assert list(warnings(settings(production=True))) == list(warnings(settings(repositories=[]))) == []


@pytest.mark.parametrize("host", ["", "tamma 1", "tamma1,part=manifest", "-x", "a\nb"])
def test_a_host_that_is_no_tag_is_refused(host: str) -> None:
    (problem,) = problems(settings(host=host))
    assert problem.startswith("tamma_backup_host is ")


SHARED = {"name": "offsite", "location": "s3:https://s3.example.org/backups", "password": "x"}


def stores(host: str, *repositories: dict[str, str], stack: str = "tamma") -> dict[str, Any]:
    return {"host": host, "stack": stack, "repositories": list(repositories)}


def test_hosts_with_places_of_their_own_are_nothing_to_tell() -> None:
    apart = [{**SHARED, "location": f"{SHARED['location']}/{name}"} for name in ("tamma1", "tamma2")]
    assert together({"tamma1": stores("tamma1", GOOD, apart[0]), "tamma2": stores("tamma2", GOOD, apart[1])}) == (
        [],
        [],
    )


def test_hosts_that_share_a_place_are_told() -> None:
    found, (warning,) = together({"tamma1": stores("tamma1", GOOD, SHARED), "tamma2": stores("tamma2", SHARED)})
    assert found == []
    assert warning.startswith("tamma1, tamma2 store their backups in one repository: whoever is root on one")
    assert "s3.example" not in warning


def test_hosts_that_share_a_name_in_one_place_are_refused() -> None:
    same = {**SHARED, "location": SHARED["location"] + "/"}
    hosts = {"tamma1": stores("main", SHARED), "tamma2": stores("main", same)}
    (problem,), _warnings = together(hosts)
    assert problem.startswith("tamma1 and tamma2 store backups in one repository under the same name, main: ")
    assert together({**hosts, "tamma2": stores("main", SHARED, stack="other")})[0] == []


@pytest.mark.parametrize("moment", ["daily\nUnit=x.service", "daily\r", "%h", 'da"ily', "daily\u2028", "a\\b"])
def test_a_time_with_another_line_for_the_unit_is_refused(moment: str) -> None:
    (said,) = problems(settings(schedule={"backup": moment}))
    assert said.startswith("tamma_backup_schedule has ")
    assert said.isprintable()
    assert said.isascii()


@pytest.mark.parametrize("moment", ["Mon..Fri *-*-* 02:30:00 Europe/Berlin", "*-*~1 03:00", "*:0/15", "2026-01-01 UTC"])
def test_usual_times(moment: str) -> None:
    assert not problems(settings(schedule={"backup": moment}))
