# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the thin modules share: their common options, and how one of them ends."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.engine import DOCKER_SOCKET
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError, of_the_system
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, FileChange
from ansible_collections.meywd.tamma.plugins.module_utils.places import path_problems, project_problems
from ansible_collections.meywd.tamma.plugins.module_utils.progress import ProgressFile
from ansible_collections.meywd.tamma.plugins.module_utils.release import ENV_FILE
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "project": {"type": "str", "default": "tamma"},
    "directory": {"type": "path", "default": "/opt/tamma"},
    "engine_socket": {"type": "path", "default": DOCKER_SOCKET},
}

# What a release is made of: its files and its settings.
RELEASE_ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "content": {"type": "str"},
            "src": {"type": "str"},
            "initial": {"type": "bool", "default": False},
            "hash_setting": {"type": "str"},
        },
    },
    # The contents are; the paths may be seen.
    "secret_files": {
        "type": "list",
        "elements": "dict",
        "no_log": False,
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "content": {"type": "str", "required": True, "no_log": True},
            "owner": {"type": "int"},
            "mode": {"type": "str", "choices": ["0600", "0400"], "default": "0600"},
            "hash_setting": {"type": "str"},
        },
    },
    "compose_files": {"type": "list", "elements": "str", "required": True},
    "settings": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "generated_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
}


# What the modules for backups share; the other settings stand on the host.
BACKUP_ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "project": {"type": "str", "default": "tamma"},
    "repository": {"type": "str", "default": ""},
}


def setting(value: Any) -> str:
    """A setting as the services read it: YAML's booleans in lower case, nothing as an empty text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def release_files(params: Dict[str, Any]) -> Tuple[List[File], Dict[str, List[File]]]:
    """Read the options with files: all of them, and for each setting those whose content it stands for."""
    files: List[File] = []
    hashed: Dict[str, List[File]] = {}
    for option, mode in (("files", 0o644), ("secret_files", 0o600)):
        for item in params[option]:
            file = File(
                item["path"],
                item["content"] or "",
                int(item["mode"], 8) if item.get("mode") else mode,
                option == "secret_files",
                item.get("owner"),
                bool(item.get("initial")),
            )
            files.append(file)
            if item.get("hash_setting"):
                hashed.setdefault(item["hash_setting"], []).append(file)
    return files, hashed


def diff_files(changes: List[FileChange], settings: Dict[str, List[str]]) -> List[Dict[str, str]]:
    """Changed files for --diff, line by line; of ``.env`` only the names that were added, changed or removed."""
    of_env = "".join("%s %s\n" % (kind, ", ".join(names)) for kind, names in settings.items() if names)
    return [
        {"prepared": "%s %s\n%s" % (change.action, change.path, of_env if change.path == ENV_FILE else change.diff)}
        for change in changes
    ]


def runner(params: Dict[str, Any]) -> Runner:
    """What starts programs: they talk to the engine behind the socket that the options name."""
    return Runner({"DOCKER_HOST": "unix://%s" % params["engine_socket"]})


def compose_program() -> str:
    """The path of Compose; raises OperatorError on a host that has none."""
    program = find_compose()
    if program is None:
        raise OperatorError(
            "This host has no Docker Compose: let the role meywd.tamma.tamma_runtime install it (site.yml does)."
        )
    return program


def refuse_places(params: Dict[str, Any]) -> None:
    """Raise OperatorError for a name or a path that would mean something else in a unit or in a shell's line."""
    names = {name: params[name] for name in ("project",) if params.get(name)}
    paths = {name: params[name] for name in ("directory", "engine_socket") if params.get(name)}
    found = [*project_problems(names), *path_problems(paths)]
    if found:
        raise OperatorError(" ".join(found))


def finish(module: Any, work: Callable[[], Dict[str, Any]]) -> None:
    """Do the work and leave with its result, or with the one sentence that says why it failed."""
    try:
        refuse_places(module.params)
        result = work()
    except OperatorError as exc:
        module.fail_json(msg=exc.message, **exc.facts)
    except OSError as exc:
        module.fail_json(msg=of_the_system(exc))
    module.exit_json(**result)


def finish_shown(module: Any, work: Callable[[ProgressFile], Dict[str, Any]]) -> None:
    """The same for work that somebody follows (``progress_file``): its lines and seconds are part of every result."""
    progress = ProgressFile(module.params["progress_file"] or "")
    began = time.monotonic()

    def told() -> Dict[str, Any]:
        return {"progress": progress.lines, "seconds": round(time.monotonic() - began, 1)}

    def shown() -> Dict[str, Any]:
        try:
            return {**work(progress), **told()}
        except OperatorError as exc:
            exc.facts.update(told())
            raise
        except OSError as exc:
            raise OperatorError(of_the_system(exc), **told()) from exc
        finally:
            progress.close()

    finish(module, shown)
