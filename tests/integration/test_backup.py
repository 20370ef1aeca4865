# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups and restores: everything comes back, and whatever fails harms nothing, is told, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.database import literal
from tests.bench import data, faults, hosts
from tests.bench.faults import DataLost, Fault
from tests.integration.conftest import HOST, SANDBOX, Stack

pytestmark = pytest.mark.other_stack

CI_FAULTS = Path(__file__).resolve().parents[1] / "ci_faults.txt"
CONTAINER = f"tamma-bench-{SANDBOX}-{HOST}"
SETTINGS = "/etc/tamma/tamma/backup.json"
REPOSITORY = "/var/backups/tamma"
VOLUMES = "/var/lib/docker/volumes"
DATABASE_VOLUME = f"{VOLUMES}/tamma_tamma-pg-data/_data"
FILES_PLACE = f"{VOLUMES}/tamma_tamma-elsa-storage"
FILES_VOLUME = f"{FILES_PLACE}/_data"
# By hand alone: no timer shall come between.
BACKUPS = {
    "tamma_backup_password": "a repository's throw-away password",
    "tamma_backup_schedule": {},
    "tamma_backup_signing_key": "0123456789abcdef" * 4,
}
#: What is generated; the whole suite takes the greater one.
MEBIBYTES, MANY_MEBIBYTES = 24, 1024
UNWELL, BUSY, INTERRUPTED = 3, 4, 130
SECONDS_TO_RECOVER = 120
# Backups that may gather before those that nothing needs any more are removed: each makes looking longer.
SOME = 6
RESTIC_IS_READING = "restic backup #1"


class Said(NamedTuple):
    """How tammactl ended, and what it said."""

    status: int
    output: str


