"""What is made of the table of settings: ``.env.example`` and the table of ``docs/tamma.md``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

import tests.tools.checkout  # noqa: F401 - before the collection is imported
from ansible_collections.meywd.tamma.plugins.plugin_utils import settings
from ansible_collections.meywd.tamma.plugins.plugin_utils.settings import Section, Setting, Table
from tests.tools.roles import ROOT

SOURCE = ROOT / "roles/tamma_stack/files/settings.yml"
EXAMPLE = ROOT / "roles/tamma_stack/files/env.example"
_WIDTH = 96
_HEADER = """\
# Settings of the Tamma stack. Copy this file to `.env`, which Docker Compose reads by itself,
# fill in the required values, and keep it to yourself: chmod 600 .env
#
# A value with spaces, quotes, # or $ goes into double quotes, with \\" \\\\ and $$ for the
# characters " \\ and $. Commented lines show the default.
"""


def table() -> Table:
    return settings.read(SOURCE.read_text(encoding="utf-8"))


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
    )


def _example_section(section: Section) -> list[str]:
    lines = ["# --- %s " % section.title]
    lines = [lines[0] + "-" * max(3, _WIDTH - len(lines[0])), *_comment(section.text)]
    for item in section.settings:
        if not item.internal:
            shown = "# %s=%s" % (item.name, item.default) if item.value is None else "%s=%s" % (item.name, item.value)
            lines += [*_comment(item.effect), shown]
    return lines


def example(known: Table) -> str:
    """The text of ``.env.example``."""
    return "\n".join([_HEADER, *("\n".join(_example_section(section)) + "\n" for section in known.sections)])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(map(_cell, row)) + " |" for row in rows), ""]


def _places(item: Setting) -> str:
    by_name: dict[str, list[str]] = {}
    for service, name in item.services.items():
        by_name.setdefault(name, []).append(service)
    return "; ".join("%s: `%s`" % (", ".join(services), name) for name, services in by_name.items())


def _by_service(found: Mapping[str, Mapping[str, str]]) -> list[tuple[str, ...]]:
    by_row: dict[tuple[str, str], list[str]] = {}
    for service, variables in found.items():
        for name, effect in variables.items():
            by_row.setdefault((name, effect), []).append(service)
    return [("`%s`" % name, ", ".join(services), effect) for (name, effect), services in by_row.items()]


def markdown(known: Table) -> str:
    """The tables of ``docs/tamma.md``."""
    every = known.settings.values()
    read = [item for item in every if item.services and not item.internal]
    since = {item.since or known.tamma for item in read}
    head: tuple[str, ...] = ("setting", "service and what it is called there", "effect", "default", "set by")
    rows = [
        (
            "`%s`%s" % (item.name, " (secret)" if item.secret else ""),
            _places(item),
            item.effect + (" Since %s." % item.since if item.since else ""),
            "`%s`" % item.default if item.default and not item.secret else "–",
            "`%s`" % item.variable if item.variable else "the collection" if item.made else "`tamma_stack_environment`",
        )
        for item in read
    ]
    unread = [("`%s`" % item.name, item.effect) for item in every if item.unread]
    return "\n".join(
        [
            "Each name was looked up in Tamma %s." % " or ".join(sorted(since)),
            "",
            *_rows(head, rows),
            "No service reads these today. They can be set all the same, and a run says so:",
            "",
            *_rows(("setting", "why"), unread),
            "What a service finds in any case:",
            "",
            *_rows(("variable", "service", "effect"), _by_service(known.fixed)),
            "What services read beside that, for `tamma_stack_service_environment` (any other name can be set too):",
            "",
            *_rows(("variable", "service", "effect"), _by_service(known.others)),
        ]
    ).strip()
