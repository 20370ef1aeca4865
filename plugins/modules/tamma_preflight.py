#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Examine a host before anything is changed on it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: tamma_preflight
short_description: Examine whether the Tamma stack can live on a host
version_added: "0.1.0"
description:
  - Reads in one visit everything that the collection has to know of a host, and judges it.
  - Logs in to a PostgreSQL and a RabbitMQ outside of the stack from this host, with the standard library alone, and
    looks whether the stack can use them.
  - Fails with one message that lists every problem, each with what to do about it.
  - Changes nothing and needs no facts.
author:
  - the Tamma collection contributors (@meywd)
options:
  engine:
    description: The engine that the stack shall use on this host.
    type: str
    choices: [docker, podman]
    default: docker
  project:
    description:
      - The stack's name. A stack of this name that belongs to the other engine is a problem.
      - Empty looks for none.
    type: str
    default: ""
  directory:
    description:
      - Where the stack lives, or will live.
      - The file system of this path and the one of the engine's data are examined.
    type: path
    default: /opt/tamma
  minimum_memory_mb:
    description:
      - Memory that the host must have, in MiB.
      - A tenth less is accepted, because firmware and kernel keep a part for themselves.
    type: int
    default: 0
  minimum_disk_gb:
    description:
      - Size that the examined file systems must have, in GB (10^9 bytes); a tenth less is accepted.
      - A quarter of it must be free for a first deploy (O(directory) is missing or empty), later a tenth.
    type: float
    default: 0
  minimum_cpus:
    description: Processors below which the module warns.
    type: int
    default: 0
  engine_minimum:
    description:
      - Oldest engine that will do.
      - Without it V(25.0) of Docker Engine, V(4.9) of Podman.
    type: str
  compose_minimum:
    description: Oldest Docker Compose that will do.
    type: str
    default: "2.24"
  postgres:
    description: The database outside of the stack, if there is one.
    type: dict
    suboptions:
      host:
        description: Its name.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        default: 5432
      database:
        description: The database.
        type: str
        required: true
      user:
        description: The role.
        type: str
        required: true
      password:
        description: The role's password.
        type: str
        required: true
      sslmode:
        description: How TLS is used, in libpq's words.
        type: str
        choices: [disable, require, verify-ca, verify-full]
        default: verify-full
      ca:
        description: The authority that signed its certificate, as PEM text. Without it those count that the host knows.
        type: str
        default: ""
  rabbitmq:
    description: The broker outside of the stack, if there is one.
    type: dict
    suboptions:
      host:
        description: Its name.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        required: true
      vhost:
        description: The virtual host.
        type: str
        default: /
      user:
        description: The user.
        type: str
        required: true
      password:
        description: The user's password.
        type: str
        required: true
      tls:
        description: Whether it is spoken to with TLS. Certificate and name are checked then.
        type: bool
        default: true
      ca:
        description: The authority that signed its certificate, as PEM text. Without it those count that the host knows.
        type: str
        default: ""
attributes:
  check_mode:
    support: full
    description: The module only reads.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
  idempotent:
    support: full
    description: The module only reads.
notes:
  - Runs as root. As another user it says so, beside the other problems that it can see.
  - An engine, client or Compose plugin that is not installed is no problem but listed in RV(missing).
  - An engine that is installed but too old is a problem, because it is never replaced.
"""

EXAMPLES = r"""
- name: The host can carry the stack
  meywd.tamma.tamma_preflight:
    directory: /opt/tamma
    minimum_memory_mb: 8192
    minimum_disk_gb: 20
    minimum_cpus: 4
  register: preflight

- name: The host can carry the stack, and is let in by the database
  meywd.tamma.tamma_preflight:
    postgres:
      host: database.example.org
      database: tamma
      user: tamma
      password: "{{ vault_postgres_password }}"

- name: Show which parts of the engine are missing
  ansible.builtin.debug:
    var: preflight.missing
