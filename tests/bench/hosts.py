"""Sandboxes: named groups of systemd hosts, bare or with an engine, each a privileged container with SSH."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from . import clock, images, machine, snapshots, ssh
from .command import BenchError, docker, run
from .names import (
    ENGINE_LABEL,
    ENGINE_VOLUMES,
    HOST_LABEL,
    LABEL,
    NETWORK,
    PUBLISHED_LABEL,
    PUBLISHED_PORTS,
    SANDBOX_LABEL,
    container_name,
    domain_name,
    host_name,
)
from .patience import scaled, wait_until

SECONDS_TO_BOOT = 180
SECONDS_TO_SHUT_DOWN = 120
#: What a host is called besides its name, for what the edge serves under names of their own.
PREFIXES = ("", "elsa.", "rabbitmq.")


@dataclass(frozen=True)
class Host:
    """One sandbox host as the engine sees it now."""

    sandbox: str
    name: str
    image: str
    running: bool
    #: Whether the stack's ports are published on this machine.
    published: bool
    #: The container engine that it came with, or "" if it came bare.
    engine: str
    ssh_port: int | None
    address: str

    @property
    def domain(self) -> str:
        """What the sandboxes' DNS calls it."""
        return domain_name(self.sandbox, self.name)

    @property
    def number(self) -> int:
        """The n of tamma<n>."""
        return int(self.name.removeprefix("tamma"))


def existing(sandbox: str | None = None) -> list[Host]:
    """Return the hosts of one sandbox, or of all, in order."""
    label = f"label={SANDBOX_LABEL}" + (f"={sandbox}" if sandbox else "")
    ids = docker("ps", "-aq", "--filter", label).split()
    described = json.loads(docker("inspect", *ids)) if ids else []
    return sorted(map(_host, described), key=lambda host: (host.sandbox, host.number))


def up(sandbox: str, count: int | None, publish: bool, engine: str = "") -> list[Host]:
    """Make sure that a sandbox has its hosts, booted and open to this checkout's key; new ones come with *engine*."""
    present = {host.name: host for host in existing(sandbox)}
    first = present.get(host_name(1))
    if first and publish and not first.published:
        raise BenchError(
            f"Sandbox {sandbox} runs without published ports; remove it first "
            f"(python3 -m tests.bench down --name {sandbox})."
        )
    if publish and not (first and first.running):
        _refuse_taken_ports()
    names = [host_name(n + 1) for n in range(count or 1)]

    def ensure(name: str) -> None:
        host = present.get(name)
        if host is None:
            _create(sandbox, name, publish and name == host_name(1), engine)
        elif not host.running:
            docker("start", container_name(sandbox, name))
        _open(sandbox, name)

    with clock.phase("booting hosts"):
        _at_once(ensure, dict.fromkeys([*names, *present]))
    return existing(sandbox)


def reset(sandbox: str, names: list[str]) -> list[Host]:
    """Put new hosts in the place of the named ones, which begin as those began."""
    present = {host.name: host for host in existing(sandbox)}
    unknown = [name for name in names if name not in present]
    if unknown:
        raise BenchError(f"Sandbox {sandbox} has no host {', '.join(unknown)}.")

    def renew(name: str) -> None:
        docker("rm", "-f", "-v", container_name(sandbox, name))
        _create(sandbox, name, present[name].published, present[name].engine)
        _open(sandbox, name)

    with clock.phase("booting hosts"):
        _at_once(renew, names)
    return [host for host in existing(sandbox) if host.name in names]


def reboot(sandbox: str, name: str) -> None:
    """Let a host shut down in good order and boot again; return when the boot has ended."""
    with clock.phase("rebooting hosts"):
        docker("restart", "--time", str(SECONDS_TO_SHUT_DOWN), container_name(sandbox, name))
        _let_boot(sandbox, name)


def pull_the_plug(sandbox: str, name: str) -> None:
    """Take a host's power away in the middle of what it does, and boot it again."""
    with clock.phase("rebooting hosts"):
        docker("kill", container_name(sandbox, name))
        docker("start", container_name(sandbox, name))
        _let_boot(sandbox, name)


def down(sandbox: str | None) -> list[Host]:
    """Remove a sandbox's hosts (or every sandbox's) with all that is on them."""
    hosts = existing(sandbox)
    if hosts:
        with clock.phase("removing hosts"):
            docker("rm", "-f", "-v", *(container_name(host.sandbox, host.name) for host in hosts))
    return hosts


