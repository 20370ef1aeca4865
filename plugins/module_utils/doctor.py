# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a host that runs a stack, and what to do about it."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any, Dict, List, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import (
    ability,
    authority,
    backup_setup,
    bystanders,
    gate,
    history,
    limits,
    moments,
    networks,
    on_host,
    status,
    update,
)
from ansible_collections.meywd.tamma.plugins.module_utils.ability import Finding
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, Project, find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import (
    Configuration,
    configuration,
    settings_file,
)
from ansible_collections.meywd.tamma.plugins.module_utils.database import Database
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine, of_service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.lock import (
    at_work,
    being_worked_on,
    lock_file,
    refuse_if_held,
)
from ansible_collections.meywd.tamma.plugins.module_utils.logins import identifier
from ansible_collections.meywd.tamma.plugins.module_utils.operations import Operations
from ansible_collections.meywd.tamma.plugins.module_utils.release import settings_on_host
from ansible_collections.meywd.tamma.plugins.module_utils.restic import PROGRAM_PATH
from ansible_collections.meywd.tamma.plugins.module_utils.room import human
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

_FREE_SHARE = 0.1
_DOTNET = ("elsa-server", limits.DOTNET_API)


def examine(work: Operations, now: Optional[float] = None) -> List[Finding]:
    """Look at the engine, the services, what was interrupted, the disks and the backups; changes nothing."""
    settings = work.settings
    found = _engine(work)
    found += [
        Finding("problem", words) for words in database(settings.project, settings.directory, settings.engine_socket)
    ]
    found += _interrupted(work.settings.project, work.settings.directory)
    found += _releases(work.settings.directory)
    found += _disks(work)
    found += _restic(work)
    found += _timers(work)
    found += _backups(work, time.time() if now is None else now)
    found += _kept(work)
    return found


def _engine(work: Operations) -> List[Finding]:
    settings = work.settings
    engine = Engine(settings.engine_socket)
    if not engine.answers():
        return [
            Finding(
                "problem",
                "The container engine does not answer on %s: systemctl start %s, and see its journal."
                % (settings.engine_socket, engine.kind),
            )
        ]
    program = find_compose()
    if program is None:
        return [Finding("problem", "Docker Compose is missing: run site.yml.")]
    try:
        project = Compose(Runner(), program, settings.directory, settings.project).outline()
    except OperatorError as exc:
        return [Finding("problem", exc.message)]
    found = [
        Finding(
            "problem",
            "%s is %s%s: see 'tammactl logs %s'.%s"
            % (row.service, row.state, "" if row.health == "none" else " (%s)" % row.health, row.service, row.ended),
        )
        for row in status.rows(engine, settings.project, project)
        if not row.ready
    ]
    advice = status.notes(engine, settings.project)
    advice += _shut_in(work, engine, program)
    advice += networks.metadata(engine, settings.project) + networks.strangers(engine, settings.project)
    return [
        *found,
        *able(settings.project, settings.directory, settings.engine_socket),
        *(Finding("advice", words) for words in advice),
        *_dotnet(work, engine, project),
    ]


def _shut_in(work: Operations, engine: Engine, program: str) -> List[str]:
    try:
        return shut_in(Stack(work.settings.project, work.settings.directory, engine, program))
    except OperatorError:
        return []


def _dotnet(work: Operations, engine: Engine, project: Project) -> List[Finding]:
    """What the .NET services say when they are asked, and whom they depend on."""
    known = settings_on_host(work.settings.directory)
    found: List[Finding] = []
    advice = authority.advice(known.get("JWT_AUTHORITY", "")) if limits.DOTNET_API in project.services else []
    advice += silent(engine, work.settings.project)
    for services in limits.services_of(engine, work.settings.project, known.get("ELSA_API_KEY", "")):
        found += [Finding("problem", words) for words in limits.refused_key(services)]
        advice += limits.found(services)
    return [*found, *(Finding("advice", words) for words in advice)]


