"""What the roles say about their variables: argument specs and defaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class EntryPoint:
    """One way to run a role, and the variables it takes."""

    name: str
    short_description: str
    options: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Role:
    """A role: its entry points, ``main`` first, and its defaults."""

    path: Path
    entry_points: tuple[EntryPoint, ...]
    defaults: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.name


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _entry_points(path: Path) -> Iterator[EntryPoint]:
    specs = _load(path / "meta" / "argument_specs.yml").get("argument_specs", {})
    for name in sorted(specs, key=lambda name: (name != "main", name)):
        spec = specs[name]
        yield EntryPoint(name, str(spec.get("short_description", "")), spec.get("options") or {})


def load_roles(root: Path = ROOT) -> list[Role]:
    """Every role of the collection, by name."""
    return [
        Role(path, tuple(_entry_points(path)), _load(path / "defaults" / "main.yml"))
        for path in sorted((root / "roles").iterdir())
        if path.is_dir()
    ]
