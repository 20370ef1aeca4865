"""The table of ``docs/secrets.md``: which secret goes where, and in which form."""

from __future__ import annotations

import tests.tools.checkout  # noqa: F401 - before the collection is imported
from ansible_collections.meywd.tamma.plugins.module_utils.secret_files import DIRECTORY, TABLE, Place

# What a variable says beside the secret.
_AROUND = {
    "ConnectionStrings__DefaultConnection": ", in a connection string of Npgsql",
}


def _form(place: Place) -> str:
    if place.file.endswith(".json"):
        return "JSON, `%s`" % place.variable.replace("__", ":")
    if place.file.endswith(".cjs"):
        return "script that sets `%s`" % place.variable
    if place.file.endswith(".config"):
        return "Erlang term with the bytes of `default_pass`"
    return "the value alone"


def table() -> str:
    """A row for each place, as Markdown."""
    lines = [
        "| Secret | Service | `environment`: the variable | `files`: the file below `%s/` | Its form |" % DIRECTORY,
        "|---|---|---|---|---|",
    ]
    for place in sorted(TABLE, key=lambda place: place.secret):
        file = place.path.partition("/")[2]
        form = _form(place) + _AROUND.get(place.variable, "")
        lines.append(f"| `{place.secret}` | {place.service} | `{place.variable}` | `{file}` | {form} |")
    return "\n".join(lines)