class Backups:
    """A stack with data and backups, and what is done to it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.shell = stack.shell
        self.marks = 0

    def ctl(self, words: str, fault: Fault | None = None, clock: int = 0) -> Said:
        """Run tammactl, with a fault in it."""
        program = "tammactl"
        if fault or clock:
            faults.arm(CONTAINER, fault, clock)
            program = faults.TAMMACTL
        done = subprocess.run(
            ["docker", "exec", CONTAINER, "sh", "-c", f"{program} {words}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
            check=False,
        )
        if fault:
            assert fault.effect in faults.effects(CONTAINER), done.stdout
        return Said(done.returncode, done.stdout)

    def well(self, words: str, **fault: Any) -> str:
        """The same, where it has to succeed."""
        said = self.ctl(words, **fault)
        assert said.status == 0, said.output
        return said.output

    def found(self, words: str) -> dict[str, Any]:
        """What tammactl prints as JSON, whether it succeeds or not."""
        found: dict[str, Any] = json.loads(self.ctl(f"{words} --json 2>/dev/null").output)
        return found

    def backup(self, words: str = "") -> str:
        """Take a backup into the local repository; return its id."""
        found = self.found(f"backup --repository local {words}")
        assert found["ok"], found
        return str(found["backups"][0]["id"])

    def some_backup(self) -> str:
        """The newest backup, or a new one."""
        return (self.identifiers() or [self.backup()])[-1]

    def identifiers(self, name: str = "local") -> list[str]:
        """The backups in a repository, oldest first."""
        found = self.found("backups")["repositories"]
        return [item["id"] for one in found if one["repository"] == name for item in one["backups"]]

    def sql(self, statement: str, database: str = "tamma") -> str:
        psql = f"docker compose exec -T postgres psql -v ON_ERROR_STOP=1 -qXAtU tamma -d {database}"
        return self.shell(f"cd /opt/tamma && {psql} <<'EOF'\n{statement}\nEOF").strip()

    def mark(self) -> str:
        """Make the database and the volume different from what they were, and the same as one another."""
        self.marks += 1
        self.sql(f"DROP TABLE IF EXISTS load.mark; CREATE TABLE load.mark AS SELECT {self.marks} AS mark")
        self.shell(f"echo {self.marks} > {FILES_VOLUME}/mark")
        return self.marked()

    def marked(self) -> str:
        """Which mark they bear; both the same one."""
        mark = self.sql("SELECT mark FROM load.mark")
        if self.shell(f"cat {FILES_VOLUME}/mark").strip() != mark:
            raise DataLost("database and volume are not those of one moment")
        return mark

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """What is done meanwhile must not show: the same values and files, nothing left, everything serves."""
        before = data.values(CONTAINER), data.files(CONTAINER)
        yield
        self.clean()
        after = data.values(CONTAINER), data.files(CONTAINER)
        for was, found in zip(before, after, strict=True):
            changed = sorted(set(was.splitlines()) ^ set(found.splitlines()))
            if changed:
                raise DataLost("\n".join(changed))

    def clean(self) -> None:
        """Make sure that nothing is left of what was begun, and that the stack serves."""
        # A server that was killed comes back by itself.
        until = time.monotonic() + SECONDS_TO_RECOVER
        while waiting := [row for row in self.found("status")["services"] if not row["ready"]]:
            assert time.monotonic() < until, waiting
            time.sleep(0.2)
        left = f"""
            ls -A /run/tamma | grep -v 'tamma.lock$'
            ls -Ad {DATABASE_VOLUME}/tamma-* {FILES_VOLUME}/.tamma-* /var/lib/tamma/tamma/volume-* 2>/dev/null
            ls -A {VOLUMES}/*/ | grep '^[.]tamma-' | grep -v before
            ls -A /opt/tamma/.tamma | grep restore
            pgrep -a 'restic|pg_dump|pg_restore'
            docker ps -aq --filter label=tamma.throw-away
            true
        """
        assert self.shell(left).strip() == ""
        assert self.sql("SELECT datname FROM pg_database WHERE datname ~ '_(restoring|drill)$'") == ""
        assert self.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^tamma-operator'") == "0"

    def forget_former(self) -> None:
        """Remove what restores have kept."""
        for name in self.sql("SELECT datname FROM pg_database WHERE datname ~ '_before_'").split():
            self.sql(f'DROP DATABASE "{name}"', "postgres")
        self.shell(f"rm -rf {FILES_PLACE}/.tamma-before-*")

    @contextlib.contextmanager
    def settings(self, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Other settings for a while."""
        before = self.shell(f"cat {SETTINGS}")
        values = json.loads(before)
        change(values)
        self.write(SETTINGS, json.dumps(values))
        try:
            yield
        finally:
            self.write(SETTINGS, before)

    def write(self, path: str, text: str) -> None:
        self.shell(f"cat > '{path}' <<'EOF'\n{text}\nEOF")

    @contextlib.contextmanager
    def damaged(self, script: str) -> Iterator[None]:
        """A repository to which a script does harm, in its own directory; what restic has cached is gone as well."""
        self.shell(
            f"rm -rf /root/whole /var/cache/tamma-restic; cp -a {REPOSITORY} /root/whole; cd {REPOSITORY}; {script}"
        )
        try:
            yield
        finally:
            self.shell(f"rm -rf {REPOSITORY} /var/cache/tamma-restic; mv /root/whole {REPOSITORY}")


def another(name: str, location: str) -> Callable[[dict[str, Any]], None]:
    """The settings with one more repository, with the password of the first."""

    def change(values: dict[str, Any]) -> None:
        values["repositories"].append({**values["repositories"][0], "name": name, "location": location})

    return change


@pytest.fixture(scope="module")
def backups(stack: Stack, request: pytest.FixtureRequest) -> Backups:
    """A stack with data and a repository."""
    outcome = stack.play("site", variables=BACKUPS)
    assert outcome.status == 0, outcome.output
    data.generate(CONTAINER, MANY_MEBIBYTES if request.config.getoption("--every-fault") else MEBIBYTES)
    found = Backups(stack)
    found.mark()
    return found


# --- everything comes back ------------------------------------------------------------------------


def test_an_empty_host_gets_everything_back(backups: Backups) -> None:
    stack = backups.stack
    taken = stack.play("backup", variables=BACKUPS)
    assert taken.status == 0, taken.output
    before = data.state(CONTAINER)
    stack.remove()
    backups.shell("rm -rf /etc/tamma /var/lib/tamma /var/cache/tamma-restic /usr/local/bin/tammactl")
    yearly = {**BACKUPS, "tamma_backup_schedule": {"backup": "yearly"}}
    wrong = stack.play("restore", variables={**yearly, "tamma_backup_password": "that of another one"})
    assert wrong.status != 0
    assert "is not opened by its password" in wrong.output
    foreign = stack.play("restore", variables={**yearly, "tamma_backup_signing_key": "fedcba9876543210" * 4})
    assert foreign.status != 0
    assert "does not bear the signature of this host" in foreign.output
    # Nothing backs the empty stack up, which would be the newest backup then.
    timer = "systemctl is-enabled tamma-backup.timer 2>&1 || true"
    assert "enabled" not in backups.shell(timer)
    restored = stack.play("restore", variables=yearly)
    assert restored.status == 0, restored.output
    assert backups.shell(timer).strip() == "enabled"
    assert data.state(CONTAINER).differences(before) == []
    backups.clean()
    backups.forget_former()


def test_a_restore_keeps_what_it_replaces(backups: Backups) -> None:
    first = backups.mark()
    backups.backup()
    second = backups.mark()
    found = backups.found("restore latest")["restore"]
    assert backups.marked() == first
    assert backups.sql("SELECT mark FROM load.mark", found["kept_as"]) == second
    assert backups.shell(f"cat {FILES_PLACE}/.tamma-before-*/mark").strip() == second
    backups.clean()
    backups.forget_former()


