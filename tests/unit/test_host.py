# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is judged of a host, and how settings join the engine's configuration."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.filter.daemon_config import daemon_config
from ansible_collections.meywd.tamma.plugins.module_utils.host import (
    ENGINE_MINIMUM,
    Compose,
    DaemonConfig,
    Disk,
    Engine,
    Host,
    Requirements,
    advise,
    assess,
    at_least,
    collect,
    config_path,
    family_of,
    missing,
    parse_daemon_config,
    parse_memory_mb,
    parse_os_release,
    version_tuple,
)
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

GOOD = Host(
    name="Debian GNU/Linux 13 (trixie)",
    distribution="debian",
    version="13",
    codename="trixie",
    family="debian",
    architecture="x86_64",
    python="3.13.5",
    memory_mb=15989,
    cpus=4,
    init="systemd",
    systemd=True,
    root=True,
    deployed=False,
    disks=[Disk("/opt/tamma", "/", 1, 105.1, 80.0, "files"), Disk("/var/lib/docker", "/", 1, 105.1, 80.0, "engine")],
    engine=Engine(True, False, True, True, True, "26.1.5+dfsg1", "docker.io"),
    compose=Compose("2.26.1-4", "/usr/libexec/docker/cli-plugins/docker-compose"),
    daemon_config=DaemonConfig(),
)
WANTED = Requirements(memory_mb=8192, disk_gb=20, cpus=4)


def but(**changes: object) -> Host:
    return dataclasses.replace(GOOD, **changes)  # type: ignore[arg-type]


def engine(**changes: object) -> Host:
    return but(engine=dataclasses.replace(GOOD.engine, **changes))  # type: ignore[arg-type]


# --- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("26.1.5+dfsg1", (26, 1, 5)),
        ("28.2.2-0ubuntu1~24.04.1", (28, 2, 2)),
        ("5:28.5.1-1~debian.13~trixie", (28, 5, 1)),
        ("v2.24.0-desktop.1", (2, 24, 0)),
        ("2.26.1-4", (2, 26, 1)),
        ("25", (25,)),
        ("dev", ()),
        ("", ()),
    ],
)
def test_versions_as_packagers_write_them(text: str, numbers: tuple[int, ...]) -> None:
    assert version_tuple(text) == numbers


NUMBERS = st.lists(st.integers(0, 999), min_size=1, max_size=4)


@given(NUMBERS, st.sampled_from(["", "v", "5:"]), st.sampled_from(["", "+dfsg1", "-4", "~rc.1", "-0ubuntu1"]))
def test_any_version_is_read_back(numbers: list[int], before: str, after: str) -> None:
    assert version_tuple(before + ".".join(map(str, numbers)) + after) == tuple(numbers)


@given(NUMBERS, NUMBERS)
def test_versions_compare_like_their_numbers(left: list[int], right: list[int]) -> None:
    padded = [numbers + [0] * (4 - len(numbers)) for numbers in (left, right)]
    assert at_least(".".join(map(str, left)), ".".join(map(str, right))) == (padded[0] >= padded[1])


@given(st.text())
def test_no_text_breaks_a_comparison(text: str) -> None:
    assert at_least(text, "25.0") in (True, False)


# --- files ----------------------------------------------------------------------------------------

ROCKY = """NAME="Rocky Linux"
VERSION="9.4 (Blue Onyx)"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.4"
PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"
"""


def test_os_release_of_rocky() -> None:
    release = parse_os_release(ROCKY)
    assert (release["ID"], release["VERSION_ID"], family_of(release)) == ("rocky", "9.4", "redhat")


def test_os_release_without_version_and_with_comments() -> None:
    release = parse_os_release("# testing\nID=debian\nPRETTY_NAME='Debian GNU/Linux forky/sid'\n")
    assert release == {"ID": "debian", "PRETTY_NAME": "Debian GNU/Linux forky/sid"}
    assert family_of(release) == "debian"


def test_family_of_what_nobody_knows() -> None:
    assert family_of({"ID": "alpine"}) == ""


def test_memory() -> None:
    assert parse_memory_mb("MemTotal:       16373092 kB\nMemFree: 1 kB\n") == 15989
    assert parse_memory_mb("") == 0


