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
import json
import os
from typing import Dict, List, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import logins
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, Project, Service, last_line
from ansible_collections.meywd.tamma.plugins.module_utils.engine import SERVICE_LABEL, Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, remove, write
from ansible_collections.meywd.tamma.plugins.module_utils.planner import stored

JOURNAL = ".tamma/rotation.json"

# How far a rotation has come. From the first on the new values are decided.
BEGUN = "begun"
CHANGED = "changed"
APPLIED = "applied"

_SECONDS = 60


class Journal(NamedTuple):
    """A rotation that is under way: name → value before and after, and the last step that is complete."""

    old: Dict[str, str]
    new: Dict[str, str]
    step: str


def pending(directory: str) -> Optional[Journal]:
    """The rotation that has begun on this host and has not ended; None when there is none."""
    text = read(os.path.join(directory, JOURNAL))
    if text is None:
        return None
    try:
        return Journal(**json.loads(text))
    except (ValueError, TypeError) as exc:
        raise OperatorError(
            "%s does not tell how far the last rotation of secrets came (%s): remove it, and rotate the same secrets "
            "again." % (os.path.join(directory, JOURNAL), exc)
        ) from exc


def note(directory: str, journal: Journal) -> None:
    """Put a rotation's state on the disk before anything goes on."""
    write(directory, [File(JOURNAL, json.dumps(journal._asdict()) + "\n", 0o600, secret=True)])


def ended(directory: str) -> None:
    """Forget a rotation, and the old values with it."""
    remove(directory, [JOURNAL])


def check(names: List[str], known: Dict[str, str], given: Dict[str, str], generated: List[str]) -> List[str]:
    """Find what keeps the secrets *names* from being rotated. Returns a sentence for each problem.

    known: the values on the host. given: those that the inventory has.
    """
    problems = []
    for name in names:
        if name not in given and name not in generated:
            problems.append(
                "There is no new value for %s, which is not one that is made up: set it in the inventory, then name it "
                "in tamma_stack_rotate." % name
            )
        elif not known:
            problems.append("This host has no stack whose %s could be rotated: deploy one with site.yml." % name)
        elif name in given and given[name] == known.get(name):
            problems.append(
                "The inventory gives %s the value that it has already: change it there first, or take it out of the "
                "inventory to have one made up." % name
            )
    return problems


class Credentials:
    """The passwords that the stack's own PostgreSQL and RabbitMQ keep."""

    def __init__(self, engine: Engine, compose: Compose, project: Project, env: Dict[str, str]) -> None:
        """*env* holds the settings beside the passwords: users and the database's name."""
        self._engine = engine
        self._compose = compose
        self._project = project
        self._env = env

    def kept(self, name: str) -> bool:
        """Whether a server of the stack keeps this secret; an external one is its administrator's affair."""
        return name in ("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD") and self._service(name) is not None

    def works(self, name: str, value: str) -> bool:
        """Whether somebody with this password is let in."""
        address = self._address(name)
        try:
            if name == "POSTGRES_PASSWORD":
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
        service = self._service(name)
        assert service is not None  # works() has found it
        if name == "POSTGRES_PASSWORD":
            # Not the password but what is derived from it, so that it cannot get into the server's log.
            role = '"%s"' % self._env["POSTGRES_USER"].replace('"', '""')
            self._tell(
                service,
                ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", self._env["POSTGRES_USER"], "-d", "postgres"],
                "ALTER ROLE %s PASSWORD '%s';\n" % (role, verifier(value)),
            )
        else:
            self._tell(service, ["rabbitmqctl", "-q", "change_password", self._env["RABBITMQ_USER"]], value + "\n")
        if not self.works(name, value):
            raise OperatorError("%s was changed in %s, which does not let it in." % (name, service.name))

    def _tell(self, service: Service, argv: List[str], text: str) -> None:
        done = self._compose.run("exec", "-T", service.name, *argv, stdin=text, timeout=_SECONDS)
        if done.rc:
            raise OperatorError("%s does not take its new password: %s." % (service.name, last_line(done.err)))

    def _service(self, name: str) -> Optional[Service]:
        for service in self._project.services.values():
            if name in stored(service):
                return service
        return None

    def _address(self, name: str) -> str:
        service = self._service(name)
        for item in self._engine.containers(self._project.name) if service else []:
            if service and (item.get("Labels") or {}).get(SERVICE_LABEL) == service.name:
                inspected = self._engine.container(item["Id"]) or {}
                for network in ((inspected.get("NetworkSettings") or {}).get("Networks") or {}).values():
                    if network.get("IPAddress"):
                        return str(network["IPAddress"])
        raise OperatorError(
            "%s cannot be rotated while %s does not run: bring the stack up with site.yml first."
            % (name, service.name if service else "its server")
        )


def verifier(password: str, salt: bytes = b"", iterations: int = 4096) -> str:
    """What PostgreSQL stores of a password: SCRAM-SHA-256 (RFC 5802), which ALTER ROLE takes as it is."""
    salt = salt or os.urandom(16)
    prepared = logins.saslprep(password).encode("utf-8")
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)
    client = hashlib.sha256(hmac.new(salted, b"Client Key", hashlib.sha256).digest()).digest()
    server = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    salt64, client64, server64 = (base64.b64encode(part).decode("ascii") for part in (salt, client, server))
    return "SCRAM-SHA-256$%d:%s$%s:%s" % (iterations, salt64, client64, server64)