def able(project: str, directory: str, socket: str) -> List[Finding]:
    """What keeps a stack from its work (see ability); nothing for one that is not there."""
    program, engine = find_compose(), Engine(socket)
    if program is None or not engine.answers():
        return []
    try:
        return ability.examine(Stack(project, directory, engine, program))
    except OperatorError:
        # It has a finding of its own by then.
        return []


def silent(engine: Engine, project: str) -> List[str]:
    """The .NET services that have written nothing since their start: at any level they say that they listen."""
    found = []
    for name in _DOTNET:
        for item in of_service(engine.containers(project), name):
            seen = gate.state(engine.container(item["Id"]) or {"Id": "", "State": {}}, name)
            if gate.judge(seen).outcome == "ready" and not engine.logs(item["Id"], 1):
                found.append(
                    "%s has written nothing that the engine shows since its start, so neither 'tammactl logs' nor a "
                    "deploy sees what goes wrong there. The stack silences the first of two consoles of the .NET API; "
                    "if this image has one alone, set Serilog__WriteTo__0__Args__restrictedToMinimumLevel to Verbose "
                    "in tamma_stack_overrides, else look at its log driver." % seen.name
                )
    return found


def database(project: str, directory: str, socket: str) -> List[str]:
    """What keeps the services from their database though its server runs; a server that does not is told by its row."""
    program = find_compose()
    if program is None:
        return []
    try:
        stack = Stack(project, directory, Engine(socket), program)
        if stack.postgres and not stack.running(stack.postgres.name):
            return []
        known = Database(stack)
        listed = known.query("SELECT datname, datallowconn FROM pg_database WHERE NOT datistemplate ORDER BY 1")
    except OperatorError as exc:
        return [exc.message]
    name, rows = known.name, {other or "": anybody for other, anybody in listed}
    if name not in rows:
        return [
            "%s has no database %s, which the services use; it has %s. If somebody has renamed it, rename it back "
            "(ALTER DATABASE … RENAME TO %s), else bring a backup back ('tammactl restore latest')."
            % (known.server, name, ", ".join(rows), identifier(name))
        ]
    if rows[name] == "f" and not at_work(lock_file(project)) and not interrupted(directory):
        return [
            "The database %s of %s lets nobody in: ALTER DATABASE %s ALLOW_CONNECTIONS true."
            % (name, known.server, identifier(name))
        ]
    return []


def shut_in(stack: Stack) -> List[str]:
    """What the stack's own PostgreSQL would ask others for, if its networks had a way out."""
    if stack.postgres is None:
        return []
    for item in stack.containers(stack.postgres.name):
        settings = (stack.engine.container(item["Id"]) or {}).get("NetworkSettings") or {}
        if any(not name.startswith(stack.name + "_tamma-data") for name in settings.get("Networks") or {}):
            return []
    try:
        with Database(stack).session() as session:
            found = bystanders.outside(session.query)
    except OperatorError:
        # The database has a finding of its own by then.
        return []
    if not found:
        return []
    return [
        "PostgreSQL has %s, and since 0.6.0 no way out of its network: what it asks outside does not answer, and its "
        "log may grow until the disk is full. Give it a network in tamma_stack_overrides (see docs/security.md, A way "
        "out for the databases), or end what is not needed." % ", ".join(found)
    ]


def _interrupted(project: str, directory: str) -> List[Finding]:
    who = at_work(lock_file(project))
    if who:
        return [Finding("advice", being_worked_on(who) + ".")]
    return [Finding("problem", words) for words in interrupted(directory)]


def refuse_the_unfinished(project: str, directory: str) -> None:
    """Raise OperatorError for what was cut off and not completed, and Busy while somebody is at it."""
    found = interrupted(directory)
    if found:
        refuse_if_held(lock_file(project))
        raise OperatorError("\n".join(found))


