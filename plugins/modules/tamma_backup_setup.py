#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_backup_setup
short_description: Configure the backups of a Tamma stack on a host
version_added: 0.2.0
author: the Tamma collection contributors (@meywd)
description:
  - Writes the settings of the backups, the passwords of the repositories, systemd timers and the program C(tammactl),
    all in one visit. Timers that are no longer wanted are removed.
  - restic itself is installed by the role P(meywd.tamma.tamma_backup#role). There are no timers before it is there.
options:
  state:
    description:
      - V(absent) takes all of it away; the repositories and what is in them stay.
    type: str
    choices: [present, absent]
    default: present
  repositories:
    description:
      - Where backups are stored. Without any there are no timers, and C(tammactl) has everything else to offer.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the repository is called.
        type: str
        required: true
      location:
        description: Its location in restic's words.
        type: str
        required: true
      password:
        description: What it is encrypted with.
        type: str
        required: true
      environment:
        description: Variables that restic needs for the location, such as the keys of an object store.
        type: dict
        default: {}
  host:
    description:
      - Whose backups are stored and found there. The name stays when the machine is replaced, so it is not the
        machine's own.
      - Empty takes those of all hosts for this one's, as earlier versions did.
    type: str
    default: ""
  keep:
    description: How many backups stay, V(last), V(daily), V(weekly) and V(monthly).
    type: dict
    default: {}
  check_subset:
    description: How much of the data a scheduled check reads.
    type: str
    default: 5%
  drill:
    description:
      - Where a drill restores to, a database beside the live one on its server, or a server of its own in a container
        that is thrown away.
    type: str
    choices: [server, container]
    default: container
  lock_seconds:
    description: How many seconds the dump of a backup waits for a lock that somebody else has, before it gives up.
    type: int
    default: 60
  schedule:
    description:
      - When V(backup), V(drill), V(check), V(prune) and V(workflows) run, in the words of C(OnCalendar).
      - Empty for never.
    type: dict
    default: {}
  keep_workflows:
    description: After which time ELSA's finished workflows are removed, such as V(30d); empty for never.
    type: str
    default: ""
  random_delay:
    description: Seconds by which a timer is delayed at most, so that a fleet does not begin at once.
    type: int
    default: 0
  signing_key:
    description:
      - The key that signs the backups of this host, and that a restore looks for; empty to keep the host's own one.
    type: str
    default: ""
  overdue_hours:
    description: How many hours old the last good V(backup), V(drill), V(check) and V(prune) may be; 0 for any age.
    type: dict
    default: {}
  notify_command:
    description: A shell command that is run when something fails, with C(TAMMA_STACK), C(TAMMA_OPERATION),
      C(TAMMA_REPOSITORY) and C(TAMMA_PROBLEM) in its environment.
    type: str
    default: ""
  notify_webhook:
    description: An address that is told of failures in JSON.
    type: str
    default: ""
  metrics_file:
    description: A file for Prometheus' node exporter; empty for none.
    type: path
  wait:
    description: Seconds that V(state=absent) waits for an operation on the stack to end.
    type: int
    default: 0
  tammactl:
    description: The program, in base64. The action plugin makes it from the collection.
    type: str
    default: ""
  completion:
    description: Its completion for bash. The action plugin reads it from the collection.
    type: str
    default: ""
extends_documentation_fragment:
  - meywd.tamma.stack
attributes:
  check_mode:
    support: full
    description: Says what would be written.
  diff_mode:
    support: full
    description: Shows units and other open files line by line, settings and passwords by name only.
  idempotent:
    support: full
    description: What is as wanted is left alone.
"""

EXAMPLES = r"""
- name: The stack is backed up every night
  meywd.tamma.tamma_backup_setup:
    repositories:
      - {name: local, location: /var/backups/tamma, password: "{{ vault_backup_password }}"}
    keep: {last: 3, daily: 7, weekly: 4, monthly: 6}
    schedule: {backup: "*-*-* 02:30", drill: "Sun *-*-* 04:30", check: "Sat *-*-* 04:30", prune: "*-*-* 03:30"}
"""

RETURN = r"""
files:
  description: What changed, and how.
  returned: success
  type: list
  elements: dict
  sample: [{path: usr/local/bin/tammactl, action: create}]
restic:
  description: The path of restic on the host, empty when it is missing.
  returned: success
  type: str
  sample: /usr/bin/restic
family:
  description: How the host's distribution packs software, V(debian) or V(redhat); empty for another.
  returned: success
  type: str
  sample: debian
"""

import shutil
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import backup_setup, host
from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import DRILLS, Configuration
from ansible_collections.meywd.tamma.plugins.module_utils.files import read
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Lock, lock_file
from ansible_collections.meywd.tamma.plugins.module_utils.restic import PROGRAM_PATH, Repository


def wanted(params: Dict[str, Any], store: bool) -> backup_setup.Wanted:
    """Read the options; what makes no sense in them was refused on the controller. store: whether restic is there."""
    project = params["project"]
    return backup_setup.Wanted(
        Configuration(
            project=project,
            directory=params["directory"],
            engine_socket=params["engine_socket"],
            repositories=[
                Repository(
                    item["name"],
                    item["location"],
                    backup_setup.password_file(project, item["name"]),
                    {key: str(value) for key, value in item["environment"].items()},
                    params["host"],
                )
                for item in params["repositories"]
            ],
            keep={name: int(count) for name, count in params["keep"].items()},
            check_subset=params["check_subset"],
            drill=params["drill"],
            lock_seconds=params["lock_seconds"],
            notify_command=params["notify_command"],
            notify_webhook=params["notify_webhook"],
            metrics_file=params["metrics_file"] or "",
            overdue_hours={name: int(hours) for name, hours in params["overdue_hours"].items()},
        ),
        {item["name"]: item["password"] for item in params["repositories"]},
        {name: str(value or "") for name, value in params["schedule"].items()},
        params["random_delay"],
        backup_setup.decoded(params["tammactl"]),
        params["completion"],
        store,
        params["keep_workflows"],
        params["signing_key"],
    )


def set_up(module: AnsibleModule) -> Dict[str, Any]:
    """Plan and, outside check mode, write."""
    present = module.params["state"] == "present"
    restic = shutil.which("restic", path=PROGRAM_PATH) or ""
    # A check tells of the timers as well that come once restic is installed.
    setup = backup_setup.Setup(
        wanted(module.params, bool(restic) or module.check_mode), shell.runner(module.params), present=present
    )
    changes = setup.changes()
    if changes and not module.check_mode:
        if present:
            setup.apply(changes)
        else:
            with Lock(lock_file(module.params["project"]), "removal of the backups", module.params["wait"]):
                setup.apply(changes)
    return {
        "changed": bool(changes),
        "files": [{"path": change.path, "action": change.action} for change in changes],
        "diff": shell.diff_files(changes, {}),
        "restic": restic,
        "family": host.family_of(host.parse_os_release(read("/etc/os-release") or "")),
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            **shell.ARGUMENTS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "repositories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    # It may hold a login.
                    "location": {"type": "str", "required": True, "no_log": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                    "environment": {"type": "dict", "default": {}, "no_log": True},
                },
            },
            "host": {"type": "str", "default": ""},
            "keep": {"type": "dict", "default": {}},
            "check_subset": {"type": "str", "default": "5%"},
            "drill": {"type": "str", "choices": list(DRILLS), "default": "container"},
            "signing_key": {"type": "str", "default": "", "no_log": True},
            "lock_seconds": {"type": "int", "default": 60},
            "schedule": {"type": "dict", "default": {}},
            "keep_workflows": {"type": "str", "default": ""},
            "random_delay": {"type": "int", "default": 0},
            "overdue_hours": {"type": "dict", "default": {}},
            # Those that take messages know their senders by a token in the address.
            "notify_command": {"type": "str", "default": "", "no_log": True},
            "notify_webhook": {"type": "str", "default": "", "no_log": True},
            "metrics_file": {"type": "path"},
            "wait": {"type": "int", "default": 0},
            # No secret, but nothing for the host's journal.
            "tammactl": {"type": "str", "default": "", "no_log": True},
            "completion": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    shell.finish(module, lambda: set_up(module))


if __name__ == "__main__":
    main()
