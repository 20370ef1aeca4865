# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that are thrown away: with PostgreSQL's programs for a server elsewhere, or with a server for a drill."""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import tempfile
import time
from types import MappingProxyType
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import images, registry_client, signatures
from ansible_collections.meywd.tamma.plugins.module_utils.compose import explain_pull_failures
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, write
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Postgres, PostgresSession
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

# On each of them: whose it is. What a killed run has left is found by it.
LABEL = "tamma.throw-away"

_SCRATCH = "/run/tamma"
_LOGIN = "/etc/tamma"
_SOCKETS = "/var/run/postgresql"
# What the image needs to become its own user, and nothing else.
_CONFINED = {
    "CapDrop": ["ALL"],
    "CapAdd": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"],
    "SecurityOpt": ["no-new-privileges:true"],
    "PidsLimit": 512,
}
_SECONDS_TO_START = 120


def image(stack: Stack, major: int) -> str:
    """The image with PostgreSQL's programs: the stack's own one, or the one of an external server's version."""
    service = stack.postgres
    return service.image if service else stack.settings.get("POSTGRES_IMAGE") or "postgres:%d-alpine" % major


def remove_leftovers(stack: Stack) -> None:
    """Remove those that a killed run has left."""
    for identifier in stack.engine.labelled("%s=%s" % (LABEL, stack.name)):
        stack.engine.discard(identifier)


def believed(stack: Stack, name: str) -> str:
    """An image that gets a login, held to the digest that was verified, if a rule of this host is about it.

    Raises OperatorError for one that is not believed here.
    """
    trust = signatures.of_text(read(os.path.join(stack.directory, signatures.FILE)))
    repository = images.repository(images.untagged(name.partition("@")[0]))
    if not trust.about(repository):
        return name
    local = stack.engine.image(name)
    carried = images.carried(name, local)
    client = registry_client.Client(stack.runner, [], stack.engine.access())
    reference = images.pin(name, local) or (carried and "%s@%s" % (images.with_tag(name), carried))
    if not reference:
        manifest = client.manifest(repository, images.with_tag(name).rpartition(":")[2])
        if manifest is None:
            raise OperatorError(explain_pull_failures({name: "manifest unknown"})[0])
        reference = "%s@%s" % (images.with_tag(name), manifest.digest)
    record = signatures.Record(stack.directory)
    scratch = os.path.join(_SCRATCH, stack.name + "-candidate-")
    problem = signatures.Verifier(trust, stack.runner, client, record, scratch, stack.runner).problem(reference)
    if problem:
        raise OperatorError(
            "%s It would get PostgreSQL's login: sign it, or name another one in POSTGRES_IMAGE. Nothing was pulled."
            % problem
        )
    record.keep()
    # The engine knows one out of an archive by its tag alone.
    return name if carried and "@" not in name else reference


@contextlib.contextmanager
def _container(
    stack: Stack,
    name: str,
    argv: List[str],
    binds: List[str],
    network: str,
    environment: Dict[str, str],
    confined: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[str]:
    engine = stack.engine
    name = believed(stack, name)
    if engine.image(name) is None:
        done = stack.runner.run([engine.kind, "pull", "--quiet", name], timeout=600)
        if done.rc:
            (problem,) = explain_pull_failures({name: done.err})
            raise OperatorError(
                "%s It has PostgreSQL's programs; POSTGRES_IMAGE in tamma_stack_environment may name another."
                % problem,
                rc=done.rc,
            )
    identifier = engine.launch(name, argv, binds, network, environment, {LABEL: stack.name}, confined)
    try:
        yield identifier
    finally:
        engine.discard(identifier)


@contextlib.contextmanager
def client(stack: Stack, server: Postgres, major: int, directory: str, target: str) -> Iterator[str]:
    """A container whose programs log in to *server* by themselves; *directory* of the host is its *target*."""
    os.makedirs(_SCRATCH, mode=0o700, exist_ok=True)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=stack.name + "-restore-", dir=_SCRATCH) as login:
        words = [server.host, str(server.port), "*", server.user, server.password]
        line = ":".join(word.replace("\\", "\\\\").replace(":", "\\:") if word != "*" else word for word in words)
        files = [File("pgpass", line + "\n", 0o600)]
        environment = {
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGSSLMODE": server.sslmode,
            "PGPASSFILE": _LOGIN + "/pgpass",
        }
        if server.sslmode.startswith("verify"):
            files.append(File("ca.pem", server.ca or _authorities(), 0o600))
            environment["PGSSLROOTCERT"] = _LOGIN + "/ca.pem"
        write(login, files)
        binds = ["%s:%s:ro" % (login, _LOGIN), "%s:%s" % (directory, target)]
        # It sees the server where this host sees it, and lives as long as it is needed.
        with _container(stack, image(stack, major), ["tail", "-f", "/dev/null"], binds, "host", environment) as found:
            yield found


def _authorities() -> str:
    """The certificates of the authorities that this host knows."""
    path = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    with open(path, encoding="utf-8", errors="replace") as handle:
        return handle.read()


@contextlib.contextmanager
def server(stack: Stack, major: int, user: str, database: str) -> Iterator[Tuple[str, Postgres]]:
    """A server with an empty database, in a container with this id, which has no network: whoever runs there stays.

    This host reaches it through a socket in a directory of root's alone.
    """
    password = secrets.token_hex(24)
    environment = {"POSTGRES_USER": user, "POSTGRES_DB": database, "POSTGRES_PASSWORD": password}
    os.makedirs(_SCRATCH, mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as open_now:
        around = open_now.enter_context(tempfile.TemporaryDirectory(prefix=stack.name + "-restore-", dir=_SCRATCH))
        sockets = os.path.join(around, "socket")
        os.mkdir(sockets)
        # For whatever user the server is; nobody else gets to it.
        os.chmod(sockets, 0o777)  # noqa: S103
        binds = ["%s:%s:z" % (sockets, _SOCKETS)]
        identifier = open_now.enter_context(
            _container(stack, image(stack, major), [], binds, "none", environment, _CONFINED)
        )
        until = time.monotonic() + _SECONDS_TO_START
        while True:
            found = stack.engine.container(identifier) or {}
            try:
                login = Postgres(sockets, 5432, database, user, password, "disable")
                with PostgresSession(login) as session:
                    # While it is made ready it listens on no address.
                    if session.query("SHOW listen_addresses") != [[""]]:
                        break
                raise OperatorError("It is still made ready.")
            except OperatorError as exc:
                running = (found.get("State") or {}).get("Running")
                if not running or time.monotonic() > until:
                    lines = stack.engine.logs(identifier, 5)
                    raise OperatorError(
                        "The server for the drill does not come up: %s\n%s" % (exc.message, "\n".join(lines))
                    ) from exc
            time.sleep(0.2)
        yield identifier, login
