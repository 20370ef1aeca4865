# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts of a bundle, on a stack that runs beside them: backups, updates, the ways back, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Host
from tests.integration.test_option_b import DIRECTORY, inside
from tests.tools.option_b import DEVELOPMENT
from tests.tools.roles import ROOT

SCRIPTS = ROOT / "roles/tamma_bundle/files"
PSQL = "docker compose exec -T postgres psql -U tamma -tA -c"
UP = "docker compose up --detach --quiet-pull --wait --wait-timeout 120"


class Place:
    """A directory with a stack of 0.1.0 and the scripts."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def run(self, script: str, version: str = "0.1.0") -> str:
        """Run a script and return what it printed on both streams and its status, in a last line."""
        return inside(self.host, f'{script}; echo "status $?"', TAMMA_VERSION=version).strip()

    def ask(self, query: str) -> str:
        return inside(self.host, f'{PSQL} "{query}"').strip()

    def backups(self) -> list[str]:
        return self.host.shell(f"ls -A {DIRECTORY}/backups 2>/dev/null || :").split()

    def images(self) -> dict[str, str]:
        """Service → image id of its container."""
        ids = self.host.shell("docker ps --quiet --filter label=com.docker.compose.project=tamma").split()
        found = json.loads(self.host.shell(f"docker inspect {' '.join(ids)}"))
        return {item["Config"]["Labels"]["com.docker.compose.service"]: item["Image"] for item in found}

    def containers(self) -> str:
        return self.host.shell("docker ps --all --quiet --no-trunc | sort")


@pytest.fixture(scope="module")
def place(docker_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    source: Path = tmp_path_factory.mktemp("place")
    # A release that is not well is to be found out sooner than after two minutes.
    text = DEVELOPMENT.read_text(encoding="utf-8").replace("interval: 15s", "interval: 2s")
    (source / DEVELOPMENT.name).write_text(text.replace("start_period: 60s", "start_period: 20s"), encoding="utf-8")
    for script in SCRIPTS.glob("*.sh"):
        (source / script.name).write_bytes(script.read_bytes())
        (source / script.name).chmod(0o755)
    values = "".join(f"{name}=x\n" for name in ("GITHUB_TOKEN", "ANTHROPIC_API_KEY", "GITHUB_OWNER", "GITHUB_REPO"))
    (source / ".env").write_text(values, encoding="utf-8")
    docker_host.put(source, DIRECTORY)
    inside(docker_host, UP, TAMMA_VERSION="0.1.0")
    yield Place(docker_host)
    inside(docker_host, "docker compose down --volumes --timeout 0")
    docker_host.shell(f"rm -rf {DIRECTORY}")


@pytest.fixture
def full(place: Place) -> Iterator[str]:
    """A directory on a disk of 2 MB, with a backup so small that the next one seems to fit."""
    place.host.shell(
        "mkdir /srv/small && mount -t tmpfs -o size=2m none /srv/small && echo x > /srv/small/tamma-1.dump"
    )
    place.ask("CREATE TABLE much AS SELECT md5(random()::text) || md5(random()::text) FROM generate_series(1, 99999)")
    yield "/srv/small"
    place.ask("DROP TABLE much")
    place.host.shell("umount /srv/small && rmdir /srv/small")


def test_a_backup_is_whole_private_and_one_of_the_last(place: Place) -> None:
    place.ask("INSERT INTO junior_developers VALUES ('1', E'two\\nlines; \\\\.')")
    outcomes = [place.run("TAMMA_BACKUP_KEEP=1 ./tamma-backup.sh") for _ in range(2)]
    (name,) = place.backups()
    assert outcomes[1] == f"./backups/{name}\nstatus 0"
    assert place.host.shell(f"stat --format %a {DIRECTORY}/backups {DIRECTORY}/backups/*").split() == ["700", "600"]


def test_a_dump_that_fails_is_no_backup(place: Place) -> None:
    before = place.backups()
    broken = "#!/bin/sh\\nhead -c 100 /dev/urandom\\necho disk on fire >&2\\nexit 1\\n"
    inside(place.host, "docker compose exec -T postgres sh -c 'cp -a $(command -v pg_dump) /tmp/kept'")
    inside(place.host, f"printf '{broken}' | docker compose exec -T postgres sh -c 'cat > $(command -v pg_dump)'")
    try:
        outcome = place.run("./tamma-backup.sh")
        update = place.run("./tamma-update.sh", "0.2.0")
    finally:
        inside(place.host, "docker compose exec -T postgres sh -c 'cat /tmp/kept > $(command -v pg_dump)'")
    assert "disk on fire" in outcome
    assert outcome.endswith("see above. The backups that are there stay.\nstatus 1")
    assert update.endswith("tamma-update: no update without a backup. Nothing was changed.\nstatus 1")
    assert place.backups() == before


def test_a_dump_without_an_end_is_no_backup(place: Place) -> None:
    """As a network or a disk that loses bytes leaves it, with status 0."""
    before = place.backups()
    inside(place.host, "docker compose exec -T postgres sh -c 'cp -a $(command -v pg_dump) /tmp/kept'")
    cut = '#!/bin/sh\\n/tmp/kept "$@" | head -c 30000\\n'
    inside(place.host, f"printf '{cut}' | docker compose exec -T postgres sh -c 'cat > $(command -v pg_dump)'")
    try:
        outcome = place.run("./tamma-backup.sh")
    finally:
        inside(place.host, "docker compose exec -T postgres sh -c 'cat /tmp/kept > $(command -v pg_dump)'")
    assert outcome.endswith("status 1")
    assert "tamma-backup: the dump" in outcome
    assert place.backups() == before


def test_a_full_disk_leaves_what_is_there(place: Place, full: str) -> None:
    outcome = place.run(f"TAMMA_BACKUP_DIRECTORY={full} ./tamma-backup.sh")
    assert f"tamma-backup: the dump failed, or {full} is full: see above." in outcome
    assert place.host.shell(f"ls -A {full}").split() == ["tamma-1.dump"]
    place.host.shell(f"rm {full}/tamma-1.dump")
    refused = place.run(f"TAMMA_BACKUP_DIRECTORY={full} ./tamma-backup.sh")
    assert f"tamma-backup: {full} has room for 2 MB, and the backup may need " in refused
    assert refused.endswith("status 1")


def test_an_image_that_is_missing_changes_nothing(place: Place) -> None:
    before = place.containers()
    outcome = place.run("./tamma-update.sh", "0.3.4-missing")
    assert outcome.endswith("tamma-update: an image cannot be pulled: see above. Nothing was changed.\nstatus 1")
    assert place.containers() == before
    assert place.run("./tamma-update.sh --back").endswith("there is nothing to go back to.\nstatus 1")


def test_an_update_and_the_way_back_with_the_database(place: Place) -> None:
    first = place.images()
    outcome = place.run("./tamma-update.sh", "0.2.0").splitlines()
    assert outcome[-1] == "status 0"
    assert outcome[-4:-2] == [
        "Updated: every service is healthy, and the pages answer.",
        "To go back: ./tamma-update.sh --back",
    ]
    second = place.images()
    assert {name for name in first if first[name] != second[name]} == set(first) - {"postgres", "rabbitmq"}

    # A release that never becomes healthy, twice: what ran well comes back.
    for _ in range(2):
        failed = place.run("TAMMA_UPDATE_SECONDS=60 ./tamma-update.sh", "0.2.1-unhealthy")
        assert "tamma-api is running unhealthy" in failed or "tamma-api is running starting" in failed
        assert failed.endswith("not all is well: see above, and docker compose logs.\nstatus 1")
        assert "To go back: ./tamma-update.sh --back" in failed
    database = place.host.shell("docker ps --quiet --filter label=com.docker.compose.service=postgres")
    back = place.run("./tamma-update.sh --back", "0.2.1-unhealthy")
    assert back.endswith("status 0"), back
    assert place.images() == second
    assert place.host.shell("docker ps --quiet --filter label=com.docker.compose.service=postgres") == database

    place.ask("INSERT INTO junior_developers VALUES ('later', 'x')")
    restored = place.run(outcome[-2].rpartition(": ")[2], "0.2.0")
    assert restored.endswith("status 0"), restored
    assert place.ask("SELECT id FROM junior_developers") == "1"
    assert place.ask("SELECT count(*) FROM pg_database WHERE datname LIKE 'tamma_before_%'") == "1"
    assert place.run(UP, "0.2.0").endswith("status 0")


def test_what_is_no_backup_is_not_restored(place: Place) -> None:
    before = place.containers()
    place.host.shell(f"echo nonsense > {DIRECTORY}/nonsense.dump")
    outcome = place.run("./tamma-restore.sh nonsense.dump", "0.2.0")
    assert outcome.endswith(
        "tamma-restore: nonsense.dump cannot be restored: see above. Nothing was changed.\nstatus 1"
    )
    assert place.containers() == before
    assert place.ask("SELECT count(*) FROM pg_database WHERE datname LIKE 'tamma_new_%'") == "0"