def interrupted(directory: str) -> List[str]:
    """What has begun on a host and has not ended, a sentence for each. It may be under way at this moment."""
    found = []
    for name, pending in on_host.JOURNALS.items():
        try:
            begun = pending(directory)
        except OperatorError as exc:
            found.append(exc.message)
            continue
        if isinstance(begun, update.Journal) and begun.step == update.SERVING:
            found.append("Release %d serves, but its update was cut off: type 'tammactl resume'." % begun.number)
        elif isinstance(begun, update.Journal):
            found.append(
                "The update from release %d to %d was cut off: type 'tammactl resume', which goes back to release %d."
                % (begun.former, begun.number, begun.former)
            )
        elif begun:
            found.append("A %s was cut off: type 'tammactl resume', which completes it." % name)
    return found


def releases(project: str, directory: str) -> Dict[str, Any]:
    """The history of a stack's releases: each, which one serves, what was cut off, and whether the last one failed."""
    entries = history.History(directory).entries()
    serving = history.serving(entries)
    who = at_work(lock_file(project))
    rows = [
        {**item._asdict(), "serves": item == serving, "way_back": history.way_back(entries, item)} for item in entries
    ]
    return {
        # What an update goes by may hold a webhook's address, which is a secret.
        "releases": [{key: value for key, value in row.items() if key != "options"} for row in rows],
        "release": serving.number if serving else 0,
        "pending": [] if who else interrupted(directory),
        "busy": who,
        "failure": _failure(entries),
    }


def _failure(entries: List[history.Entry]) -> str:
    """That the last release failed, and why; nothing when it did not."""
    last = entries[-1] if entries else None
    if last is None or last.outcome != history.FAILED:
        return ""
    serving = history.serving(entries)
    words = next(iter(last.problem.splitlines()), "").rstrip(".") or "it is not known why"
    return "Release %d (%s) failed at %s: %s. %s" % (
        last.number,
        last.version or "no version",
        last.time,
        words,
        "Release %d serves." % serving.number if serving else "No release serves.",
    )


def _releases(directory: str) -> List[Finding]:
    try:
        failed = _failure(history.History(directory).entries())
    except OperatorError as exc:
        return [Finding("problem", exc.message)]
    return [Finding("advice", failed)] if failed else []


def _disks(work: Operations) -> List[Finding]:
    found = []
    seen = set()
    places = [work.settings.directory, "/var/lib/docker", "/var/lib/containers"]
    places += [item.location for item in work.settings.repositories if item.is_local]
    for place in places:
        if not os.path.exists(place) or os.stat(place).st_dev in seen:
            continue
        seen.add(os.stat(place).st_dev)
        room = os.statvfs(place)
        if room.f_bavail < _FREE_SHARE * room.f_blocks:
            found.append(
                Finding(
                    "problem",
                    "The file system of %s has %s free, less than a tenth: make room before PostgreSQL stops."
                    % (place, human(room.f_bavail * room.f_frsize)),
                )
            )
    return found


def _restic(work: Operations) -> List[Finding]:
    if not work.settings.repositories or shutil.which("restic", path=PROGRAM_PATH):
        return []
    return [Finding("problem", "restic is missing, so nothing is backed up: run site.yml, which installs it.")]


def _timers(work: Operations) -> List[Finding]:
    """Those that the role installed; one that does not wait for its time does not run."""
    timers = (*backup_setup.TIMERS, backup_setup.WORKFLOWS)
    names = [backup_setup.timer(work.settings.project, name) for name in timers]
    names = [name for name in names if os.path.exists(os.path.join("/", backup_setup.UNITS, name))]
    found = [
        Finding("problem", "The timer %s does not run: systemctl enable --now %s, or run site.yml." % (name, name))
        for name in backup_setup.inactive(Runner(), names)
    ]
    # The one whose failures are in no record.
    if backup_setup.timer(work.settings.project, backup_setup.WORKFLOWS) in names:
        unit = backup_setup.service(work.settings.project, backup_setup.WORKFLOWS)
        if Runner().run(["systemctl", "is-failed", "--quiet", unit], timeout=60).rc == 0:
            words = "The last removal of finished workflows failed: 'journalctl -u %s' says why." % unit
            found.append(Finding("problem", words))
    return found


