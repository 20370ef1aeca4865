# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle's scripts with a docker that plays a stack: what they remember, and what a kill leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.tools.roles import ROOT

SCRIPTS = ROOT / "roles/tamma_bundle/files"
# The files image.SERVICE and health.SERVICE say what runs; next is what "up" starts, and pages whether they answer.
DOCKER = r"""#!/bin/sh
cd "$STATE"
case "$*" in
'compose config --services') printf 'postgres\ntamma-dashboard\n' ;;
'compose ps '*)
    for last; do :; done
    case $* in *--services*) printf 'postgres\ntamma-dashboard\n' ;; *) echo "$last" ;; esac ;;
'inspect --format {{.Image}} '*) cat "image.$4" ;;
'inspect '*) for last; do :; done; echo "running $(cat "health.$last")" ;;
'image inspect '*) ;;
'compose pull '*) ;;
'compose up '*)
    case $COMPOSE_FILE in
    *former-images.yml)
        file=$OLDPWD/${COMPOSE_FILE##*:}
        sed -n 's/.*tamma-dashboard: {image: "\(.*\)"}.*/\1/p' "$file" > image.tamma-dashboard ;;
    *) cp next image.tamma-dashboard ;;
    esac
    cp will-be health.tamma-dashboard ;;
*' wget '*) [ ! -e silent ] ;;
*' printenv '*) echo tamma ;;
*pg_database_size*) echo 1000 ;;
*' -f -') case $* in
    *psql*) echo dump; echo 'tamma-rows 1' >&2 ;;
    *) printf 'COPY x FROM stdin;\n1\n\\.\n' ;;
    esac ;;
*'pg_restore --list') ;;
*) echo "nobody plays $*" >&2; exit 9 ;;
esac
"""
BACKUP = "tamma-20200101T000000Z.dump"


class Place:
    """A directory with both scripts, and a stack that is played."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.state.mkdir()
        (directory / "bin").mkdir()
        (directory / "bin/docker").write_text(DOCKER)
        (directory / "bin/docker").chmod(0o755)
        for name in ("tamma-backup.sh", "tamma-update.sh"):
            shutil.copy(SCRIPTS / name, directory)
            (directory / name).chmod(0o755)
        (directory / ".env").write_text("")
        self.plays(**{"image.postgres": "pg", "health.postgres": "healthy", "will-be": "healthy"})
        self.plays(**{"image.tamma-dashboard": "v0", "health.tamma-dashboard": "healthy"})

    def plays(self, **files: str) -> None:
        for name, content in files.items():
            (self.state / name).write_text(content)

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        path = f"{self.directory}/bin:{os.defpath}"
        known = {"PATH": path, "STATE": str(self.state), "TAMMA_UPDATE_SECONDS": "0", **env}
        pipe = subprocess.PIPE
        return subprocess.Popen(["sh", *words], cwd=self.directory, env=known, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: str, **env: str) -> tuple[int, str]:
        started = self.start(*words, **env)
        out, err = started.communicate()
        return started.returncode, err + out

    def update(self, version: str, health: str = "healthy") -> tuple[int, str]:
        self.plays(**{"next": version, "will-be": health})
        return self.run("tamma-update.sh", TAMMA_UPDATE_BACKUP="none")

    def back(self) -> str:
        """Go back; return what runs then."""
        self.plays(**{"will-be": "healthy"})
        status, said = self.run("tamma-update.sh", "--back")
        assert status == 0, said
        return (self.state / "image.tamma-dashboard").read_text().strip()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_service_that_is_unwell_before_an_update_makes_the_way_back_no_longer(place: Place) -> None:
    assert place.update("v1")[0] == 0
    place.plays(**{"health.postgres": "unhealthy"})
    assert place.update("v2")[0] == 1
    place.plays(**{"health.postgres": "healthy"})
    assert place.back() == "v1"


@pytest.mark.parametrize("trouble", ["unhealthy", "silent", "kill"])
def test_after_an_update_that_failed_the_way_back_leads_to_what_ran_well(place: Place, trouble: str) -> None:
    assert place.update("v1")[0] == 0
    if trouble == "silent":
        place.plays(silent="")
    elif trouble == "kill":
        # It dies in the middle of "up".
        docker = place.directory / "bin/docker"
        docker.write_text(DOCKER.replace("    cp will-be", "    kill -9 $PPID; cp will-be"))
        assert place.update("v2", "starting")[0] == -9
        docker.write_text(DOCKER)
    for version in ("v2", "v3"):
        assert place.update(version, "unhealthy" if trouble == "unhealthy" else "healthy")[0] == (trouble != "kill")
    (place.state / "silent").unlink(missing_ok=True)
    assert place.back() == ("v2" if trouble == "kill" else "v1")


def test_what_a_kill_left_goes_and_what_may_be_at_work_stays(place: Place) -> None:
    backups = place.directory / "backups"
    backups.mkdir()
    for name, hours in ((f".{BACKUP}", 13), (f".{BACKUP.replace('2020', '2021')}", 1)):
        for end in ("part", "log"):
            (backups / f"{name}.{end}").write_text("cut off")
            moment = time.time() - hours * 3600
            os.utime(backups / f"{name}.{end}", (moment, moment))
    status, said = place.run("tamma-backup.sh")
    assert status == 0, said
    left = {path.name for path in backups.iterdir()} - {Path(said.strip()).name}
    assert left == {".tamma-20210101T000000Z.dump.part", ".tamma-20210101T000000Z.dump.log"}


def test_two_backups_in_one_second_are_two(place: Place) -> None:
    # The clock of the first two calls stands still.
    (place.directory / "bin/date").write_text(
        '#!/bin/sh\ncd "$STATE"\necho x >> dates\n'
        '[ $(wc -l < dates) -gt 2 ] && exec /bin/date "$@"\necho 20300101T000000Z\n'
    )
    (place.directory / "bin/date").chmod(0o755)
    said = [place.run("tamma-backup.sh") for _ in range(2)]
    assert [status for status, _ in said] == [0, 0]
    assert len({path for _, path in said}) == 2
    assert len(list((place.directory / "backups").iterdir())) == 2


def test_a_directory_that_cannot_be_written_is_said(place: Place) -> None:
    (place.directory / "backups").write_text("")
    status, said = place.run("tamma-backup.sh")
    assert (status, said.splitlines()[-1]) == (1, "tamma-backup: ./backups cannot be made: see above.")
