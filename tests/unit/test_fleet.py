# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the update or rollback of a fleet has come: who is next, who stops it, and what the operator is told."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.filter.fleet import FilterModule, fleet, fleet_rollback

ANSWERS: dict[str, Any] = {"__tamma_update_answer": {"ping": "pong"}}
DOWN: dict[str, Any] = {"__tamma_update_answer": {"unreachable": True, "msg": "No route."}}
API = "registry/tamma-api:0.3.0"


def prepared(**more: Any) -> dict[str, Any]:
    """A host that is ready for the release."""
    said = {
        "version": "0.3.0",
        "former": {"number": 3, "version": "0.2.0"},
        "mode": "guarded",
        "needed": True,
        "digests": {API: API + "@sha256:a"},
        "batches": ["1", "25%", "100%"],
        "when_unreachable": "report",
        **more,
    }
    return {**ANSWERS, "__tamma_stack_prepared": said, "__tamma_stack_release": said}


def deployed(release: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A host on which the release was deployed."""
    went = {"release": 4, "mode": "guarded", "seconds": 21.4} if release is None else release
    return {**prepared(), "__tamma_stack_release": went, **more}


def outcome(known: dict[str, Any], check: bool = False) -> str:
    found: str = fleet(["a"], {"a": known}, check)["rows"][0]["outcome"]
    return found


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (DOWN, "not reached"),
        (ANSWERS, "not touched"),
        ({**ANSWERS, "__tamma_stack_release": {"unreachable": True}}, "not reached"),
        ({**ANSWERS, "__tamma_update_problem": "Port 80 is taken."}, "refused"),
        ({**ANSWERS, "__tamma_stack_release": {"failed": True}, "__tamma_update_problem": "No image."}, "refused"),
        (prepared(), "not touched"),
        (prepared(needed=False), "unchanged"),
        ({**prepared(needed=False), "__tamma_update_problem": "tamma-api is exited."}, "unwell"),
        ({**prepared(), "__tamma_update_problem": "x", "__tamma_update_unwell": False}, "failed, nothing changed"),
        (deployed(), "updated"),
        (deployed({"failed": True, "outcome": "rolled_back"}, __tamma_update_problem="x"), "failed, rolled back"),
        (deployed({"failed": True, "outcome": "stuck"}, __tamma_update_problem="x"), "failed, not rolled back"),
        (deployed({"failed": True, "outcome": "incomplete"}, __tamma_update_problem="x"), "serves, not completed"),
        (deployed({"failed": True}, __tamma_update_problem="x"), "failed, nothing changed"),
        (deployed({"unreachable": True}), "connection lost"),
        (deployed(__tamma_stack_status={"unreachable": True}), "connection lost"),
        (deployed(__tamma_update_unwell=True, __tamma_update_problem="x"), "unwell"),
        (deployed(__tamma_update_unwell=True, __tamma_update_went_back=True), "unwell, rolled back"),
        (deployed({"failed": True}, __tamma_update_unwell=True, __tamma_update_problem="x"), "unwell"),
        (
            deployed({"failed": True, "outcome": "stuck"}, __tamma_update_unwell=True, __tamma_update_problem="x"),
            "failed, not rolled back",
        ),
        (
            deployed(
                {"failed": True, "outcome": "rolled_back"}, __tamma_update_unwell=True, __tamma_update_problem="x"
            ),
            "unwell",
        ),
        (deployed({"failed": True, "module_stdout": ""}, __tamma_update_problem="x"), "cut off"),
        (
            {
                **ANSWERS,
                "__tamma_stack_release": {"failed": True, "outcome": "stuck"},
                "__tamma_update_problem": "The way back failed.",
            },
            "failed, not rolled back",
        ),
        (
            {
                **ANSWERS,
                "__tamma_stack_release": {"failed": True, "module_stdout": ""},
                "__tamma_update_problem": "MODULE FAILURE",
            },
            "cut off",
        ),
        ({**prepared(needed=False), "__tamma_stack_status": {"unreachable": True}}, "not reached"),
    ],
)
def test_what_became_of_a_host(known: dict[str, Any], expected: str) -> None:
    assert outcome(known) == expected


def test_a_check() -> None:
    found = fleet(["a", "b"], {"a": prepared(), "b": prepared(needed=False)}, check=True)
    assert [row["outcome"] for row in found["rows"]] == ["would be updated", "unchanged"]
    assert found["rollout"] == []
    assert found["lines"] == ["This was a check: nothing was changed."]


def test_the_first_host_that_answers_finds_out_the_digests() -> None:
    refused = {**ANSWERS, "__tamma_update_problem": "x"}
    assert fleet(["a", "b", "c"], {"a": DOWN, "b": refused, "c": ANSWERS})["first"] == "c"
    assert fleet(["a"], {"a": DOWN})["first"] == ""


def test_who_comes_first_decides_what_an_image_is() -> None:
    other = "registry/elsa:0.3.0"
    second = prepared(digests={API: API + "@sha256:b", other: other + "@sha256:c"})
    found = fleet(["a", "b"], {"a": prepared(), "b": second})
    assert found["digests"] == {API: API + "@sha256:a", other: other + "@sha256:c"}
    assert found["differing"] == ["b"]


def test_a_rollout_takes_those_that_need_it_in_their_order() -> None:
    hostvars = {"c": prepared(), "a": prepared(needed=False), "b": prepared()}
    found = fleet(["c", "a", "b"], hostvars)
    assert (found["rollout"], found["batches"]) == (["c", "b"], [1, "25%", "100%"])
    assert found["unchanged"] == ["a"]


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ("10%", ["10%"]),
        ("1, 50%", [1, "50%"]),
        (2, [2]),
        (["2", "100%"], [2, "100%"]),
        ([], ["100%"]),
        (None, ["100%"]),
    ],
)
def test_steps_are_read_as_ansible_reads_them(batches: Any, expected: list[Any]) -> None:
    assert fleet(["a"], {"a": prepared(batches=batches)})["batches"] == expected


def test_who_has_the_new_release_is_told_how_to_take_it_back() -> None:
    failed = deployed({"failed": True, "outcome": "rolled_back"}, __tamma_update_problem="x")
    found = fleet(["a", "b", "c"], {"a": deployed(), "b": failed, "c": prepared()})
    assert "rollback.yml --limit a; other hosts would go one release further back" in found["lines"][1]
    assert len(fleet(["b", "c"], {"b": failed, "c": prepared()})["lines"]) == 1


def test_a_module_that_died_may_have_left_two_releases() -> None:
    died = {"failed": True, "module_stdout": "", "msg": "MODULE FAILURE"}
    found = fleet(["a"], {"a": deployed(died, __tamma_update_problem="MODULE FAILURE")})
    assert "may be between two releases: run the playbook again.\nMODULE FAILURE" in found["failed"]["a"]
    back_again = fleet_rollback(["a"], {"a": back(died, __tamma_update_problem="MODULE FAILURE")})
    assert "may be between two releases: type 'tammactl resume' on it." in back_again["failed"]["a"]


@pytest.mark.parametrize(
    "problem", [{**ANSWERS, "__tamma_update_problem": "x"}, {**prepared(needed=False), "__tamma_update_problem": "x"}]
)
def test_a_host_that_cannot_keeps_all_of_them(problem: dict[str, Any]) -> None:
    found = fleet(["a", "b"], {"a": prepared(), "b": problem})
    assert found["rollout"] == []
    assert found["failed"] == {"b": "x"}
    assert found["lines"] == ["The rollout has not begun, because of b."]


def test_a_host_that_is_down_is_left_out_and_reported() -> None:
    found = fleet(["a", "b"], {"a": prepared(), "b": DOWN})
    assert found["rollout"] == ["a"]
    assert found["failed"] == {"b": "The host was not reached, and has not been updated. No route."}
    assert found["lines"] == ["Not reached: b. Run this again when they are back."]


def test_a_host_that_is_down_stops_it_when_the_operator_wants_that() -> None:
    found = fleet(["a", "b"], {"a": prepared(when_unreachable="stop"), "b": DOWN})
    assert found["rollout"] == []
    assert list(found["failed"]) == ["b"]
    assert found["lines"] == ["The rollout has not begun, because of b."]


def test_a_host_outside_of_the_limit_stops_nothing() -> None:
    found = fleet(["a", "b"], {"a": prepared(when_unreachable="stop"), "b": {}})
    assert found["rollout"] == ["a"]
    assert [row["host"] for row in found["rows"]] == ["a"]


def test_the_table() -> None:
    failed = deployed({"failed": True, "outcome": "rolled_back", "seconds": 36.1}, __tamma_update_problem="x")
    hostvars = {"a": deployed(), "b": failed, "c": prepared(), "d": prepared(needed=False, mode="")}
    found = fleet(["a", "b", "c", "d"], hostvars)
    was = "0.2.0 (release 3)"
    assert [tuple(row.values()) for row in found["rows"]] == [
        ("a", was, "0.3.0 (release 4)", "guarded", "21", "updated"),
        ("b", was, "0.3.0", "guarded", "36", "failed, rolled back"),
        ("c", was, "0.3.0", "guarded", "", "not touched"),
        ("d", was, "", "", "", "unchanged"),
    ]
    assert found["failed"] == {"b": "x"}
    assert "The rollout ended at b; hosts not touched: 1." in found["lines"][0]


@pytest.mark.parametrize(("named", "to"), [({"release": 4}, "0.3.0 (release 4)"), ({}, "0.3.0")])
def test_a_release_that_serves_and_is_not_completed_ends_the_rollout(named: dict[str, Any], to: str) -> None:
    result = {"failed": True, "outcome": "incomplete", "seconds": 21.4, **named}
    found = fleet(["a", "b"], {"a": deployed(result, __tamma_update_problem="x"), "b": prepared()})
    assert tuple(found["rows"][0].values())[2:] == (to, "guarded", "21", "serves, not completed")
    assert found["failed"] == {"a": "x"}
    assert "The rollout ended at a; hosts not touched: 1." in found["lines"][0]


def test_what_fails_before_the_deploy_ends_the_rollout() -> None:
    failed = {**prepared(), "__tamma_update_problem": "x"}
    found = fleet(["a", "b"], {"a": failed, "b": prepared()})
    assert found["lines"] == ["The rollout has not begun, because of a."]
    later = fleet(["a", "b", "c"], {"a": deployed(), "b": failed, "c": prepared()})
    assert later["failed"] == {"b": "x"}
    assert "The rollout ended at b; hosts not touched: 1." in later["lines"][0]


def test_what_a_host_took_before_it_went_back_counts() -> None:
    back = deployed({"release": 5, "seconds": 3.0}, __tamma_update_went_back=True, __tamma_update_seconds=21.4)
    assert fleet(["a"], {"a": back})["rows"][0]["seconds"] == "21"


def test_where_the_rows_are_that_a_host_served_before_it_went_back() -> None:
    gone = deployed({"release": 5, "kept_as": "tamma_guard_5"}, __tamma_update_went_back=True)
    told = "a: the database with what was written since is kept as tamma_guard_5."
    assert fleet(["a"], {"a": gone})["lines"][-1] == told
    assert not any("kept" in line for line in fleet(["a"], {"a": deployed()})["lines"])


def test_without_any_variables_nobody_gets_it() -> None:
    found = FilterModule().filters()["fleet"](["a"], {})
    assert (found["rollout"], found["batches"]) == ([], ["100%"])


def back(release: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A host that went back."""
    went = {"former": {"number": 4, "version": "0.3.0"}, "version": "0.2.0", "release": 5, "mode": "guarded"}
    went.update({"seconds": 9.6, "changed": True})
    return {**ANSWERS, "__tamma_stack_release": went if release is None else release, **more}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, "not touched"),
        (DOWN, "not reached"),
        (back(), "went back"),
        (back({"changed": False}), "unchanged"),
        (back({"unreachable": True}), "connection lost"),
        (back(__tamma_stack_status={"unreachable": True}), "connection lost"),
        ({**ANSWERS, "__tamma_update_problem": "x"}, "failed, nothing changed"),
        (back({"failed": True}, __tamma_update_problem="x"), "failed, nothing changed"),
        (back({"failed": True, "outcome": "rolled_back"}, __tamma_update_problem="x"), "failed, rolled back"),
        (back({"failed": True, "outcome": "stuck"}, __tamma_update_problem="x"), "failed, not rolled back"),
        (back({"failed": True, "outcome": "incomplete"}, __tamma_update_problem="x"), "serves, not completed"),
        (back({"failed": True, "outcome": "completed"}, __tamma_update_problem="x"), "completed, not gone back"),
        (back({"failed": True, "module_stdout": ""}, __tamma_update_problem="x"), "cut off"),
        (back(__tamma_update_unwell=True, __tamma_update_problem="x"), "unwell"),
    ],
)
def test_what_became_of_a_host_that_goes_back(known: dict[str, Any], expected: str) -> None:
    found = fleet_rollback(["a"], {"a": known})
    assert found["rows"][0]["outcome"] == expected
    assert bool(found["failed"]) == (expected not in ("not touched", "went back", "unchanged"))


