"""Writes what is made of other files: tables of variables, secrets and settings, ``.env.example`` and ``docker/``.

The argument specs are the source of the first, the operator's own tables of the others.
``python3 -m tests.tools.variables`` writes, between markers where there are some, ``--check`` only says
which files are out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.tools import option_b, secret_places, settings
from tests.tools.roles import ROOT, EntryPoint, Role, load_roles

START = "<!-- variables:start -->"
END = "<!-- variables:end -->"

_MARKUP = (
    (re.compile(r"\b[CVOEP]\(([^()]*(?:\([^()]*\)[^()]*)*)\)"), r"`\1`"),
    (re.compile(r"\bB\(([^)]*)\)"), r"**\1**"),
    (re.compile(r"\bI\(([^)]*)\)"), r"*\1*"),
    (re.compile(r"\bM\(([^)]*)\)"), r"`\1`"),
    (re.compile(r"\bL\(([^,]*),\s*([^)]*)\)"), r"[\1](\2)"),
    (re.compile(r"\bU\(([^)]*)\)"), r"<\1>"),
)


class Outdated(Exception):
    """A file that cannot hold a table, with what to do about it."""


def _markdown(text: str) -> str:
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return text


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(value: Any) -> str:
    if isinstance(value, str):
        text = value or '""'
    else:
        text = json.dumps(value, ensure_ascii=False)
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def _type(option: dict[str, Any]) -> str:
    kind = str(option.get("type", "str"))
    return f"{kind} of {option['elements']}" if "elements" in option else kind


def _meaning(option: dict[str, Any]) -> str:
    description = option.get("description", "")
    sentences = [description] if isinstance(description, str) else list(description)
    if option.get("choices"):
        sentences.append("One of " + ", ".join(_code(choice) for choice in option["choices"]) + ".")
    return _markdown(" ".join(sentences))


def _default(option: dict[str, Any]) -> str:
    if option.get("required"):
        return "required"
    return _code(option["default"]) if option.get("default") is not None else "–"


def _rows(options: dict[str, dict[str, Any]], prefix: str = "") -> list[str]:
    rows = []
    for name, option in options.items():
        cells = (f"`{prefix}{name}`", _meaning(option), _type(option), _default(option))
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        inner = "[]." if option.get("type") == "list" else "."
        rows.extend(_rows(option.get("options") or {}, f"{prefix}{name}{inner}"))
    return rows


def _point(point: EntryPoint, known: set[str], heading: str | None) -> list[str]:
    lines = [heading, "", f"{_markdown(point.short_description).rstrip('.')}.", ""] if heading else []
    new = {name: option for name, option in point.options.items() if name not in known}
    shared = [name for name in point.options if name in known]
    if new:
        lines += ["| Variable | Meaning | Type | Default |", "|---|---|---|---|", *_rows(new), ""]
    if shared:
        lines += ["Takes from above: " + ", ".join(f"`{name}`" for name in shared) + ".", ""]
    if not point.options:
        lines += ["No variables.", ""]
    known.update(point.options)
    return lines


def table(role: Role, level: int) -> str:
    """The role's variables as Markdown; each entry point beside ``main`` has its own heading."""
    known: set[str] = set()
    lines: list[str] = []
    for point in role.entry_points:
        heading = None if point.name == "main" else f"{'#' * level} Entry point `{point.name}`"
        lines += _point(point, known, heading)
    return "\n".join(lines).strip()


def overview(roles: list[Role]) -> str:
    """All roles, one after another."""
    parts = []
    for role in roles:
        description = _markdown(role.entry_points[0].short_description).rstrip(".")
        parts.append(f"## `{role.name}`\n\n{description}.\n\n{table(role, 3)}")
    return "\n\n".join(parts)


def _replace(text: str, content: str, path: Path) -> str:
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise Outdated(f"{path} has no place for the table: add the lines {START} and {END}")
    return f"{before}{START}\n{content}\n{END}{after}"


def targets(roles: list[Role], root: Path) -> dict[Path, tuple[str, str]]:
    """File → what belongs between the markers, and what a new file starts with."""
    wanted = {}
    for role in roles:
        if role.entry_points:
            description = role.entry_points[0].short_description.rstrip(".")
            start = f"# `meywd.tamma.{role.name}`\n\n{description}.\n\n## Variables\n\n{START}\n{END}\n"
            wanted[role.path / "README.md"] = (table(role, 3), start)
    start = (
        "# Variables\n\n"
        "Made from the roles' `meta/argument_specs.yml` by `make docs`; a variable's prefix is the role"
        f" that owns it.\n\n{START}\n{END}\n"
    )
    wanted[root / "docs" / "variables.md"] = (overview([role for role in roles if role.entry_points]), start)
    wanted[root / "docs" / "secrets.md"] = (secret_places.table(), f"{START}\n{END}\n")
    wanted[root / "docs" / "tamma.md"] = (settings.markdown(settings.table()), f"{START}\n{END}\n")
    return wanted


def whole_files() -> dict[Path, str]:
    """File → everything that it says."""
    return {settings.EXAMPLE: settings.example(settings.table()), **option_b.whole_files()}


def outdated(root: Path = ROOT, *, write: bool = False) -> list[str]:
    """A sentence for each file whose table is not what its source says; ``write`` mends them."""
    sentences = []
    texts: dict[Path, str] = {} if root != ROOT else whole_files()
    for path, (content, start) in targets(load_roles(root), root).items():
        current = path.read_text(encoding="utf-8") if path.is_file() else start
        try:
            texts[path] = _replace(current, content, path.relative_to(root))
        except Outdated as problem:
            sentences.append(str(problem))
    for path, wanted in texts.items():
        relative = path.relative_to(root)
        if path.is_file() and path.read_text(encoding="utf-8") == wanted:
            continue
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
            print(f"{relative} written")
        else:
            sentences.append(f"{relative} is out of date: run make docs")
    return sentences


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something would change")
    sentences = outdated(write=not parser.parse_args().check)
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
