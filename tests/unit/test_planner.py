# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deploy would do to the containers, decided from facts alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.compose import Port, Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.planner import (
    ALONE_LABEL,
    STOPPING_LABEL,
    STORED_LABEL,
    Change,
    Container,
    Plan,
    check_stored_settings,
    creatable_together,
    doubled_ports,
    plan,
    split_orphans,
    start_order,
    startable,
)


def service(name: str, **facts: Any) -> Service:
    """A service with one replica and nothing else."""
    usual: dict[str, Any] = {
        "image": "registry/%s:1" % name,
        "replicas": 1,
        "depends_on": {},
        "ports": [],
        "volumes": [],
        "labels": {},
        "config_hash": "hash-of-" + name,
    }
    return Service(name=name, **{**usual, **facts})


def project(*services: Service) -> Project:
    return Project("tamma", {item.name: item for item in services}, [])


def container(name: str, **facts: Any) -> Container:
    """A running container that is as ``service(name)`` wants it."""
    usual: dict[str, Any] = {
        "id": name + "-1",
        "service": name,
        "config_hash": "hash-of-" + name,
        "image_id": "sha256:" + name,
        "state": "running",
    }
    return Container(**{**usual, **facts})


def local(*names: str) -> dict[str, str | None]:
    return {"registry/%s:1" % name: "sha256:" + name for name in names}


# -- plan -----------------------------------------------------------------------------------


def test_nothing_to_do() -> None:
    planned = plan(project(service("api")), [container("api")], local("api"))
    assert planned.action("api") is None
    assert planned == Plan(pulls=[], refreshes=[], changes=[], orphans=[])


@pytest.mark.parametrize(
    ("wanted", "current", "action", "reason"),
    [
        ({}, [], "create", "new"),
        ({}, [{"config_hash": "old"}], "recreate", "its definition changed"),
        ({}, [{"image_id": "sha256:old"}], "recreate", "its image changed"),
        ({"replicas": 2}, [{}, {"config_hash": "old"}], "recreate", "its definition changed"),
        ({"replicas": 3}, [{}], "scale", "3 instead of 1 containers"),
        ({"replicas": 0}, [{}], "scale", "0 instead of 1 containers"),
        ({}, [{"state": "exited"}], "start", "it is exited"),
        ({}, [{"state": "created"}], "start", "it is created"),
        ({}, [{"state": "paused"}], "start", "it is paused"),
        ({"replicas": 2}, [{"state": "exited"}, {"state": "dead"}], "start", "it is dead and exited"),
    ],
)
def test_what_happens_to_a_service(
    wanted: dict[str, Any], current: list[dict[str, Any]], action: str, reason: str
) -> None:
    found = [container("api", **facts) for facts in current]
    planned = plan(project(service("api", **wanted)), found, local("api"))
    assert planned.changes == [Change("api", action, reason)]
    assert planned.action("api") == action


@pytest.mark.parametrize("facts", [{"config_hash": "old"}, {"image_id": "sha256:old"}])
def test_what_is_lost_when_a_service_is_replaced(facts: dict[str, str]) -> None:
    wanted = service("api", labels={STOPPING_LABEL: "what it is doing is lost"})
    (change,) = plan(project(wanted), [container("api", **facts)], local("api")).changes
    assert change.reason.endswith(" changed (what it is doing is lost)")


def test_why_a_service_has_one_container_from_now_on() -> None:
    wanted = service("api", labels={ALONE_LABEL: "timers fire twice"})
    planned = plan(project(wanted), [container("api"), container("api", id="2")], local("api"))
    assert planned.changes == [Change("api", "scale", "1 instead of 2 containers (timers fire twice)")]


def test_what_is_lost_with_fewer_containers_and_with_a_service_that_goes() -> None:
    wanted = service("api", labels={STOPPING_LABEL: "what it is doing is lost"})
    gone = container("old", id="3")._replace(stopping="that as well")
    planned = plan(project(wanted), [container("api"), container("api", id="2"), gone], local("api"))
    assert [change.reason for change in planned.changes] == [
        "1 instead of 2 containers (what it is doing is lost)",
        "no longer part of the stack (that as well)",
    ]


@pytest.mark.parametrize("state", ["running", "restarting"])
def test_a_container_that_is_up_stays(state: str) -> None:
    assert plan(project(service("api")), [container("api", state=state)], local("api")).changes == []


def test_a_service_without_replicas_is_not_created() -> None:
    assert plan(project(service("api", replicas=0)), [], local("api")).changes == []


def test_a_missing_image_is_pulled_and_recreates_nothing_by_itself() -> None:
    planned = plan(project(service("api")), [container("api")], {"registry/api:1": None})
    assert planned.pulls == ["registry/api:1"]
    assert planned.changes == []


def test_every_image_is_asked_for_again_on_demand() -> None:
    both = project(service("b"), service("a"))
    planned = plan(both, [container("a"), container("b")], local("b", "a"), pull_always=True)
    assert planned.refreshes == ["registry/a:1", "registry/b:1"]
    assert planned.pulls == []


