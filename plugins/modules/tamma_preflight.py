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
      - Its file system is examined, and those of the engine's data and of C(/usr), each by what lies there.
    type: path
    default: /opt/tamma
  workdir:
    description: A directory of the host in which the stack's engine works. Its file system is examined as well.
    type: path
  minimum_memory_mb:
    description:
      - Memory that the host must have, in MiB.
      - A tenth less is accepted, because firmware and kernel keep a part for themselves.
    type: int
    default: 0
  minimum_disk_gb:
    description:
      - Size that the file system of the engine's data must have, in GB (10^9 bytes); a tenth less is accepted.
      - A quarter of it must be free for a first deploy (O(directory) is missing or empty), later a tenth.
      - Other file systems need little, but they need it. With V(0) none is judged.
    type: float
    default: 0
  minimum_cpus:
    description: Processors below which the module warns.
    type: int
    default: 0
  stack:
    description:
      - The stack, as C(files), C(compose_files) and C(settings) of M(meywd.tamma.tamma_deploy).
      - The action plugin reads it on the controller and fills O(services), which works without any engine.
    type: dict
  services:
    description:
      - What the services ask of the host. Ports must be free or the stack's own. Reservations of memory must fit
        together, and a limit of processors must not be above what the host has; the engine would refuse it.
      - Limits of memory that do not fit together are a warning.
    type: list
    elements: dict
    default: []
    suboptions:
      service:
        description: The service's name.
        type: str
        required: true
      replicas:
        description: How many containers it has.
        type: int
        default: 1
      cpus:
        description: The limit of processors for each; V(0) is none.
        type: float
        default: 0
      memory_mb:
        description: The limit of memory for each, in MiB; V(0) is none.
        type: int
        default: 0
      reserved_mb:
        description: The memory that is kept for each, in MiB.
        type: int
        default: 0
      alone:
        description: Why it should have one container, if that is so; more of them are a warning.
        type: str
        default: ""
      ports:
        description: The published TCP ports, each with C(address) (empty for every one) and C(port).
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description: The address of the host.
            type: str
            default: ""
          port:
            description: The port.
            type: int
            required: true
  names:
    description: Names under which the world shall reach this host.
    type: list
    elements: str
    default: []
  names_lead:
    description:
      - What is expected of O(names). With V(host) each leads to an address of this host, or to the one under which
        Ansible reaches it; with V(anywhere) each leads to an address; with V(nothing) they are not looked up.
    type: str
    choices: [host, anywhere, nothing]
    default: host
  own_addresses:
    description: Addresses of this host that it does not know itself. The action plugin adds the one it connects to.
    type: list
    elements: str
    default: []
  authority:
    description:
      - Address of the authority (OIDC) whose tokens open the mentorship API, empty for none.
      - One that does not answer is a warning.
    type: str
    default: ""
  clock_tolerance:
    description:
      - Seconds that the host's clock may differ from the controller's, V(0) for any number.
      - With a number, a clock that nothing keeps right is a warning.
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
      description: The file systems of what belongs to the stack and its engine, and what lies there.
      type: list
      elements: dict
      sample:
        - {device: 65024, free_gb: 81.2, holds: files, mount: /, path: /opt/tamma, size_gb: 105.1}
        - {device: 65024, free_gb: 81.2, holds: engine, mount: /, path: /var/lib/docker, size_gb: 105.1}
    engine:
      description:
        - The engine that O(engine) names. C(origin) is the package it came with, C(foreign) an engine that its unit
          does not run, C(flags) the arguments of the running daemon, C(driver) how Podman stores images, C(lacks)
          what of RV(missing) only Podman needs, C(beside) that Docker runs beside Podman.
      type: dict
      sample:
        beside: ""
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
    - For Podman also V(init), V(network), V(dns) and V(firewall).
  returned: success
  type: list
  elements: str
  sample: [engine, client, compose]
clock:
  description: The host's time in seconds since 1970, and whether something keeps it right, if the kernel tells.
  returned: always
  type: dict
  sample: {synchronised: true, time: 1767225600.5}
problems:
  description: What keeps the stack off this host, each as one sentence.
  returned: when there is any, and the module fails
  type: list
  elements: str
  sample:
    - "This needs root: connect as root, or set 'become: true'."
