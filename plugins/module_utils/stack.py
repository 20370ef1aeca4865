# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployed stack as one finds it on its host: what it is, what runs of it, and how its database is reached."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import secret_files, servers
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine, addresses, of_service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import read
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Postgres
from ansible_collections.meywd.tamma.plugins.module_utils.planner import keeper
from ansible_collections.meywd.tamma.plugins.module_utils.release import (
    ENV_FILE,
    redactor_on_host,
    settings_on_host,
)
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

# What uses the database today, and what a later release of Tamma may let use it. They stop and come together, so that
# none of a new release asks one of the old.
_WRITERS = ("elsa-server", "tamma-api", "tamma-api-dotnet", "tamma-engine")


class Stack:
    """The stack in *directory*; raises OperatorError when there is none."""

    def __init__(self, project: str, directory: str, engine: Engine, program: str) -> None:
        """*program* is the path of Compose."""
        if not os.path.exists(os.path.join(directory, ENV_FILE)):
            raise OperatorError(
                "There is no stack in %s: deploy it with site.yml, or name its directory in tamma_stack_directory."
                % directory
            )
        self._files = _files(directory)
        self.name = project
        self.directory = directory
        self.engine = engine
        self.runner = Runner({"DOCKER_HOST": "unix://%s" % engine.path})
        self.compose = Compose(self.runner, program, directory, project)
        self.settings = settings_on_host(directory)
        #: Without the hashes of its services.
        self.project: Project = self.compose.outline()

    def is_current(self) -> bool:
        """Whether the files that it was read from are the same still."""
        return self._files == _files(self.directory)

    def mask(self, text: str) -> str:
        """Take the stack's secrets out of a text, such as the lines of a log."""
        return redactor_on_host(self.directory).mask(text)

    def containers(self, service: str) -> List[Dict[str, Any]]:
        """The engine's entries for the containers of one service."""
        return of_service(self.engine.containers(self.name), service)

    def running(self, service: str) -> List[Dict[str, Any]]:
        """Those of them that run."""
        return [item for item in self.containers(service) if item.get("State") == "running"]

    def addresses(self) -> List[str]:
        """The addresses of its containers."""
        found = [self.engine.container(item["Id"]) or {} for item in self.engine.containers(self.name)]
        return [address for container in found for address in addresses(container)]

    def keeper(self, setting: str) -> Optional[Service]:
        """The service that keeps a setting in its volume; None when an external server has its place."""
        return keeper(self.project, setting)

    @property
    def postgres(self) -> Optional[Service]:
        """The stack's own PostgreSQL."""
        return self.keeper("POSTGRES_PASSWORD")

    @property
    def rabbitmq(self) -> Optional[Service]:
        """The stack's own RabbitMQ."""
        return self.keeper("RABBITMQ_PASSWORD")

    @property
    def writers(self) -> List[str]:
        """The services that may write to the database."""
        return writers(self.project)

    def server(self, database: str = "") -> Postgres:
        """How to log in to the stack's database, or to another one on its server."""
        external = servers.external_postgres(
            self.settings, read(os.path.join(self.directory, servers.POSTGRES_CA)) or ""
        )
        found = external[0] if external else self._own_server()
        return dataclasses.replace(found, database=database) if database else found

    def _own_server(self) -> Postgres:
        service = self.postgres
        for item in self.running(service.name) if service else []:
            for address in addresses(self.engine.container(item["Id"]) or {}):
                return Postgres(
                    address,
                    5432,
                    self.settings.get("POSTGRES_DB") or "tamma",
                    self.settings.get("POSTGRES_USER") or "tamma",
                    self.settings.get("POSTGRES_PASSWORD", ""),
                    "disable",
                )
        raise OperatorError(
            "PostgreSQL of the stack %s does not run: bring the stack up with site.yml, or type 'docker compose up -d' "
            "in %s." % (self.name, self.directory)
        )


def _files(directory: str) -> Dict[str, Tuple[int, int, int]]:
    """What a stack is read from: name → what is another one when the file was written."""
    found = {}
    for name in (ENV_FILE, secret_files.STORE, *(name for name in os.listdir(directory) if name.endswith(".yml"))):
        # Not every stack has a store, and an editor's lock is a link that leads nowhere.
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(os.path.join(directory, name))
            found[name] = status.st_ino, status.st_ctime_ns, status.st_size
    return found


def writers(project: Project) -> List[str]:
    """The services of a project that may write to the database."""
    return [name for name in _WRITERS if name in project.services]
