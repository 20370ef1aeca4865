"""ELSA's workflows: kept in its schema, run by a small interpreter, continued by a scheduler in memory.

An instance is written down when it pauses or ends, and at no other moment. What it knows: a sequence of
`WriteLine`, `Delay`, `Timer`, `HttpEndpoint` and `SendHttpRequest`.
"""

import contextlib
import fcntl
import hashlib
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .database import Database
from .process import log, stopping

LOCKS = Path("App_Data") / "locks"
SECONDS_OF_A_REQUEST = 100
TIMER, DELAY, ENDPOINT, WRITE = "Elsa.Timer", "Elsa.Delay", "Elsa.HttpEndpoint", "Elsa.WriteLine"
REQUESTS = ("Elsa.SendHttpRequest", "Elsa.FlowSendHttpRequest")
TRIGGERS = (TIMER, ENDPOINT)

_DEFINITION = '"Id", "DefinitionId", "Name", "Version", "StringData", "IsLatest", "IsPublished", "Description"'
_INSTANCE = '"Id", "DefinitionId", "DefinitionVersionId", "Version", "Status", "SubStatus", "CreatedAt", "FinishedAt"'


class Unusable(Exception):
    """A workflow that cannot be saved as it is."""


class Definition:
    """A version of a workflow."""

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.id, self.definition_id, self.name, self.version, text, self.latest, self.published, self.description = row
        self.root: dict[str, Any] = json.loads(text)

    @property
    def activities(self) -> list[dict[str, Any]]:
        inner = self.root.get("activities")
        return inner if isinstance(inner, list) else [self.root]

    @property
    def trigger(self) -> dict[str, Any] | None:
        """The activity that starts it by itself, if it has one."""
        first = self.activities[0] if self.activities else {}
        starts = first.get("customProperties", {}).get("canStartWorkflow")
        return first if first.get("type") in TRIGGERS and starts else None

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "definitionId": self.definition_id,
            "name": self.name,
            "description": self.description,
            "version": self.version,
            "isLatest": self.latest,
            "isPublished": self.published,
            "root": self.root,
        }