@pytest.mark.parametrize("text", ["", "\n", "{}", "\ufeff{}"])
def test_an_empty_configuration_is_none(text: str) -> None:
    assert parse_daemon_config(text, "/etc/docker/daemon.json") == ({}, "")


@pytest.mark.parametrize("text", ['{"debug": true,}', "debug: true", "[]", '"text"', "{"])
def test_a_broken_configuration_is_one_sentence(text: str) -> None:
    content, error = parse_daemon_config(text, "/etc/docker/daemon.json")
    assert content == {}
    assert error.startswith("/etc/docker/daemon.json ")
    assert error.endswith(": correct it, or move it away.")


@pytest.mark.parametrize("flags", [["--config-file=/srv/d.json"], ["-H", "fd://", "--config-file", "/srv/d.json"]])
def test_a_daemon_with_another_configuration_file(flags: list[str]) -> None:
    assert config_path(flags) == "/srv/d.json"
    assert config_path(["-H", "fd://"]) == "/etc/docker/daemon.json"


# --- judging --------------------------------------------------------------------------------------


def test_a_good_host_has_no_problem() -> None:
    assert assess(GOOD, WANTED) == []
    assert advise(GOOD, WANTED) == []
    assert missing(GOOD) == []


@pytest.mark.parametrize(
    ("distribution", "version", "supported"),
    [
        ("debian", "12", True),
        ("debian", "11", False),
        ("debian", "", False),
        ("ubuntu", "24.04", True),
        ("ubuntu", "24.10", False),
        ("rhel", "9.4", True),
        ("rocky", "9", True),
        ("almalinux", "9.6", True),
        ("centos", "9", True),
        ("ol", "9.5", True),
        ("rocky", "8.10", False),
        ("rhel", "10.0", False),
        ("alpine", "3.20", False),
    ],
)
def test_supported_distributions(distribution: str, version: str, supported: bool) -> None:
    assert (assess(but(distribution=distribution, version=version), WANTED) == []) is supported


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (but(name="Alpine Linux v3.20", distribution="alpine"), "v3.20 is not supported: use Debian 12"),
        (but(architecture="riscv64"), "Architecture riscv64 is not supported"),
        (but(systemd=False, init="sh"), "systemd does not run here (process 1 is 'sh')"),
        (but(root=False), "'become: true'"),
        (but(python="3.6.8"), "Python 3.6.8 on this host is older than 3.9"),
        (but(memory_mb=4000), "needs 8192: give it more, or lower tamma_stack_minimum_memory_mb"),
        (engine(version="20.10.24"), "Engine 20.10.24 (package docker.io) is older than 25.0"),
        (engine(version="24.0.9"), "is older than 25.0"),
        (engine(version=""), "Docker Engine ? "),
        (engine(origin="none", client=False), "without a package, and the docker client is"),
        (but(compose=Compose("2.20.3", "/opt/docker-compose")), "Docker Compose 2.20.3 (/opt/docker"),
        (but(engine=Engine(foreign=True)), "is not run by docker.service"),
        (but(daemon_config=DaemonConfig(error="daemon.json is no good.")), "daemon.json is no good."),
    ],
)
def test_each_problem_is_one_sentence(host: Host, words: str) -> None:
    problems = assess(host, WANTED)
    assert len(problems) == 1
    assert words in problems[0]
    assert problems[0].endswith(".")


PODMAN = Engine(True, False, True, True, True, "5.4.2", "podman", name="podman", driver="overlay")
WANTED_OF_PODMAN = dataclasses.replace(WANTED, engine=ENGINE_MINIMUM["podman"])


def podman(**changes: Any) -> Host:
    return but(engine=dataclasses.replace(PODMAN, **changes))


def test_a_good_podman() -> None:
    assert assess(podman(), WANTED_OF_PODMAN) == []
    assert advise(podman(), WANTED_OF_PODMAN) == []
    assert missing(podman()) == []


