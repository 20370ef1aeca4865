# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders a bundle's files on the controller, and shows the steps, what they made and what comes next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ansible_collections.meywd.tamma.plugins.action import tamma_deploy

display = Display()

# The steps in the order in which they are shown, and how the files of each one begin.
_STEPS = (
    ("Generating docker-compose.yml...", ("docker-compose",)),
    ("Generating .env from template...", (".env",)),
    ("Copying init-db.sql...", ("postgres/",)),
    ("Copying nginx config...", ("nginx/",)),
    ("Generating Caddy config...", ("edge/",)),
    ("Copying the engine's files...", ("engine/",)),
    ("Copying scripts...", ("tamma-",)),
    ("Writing README.md and .gitignore...", ("README.md", ".gitignore")),
)
_WIDTH = 40
_SECTIONS = (("Created", ("create",)), ("Updated", ("update", "mode")), ("Removed", ("remove",)))


def steps(paths: list[str], result: dict[str, Any], check: bool) -> list[str]:
    """One numbered line for each step that has a file to make."""
    actions = {change["path"].removesuffix(".new"): change["action"] for change in result["files"]}
    shown = [(title, [path for path in paths if path.startswith(starts)]) for title, starts in _STEPS]
    shown = [(title, found) for title, found in shown if found]
    lines = []
    for number, (title, found) in enumerate(shown, 1):
        done = {actions.get(path) for path in found} - {None}
        outcome = "unchanged" if not done else "yours is kept" if done == {"keep"} else "done"
        if check and outcome == "done":
            outcome = "would be done"
        lines.append(" [%d/%d] %s %s" % (number, len(shown), title.ljust(_WIDTH), outcome))
    return lines


def sections(result: dict[str, Any], place: str) -> list[str]:
    """What was made, by kind; *place* is the directory as the person would type it."""
    lines = []
    for title, kinds in _SECTIONS:
        found = [item["path"] for item in result["files"] if item["action"] in kinds and _for_people(item["path"])]
        if found:
            lines += ["", " %s:" % title, *("   %s" % os.path.join(place, path) for path in found)]
    if result["beside"]:
        lines += ["", " Kept, because you changed them (take over from the new version what you want):"]
        lines += ["   %s (new: %s.new)" % (os.path.join(place, path), path) for path in result["beside"]]
    if result["stays"]:
        lines += ["", " Kept in %s, where you change them:" % os.path.join(place, ".env")]
        lines += ["   %s" % ", ".join(result["stays"])]
    return lines


def _for_people(path: str) -> bool:
    return not path.startswith(".tamma/") and not path.endswith(".new")


def next_steps(missing: dict[str, str], following: list[str], place: str) -> list[str]:
    """What is missing, a sentence each, and what to do, numbered."""
    env = os.path.join(place, ".env")
    lines = []
    if missing:
        lines += ["", " Missing:", *("   %s is not set: it is %s." % item for item in missing.items())]
        following = ["Edit %s and set %s" % (env, _listed(list(missing))), *following]
    return [*lines, "", " Next steps:", *("   %d. %s" % item for item in enumerate(following, 1))]


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


class ActionModule(tamma_deploy.ActionModule):
    """The controller's half of M(meywd.tamma.tamma_bundle); files are read like a deploy's."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        # Past the deploy's own run: it follows a log on a host.
        result: dict[str, Any] = super(tamma_deploy.ActionModule, self).run(tmp, task_vars)
        arguments = dict(self._task.args)
        arguments["files"] = [self._with_content(item) for item in arguments.get("files") or []]
        result.update(self.execute("tamma_bundle", arguments, task_vars))
        if not result.get("failed"):
            self._show(arguments, result)
        if not self._task.diff:
            result.pop("diff", None)
        return result

    def _show(self, arguments: dict[str, Any], result: dict[str, Any]) -> None:
        listed = [*arguments["files"], *(arguments.get("secret_files") or [])]
        paths = [*(str(item["path"]) for item in listed), ".env", ".gitignore"]
        place = self._place(str(arguments["directory"]))
        missing = {name: arguments["needed"][name] for name in result["missing"]}
        for line in [
            "",
            " Tamma Full-Stack Installer",
            "",
            *steps(paths, result, self._task.check_mode),
            *sections(result, place),
            *next_steps(missing, arguments.get("next_steps") or [], place),
            "",
        ]:
            display.display(line)

    def _place(self, directory: str) -> str:
        """The directory as the person at the controller would type it."""
        path = Path(directory)
        if self._connection.transport == "local" and path.is_relative_to(Path.cwd()):
            return os.path.join(".", path.relative_to(Path.cwd()))
        return directory
