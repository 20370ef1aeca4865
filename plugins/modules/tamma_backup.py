#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_backup
short_description: Take a backup of a Tamma stack
version_added: 0.2.0
author: the Tamma collection contributors (@meywd)
description:
  - Takes a backup of the running stack into its repositories and reads it back. What is in it stands in docs/backup.md.
  - Fails, with the reason, when any repository has no backup that was read back whole in the end.
options:
  state:
    description:
      - V(present) takes a backup.
    type: str
    choices: [present]
    default: present
  reason:
    description: Stands in the list of backups.
    type: str
    default: by playbook
  tags:
    description: Names by which the backup can be found.
    type: list
    elements: str
    default: []
  wait:
    description: Seconds to wait for another operation on this stack to end.
    type: int
    default: 0
extends_documentation_fragment:
  - meywd.tamma.backups
attributes:
  check_mode:
    support: full
    description: Says that a backup would be taken, once the settings on the host can be read.
  diff_mode:
    support: none
    description: A backup changes nothing that could be compared.
  idempotent:
    support: none
    description: Each run takes another backup.
"""

EXAMPLES = r"""
- name: There is a backup before the change
  meywd.tamma.tamma_backup:
    reason: before the change
    tags: [before-change]
"""

RETURN = r"""
backups:
  description: What came into each repository.
  returned: success, not in check mode
  type: list
  elements: dict
  sample:
    - {repository: local, id: 20260101T120000Z-1a2b, bytes: 1048576, stored_bytes: 524288, problem: "",
       seconds: {database: 1.2, state: 1.1, verify: 0.9, whole: 3.1}}
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import configuration
from ansible_collections.meywd.tamma.plugins.module_utils.on_host import operations_of


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            **shell.BACKUP_ARGUMENTS,
            "state": {"type": "str", "choices": ["present"], "default": "present"},
            "reason": {"type": "str", "default": "by playbook"},
            "tags": {"type": "list", "elements": "str", "default": []},
            "wait": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )

    def work() -> Dict[str, Any]:
        params = module.params
        operations = operations_of(configuration(params["project"]), lambda _phase, _words: None, params["wait"])
        if module.check_mode:
            return {"changed": True}
        return {"changed": True, "backups": operations.backup(params["reason"], params["tags"], params["repository"])}

    shell.finish(module, work)


if __name__ == "__main__":
    main()