def test_podman_lacks_packages_of_its_own() -> None:
    host = podman(lacks=["init", "dns"])
    assert assess(host, WANTED_OF_PODMAN) == []
    assert missing(host) == ["init", "dns"]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (podman(foreign=True, installed=False), "Podman is installed here without its unit podman.socket"),
        (podman(version="4.3.1"), "Podman 4.3.1 (package podman) is older than 4.9 and is not replaced"),
        (podman(origin="none", lacks=["init", "dns"]), "without a package, and catatonit and aardvark-dns are missing"),
    ],
)
def test_each_problem_of_podman_is_one_sentence(host: Host, words: str) -> None:
    (problem,) = assess(host, WANTED_OF_PODMAN)
    assert words in problem
    assert problem.endswith(".")


def test_advice_about_podman() -> None:
    assert "the driver vfs" in advise(podman(driver="vfs"), WANTED_OF_PODMAN)[0]
    assert "Docker runs on this host beside Podman" in advise(podman(beside="docker"), WANTED_OF_PODMAN)[0]


def test_all_problems_come_at_once() -> None:
    host = but(distribution="alpine", architecture="riscv64", memory_mb=1, engine=Engine(foreign=True))
    assert len(assess(host, WANTED)) == 4


def test_a_machine_sold_with_8_gb_is_one() -> None:
    assert assess(but(memory_mb=7700), WANTED) == []


def test_nothing_installed_is_no_problem() -> None:
    bare = but(engine=Engine(), compose=Compose())
    assert assess(bare, WANTED) == []
    assert missing(bare) == ["engine", "client", "compose"]
    assert missing(but(compose=Compose())) == ["compose"]


def test_a_warning_about_processors() -> None:
    assert advise(but(cpus=2), WANTED) == ["This host has 2 processors, the stack likes 4: expect slow starts."]


@pytest.mark.parametrize(
    ("size", "free", "deployed", "words"),
    [
        (18.2, 6.0, False, ""),
        (15.0, 15.0, False, "15.0 GB, the stack needs 20: enlarge it, or lower tamma_stack_minimum_disk_gb"),
        (90.0, 4.0, False, "4.0 GB free, the stack needs 5: make room, or lower tamma_stack_minimum_disk_gb"),
        (100.0, 4.0, True, ""),
        (100.0, 1.9, True, "1.9 GB free, the stack needs 2: make room"),
    ],
)
def test_room_on_one_file_system_is_judged_once(size: float, free: float, deployed: bool, words: str) -> None:
    disks = [
        Disk(path, "/", 1, size, free, holds)
        for path, holds in (("/opt/tamma", "files"), ("/var/lib/docker", "engine"), ("/usr", "programs"))
    ]
    problems = assess(but(disks=disks, deployed=deployed), WANTED)
    assert len(problems) == (1 if words else 0)
    assert all("The file system of /var/lib/docker (mounted on /) has " + words in problem for problem in problems)


def separate(root_free: float, engine: tuple[float, float], work_free: float = 50) -> list[Disk]:
    """A small root file system, one for the engine's data, and one for the work of the stack's engine."""
    return [
        Disk("/opt/tamma", "/", 1, 6, root_free, "files"),
        Disk("/var/lib/docker", "/var/lib/docker", 2, *engine, "engine"),
        Disk("/usr", "/", 1, 6, root_free, "programs"),
        Disk("/srv/work", "/srv", 3, 60, work_free, "work"),
    ]


BARE = {"engine": Engine(), "compose": Compose()}


@pytest.mark.parametrize(
    ("disks", "changes", "words"),
    [
        (separate(2, (100, 80)), {}, ""),
        (separate(2, (100, 80)), BARE, ""),
        (separate(0.2, (100, 80)), {}, ""),
        (separate(0.2, (100, 80)), BARE, "of /usr (mounted on /) has 0.2 GB free, the stack needs 0.5: make room."),
        (
            separate(0.05, (100, 80)),
            {},
            "of /opt/tamma (mounted on /) has 0.1 GB free, the stack needs 0.1: make room.",
        ),
        (separate(2, (8, 8)), {}, "of /var/lib/docker (mounted on /var/lib/docker) has 8.0 GB, the stack needs 20"),
        (separate(2, (100, 4)), {}, "(mounted on /var/lib/docker) has 4.0 GB free, the stack needs 5"),
        (separate(2, (100, 80), 0.5), {}, "of /srv/work (mounted on /srv) has 0.5 GB free, the stack needs 1"),
        (separate(2, (100, 80), 0.5), {"deployed": True}, ""),
    ],
)
def test_each_file_system_is_judged_by_what_it_holds(disks: list[Disk], changes: dict[str, Any], words: str) -> None:
    problems = assess(but(disks=disks, **changes), WANTED)
    assert len(problems) == (1 if words else 0)
    assert all(words in problem for problem in problems)


