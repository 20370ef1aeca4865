# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying a release to one host: plan it, pull, write the files, start service by service, verify.

The plan that check mode and ``--diff`` show is the one that is executed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import glob
import os
import secrets
import shutil
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import formats, gate, outside, planner, ports
from ansible_collections.meywd.tamma.plugins.module_utils.compose import (
    EVERY_ADDRESS,
    Compose,
    Project,
    Service,
    endpoints,
    explain_pull_failures,
    last_line,
)
from ansible_collections.meywd.tamma.plugins.module_utils.engine import HASH_LABEL, PROJECT_LABEL, SERVICE_LABEL, Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import (
    File,
    FileChange,
    changed_keys,
    compare,
    read,
    record,
    recorded,
    remove,
    write,
)
from ansible_collections.meywd.tamma.plugins.module_utils.redact import Redactor, settings_in
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

ENV_FILE = ".env"

# On a tmpfs: what stands here for seconds holds secrets.
_SCRATCH = "/run/tamma"

_POLL_SECONDS = 0.25
_VERIFY_SECONDS = 30.0
_PULLS_AT_ONCE = 3
_STARTS_AT_ONCE = 4
_LOG_LINES = 15
# How long a service may be on its way before the operator is told what it waits for.
_QUIET_SECONDS = 5.0

# 256 bits, in characters that need no quoting anywhere.
_SECRET_BYTES = 32

Progress = Callable[[str, str], None]


class Release(NamedTuple):
    """What shall run on the host.

    files: everything but ``.env``. settings and secrets: what ``.env`` holds, secrets being those
    that are never shown; an empty secret counts as not given. generated: the names of secrets
    that are made up when neither given nor known from the host. compose_files: their order
    matters. deadlines: service → seconds to become ready, *deadline* for the others.
    """

    project: str
    directory: str
    files: List[File]
    compose_files: List[str]
    settings: Dict[str, str]
    secrets: Dict[str, str]
    generated: List[str]
    pull_always: bool
    deadline: float
    deadlines: Dict[str, float]


class Planned(NamedTuple):
    """A release compared with the host: what would change, and what is needed to do it."""

    files: List[File]
    file_changes: List[FileChange]
    settings_changes: Dict[str, List[str]]
    project: Project
    plan: planner.Plan

    @property
    def changed(self) -> bool:
        """Whether anything has to be done."""
        return bool(self.file_changes or self.plan.changes or self.plan.pulls)