def test_the_table_of_a_rollback() -> None:
    failed = back({"failed": True, "outcome": "rolled_back", "seconds": 36.1}, __tamma_update_problem="x")
    found = fleet_rollback(["a", "b", "c", "d"], {"a": DOWN, "b": back(), "c": failed, "d": {}})
    assert [tuple(row.values()) for row in found["rows"]] == [
        ("a", "", "", "", "", "not reached"),
        ("b", "0.3.0 (release 4)", "0.2.0 (release 5)", "guarded", "10", "went back"),
        ("c", "", "", "", "36", "failed, rolled back"),
        ("d", "", "", "", "", "not touched"),
    ]
    assert found["failed"] == {"a": "The host was not reached, and has not gone back. No route.", "c": "x"}
    assert found["lines"][0] == "The rollback ended at c; hosts not touched: 1."
    assert "with --limit a,c,d: other hosts would go one release further back" in found["lines"][1]


def test_a_rollback_that_is_not_completed_names_the_release_that_serves() -> None:
    result = {"failed": True, "outcome": "incomplete", "release": 5}
    found = fleet_rollback(["a"], {"a": back(result, __tamma_update_problem="x")})
    assert found["rows"][0]["to"] == "release 5"
    assert found["lines"] == ["The rollback ended at a; hosts not touched: 0."]


def test_a_check_of_a_rollback() -> None:
    planned = {"former": {"number": 4, "version": "0.3.0"}, "seconds": 0.7, "changed": True}
    found = fleet_rollback(["a", "b"], {"a": back(planned), "b": DOWN}, check=True)
    assert tuple(found["rows"][0].values()) == ("a", "0.3.0 (release 4)", "", "", "", "would go back")
    assert list(found["failed"]) == ["b"]
    assert found["lines"] == ["This was a check: nothing was changed."]