def test_a_drill_leaves_nothing_behind(backups: Backups) -> None:
    with backups.unharmed():
        backups.backup()
        backups.well("drill")


# --- operators that die ---------------------------------------------------------------------------


def survive_backup(backups: Backups, fault: Fault) -> None:
    """An operator dies; the next one takes a backup, and what the dead one left is not taken for one."""
    with backups.unharmed():
        known = set(backups.identifiers())
        died = backups.ctl("backup", fault)
        assert died.status == 137, died.output
        after = set(backups.identifiers()) - known
        taken = backups.backup()
        assert set(backups.identifiers()) - known == after | {taken}
        backups.clean()
        for whole in after:
            backups.well(f"drill {whole}")


def survive_restore(backups: Backups, fault: Fault) -> None:
    """An operator dies; whatever comes next completes the restore or takes it back, as a whole."""
    restored = backups.mark()
    backups.backup("--reason fault")
    present = backups.mark()
    died = backups.ctl("restore latest", fault)
    assert died.status == 137, died.output
    backups.well("check")
    if backups.marked() not in (restored, present):
        raise DataLost("neither what was there nor what was backed up")
    backups.clean()
    backups.forget_former()
    definitions = backups.shell("cd /opt/tamma && docker compose exec -T rabbitmq rabbitmqctl -q list_queues name")
    assert "bench.durable" in definitions


SURVIVE = {"backup": survive_backup, "restore": survive_restore}


@pytest.mark.parametrize(
    ("operation", "fault"),
    [pytest.param(name, fault, id=f"{name} {fault}") for name in SURVIVE for fault in faults.listed(CI_FAULTS, name)],
)
def test_an_operator_that_dies_leaves_what_the_next_run_cleans(backups: Backups, operation: str, fault: Fault) -> None:
    with faults.tried(operation):
        SURVIVE[operation](backups, fault)


@pytest.mark.fault_matrix
@pytest.mark.parametrize("operation", SURVIVE)
def test_an_operator_may_die_anywhere(backups: Backups, operation: str) -> None:
    # Small, because it is done some two hundred times.
    backups.sql("DELETE FROM load.messages WHERE id > 10000")
    backups.sql("VACUUM FULL load.messages")
    backups.backup()
    faults.arm(CONTAINER, None)
    backups.shell(f"{faults.TAMMACTL} {'backup' if operation == 'backup' else 'restore latest'}")
    effects = faults.effects(CONTAINER)
    # The files of the release are alike, and there are many.
    alike = [name for mark in ("/release/", "/.tamma-storing/") for name in [one for one in effects if mark in one][1:]]

    def survive(fault: Fault) -> None:
        SURVIVE[operation](backups, fault)
        if len(backups.identifiers()) > SOME:
            backups.well("prune")

    with backups.settings(lambda values: values.update(keep={"last": 1})):
        faults.matrix(operation, [name for name in effects if name not in alike], survive)


# --- what else goes wrong -------------------------------------------------------------------------

CASES: dict[str, Callable[[Backups], None]] = {}


def case(name: str) -> Callable[[Callable[[Backups], None]], Callable[[Backups], None]]:
    """Give a case its name."""

    def keep(function: Callable[[Backups], None]) -> Callable[[Backups], None]:
        CASES[name] = function
        return function

    return keep