def test_disks_do_not_matter_where_nothing_is_asked_of_them() -> None:
    assert assess(but(disks=separate(0, (1, 0), 0)), dataclasses.replace(WANTED, disk_gb=0)) == []


def test_this_machine_can_be_read(tmp_path: object) -> None:
    host = collect(Runner(), "%s/not/there/yet" % tmp_path)
    assert host.distribution
    assert host.memory_mb > 0
    assert host.cpus > 0
    assert not host.deployed
    assert [disk.path for disk in host.disks] == ["%s/not/there/yet" % tmp_path, host.engine.data_root, "/usr"]
    json.dumps(dataclasses.asdict(host))


# --- daemon.json ----------------------------------------------------------------------------------

OURS = {
    "log-opts": {"max-size": "10m", "max-file": "5"},
    "live-restore": True,
    "registry-mirrors": [],
    "insecure-registries": [],
}


def test_settings_for_a_fresh_engine() -> None:
    result = daemon_config({}, OURS)
    assert result["content"] == {"log-opts": {"max-size": "10m", "max-file": "5"}, "live-restore": True}
    assert result["differences"] == ["live-restore", "log-opts"]
    assert result["restart"]


def test_the_users_settings_stay() -> None:
    there = {
        "dns": ["192.0.2.1"],
        "log-opts": {"tag": "x", "max-size": "1g"},
        "registry-mirrors": ["https://a"],
    }
    before = json.dumps(there)
    content = daemon_config(there, {**OURS, "registry-mirrors": ["https://b", "https://a"]})["content"]
    assert content["dns"] == ["192.0.2.1"]
    assert content["log-opts"] == {"tag": "x", "max-size": "10m", "max-file": "5"}
    assert content["registry-mirrors"] == ["https://a", "https://b"]
    assert json.dumps(there) == before


def test_registries_are_read_on_a_reload() -> None:
    there = daemon_config({}, OURS)["content"]
    result = daemon_config(there, {**OURS, "insecure-registries": ["r.example:5000"]})
    assert (result["differences"], result["restart"]) == (["insecure-registries"], False)


def test_a_swarm_has_no_live_restore() -> None:
    assert "live-restore" not in daemon_config({}, OURS, swarm=True)["content"]


def test_another_log_driver_gets_no_file_options() -> None:
    result = daemon_config({"log-driver": "journald", "log-opts": {"tag": "x"}}, OURS)
    assert result["content"]["log-opts"] == {"tag": "x"}
    assert daemon_config({}, {**OURS, "log-driver": "journald"})["content"].get("log-opts") is None
    assert daemon_config({}, {**OURS, "log-driver": "local"})["content"]["log-opts"]["max-size"] == "10m"


JSON = st.dictionaries(
    st.sampled_from(["dns", "log-opts", "registry-mirrors", "insecure-registries", "live-restore", "mtu"]),
    st.none(),
).flatmap(
    lambda keys: st.fixed_dictionaries(
        {
            key: {
                "log-opts": st.dictionaries(st.sampled_from(["max-size", "tag"]), st.text()),
                "live-restore": st.booleans(),
                "mtu": st.integers(),
            }.get(key, st.lists(st.text(), unique=True))
            for key in keys
        }
    )
)


@given(JSON, JSON, st.booleans())
def test_a_second_merge_changes_nothing(there: dict[str, Any], wanted: dict[str, Any], swarm: bool) -> None:
    first = daemon_config(there, wanted, swarm)
    second = daemon_config(first["content"], wanted, swarm)
    assert second == {"content": first["content"], "differences": [], "restart": False}
    assert set(there) <= set(first["content"])