"""

RETURN = r"""
host:
  description: What was read from the host.
  returned: success
  type: dict
  contains:
    name:
      description: The distribution's name for people.
      type: str
      sample: Debian GNU/Linux 13 (trixie)
    distribution:
      description: The distribution's identifier in C(/etc/os-release).
      type: str
      sample: debian
    version:
      description: The distribution's version.
      type: str
      sample: "13"
    codename:
      description: The distribution's code name, empty where there is none.
      type: str
      sample: trixie
    family:
      description: Which packaging it uses, V(debian) or V(redhat); empty when it is neither.
      type: str
      sample: debian
    architecture:
      description: The machine's architecture.
      type: str
      sample: x86_64
    python:
      description: Version of the Python that ran this module.
      type: str
      sample: 3.13.5
    memory_mb:
      description: Memory in MiB.
      type: int
      sample: 15989
    cpus:
      description: Processors that may be used.
      type: int
      sample: 4
    init:
      description: Name of process 1.
      type: str
      sample: systemd
    systemd:
      description: Whether systemd booted this host.
      type: bool
      sample: true
    root:
      description: Whether the module ran as root.
      type: bool
      sample: true
    deployed:
      description: Whether O(directory) has any content.
      type: bool
      sample: false
    disks:
      description: The file systems of O(directory) and of the engine's data.
      type: list
      elements: dict
      sample:
        - {device: 65024, free_gb: 81.2, mount: /, path: /opt/tamma, size_gb: 105.1}
        - {device: 65024, free_gb: 81.2, mount: /, path: /var/lib/docker, size_gb: 105.1}
    engine:
      description:
        - The engine that O(engine) names. C(origin) is the package it came with, C(foreign) an engine that its unit
          does not run, C(flags) the arguments of the running daemon, C(driver) how Podman stores images, C(lacks)
          what of RV(missing) only Podman needs.
      type: dict
      sample:
        client: true
        data_root: /var/lib/docker
        driver: ""
        enabled: true
        flags: [-H, "fd://", --containerd=/run/containerd/containerd.sock]
        foreign: false
        installed: true
        lacks: []
        live_restore: true
        name: docker
        origin: docker.io
        running: true
        swarm: false
        version: 26.1.5+dfsg1
    compose:
      description: The Compose plugin; both values are empty when there is none.
      type: dict
      sample: {path: /usr/libexec/docker/cli-plugins/docker-compose, version: 2.26.1-4}
    daemon_config:
      description: The engine's configuration file, its mode, its content, or why that cannot be read.
      type: dict
      sample:
        content: {live-restore: true}
        error: ""
        mode: "0644"
        path: /etc/docker/daemon.json
    dropins:
      description: Of Podman the collection's own configuration files, by path; empty text where there is none.
      type: dict
      sample: {}
missing:
  description:
    - The parts that are not installed, of V(engine), V(client) and V(compose).
    - For Podman also V(init), V(dns) and V(firewall).
  returned: success
  type: list
  elements: str
  sample: [engine, client, compose]
problems:
  description: What keeps the stack off this host, each as one sentence.
  returned: when there is any, and the module fails
  type: list
  elements: str
  sample:
    - "This needs root: connect as root, or set 'become: true'."
"""

import dataclasses
from typing import Any, Dict, List, Tuple

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import servers
from ansible_collections.meywd.tamma.plugins.module_utils.engines import SOCKETS, elsewhere
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import read
from ansible_collections.meywd.tamma.plugins.module_utils.host import (
    ENGINE_MINIMUM,
    Requirements,
    advise,
    assess,
    collect,
    missing,
)
from ansible_collections.meywd.tamma.plugins.module_utils.logins import SSL_MODES, Postgres, RabbitMQ
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

SERVER = {
    "host": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "ca": {"type": "str", "default": ""},
}


def judge_servers(params: Dict[str, Any]) -> Tuple[List[str], List[str]]:
    """What keeps the stack from using the servers outside of it: problems, and advice."""
    databases = [Postgres(**item) for item in [params["postgres"]] if item]
    brokers = [RabbitMQ(**item) for item in [params["rabbitmq"]] if item]
    names = [item.host for item in [*databases, *brokers]] if params["engine"] == "docker" else []
    return servers.check(databases, brokers), servers.advise(names, read("/etc/hosts") or "")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
            "project": {"type": "str", "default": ""},
            "directory": {"type": "path", "default": "/opt/tamma"},
            "minimum_memory_mb": {"type": "int", "default": 0},
            "minimum_disk_gb": {"type": "float", "default": 0},
            "minimum_cpus": {"type": "int", "default": 0},
            "engine_minimum": {"type": "str"},
            "compose_minimum": {"type": "str", "default": "2.24"},
            "postgres": {
                "type": "dict",
                "options": {
                    **SERVER,
                    "port": {"type": "int", "default": 5432},
                    "database": {"type": "str", "required": True},
                    "sslmode": {"type": "str", "choices": list(SSL_MODES), "default": "verify-full"},
                },
            },
            "rabbitmq": {
                "type": "dict",
                "options": {
                    **SERVER,
                    "port": {"type": "int", "required": True},
                    "vhost": {"type": "str", "default": "/"},
                    "tls": {"type": "bool", "default": True},
                },
            },
        },
        supports_check_mode=True,
    )
    engine = module.params["engine"]
    wanted = Requirements(
        directory=module.params["directory"],
        memory_mb=module.params["minimum_memory_mb"],
        disk_gb=module.params["minimum_disk_gb"],
        cpus=module.params["minimum_cpus"],
        engine=module.params["engine_minimum"] or ENGINE_MINIMUM[engine],
        compose=module.params["compose_minimum"],
    )
    try:
        host = collect(Runner(), wanted.directory, engine)
        problems = assess(host, wanted)
        if module.params["project"] and host.root:
            moved = elsewhere(module.params["project"], wanted.directory, SOCKETS[engine])
            problems += [moved] if moved else []
        found, hints = judge_servers(module.params)
        problems += found
    except OperatorError as exc:
        module.fail_json(msg=exc.message, **exc.facts)
    if problems:
        message = "This host cannot carry the Tamma stack. " + " ".join(problems)
        module.fail_json(msg=message, problems=problems)
    for advice in [*advise(host, wanted), *hints]:
        module.warn(advice)
    module.exit_json(changed=False, host=dataclasses.asdict(host), missing=missing(host))


if __name__ == "__main__":
    main()
