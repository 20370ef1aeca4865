# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing secrets of a running stack, such that it ends on the old values or on the new ones.

PostgreSQL and RabbitMQ keep their password themselves since their first start: it is changed there,
and then everywhere else. A journal on the host holds both values meanwhile, so that whoever comes
after a killed run knows where it was going.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import time
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import formats, journals, logins, planner
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, Project, Service, last_line
from ansible_collections.meywd.tamma.plugins.module_utils.engine import (
    Engine,
    addresses,
    addresses_by_network,
    of_service,
)
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import remove
from ansible_collections.meywd.tamma.plugins.module_utils.release import (
    INITIAL,
    SECRET_BYTES,
    Release,
    has_secret_files,
)
from ansible_collections.meywd.tamma.plugins.module_utils.secret_files import TABLE, users_of

JOURNAL = ".tamma/rotation.json"

_OF_POSTGRES = "POSTGRES_PASSWORD"
_SECONDS = 60
_POLL_SECONDS = 0.25


class Journal(NamedTuple):
    """A rotation that is under way: name of each secret → its value before and after."""

    old: Dict[str, str]
    new: Dict[str, str]

    def reversed(self) -> "Journal":
        """The way back."""
        return Journal(self.new, self.old)


def pending(directory: str) -> Optional[Journal]:
    """The rotation that has begun on this host and has not ended; None when there is none."""
    return journals.pending(
        directory, JOURNAL, Journal, "rotation of secrets", "remove it, and rotate the same secrets again."
    )


def note(directory: str, journal: Journal) -> None:
    """Put a rotation on the disk before anything goes on: from now on the next run completes it."""
    journals.note(directory, JOURNAL, journal)


def ended(directory: str) -> None:
    """Forget a rotation, and the old values with it."""
    remove(directory, [JOURNAL])


def resumed(journal: Journal, given: Mapping[str, str]) -> Journal:
    """A rotation that somebody else has begun, towards what the inventory says by now."""
    return journal._replace(new={name: given.get(name, value) for name, value in journal.new.items()})


def begin(names: Iterable[str], known: Mapping[str, str], release: Release) -> Optional[Journal]:
    """Decide the new values of the secrets *names*; None without any name.

    known: the settings on the host. Raises OperatorError with a sentence for each that cannot be rotated.
    """
    names = list(dict.fromkeys(names))
    problems = check(names, known, release.secrets, release.generated)
    if problems:
        raise OperatorError("\n".join(problems))
    if not names:
        return None
    new = {name: release.secrets.get(name) or secrets.token_urlsafe(SECRET_BYTES) for name in names}
    return Journal({name: known.get(name, "") for name in names}, new)


def check(
    names: Iterable[str], known: Mapping[str, str], given: Mapping[str, str], generated: Iterable[str]
) -> List[str]:
    """Find what keeps the secrets *names* from being rotated. Returns a sentence for each problem.

    known: the values on the host. given: those that the inventory has.
    """
    problems = []
    every = sorted({place.secret for place in TABLE})
    for name in names:
        if name not in every:
            problems.append("There is no secret %s: tamma_stack_rotate takes %s." % (name, ", ".join(every)))
        elif not known:
            problems.append("This host has no stack whose %s could be rotated: deploy one with site.yml." % name)
        elif name not in given and name not in generated:
            problems.append(
                "There is no new value for %s, which is not one that is made up: set it in the inventory, then name it "
                "in tamma_stack_rotate." % name
            )
        elif name in given and given[name] == known.get(name):
            problems.append(
                "The inventory gives %s the value that it has already: change it there first, or take it out of the "
                "inventory to have one made up." % name
            )
    return problems


def amended(known: Mapping[str, str], journal: Optional[Journal], release: Release) -> Dict[str, str]:
    """The settings on the host as they are once *journal* is carried out.

    A container goes on to be told the password of its first start (see release.INITIAL), so that nothing restarts.
    """
    values = dict(known)
    if journal is None:
        return values
    values.update(journal.new)
    for initial, name in INITIAL.items():
        external = release.settings.get(name.partition("_")[0] + "_HOST")
        if name in journal.new and not external and not has_secret_files(release):
            values.setdefault(initial, _first(name, known.get(name) or journal.old[name]))
    return values


def _first(name: str, password: str) -> str:
    return formats.first_rabbitmq_password(password) if name == "RABBITMQ_PASSWORD" else password


