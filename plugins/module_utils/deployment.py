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
import shutil
import tempfile
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import (
    edge,
    hold,
    images,
    outside,
    ownership,
    planner,
    published,
    registry,
    registry_client,
    rotation,
    secret_files,
    servers,
    signatures,
    tables,
)
from ansible_collections.meywd.tamma.plugins.module_utils.compose import (
    Compose,
    Project,
    endpoints,
    explain_pull_failures,
)
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine, addresses, of_service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import (
    File,
    FileChange,
    read,
    record,
    recorded,
    remove,
    write,
)
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Postgres
from ansible_collections.meywd.tamma.plugins.module_utils.redact import Redactor
from ansible_collections.meywd.tamma.plugins.module_utils.release import (
    ENV_FILE,
    INITIAL,
    Release,
    check_placeholders,
    compare_files,
    environment,
    every_setting,
    forget_first_password,
    has_secret_files,
    hidden_in,
    known_settings,
    secret_names,
    wanted_files,
)
from ansible_collections.meywd.tamma.plugins.module_utils.rollout import Progress, Rollout, container
from ansible_collections.meywd.tamma.plugins.module_utils.rotation import Credentials, Journal
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner
from ansible_collections.meywd.tamma.plugins.module_utils.stack import writers

# On a tmpfs: what stands here for seconds holds secrets.
_SCRATCH = "/run/tamma"

_POLL_SECONDS = 0.2
_VERIFY_SECONDS = 30.0
# A certificate may have to be fetched first.
_VERIFY_TLS_SECONDS = 90.0
_PULLS_AT_ONCE = 3


