# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets as files that the services mount, instead of environment variables: which one goes where, and in which form.

What a file says is what the variable would say: Compose works out the variables from the same files
that it reads when there are no secret files, and docker-compose.secrets.yml takes them away and
mounts the files. So there is one description of a connection string.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Dict, Iterable, List, Mapping, NamedTuple

from ansible_collections.meywd.tamma.plugins.module_utils import formats
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File

OVERLAY = "docker-compose.secrets.yml"
DIRECTORY = "secrets"

# The one store of raw values, and the key of the hashes that stand in labels.
STORE = "secrets/secrets.env"
HASH_KEY = "SECRETS_HASH_KEY"

# On a service in the overlay: the user id that reads its files. Without DAC_OVERRIDE not even a
# container's root reads those of somebody else.
OWNER_LABEL = "tamma.secrets-owner"


class Place(NamedTuple):
    """A secret in a service: the variable that holds it without secret files, and the file that holds it with them."""

    secret: str
    service: str
    variable: str
    file: str

    @property
    def path(self) -> str:
        """The file, below the stack's directory."""
        return "%s/%s/%s" % (DIRECTORY, self.service, self.file)


TABLE = (
    Place("POSTGRES_PASSWORD", "postgres", "POSTGRES_PASSWORD", "password"),
    Place("RABBITMQ_PASSWORD", "rabbitmq", "RABBITMQ_DEFAULT_PASS", "rabbitmq.config"),
    Place("POSTGRES_PASSWORD", "elsa-server", "ConnectionStrings__DefaultConnection", "appsettings.json"),
    Place("ELSA_SIGNING_KEY", "elsa-server", "Elsa__Identity__SigningKey", "appsettings.json"),
    Place("POSTGRES_PASSWORD", "tamma-api-dotnet", "ConnectionStrings__DefaultConnection", "appsettings.json"),
    Place("TAMMA_JWT_SECRET", "tamma-api-dotnet", "Jwt__Secret", "appsettings.json"),
    Place("ELSA_API_KEY", "tamma-api-dotnet", "Elsa__ApiKey", "appsettings.json"),
    Place("GITHUB_TOKEN", "tamma-api-dotnet", "GitHub__Token", "appsettings.json"),
    Place("ANTHROPIC_API_KEY", "tamma-api-dotnet", "Anthropic__ApiKey", "appsettings.json"),
    Place("GITHUB_TOKEN", "tamma-api", "GITHUB_TOKEN", "environment.cjs"),
    Place("ANTHROPIC_API_KEY", "tamma-api", "ANTHROPIC_API_KEY", "environment.cjs"),
    Place("TAMMA_JWT_SECRET", "tamma-api", "TAMMA_JWT_SECRET", "environment.cjs"),
    Place("GITHUB_TOKEN", "tamma-engine", "GITHUB_TOKEN", "environment.cjs"),
    Place("ANTHROPIC_API_KEY", "tamma-engine", "ANTHROPIC_API_KEY", "environment.cjs"),
)

# What the overlays of former versions mount: a way back to their releases still finds it, with what no service reads.
_FORMER = (
    Place("RABBITMQ_PASSWORD", "elsa-server", "RabbitMq__Password", "appsettings.json"),
    Place("POSTGRES_PASSWORD", "tamma-api", "DATABASE_URL", "environment.cjs"),
    Place("POSTGRES_PASSWORD", "tamma-engine", "DATABASE_URL", "environment.cjs"),
    Place("GITHUB_TOKEN", "tamma-api", "GITHUB_TOKEN", "github-token"),
    Place("ANTHROPIC_API_KEY", "tamma-api", "ANTHROPIC_API_KEY", "anthropic-api-key"),
    Place("GITHUB_TOKEN", "tamma-engine", "GITHUB_TOKEN", "github-token"),
    Place("ANTHROPIC_API_KEY", "tamma-engine", "ANTHROPIC_API_KEY", "anthropic-api-key"),
)

# The files that are made of settings, in this version and in former ones.
PATHS = frozenset(place.path for place in (*TABLE, *_FORMER))


def users_of(secret: str) -> List[str]:
    """The services that have a secret."""
    return sorted({place.service for place in TABLE if place.secret == secret})


def render(variables: Mapping[str, Mapping[str, str]], overlay: str) -> List[File]:
    """Write the files of the services in *variables*: service → its environment as it would be without secret files.

    overlay: the text of the release's overlay; what it does not mount is not written.
    """
    mounted = {
        (place.service, place.variable): place
        for place in (*TABLE, *_FORMER)
        if place.service in variables and place.path in overlay
    }
    contents: Dict[str, Dict[str, str]] = {place.path: {} for place in mounted.values()}
    for place in mounted.values():
        if place.variable in variables[place.service]:
            contents[place.path][place.variable] = variables[place.service][place.variable]
    return [File(path, _content(path, values), 0o400, secret=True) for path, values in contents.items()]


def give_to_owners(files: Iterable[File], project: Project) -> List[File]:
    """Give each file to the user that the label of its service in *project* names.

    Raises OperatorError for a label that is no user id.
    """
    return [item._replace(owner=_owner(project.services[_service_of(item)])) for item in files]


def _service_of(item: File) -> str:
    return item.path.split("/")[1]


def _owner(service: Service) -> int:
    text = service.labels.get(OWNER_LABEL, "")
    if not text.isdigit():
        raise OperatorError(
            "The service %s has the label %s: '%s', which is no user id: correct POSTGRES_UID and RABBITMQ_UID in "
            "tamma_stack_environment, or the label in tamma_stack_overrides." % (service.name, OWNER_LABEL, text)
        )
    return int(text)


def _content(path: str, values: Dict[str, str]) -> str:
    if path.endswith("/appsettings.json"):
        return formats.render_appsettings(values)
    if path.endswith(".cjs"):
        return formats.render_node_environment(values)
    if path.endswith("/rabbitmq.config"):
        return formats.render_rabbitmq_config(values)
    # A file with one value and nothing else: a line break at its end would belong to it.
    return "".join(values.values())


def hashes(files: Iterable[File], key: str) -> Dict[str, str]:
    """For each service the setting that its label carries, so that other secrets make another container.

    Keyed, because `docker inspect` shows it: without the key nobody finds a weak secret by trying.
    """
    by_service: Dict[str, Dict[str, str]] = {}
    for item in files:
        by_service.setdefault(_service_of(item), {})[item.path] = item.content
    return {
        hash_setting(service): hmac.new(
            key.encode("utf-8"), json.dumps(contents, sort_keys=True).encode("utf-8"), hashlib.sha256
        ).hexdigest()[:32]
        for service, contents in by_service.items()
    }


def hash_setting(service: str) -> str:
    """The name of the setting with the hash over a service's secret files."""
    return service.upper().replace("-", "_") + "_SECRETS_HASH"


#: The settings that say what the secrets are without telling them; whoever has other secrets has others of these.
HASH_SETTINGS = frozenset(hash_setting(place.service) for place in TABLE)
