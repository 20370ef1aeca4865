# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack's Compose files, read on the controller.

Only for the plan of a host that has no Compose yet. Where Compose is installed it is the one that
says what the stack is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?P<rest>[:?+-])?)")


class _Loader(yaml.SafeLoader):
    """YAML with the tags that Compose adds for overlays."""


def _override(loader: _Loader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return None


_Loader.add_multi_constructor("!", _override)


def parse(text: str) -> dict[str, Any]:
    """Read a Compose file; what ``!reset`` takes away is None."""
    document: dict[str, Any] = yaml.load(text, Loader=_Loader) or {}  # noqa: S506 - a SafeLoader with Compose's tags
    return document


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """Replace ``$NAME``, ``${NAME}``, ``${NAME:-default}`` and its relatives as Compose does."""
    out = []
    position = 0
    while match := _VARIABLE.search(text, position):
        out.append(text[position : match.start()])
        position = match.end()
        if match["escaped"]:
            out.append("$")
        elif match["plain"]:
            out.append(values.get(match["plain"], ""))
        else:
            end = _closing_brace(text, match.end("name"))
            out.append(_expand(match["name"], text[match.end("name") : end], values))
            position = end + 1
    out.append(text[position:])
    return "".join(out)


def _expand(name: str, operator: str, values: Mapping[str, str]) -> str:
    """Expand one ``${NAME<operator>}``: ``:`` makes an empty value count as unset."""
    value = values.get(name)
    colon = operator.startswith(":")
    how, word = operator[colon : colon + 1], operator[colon + 1 :]
    is_set = bool(value) if colon else value is not None
    if how == "-" and not is_set:
        return interpolate(word, values)
    if how == "+":
        return interpolate(word, values) if is_set else ""
    return value or ""


def _closing_brace(text: str, position: int) -> int:
    depth = 1
    while position < len(text):
        if text.startswith("${", position):
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if not depth:
                return position
        position += 1
    return len(text)


def services(documents: list[str], values: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name and image of each service in the order in which they start, without those of a profile.

    documents: the texts of the Compose files, the base first.
    """
    images: dict[str, str] = {}
    needs: dict[str, set[str]] = {}
    left_out: set[str] = set()
    for text in documents:
        document = parse(text)
        for name, service in (document.get("services") or {}).items():
            images.setdefault(name, "")
            if (service or {}).get("image"):
                images[name] = interpolate(service["image"], values)
            needs.setdefault(name, set()).update((service or {}).get("depends_on") or ())
            if (service or {}).get("profiles"):
                left_out.add(name)
    images = {name: image for name, image in images.items() if name not in left_out}
    ordered: list[str] = []
    while len(ordered) < len(images):
        free = [name for name in sorted(images) if name not in ordered and needs[name] & set(images) <= set(ordered)]
        if not free:
            break
        ordered += free
    return [(name, images[name]) for name in ordered]