def failed(said: Said, *words: str, status: int = 1) -> None:
    """Make sure that the exit status and the message tell of a failure and its cause."""
    assert said.status == status, said.output
    for word in words:
        assert word in said.output, said.output
    assert "Traceback" not in said.output


@case("wrong password")
def wrong_password(backups: Backups) -> None:
    backups.some_backup()
    file = "/etc/tamma/tamma/repository-local.password"
    backups.shell(f"cp -a {file} /root/right; echo wrong > {file}")
    try:
        for words in ("backup", "restore latest", "drill", "check"):
            failed(backups.ctl(words), "is not opened by its password")
    finally:
        backups.shell(f"mv /root/right {file}")


@case("backup disk full")
def backup_disk_full(backups: Backups) -> None:
    backups.shell("mkdir -p /mnt/small; mount -t tmpfs -o size=2m tmpfs /mnt/small")
    try:
        with backups.settings(another("small", "/mnt/small/repository")):
            before = backups.identifiers("local")
            failed(backups.ctl("backup"), "No backup in small: The disk of the repository small is full")
            # The other repository has its own.
            assert len(backups.identifiers("local")) == len(before) + 1
            assert backups.identifiers("small") == []
    finally:
        backups.shell("umount /mnt/small")


@case("the host's own disk full")
def host_disk_full(backups: Backups) -> None:
    """Repository and records on it: there is no room even for the record, and somebody is told all the same."""
    records = "/var/lib/tamma/tamma"
    init = "restic init --quiet --repo /mnt/small/repository --password-file /etc/tamma/tamma/repository-local.password"

    def change(values: dict[str, Any]) -> None:
        another("small", "/mnt/small/repository")(values)
        values["notify_command"] = 'echo "$TAMMA_REPOSITORY: $TAMMA_PROBLEM" >> /root/told'

    # So that there are records.
    backups.backup()
    backups.shell("rm -f /root/told; mkdir -p /mnt/small; mount -t tmpfs -o size=3m tmpfs /mnt/small")
    try:
        backups.shell(f"{init}; cp -a {records} /mnt/small/records; mount --bind /mnt/small/records {records}")
        backups.shell("dd if=/dev/zero of=/mnt/small/filler bs=4k 2>/dev/null; true")
        with backups.settings(change):
            said = backups.ctl("backup --repository small")
            failed(said, "No backup in small: The disk of the repository small is full", "cannot be written down")
        assert "small: The disk of the repository small is full" in backups.shell("cat /root/told")
    finally:
        backups.shell(f"umount {records}; umount /mnt/small; rm -f /root/told; ! mountpoint -q {records}")


@contextlib.contextmanager
def small_disk(backups: Backups) -> Iterator[str]:
    """A file system of its own for the database; where it is, and what fills it but for some bytes."""
    begin, end = "cd /opt/tamma && docker compose stop -t 30 2>&1", "cd /opt/tamma && docker compose start 2>&1"
    backups.shell(f"{begin}; mkdir -p /mnt/disk; mount -t tmpfs -o size=4g tmpfs /mnt/disk")
    try:
        backups.shell(f"cp -a {DATABASE_VOLUME}/. /mnt/disk; mount --bind /mnt/disk {DATABASE_VOLUME}; {end}")
        yield "fallocate -l $(($(df --output=avail -B1 /mnt/disk | tail -1) - %d)) /mnt/disk/filler"
    finally:
        backups.shell(
            f"{begin}; rm -f /mnt/disk/filler*; umount {DATABASE_VOLUME}; "
            f"find {DATABASE_VOLUME} -mindepth 1 -delete; cp -a /mnt/disk/. {DATABASE_VOLUME}; umount /mnt/disk; {end}"
        )


@case("database disk full")
def database_disk_full(backups: Backups) -> None:
    backups.some_backup()
    with small_disk(backups) as fill:
        backups.clean()
        # Too little from the beginning on is seen before anything is done.
        backups.shell(fill % 20_000_000)
        failed(backups.ctl("restore latest --part database"), "A restore needs", "nothing was changed")
        backups.shell("rm /mnt/disk/filler")
        # Or somebody else takes the room while the new database is filled.
        rest = "dd if=/dev/zero of=/mnt/disk/filler.rest bs=1M 2>/dev/null"
        fault = Fault("during", "pg_restore #1", f"{fill % 50_000_000}; {rest}")
        said = backups.ctl("restore latest --part database", fault)
        failed(said, "disk of PostgreSQL is full")


