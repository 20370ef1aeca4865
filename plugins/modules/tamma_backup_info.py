#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_backup_info
short_description: List the backups of a Tamma stack
version_added: 0.2.0
author: the Tamma collection contributors (@meywd)
description:
  - Lists the backups in each repository, and what came of the last backup, drill, check and prune.
extends_documentation_fragment:
  - meywd.tamma.backups
  - meywd.tamma.read_only
"""

EXAMPLES = r"""
- name: The backups are known
  meywd.tamma.tamma_backup_info:
  register: backups
"""

RETURN = r"""
repositories:
  description:
    - Each repository with its backups, oldest first; C(problem) says why they cannot be listed, or why one of
      them cannot be read.
  returned: success
  type: list
  elements: dict
  sample:
    - repository: local
      location: /var/backups/tamma
      problem: ""
      backups:
        - {id: 20260101T120000Z-1a2b, time: "2026-01-01T12:00:00Z", age_seconds: 60, bytes: 1048576, rows: 1200,
           reason: scheduled, tags: [], postgres: "15.10", problem: ""}
      last: {good_backup: {time: "2026-01-01T12:00:00Z", ok: true, problem: "", seconds: 3.1}}
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import configuration
from ansible_collections.meywd.tamma.plugins.module_utils.operations import Operations


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec=dict(shell.BACKUP_ARGUMENTS), supports_check_mode=True)

    def work() -> Dict[str, Any]:
        found = Operations(configuration(module.params["project"]), lambda _phase, _words: None).info()
        name = module.params["repository"]
        return {"changed": False, "repositories": [item for item in found if name in ("", item["repository"])]}

    shell.finish(module, work)


if __name__ == "__main__":
    main()
