# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a stack's backups, as they lie on its host."""

from __future__ import annotations

import json
import os
from types import MappingProxyType
from typing import Dict, List, Mapping, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import read
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Repository

CONFIGURATION = "/etc/tamma"
RECORDS = "/var/lib/tamma"
#: Where a drill restores to: a database of its own on the stack's server, or a server of its own in a container.
DRILLS = ("server", "container")


class Configuration(NamedTuple):
    """The settings of a stack's backups. keep: see retention. check_subset: how much data a check reads ("5%").

    overdue_hours: operation → how old the last good one may be; one that is not named may be of any age. drill: where
    it restores to, see DRILLS. lock_seconds: how long a dump waits for a lock that somebody else has.
    """

    project: str
    directory: str
    engine_socket: str
    repositories: List[Repository]
    keep: Dict[str, int]
    check_subset: str
    notify_command: str
    notify_webhook: str
    metrics_file: str
    overdue_hours: Mapping[str, int] = MappingProxyType({})
    drill: str = "container"
    lock_seconds: int = 60


def settings_file(project: str, root: str = CONFIGURATION) -> str:
    """Where the role tamma_backup writes the settings."""
    return os.path.join(root, project, "backup.json")


def records_file(project: str) -> str:
    """Where it is recorded what came of the operations."""
    return os.path.join(RECORDS, project, "backups.json")


def configuration(project: str, root: str = CONFIGURATION) -> Configuration:
    """Read the settings that the role tamma_backup wrote. Raises OperatorError when there are none."""
    path = settings_file(project, root)
    text = read(path)
    if text is None:
        raise OperatorError(
            "This host knows no settings of backups for the stack %s (%s is missing): check its name, and run "
            "site.yml, which writes them." % (project, path)
        )
    try:
        values = json.loads(text)
        return Configuration(**{**values, "repositories": [Repository(**item) for item in values["repositories"]]})
    except (ValueError, TypeError, KeyError) as exc:
        raise OperatorError("%s cannot be read (%s): run site.yml, which writes it." % (path, exc)) from exc


def configuration_or_none(project: str) -> Optional[Configuration]:
    """The same; None when there are none. Raises OperatorError for settings that cannot be read."""
    return configuration(project) if os.path.exists(settings_file(project)) else None