class Deployment:
    """One release on its way to one host."""

    def __init__(self, release: Release, runner: Runner, engine: Engine, program: str, progress: Progress) -> None:
        """*program* is the path of Compose; *progress* is told (phase, what happens)."""
        self._release = release
        self._runner = runner
        self._engine = engine
        self._program = program
        self._progress = progress
        self._env = environment(release)
        self.redactor = Redactor(
            [
                *(
                    known.get(key, "")
                    for known in (self._env, known_settings(release))
                    for key in secret_names(release)
                ),
                *(value for item in release.files if item.secret for value in settings_in(item.content)),
            ]
        )
        self.timings: Dict[str, float] = {}
        self.pulled: List[str] = []

    # -- plan -------------------------------------------------------------------------------

    def plan(self) -> Planned:
        """Compare the release with the host and refuse what cannot work; changes nothing."""
        self._progress("plan", "reading the stack")
        release = self._release
        files = wanted_files(release, self._env)
        with self._candidate(files) as compose:
            project = compose.project()
        listed = self._engine.containers(release.project)
        containers = [container(item) for item in listed]
        images = {service.image: self._image_id(service.image) for service in project.services.values()}
        plan = planner.plan(project, containers, images, release.pull_always)
        problems = planner.check_stored_settings(
            project,
            self._engine.volumes(release.project),
            known_settings(release),
            self._env,
            [*release.settings, *release.secrets],
        )
        problems += self._taken_ports(project, plan)
        if problems:
            raise OperatorError("\n".join(problems))
        return Planned(files, *compare_files(release, self._env), project, plan)

    @contextlib.contextmanager
    def _candidate(self, files: List[File]) -> Iterator[Compose]:
        """Let Compose work on the release before it is written where the running stack lives."""
        release = self._release
        os.makedirs(_SCRATCH, mode=0o700, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=release.project + "-candidate-", dir=_SCRATCH)
        try:
            write(scratch, files)
            yield Compose(
                self._runner,
                self._program,
                release.directory,
                release.project,
                [os.path.join(scratch, name) for name in release.compose_files],
                os.path.join(scratch, ENV_FILE),
            )
        except OperatorError as exc:
            raise OperatorError(self.redactor.mask(exc.message).replace(scratch + "/", ""), **exc.facts) from exc
        finally:
            shutil.rmtree(scratch)

    def _taken_ports(self, project: Project, plan: planner.Plan) -> List[str]:
        """Find published ports that somebody else holds; the stack's own containers do not count."""
        wanted = [
            (service, port)
            for service in project.services.values()
            if plan.action(service.name) in ("create", "recreate", "start", "scale")
            for port in service.ports
            if port.protocol == "tcp"
        ]
        if not wanted:
            return []
        problems = planner.doubled_ports(project)
        published = [
            (str(binding.get("IP", "")), binding["PublicPort"], item)
            for item in self._engine.containers()
            for binding in item.get("Ports") or []
            if binding.get("PublicPort") and binding.get("Type") == "tcp"
        ]
        for service, port in wanted:
            holders = [
                item for address, number, item in published if number == port.published and meet(address, port.address)
            ]
            if any((item.get("Labels") or {}).get(PROJECT_LABEL) == project.name for item in holders):
                continue
            holder = ports.holder(port.published, port.address)
            if holders:
                who = "the container %s" % (holders[0].get("Names") or ["?"])[0].lstrip("/")
            elif holder:
                who = str(holder)
            else:
                continue
            problems.append(
                "Port %d, which %s would publish, is taken by %s: stop that, or choose another port in "
                "tamma_stack_environment." % (port.published, service.name, who)
            )
        return problems

    # -- apply ------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Remove what a killed deploy of this stack left of its candidate; call this under the lock."""
        for leftover in glob.glob(os.path.join(_SCRATCH, self._release.project + "-candidate-*")):
            shutil.rmtree(leftover)

    def apply(self, planned: Planned) -> Planned:
        """Carry the plan out: pull everything, write the files, start the services, clean up, verify.

        Returns the plan as it was carried out: what was pulled may change more than was known before.
        """
        self._phase("pull", self._pull, planned)
        if planned.plan.pulls or planned.plan.refreshes:
            planned = self.plan()
        self._phase("write", self._write, planned)
        self._phase("apply", self._apply, planned)
        self._phase("verify", self._verify, planned)
        return planned

    def _phase(self, name: str, step: Callable[[Planned], None], planned: Planned) -> None:
        began = time.monotonic()
        step(planned)
        self.timings[name] = round(time.monotonic() - began, 1)

    def _pull(self, planned: Planned) -> None:
        """Pull before anything stops; a failed pull leaves everything as it was."""
        wanted = [*planned.plan.pulls, *planned.plan.refreshes]
        if not wanted:
            return
        before = {image: self._image_id(image) for image in wanted}
        by_image = {service.image: service.name for service in planned.project.services.values()}
        with self._candidate(planned.files) as compose:

            def pull(image: str) -> str:
                began = time.monotonic()
                self._progress("pull", image)
                # Through Compose and not the engine, because Compose knows the registry logins.
                result = compose.pull(by_image[image])
                if result.rc == 0:
                    self._progress("pull", "%s is here (%.1f s)" % (image, time.monotonic() - began))
                    return ""
                return result.err or "it said nothing"

            with concurrent.futures.ThreadPoolExecutor(_PULLS_AT_ONCE) as pool:
                answers = dict(zip(wanted, pool.map(pull, wanted)))
        failed = {image: answer for image, answer in answers.items() if answer}
        if failed:
            raise OperatorError("\n".join([*explain_pull_failures(failed), "The stack was not changed."]))
        self.pulled = sorted(image for image in wanted if self._image_id(image) != before[image])

    def _image_id(self, reference: str) -> Optional[str]:
        return (self._engine.image(reference) or {}).get("Id")

    def _write(self, planned: Planned) -> None:
        if not planned.file_changes:
            return
        directory = self._release.directory
        self._progress("write", "%d files in %s" % (len(planned.file_changes), directory))
        os.makedirs(directory, mode=0o755, exist_ok=True)
        # Recorded first: a deploy that dies in between still knows what may have been written.
        formerly = recorded(directory)
        wanted = [item.path for item in planned.files]
        record(directory, sorted({*formerly, *wanted}))
        changed = {change.path for change in planned.file_changes}
        write(directory, [item for item in planned.files if item.path in changed])
        remove(directory, sorted(set(formerly) - set(wanted)))
        record(directory, wanted)

    def _apply(self, planned: Planned) -> None:
        in_the_way, others = planner.split_orphans(planned.project, planned.plan.orphans)
        self._remove(in_the_way)
        compose = Compose(self._runner, self._program, self._release.directory, self._release.project)
        _Rollout(self._engine, compose, self._release, planned, self._progress, self.redactor).run()
        self._remove(others)

    def _remove(self, orphans: List[planner.Container]) -> None:
        for orphan in orphans:
            self._progress("apply", "%s: removing it, no longer part of the stack" % orphan.service)
            self._engine.remove_container(orphan.id)

    def _verify(self, planned: Planned) -> None:
        """Ask every published address; the services are healthy, so each gets the same short time."""
        addresses = [pair for service in planned.project.services.values() for pair in endpoints(service)]
        for url, name in addresses:
            problem = outside.wait(url, _VERIFY_SECONDS)
            if problem:
                raise OperatorError(
                    "%s is healthy, but %s does not answer as it should: %s. Look at its log "
                    "(docker compose logs %s in %s) and at the host's firewall."
                    % (name, url, problem, name, self._release.directory)
                )
        if addresses:
            self._progress("verify", "%d published addresses answer" % len(addresses))