class Workflows:
    """Every workflow of one database, and what of it this process has to do at which time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: Definition -> what ends its timer.
        self._timers: dict[str, threading.Event] = {}

    def begin(self) -> None:
        """Take up what waits: every process does, and knows nothing of the others."""
        for bookmark, payload in self._database.rows(
            'SELECT "BookmarkId", "SerializedPayload" FROM "Elsa"."Bookmarks" WHERE "ActivityTypeName" = ANY(%s)',
            ([DELAY, TIMER],),
        ):
            self._continue_at(bookmark, json.loads(payload)["resumeAt"])
        for (name,) in self._database.rows(
            'SELECT DISTINCT "WorkflowDefinitionId" FROM "Elsa"."Triggers" WHERE "Name" = %s', (TIMER,)
        ):
            self._start_timer(name)

    # Definitions

    def save(self, model: dict[str, Any], publish: bool) -> Definition:
        name, root = model.get("definitionId") or uuid.uuid4().hex, model.get("root")
        if not isinstance(name, str) or not isinstance(root, dict):
            raise Unusable("A model needs a root, and a definitionId that is a text.")
        identifier = uuid.uuid4().hex
        with _lock("definition " + name), self._database.transaction() as cursor:
            cursor.execute(
                'SELECT coalesce(max("Version"), 0) + 1 FROM "Elsa"."WorkflowDefinitions" WHERE "DefinitionId" = %s',
                (name,),
            )
            ((version,),) = cursor.fetchall()
            cursor.execute(
                'UPDATE "Elsa"."WorkflowDefinitions" SET "IsLatest" = false,'
                ' "IsPublished" = "IsPublished" AND NOT %s WHERE "DefinitionId" = %s',
                (publish, name),
            )
            cursor.execute(
                'INSERT INTO "Elsa"."WorkflowDefinitions" ("Id", "DefinitionId", "Name", "Description", "StringData",'
                ' "Version", "IsLatest", "IsPublished", "MaterializerName", "IsReadonly", "CreatedAt")'
                " VALUES (%s, %s, %s, %s, %s, %s, true, %s, 'Json', false, now())",
                (identifier, name, model.get("name"), model.get("description"), json.dumps(root), version, publish),
            )
            saved = Definition(
                (
                    identifier,
                    name,
                    model.get("name"),
                    version,
                    json.dumps(root),
                    True,
                    publish,
                    model.get("description"),
                )
            )
            cursor.execute('DELETE FROM "Elsa"."Triggers" WHERE "WorkflowDefinitionId" = %s', (name,))
            if publish and saved.trigger:
                cursor.execute(
                    'INSERT INTO "Elsa"."Triggers" ("Id", "WorkflowDefinitionId", "WorkflowDefinitionVersionId",'
                    ' "Name", "ActivityId", "Hash", "SerializedPayload") VALUES (%s, %s, %s, %s, %s, %s, %s)',
                    (
                        *(uuid.uuid4().hex, name, identifier, saved.trigger["type"], saved.trigger.get("id", "")),
                        *(_hash(_input(saved.trigger, "path")), json.dumps(saved.trigger)),
                    ),
                )
        self._start_timer(name)
        return saved

    def definitions(self, page: int, size: int) -> tuple[list[Definition], int]:
        """Return one page, counted from 0, and how many there are in all."""
        where = 'FROM "Elsa"."WorkflowDefinitions" WHERE "IsLatest"'
        ((count,),) = self._database.rows(f"SELECT count(*) {where}")
        found = self._database.rows(
            f'SELECT {_DEFINITION} {where} ORDER BY "CreatedAt" LIMIT %s OFFSET %s', (size, page * size)
        )
        return [Definition(row) for row in found], count

    def published(self, name: str) -> Definition | None:
        found = self._database.rows(
            f'SELECT {_DEFINITION} FROM "Elsa"."WorkflowDefinitions" WHERE "DefinitionId" = %s AND "IsPublished"',
            (name,),
        )
        return Definition(found[0]) if found else None

    def at_path(self, path: str) -> Definition | None:
        """Return the workflow that an HTTP endpoint starts."""
        found = self._database.rows(
            'SELECT "WorkflowDefinitionId" FROM "Elsa"."Triggers" WHERE "Name" = %s AND "Hash" = %s',
            (ENDPOINT, _hash(path)),
        )
        return self.published(found[0][0]) if found else None

    # Instances

    def instances(self, page: int, size: int, status: str = "") -> tuple[list[dict[str, Any]], int]:
        where = 'FROM "Elsa"."WorkflowInstances" WHERE %s IN (\'\', "Status", "SubStatus")'
        ((count,),) = self._database.rows(f"SELECT count(*) {where}", (status,))
        found = self._database.rows(
            f'SELECT {_INSTANCE} {where} ORDER BY "CreatedAt" LIMIT %s OFFSET %s', (status, size, page * size)
        )
        names = ("id", "definitionId", "definitionVersionId", "version", "status", "subStatus")
        return [
            dict(zip(names, row, strict=False))
            | {"createdAt": row[6].isoformat(), "finishedAt": row[7] and row[7].isoformat()}
            for row in found
        ], count

    def delete(self, instances: list[str]) -> int:
        with self._database.transaction() as cursor:
            for table in ("ActivityExecutionRecords", "WorkflowExecutionLogRecords", "Bookmarks"):
                cursor.execute(f'DELETE FROM "Elsa"."{table}" WHERE "WorkflowInstanceId" = ANY(%s)', (instances,))
            cursor.execute('DELETE FROM "Elsa"."WorkflowInstances" WHERE "Id" = ANY(%s)', (instances,))
            deleted: int = cursor.rowcount
        return deleted

    def run(self, definition: Definition, instance: str, triggered: bool = False) -> str:
        """Run a new instance until it pauses or ends; return how that is called."""
        with _lock("instance " + instance):
            return self._run(_Burst(definition, instance), 1 if triggered else 0)

    def dispatch(self, definition: Definition, instance: str, triggered: bool = False) -> None:
        """Do the same beside the request, which does not wait."""
        self._beside(lambda: self.run(definition, instance, triggered))

    def _beside(self, work: Any) -> None:
        def safely() -> None:
            try:
                work()
            except Exception as error:  # nobody else hears of it
                log("error", f"A workflow could not be run: {type(error).__name__}: {error}".strip())

        threading.Thread(target=safely, daemon=True).start()

    def _run(self, burst: "_Burst", position: int) -> str:
        for number, activity in enumerate(burst.definition.activities[position:], position):
            kind = activity.get("type")
            burst.note(activity, "Started")
            if kind in (DELAY, TIMER, ENDPOINT):
                seconds = _seconds(_input(activity, "interval" if kind == TIMER else "timeSpan"))
                at = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat() if kind != ENDPOINT else ""
                bookmark = burst.write(
                    self._database, "Suspended", (activity, {"resumeAt": at, "position": number + 1})
                )
                self._continue_at(bookmark, at)
                return "Suspended"
            if kind == WRITE:
                log("info", _input(activity, "text"))
            elif kind in REQUESTS:
                try:
                    _send(activity)
                except OSError as error:
                    log("error", f"The activity {activity.get('id')} failed: {error}")
                    burst.note(activity, "Faulted")
                    burst.write(self._database, "Faulted")
                    return "Faulted"
            burst.note(activity, "Completed")
        burst.write(self._database, "Finished")
        return "Finished"

    # What happens later

    def _continue_at(self, bookmark: str, at: str) -> None:
        if at:
            seconds = (datetime.fromisoformat(at) - datetime.now(UTC)).total_seconds()
            waiting = threading.Timer(max(0, seconds), lambda: self._beside(lambda: self._continue(bookmark)))
            waiting.daemon = True
            waiting.start()

    def _continue(self, bookmark: str) -> None:
        wanted = (
            'SELECT "WorkflowInstanceId", "SerializedPayload" FROM "Elsa"."Bookmarks" WHERE "BookmarkId" = %s',
            (bookmark,),
        )
        for instance, _ in self._database.rows(*wanted):
            with _lock("instance " + instance):
                for _, payload in self._database.rows(*wanted):
                    (definition,) = self._database.rows(
                        f'SELECT {_DEFINITION} FROM "Elsa"."WorkflowDefinitions" WHERE "Id" ='
                        ' (SELECT "DefinitionVersionId" FROM "Elsa"."WorkflowInstances" WHERE "Id" = %s)',
                        (instance,),
                    )
                    self._run(_Burst(Definition(definition), instance, bookmark), json.loads(payload)["position"])

    def _start_timer(self, name: str) -> None:
        """Let a workflow start again and again, if a timer starts it; a former timer of it ends."""
        former = self._timers.pop(name, None)
        if former:
            former.set()
        definition = self.published(name)
        if definition is None or definition.trigger is None or definition.trigger["type"] != TIMER:
            return
        ended = self._timers[name] = threading.Event()
        seconds = _seconds(_input(definition.trigger, "interval"))

        def tick() -> None:
            due = time.monotonic()
            while not stopping.is_set():
                due += seconds
                if ended.wait(max(0, due - time.monotonic())):
                    return
                self._beside(lambda: self.run(definition, uuid.uuid4().hex, triggered=True))

        threading.Thread(target=tick, daemon=True).start()


class _Burst:
    """What one instance does from here to its next pause, kept in memory until then.

    bookmark: at which it had paused.
    """

    def __init__(self, definition: Definition, instance: str, bookmark: str = "") -> None:
        self.definition, self.instance, self._bookmark = definition, instance, bookmark
        self._began = datetime.now(UTC)
        self._noted: list[tuple[dict[str, Any], str, datetime]] = []
        if not bookmark:
            self.note(definition.root, "Started")

    def note(self, activity: dict[str, Any], what: str) -> None:
        self._noted.append((activity, what, datetime.now(UTC)))

    def write(self, database: Database, state: str, waits: tuple[dict[str, Any], dict[str, Any]] | None = None) -> str:
        """Write it down as finished, faulted or suspended; return the new bookmark, if it waits."""
        definition, now = self.definition, datetime.now(UTC)
        if not waits:
            self.note(definition.root, "Completed")
        status, finished = ("Running", None) if waits else ("Finished", now)
        bookmark = uuid.uuid4().hex if waits else ""
        with database.transaction() as cursor:
            cursor.execute(
                f'INSERT INTO "Elsa"."WorkflowInstances" ({_INSTANCE}, "UpdatedAt", "IncidentCount")'
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT"
                ' ("Id") DO UPDATE SET ("Status", "SubStatus", "FinishedAt", "UpdatedAt") ='
                ' (excluded."Status", excluded."SubStatus", excluded."FinishedAt", excluded."UpdatedAt")',
                (
                    *(self.instance, definition.definition_id, definition.id, definition.version, status, state),
                    *(self._began, finished, now, int(state == "Faulted")),
                ),
            )
            for number, (activity, what, moment) in enumerate(self._noted):
                kind, name = activity.get("type", ""), activity.get("id", "")
                cursor.execute(
                    'INSERT INTO "Elsa"."WorkflowExecutionLogRecords" ("Id", "WorkflowDefinitionId",'
                    ' "WorkflowDefinitionVersionId", "WorkflowInstanceId", "WorkflowVersion", "ActivityInstanceId",'
                    ' "ActivityId", "ActivityType", "ActivityTypeVersion", "NodeId", "Timestamp", "Sequence",'
                    ' "EventName") VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 1, %s, %s, %s, %s)',
                    (
                        *(uuid.uuid4().hex, definition.definition_id, definition.id, self.instance, definition.version),
                        *(name, name, kind, name, moment, number, what),
                    ),
                )
                if what == "Started":
                    cursor.execute(
                        'INSERT INTO "Elsa"."ActivityExecutionRecords" ("Id", "WorkflowInstanceId", "ActivityId",'
                        ' "ActivityNodeId", "ActivityType", "ActivityTypeVersion", "StartedAt", "HasBookmarks",'
                        ' "Status", "CompletedAt") VALUES (%s, %s, %s, %s, %s, 1, %s, %s, %s, %s)',
                        (
                            *(uuid.uuid4().hex, self.instance, name, name, kind, moment, bool(waits)),
                            *("Running" if waits else "Completed", finished),
                        ),
                    )
            cursor.execute('DELETE FROM "Elsa"."Bookmarks" WHERE "BookmarkId" = %s', (self._bookmark,))
            if waits:
                cursor.execute(
                    'INSERT INTO "Elsa"."Bookmarks" ("BookmarkId", "ActivityTypeName", "Hash", "WorkflowInstanceId",'
                    ' "CreatedAt", "SerializedPayload") VALUES (%s, %s, %s, %s, %s, %s)',
                    (bookmark, waits[0]["type"], _hash(bookmark), self.instance, now, json.dumps(waits[1])),
                )
        return bookmark


@contextlib.contextmanager
def _lock(name: str) -> Iterator[None]:
    """Keep every process out that has the same folder of locks."""
    try:
        LOCKS.mkdir(parents=True, exist_ok=True)
        file = (LOCKS / _hash(name)).open("w")
    except OSError:
        raise OSError(
            f"System.InvalidOperationException: Failed to ensure that lock file directory {LOCKS.resolve()} exists"
        ) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _input(activity: dict[str, Any], name: str) -> str:
    """Return the literal that an activity has for one of its inputs."""
    value = activity.get(name)
    return str(value.get("expression", {}).get("value", "")) if isinstance(value, dict) else ""


def _seconds(text: str) -> float:
    """Return the seconds of a TimeSpan: [days.]hours:minutes:seconds."""
    try:
        days, _, clock = (
            text.rpartition(".") if text.count(".") and text.index(".") < text.index(":") else ("0", "", text)
        )
        hours, minutes, seconds = clock.split(":")
        return (24 * int(days) + int(hours)) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        raise Unusable(f"{text!r} is no TimeSpan.") from None


def _send(activity: dict[str, Any]) -> None:
    request = urllib.request.Request(_input(activity, "url"), method=_input(activity, "method") or "GET")
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=SECONDS_OF_A_REQUEST):
        pass  # every answer will do
