# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases by tammactl, and whatever goes wrong while one takes the place of another.

After every fault comes one more run; then one release serves, everything is healthy, nothing is left of what was begun,
and no row is lost whose writing was acknowledged.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.bench import data, faults, hosts
from tests.bench.command import run
from tests.bench.faults import DataLost, Fault
from tests.bench.load import MIX, SESSIONS, Load
from tests.integration.conftest import HOST, SANDBOX, Stack, booted
from tests.integration.production import Production
from tests.tools.outcome import Outcome

pytestmark = pytest.mark.other_stack

CI_FAULTS = Path(__file__).resolve().parents[1] / "ci_faults.txt"
#: OTHER has an image that is nowhere on the host until somebody pulls it.
OLD, NEW, OTHER, ILL, RUINOUS = "0.1.0", "0.2.0", "0.3.0", "0.2.1-unhealthy", "0.3.2-destructive"
MEBIBYTES = 8
#: By hand alone: no timer shall come between.
BACKUPS = {"tamma_backup_password": "a repository's throw-away password", "tamma_backup_schedule": {}}
SETTINGS = {"tamma_stack_version": OLD, "tamma_stack_deadline": 60}
UNWELL, BUSY, ROLLED_BACK, STUCK, KILLED = 3, 4, 5, 6, 137
SECONDS_TO_BE_WELL = 240
NAMES = {"postgres", "template0", "template1", "tamma"}
#: Requests that write nothing but rows of which it is known whether they were acknowledged.
READS = [ask for ask in MIX if ask.method == "GET" and ask.path != SESSIONS]
LIGHT: dict[str, Any] = {"rate": 2, "streams": 0, "writes": 4, "mix": READS}
#: Where those rows are; everything else stays as it is until a release migrates it.
WRITTEN = "public.future_sessions"
#: What is there when something has begun on the stack, and has not ended. What a playbook showed is read until a boot.
BEGUN = (
    "ls -A /run/tamma | grep -Ev '^(tamma.lock|progress-.*)$'; "
    "ls -d .tamma/before .tamma/*.json edge/upstreams/*.socket | grep -Ev '(files|schemas).json'; "
    "ls -d /var/lib/docker/volumes/tamma_tamma-pg-data/_data/tamma-* "
    "/var/lib/containers/storage/volumes/tamma_tamma-pg-data/_data/tamma-*"
)
KILLED_OPERATOR = "operator killed in an update"


class Answer(NamedTuple):
    """What tammactl said with --json, and its exit status."""

    status: int
    result: dict[str, Any]
    said: str