def _host(described: dict[str, Any]) -> Host:
    labels = described["Config"]["Labels"]
    settings = described["NetworkSettings"]
    bindings = settings["Ports"].get("22/tcp")
    return Host(
        sandbox=labels[SANDBOX_LABEL],
        name=labels[HOST_LABEL],
        image=described["Config"]["Image"],
        running=described["State"]["Running"],
        published=PUBLISHED_LABEL in labels,
        engine=labels.get(ENGINE_LABEL, ""),
        ssh_port=int(bindings[0]["HostPort"]) if bindings else None,
        address=settings["Networks"].get(NETWORK, {}).get("IPAddress", ""),
    )


def _create(sandbox: str, name: str, publish: bool, engine: str) -> None:
    # A port that the engine chooses would be another one after a reboot.
    ports = ["-p", f"127.0.0.1:{machine.free_port()}:22"]
    labels = ["--label", f"{LABEL}=host"]
    labels += ["--label", f"{SANDBOX_LABEL}={sandbox}", "--label", f"{HOST_LABEL}={name}"]
    labels += ["--label", f"{ENGINE_LABEL}={engine}"]
    if publish:
        labels += ["--label", f"{PUBLISHED_LABEL}=yes"]
        for port in PUBLISHED_PORTS:
            ports += ["-p", f"127.0.0.1:{port}:{port}"]
    aliases = [word for prefix in PREFIXES for word in ("--network-alias", prefix + domain_name(sandbox, name))]
    volumes = [word for path in ENGINE_VOLUMES for word in ("-v", path)]
    container = container_name(sandbox, name)
    docker(
        "create", "--name", container, "--hostname", name, *labels,
        "--privileged", "--cgroupns=private", "-e", "container=docker",
        "--tmpfs", "/run", "--tmpfs", "/run/lock", *volumes,
        "--network", NETWORK, *aliases, *ports, snapshots.tag(engine) if engine else images.tag("host"),
    )  # fmt: skip
    if engine:
        snapshots.fill(engine, container)
    docker("start", container)


def _open(sandbox: str, name: str) -> None:
    """Wait until a host has booted without a failed unit, and until its SSH lets us in."""
    container = container_name(sandbox, name)
    key = ssh.public_key()
    write = "cat > /etc/ssh/authorized_keys && cat /etc/ssh/ssh_host_ed25519_key.pub"
    _wait_for_boot(container)
    host_key = docker("exec", "-i", container, "sh", "-c", write, data=key.encode())
    (host,) = (host for host in existing(sandbox) if host.name == name)
    if host.ssh_port is None:
        raise BenchError(f"{container} publishes no SSH port; remove it and try again.")
    ssh.remember(host.ssh_port, host_key)
    ssh.check(host.ssh_port)


def _let_boot(sandbox: str, name: str) -> None:
    _wait_for_boot(container_name(sandbox, name), bare=False)
    (host,) = (host for host in existing(sandbox) if host.name == name)
    ssh.check(host.ssh_port or 0)


def _wait_for_boot(container: str, *, bare: bool = True) -> None:
    question, wanted = ["is-system-running", "--wait"], "running"
    if not bare:
        # With timers that fire all the time, systemd always has something to start. And Podman runs health checks as
        # units, of which one that comes too early fails.
        question, wanted = ["is-active", "multi-user.target"], "active"

    def booted() -> bool:
        ask = ["docker", "exec", container, "systemctl", *question]
        state = run(ask, check=False, timeout=scaled(SECONDS_TO_BOOT)).stdout.strip()
        if state == "degraded":
            failed = docker("exec", container, "systemctl", "--failed", "--plain", "--no-legend")
            raise BenchError(f"{container} booted with a failed unit: {failed}")
        return state == wanted

    # It needs a systemd that already takes questions.
    wait_until(booted, SECONDS_TO_BOOT, f"{container} to boot")


def _refuse_taken_ports() -> None:
    for port in PUBLISHED_PORTS:
        owner = docker("ps", "--filter", f"publish={port}", "--format", "container {{.Names}}")
        owner = owner or machine.port_owner(port) or ""
        if owner:
            raise BenchError(
                f"Port {port} of this machine is taken by {owner}: stop it, or bring the sandbox up without --publish."
            )


def _at_once(work: Any, names: Iterable[str]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(work, names))
