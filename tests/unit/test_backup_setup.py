# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What backups need on a host, written below a directory; a program in systemctl's place tells how it was called."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import backup_setup
from ansible_collections.meywd.tamma.plugins.module_utils.backup_setup import (
    COMPLETION,
    SHARED,
    STORE_CACHE,
    TAMMACTL,
    UNITS,
    Setup,
    Wanted,
    files,
)
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import Configuration, configuration
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Repository
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

SETTINGS = Configuration(
    project="tamma",
    directory="/opt/tamma",
    engine_socket="/var/run/docker.sock",
    repositories=[
        Repository("local", "/var/backups/tamma", "/etc/tamma/tamma/repository-local.password"),
        Repository(
            "s3", "s3:https://host/b", "/etc/tamma/tamma/repository-s3.password", {"AWS_ACCESS_KEY_ID": "canary"}
        ),
    ],
    keep={"last": 3},
    check_subset="5%",
    notify_command="",
    notify_webhook="",
    metrics_file="",
    overdue_hours={"backup": 50},
)
WANTED = Wanted(
    configuration=SETTINGS,
    passwords={"local": "canary-one", "s3": "canary-two"},
    schedule={"backup": "*-*-* 02:30:00", "drill": "Sun *-*-* 05:00:00", "check": "", "prune": "daily"},
    random_delay=900,
    tammactl=b"#!/usr/bin/env python3\nPK...",
    completion="complete -F _tammactl tammactl\n",
)