def test_changes_come_in_the_order_in_which_services_start_and_removals_last() -> None:
    wanted = project(service("api", depends_on={"postgres": "service_healthy"}), service("postgres"))
    planned = plan(wanted, [container("a-former-service")], local("api", "postgres"))
    assert [(change.service, change.action) for change in planned.changes] == [
        ("postgres", "create"),
        ("api", "create"),
        ("a-former-service", "remove"),
    ]
    assert [orphan.id for orphan in planned.orphans] == ["a-former-service-1"]


# -- order ----------------------------------------------------------------------------------


@st.composite
def projects_without_circles(draw: st.DrawFn) -> Project:
    names = draw(st.lists(st.text("abcdef", min_size=1, max_size=3), unique=True, max_size=8))
    services = []
    for number, name in enumerate(names):
        earlier = st.sets(st.sampled_from(names[:number])) if number else st.just(set())
        services.append(service(name, depends_on=dict.fromkeys(sorted(draw(earlier)), "service_healthy")))
    return project(*draw(st.permutations(services)))


@given(projects_without_circles())
def test_each_service_starts_after_what_it_depends_on(wanted: Project) -> None:
    order = start_order(wanted)
    assert sorted(order) == sorted(wanted.services)
    for name, item in wanted.services.items():
        assert all(order.index(other) < order.index(name) for other in item.depends_on)


@given(projects_without_circles(), st.randoms())
def test_the_order_does_not_depend_on_how_the_file_is_sorted(wanted: Project, random: Any) -> None:
    shuffled = list(wanted.services.items())
    random.shuffle(shuffled)
    assert start_order(wanted._replace(services=dict(shuffled))) == start_order(wanted)


def test_a_dependency_that_is_not_part_of_the_project_holds_nobody_up() -> None:
    wanted = project(service("api", depends_on={"postgres": "service_healthy"}))
    assert start_order(wanted) == ["api"]
    assert startable(wanted, ["api"], [], []) == ["api"]


def test_a_circle_is_refused_by_name() -> None:
    wanted = project(
        service("a", depends_on={"b": "service_started"}),
        service("b", depends_on={"a": "service_started"}),
        service("innocent"),
    )
    with pytest.raises(OperatorError, match=r"^The services a, b depend on each other in a circle\.$"):
        start_order(wanted)


@pytest.mark.parametrize(
    ("condition", "started", "ready", "may_start"),
    [
        ("service_started", [], [], False),
        ("service_started", ["postgres"], [], True),
        ("service_started", [], ["postgres"], True),
        ("service_healthy", ["postgres"], [], False),
        ("service_healthy", ["postgres"], ["postgres"], True),
        ("service_completed_successfully", ["postgres"], [], False),
        ("service_completed_successfully", ["postgres"], ["postgres"], True),
    ],
)
def test_when_a_service_may_start(condition: str, started: list[str], ready: list[str], may_start: bool) -> None:
    wanted = project(service("postgres"), service("api", depends_on={"postgres": condition}))
    assert startable(wanted, ["api"], started, ready) == (["api"] if may_start else [])


def test_every_dependency_counts() -> None:
    needs = {"postgres": "service_healthy", "rabbitmq": "service_started"}
    wanted = project(service("postgres"), service("rabbitmq"), service("elsa", depends_on=needs))
    assert startable(wanted, ["elsa"], ["postgres", "rabbitmq"], []) == []
    assert startable(wanted, ["elsa"], ["postgres"], ["postgres"]) == []
    assert startable(wanted, ["elsa"], ["postgres", "rabbitmq"], ["postgres"]) == ["elsa"]


# -- orphans --------------------------------------------------------------------------------


def test_only_orphans_on_a_wanted_port_go_first() -> None:
    wanted = project(service("edge", ports=[Port("127.0.0.1", 8080, 80, "tcp"), Port("", 8443, 443, "tcp")]))
    blocking = container("nginx", ports=(80, 8443))
    harmless = [container("old", ports=(3000,)), container("worker")]
    assert split_orphans(wanted, [harmless[0], blocking, harmless[1]]) == ([blocking], harmless)


def test_the_engine_goes_before_the_one_in_its_place_comes() -> None:
    engine, other = container("tamma-engine"), container("old")
    assert split_orphans(project(service("tamma-api")), [other, engine]) == ([engine], [other])


# -- stored settings ------------------------------------------------------------------------

POSTGRES = service(
    "postgres", volumes=["tamma_pg-data"], labels={STORED_LABEL: "POSTGRES_DB POSTGRES_USER POSTGRES_PASSWORD"}
)
STORED = project(POSTGRES, service("api", volumes=["tamma_other"]))