# The oldest one: all others of the server come from it.
KILL_POSTGRES = "kill -9 $(pgrep -o -x postgres)"


@contextlib.contextmanager
def crash(backups: Backups) -> Iterator[None]:
    """PostgreSQL comes back from a crash without the rows of its unlogged tables; here they are put back."""
    backups.sql("CREATE TABLE load.aside AS TABLE load.unlogged")
    yield
    backups.clean()
    assert backups.sql("SELECT count(*) FROM load.unlogged") == "0"
    backups.sql("INSERT INTO load.unlogged TABLE load.aside; DROP TABLE load.aside")


@case("PostgreSQL killed during the dump")
def postgres_killed_during_the_dump(backups: Backups) -> None:
    before = backups.identifiers()
    with crash(backups):
        said = backups.ctl("backup", Fault("after", "pg_dump #1", KILL_POSTGRES))
        failed(said, "The dump of the database tamma broke off")
    assert backups.identifiers() == before


@case("PostgreSQL killed during the restore")
def postgres_killed_during_the_restore(backups: Backups) -> None:
    backups.some_backup()
    connected = "until pgrep -f 'postgres: tamma tamma_restoring' >/dev/null; do sleep 0.01; done"
    with crash(backups):
        said = backups.ctl("restore latest", Fault("during", "pg_restore #1", f"{connected}; {KILL_POSTGRES}"))
        failed(said, "The backup cannot be restored, and nothing was changed:", "PostgreSQL")


@case("PostgreSQL down")
def postgres_down(backups: Backups) -> None:
    backups.some_backup()
    backups.shell("cd /opt/tamma && docker compose stop postgres >/dev/null 2>&1")
    try:
        for words in ("backup", "restore latest", "drill"):
            failed(backups.ctl(words), "PostgreSQL of the stack tamma does not run")
    finally:
        backups.shell("cd /opt/tamma && docker compose start postgres >/dev/null 2>&1")


@case("dump's client killed")
def dump_client_killed(backups: Backups) -> None:
    before = backups.identifiers()
    failed(backups.ctl("backup", Fault("after", "pg_dump #1", "until pkill -9 -x pg_dump; do :; done")), "was killed")
    assert backups.identifiers() == before


@case("restic killed")
def restic_killed(backups: Backups) -> None:
    before = backups.identifiers()
    failed(backups.ctl("backup", Fault("after", RESTIC_IS_READING, "pkill -9 -x restic")), "restic")
    assert backups.identifiers() == before


@case("operator ended by systemd")
def operator_ended(backups: Backups) -> None:
    before = backups.identifiers()
    end = "kill -TERM $PPID"
    said = backups.ctl("backup", Fault("during", RESTIC_IS_READING, end))
    failed(said, "Interrupted; the next run cleans up", status=INTERRUPTED)
    assert backups.identifiers() == before
    told = "The last backup in local failed: it was interrupted"
    failed(backups.ctl("status"), told, status=UNWELL)
    backups.backup()
    assert told not in backups.ctl("status").output
    for effect in ("pg_restore #1", 'sql ALTER DATABASE "tamma" RENAME TO "tamma_before_…" #1'):
        said = backups.ctl("restore latest", Fault("during" if "pg" in effect else "after", effect, end))
        failed(said, "Interrupted", status=INTERRUPTED)
        # It has cleaned up itself.
        backups.clean()


@case("missed")
def missed(backups: Backups) -> None:
    """A backup or drill that does not come is seen without anybody having failed."""
    backups.backup()
    backups.well("drill")
    records = "/var/lib/tamma/tamma/backups.json"
    before = backups.shell(f"cat {records}")
    long_ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60 * 3600))
    try:
        for operation in ("backup", "drill"):
            values = json.loads(before)
            values["local"][operation]["time"] = values["local"]["good_" + operation]["time"] = long_ago
            backups.write(records, json.dumps(values))
            with backups.settings(lambda values: values.update(overdue_hours={"backup": 50, "drill": 50})):
                told = f"The last good {operation} in local is 60 hours old"
                failed(backups.ctl("status"), told, status=UNWELL)
                failed(backups.ctl("doctor"), told, status=UNWELL)
    finally:
        backups.write(records, before)
    assert "hours old" not in backups.ctl("status").output