class Credentials:
    """The passwords that the stack's own PostgreSQL and RabbitMQ keep."""

    def __init__(
        self, engine: Engine, compose: Compose, project: Project, env: Mapping[str, str], deadline: float
    ) -> None:
        """*env* holds the settings beside the passwords: users, the database's name. deadline: seconds to come up."""
        self._engine = engine
        self._compose = compose
        self._project = project
        self._env = env
        self._deadline = deadline

    def kept(self, name: str) -> bool:
        """Whether a server of the stack keeps this secret; an external one is its administrator's affair."""
        return name in INITIAL.values() and planner.keeper(self._project, name) is not None

    def bring_up(self, name: str) -> None:
        """Start the server that keeps this secret, if it does not run, and wait until it answers."""
        service = self._kept_by(name)
        if not self._running(service.name):
            done = self._compose.up([service.name])
            if done.rc:
                raise OperatorError("%s does not start: %s." % (service.name, last_line(done.err)))
        until = time.monotonic() + self._deadline
        while True:
            try:
                self.works(name, "")
                return
            except OperatorError:
                if time.monotonic() > until:
                    raise
            time.sleep(_POLL_SECONDS)

    def works(self, name: str, value: str) -> bool:
        """Whether somebody with this password is let in."""
        address = self._address(name)
        try:
            if name == _OF_POSTGRES:
                user, database = self._env["POSTGRES_USER"], self._env["POSTGRES_DB"]
                with logins.PostgresSession(logins.Postgres(address, 5432, database, user, value, "disable")):
                    return True
            logins.log_in_to_rabbitmq(logins.RabbitMQ(address, 5672, self._env["RABBITMQ_USER"], value, tls=False))
            return True
        except OperatorError as exc:
            if exc.facts.get("sqlstate") == "28P01" or exc.facts.get("code") == 403:
                return False
            raise

    def change(self, name: str, value: str) -> None:
        """Let the server take *value* from now on. Those who are logged in stay so."""
        if self.works(name, value):
            return
        service = self._kept_by(name)
        if name == _OF_POSTGRES:
            # Not the password but what is derived from it, so that it cannot get into the server's log.
            self._sql("ALTER ROLE %s PASSWORD '%s';" % (logins.identifier(self._env["POSTGRES_USER"]), verifier(value)))
        else:
            self._tell(service, ["rabbitmqctl", "-q", "change_password", self._env["RABBITMQ_USER"]], value + "\n")
        if not self.works(name, value):
            raise OperatorError("%s was changed in %s, which does not let it in." % (name, service.name))

    def lend(self) -> None:
        """Let the containers that have the former password of PostgreSQL open new connections until :meth:`withdraw`.

        PostgreSQL knows one password for a role. A service that is not replaced yet keeps its connections, but
        its pool closes idle ones and opens others. So the addresses of these containers, which are known to
        have the former password, need none for their role and their database; nobody else is let in with it.
        What a run that was killed has left is replaced: its addresses may be others' by now.
        """
        keeper = self._kept_by(_OF_POSTGRES).name
        near = {network for item in self._running(keeper) for network in self._addresses(item)}
        found = sorted(
            address
            for name in users_of(_OF_POSTGRES)
            if name != keeper
            for item in self._running(name)
            for network, address in self._addresses(item).items()
            if network in near
        )
        database, role = (logins.identifier(self._env[name]) for name in ("POSTGRES_DB", "POSTGRES_USER"))
        self._admit(["host %s %s %s trust %s" % (database, role, _network(address), _MARK) for address in found])

    def withdraw(self) -> None:
        """Let nobody into PostgreSQL without the password any more."""
        self._admit([])

    def _admit(self, lines: List[str]) -> None:
        """Put *lines* at the head of pg_hba.conf, in the place of those that stand there from :meth:`lend`."""
        service = self._kept_by(_OF_POSTGRES)
        path = self._sql("SHOW hba_file;").strip()
        before = self._tell(service, ["cat", path]).splitlines()
        after = [*lines, *(line for line in before if not line.endswith(_MARK))]
        if after == before:
            return
        # Renamed into its place: a server that starts now reads the former file or the new one.
        script = 'cp -p "$1" "$1.tamma" && cat > "$1.tamma" && mv "$1.tamma" "$1"'
        self._tell(service, ["sh", "-c", script, "sh", path], "\n".join(after) + "\n")
        self._sql("SELECT pg_reload_conf();")

    def _sql(self, statement: str) -> str:
        user = self._env["POSTGRES_USER"]
        argv = ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", "postgres"]
        return self._tell(self._kept_by(_OF_POSTGRES), argv, statement + "\n")

    def _tell(self, service: Service, argv: List[str], text: str = "") -> str:
        done = self._compose.run("exec", "-T", service.name, *argv, stdin=text, timeout=_SECONDS)
        if done.rc:
            raise OperatorError("%s does not take its new password: %s." % (service.name, last_line(done.err)))
        return done.out

    def _kept_by(self, name: str) -> Service:
        service = planner.keeper(self._project, name)
        if service is None:
            raise OperatorError("No service of this stack keeps %s." % name)
        return service

    def _containers(self, service: str) -> List[Dict[str, Any]]:
        return of_service(self._engine.containers(self._project.name), service)

    def _running(self, service: str) -> List[Dict[str, Any]]:
        return [item for item in self._containers(service) if item.get("State") == "running"]

    def _addresses(self, item: Mapping[str, Any]) -> Dict[str, str]:
        return addresses_by_network(self._engine.container(item["Id"]) or {})

    def _address(self, name: str) -> str:
        service = self._kept_by(name)
        for item in self._containers(service.name):
            for address in addresses(self._engine.container(item["Id"]) or {}):
                return address
        raise OperatorError(
            "%s cannot be rotated while %s does not run: bring the stack up with site.yml first." % (name, service.name)
        )


# Ends each line that Credentials.lend adds.
_MARK = "# tamma: until the rotation ends"


def _network(address: str) -> str:
    return address + ("/128" if ":" in address else "/32")


def verifier(password: str, salt: bytes = b"", iterations: int = 4096) -> str:
    """What PostgreSQL stores of a password: SCRAM-SHA-256 (RFC 5802), which ALTER ROLE takes as it is."""
    salt = salt or os.urandom(16)
    prepared = logins.saslprep(password).encode("utf-8")
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)
    client = hashlib.sha256(hmac.new(salted, b"Client Key", hashlib.sha256).digest()).digest()
    server = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    salt64, client64, server64 = (base64.b64encode(part).decode("ascii") for part in (salt, client, server))
    return "SCRAM-SHA-256$%d:%s$%s:%s" % (iterations, salt64, client64, server64)
