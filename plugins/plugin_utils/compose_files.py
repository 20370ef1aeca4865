# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack's Compose files, read on the controller.

Only for the plan of a host that has no Compose yet, and for what the stack asks of a host. Where Compose
is installed it is the one that says what the stack is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import yaml
from ansible.module_utils.common.yaml import SafeLoader

from ansible_collections.meywd.tamma.plugins.module_utils.planner import ALONE_LABEL

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?P<rest>[:?+-])?)")


class Service(NamedTuple):
    """A service, reduced to what can be said of it before there is an engine.

    cpus and memory are the limits of one container, reserved what is kept for it (MiB); zero is none.
    ports: (address or nothing, published port) of TCP. alone: why there should be one container, by its label.
    """

    name: str
    image: str
    replicas: int = 1
    cpus: float = 0
    memory: int = 0
    reserved: int = 0
    ports: tuple[tuple[str, int], ...] = ()
    alone: str = ""


class Replacement(NamedTuple):
    """What Compose's tags !override and !reset put into the place of everything before it."""

    value: Any


class _Loader(SafeLoader):
    """YAML with the tags that Compose adds for overlays; by the parser in C where there is one."""


def _replacement(loader: _Loader, _suffix: str, node: yaml.Node) -> Replacement:
    if isinstance(node, yaml.MappingNode):
        return Replacement(loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.SequenceNode):
        return Replacement(loader.construct_sequence(node, deep=True))
    return Replacement(None)


_Loader.add_multi_constructor("!", _replacement)


def parse(text: str) -> dict[str, Any]:
    """Read a Compose file; what has a tag of Compose's is a :class:`Replacement`."""
    document: dict[str, Any] = yaml.load(str(text), Loader=_Loader) or {}  # noqa: S506 - a SafeLoader with Compose's tags
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


def services(documents: list[str], values: Mapping[str, str]) -> list[Service]:
    """Read the services in the order in which they start, without those of a profile.

    documents: the texts of the Compose files, the base first.
    """
    merged: dict[str, Any] = {}
    for text in documents:
        merged = _merge(merged, parse(text).get("services") or {})
    found = {name: item for name, item in merged.items() if item is not None and not item.get("profiles")}
    ordered: list[str] = []
    while len(ordered) < len(found):
        free = [
            name
            for name in sorted(found)
            if name not in ordered and set(found[name].get("depends_on") or ()) & set(found) <= set(ordered)
        ]
        if not free:
            break
        ordered += free
    return [_service(name, found[name], values) for name in ordered]


def _merge(below: Any, above: Any) -> Any:
    """Put an overlay's value on what there was, as Compose does; what it sets to nothing stays as it was."""
    if isinstance(above, Replacement):
        return above.value
    if isinstance(above, dict):
        base = below if isinstance(below, dict) else {}
        return {**base, **{key: _merge(base.get(key), value) for key, value in above.items()}}
    if isinstance(below, list) and isinstance(above, list):
        return below + above
    return below if above is None else above


def _service(name: str, item: Mapping[str, Any], values: Mapping[str, str]) -> Service:
    def text(value: Any) -> str:
        return interpolate("" if value is None else str(value), values)

    deploy = item.get("deploy") or {}
    resources = deploy.get("resources") or {}
    limits, reservations = resources.get("limits") or {}, resources.get("reservations") or {}
    return Service(
        name,
        text(item.get("image")),
        _number(text(deploy.get("replicas", item.get("scale"))), int, 1),
        _number(text(limits.get("cpus", item.get("cpus"))), float, 0.0),
        mebibytes(text(limits.get("memory", item.get("mem_limit")))),
        mebibytes(text(reservations.get("memory", item.get("mem_reservation")))),
        tuple(port for entry in item.get("ports") or [] if (port := _port(entry, text))),
        text(labels.get(ALONE_LABEL)) if isinstance(labels := item.get("labels"), Mapping) else "",
    )


_T = TypeVar("_T")


def _number(text: str, kind: Callable[[str], _T], otherwise: _T) -> _T:
    # What cannot be read is Compose's to complain about.
    try:
        return kind(text)
    except ValueError:
        return otherwise


def mebibytes(text: str) -> int:
    """Read an amount of memory as Compose does: 2G, 512mb, 1073741824; zero for what is none."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?\s*", text, re.IGNORECASE)
    return int(float(match[1]) * 1024.0 ** " kmgtp".index(match[2].lower() or " ") / 1024**2) if match else 0


def _port(entry: Any, text: Callable[[Any], str]) -> tuple[str, int] | None:
    """Read one published TCP port; nothing of a range and of one that the engine chooses."""
    if isinstance(entry, Mapping):
        address, published = text(entry.get("host_ip")), text(entry.get("published"))
        protocol = text(entry.get("protocol")) or "tcp"
    else:
        words, _slash, protocol = text(entry).partition("/")
        before, _colon, _target = words.rpartition(":")
        address, _colon, published = before.rpartition(":")
    if not published.isdigit() or protocol not in ("", "tcp"):
        return None
    return address.strip("[]"), int(published)
