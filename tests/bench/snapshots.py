"""Hosts with a container engine and the stack's images: provisioned once, and copied for whoever begins with one.

A snapshot is an image of the host, and volumes with what its engine has. Its name holds the hash of everything that
it is made of, and it is made when it is missing. A few tests begin with bare hosts: they prove the way to here.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from . import clock, images, releases
from .command import LOCK, docker, one_at_a_time, run
from .names import ENGINE_VOLUMES, LABEL, REGISTRY_ADDRESS, REPOSITORY, container_name, host_name
from .progress import say

#: What each is called by, and that is its engine.
ENGINES = ("docker", "podman")
PLAYBOOK = REPOSITORY / "tests" / "bench" / "provisioned.yml"
#: What else decides how a host comes out. Its modules only look.
SOURCES = ("inventories/sandbox/group_vars", "plugins/filter", "roles/tamma_runtime")
#: Versions differ by a small layer each: with the oldest one, the others are pulled in no time, but they are pulled.
VERSION = "0.1.0"
SECONDS_TO_SHUT_DOWN = 120
#: Several checkouts may be at work, and each may have its own.
KEPT = 4


def tag(engine: str) -> str:
    """Return the full name of a snapshot's image."""
    return f"{_repository(engine)}:{_key(engine)}"


def _repository(engine: str) -> str:
    return f"tamma-bench/provisioned-{engine}"


def _volumes(engine: str, key: str) -> dict[str, str]:
    """Return the volumes of a snapshot, by the directory to which each belongs."""
    return {path: f"tamma-bench-provisioned-{engine}-{key}-{Path(path).name}" for path in ENGINE_VOLUMES}


def ensure(engine: str) -> None:
    """Make a snapshot if it is missing."""
    with one_at_a_time(LOCK.with_suffix(f".{engine}")):
        if tag(engine) not in images.present():
            with clock.phase("making snapshots"):
                _make(engine)
                _forget(engine)


def fill(engine: str, container: str) -> None:
    """Copy what the engine has into the volumes of a host that has not been started yet."""
    mounts = [f"--volume={name}:/from{path}:ro" for path, name in _volumes(engine, _key(engine)).items()]
    _copy(container, mounts, "/from{0}/. {0}")


@cache
def _key(engine: str) -> str:
    files = [PLAYBOOK, *(file for tree in SOURCES for file in (REPOSITORY / tree).rglob("*"))]
    content = {
        str(file.relative_to(REPOSITORY)): (file.read_bytes(), 0)
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    }
    return images.context_hash(content, engine, images.tag("host"), *_images(), *_images().values())


def _images() -> dict[str, str]:
    """Return the images that are pulled, by the name under which the registry serves them."""
    served = releases.served()
    return {name: image for name, image in served.items() if name in releases.FIXED or name.endswith(f":{VERSION}")}


def _make(engine: str) -> None:
    # Which are made of snapshots in their turn.
    from . import hosts

    say(f"Making the snapshot of a host with {engine.capitalize()}.")
    sandbox = f"snapshot-{engine}"
    container = container_name(sandbox, host_name(1))
    hosts.down(sandbox)
    try:
        hosts.up(sandbox, 1, publish=False)
        variables = {
            "tamma_runtime_engine": engine,
            "snapshot_images": [f"{REGISTRY_ADDRESS}/{name}" for name in _images()],
        }
        run(
            ["ansible-playbook", "-i", REPOSITORY / "inventories" / "sandbox", PLAYBOOK, "-e", json.dumps(variables)],
            environment={"TAMMA_SANDBOX": sandbox, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
        )
        docker("stop", "--time", str(SECONDS_TO_SHUT_DOWN), container)
        mounts = []
        for path, name in _volumes(engine, _key(engine)).items():
            # What was not made to its end is made anew.
            docker("volume", "rm", "--force", name)
            docker("volume", "create", "--label", f"{LABEL}=snapshot", name)
            mounts.append(f"--volume={name}:/to{path}")
        _copy(container, mounts, "{0}/. /to{0}")
        docker("commit", container, tag(engine))
    finally:
        hosts.down(sandbox)


def _forget(engine: str) -> None:
    """Remove the oldest snapshots, each of which is as large as the images; those in use stay."""
    keys = docker("image", "ls", "--format", "{{.Tag}}", _repository(engine)).split()
    for key in keys[KEPT:]:
        docker("image", "rm", f"{_repository(engine)}:{key}", check=False)
        docker("volume", "rm", *_volumes(engine, key).values(), check=False)


def _copy(container: str, mounts: list[str], words: str) -> None:
    """Copy between the volumes of a host and others. What an engine keeps has devices and attributes of its own."""
    script = " && ".join(f"cp --archive --reflink=auto {words.format(path)}" for path in ENGINE_VOLUMES)
    docker(
        "run", "--rm", "--privileged", "--network", "none", "--volumes-from", container, *mounts,
        images.tag("host"), "sh", "-c", script,
    )  # fmt: skip