@dataclasses.dataclass
class Host:
    """A host's files below a directory, and what systemd was told."""

    root: Path

    def setup(self, wanted: Wanted = WANTED, present: bool = True) -> Setup:
        programs = self.root / "programs"
        return Setup(wanted, Runner({"PATH": "%s:%s" % (programs, os.environ["PATH"])}), str(self.root), present)

    def converge(self, wanted: Wanted = WANTED, present: bool = True) -> list[tuple[str, str]]:
        setup = self.setup(wanted, present)
        changes = setup.changes()
        (self.root / "told").write_text("", encoding="utf-8")
        if changes:
            setup.apply(changes)
        return [(change.path, change.action) for change in changes]

    def told(self) -> list[str]:
        return (self.root / "told").read_text(encoding="utf-8").splitlines()

    def tree(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.root))
            for place in ("etc", "usr", "var")
            for path in (self.root / place).rglob("*")
            if not path.is_dir()
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with what every system has. systemctl enables and disables, and knows of one that is stopped."""
    for place in ("etc/systemd/system", "usr/local/bin", "usr/local/share", "var/lib", "var/cache", "programs"):
        (tmp_path / place).mkdir(parents=True)
    units = tmp_path / UNITS
    program = tmp_path / "programs" / "systemctl"
    program.write_text(
        "#!/bin/bash\n"
        f'printf "%s\\n" "$*" >> {tmp_path}/told\n'
        f"wants={units}/timers.target.wants\n"
        "verb=$1; shift; units=()\n"
        'for word; do case $word in --*) ;; *) units+=("$word") ;; esac; done\n'
        "case $verb in\n"
        '  enable) mkdir -p "$wants"; for unit in "${units[@]}"; do ln -sf "../$unit" "$wants/$unit"; done ;;\n'
        '  disable) for unit in "${units[@]}"; do rm -f "$wants/$unit"; done ;;\n'
        '  is-active) for unit in "${units[@]}"; do\n'
        f'    [ -e "{tmp_path}/stopped-$unit" ] && echo inactive || echo active; done ;;\n'
        f'  restart) for unit in "${{units[@]}}"; do rm -f "{tmp_path}/stopped-$unit"; done ;;\n'
        "esac\n",
        encoding="utf-8",
    )
    analyze = tmp_path / "programs" / "systemd-analyze"
    analyze.write_text('#!/bin/sh\n[ "$3" != nonsense ]\n', encoding="utf-8")
    for path in (program, analyze):
        os.chmod(path, 0o755)
    return Host(tmp_path)


EVERY_FILE = sorted(
    [
        "etc/tamma/tamma/backup.json",
        "etc/tamma/tamma/files.json",
        "etc/tamma/tamma/repository-local.password",
        "etc/tamma/tamma/repository-s3.password",
        *("%s/tamma-%s" % (UNITS, name) for name in ("backup.service", "drill.service", "prune.service")),
        *("%s/tamma-%s" % (UNITS, name) for name in ("backup.timer", "drill.timer", "prune.timer")),
        *("%s/timers.target.wants/tamma-%s.timer" % (UNITS, name) for name in ("backup", "drill", "prune")),
        *SHARED,
    ]
)


def test_a_bare_host_gets_everything(host: Host) -> None:
    changes = host.converge()
    assert {action for _path, action in changes} == {"create"}
    assert host.tree() == EVERY_FILE
    assert host.told() == [
        "daemon-reload",
        "enable --quiet tamma-backup.timer tamma-drill.timer tamma-prune.timer",
        "restart tamma-backup.timer tamma-drill.timer tamma-prune.timer",
    ]


def test_a_second_run_changes_nothing(host: Host) -> None:
    host.converge()
    assert host.converge() == []
    assert host.told() == []


def test_finished_workflows_go_by_a_timer_that_needs_no_repository(host: Host) -> None:
    settings = SETTINGS._replace(repositories=[])
    schedule = {**WANTED.schedule, "workflows": "*-*-* 01:30:00"}
    wanted = WANTED._replace(configuration=settings, passwords={}, schedule=schedule, keep_workflows="30d", store=False)
    units = [f"{UNITS}/tamma-workflows.service", f"{UNITS}/tamma-workflows.timer"]
    host.converge(wanted._replace(keep_workflows=""))
    assert not any("workflows" in name for name in host.tree())
    assert set(units) < {path for path, _action in host.converge(wanted)}
    assert " prune --workflows-finished-before 30d\n" in (host.root / units[0]).read_text(encoding="utf-8")
    assert "OnCalendar=*-*-* 01:30:00\n" in (host.root / units[1]).read_text(encoding="utf-8")
    assert host.converge(wanted) == []
    host.converge(wanted._replace(keep_workflows=""))
    assert host.told()[0] == "disable --now tamma-workflows.timer"
    assert not any("workflows" in name for name in host.tree())


def test_only_root_may_read_what_is_secret(host: Host) -> None:
    host.converge()
    for path in (host.root / "etc/tamma").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    for name in host.tree():
        content = (host.root / name).read_text(encoding="utf-8") if not (host.root / name).is_symlink() else ""
        if "canary" in content:
            assert name.startswith("etc/tamma/"), name
    assert (host.root / TAMMACTL).stat().st_mode & 0o777 == 0o755


def test_no_secret_in_a_diff(host: Host) -> None:
    assert "canary" not in "".join(change.diff for change in host.setup().changes())


def test_settings_are_read_back_as_they_were(host: Host) -> None:
    host.converge()
    found = configuration("tamma", str(host.root / "etc/tamma"))
    assert found._replace(overdue_hours=dict(found.overdue_hours)) == SETTINGS._replace(
        repositories=[item._replace(environment=dict(item.environment)) for item in SETTINGS.repositories]
    )


def test_another_time_is_taken_over(host: Host) -> None:
    host.converge()
    wanted = WANTED._replace(schedule={**WANTED.schedule, "backup": "hourly"})
    assert host.converge(wanted) == [("%s/tamma-backup.timer" % UNITS, "update")]
    assert "OnCalendar=hourly\n" in (host.root / UNITS / "tamma-backup.timer").read_text(encoding="utf-8")
    assert host.told()[0] == "daemon-reload"


def test_a_timer_that_is_not_wanted_any_more_goes(host: Host) -> None:
    host.converge()
    changes = host.converge(WANTED._replace(schedule={**WANTED.schedule, "drill": ""}))
    assert ("%s/tamma-drill.timer" % UNITS, "remove") in changes
    assert "disable --now tamma-drill.timer" in host.told()
    assert not [name for name in host.tree() if "drill" in name]


@pytest.mark.parametrize("how", ["stopped", "disabled"])
def test_a_timer_that_does_not_run_is_started(host: Host, how: str) -> None:
    host.converge()
    if how == "stopped":
        (host.root / "stopped-tamma-backup.timer").touch()
    else:
        (host.root / UNITS / "timers.target.wants" / "tamma-backup.timer").unlink()
    assert host.converge() == [("%s/tamma-backup.timer" % UNITS, "enable")]
    assert host.converge() == []


def test_a_time_that_systemd_does_not_understand(host: Host) -> None:
    wanted = WANTED._replace(schedule={"backup": "nonsense"})
    with pytest.raises(OperatorError, match="tamma_backup_schedule has the time 'nonsense' for backup"):
        host.setup(wanted).changes()
    assert host.tree() == []


def test_a_repository_that_is_gone_takes_its_password_along(host: Host) -> None:
    host.converge()
    wanted = WANTED._replace(
        configuration=SETTINGS._replace(repositories=SETTINGS.repositories[:1]), passwords={"local": "canary-one"}
    )
    assert ("etc/tamma/tamma/repository-s3.password", "remove") in host.converge(wanted)
    assert "canary-two" not in "".join(
        (host.root / name).read_text(encoding="utf-8") for name in host.tree() if name.startswith("etc/tamma")
    )


def test_without_a_repository_nothing_runs_by_itself(host: Host) -> None:
    wanted = WANTED._replace(configuration=SETTINGS._replace(repositories=[]), passwords={})
    host.converge(wanted)
    assert host.tree() == sorted(["etc/tamma/tamma/backup.json", "etc/tamma/tamma/files.json", *SHARED])
    assert configuration("tamma", str(host.root / "etc/tamma")).repositories == []


def test_no_timer_before_there_is_restic(host: Host) -> None:
    host.converge(WANTED._replace(store=False))
    assert not [name for name in host.tree() if name.startswith(UNITS)]
    host.converge()
    assert host.tree() == EVERY_FILE


def fill(host: Host) -> None:
    """What operations leave in the course of time."""
    for name in ("var/lib/tamma/tamma/backups.json", "var/cache/tamma-restic/x/index", "var/lib/node/tamma.prom"):
        (host.root / name).parent.mkdir(parents=True, exist_ok=True)
        (host.root / name).touch()


def test_everything_goes_and_what_was_there_before_stays(host: Host) -> None:
    wanted = WANTED._replace(configuration=SETTINGS._replace(metrics_file="/var/lib/node/tamma.prom"))
    host.converge(wanted)
    fill(host)
    host.converge(wanted, present=False)
    assert host.tree() == []
    for gone in ("etc/tamma", "var/lib/tamma", STORE_CACHE, "usr/local/share/bash-completion"):
        assert not (host.root / gone).exists(), gone
    for kept in ("etc/systemd/system", "usr/local/bin", "usr/local/share", "var/lib/node"):
        assert (host.root / kept).is_dir(), kept
    assert host.told() == [
        "disable --now tamma-backup.timer tamma-drill.timer tamma-prune.timer",
        "stop tamma-backup.service tamma-drill.service tamma-prune.service",
        "daemon-reload",
    ]
    assert host.converge(wanted, present=False) == []


def test_another_stack_keeps_what_both_use(host: Host) -> None:
    host.converge()
    fill(host)
    other = WANTED._replace(configuration=SETTINGS._replace(project="other"))
    host.converge(other)
    host.converge(present=False)
    assert set(SHARED) <= set(host.tree())
    assert (host.root / STORE_CACHE).exists()
    assert not [name for name in host.tree() if name.startswith("etc/tamma/tamma/")]
    assert host.converge(other) == []
    host.converge(other, present=False)
    assert host.tree() == ["var/lib/node/tamma.prom"]


def test_a_removal_that_was_cut_off_is_completed(host: Host) -> None:
    number = 0
    removed = 1
    while removed >= number:
        number += 1
        host.converge()
        removed = cut_off(number, lambda: host.converge(present=False))
        host.converge(present=False)
        assert host.tree() == []
    assert number > len(EVERY_FILE) / 2


def cut_off(number: int, work: Callable[[], object]) -> int:
    """Do the work, interrupted when it removes its file with that number; return how many it tried to remove."""
    count = 0
    unlink = os.unlink

    def removing(path: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            raise KeyboardInterrupt
        unlink(path)

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(os, "unlink", removing)
        work()
    return count


def test_a_failure_of_systemd_says_what_to_do(host: Host) -> None:
    program = host.root / "programs" / "systemctl"
    program.write_text("#!/bin/sh\necho Unit is bad. >&2\n[ $1 != restart ]\n", encoding="utf-8")
    with pytest.raises(
        OperatorError, match=r"^'systemctl restart .+' failed: Unit is bad\. Check tamma_backup_schedule"
    ):
        host.converge()


def test_units_wait_for_whoever_is_at_work_and_name_their_stack() -> None:
    units = {item.path: item.content for item in files(WANTED)}
    service = units["%s/tamma-backup.service" % UNITS]
    assert "ExecStart=/usr/local/bin/tammactl --stack tamma --wait 7200 backup --reason scheduled\n" in service
    assert "RandomizedDelaySec=900\n" in units["%s/tamma-backup.timer" % UNITS]
    assert COMPLETION in units


def test_the_record_names_every_file(host: Host) -> None:
    host.converge()
    recorded = json.loads((host.root / "etc/tamma/tamma/files.json").read_text(encoding="utf-8"))
    own = {name for name in host.tree() if "wants" not in name and name not in (TAMMACTL, "etc/tamma/tamma/files.json")}
    assert set(recorded) == own
    assert backup_setup.records("tamma") == "var/lib/tamma/tamma/backups.json"


def test_a_key_is_the_operators_or_stays_the_hosts_own(host: Host) -> None:
    path = host.root / "etc/tamma/tamma/backup-signing.key"
    host.converge()
    assert not path.exists()
    # As the first backup makes it.
    path.write_text("own\n", encoding="utf-8")
    assert host.converge() == []
    given = WANTED._replace(signing_key="given")
    assert ("etc/tamma/tamma/backup-signing.key", "update") in host.converge(given)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "given" not in "".join(change.diff for change in host.setup(given._replace(signing_key="other")).changes())
    # None is given any more: it stays, or nothing of before could be restored.
    host.converge()
    assert path.read_text(encoding="utf-8") == "given\n"
    host.converge(present=False)
    assert not path.exists()