@case("flipped bits")
def flipped_bits(backups: Backups) -> None:
    backups.some_backup()
    place = 'dd of="$pack" bs=1 seek=$(($(stat -c %s "$pack") / 3)) conv=notrunc 2>/dev/null'
    flip = f"printf '\\377\\000\\377\\000' | {place}"
    with backups.damaged(f"find data -type f -size +100k | while read -r pack; do {flip}; done"):
        failed(backups.ctl("restore latest"), "is damaged")
        failed(backups.ctl("drill"), "is damaged")
        failed(backups.ctl("check --everything"), "is damaged")
        # What is the same is not stored again: only reading it back shows that it is not there.
        failed(backups.ctl("backup"), "is damaged")
        assert "failed" in backups.ctl("doctor").output


@case("missing pack")
def missing_pack(backups: Backups) -> None:
    backups.some_backup()
    with backups.damaged("rm $(find data -type f -size +1000k | head -1)"):
        failed(backups.ctl("restore latest"), "is damaged")
        failed(backups.ctl("drill"), "is damaged")


@case("truncated index")
def truncated_index(backups: Backups) -> None:
    backups.some_backup()
    with backups.damaged("for file in index/*; do truncate -s -40 $file; done"):
        failed(backups.ctl("restore latest"), "is damaged")
        failed(backups.ctl("drill"), "is damaged")
        failed(backups.ctl("backup"), "is damaged")


@case("repository unreachable half way")
def repository_unreachable(backups: Backups) -> None:
    with rest_server(backups, stop_after=2), backups.settings(another("far", "rest:http://127.0.0.1:8765/")):
        failed(backups.ctl("backup --repository far"), "No backup in far", "network")


@contextlib.contextmanager
def rest_server(backups: Backups, stop_after: int) -> Iterator[None]:
    """A server of restic's own protocol on the host, which is gone after some packs."""
    backups.write("/root/rest_server.py", (Path(faults.__file__).parent / "rest_server.py").read_text(encoding="utf-8"))
    backups.shell(
        f"rm -rf /mnt/far; systemd-run -q --unit rest-server python3 /root/rest_server.py /mnt/far 8765 {stop_after}; "
        "for i in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:8765/ && exit 0; sleep 0.1; done; exit 1"
    )
    try:
        yield
    finally:
        backups.shell("systemctl stop rest-server 2>/dev/null; rm -rf /mnt/far; true")


@contextlib.contextmanager
def held(backups: Backups, words: str, effect: str) -> Iterator[None]:
    """An operation that waits at an effect, until the block has ended; then it has to succeed."""
    backups.shell("rm -f /root/held /root/go")
    said: list[Said] = []
    script = "touch /root/held; until [ -e /root/go ]; do sleep 0.1; done"
    thread = threading.Thread(target=lambda: said.append(backups.ctl(words, Fault("before", effect, script))))
    thread.start()
    try:
        backups.shell("for i in $(seq 600); do [ -e /root/held ] && exit 0; sleep 0.1; done; exit 1")
        yield
    finally:
        backups.shell("touch /root/go")
        thread.join()
    assert said[0].status == 0, said[0].output


@case("two backups at once")
def two_backups_at_once(backups: Backups) -> None:
    with held(backups, "backup", RESTIC_IS_READING):
        failed(backups.ctl("backup"), "is being worked on by a backup (process", status=BUSY)
        failed(backups.ctl("restore latest"), "is being worked on by a backup (process", status=BUSY)


@case("backup during a restore")
def backup_during_a_restore(backups: Backups) -> None:
    backups.backup()
    with held(backups, "restore latest", "pg_restore #1"):
        failed(backups.ctl("backup"), "is being worked on by a restore (process", status=BUSY)
    backups.forget_former()


@case("clock going backwards")
def clock_going_backwards(backups: Backups) -> None:
    newest = backups.backup()
    backups.well("backup", clock=-30 * 86400)
    listed = backups.identifiers()
    assert listed.index(newest) == len(listed) - 2
    assert backups.found("restore latest --plan")["restore"]["id"] == listed[-1]


