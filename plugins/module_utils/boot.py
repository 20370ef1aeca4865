# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd unit that brings the stack back after a boot, and stops it in good order before one.

No engine does that alone: Podman starts nothing that is "unless-stopped", Docker starts everything at
once, and with live-restore Docker leaves the containers to systemd, which sends PostgreSQL a signal
that it does not end on in time.
"""

from __future__ import annotations

import os
from typing import Optional, Sequence

from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.engine import PROJECT_LABEL, kind
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, FileChange, compare, read, replace
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner

UNITS = "/etc/systemd/system"
_WANTED_BY = "multi-user.target"

_UNIT = """\
# Written by the meywd.tamma collection: a change by hand lasts until the next deploy.
[Unit]
Description=The stack {project} (Docker Compose on {engine})
After=network-online.target {needs}
# Not "Requires": containers outlive a restart of their engine.
Wants=network-online.target {needs}
RequiresMountsFor="{directory}"

[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory={directory}
Environment={host} HOME=/root
ExecStartPre=/bin/mkdir -p -m 0700 /run/tamma
# First what was cut off when the host went down: until then the files may be those of a release that never served.
ExecStartPre=/bin/sh -c '\\
    test -x {tammactl} || exit 0; \\
    for journal in update restore rotation; do \\
        test -e .tamma/$$journal.json || continue; \\
        exec {tammactl} --stack {project} --wait 600 resume; \\
    done'
# In the order of the dependencies, each when what it needs is healthy, and not beside a deploy.
{start}
{stop}
TimeoutStartSec=20min
TimeoutStopSec=5min
# Something that was unhealthy for a moment.
Restart=on-failure
RestartSec=15s

[Install]
WantedBy={wanted_by}
"""

_UP = "/usr/bin/flock /run/tamma/{project}.lock {compose} up --detach --no-build --no-recreate --pull never"

# By engine: how the stack starts and stops.
_COMMANDS = {
    "docker": ("ExecStart={up}", "ExecStop={compose} stop"),
    "podman": (
        """\
# What starts is probed every second; by itself Podman would do that at the long intervals.
ExecStart=/bin/sh -c '\\
    probe() {{ \\
        starting=$$(/usr/bin/podman ps --quiet --filter label={label}={project} --filter health=starting); \\
        for id in $$starting; do /usr/bin/podman --events-backend none healthcheck run $$id; done; \\
        test -n "$$starting"; \\
    }} >/dev/null 2>&1; \\
    while sleep 1; do probe; done & \\
    {up} || exit; \\
    kill $$!; while probe; do sleep 1; done'""",
        """\
# While the system goes down, systemd starts no podman.service for a question to its socket any more, and has
# ended what knows the containers' names, whose absence is an error after each stop: hence once more.
ExecStop=/bin/sh -c '\\
    rm -f {own}; \\
    /usr/bin/podman system service --time 0 unix://{own} & \\
    tries=0; until test -S {own} || test $$tries = 100; do tries=$$((tries + 1)); sleep 0.1; done; \\
    for try in 1 2 3 4 5 6 7 8; do DOCKER_HOST=unix://{own} {compose} stop && break; done; kill $$!'""",
    ),
}

TAMMACTL = "/usr/local/bin/tammactl"

# Where Debian's package has it; only for the plan of a host that has no Compose yet.
_COMPOSE = "/usr/libexec/docker/cli-plugins/docker-compose"


def unit(project: str, directory: str, socket: str, compose: Optional[str], stopping: Sequence[str] = ()) -> str:
    """The unit's text. *stopping*: what its log says before the stack stops."""
    engine = kind(socket)
    words = {"project": project, "compose": compose or _COMPOSE, "label": PROJECT_LABEL}
    words.update(up=_UP.format(**words), own="/run/tamma/%s-stop.sock" % project)
    start, stop = _COMMANDS[engine]
    return _UNIT.format(
        project=project,
        directory=directory.replace("%", "%%"),
        engine={"docker": "Docker", "podman": "Podman"}[engine],
        host=_assigned("DOCKER_HOST=unix://" + socket),
        needs={"docker": "docker.service", "podman": "podman.socket"}[engine],
        tammactl=TAMMACTL,
        start=start.format(**words),
        stop="".join("ExecStop=/bin/echo %s\n" % _quoted(text) for text in stopping) + stop.format(**words),
        wanted_by=_WANTED_BY,
    )


def _assigned(text: str) -> str:
    """A variable of a unit, where % alone means something, quoted where it has to be."""
    text = text.replace("%", "%%")
    return '"%s"' % text if " " in text else text


def _quoted(text: str) -> str:
    """One word for systemd, which puts something in the place of % and $."""
    for sign, instead in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(sign, instead)
    return '"%s"' % text


class Boot:
    """The unit of one stack on this host."""

    def __init__(self, project: str, directory: str, socket: str, runner: Runner, units: str = UNITS) -> None:
        self.name = "%s-stack.service" % project
        self._units = units
        self._runner = runner
        self.path = os.path.join(units, self.name)
        self._of_stack = (project, directory, socket)
        self.tell(())

    def tell(self, stopping: Sequence[str]) -> None:
        """Have the unit's log say before the stack stops what is lost then."""
        self._file = File(self.name, unit(*self._of_stack, find_compose(), stopping))

    def change(self) -> Optional[FileChange]:
        """What is to be done: create or update the unit, or only enable or start it; None for nothing."""
        for change in compare(self._units, [self._file]):
            return FileChange(self.path, change.action, change.diff)
        if not os.path.lexists(os.path.join(self._units, _WANTED_BY + ".wants", self.name)):
            return FileChange(self.path, "enable", "")
        # A unit that is not active does not stop the stack before a reboot.
        if self._systemctl("is-active", "--quiet").rc:
            return FileChange(self.path, "start", "")
        return None

    def install(self) -> None:
        """Make the unit so, enabled and active. The stack has to run, and its lock to be free."""
        if read(self.path) != self._file.content:
            replace(self.path, self._file.content, self._file.mode)
        self._must("daemon-reload")
        self._must("enable", "--quiet")
        self._must("start")

    def exists(self) -> bool:
        """Whether the unit is there at all."""
        return os.path.lexists(self.path)

    def remove(self) -> None:
        """Stop the stack as before a reboot, and take the unit away."""
        self._systemctl("disable", "--now", "--quiet")
        if self.exists():
            os.unlink(self.path)
        self._must("daemon-reload")
        self._systemctl("reset-failed", "--quiet")

    def _systemctl(self, verb: str, *options: str) -> Result:
        names = [] if verb == "daemon-reload" else [self.name]
        return self._runner.run(["systemctl", verb, *options, *names], timeout=1300)

    def _must(self, verb: str, *options: str) -> None:
        done = self._systemctl(verb, *options)
        if done.rc:
            raise OperatorError(
                "The stack runs, but it would not come back after a reboot: 'systemctl %s %s' failed (%s). Look at "
                "'journalctl -u %s' and run this again."
                % (verb, self.name, " ".join(done.err.split()).rstrip(".") or "it said nothing", self.name),
                rc=done.rc,
            )
