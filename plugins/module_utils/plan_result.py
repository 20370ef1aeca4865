# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deploy's plan as modules return it and ``--diff`` shows it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import images
from ansible_collections.meywd.tamma.plugins.module_utils.deployment import Planned
from ansible_collections.meywd.tamma.plugins.module_utils.module import diff_files
from ansible_collections.meywd.tamma.plugins.module_utils.tables import Preparation


def describe(planned: Planned, pulled: List[str], comes: str = "") -> Dict[str, Any]:
    """The plan as the module returns it.

    pulled: the images that came before it was made. comes: see :func:`diff`.
    """
    changes = [change._asdict() for change in planned.plan.changes]
    return {
        "changed": planned.changed or bool(pulled),
        "plan": changes,
        "pulls": pulled or sorted({images.tagged(image) for image in planned.plan.pulls}),
        "database": database_steps(planned.preparation),
        "directories": [place.words for place in planned.given],
        "files": [{"path": change.path, "action": change.action} for change in planned.file_changes],
        "settings": planned.settings_changes,
        "diff": diff(planned, comes),
    }


def database_steps(preparation: Optional[Preparation]) -> List[str]:
    """What the database needs first, a line for each step."""
    return preparation.steps if preparation else []


def diff(planned: Planned, comes: str = "") -> List[Dict[str, str]]:
    """The plan for --diff: files, then images and services. comes: how the release comes, if that is known."""
    parts = diff_files(planned.file_changes, planned.settings_changes)
    lines = ["pull %s" % images.tagged(image) for image in planned.plan.pulls]
    lines += database_steps(planned.preparation)
    lines += [place.words for place in planned.given]
    lines += ["%s %s: %s" % (change.action, change.service, change.reason) for change in planned.plan.changes]
    if comes:
        lines.append("come %s" % comes)
    if lines:
        parts.append({"prepared": "\n".join(lines) + "\n"})
    return parts


def update_lines(told: Dict[str, Any]) -> List[str]:
    """What an update would do, for the operator. told: changed, former, version, comes, plan, pulls, refreshes."""
    lines = ["Nothing would have to be changed for version %s." % told["version"]]
    if told["changed"]:
        former = "release %d" % told["former"] if told["former"] else "what is on this host"
        lines = ["Would put version %s in the place of %s." % (told["version"], former)]
        lines += ["  pull %s" % image for image in told["pulls"]]
        lines += _steps(told["plan"])
    if told["comes"]:
        lines.append("The release would come %s." % told["comes"])
    if told["refreshes"]:
        lines.append(
            "The registry would be asked for these images again, which may change more: %s."
            % ", ".join(told["refreshes"])
        )
    return lines


def _steps(plan: List[Dict[str, str]]) -> List[str]:
    steps = ["%s %s: %s" % (one["action"], one["service"], one["reason"]) for one in plan]
    return ["  " + step for step in steps] or ["  no service is touched"]


def rollback_lines(told: Dict[str, Any]) -> List[str]:
    """What a rollback would do, for the operator. told: release and version to go back to, plan, database, kept_as."""
    lines = ["Would go back to release %d (%s)." % (told["release"], told["version"])]
    lines += _steps(told["plan"])
    if told["database"]:
        lines.append(
            "The database goes back as well, because its schema has changed since: %s takes its place. The present one,"
            " with every row that was written since, would be kept as %s." % (told["database"], told["kept_as"])
        )
    else:
        lines.append("The database stays as it is, because its schema is the same.")
    return lines
