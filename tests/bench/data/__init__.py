"""Generated data of a stack, with everything that a backup may lose, and what shows that none of it is lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from ..command import docker

_HERE = Path(__file__).parent
#: Docker's or Podman's.
_GO = (
    "cd /var/lib/docker/volumes/tamma_tamma-elsa-storage/_data 2>/dev/null"
    " || cd /var/lib/containers/storage/volumes/tamma_tamma-elsa-storage/_data"
)
_FIND = "find . -mindepth 1 ! -path './.tamma-*' -printf '%P %y %m %U %G %l %T@\\n' | sort"
_SUMS = "find . -type f ! -path './.tamma-*' -exec sha256sum {} + | sort -k 2"


class State(NamedTuple):
    """What a stack holds: values of the database, its schema, roles, the broker's definitions, files."""

    values: str
    schema: str
    roles: str
    broker: str
    files: str

    def differences(self, other: State) -> list[str]:
        """The lines that only one of two states has, each with the name of its part."""
        found = []
        for part, mine, others in zip(self._fields, self, other, strict=True):
            # Two servers need not list the same things in the same order.
            lines, other_lines = Counter(mine.splitlines()), Counter(others.splitlines())
            found += [f"{part}: {line}" for line in sorted((lines - other_lines) + (other_lines - lines))]
        return found


def generate(container: str, mebibytes: int) -> None:
    """Fill the stack of a host."""
    sql = (_HERE / "generate.sql").read_bytes()
    variables = ["-v", f"mebibytes={mebibytes}", "-v", "database=tamma"]
    _exec(container, "postgres", "psql", "-qXU", "tamma", "-d", "tamma", "-o", "/dev/null", *variables, data=sql)
    broker = (_HERE / "broker.json").read_bytes()
    _exec(container, "rabbitmq", "rabbitmqctl", "-q", "import_definitions", data=broker)
    docker("exec", "-i", container, "sh", "-euc", f"{_GO}; sh -eus .", data=(_HERE / "files.sh").read_bytes())


def ask(container: str, sql: str) -> str:
    """What the stack's database answers: a line a row, and nothing else."""
    return _exec(container, "postgres", "psql", "-qXAtU", "tamma", "-d", "tamma", "-v", "ON_ERROR_STOP=1", "-c", sql)


def values(container: str) -> str:
    """A line for every table, sequence and large object: a checksum of what is in it."""
    sql = (_HERE / "fingerprint.sql").read_bytes()
    return _exec(container, "postgres", "psql", "-qXU", "tamma", "-d", "tamma", data=sql)


def files(container: str) -> str:
    """A line or two for every file of the backed up volume."""
    return docker("exec", container, "sh", "-euc", f"{_GO}; {_FIND}; {_SUMS}")


def state(container: str) -> State:
    """Everything."""
    schema = _exec(container, "postgres", "pg_dump", "-U", "tamma", "-s", "--create", "tamma")
    roles = _exec(container, "postgres", "pg_dumpall", "-U", "tamma", "--roles-only")
    definitions = json.loads(_exec(container, "rabbitmq", "rabbitmqctl", "-q", "export_definitions", "-"))
    return State(
        values(container),
        # Newer clients write another key into every dump.
        "\n".join(line for line in schema.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))),
        # The stack's own role has today's password.
        "\n".join(
            line
            for line in roles.splitlines()
            if line.startswith(("CREATE", "ALTER", "GRANT")) and " tamma " not in line
        ),
        "\n".join(sorted(_definitions(definitions))),
        files(container),
    )


def _definitions(found: dict[str, Any]) -> list[str]:
    return [
        f"{kind} {json.dumps(item, sort_keys=True)}"
        for kind, items in found.items()
        if isinstance(items, list)
        for item in items
        if not (kind == "users" and item["name"] == "tamma") and item.get("name") != "internal_cluster_id"
    ]


def _exec(container: str, service: str, *command: str, data: bytes | None = None) -> str:
    compose = 'exec "$(command -v docker || command -v podman)" compose exec -T "$@"'
    inside = ["sh", "-c", compose, "compose", service, *command]
    return docker("exec", "-i", "-w", "/opt/tamma", container, *inside, data=data or b"")
