# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes and directories where an engine works, with an image that does not have them, as Tamma's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ansible_collections.meywd.tamma.plugins.module_utils import ownership
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner
from tests.bench import engine, images
from tests.bench.command import docker, one_at_a_time
from tests.bench.names import LABEL

PROJECT = f"tamma-workplaces-{os.getpid()}"
DOCKERFILE = "FROM {parent}\nUSER root\nRUN rm -rf /workspace /app/logs && usermod --uid 1234 tamma\nUSER tamma\n"
WRITE = ("sh", "-c", "touch /workspace/$$ /app/logs/$$ && stat -c %u /workspace/$$")


class Workplace:
    """A service in a Compose project, with a volume and a directory of this machine."""

    def __init__(self, directory: Path, image: str) -> None:
        self.bound = directory / "bound"
        self.bound.mkdir()
        service = {
            "image": image,
            "entrypoint": ["sleep", "600"],
            "init": True,
            "volumes": ["work:/workspace", f"{self.bound}:/app/logs"],
            "labels": {ownership.LABEL: "/workspace /app/logs", LABEL: "test"},
        }
        project = {"services": {"worker": service}, "volumes": {"work": {}}}
        (directory / "docker-compose.yml").write_text(yaml.safe_dump(project), encoding="utf-8")
        program = find_compose()
        assert program
        self.compose = Compose(Runner(), program, str(directory), PROJECT)
        self.engine = Engine()

    def find(self) -> list[ownership.Place]:
        return ownership.find(self.engine, self.compose.outline())

    def exec(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["docker", "exec", f"{PROJECT}-worker-1", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    with one_at_a_time():
        engine.ensure()
        images.build(["tamma-engine"])
    context = tmp_path / "image"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE.format(parent=images.tag("tamma-engine")), encoding="utf-8")
    docker("build", "--quiet", "--label", f"{LABEL}=test", "--tag", f"{PROJECT}:1", str(context))
    made = Workplace(tmp_path, f"{PROJECT}:1")
    try:
        yield made
    finally:
        made.compose.run("down", "--volumes", "--timeout", "0")
        docker("image", "rm", f"{PROJECT}:1")


def test_what_the_image_does_not_have_is_given_to_its_user(workplace: Workplace) -> None:
    assert workplace.compose.up(["worker"], start=False).rc == 0
    found = workplace.find()
    assert {(place.target, place.user) for place in found} == {("/workspace", 1234), ("/app/logs", 1234)}
    assert {place.volume for place in found} == {f"{PROJECT}_work", ""}
    for place in found:
        ownership.give(place)
    assert workplace.find() == []
    assert workplace.compose.up(["worker"]).rc == 0
    assert workplace.exec(*WRITE).stdout == "1234\n"
    # And while it works, if somebody takes it away.
    (place,) = [one for one in found if one.volume]
    os.chown(place.source, 0, 0)
    assert workplace.exec(*WRITE).returncode != 0
    assert workplace.find() == [place]
    ownership.give(place)
    assert workplace.exec(*WRITE).returncode == 0
    assert workplace.engine.file(f"{PROJECT}-worker-1", "/etc/passwd").startswith("root:")
    assert workplace.engine.file(f"{PROJECT}-worker-1", "/etc") == ""
    assert workplace.engine.file(f"{PROJECT}-worker-1", "/missing") == ""
