"""A sandbox as Ansible sees it: the script inventory protocol."""

from __future__ import annotations

import os
import shlex
from typing import Any

from . import engine, hosts, ssh
from .names import REGISTRY_ADDRESS

#: Every host of a sandbox; those that get a stack; those that are there for something else.
ALL_GROUP, GROUP, OTHERS = "sandbox", "tamma", "others"


def inventory(sandbox: str) -> dict[str, Any]:
    """Return what `--list` prints; empty unless the sandbox runs.

    TAMMA_SANDBOX_STACKS says how many hosts get a stack, all of them by default.
    """
    found = hosts.existing(sandbox) if engine.answers() else []
    running = [host for host in found if host.running and host.ssh_port]
    if not running:
        return {"_meta": {"hostvars": {}}}
    stacks = int(os.environ.get("TAMMA_SANDBOX_STACKS") or len(running))
    return {
        GROUP: {"hosts": [host.name for host in running[:stacks]]},
        OTHERS: {"hosts": [host.name for host in running[stacks:]]},
        ALL_GROUP: {
            "children": [GROUP, OTHERS],
            "vars": {
                "ansible_host": "127.0.0.1",
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(ssh.key()),
                "ansible_ssh_common_args": shlex.join(ssh.options()),
                "ansible_python_interpreter": "/usr/bin/python3",
                "sandbox_name": sandbox,
                "sandbox_registry": REGISTRY_ADDRESS,
            },
        },
        "_meta": {
            "hostvars": {
                host.name: {
                    "ansible_port": host.ssh_port,
                    "sandbox_address": host.address,
                    "sandbox_domain": host.domain,
                }
                for host in running
            }
        },
    }