def test_the_compose_files_mark_what_postgres_and_rabbitmq_store() -> None:
    root = Path(__file__).resolve().parents[2]
    text = (root / "roles/tamma_stack/files/compose/docker-compose.yml").read_text(encoding="utf-8")
    services = yaml.safe_load(text)["services"]
    assert services["postgres"]["labels"][STORED_LABEL] == POSTGRES.labels[STORED_LABEL]
    assert "RABBITMQ_PASSWORD" in services["rabbitmq"]["labels"][STORED_LABEL].split()


@pytest.mark.parametrize(
    ("before", "after", "given"),
    [
        pytest.param({"POSTGRES_PASSWORD": "a"}, {"POSTGRES_PASSWORD": "a"}, [], id="a second run"),
        pytest.param(
            {"POSTGRES_PASSWORD": "a", "POSTGRES_DB": "x"},
            {"POSTGRES_PASSWORD": "a", "POSTGRES_DB": "x"},
            ["POSTGRES_PASSWORD"],
            id="a second run with everything set",
        ),
        pytest.param(
            {}, {"POSTGRES_PASSWORD": "a"}, ["POSTGRES_PASSWORD"], id="the file is lost and the operator knows it"
        ),
    ],
)
def test_settings_that_stay_are_accepted(before: dict[str, str], after: dict[str, str], given: list[str]) -> None:
    assert check_stored_settings(STORED, ["tamma_pg-data"], before, after, given, {}) == []


def test_a_first_run_may_set_anything() -> None:
    assert check_stored_settings(STORED, [], {}, {"POSTGRES_PASSWORD": "new"}, [], {}) == []
    assert check_stored_settings(STORED, ["tamma_other"], {}, {"POSTGRES_PASSWORD": "new"}, [], {}) == []


@pytest.mark.parametrize("after", [{"POSTGRES_PASSWORD": "other-value"}, {}])
def test_a_changed_password_is_refused_without_being_shown(after: dict[str, str]) -> None:
    (problem,) = check_stored_settings(
        STORED, ["tamma_pg-data"], {"POSTGRES_PASSWORD": "former-value"}, after, ["POSTGRES_PASSWORD"], {}
    )
    assert problem.startswith("POSTGRES_PASSWORD differs from the value that postgres was first started with")
    assert "tamma_pg-data" in problem
    assert "-value" not in problem


def test_a_made_up_password_for_an_existing_volume_is_refused() -> None:
    (problem,) = check_stored_settings(STORED, ["tamma_pg-data"], {}, {"POSTGRES_PASSWORD": "made-up"}, [], {})
    assert problem.startswith("The volume tamma_pg-data of postgres exists, but the POSTGRES_PASSWORD")
    assert "made-up" not in problem


def test_a_setting_that_leaves_its_default_is_refused() -> None:
    """The volume was made with the default, whether or not it stood in the file."""
    after = {"POSTGRES_PASSWORD": "a", "POSTGRES_DB": "another"}
    (problem,) = check_stored_settings(STORED, ["tamma_pg-data"], {"POSTGRES_PASSWORD": "a"}, after, [], {})
    assert "POSTGRES_DB" in problem


def test_a_job_that_ended_well_is_not_started_again() -> None:
    wanted = project(service("job", restart="on-failure"), service("api", restart="unless-stopped"))
    ended = [container("job", state="exited", done=True), container("api", state="exited", done=True)]
    assert [change.service for change in plan(wanted, ended, local("job", "api")).changes] == ["api"]


def test_two_services_on_one_port_are_told() -> None:
    ports = [Port("127.0.0.1", 3000, 80, "tcp")]
    (problem,) = doubled_ports(project(service("api", ports=ports), service("web", ports=ports)))
    assert problem.startswith("Port 3000 would be published by api and by web")
    assert doubled_ports(project(service("api", ports=ports), service("web"))) == []


def test_only_what_stands_on_unchanged_services_is_created_at_once() -> None:
    needs = {"postgres": "service_healthy"}
    wanted = project(
        service("postgres"), service("new", depends_on=needs), service("alone"), service("onto", depends_on={"new": ""})
    )
    changed = plan(wanted, [container("postgres", config_hash="former")], local("postgres", "new", "alone", "onto"))
    assert creatable_together(wanted, changed) == ["alone"]
    kept = plan(wanted, [container("postgres")], local("postgres", "new", "alone", "onto"))
    assert creatable_together(wanted, kept) == ["alone", "new", "onto"]


def test_what_was_stopped_is_created_at_once_as_well() -> None:
    needs = {"elsa": "service_healthy"}
    wanted = project(service("elsa"), service("api", depends_on=needs), service("web", depends_on={"api": ""}))
    there = [container(name, config_hash="former") for name in ("elsa", "api", "web")]
    changed = plan(wanted, there, local("elsa", "api", "web"))
    assert creatable_together(wanted, changed, ["elsa", "api"]) == ["elsa", "api"]
    # Compose would replace what runs and serves.
    assert creatable_together(wanted, changed, ["api"]) == []