class _Rollout:
    """Starts the services in the order of their dependencies, each behind the health gate.

    Containers that do not exist yet are made together and at once, and started by the engine the
    moment their dependencies allow it. Those that exist are replaced one service at a time.
    """

    def __init__(
        self,
        engine: Engine,
        compose: Compose,
        release: Release,
        planned: Planned,
        progress: Progress,
        redactor: Redactor,
    ) -> None:
        self._engine = engine
        self._compose = compose
        self._release = release
        self._project = planned.project
        self._together = planner.creatable_together(self._project, planned.plan)
        self._actions = {change.service: change.action for change in planned.plan.changes}
        self._progress = progress
        self._redactor = redactor
        self._waiting = planner.start_order(self._project)
        self._started: Dict[str, float] = {}
        self._ready: List[str] = []
        self._restarts: Dict[str, int] = {}
        self._words: Dict[str, str] = {}

    def run(self) -> None:
        """Return when every service is ready; raise OperatorError for the first that cannot be."""
        if self._together:
            self._progress("apply", "creating %d services" % len(self._together))
            self._compose_up(self._together, start=False)
        with concurrent.futures.ThreadPoolExecutor(_STARTS_AT_ONCE) as pool:
            starting: Dict[str, "concurrent.futures.Future[None]"] = {}
            while len(self._ready) < len(self._project.services):
                for name in planner.startable(self._project, self._waiting, self._started, self._ready):
                    self._waiting.remove(name)
                    if name in self._actions:
                        starting[name] = pool.submit(self._start, name, self._actions[name])
                    else:
                        self._started[name] = time.monotonic()
                for name in [name for name, future in starting.items() if future.done()]:
                    starting.pop(name).result()
                    self._started[name] = time.monotonic()
                ready_before = len(self._ready)
                self._look()
                if len(self._ready) == ready_before:
                    time.sleep(_POLL_SECONDS)

    def _start(self, name: str, action: str) -> None:
        self._progress("apply", "%s: %s" % (name, _DOING[action]))
        if name in self._together:
            for item in self._containers(name):
                self._engine.start_container(item["Id"])
            return
        for item in self._containers(name):
            if action == "start" and item.get("State") == "paused":
                self._engine.unpause_container(item["Id"])
        self._compose_up([name])

    def _containers(self, name: str) -> List[Dict[str, Any]]:
        """The engine's entries for the containers of one service."""
        return [item for item in self._engine.containers(self._release.project) if container(item).service == name]

    def _compose_up(self, services: List[str], start: bool = True) -> None:
        result = self._compose.up(services, start)
        if result.rc:
            raise OperatorError(
                "Docker Compose could not start %s: %s."
                % (", ".join(services), self._redactor.mask(last_line(result.err))),
                rc=result.rc,
            )

    def _look(self) -> None:
        """Ask the engine about every service that was started and is not ready yet."""
        watched = [name for name in self._started if name not in self._ready]
        if not watched:
            return
        found: Dict[str, List[gate.State]] = {name: [] for name in watched}
        for item in self._engine.containers(self._release.project):
            name = container(item).service
            if name in found:
                inspected = self._engine.container(item["Id"])
                if inspected:
                    found[name].append(gate.state(inspected, name))
        for name in watched:
            self._judge(self._project.services[name], found[name])

    def _judge(self, service: Service, states: List[gate.State]) -> None:
        took = time.monotonic() - self._started[service.name]
        verdicts = [gate.judge(seen, self._restarts.setdefault(seen.id, seen.restarts)) for seen in states]
        if len(states) >= service.replicas and all(verdict.outcome == "ready" for verdict in verdicts):
            self._ready.append(service.name)
            if service.name in self._actions:
                self._progress("apply", "%s: ready (%.1f s)" % (service.name, took))
            return
        for seen, verdict in zip(states, verdicts):
            if verdict.outcome == "failed":
                raise self._failure(seen, "did not come up: %s" % verdict.words)
        limit = self._release.deadlines.get(service.name, self._release.deadline)
        if took < limit:
            words = ", ".join(sorted({item.words for item in verdicts if item.outcome == "waiting"}))
            if took > _QUIET_SECONDS and words and self._words.get(service.name) != words:
                self._words[service.name] = words
                self._progress("apply", "%s: %s (%.0f s of %.0f)" % (service.name, words, took, limit))
            return
        for seen, verdict in zip(states, verdicts):
            if verdict.outcome == "waiting":
                raise self._failure(seen, "was not ready after %.0f s: %s" % (limit, verdict.words))
        raise OperatorError(
            "%s has %d of %d containers after %.0f s." % (service.name, len(states), service.replicas, limit)
        )

    def _failure(self, seen: gate.State, what: str) -> OperatorError:
        """Describe a service that did not come up: its state, its last lines, what to do."""
        lines = [self._redactor.mask(line) for line in self._engine.logs(seen.id, _LOG_LINES)]
        message = ["%s (container %s) %s." % (seen.service, seen.name, what)]
        if seen.detail:
            message.append("The last probe said: %s" % self._redactor.mask(seen.detail.splitlines()[-1]))
        message.append("Its last lines:" if lines else "It wrote nothing.")
        message += ["  " + line for line in lines]
        message.append(
            "What to do: correct what the lines complain about and run this again; if the service only needs longer, "
            "give it more seconds in tamma_stack_deadlines. The services that are healthy keep running."
        )
        return OperatorError("\n".join(message), service=seen.service, state=seen.status, health=seen.health, log=lines)


