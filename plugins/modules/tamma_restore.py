#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_restore
short_description: Restore a backup of a Tamma stack
version_added: 0.2.0
author: the Tamma collection contributors (@meywd)
description:
  - Restores into a new database beside the live one, compares it with what was backed up, and swaps it in by a rename
    while the services that write are stopped for seconds. The former database stays under a dated name.
  - Until the swap nothing of the live data is touched; a failure before it leaves no trace, one after it puts the
    former database back.
options:
  backup:
    description:
      - V(latest), the beginning of an id, V(tag:NAME), or a time such as V(2026-01-31T12:00:00Z), which means the
        newest backup not after it.
    type: str
    default: latest
  parts:
    description:
      - What is restored. V(files) puts the files of the release beside the running ones, to be looked at.
    type: list
    elements: str
    choices: [database, broker, volumes, files]
    default: [database, broker, volumes]
  source:
    description: The stack that made the backup, when that is not this one.
    type: str
    default: ""
  host:
    description: The host that made the backup, as the inventory calls it, when that is not this one.
    type: str
    default: ""
  unsigned:
    description: Restore also a backup that this host has not signed, on which it would insist otherwise.
    type: bool
    default: false
  deadline:
    description: Seconds that a service has to become ready after the swap.
    type: int
    default: 300
  wait:
    description: Seconds to wait for another operation on this stack to end.
    type: int
    default: 0
extends_documentation_fragment:
  - meywd.tamma.backups
attributes:
  check_mode:
    support: full
    description: Finds the backup, refuses what cannot work, and says what would be restored.
  diff_mode:
    support: none
    description: Two states of a database are not shown line by line.
  idempotent:
    support: none
    description: Each run restores again.
"""

EXAMPLES = r"""
- name: The database is as it was at noon
  meywd.tamma.tamma_restore:
    backup: "2026-01-31T12:00:00Z"
    parts: [database]
"""

RETURN = r"""
restore:
  description:
    - What was restored, or would be. C(kept_as) is the name of the former database, C(fill_seconds) how long the new
      one was filled beside it, C(away_seconds) how long the services that write were stopped.
    - C(doubt) says what speaks against the origin of the backup, if anything does.
    - In check mode C(pending) names the backup of a restore that has begun and not ended, which comes first, and
      C(cut_off) who is in the database beside the stack's services, and C(stopping) says what is lost because services
      stop.
  returned: success
  type: dict
  sample:
    {id: 20260101T120000Z-1a2b, time: "2026-01-01T12:00:00Z", repository: local, parts: [database], postgres: "15.10",
     rows: 1200, kept_as: tamma_before_20260131t120500z, doubt: "", fill_seconds: 8.1, away_seconds: 3.4}
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import configuration
from ansible_collections.meywd.tamma.plugins.module_utils.on_host import operations_of
from ansible_collections.meywd.tamma.plugins.module_utils.restore import PARTS


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            **shell.BACKUP_ARGUMENTS,
            "backup": {"type": "str", "default": "latest"},
            "parts": {
                "type": "list",
                "elements": "str",
                "choices": list(PARTS),
                "default": ["database", "broker", "volumes"],
            },
            "source": {"type": "str", "default": ""},
            "host": {"type": "str", "default": ""},
            "unsigned": {"type": "bool", "default": False},
            "deadline": {"type": "int", "default": 300},
            "wait": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )

    def work() -> Dict[str, Any]:
        params = module.params
        operations = operations_of(configuration(params["project"]), lambda _phase, _words: None, params["wait"])
        options = (params["repository"], params["source"], params["host"], params["unsigned"])
        chosen = (params["backup"], params["parts"], *options)
        if module.check_mode:
            found = operations.plan_restore(*chosen)
        else:
            found = operations.restore(*chosen, params["deadline"])
        if found["doubt"]:
            module.warn("On %s %s." % (params["project"], found["doubt"]))
        return {"changed": True, "restore": found}

    shell.finish(module, work)


if __name__ == "__main__":
    main()