def _kept(work: Operations) -> List[Finding]:
    try:
        found = work.kept()
    except OperatorError:
        # Without its database the stack has a finding already.
        return []
    return kept_findings(found)


def kept_findings(found: List[Dict[str, Any]]) -> List[Finding]:
    """What is said about what restores and releases have left (see ``kept``)."""
    free = [item for item in found if not item["release"]]
    findings = []
    if free:
        findings.append(
            Finding(
                "advice",
                "What former restores and releases left takes %s (%s): 'tammactl discard' removes it when nobody wants "
                "to look at it or to go back." % (human(sum(item["bytes"] for item in free)), _each(free)),
            )
        )
    needed = [item for item in found if item["release"]]
    if needed:
        findings.append(
            Finding(
                "advice",
                "The server keeps the database from before release %s (%s): for a way back, or with rows that are "
                "nowhere else since a rollback. 'tammactl discard NAME --needed' removes it."
                % (", ".join(str(item["release"]) for item in needed), _each(needed)),
            )
        )
    return findings


def _each(found: List[Dict[str, Any]]) -> str:
    return ", ".join("%s with %s" % (item["name"], human(item["bytes"])) for item in found)


def _backups(work: Operations, now: float) -> List[Finding]:
    settings = work.settings
    if not settings.repositories:
        return [Finding("problem", "No backups are configured: set tamma_backup_password and run site.yml.")]
    found = backups(settings, work.records(), _configured(settings.project), now)
    if all(item.is_local for item in settings.repositories):
        found.append(
            Finding("advice", "Every repository is on this host: add one elsewhere, the host may be lost as a whole.")
        )
    return found


def _configured(project: str) -> float:
    try:
        return os.stat(settings_file(project)).st_mtime
    except OSError:
        return 0


def backups(settings: Configuration, records: Dict[str, Any], since: float, now: float) -> List[Finding]:
    """What is overdue, or failed the last time. since: when backups were configured; from then on they are due."""
    found = []
    for repository in settings.repositories:
        entries = records.get(repository.name, {})
        for operation, hours in sorted(settings.overdue_hours.items()):
            if hours:
                found += _overdue(entries, operation, hours, repository.name, since, now)
        for operation in backup_setup.TIMERS:
            last: Dict[str, Any] = entries.get(operation) or {"ok": True}
            if not last["ok"]:
                found.append(
                    Finding("problem", "The last %s in %s failed: %s" % (operation, repository.name, last["problem"]))
                )
    return found


def _overdue(
    entries: Dict[str, Any], operation: str, hours: float, repository: str, since: float, now: float
) -> List[Finding]:
    good = entries.get("good_" + operation)
    last = moments.seconds(good["time"]) if good else since
    if now - last > hours * 3600:
        what = "is %.0f hours old" % ((now - last) / 3600) if good else "has not come yet"
        words = "The last good %s in %s %s: see 'systemctl list-timers', and run tammactl %s." % (
            operation,
            repository,
            what,
            operation,
        )
        return [Finding("problem", words)]
    if good:
        return []
    return [Finding("advice", "There was no good %s in %s yet: tammactl %s." % (operation, repository, operation))]


def overview(project: str, now: Optional[float] = None) -> Dict[str, Any]:
    """How the backups of a stack stand, for whoever looks at the stack; asks no repository."""
    try:
        settings = configuration(project)
    except OperatorError:
        return {"repositories": [], "problems": []}
    records = Operations(settings, lambda _phase, _words: None).records()
    rows = []
    for repository in settings.repositories:
        entries = records.get(repository.name, {})
        rows.append(
            {
                "repository": repository.name,
                **{
                    "last_" + operation: (entries.get("good_" + operation) or {}).get("time", "")
                    for operation in backup_setup.TIMERS
                },
            }
        )
    found = backups(settings, records, _configured(project), time.time() if now is None else now)
    return {"repositories": rows, "problems": [item.words for item in found if item.severity == "problem"]}