@case("services do not come up with it")
def services_do_not_come_up(backups: Backups) -> None:
    history = '"Elsa"."__EFMigrationsHistory"'
    backups.sql(f"ALTER TABLE {history} RENAME TO aside")
    broken = backups.backup("--reason broken")
    backups.sql('ALTER TABLE "Elsa".aside RENAME TO "__EFMigrationsHistory"')
    said = backups.ctl(f"restore {broken}")
    failed(said, "does not come up", "The former data is in its place, and the stack serves with it")


@case("broker down")
def broker_down(backups: Backups) -> None:
    backups.some_backup()
    stop = "cd /opt/tamma && docker compose stop rabbitmq >/dev/null 2>&1"
    try:
        said = backups.ctl("restore latest", Fault("before", "exec rabbitmq rabbitmqctl #1", stop))
        failed(said, "RabbitMQ does not take the definitions", "The former data is in its place")
    finally:
        backups.shell("cd /opt/tamma && docker compose start rabbitmq >/dev/null 2>&1")


def harm_nothing(backups: Backups, name: str) -> None:
    with faults.tried("whatever else"), backups.unharmed():
        CASES[name](backups)


@pytest.mark.parametrize("name", faults.cases(CI_FAULTS))
def test_whatever_fails_harms_nothing(backups: Backups, name: str) -> None:
    harm_nothing(backups, name)


@pytest.mark.fault_matrix
@pytest.mark.parametrize("name", [name for name in CASES if name not in faults.cases(CI_FAULTS)])
def test_whatever_else_fails_harms_nothing(backups: Backups, name: str) -> None:
    harm_nothing(backups, name)


# --- a database elsewhere -------------------------------------------------------------------------


@pytest.mark.fault_matrix
def test_an_external_database_is_backed_up_and_restored_through_a_client(backups: Backups) -> None:
    """The role is no superuser: it may make databases, as the owner of its own."""
    stack = backups.stack
    (host,) = (item for item in hosts.existing(SANDBOX) if item.name == HOST)
    password = "ext:ern\\al'"
    here = {
        **BACKUPS,
        "tamma_stack_postgres_host": host.address,
        "tamma_stack_postgres_port": 55432,
        "tamma_stack_postgres_sslmode": "disable",
        "tamma_stack_postgres_password": password,
    }

    def sql(statement: str, database: str = "tamma", user: str = "tamma") -> str:
        psql = f"docker exec -i external psql -v ON_ERROR_STOP=1 -qXAtU {user} -d {database}"
        return backups.shell(f"{psql} <<'EOF'\n{statement}\nEOF").strip()

    stack.remove()
    backups.shell(
        "docker run -d --name external --init -p 55432:5432 -e POSTGRES_USER=admin -e POSTGRES_PASSWORD=x "
        "registry.bench:5000/postgres:15; for i in $(seq 100); do "
        "docker exec external psql -h 127.0.0.1 -U admin -c 'SELECT 1' && exit 0; sleep 0.2; done; exit 1"
    )
    try:
        sql(f"CREATE ROLE tamma LOGIN CREATEDB PASSWORD {literal(password)}", "postgres", "admin")
        sql("CREATE DATABASE tamma OWNER tamma", "postgres", "admin")
        assert (outcome := stack.play("site", variables=here)).status == 0, outcome.output
        sql("CREATE TABLE tamma.mark AS SELECT 1 AS mark; SELECT lo_from_bytea(7, 'large')")
        backups.backup()
        backups.well("drill")
        sql("UPDATE tamma.mark SET mark = 2; SELECT lo_unlink(7)")
        found = backups.found("restore latest")["restore"]
        assert sql("SELECT mark, lo_get(7) FROM tamma.mark") == "1|\\x6c61726765"
        assert sql("SELECT mark FROM tamma.mark", found["kept_as"]) == "2"
        left = backups.shell("ls -A /run/tamma /var/lib/tamma/tamma; docker ps -aq --filter label=tamma.throw-away")
        assert left.split() == ["/run/tamma:", "tamma.lock", "/var/lib/tamma/tamma:", "backups.json"]
        sql("ALTER ROLE tamma NOCREATEDB", "postgres", "admin")
        failed(backups.ctl("restore latest"), "needs CREATEDB", "ALTER ROLE")
        backups.backup()
    finally:
        stack.play("teardown", variables={**here, "tamma_stack_remove_volumes": "tamma"})
        backups.shell("docker rm -fv external; true")