class Planned(NamedTuple):
    """A release compared with the host: what would change, and what is needed to do it."""

    files: List[File]
    file_changes: List[FileChange]
    settings_changes: Dict[str, List[str]]
    project: Project
    plan: planner.Plan
    # What the database needs first.
    preparation: Optional[tables.Preparation] = None
    # The services that get another image than their containers have.
    replaced: Tuple[str, ...] = ()
    # The directories that have to be given to those that write there.
    given: Tuple[ownership.Place, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything has to be done."""
        return bool(self.file_changes or self.plan.changes or self.plan.pulls or self.preparation or self.given)

    @property
    def only_starts(self) -> bool:
        """Whether nothing has to be done but to have again what was there: containers that ended or were removed."""
        actions = {change.action for change in self.plan.changes}
        return actions <= {"start", "create", "scale"} and not (
            self.file_changes or self.plan.pulls or self.preparation
        )

    @property
    def replaced_writers(self) -> List[str]:
        """Those of them that write to the database."""
        return sorted(set(self.replaced) & set(writers(self.project)))


def find_preparation(release: Release, env: Dict[str, str]) -> Optional[tables.Preparation]:
    """Ask the external database of the settings *env*, if there is one, what it needs."""
    return tables.of_external(env, _contents(release))


def _contents(release: Release) -> Dict[str, str]:
    return {item.path: item.content for item in release.files}


def _not_carried(references: Iterable[str]) -> str:
    return (
        "This host does not have %s, and the archive has not either: write one of this release with the playbook "
        "archive." % ", ".join(references)
    )


def sweep(release: Release) -> None:
    """Remove what a killed deploy of a stack left of its candidate and its hold; call this under the lock."""
    for pattern in (release.project + "-candidate-*", release.project + "-registry-*"):
        for leftover in glob.glob(os.path.join(_SCRATCH, pattern)):
            shutil.rmtree(leftover)
    hold.sweep(release.directory)


class Deployment:
    """One release on its way to one host."""

    def __init__(
        self,
        release: Release,
        runner: Runner,
        engine: Engine,
        program: str,
        progress: Progress,
        journal: Optional[Journal] = None,
    ) -> None:
        """*program* is the path of Compose; *progress* is told (phase, what happens); *journal*: secrets to rotate."""
        self._runner = runner
        self._engine = engine
        self._program = program
        self._progress = progress
        self._aim(release, journal)
        self.redactor = Redactor(
            [
                *(
                    known.get(key, "")
                    for known in (self._env, known_settings(release), journal.old if journal else {})
                    for key in secret_names(release)
                ),
                *(value for item in release.files if item.secret for value in hidden_in(item.path, item.content)),
                *(value for login in release.registry_logins for value in (login.password, login.encoded)),
            ]
        )
        self._mounted: List[File] = []
        # Whether the registry was asked for what is behind the tags now.
        self._refreshed = False
        # What each image is pinned to, as far as it is known.
        self.digests: Dict[str, str] = {}
        self.timings: Dict[str, float] = {}
        self.pulled: List[str] = []

    def _aim(self, release: Release, journal: Optional[Journal]) -> None:
        """Decide what the host shall come to: the release, and with *journal* other secrets."""
        self._wanted = release
        self._release = release
        self._journal = journal
        self._known = rotation.amended(known_settings(release), journal, release)
        self._env = environment(release, self._known)
        said = servers.connections(self._env, _contents(release).get(servers.POSTGRES_CA, ""))
        if said and said != self._known.get(servers.MAX_CONNECTIONS):
            self._known[servers.MAX_CONNECTIONS] = said
            self._env = environment(release, self._known)

    # -- whom to believe --------------------------------------------------------------------

    def verify(self, note: bool = True) -> None:
        """Refuse images that are not believed here, and hold the others to the digests that they had when they were.

        What is verified is what is pulled, and what runs: from here on no tag is asked again. note: whether the host
        remembers it, so that a rollback, and a deploy without a network, have nobody to ask.
        """
        release = self._wanted
        trust = signatures.of_files(release.files)
        # Nobody has brought them in check mode; whoever would has compared the signatures.
        if not trust.rules or (release.carried and not note):
            return
        self._use(release)
        with self._candidate(wanted_files(release, self._env)) as compose:
            project = compose.outline()
        client: Any = signatures.Source()
        if not release.carried:
            client = registry_client.Client(self._runner, release.registry_logins, self._engine.access())
        record = signatures.Record(release.directory)
        scratch = os.path.join(_SCRATCH, release.project + "-candidate-")
        self._progress("plan", "asking for the signatures of the images")
        known = {} if release.pull_always else self._pins(project)
        problems = []
        found = {}
        logins = os.path.join(_SCRATCH, release.project + "-registry-")
        with registry.logged_in(self._runner, list(release.registry_logins), logins) as runner:
            verifier = signatures.Verifier(trust, self._runner, client, record, scratch, runner)
            for name, service in sorted(project.services.items()):
                repository = images.repository(images.untagged(service.image.partition("@")[0]))
                if service.image in found or not trust.about(repository):
                    continue
                reference = self._with_digest(service.image, known.get(name), client, repository)
                problem = verifier.problem(reference) if "@" in reference else reference
                if problem:
                    problems.append(problem)
                else:
                    found[service.image] = reference
        if problems:
            raise OperatorError(signatures.refusal(problems))
        if note:
            record.keep()
        # One with a digest of its own is asked for under its own name.
        self._wanted = release._replace(
            digests={**release.digests, **{image: pinned for image, pinned in found.items() if "@" not in image}}
        )
        self._use(self._wanted)

    def _with_digest(self, image: str, known: Optional[str], client: Any, repository: str) -> str:
        """An image with the digest that a deploy would take now; a sentence if nobody knows one."""
        reference = self._wanted.digests.get(image) or known or image
        if "@" not in reference and not self._wanted.pull_always:
            digest = images.carried(image, self._engine.image(image))
            reference = "%s@%s" % (images.with_tag(image), digest) if digest else image
        if "@" in reference:
            return reference
        if self._wanted.carried:
            return _not_carried([image])
        manifest = client.manifest(repository, images.with_tag(image).rpartition(":")[2])
        if manifest is None:
            return explain_pull_failures({image: "manifest unknown"})[0]
        return "%s@%s" % (images.with_tag(image), manifest.digest)

    # -- plan -------------------------------------------------------------------------------

    def plan(self) -> Planned:
        """Compare the release with the host and refuse what cannot work; changes nothing."""
        self._progress("plan", "reading the stack")
        release = self._release
        files, project = self._read()
        volumes = self._engine.volumes(release.project)
        if self._forget_first_passwords(project, volumes):
            files, project = self._read()
        listed = self._engine.containers(release.project)
        containers = [container(item) for item in listed]
        local = {service.image: self._image_id(service.image) for service in project.services.values()}
        plan = planner.plan(project, containers, local, release.pull_always and not self._refreshed)
        # What was found out for a whole fleet is not asked for again.
        plan = plan._replace(refreshes=[item for item in plan.refreshes if item not in release.digests.values()])
        problems = planner.check_stored_settings(
            project,
            volumes,
            servers.of_containers(self._known),
            self._env,
            [*release.settings, *release.secrets],
            servers.kept_as(self._known),
        )
        problems += check_placeholders(release, self._env)
        problems += self._taken_ports(project, plan)
        if problems:
            raise OperatorError("\n".join(problems))
        preparation = find_preparation(release, self._env) or self._own_preparation(project)
        release = self._release
        changes = compare_files(release, self._env, self._mounted)
        replaced = planner.replaced(project, containers, local)
        given = tuple(ownership.find(self._engine, project))
        planned = Planned(files, *changes, project, plan, preparation, replaced, given)
        return planned._replace(plan=self._with_edge(planned, containers))

    def _read(self) -> Tuple[List[File], Project]:
        """Let Compose read the release with its images pinned: every file of it, and what the stack is."""
        self._use(self._wanted)
        with self._candidate(wanted_files(self._wanted, self._env)) as compose:
            project = compose.outline()
        pinned = self._pins(project)
        self.digests = {project.services[name].image: reference for name, reference in sorted(pinned.items())}
        if pinned:
            self._use(
                self._wanted._replace(
                    files=[*self._wanted.files, images.overlay(pinned)],
                    compose_files=[*self._wanted.compose_files, images.OVERLAY],
                )
            )
        return self._compose_reads()

    def _use(self, release: Release) -> None:
        self._release = release
        self._env["COMPOSE_FILE"] = ":".join(release.compose_files)

    def _pins(self, project: Project) -> Dict[str, str]:
        """Find out the digests of the images, as far as they are known: service → image with its digest."""
        release = self._wanted
        present = images.parse(read(os.path.join(release.directory, images.OVERLAY)))
        # What the tags mean now is asked with pull: always alone; else the host stays at what it has.
        kept = {} if release.pull_always and self._refreshed else images.pins_of(project, present)
        kept.update(images.pins_of(project, release.pinned))
        found = {}
        for name, service in project.services.items():
            pinned = release.digests.get(service.image) or kept.get(name)
            pinned = pinned or images.pin(service.image, self._engine.image(service.image), present.values())
            if pinned and not self._is_carried(service.image, pinned):
                found[name] = pinned
        return found

    def _is_carried(self, image: str, pinned: str) -> bool:
        """Whether the host has exactly this image out of an archive, and the engine knows it by its tag only."""
        if "@" in image or self._engine.image(pinned):
            return False
        return images.carried(image, self._engine.image(image)) == pinned.partition("@")[2]

    def _compose_reads(self) -> Tuple[List[File], Project]:
        """Let Compose read the release as it is."""
        release = self._release
        if has_secret_files(release):
            without = [name for name in release.compose_files if name != secret_files.OVERLAY]
            with self._candidate([*release.files, every_setting(release, self._env)], names=without) as compose:
                variables = compose.variables()
            self._mounted = secret_files.render(variables, _contents(release).get(secret_files.OVERLAY, ""))
            self._env.update(secret_files.hashes(self._mounted, self._env[secret_files.HASH_KEY]))
        with self._candidate(wanted_files(release, self._env)) as compose:
            project = compose.project()
        self._mounted = secret_files.give_to_owners(self._mounted, project)
        return wanted_files(release, self._env, self._mounted), project

    def _forget_first_passwords(self, project: Project, volumes: List[str]) -> bool:
        """Let a container whose volume is gone start with the password of today. Returns whether anything changed."""
        before = dict(self._env)
        for first, name in INITIAL.items():
            kept_in = [
                volume for item in project.services.values() if name in planner.stored(item) for volume in item.volumes
            ]
            if first in self._env and kept_in and not set(kept_in).intersection(volumes):
                forget_first_password(self._env, first)
        return self._env != before

    def _with_edge(self, planned: Planned, containers: List[planner.Container]) -> planner.Plan:
        """Add to the plan that the edge has to load another configuration, when nothing else happens to it."""
        item = edge.service(planned.project)
        plan = planned.plan
        if item is None or plan.action(item.name):
            return plan
        known = edge.Edge(self._compose(), self._release.directory, planned.project)
        moved = [
            name
            for name in known.routed
            if not plan.action(name)
            and known.names(name) != sorted(one.name for one in containers if one.service == name)
        ]
        if not known.is_current(planned.files):
            reason = "its configuration changed"
        elif moved:
            reason = "%s has other containers" % " and ".join(moved)
        else:
            return plan
        return plan._replace(changes=[*plan.changes, planner.Change(item.name, "reload", reason)])

    def _compose(self) -> Compose:
        """Compose on the files in their place."""
        return Compose(self._runner, self._program, self._release.directory, self._release.project)

    @contextlib.contextmanager
    def _candidate(
        self, files: List[File], runner: Optional[Runner] = None, names: Optional[List[str]] = None
    ) -> Iterator[Compose]:
        """Let Compose work on the release, or its Compose files *names*, before it is written where the stack lives."""
        release = self._release
        os.makedirs(_SCRATCH, mode=0o700, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=release.project + "-candidate-", dir=_SCRATCH)
        try:
            write(scratch, files)
            yield Compose(
                runner or self._runner,
                self._program,
                release.directory,
                release.project,
                [os.path.join(scratch, name) for name in names or release.compose_files],
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
        return [
            *planner.doubled_ports(project),
            *published.taken(
                [(service.name, port.address, port.published) for service, port in wanted],
                self._engine.containers(),
                project.name,
            ),
        ]

    # -- apply ------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Remove what a killed deploy of this stack left; call this under the lock."""
        sweep(self._release)

    def apply(self, planned: Planned) -> Planned:
        """Carry the plan out: pull everything, prepare the database, write, start the services, clean up, verify.

        Returns the plan as it was carried out: what was pulled may change more than was known before.
        """
        planned = self.prepare(planned)
        if self._journal is None:
            self.carry_out(planned)
        else:
            self._rotate(planned, self._journal)
        return planned

    @property
    def release(self) -> Release:
        """What is deployed, with its images pinned as far as the plan knows them."""
        return self._release

    @property
    def rotates(self) -> bool:
        """Whether secrets are changed where they are kept."""
        return self._journal is not None

    def prepare(self, planned: Planned) -> Planned:
        """Do what changes nothing that runs: pull, and have the edge's configuration judged."""
        self._phase("pull", self._pull, planned)
        if planned.plan.pulls or planned.plan.refreshes:
            planned = self.plan()
        self._check_edge(planned)
        return planned

    def carry_out_held(self, planned: Planned) -> None:
        """Bring up what the plan says while the edge holds the requests: it is neither touched nor asked."""
        self.put_in_place(planned)
        self._phase("apply", lambda plan: self._rollout(plan, held=True).run(), planned)

    def carry_out(self, planned: Planned) -> None:
        """Write, start service by service, and verify from outside."""
        self.put_in_place(planned)
        self._phase("apply", self._apply, planned)
        self._phase("verify", self._verify, planned)

    def put_in_place(self, planned: Planned) -> None:
        """Prepare the database and write the files; nothing is started."""
        if planned.preparation is None:
            # It may not have answered when this was planned: it was starting, or had another password still.
            planned = planned._replace(preparation=self._own_preparation(planned.project))
        if planned.preparation:
            self._phase("database", self._prepare_database, planned)
        ownership.give_all(planned.given, lambda words: self._progress("write", words))
        self._phase("write", self._write, planned)

    def _rotate(self, planned: Planned, journal: Journal) -> None:
        """Change secrets, and go back to the former ones if the stack does not come up with the new ones."""
        try:
            self._change_secrets(planned, journal)
        except OperatorError as failure:
            back = journal.reversed()
            self._progress("rotate", "it failed: back to the former secrets")
            try:
                former = {**self._wanted.secrets, **back.new}
                self._aim(self._wanted._replace(secrets=former, refuses_placeholders=False), back)
                self._change_secrets(self.plan(), back)
            except OperatorError as exc:
                raise OperatorError(
                    "%s\nGoing back to the former secrets failed as well: %s\nWhat to do: correct this and run it "
                    "again: the host remembers both values and comes to one." % (failure.message, exc.message),
                    **failure.facts,
                ) from exc
            raise OperatorError(
                "%s\nThe stack runs with its former secrets again." % failure.message, **failure.facts
            ) from failure

    def _change_secrets(self, planned: Planned, journal: Journal) -> None:
        """Carry a plan with other secrets out: first where they are kept, then at everybody who uses them."""
        rotation.note(self._release.directory, journal)
        keepers = Credentials(
            self._engine, self._compose(), planned.project, self._env, deadline=self._release.deadline
        )
        kept = [name for name in sorted(journal.new) if keepers.kept(name)]
        for name in kept:
            keepers.bring_up(name)
        if "POSTGRES_PASSWORD" in kept:
            keepers.lend()
        for name in kept:
            self._progress("rotate", "%s: changed where it is kept" % name)
            keepers.change(name, journal.new[name])
        self.carry_out(planned)
        if "POSTGRES_PASSWORD" in kept:
            keepers.withdraw()
        rotation.ended(self._release.directory)
        self._progress("rotate", "%s: new everywhere" % ", ".join(sorted(journal.new)))

    def _phase(self, name: str, step: Callable[[Planned], None], planned: Planned) -> None:
        began = time.monotonic()
        step(planned)
        self.timings[name] = round(time.monotonic() - began, 1)

    def _pull(self, planned: Planned) -> None:
        """Pull before anything stops; a failed pull leaves everything as it was."""
        wanted = [*planned.plan.pulls, *planned.plan.refreshes]
        if not wanted:
            return
        if self._release.carried:
            raise OperatorError("%s Nothing was changed." % _not_carried(map(images.tagged, wanted)))
        by_image = {service.image: service.name for service in planned.project.services.values()}
        files = planned.files
        if self._release.pull_always and not self._refreshed:
            # What is behind the tags now, not what was there before; what a whole fleet agreed upon stays.
            agreed = set(self._release.digests.values())
            pinned = {name: image for image, name in by_image.items() if image in agreed}
            files = [item if item.path != images.OVERLAY else images.overlay(pinned) for item in files]
            wanted = sorted({image if image in agreed else images.tagged(image) for image in wanted})
            by_image = {image if image in agreed else images.tagged(image): name for image, name in by_image.items()}
        before = {image: self._image_id(image) for image in wanted}
        logins = os.path.join(_SCRATCH, self._release.project + "-registry-")
        known_logins = registry.logged_in(self._runner, list(self._release.registry_logins), logins)
        with known_logins as runner, self._candidate(files, runner) as compose:

            def pull(image: str) -> str:
                began = time.monotonic()
                self._progress("pull", images.tagged(image))
                # Through Compose and not the engine, because Compose knows the registry logins.
                result = compose.pull(by_image[image])
                if result.rc == 0:
                    self._progress("pull", "%s is here (%.1f s)" % (images.tagged(image), time.monotonic() - began))
                    return ""
                return result.err or "it said nothing"

            with concurrent.futures.ThreadPoolExecutor(_PULLS_AT_ONCE) as pool:
                answers = dict(zip(wanted, pool.map(pull, wanted)))
        failed = {images.tagged(image): answer for image, answer in answers.items() if answer}
        if failed:
            raise OperatorError("\n".join([*explain_pull_failures(failed), "The stack was not changed."]))
        self.pulled = sorted(images.tagged(image) for image in wanted if self._image_id(image) != before[image])
        self._refreshed = True

    def _check_edge(self, planned: Planned) -> None:
        """Have the edge's configuration judged before it replaces the one that works."""
        item = edge.service(planned.project)
        if item is None or edge.loaded(self._release.directory) == edge.wanted(planned.files, self._release.directory):
            return
        self._progress("pull", "the edge's configuration is checked")
        os.makedirs(_SCRATCH, mode=0o700, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=self._release.project + "-candidate-", dir=_SCRATCH)
        try:
            write(scratch, [file for file in planned.files if file.path.startswith(edge.DIRECTORY + "/")])
            edge.check(self._engine, item, scratch)
        finally:
            shutil.rmtree(scratch)

    def _image_id(self, reference: str) -> Optional[str]:
        return (self._engine.image(reference) or {}).get("Id")

    def _prepare_database(self, planned: Planned) -> None:
        """Before the files: when it fails, everything is as it was."""
        if planned.preparation:
            for step in planned.preparation.steps:
                self._progress("database", step)
            tables.prepare(planned.preparation)

    def _own_server(self, project: Project) -> Optional[Postgres]:
        """How to log in to the stack's own PostgreSQL, if it runs."""
        service = planner.keeper(project, "POSTGRES_PASSWORD")
        for item in of_service(self._engine.containers(project.name), service.name) if service else []:
            for address in addresses(self._engine.container(item["Id"]) or {}):
                known = servers.of_containers(self._known) or self._env
                name, user = (known.get(setting) or "tamma" for setting in ("POSTGRES_DB", "POSTGRES_USER"))
                return Postgres(address, 5432, name, user, known.get("POSTGRES_PASSWORD", ""), "disable")
        return None

    def _own_preparation(self, project: Project) -> Optional[tables.Preparation]:
        """Ask the stack's own PostgreSQL, as far as it answers, what the database needs."""
        server = self._own_server(project)
        try:
            return tables.of_own(server, _contents(self._release)) if server else None
        except tables.Unreachable:
            return None  # the deploy may be the cure

    def _wake_database(self, planned: Planned) -> None:
        """Start a database that is there and does not run before everything else, and prepare it."""
        service = planner.keeper(planned.project, "POSTGRES_PASSWORD")
        volumes = self._engine.volumes(planned.project.name)
        if service is None or self._own_server(planned.project) or not set(service.volumes).intersection(volumes):
            return
        until = time.monotonic() + self._release.deadline
        # Whoever does not come up is told of by the rollout, with its log.
        if self._compose().up([service.name]).rc == 0:
            while not self._prepared_own(planned) and time.monotonic() < until:
                time.sleep(_POLL_SECONDS)

    def _prepared_own(self, planned: Planned) -> bool:
        """Prepare the database of the stack's own server, once it answers."""
        server = self._own_server(planned.project)
        if server is None:
            return False
        try:
            found = tables.of_own(server, _contents(self._release))
        except tables.Unreachable:
            return False
        self._prepare_database(planned._replace(preparation=found))
        return True

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
        self._wake_database(planned)
        self._rollout(planned).run()
        self._remove(others)

    def _rollout(self, planned: Planned, held: bool = False) -> Rollout:
        return Rollout(
            self._engine,
            self._compose(),
            self._release,
            planned.project,
            planned.plan,
            self._progress,
            self.redactor,
            held,
        )

    def _remove(self, orphans: List[planner.Container]) -> None:
        for orphan in orphans:
            self._progress("apply", "%s: removing it, no longer part of the stack" % orphan.service)
            self._engine.remove_container(orphan.id)

    def _verify(self, planned: Planned) -> None:
        """Ask every published address; the services are healthy, so each gets the same short time."""
        addresses = [pair for service in planned.project.services.values() for pair in endpoints(service)]
        for url, name, at in addresses:
            problem = outside.wait(url, _VERIFY_TLS_SECONDS if at else _VERIFY_SECONDS, at)
            if problem:
                raise OperatorError(
                    "%s is healthy, but %s does not answer as it should: %s. Look at its log "
                    "(%s compose logs %s in %s) and at the host's firewall."
                    % (name, url, problem, self._engine.kind, name, self._release.directory)
                )
        if addresses:
            self._progress("verify", "%d published addresses answer" % len(addresses))