class Releases(Production):
    """The releases of a production stack, by tammactl, and the rows that its API has acknowledged."""

    def __init__(self, stack: Stack, **settings: object) -> None:
        super().__init__(stack)
        self.settings = {**SETTINGS, **settings}
        self.acknowledged: set[str] = set()
        #: Whether the old version serves, with nothing left of anything else.
        self.sound = False
        self.services: Counter[str] = Counter()

    def __call__(self, *words: str, fault: Fault | None = None) -> Answer:
        program = "tammactl"
        if fault:
            faults.arm(self.stack.container, fault)
            program = faults.TAMMACTL
        done = run(
            ["docker", "exec", self.stack.container, "sh", "-c", f"{program} --json {' '.join(words)}"],
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if fault:
            assert fault.effect in faults.effects(self.stack.container), done.stderr
        return Answer(done.returncode, json.loads(done.stdout or "{}"), done.stderr)

    def well(self, *words: str) -> dict[str, Any]:
        """The same, where it has to succeed."""
        answer = self(*words)
        assert answer.status == 0, answer.said
        return answer.result

    def play(self, playbook: str, *rotate: str, **variables: object) -> Outcome:
        return super().play(playbook, *rotate, **{**self.settings, **variables})

    def every(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("releases").result["releases"]
        return found

    def next_number(self) -> int:
        return 1 + max(int(item["number"]) for item in self.every())

    def serving(self) -> dict[str, Any]:
        return next(item for item in self.every() if item["serves"])

    def log(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("releases", "--log").result["log"]
        return found

    def databases(self) -> set[str]:
        """The databases beside the live one."""
        return set(data.ask(self.stack.container, "SELECT datname FROM pg_database").splitlines()) - NAMES

    def rows(self) -> set[str]:
        return set(data.ask(self.stack.container, f"SELECT id || ' ' || title FROM {WRITTEN}").splitlines())

    def values(self) -> set[str]:
        """A checksum of every table, sequence and large object but what is written meanwhile."""
        return {line for line in data.values(self.stack.container).splitlines() if not line.startswith(WRITTEN)}

    def running(self) -> Counter[tuple[str, str]]:
        """How many containers there are of each service and version."""
        form = '{{.Label "com.docker.compose.service"}} {{.Label "org.opencontainers.image.version"}}'
        lines = self.stack.shell(f"docker ps --all --format '{form}'").splitlines()
        return Counter((service, version) for service, _, version in (line.partition(" ") for line in lines))

    def have_no_image(self, version: str) -> None:
        """Forget the images of a version that does not serve."""
        self.stack.shell(
            f"docker images -q --filter 'reference=*/tamma-*:{version}' | sort -u | xargs -r docker rmi -f"
        )

    def forget_kept_images(self) -> None:
        """Forget the names under which the images of releases are kept."""
        self.stack.shell("docker images --format '{{.Repository}}:{{.Tag}}' | grep /tamma-releases/ | xargs docker rmi")

    def wait(self) -> None:
        """Until everything is well after a boot, or after an engine was killed."""
        until = time.monotonic() + SECONDS_TO_BE_WELL
        while True:
            found = self("status").result
            ready = [row["ready"] for row in found.get("services", [])]
            if ready and all(ready) and not found["pending"] and not found["busy"]:
                return
            assert time.monotonic() < until, found
            time.sleep(0.5)

    # --- what was promised ------------------------------------------------------------------------

    @contextlib.contextmanager
    def promised(self, *others: str) -> Iterator[None]:
        """Rows are written meanwhile. Afterwards the old version or one of *others* serves, all as it should be."""
        self.begin_with_the_old_version()
        before, known, self.sound = self.values(), set(self.acknowledged), False
        with Load(self.edge(), **LIGHT) as load:
            yield
        self.acknowledged |= {f"{number} {title}" for title, number in load.acknowledged.items()}
        every = self.every()
        version = self.one_serves(every, OLD, *others)
        self.nothing_is_left(every)
        self.no_value_is_lost(before, version)
        assert not self.well("update", version)["changed"]
        assert self.every() == every
        if version != OLD:
            self.go_back(known)
            if self.values() != before:
                raise DataLost(f"not as before after going back: {sorted(before ^ self.values())}")
        if [name for name in self.databases() if "_failed_" in name]:
            self.well("discard", "--all")
        self.sound = True

    def begin_with_the_old_version(self) -> None:
        """Deploy it anew with data if something did not survive the fault before."""
        if self.sound:
            return
        self.play("teardown", tamma_stack_remove_volumes="tamma")
        outcome = self.play("site")
        assert outcome.status == 0, outcome.output
        data.generate(self.stack.container, MEBIBYTES)
        # PostgreSQL itself empties such a table when it was killed.
        data.ask(self.stack.container, "DROP TABLE load.unlogged")
        self.acknowledged, self.sound = set(), True
        self.services = Counter({service: count for (service, _), count in self.running().items()})

    def one_serves(self, every: list[dict[str, Any]], *versions: str) -> str:
        """Return which of the versions answers; nothing but that one is there, and healthy."""
        answer = self("status")
        assert answer.status == 0, answer.result
        (version,) = [str(item["version"]) for item in every if item["serves"]]
        assert version in versions
        found = self.running()
        assert {one for _, one in found} <= {version, ""}, found
        assert Counter({service: count for (service, _), count in found.items()}) == self.services
        for path in ("/api/health", "/elsa-api/health", "/version.json"):
            assert self.edge().ask("GET", path, seconds=20).json()["version"] == version
        return version

    def nothing_is_left(self, every: list[dict[str, Any]]) -> None:
        """Make sure that nothing is left of what was begun but what is documented."""
        assert self.stack.shell(f"cd /opt/tamma; ({BEGUN}) 2>/dev/null; true").strip() == ""
        assert {item["outcome"] for item in every} <= {"serves", "failed"}, every
        known = {item["guard"] for item in every if item["guard"]}
        known |= {f"tamma_failed_{item['number']}" for item in every if item["outcome"] == "failed"}
        databases = self.databases()
        assert databases <= known, databases
        kept = {item["name"] for item in self("backups").result["kept"]}
        assert kept == databases

    def no_value_is_lost(self, before: set[str], version: str) -> None:
        self.no_row_is_lost(self.acknowledged)
        # What a release has migrated is its own matter.
        changed = {
            line for line in before ^ self.values() if version == OLD or not line.startswith(("public.", '"Elsa".'))
        }
        if changed:
            raise DataLost(f"changed with {version}: {sorted(changed)}")

    def no_row_is_lost(self, acknowledged: set[str]) -> None:
        missing = acknowledged - self.rows()
        if missing:
            raise DataLost(f"of {len(acknowledged)} acknowledged rows {len(missing)} are lost: {sorted(missing)[:5]}")

    def go_back(self, known: set[str]) -> None:
        """Go back to the old version and its data, with the rows that were *known* before the new one came.

        What that does is said beforehand, and the present database is kept.
        """
        now = self.serving()
        planned = self.well("rollback", "--plan")["rollback"]
        assert (planned["version"], planned["database"]) == (OLD, now["guard"])
        assert self.serving() == now
        done = self.well("rollback")
        assert done["kept_as"] == planned["kept_as"]
        assert self.one_serves(self.every(), OLD) == OLD
        self.no_row_is_lost(known)
        kept = {item["name"]: item["release"] for item in self("backups").result["kept"]}
        assert kept[planned["kept_as"]] == done["release"]
        refused = self("discard", planned["kept_as"])
        assert refused.status == 1
        assert "--needed" in refused.said
        self.well("discard", planned["kept_as"], "--needed")
        # What came since is in the database that was kept, or was there before the new version, too.
        self.acknowledged &= self.rows()


@pytest.fixture(scope="module")
def releases(stack: Stack) -> Releases:
    """A production stack of the old version with data, and a repository: a guarded update begins with a backup."""
    found = Releases(stack, **BACKUPS)
    found.begin_with_the_old_version()
    return found


# --- operators that die ---------------------------------------------------------------------------


def resume(releases: Releases, _target: str) -> None:
    """Complete what was cut off, and nothing else."""
    if releases.well("resume")["completed"]:
        last = releases.log()[-1]
        assert last["what"] == "resume"
        assert last["outcome"] in ("serves", "rolled_back"), last


def resume_and_wait(releases: Releases, target: str) -> None:
    """The same, where the engine has started containers anew meanwhile."""
    resume(releases, target)
    releases.wait()


def update_again(releases: Releases, target: str) -> None:
    """Complete what was cut off, and then bring the new version."""
    releases.well("update", target)
    assert releases.serving()["version"] == target


def play_again(releases: Releases, target: str) -> None:
    outcome = releases.play("site", tamma_stack_version=target)
    assert outcome.status == 0, outcome.output
    assert releases.serving()["version"] == target


def reboot(releases: Releases, _target: str) -> None:
    hosts.reboot(releases.stack.sandbox, HOST)
    releases.wait()


def pull_the_plug(releases: Releases, _target: str) -> None:
    hosts.pull_the_plug(releases.stack.sandbox, HOST)
    releases.wait()


#: What comes after a fault, and completes what was cut off.
Run = Callable[[Releases, str], None]


def survive(releases: Releases, fault: Fault, run_again: Run) -> None:
    """An operator dies in an update, or something else happens in the place of its death; then comes one more run."""
    target = NEW
    if fault.effect.startswith("pull "):
        target = OTHER
        releases.have_no_image(OTHER)
    if fault.effect.startswith("POST /images/"):
        releases.forget_kept_images()
    with releases.promised(target):
        answer = releases("update", target, fault=fault)
        print(f"    status {answer.status}: {answer.said.splitlines()[-1:]}", flush=True)
        if not fault.script:
            assert answer.status == KILLED, answer.said
            assert all("type 'tammactl resume'" in words for words in releases("status").result["pending"])
        releases.stack.shell(
            "for i in $(seq 600); do docker version >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"
        )
        run_again(releases, target)


def steps(releases: Releases) -> list[str]:
    """Let an update happen, and return what it changes on the host; of what is alike within a phase the first."""
    with releases.promised(NEW):
        faults.arm(releases.stack.container, None)
        releases.stack.shell(f"{faults.TAMMACTL} update {NEW} 2>&1")
        effects = faults.effects(releases.stack.container)
    known: set[str] = set()
    chosen = []
    for name in effects:
        if name.startswith(("replace tmpfs", "remove tree tmpfs", "pull ")):
            continue
        if name.startswith("replace .tamma/update.json"):
            known.clear()
        kind = re.sub(r"(?<=/before/).*|(?<=/files/).*|=\d+ #\d+$| #\d+$", "", name)
        kind = re.sub(r"/upstreams/[\w-]+", "/upstreams/", kind)
        if kind not in known:
            chosen.append(name)
        known.add(kind)
    return ["pull tamma-engine #1", *chosen]


@pytest.mark.parametrize("fault", faults.listed(CI_FAULTS, "update"), ids=str)
def test_an_operator_that_dies_in_an_update_leaves_what_the_next_run_completes(
    releases: Releases, fault: Fault
) -> None:
    with faults.tried(KILLED_OPERATOR):
        survive(releases, fault, resume)


@pytest.mark.fault_matrix
def test_an_operator_may_die_at_every_step_of_an_update(releases: Releases) -> None:
    turn = itertools.cycle([resume, resume, update_again, resume, resume, resume, play_again])
    faults.matrix(KILLED_OPERATOR, steps(releases), lambda fault: survive(releases, fault, next(turn)))


# --- engine and host ------------------------------------------------------------------------------

#: A moment of each phase of an update.
PHASES = {
    "pulling": Fault("before", "pull tamma-engine #1"),
    "prepared": Fault("after", "replace .tamma/update.json #1"),
    "holding requests": Fault("after", "exec edge caddy #1"),
    "stopped": Fault("after", "POST /containers/…/stop #4"),
    "copying": Fault(
        "after", 'sql CREATE DATABASE "tamma_guard_…" OWNER "tamma" TEMPLATE "tamma" STRATEGY file_copy #1'
    ),
    "copied": Fault("after", "replace .tamma/update.json #3"),
    "files written": Fault("after", "replace .env #1"),
    # ELSA has migrated the database by then, and the new API is about to.
    "coming up": Fault("after", "POST /containers/…/start #4"),
    "up": Fault("before", "replace .tamma/update.json #4"),
    "serving": Fault("after", "replace .tamma/update.json #4"),
    "ending": Fault("before", "remove .tamma/update.json #1"),
}
#: systemd starts it again, and the containers go on meanwhile.
KILL_ENGINE = "kill -9 $(pidof dockerd)"
FAILURES: dict[str, tuple[str, Run]] = {
    "engine killed": (KILL_ENGINE, resume_and_wait),
    "host rebooted": ("", reboot),
    "power cut": ("", pull_the_plug),
}
MOMENTS = [(failure, phase) for failure in FAILURES for phase in PHASES]


def survive_failure(releases: Releases, failure: str, phase: str) -> None:
    script, run_again = FAILURES[failure]
    with faults.tried(f"{failure} in an update"):
        survive(releases, PHASES[phase]._replace(script=script), run_again)


def moments(*, in_ci: bool) -> list[object]:
    """The failures in phases that CI tries, or all others."""
    listed = faults.cases(CI_FAULTS, "update case")
    named = {f"{failure}, {phase}": (failure, phase) for failure, phase in MOMENTS}
    return [pytest.param(*named[name], id=name) for name in named if (name in listed) is in_ci]


@pytest.mark.parametrize(("failure", "phase"), moments(in_ci=True))
def test_a_host_that_fails_in_an_update_comes_to_one_release(releases: Releases, failure: str, phase: str) -> None:
    survive_failure(releases, failure, phase)


@pytest.mark.fault_matrix
@pytest.mark.parametrize(("failure", "phase"), moments(in_ci=False))
def test_a_host_that_fails_in_any_phase_comes_to_one_release(releases: Releases, failure: str, phase: str) -> None:
    survive_failure(releases, failure, phase)


# --- rollbacks ------------------------------------------------------------------------------------

#: Moments of a rollback that takes the database back.
BACK = {
    "stopped": PHASES["stopped"],
    "no database": Fault("after", 'sql ALTER DATABASE "tamma" RENAME TO "tamma_guard_…" #1'),
    "swapped": Fault("before", "replace .tamma/update.json #3"),
    "coming up": PHASES["coming up"],
    "up": PHASES["up"],
    "serving": PHASES["serving"],
}


@pytest.mark.fault_matrix
@pytest.mark.parametrize("moment", BACK)
def test_an_operator_that_dies_in_a_rollback_leaves_one_of_both(releases: Releases, moment: str) -> None:
    """With the database that belongs to it, row by row."""
    with faults.tried("operator killed in a rollback"):
        releases.begin_with_the_old_version()
        releases.sound = False
        known, expected = releases.rows(), {OLD: releases.values() | releases.rows()}
        releases.well("update", NEW)
        data.ask(releases.stack.container, f"INSERT INTO {WRITTEN} (title) VALUES ('written with the new release')")
        expected[NEW] = releases.values() | releases.rows()
        assert releases("rollback", "--yes", fault=BACK[moment]).status == KILLED
        releases.well("resume")
        every = releases.every()
        version = releases.one_serves(every, OLD, NEW)
        assert version == (OLD if moment == "serving" else NEW)
        releases.nothing_is_left(every)
        found = releases.values() | releases.rows()
        if found != expected[version]:
            raise DataLost(f"not as it was with {version}: {sorted(found ^ expected[version])}")
        if version == NEW:
            releases.go_back(known)
        releases.well("discard", "--all", "--needed")
        releases.sound = True


# --- what else goes wrong -------------------------------------------------------------------------

CASES: dict[str, tuple[str, Callable[[Releases], None]]] = {}


def case(kind: str, name: str) -> Callable[[Callable[[Releases], None]], Callable[[Releases], None]]:
    """Give a case its name, and say among which ones it counts."""

    def keep(function: Callable[[Releases], None]) -> Callable[[Releases], None]:
        CASES[name] = kind, function
        return function

    return keep


@case("registry cut", "registry cut while images are pulled")
def registry_cut(releases: Releases) -> None:
    rule = "OUTPUT -p tcp --dport 5000 -j DROP"
    releases.have_no_image(OTHER)
    before = releases.stack.containers()
    try:
        answer = releases("update", OTHER, fault=Fault("before", "pull tamma-engine #1", f"iptables -I {rule}"))
    finally:
        releases.stack.shell(f"iptables -D {rule}")
    assert answer.status == 1, answer.said
    assert "The stack was not changed" in answer.said, answer.said
    assert releases.stack.containers() == before
    update_again(releases, OTHER)


@case("disk full", "backup disk full")
def backup_disk_full(releases: Releases) -> None:
    settings = "/etc/tamma/tamma/backup.json"
    releases.stack.shell(f"cp -a {settings} /root/backup.json; mkdir -p /mnt/small")
    try:
        small = json.loads(releases.stack.shell(f"cat {settings}"))
        small["repositories"] = [{**small["repositories"][0], "name": "small", "location": "/mnt/small/repository"}]
        releases.stack.shell(f"mount -t tmpfs -o size=2m tmpfs /mnt/small; echo '{json.dumps(small)}' > {settings}")
        refused = releases("update", NEW)
        assert refused.status == 1, refused.said
        assert "on the file system of /mnt/small/repository" in refused.said
        releases.stack.shell("mount -o remount,size=300m /mnt/small")
        fill = "dd if=/dev/zero of=/mnt/small/filler bs=1M 2>/dev/null"
        answer = releases("update", NEW, fault=Fault("before", "restic backup #1", fill))
        releases.stack.shell("umount /mnt/small")
        assert answer.status == 1, answer.said
        assert "The disk of the repository small is full" in answer.said
        assert releases.serving()["version"] == OLD
        update_again(releases, NEW)
        assert "before release" in json.dumps(releases("backups").result["repositories"])
    finally:
        releases.stack.shell(f"cp -a /root/backup.json {settings}; umount -q /mnt/small; rm -rf /mnt/small")


def disk_full(phase: str) -> Callable[[Releases], None]:
    """Everything that the engine and the stack's volumes are on, from a moment on until somebody makes room."""

    def happen(releases: Releases) -> None:
        fill = "dd if=/dev/zero of=/var/lib/docker/filler bs={} 2>/dev/null"
        pulls = phase == "pulling"
        if pulls:
            releases.have_no_image(OTHER)
        with engine_disk(releases, 1200 if pulls else 400):
            target = OTHER if pulls else NEW
            answer = releases(
                "update",
                target,
                fault=PHASES[phase]._replace(
                    script=f"{fill.format('1M')}; {fill.format('1k').replace('filler', 'rest')}"
                ),
            )
            print(f"    status {answer.status}: {answer.said[-1500:]}", flush=True)
            assert answer.status != 0, answer.said
            releases.stack.shell("rm -f /var/lib/docker/filler /var/lib/docker/rest")
            releases.well("resume")

    return happen


for moment in ("pulling", "copying", "coming up"):
    case("disk full", f"engine's disk full, {moment}")(disk_full(moment))


@contextlib.contextmanager
def engine_disk(releases: Releases, room: int) -> Iterator[None]:
    """A file system of its own for the engine, with so many MiB of room."""
    stop = "systemctl stop tamma-stack docker.socket docker containerd"
    start = "systemctl start containerd docker tamma-stack"
    disk, mounted = "/mnt/disk", "/var/lib/docker"
    releases.stack.shell(
        f"{stop}; mkdir -p {disk}; size=$(du -sm {mounted} | cut -f 1); "
        f"mount -t tmpfs -o size=$((size + {room}))m tmpfs {disk} && cp -a {mounted}/. {disk} && "
        f"mount --bind {disk} {mounted} && {start}"
    )
    try:
        yield
    finally:
        releases.stack.shell(
            f"{stop}; rm -f {disk}/filler {disk}/rest; umount {mounted} && find {mounted} -mindepth 1 -delete; "
            f"cp -a {disk}/. {mounted} && umount {disk}; {start}"
        )


@contextlib.contextmanager
def held(releases: Releases, phase: str) -> Iterator[None]:
    """An update by tammactl that waits in a phase until the block has ended; then it has to succeed."""
    releases.stack.shell("rm -f /root/held /root/go")
    script = "touch /root/held; until [ -e /root/go ]; do sleep 0.1; done"
    with ThreadPoolExecutor(1) as pool:
        update = pool.submit(releases, "update", NEW, fault=PHASES[phase]._replace(script=script))
        try:
            releases.stack.shell("for i in $(seq 600); do [ -e /root/held ] && exit 0; sleep 0.1; done; exit 1")
            yield
        finally:
            releases.stack.shell("touch /root/go")
    assert update.result().status == 0, update.result().said


@case("two controllers", "a second one in the middle of an update")
def two_controllers(releases: Releases) -> None:
    with held(releases, "stopped"):
        told = "is being worked on by an update (process"
        for words in (("update", OTHER), ("rollback",), ("resume",)):
            busy = releases(*words)
            assert busy.status == BUSY
            assert told in busy.said
        refused = releases.play("site", tamma_stack_version=OTHER)
        assert refused.status == 2
        assert told in refused.output
    assert releases.serving()["version"] == NEW


@case("two controllers", "both at the same moment")
def both_at_once(releases: Releases) -> None:
    number = releases.next_number()
    with ThreadPoolExecutor(1) as pool:
        played = pool.submit(releases.play, "site", tamma_stack_version=NEW)
        releases.stack.shell("for i in $(seq 600); do [ -s /run/tamma/tamma.lock ] && exit 0; sleep 0.1; done; exit 1")
        assert not releases.well("--wait", "300", "update", NEW)["changed"]
    assert played.result().status == 0, played.result().output
    assert releases.serving()["version"] == NEW
    assert releases.next_number() == number + 1


def network_cut(phase: str) -> Callable[[Releases], None]:
    """The host loses its network, and the controller the host; the next run of the playbook finds what there is."""

    def happen(releases: Releases) -> None:
        gateway = releases.stack.shell("ip route show default | cut -d ' ' -f 3").strip()
        cut = PHASES[phase]._replace(script="ip link set eth0 down")
        faults.arm(releases.stack.container, cut)
        here = {"tamma_stack_version": NEW, "ansible_python_interpreter": faults.PYTHON}
        before = dict(releases.stack.env)
        releases.stack.env["ANSIBLE_SSH_ARGS"] = KEEP_ALIVE
        try:
            lost = releases.play("site", **here)
            print(f"    status {lost.status}", flush=True)
            assert lost.status == 4, lost.output
            assert "UNREACHABLE" in lost.output
            assert cut.effect in faults.effects(releases.stack.container)
        finally:
            releases.stack.env.clear()
            releases.stack.env.update(before)
            releases.stack.shell(f"ip link set eth0 up; ip route replace default via {gateway}")
        play_again(releases, NEW)

    return happen


#: A controller that finds out in seconds that nobody answers; a shared connection would be as patient as who made it.
KEEP_ALIVE = "-o ControlMaster=no -o ServerAliveInterval=2 -o ServerAliveCountMax=3"
for moment in ("holding requests", "serving"):
    case("network cut", f"network cut, {moment}")(network_cut(moment))


@case("somebody's hand", "stack taken down")
def stack_taken_down(releases: Releases) -> None:
    """What comes up then migrates the database all the same."""
    releases.stack.shell("cd /opt/tamma && docker compose down")
    update_again(releases, NEW)
    assert releases.serving()["mode"] == "guarded"


@pytest.mark.fault_matrix
@pytest.mark.parametrize("name", CASES)
def test_whatever_else_fails_in_an_update_comes_to_one_release(releases: Releases, name: str) -> None:
    kind, happen = CASES[name]
    with faults.tried(f"{kind} in an update"), releases.promised(NEW, OTHER):
        happen(releases)


# --- on Podman ------------------------------------------------------------------------------------

#: What runs the containers is not what answers: that is a service which begins anew with the next question.
KILL_PODMAN = "pkill -9 -f 'podman .*system service'"
ON_PODMAN = {
    "operator killed": ("", resume, ("stopped", "copying", "copied", "coming up", "serving")),
    "engine killed": (KILL_PODMAN, resume_and_wait, ("pulling", "holding requests", "copied", "coming up", "serving")),
    "host rebooted": ("", reboot, ("stopped", "coming up")),
    "power cut": ("", pull_the_plug, ("copied", "coming up", "serving")),
}


@pytest.fixture(scope="module")
def on_podman(installation: Path) -> Iterator[Releases]:
    """The same stack on a host of its own with Podman, whose program goes there by the name of Docker's as well."""
    sandbox = f"{SANDBOX}-podman"
    with booted(sandbox):
        stack = Stack(installation, sandbox)
        stack.shell(
            "printf '#!/bin/sh\\nPODMAN_IGNORE_CGROUPSV1_WARNING=1 exec podman \"$@\"\\n' > /usr/local/bin/docker; "
            "chmod +x /usr/local/bin/docker"
        )
        found = Releases(stack, tamma_runtime_engine="podman")
        found.begin_with_the_old_version()
        yield found


@pytest.mark.fault_matrix
@pytest.mark.parametrize(
    ("failure", "phase"), [(failure, phase) for failure, (*_, phases) in ON_PODMAN.items() for phase in phases]
)
def test_on_podman_an_update_that_fails_comes_to_one_release(on_podman: Releases, failure: str, phase: str) -> None:
    script, run_again, _ = ON_PODMAN[failure]
    with faults.tried(f"{failure} in an update, Podman"):
        survive(on_podman, PHASES[phase]._replace(script=script), run_again)


# --- by tammactl ----------------------------------------------------------------------------------


def test_nothing_was_cut_off(releases: Releases) -> None:
    assert releases.well("resume")["completed"] == []


@pytest.mark.fault_matrix
def test_a_release_that_does_not_come_up_is_rolled_back(releases: Releases) -> None:
    with releases.promised():
        answer = releases("update", ILL)
        assert (answer.status, answer.result["outcome"]) == (ROLLED_BACK, "rolled_back")
        assert "serves again" in answer.said
        assert [name for name in releases.databases() if "_failed_" in name]
    assert not [name for name in releases.databases() if "_failed_" in name]


@pytest.mark.fault_matrix
def test_no_container_of_a_failed_release_is_there_when_the_database_comes_back(releases: Releases) -> None:
    """One that crashes is started again by its engine, and would migrate the database once more."""
    listing = f"docker ps --all --filter label=org.opencontainers.image.version={RUINOUS} --format '{{{{.Names}}}}'"
    swap = Fault("before", 'sql ALTER DATABASE "tamma" RENAME TO "tamma_failed_…" #1', f"{listing} > /root/there")
    with releases.promised():
        answer = releases("update", RUINOUS, fault=swap)
        assert answer.status == ROLLED_BACK, answer.said
    there = releases.stack.shell("cat /root/there; rm /root/there")
    assert "dashboard" in there, "nothing was listed"
    assert not re.search("elsa|api|engine", there), there


@pytest.mark.fault_matrix
def test_what_a_failed_release_does_in_the_database_is_ended(releases: Releases) -> None:
    """The server works on for a client that is gone, and would commit that after the way back."""
    script = f"BEGIN; DELETE FROM {WRITTEN}; SELECT pg_sleep(600); COMMIT"
    at_work = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; DELETE%'"
    with releases.promised():
        assert releases("update", NEW, fault=PHASES["copied"]).status == KILLED
        releases.stack.shell(f"docker exec --detach tamma-postgres-1 psql -U tamma -d tamma -c '{script}'")
        until = time.monotonic() + SECONDS_TO_BE_WELL
        while data.ask(releases.stack.container, at_work) != "1":
            assert time.monotonic() < until
            time.sleep(0.1)
        releases.well("resume")
        assert data.ask(releases.stack.container, at_work) == "0"


@pytest.mark.fault_matrix
def test_a_database_that_a_failed_release_has_dropped_comes_back(releases: Releases) -> None:
    with releases.promised():
        assert releases("update", NEW, fault=PHASES["copied"]).status == KILLED
        drop = "DROP DATABASE tamma WITH (FORCE)"
        releases.stack.shell(f"docker exec tamma-postgres-1 psql -qU tamma -d postgres -c '{drop}'")
        releases.well("resume")


@pytest.mark.fault_matrix
def test_a_rollback_of_what_was_cut_off_goes_no_further(releases: Releases) -> None:
    with releases.promised():
        assert releases("update", NEW, fault=PHASES["copied"]).status == KILLED
        answer = releases("rollback", "--yes")
        assert answer.status == 1
        assert f"({OLD}) serves now. Nothing else was done" in answer.said


@pytest.mark.fault_matrix
@pytest.mark.parametrize("killed", [False, True])
def test_a_deploy_corrects_what_cannot_go_back(releases: Releases, killed: bool) -> None:
    """What runs got ill, a release failed, and the way back to what is ill fails as well."""
    with releases.promised():
        assert releases("update", NEW, fault=PHASES["copied"]).status == KILLED
        # What was there before is never healthy.
        path = "/opt/tamma/.tamma/before/docker-compose.yml"
        releases.stack.shell(f"sed -i '/--spider/ s#3100/api/health#3100/never#' {path} && grep -q 3100/never {path}")
        if killed:
            # What it holds at the edge is let through by whoever comes next.
            returned = Fault("after", "replace .tamma/update.json #1")
            assert releases("resume", fault=returned).status == KILLED
        answer = releases("resume")
        assert answer.status == STUCK, answer.said
        # Nobody has to wait for what is ill, and it gets requests again as well: it answers, whatever its check says.
        for path in ("/elsa-api/health", "/api/health"):
            assert releases.edge().ask("GET", path).json()["version"] == OLD
        # Another try stops nobody who serves, and is told of once.
        there, told = releases.stack.containers(), releases.log()
        assert releases("resume").status == STUCK
        assert releases.stack.containers() == there
        assert releases.log() == told
        outcome = releases.play("site", tamma_stack_deadline=15)
        assert outcome.status == 0, outcome.output


@pytest.mark.fault_matrix
def test_an_edge_that_cannot_hold_keeps_nothing_from_going_back(releases: Releases) -> None:
    with releases.promised():
        assert releases("update", NEW, fault=PHASES["copied"]).status == KILLED
        releases.stack.shell("echo 'no configuration {' >> /opt/tamma/edge/Caddyfile")
        answer = releases("resume")
        assert answer.status == 0, answer.said
        assert "requests do not wait: The edge refuses" in answer.said, answer.said


@pytest.mark.fault_matrix
def test_a_service_without_containers_is_in_nobodys_way(releases: Releases) -> None:
    nobody = {"services": {"tamma-dashboard": {"deploy": {"replicas": 0}}}}
    assert releases.play("site", tamma_stack_overrides=nobody).status == 0
    try:
        updated = releases.play("site", tamma_stack_version=NEW, tamma_stack_overrides=nobody)
        assert updated.status == 0, updated.output
        assert releases.edge().ask("GET", "/api/health").json()["version"] == NEW
        assert releases.well("rollback")["release"]
        assert releases.edge().ask("GET", "/api/health").json()["version"] == OLD
        assert {service for service, _ in releases.running()} == set(releases.services) - {"tamma-dashboard"}
    finally:
        assert releases.play("site").status == 0


@pytest.mark.fault_matrix
def test_images_of_former_releases_may_be_removed(releases: Releases) -> None:
    for _ in range(2):
        with releases.promised(NEW):
            update_again(releases, NEW)
        releases.stack.shell("docker image prune --all --force")


@pytest.mark.fault_matrix
def test_a_missing_image_changes_nothing(releases: Releases) -> None:
    before = releases.stack.containers()
    with releases.promised():
        assert releases("update", "9.9.9").status == 1
    assert releases.stack.containers() == before


def test_the_log_tells_of_every_release(releases: Releases) -> None:
    log = releases.log()
    assert len(log) > 2
    assert {one["what"] for one in log} <= {"deploy", "rollback", "resume"}
    assert releases.stack.shell("stat -c %a /var/log/tamma/tamma.log").strip() == "640"