"""

import dataclasses
import time
from typing import Any, Dict, List, Tuple

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import (
    authority,
    beside,
    clock,
    demands,
    dns,
    published,
    servers,
)
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.engines import SOCKETS, elsewhere
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import read
from ansible_collections.meywd.tamma.plugins.module_utils.host import (
    COMPOSE_MINIMUM,
    ENGINE_MINIMUM,
    REFUSAL,
    Host,
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

SERVICE: Dict[str, Dict[str, Any]] = {
    "service": {"type": "str", "required": True},
    "replicas": {"type": "int", "default": 1},
    "cpus": {"type": "float", "default": 0},
    "memory_mb": {"type": "int", "default": 0},
    "reserved_mb": {"type": "int", "default": 0},
    "alone": {"type": "str", "default": ""},
    "ports": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"address": {"type": "str", "default": ""}, "port": {"type": "int", "required": True}},
    },
}


def judge_servers(params: Dict[str, Any]) -> Tuple[List[str], List[str]]:
    """What keeps the stack from using the servers outside of it: problems, and advice."""
    databases = [Postgres(**item) for item in [params["postgres"]] if item]
    brokers = [RabbitMQ(**item) for item in [params["rabbitmq"]] if item]
    hosts = [*(item.host for item in databases), *(item.host for item in brokers)]
    names = hosts if params["engine"] == "docker" else []
    return servers.check(databases, brokers), servers.advise(names, read("/etc/hosts") or "")


def judge_demands(params: Dict[str, Any], host: Host) -> Tuple[List[str], List[str]]:
    """What the services ask for and the host does not have: problems, and advice."""
    asked = [
        demands.Demand(**{**item, "ports": [(port["address"], port["port"]) for port in item["ports"]]})
        for item in params["services"]
    ]
    wanted = [(item.service, address, port) for item in asked for address, port in item.ports]
    problems = demands.problems(asked, host.memory_mb, host.cpus)
    if wanted and host.root:
        listed = Engine(SOCKETS[params["engine"]]).containers() if host.engine.running else []
        problems += published.taken(wanted, listed, params["project"])
    return problems, [*demands.advice(asked, host.memory_mb), *beside.neighbour_advice(host.engine, wanted)]


def judge_names(params: Dict[str, Any]) -> Tuple[List[str], List[str]]:
    """Names that do not lead here: problems, and advice."""
    if params["names_lead"] == "nothing":
        return [], []
    answers = [dns.look_up(name) for name in params["names"]]
    every = {address for answer in answers for address in answer.addresses}
    own = [address for address in every if address in params["own_addresses"] or dns.is_own(address)]
    known = list(dict.fromkeys([*dns.outward(), *params["own_addresses"]])) if answers else []
    return dns.problems(answers, own, params["names_lead"], known), dns.advice(answers)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
            "project": {"type": "str", "default": ""},
            "directory": {"type": "path", "default": "/opt/tamma"},
            "workdir": {"type": "path"},
            "minimum_memory_mb": {"type": "int", "default": 0},
            "minimum_disk_gb": {"type": "float", "default": 0},
            "minimum_cpus": {"type": "int", "default": 0},
            "stack": {"type": "dict"},
            "services": {"type": "list", "elements": "dict", "default": [], "options": SERVICE},
            "names": {"type": "list", "elements": "str", "default": []},
            "names_lead": {"type": "str", "choices": list(dns.EXPECTATIONS), "default": "host"},
            "own_addresses": {"type": "list", "elements": "str", "default": []},
            "authority": {"type": "str", "default": ""},
            "clock_tolerance": {"type": "int", "default": 0},
            "engine_minimum": {"type": "str"},
            "compose_minimum": {"type": "str", "default": COMPOSE_MINIMUM},
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
        host = collect(Runner(), wanted.directory, engine, module.params["workdir"] or "")
        problems = assess(host, wanted)
        advice = [*advise(host, wanted), *authority.advice(module.params["authority"]), *beside.user_advice()]
        judged = (judge_demands(module.params, host), judge_names(module.params), judge_servers(module.params))
        for found, hints in judged:
            problems += found
            advice += hints
        if module.params["project"] and host.root:
            moved = elsewhere(module.params["project"], wanted.directory, SOCKETS[engine])
            # The rest would be about a stack that is made anew here, beside the one that is there.
            problems = [moved] if moved else problems
    except OperatorError as exc:
        module.fail_json(msg=exc.message, **exc.facts)
    kept = clock.synchronised()
    shown = {"synchronised": kept, "time": time.time()}
    if problems:
        # The action plugin adds what it knows of the clocks.
        module.fail_json(msg=" ".join([REFUSAL, *problems]), problems=problems, clock=shown)
    if kept is False and module.params["clock_tolerance"]:
        advice.append("Nothing keeps the clock of this host right: install a time service such as chrony.")
    for item in advice:
        module.warn(item)
    module.exit_json(changed=False, host=dataclasses.asdict(host), missing=missing(host), clock=shown)


if __name__ == "__main__":
    main()
