# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How little each service may do, as the kernel has it: what Compose asked for is not looked at."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from testinfra.host import Host

from tests.tools.deployed import SERVICES, compose, env, has_log_limits, inspect_all

CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "NET_BIND_SERVICE": 10}
STARTS_AS_ROOT = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"}
# Everybody else may do nothing.
ALLOWED = {"postgres": STARTS_AS_ROOT, "rabbitmq": STARTS_AS_ROOT, "edge": {"NET_BIND_SERVICE"}}
WRITABLE_ROOT = {"tamma-engine"}
MEBIBYTE = 1024**2
# Memory of the design, in MiB, and processors.
LIMITS = {
    "postgres": (2048, 2.0),
    "rabbitmq": (1024, 1.0),
    "elsa-server": (1024, 1.0),
    "tamma-api-dotnet": (512, 0.5),
    "tamma-api": (512, 0.5),
    "tamma-engine": (1024, 1.0),
    "tamma-dashboard": (256, 0.25),
    "edge": (1024, 1.0),
}
# Processes and threads; the edge has the engine's own limit.
PROCESSES = {
    "postgres": 1024,
    "rabbitmq": 1024,
    "elsa-server": 1024,
    "tamma-api-dotnet": 1024,
    "tamma-api": 512,
    "tamma-engine": 2048,
    "tamma-dashboard": 256,
}
TWICE = {"tamma-api-dotnet", "tamma-dashboard"}

# Run on the host with a container's first process: what holds for every process of its cgroup.
LOOK = """
import json, os, sys
found = {}
for pid in sys.argv[1:]:
    groups = dict(line.rstrip("\\n").split(":", 2)[1:] for line in open("/proc/%s/cgroup" % pid))
    def group(controller, old, new):
        for names, path in groups.items():
            if controller in names.split(","):
                return "/sys/fs/cgroup/%s%s/%s" % (controller, path, old)
        return "/sys/fs/cgroup%s/%s" % (groups[""], new)
    def text(path):
        return open(path).read().split()
    memory = group("memory", "memory.limit_in_bytes", "memory.max")
    quota = group("cpu", "cpu.cfs_quota_us", "cpu.max")
    cpu = text(quota)
    if len(cpu) == 1:
        cpu += text(os.path.join(os.path.dirname(quota), "cpu.cfs_period_us"))
    status = []
    for one in text(os.path.join(os.path.dirname(memory), "cgroup.procs")):
        try:
            lines = dict(line.split(":", 1) for line in open("/proc/%s/status" % one))
        except OSError:
            continue
        status.append({key: lines[key].strip() for key in ("NoNewPrivs", "CapEff", "CapBnd", "CapAmb", "Uid")})
    mounts = [line.split() for line in open("/proc/%s/mountinfo" % pid)]
    root = [fields[5].split(",") for fields in mounts if fields[4] == "/"][-1]
    number = text(group("pids", "pids.max", "pids.max"))[0]
    found[pid] = {"memory": text(memory)[0], "number": number, "cpu": cpu, "processes": status, "root": root}
json.dump(found, sys.stdout)
"""


class Seen(NamedTuple):
    """A container as the kernel has it."""

    service: str
    kernel: dict[str, Any]


@pytest.fixture(scope="module")
def seen(host: Host) -> list[Seen]:
    services = {
        str(item["State"]["Pid"]): item["Config"]["Labels"]["com.docker.compose.service"] for item in inspect_all(host)
    }
    answer = json.loads(host.check_output("python3 -c %s " + " ".join(services), LOOK))
    return [Seen(service, answer[pid]) for pid, service in services.items()]


def test_two_containers_of_what_keeps_no_state(seen: list[Seen]) -> None:
    services = sorted(item.service for item in seen)
    assert services == sorted([*SERVICES, *TWICE])


def test_no_process_gains_rights(seen: list[Seen]) -> None:
    for item in seen:
        assert item.kernel["processes"]
        assert {process["NoNewPrivs"] for process in item.kernel["processes"]} == {"1"}, item.service


def test_capabilities(seen: list[Seen]) -> None:
    for item in seen:
        allowed = sum(1 << CAPABILITIES[name] for name in ALLOWED.get(item.service, set()))
        for process in item.kernel["processes"]:
            for kind in ("CapBnd", "CapEff", "CapAmb"):
                assert int(process[kind], 16) & ~allowed == 0, f"{item.service}: {kind} {process[kind]}"


def test_who_is_not_root_has_no_capability(seen: list[Seen]) -> None:
    for item in seen:
        for process in item.kernel["processes"]:
            if process["Uid"].split()[1] != "0":
                assert int(process["CapEff"], 16) == 0, item.service


def test_servers_do_not_stay_root(seen: list[Seen]) -> None:
    # But for PostgreSQL's init process, which passes signals on.
    for item in seen:
        if item.service != "edge":
            roots = [process for process in item.kernel["processes"] if process["Uid"].split()[1] == "0"]
            assert len(roots) == (item.service == "postgres"), item.service


def test_root_file_systems_are_read_only(seen: list[Seen]) -> None:
    writable = {item.service for item in seen if "ro" not in item.kernel["root"]}
    assert writable == WRITABLE_ROOT


def test_limits(seen: list[Seen]) -> None:
    for item in seen:
        quota, period = map(int, item.kernel["cpu"])
        assert (int(item.kernel["memory"]) // MEBIBYTE, quota / period) == LIMITS[item.service], item.service


def test_numbers_of_processes(seen: list[Seen]) -> None:
    assert {item.service: int(item.kernel["number"]) for item in seen if item.service in PROCESSES} == PROCESSES


def test_logs_of_every_container_are_rotated(host: Host) -> None:
    assert all(map(has_log_limits, inspect_all(host)))


def test_containers_come_back_after_a_crash(host: Host) -> None:
    assert {item["HostConfig"]["RestartPolicy"]["Name"] for item in inspect_all(host)} == {"unless-stopped"}


def test_no_secret_in_what_the_engine_tells(host: Host) -> None:
    told = json.dumps(inspect_all(host)) + compose(host, "config")
    values = env(host)
    for name in ("GITHUB_TOKEN", "ANTHROPIC_API_KEY", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "TAMMA_JWT_SECRET"):
        assert values[name] not in told, name
