"""Argument specs and defaults say the same, in both directions, for every entry point.

``python3 -m tests.tools.check_specs`` prints what differs and exits with 1 if anything does.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from tests.tools.roles import Role, load_roles

# What an argument spec means by a type; a default that is a template is judged when it is rendered.
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (float, int),
    "int": (int,),
    "list": (list,),
    "path": (str,),
    "str": (str,),
}


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


def _same(one: Any, other: Any) -> bool:
    # 1 == True in Python; not in YAML.
    return type(one) is type(other) and one == other


def _default_problem(option: dict[str, Any]) -> str | None:
    default = option.get("default")
    if default is None or _is_template(default):
        return None
    kind = option.get("type", "str")
    if kind in _TYPES and (
        not isinstance(default, _TYPES[kind]) or (kind in ("int", "float") and isinstance(default, bool))
    ):
        return f"the default {default!r} is no {kind}"
    choices = option.get("choices")
    if choices and any(value not in choices for value in (default if kind == "list" else [default])):
        return f"the default {default!r} is not one of the choices"
    return None


def problems_of(role: Role) -> list[str]:
    """One sentence for each difference between the role's specs and its defaults."""
    found: list[str] = []
    if not role.entry_points:
        return [f"{role.name}: meta/argument_specs.yml is missing or empty"]
    if role.entry_points[0].name != "main":
        found.append(f"{role.name}: meta/argument_specs.yml has no entry point 'main'")
    specified: dict[str, dict[str, Any]] = {}
    for point in role.entry_points:
        where = f"{role.name}, entry point {point.name}"
        tasks = role.path / "tasks"
        if not any((tasks / f"{point.name}{suffix}").is_file() for suffix in (".yml", ".yaml")):
            found.append(f"{where}: there is no tasks/{point.name}.yml")
        if not point.short_description:
            found.append(f"{where}: no short_description")
        for name, option in point.options.items():
            if not name.startswith(f"{role.name}_"):
                found.append(f"{where}: {name} does not start with {role.name}_")
            if not option.get("description"):
                found.append(f"{where}: {name} has no description")
            problem = _default_problem(option)
            if problem:
                found.append(f"{where}: {name}: {problem}")
            if "default" in option and option.get("required"):
                found.append(f"{where}: {name} is required and has a default")
            if "default" in option and name not in role.defaults:
                found.append(f"{where}: {name} has a default in the spec and none in defaults/main.yml")
            if "default" not in option and name in role.defaults:
                found.append(f"{where}: {name} has a default in defaults/main.yml and none in the spec")
            if "default" in option and name in role.defaults and not _same(option["default"], role.defaults[name]):
                found.append(
                    f"{where}: {name} is {option['default']!r} in the spec"
                    f" and {role.defaults[name]!r} in defaults/main.yml"
                )
            if name in specified and specified[name] != option:
                found.append(f"{where}: {name} is specified otherwise than in another entry point")
            specified.setdefault(name, option)
    found.extend(
        f"{role.name}: {name} is in defaults/main.yml and in no entry point's spec"
        for name in role.defaults
        if name not in specified
    )
    return found


def taken_for_true(roles: list[Role]) -> list[str]:
    """One sentence for each condition on a bool without ``| bool``: with -e it is text, and "false" would be true."""
    options = {name: option for role in roles for point in role.entry_points for name, option in point.options.items()}
    names = "|".join(sorted(name for name, option in options.items() if option.get("type") == "bool"))
    condition = re.compile(rf"\b(?:if|elif|and|or|not) ({names or '-'})\b(?! *\| *(?:bool|default))")
    return [
        f"{role.name}: {path.relative_to(role.path)} takes {name} for true without '| bool'"
        for role in roles
        for path in sorted(role.path.rglob("*"))
        if path.suffix in (".yml", ".j2") and path.parent.name != "meta"
        for name in condition.findall(path.read_text(encoding="utf-8"))
    ]


def main() -> int:
    roles = load_roles()
    problems = [*(problem for role in roles for problem in problems_of(role)), *taken_for_true(roles)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
