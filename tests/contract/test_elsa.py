"""The contract of elsa-server: ELSA 3.0.0 as Tamma builds it."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .asking import Reply, until
from .peers import Recorder
from .postgres import Database
from .processes import Driver, Service

API = "/elsa/api"
DEFINITIONS = f"{API}/workflow-definitions"
INSTANCES = f"{API}/workflow-instances"
#: The only one there is.
KEY = {"Authorization": "ApiKey 00000000-0000-0000-0000-000000000000"}


def literal(kind: str, value: str) -> dict[str, Any]:
    return {"typeName": kind, "expression": {"type": "Literal", "value": value}}


def request(url: str) -> dict[str, Any]:
    return {
        "type": "Elsa.FlowSendHttpRequest",
        "version": 1,
        "id": url.rsplit("/", 1)[1],
        "url": literal("Uri", url),
        "method": literal("String", "GET"),
    }


def write() -> dict[str, Any]:
    return {"type": "Elsa.WriteLine", "version": 1, "id": "write", "text": literal("String", "x")}


def delay(seconds: int) -> dict[str, Any]:
    span = literal("TimeSpan", f"00:00:{seconds:02}")
    return {"type": "Elsa.Delay", "version": 1, "id": "delay", "timeSpan": span}


def timer(seconds: int) -> dict[str, Any]:
    return {
        "type": "Elsa.Timer",
        "version": 1,
        "id": "timer",
        "interval": literal("TimeSpan", f"00:00:{seconds:02}"),
        "customProperties": {"canStartWorkflow": True},
    }


def save(service: Service, *activities: dict[str, Any]) -> Reply:
    """Save a workflow called `w`."""
    root = {"type": "Elsa.Sequence", "version": 1, "id": "sequence", "activities": list(activities)}
    model = {"definitionId": "w", "name": "w", "version": 1, "isPublished": True, "root": root}
    return service.ask(DEFINITIONS, "POST", {"model": model, "publish": True}, headers=KEY)


def run(service: Service, how: str, name: str = "w") -> Reply:
    """how: `execute` waits for its end, `dispatch` does not."""
    return service.ask(f"{DEFINITIONS}/{name}/{how}", "POST", {}, headers=KEY)


def states(database: Database) -> list[str]:
    return database.query("""SELECT "Status" || ' ' || "SubStatus" FROM "Elsa"."WorkflowInstances" """)


# How it starts, and what it says of itself


def test_its_health_checks_nothing(elsa: Driver, database: Database) -> None:
    service = elsa.start().health()
    assert service.ask("/health").text == "Healthy"
    database.server.stop()
    try:
        assert service.ask("/health").status == 200
        assert service.ask(DEFINITIONS, headers=KEY).status == 500
    finally:
        database.server.start()
    assert until(lambda: service.ask(DEFINITIONS, headers=KEY).status == 200, 10)


def test_it_aborts_without_its_database(elsa: Driver, database: Database) -> None:
    for string in (database.string(password="wrong"), database.string(name="missing"), database.string(port=1)):
        service = elsa.start(ConnectionStrings__DefaultConnection=string)
        assert service.ended() == elsa.aborted
        assert "Unhandled exception" in service.log


def test_any_signing_key_will_do_until_somebody_logs_in(elsa: Driver) -> None:
    login = {"username": "admin", "password": "password"}
    elsa.start(Elsa__Identity__SigningKey=None).health()
    short = elsa.start(Elsa__Identity__SigningKey="short").health()
    assert short.ask(f"{API}/identity/login", "POST", login).status == 500


def test_no_broker_is_called(elsa: Driver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.setblocking(False)
        port = str(broker.getsockname()[1])
        service = elsa.start(RabbitMq__HostName="127.0.0.1", RabbitMq__Port=port).health()
        assert save(service, write()).status == 201
        assert run(service, "execute").status == 200
        with pytest.raises(BlockingIOError):
            broker.accept()


def test_there_is_no_page(elsa: Driver) -> None:
    service = elsa.start().health()
    for path in ("/", "/index.html", "/swagger", "/_framework/blazor.webassembly.js", "/metrics"):
        assert service.ask(path).status == 404, path


def test_serilog_decides_what_stands_in_its_log(elsa: Driver) -> None:
    service = elsa.start(Logging__LogLevel__Default="Error", Serilog__MinimumLevel__Default="Debug").health()
    save(service, write())
    assert until(lambda: "INF] HTTP GET /health responded 200" in service.log, 5)
    assert "w'q" not in service.log
    quiet = elsa.start(Serilog__MinimumLevel__Default="Error").health()
    quiet.stop()
    assert "responded" not in quiet.log


# Who gets in


def test_one_key_and_one_login_open_everything(elsa: Driver) -> None:
    service = elsa.start(Elsa__ApiKey="a-key-of-ours").health()
    for headers in ({}, {"Authorization": "ApiKey a-key-of-ours"}, {"Authorization": "Basic YWRtaW46cGFzc3dvcmQ="}):
        assert service.ask(DEFINITIONS, headers=headers).status == 401, headers
    assert service.ask(DEFINITIONS, headers=KEY).status == 200
    login = f"{API}/identity/login"
    assert not service.ask(login, "POST", {"username": "admin", "password": "x"}).json()["isAuthenticated"]
    token = service.ask(login, "POST", {"username": "admin", "password": "password"}).json()["accessToken"]
    assert service.ask(DEFINITIONS, headers={"Authorization": f"Bearer {token}"}).status == 200


# What it keeps


def test_its_tables_are_in_a_schema_of_its_own(elsa: Driver, database: Database) -> None:
    elsa.start().health()
    names = "ActivityExecutionRecords Bookmarks Triggers WorkflowDefinitions WorkflowExecutionLogRecords"
    names += " WorkflowInboxMessages WorkflowInstances __EFMigrationsHistory"
    assert database.tables() == [f"Elsa.{name}" for name in names.split()]
    assert database.query('SELECT "MigrationId" FROM "Elsa"."__EFMigrationsHistory" ORDER BY 1') == [
        "20231015122234_Initial",
        "20231024160952_Initial",
    ]


def test_of_two_at_once_one_dies(elsa: Driver, database: Database) -> None:
    for number in range(4):
        name = f"{database.name}_{number}"
        database.server.query(f"CREATE DATABASE {name} OWNER tamma")
        pair = [elsa.start(ConnectionStrings__DefaultConnection=database.string(name=name)) for _ in "12"]
        until(lambda pair=pair: all(not one.running or one.ask("/health").status for one in pair), 30)
        dead = [one for one in pair if not one.running]
        assert len(dead) < 2
        if dead:
            assert dead[0].ended() == elsa.aborted
            assert "42P07" in dead[0].log or "23505" in dead[0].log
            return
        for one in pair:
            one.stop()
    raise AssertionError("four times both have lived")


def test_pages_count_from_zero(elsa: Driver) -> None:
    service = elsa.start().health()
    assert save(service, write()).status == 201
    pages = [service.ask(f"{DEFINITIONS}?page={page}&pageSize=100", headers=KEY).json() for page in (0, 1)]
    assert [(len(page["items"]), page["totalCount"]) for page in pages] == [(1, 1), (0, 1)]


def test_who_executes_waits_and_who_dispatches_does_not(elsa: Driver, database: Database, recorder: Recorder) -> None:
    service = elsa.start().health()
    assert save(service, request(recorder.url + "/slow/2")).status == 201
    began = time.monotonic()
    assert run(service, "execute").status == 200
    waited = time.monotonic() - began
    assert run(service, "dispatch").json()["workflowInstanceId"]
    assert waited > 1.9 > time.monotonic() - began - waited
    assert until(lambda: states(database) == ["Finished Finished"] * 2, 15)
    assert run(service, "execute", "missing").status == 404


def test_it_keeps_every_instance_until_somebody_deletes_it(elsa: Driver, database: Database) -> None:
    service = elsa.start().health()
    save(service, write())
    assert {run(service, "execute").status for _ in range(5)} == {200}
    service.stop()
    service = elsa.start().health()
    page = service.ask(f"{INSTANCES}?page=0&pageSize=3", headers=KEY).json()
    assert page["totalCount"] == 5
    gone = {"ids": [item["id"] for item in page["items"]]}
    delete = f"{API}/bulk-actions/delete/workflow-instances/by-id"
    assert service.ask(delete, "POST", gone, headers=KEY).status == 200
    assert len(states(database)) == 2
    for table in ("WorkflowExecutionLogRecords", "ActivityExecutionRecords"):
        assert database.query(f'SELECT count(DISTINCT "WorkflowInstanceId") FROM "Elsa"."{table}"') == ["2"], table


# The folder of its locks


def test_without_a_folder_for_its_locks_nothing_can_be_saved(elsa: Driver) -> None:
    service = elsa.start(read_only=True).health()
    assert save(service, write()).status == 500
    assert "Failed to ensure that lock file directory" in service.log


def test_a_volume_for_locks_and_keys_is_all_that_it_needs(elsa: Driver, recorder: Recorder) -> None:
    volume = elsa.volume()
    service = elsa.start(read_only=True, volume=volume, HOME=str(volume)).health()
    assert save(service, request(recorder.url + "/once")).status == 201
    assert run(service, "execute").status == 200
    assert len(recorder.of("GET", "/once")) == 1
    assert list(volume.glob(".aspnet/DataProtection-Keys/*.xml"))


def test_full_logs_harm_nobody(elsa: Driver) -> None:
    service = elsa.start(read_only=True, logs="16k").health()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: service.ask("/health").status, range(400))) == {200}


@pytest.mark.parametrize("shared", [True, False])
def test_what_waits_continues_once_for_each_folder_of_locks(elsa: Driver, recorder: Recorder, shared: bool) -> None:
    volumes = [elsa.volume()]
    volumes.append(volumes[0] if shared else elsa.volume())
    service = elsa.start(read_only=True, volume=volumes[0]).health()
    save(service, request(recorder.url + "/before"), delay(12), request(recorder.url + "/after"))
    assert {run(service, "dispatch").status for _ in range(6)} == {200}
    assert until(lambda: len(recorder.of("GET", "/before")) == 6, 10)
    # An instance is written down when it pauses, a moment after what it did last.
    listed = f"{INSTANCES}?page=0&pageSize=1&subStatus=Suspended"
    assert until(lambda: service.ask(listed, headers=KEY).json()["totalCount"] == 6, 10)
    service.stop()
    for one in [elsa.start(read_only=True, volume=volume) for volume in volumes]:
        one.health()
    assert until(lambda: len(recorder.of("GET", "/after")) >= 6, 40)
    until(lambda: len(recorder.of("GET", "/after")) > 6, 5)
    assert (len(recorder.of("GET", "/after")) == 6) is shared


def test_a_timer_fires_in_every_replica(elsa: Driver, recorder: Recorder) -> None:
    volume = elsa.volume()
    first = elsa.start(read_only=True, volume=volume).health()
    save(first, timer(3), request(recorder.url + "/tick"))

    def ticks() -> int:
        recorder.asked.clear()
        time.sleep(12)
        return len(recorder.of("GET", "/tick"))

    alone = ticks()
    elsa.start(read_only=True, volume=volume).health()
    both = ticks()
    assert 3 <= alone <= 5
    assert both >= 2 * alone - 2


# How it stops


def test_idle_it_stops_at_once(elsa: Driver) -> None:
    ended = elsa.start().health().stop()
    assert (ended.status, ended.seconds < 5) == (0, True)


def test_what_is_inside_an_activity_is_lost(elsa: Driver, database: Database, recorder: Recorder) -> None:
    service = elsa.start().health()
    save(service, request(recorder.url + "/slow/3"), request(recorder.url + "/after"))
    run(service, "dispatch")
    assert until(lambda: recorder.of("GET", "/slow"), 10)
    ended = service.stop()
    assert (ended.status, ended.seconds < 2) == (0, True)
    elsa.start().health()
    assert not until(lambda: recorder.of("GET", "/after") or states(database), 5)


def test_what_a_request_waits_for_is_finished(elsa: Driver, database: Database, recorder: Recorder) -> None:
    service = elsa.start().health()
    save(service, request(recorder.url + "/slow/5"), request(recorder.url + "/after"))
    with ThreadPoolExecutor() as pool:
        reply = pool.submit(run, service, "execute")
        assert until(lambda: recorder.of("GET", "/slow"), 10)
        ended = service.stop()
        assert (ended.status, 3 < ended.seconds < 20) == (0, True)
        assert reply.result().status == 200
    assert states(database) == ["Finished Finished"]
    assert len(recorder.of("GET", "/after")) == 1


def test_a_request_that_hangs_is_cut_after_half_a_minute(elsa: Driver, database: Database, recorder: Recorder) -> None:
    service = elsa.start().health()
    save(service, request(recorder.url + "/slow/50"), request(recorder.url + "/after"))
    threading.Thread(target=run, args=(service, "execute"), daemon=True).start()
    assert until(lambda: recorder.of("GET", "/slow"), 10)
    assert 25 < service.stop(90).seconds < 40
    assert not states(database)
    assert not recorder.of("GET", "/after")