def meet(one: str, other: str) -> bool:
    """Whether two addresses that a port is bound to get in each other's way; empty means every address."""
    return one == other or one in EVERY_ADDRESS or other in EVERY_ADDRESS


_DOING = {
    "create": "starting",
    "recreate": "replacing",
    "start": "starting again",
    "scale": "changing the number of containers",
}


def container(listed: Dict[str, Any]) -> planner.Container:
    """Read one entry of the engine's container list."""
    labels = listed.get("Labels") or {}
    return planner.Container(
        id=listed["Id"],
        service=labels.get(SERVICE_LABEL, ""),
        config_hash=labels.get(HASH_LABEL, ""),
        image_id=listed.get("ImageID", ""),
        state=listed.get("State", ""),
        done=listed.get("Status", "").startswith("Exited (0)"),
        ports=tuple(binding["PublicPort"] for binding in listed.get("Ports") or [] if binding.get("PublicPort")),
    )


def secret_names(release: Release) -> List[str]:
    """The names in ``.env`` whose values are never shown."""
    return sorted({*release.secrets, *release.generated, *_DERIVED})


# The spellings of the database password that the Compose files put into longer strings.
_DERIVED = {
    "POSTGRES_PASSWORD_NPGSQL": formats.quote_npgsql,
    "POSTGRES_PASSWORD_URL": formats.quote_url,
}


def known_settings(release: Release) -> Dict[str, str]:
    """What the host's present ``.env`` holds."""
    return formats.parse_dotenv(read(os.path.join(release.directory, ENV_FILE)) or "")


def wanted_files(release: Release, env: Dict[str, str]) -> List[File]:
    """Every file of a release, ``.env`` with the settings *env* among them."""
    return [*release.files, File(ENV_FILE, _render_env(release, env), 0o600, secret=True)]


def compare_files(release: Release, env: Dict[str, str]) -> Tuple[List[FileChange], Dict[str, List[str]]]:
    """Compare a release's files with the host's: changed files, and changed settings by name."""
    changes = compare(release.directory, wanted_files(release, env), recorded(release.directory))
    return changes, changed_keys(known_settings(release), env)


def environment(release: Release) -> Dict[str, str]:
    """Put ``.env`` together: given secrets first, then what the host already has, then new ones."""
    known = known_settings(release)
    values = {
        "COMPOSE_PROJECT_NAME": release.project,
        "COMPOSE_FILE": ":".join(release.compose_files),
        **release.settings,
    }
    for name in [*release.secrets, *(name for name in release.generated if name not in release.secrets)]:
        value = release.secrets.get(name) or ""
        if not value and name in release.generated:
            value = known.get(name) or secrets.token_urlsafe(_SECRET_BYTES)
        if value:
            values[name] = value
    for name, spell in _DERIVED.items():
        if "POSTGRES_PASSWORD" in values:
            values[name] = spell(values["POSTGRES_PASSWORD"])
    return values


def _render_env(release: Release, values: Dict[str, str]) -> str:
    hidden = secret_names(release)
    compose = ("COMPOSE_PROJECT_NAME", "COMPOSE_FILE")
    return formats.render_dotenv(
        [
            ("Written by the meywd.tamma collection: a change by hand lasts until the next deploy.", {}),
            ("Which files Compose reads", {key: values[key] for key in compose}),
            ("Settings", {key: item for key, item in values.items() if key not in hidden and key not in compose}),
            ("Secrets", {key: item for key, item in values.items() if key in hidden}),
        ]
    )
