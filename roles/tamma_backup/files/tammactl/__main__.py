# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tammactl: the collection's operator on the host, for timers and for people without a controller.

The same code as the Ansible modules; this is only its command line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, TextIO

from ansible_collections.meywd.tamma.plugins.module_utils import (
    audit,
    doctor,
    elsa,
    images,
    on_host,
    operations,
    plan_result,
    restore,
    status,
    update,
)
from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose, last_line
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import (
    CONFIGURATION,
    configuration,
    settings_file,
)
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError, of_the_system
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Busy, being_worked_on
from ansible_collections.meywd.tamma.plugins.module_utils.printable import printable
from ansible_collections.meywd.tamma.plugins.module_utils.restic import PROGRAM_PATH
from ansible_collections.meywd.tamma.plugins.module_utils.room import human
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

# Exit statuses.
DONE, FAILED, USAGE, UNWELL, BUSY, ROLLED_BACK, STUCK, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130

_ABOUT = """\
Looks after the Tamma stack of this host.

  tammactl status                 how every service is, and whether the backups are in time
  tammactl releases               which releases this host had, and which one serves
  tammactl update 0.3.0 --plan    say what an update would do
  tammactl update 0.3.0           put another version in the place of the present one
  tammactl rollback --plan        say what going back to the release before would do
  tammactl rollback               go back to it
  tammactl resume                 complete what was cut off
  tammactl backup                 take a backup now, and read it back
  tammactl backups                list the backups, and what former restores keep
  tammactl restore latest --plan  say what a restore would do
  tammactl restore latest         put the newest backup's data in the place of today's
  tammactl discard --all          remove what former restores and releases keep
  tammactl drill                  prove that the newest backup can be restored
  tammactl doctor                 what is wrong with this host, and what to do

'tammactl COMMAND --help' says more about each. Timers run backup, prune, check and drill by themselves
('systemctl list-timers'); 'journalctl -u STACK-backup' shows what became of them.
"""

_STATUSES = """\
Exit status:
  0    done; with status and doctor: all is well
  1    it failed, and the last line says why and what to do
  2    the command line is wrong
  3    the stack, its backups or the host are not well (status, doctor)
  4    another operation is at work on the stack (see --wait)
  5    the release failed, and the former one serves again (update, rollback)
  6    it failed half-way; the last lines say what stands, and what to type next (update, rollback, resume)
  130  interrupted

Results go to standard output, with --json as one JSON object, in which "ok" says whether all is well; a
failure is {"ok": false, "problem": "..."}. What happens meanwhile goes to standard error.
"""

# With which Compose makes room for a line, colour or not.
_ERASE = re.compile(r"^\x1b\[\d*[A-Z]")

_BACKUPS = """\
A backup is named by 'latest', by its id or the beginning of it ('tammactl backups' lists them), by
tag:NAME, or by a time such as 2026-01-31T12:00:00Z or 2026-01-31, which means the newest backup that is
not after it.
"""

# What each command does, for --help.
_HELP = {
    "status": (
        "show every service and whether the backups are in time",
        "Asks the engine for every container, and looks up when each operation on the backups last went well.",
    ),
    "releases": (
        "list the releases of this host, which one serves, and what became of the others",
        (
            "Every deploy that changed something is a release. The last ones are kept with their images and files,\n"
            "ready for 'tammactl rollback'. A star marks the one that serves. WAY BACK says from what a rollback\n"
            "would bring the database back: a copy or a backup; 'not needed' if its schema is the same since, and\n"
            "'none' if such a rollback is refused. --log shows the audit log instead, which knows every release\n"
            "that there ever was, and who did what to it from where."
        ),
    ),
    "update": (
        "put another version of Tamma in the place of the present one",
        (
            "Everything else stays as the last deploy from the inventory made it; the next one brings back the\n"
            "version that the inventory names, so change it there, too. The images are pulled first. If services\n"
            "that write to the database get another image, it is copied before; if the new version does not come\n"
            "up, the former one serves again, with the database as it was (exit status 5). It goes on when your\n"
            "connection breaks off. --plan says what would happen, and pulls nothing."
        ),
    ),
    "rollback": (
        "go back to a former release",
        (
            "Brings back the images and files of a release that 'tammactl releases' lists, with today's secrets.\n"
            "The database goes back only if its schema has changed since; then the copy from before takes its\n"
            "place, and the present one is kept under a name, with every row that was written since. On a terminal\n"
            "it says what happens, and asks. If the former release does not come up, the present one serves again."
        ),
    ),
    "resume": (
        "complete an update, a restore or a rotation of secrets that was cut off",
        (
            "When an operator or the host died in the middle. An update goes back to the former release unless\n"
            "the new one served already. A boot does the same by itself, and so does whoever works on the stack\n"
            "next. If there is nothing to complete, it says so."
        ),
    ),
    "backup": (
        "take a backup and read it back",
        (
            "Dumps the database while the stack serves, stores it with the broker's definitions, the volumes and the\n"
            "release in every repository, and reads all of it back. What cannot be read back is no backup."
        ),
    ),
    "backups": (
        "list the backups, their sizes and ages, when they were last proven, and what restores and releases keep",
        "Asks every repository. What former restores and releases left is listed with the room that it takes.",
    ),
    "restore": (
        "put a backup's data in the place of today's, which is kept",
        (
            "Restores into a new database beside the live one and compares it with what was backed up. Then the\n"
            "services that write are stopped for some seconds, and the new database takes the name of the live one,\n"
            "which stays under a dated name. A failure before that leaves everything as it is. On a terminal it asks\n"
            "before it begins.\n\n" + _BACKUPS
        ),
    ),
    "discard": (
        "remove what former restores and releases keep",
        (
            "Former databases and files of volumes stay after a restore, for whoever wants to go back, and so does\n"
            "what a failed release made of the database. 'tammactl backups' lists them. The copy of the database\n"
            "that a rollback needs stays unless you say --needed. On a terminal it asks before it begins."
        ),
    ),
    "drill": (
        "restore a backup where it disturbs nobody, compare it, and remove it",
        "Proves that a backup can be restored, without touching anything that is served.\n\n" + _BACKUPS,
    ),
    "check": (
        "check the integrity of the stored data",
        "Checks the structure of every repository, and reads a part of the data (tamma_backup_check_subset).",
    ),
    "prune": (
        "remove the backups that the retention does not keep, or finished workflows",
        (
            "Keeps what tamma_backup_keep says, always the newest backup, and frees the room of the others.\n\n"
            "With --workflows-finished-before it removes workflows of ELSA instead, which keeps every one for ever:\n"
            "those that ended so long ago, never one that runs or waits, and one that has failed with --failed alone\n"
            "(tamma_backup_keep_workflows has a timer do it)."
        ),
    ),
    "logs": (
        "show what the services wrote",
        "With --json each line is an object with service, container, time and text; with --follow, one a line.",
    ),
    "doctor": (
        "look for what is wrong with this host, and say what to do",
        (
            "Looks at the engine, the services, what was interrupted, the disks, the timers and the backups, and\n"
            "whether the stack can do its work. For that it asks api.github.com whether the token works, unless\n"
            "tamma_stack_check_github is false. It changes nothing."
        ),
    ),
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    plain = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog="tammactl", description=_ABOUT, epilog=_STATUSES, formatter_class=plain)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add_common(to: argparse.ArgumentParser, **defaults: Any) -> None:
        """Before the command and behind it, where most people write them; the latter only set what is given."""
        to.set_defaults(**defaults)
        unset = argparse.SUPPRESS
        to.add_argument(
            "--stack", default=unset, metavar="NAME", help="the stack (default: TAMMA_STACK, else the host's only one)"
        )
        to.add_argument("--json", action="store_true", default=unset, help="print the result as JSON")
        to.add_argument(
            "--wait",
            type=_seconds,
            default=unset,
            metavar="SECONDS",
            help="wait so long for another operation on the stack to end (default: leave at once)",
        )

    def add(name: str) -> argparse.ArgumentParser:
        summary, text = _HELP[name]
        command = commands.add_parser(name, help=summary, description=text, formatter_class=plain)
        add_common(command)
        return command

    def add_repository(command: argparse.ArgumentParser, which: str) -> None:
        command.add_argument("--repository", default="", metavar="NAME", help=which)

    def add_yes(command: argparse.ArgumentParser) -> None:
        command.add_argument("--yes", action="store_true", help="do not ask")

    add_common(top, stack=os.environ.get("TAMMA_STACK", ""), json=False, wait=0.0)
    add("status")
    command = add("releases")
    command.add_argument("--log", action="store_true", help="show the audit log instead")
    command = add("update")
    command.add_argument("version", metavar="VERSION", help="of Tamma, such as 0.3.0")
    command.add_argument("--reason", default="", help="stands in the list of releases")
    command.add_argument("--plan", action="store_true", help="say what would happen, and change nothing")
    command = add("rollback")
    command.add_argument(
        "release", nargs="?", type=int, default=0, metavar="RELEASE", help="its number (default: the one before)"
    )
    command.add_argument("--plan", action="store_true", help="say what would happen, and change nothing")
    add_yes(command)
    add("resume")
    command = add("backup")
    command.add_argument("--reason", default="by hand", help="stands in the list of backups (default: by hand)")
    command.add_argument("--tag", action="append", default=[], help="a name to find it by; may be repeated")
    add_repository(command, "into this repository alone (default: into all)")
    add("backups")
    command = add("restore")
    command.add_argument("backup", help="which backup")
    command.add_argument(
        "--part",
        action="append",
        choices=restore.PARTS,
        help="this part; may be repeated (default: database, broker, volumes); 'files' are put aside, to be looked at",
    )
    command.add_argument("--plan", action="store_true", help="say what would happen, and change nothing")
    command.add_argument("--source", default="", metavar="STACK", help="take the backup of another stack")
    command.add_argument("--host", default="", metavar="HOST", help="take the backup of another host")
    command.add_argument("--unsigned", action="store_true", help="also one that this host has not signed")
    add_repository(command, "from this repository (default: the first)")
    add_yes(command)
    command = add("discard")
    command.add_argument("name", nargs="*", metavar="NAME", help="a database or directory of the list")
    command.add_argument("--all", action="store_true", help="all of them")
    command.add_argument("--needed", action="store_true", help="also the copy of the database that a rollback needs")
    add_yes(command)
    command = add("drill")
    command.add_argument("backup", nargs="?", default="latest", help="which backup (default: latest)")
    command.add_argument("--unsigned", action="store_true", help="also one that this host has not signed")
    add_repository(command, "from this repository alone (default: from each)")
    command = add("check")
    command.add_argument("--everything", action="store_true", help="read all of it, not a part")
    add_repository(command, "this repository alone (default: each)")
    command = add("prune")
    add_repository(command, "this repository alone (default: each)")
    command.add_argument(
        "--workflows-finished-before", default="", metavar="TIME", help="of ELSA, such as 30d; not the backups then"
    )
    command.add_argument("--failed", action="store_true", help="workflows that have failed too")
    command.add_argument("--dry-run", action="store_true", help="only count and measure those workflows")
    command = add("logs")
    command.add_argument("service", nargs="*", metavar="SERVICE", help="these services alone")
    command.add_argument("--tail", type=int, default=100, metavar="LINES", help="so many of each (default: 100)")
    command.add_argument("--follow", action="store_true", help="go on until interrupted")
    add("doctor")
    return top


def _seconds(text: str) -> float:
    value = float(text)
    if value < 0:
        raise ValueError(text)
    return value


class Progress:
    """What happens, on standard error: on a terminal with a clock and measured progress in one line that is rewritten;
    in plain lines otherwise, for the journal."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._began = time.monotonic()
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._open = False

    def __call__(self, phase: str, words: str) -> None:
        self._write(phase, words)

    def measured(self, phase: str, words: str) -> None:
        """How far something is; on a terminal the next line takes its place."""
        self._write(phase, words, self._terminal)

    @property
    def every(self) -> float:
        """How many seconds lie between two measurements that are worth being told."""
        return 0.5 if self._terminal else 5.0

    def _write(self, phase: str, words: str, passing: bool = False) -> None:
        stamp = "%6.1f s  " % (time.monotonic() - self._began) if self._terminal else ""
        line = "%s%-7s %s" % (stamp, phase, words)
        if passing:
            # A line that wraps could not be rewritten.
            line = line[: max(20, shutil.get_terminal_size().columns - 1)]
        # Nobody may be there any more who could read it: that stops no work.
        with contextlib.suppress(OSError):
            self._stream.write(("\r\x1b[K" if self._open else "") + line + ("" if passing else "\n"))
            self._stream.flush()
        self._open = passing

    def close(self) -> None:
        """Leave the cursor at the beginning of a line."""
        if self._open:
            with contextlib.suppress(OSError):
                self._stream.write("\r\x1b[K")
                self._stream.flush()
            self._open = False


def stack_name(given: str, root: str = CONFIGURATION) -> str:
    """The stack that is meant: the given one, or the only one of this host."""
    if given:
        return given
    names = sorted(os.listdir(root)) if os.path.isdir(root) else []
    found = [name for name in names if os.path.exists(settings_file(name, root))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise OperatorError("No stack of this host is known to tammactl: deploy one with site.yml.")
    raise OperatorError("This host has the stacks %s: name one with --stack." % ", ".join(found))


def main(words: Sequence[str]) -> int:
    """Do what the command line says; return the exit status."""
    line = parser()
    arguments = line.parse_args(words)
    if arguments.command == "discard" and bool(arguments.name) == arguments.all:
        line.error("discard takes either names, which 'tammactl backups' lists, or --all")
    if (
        arguments.command == "prune"
        and not arguments.workflows_finished_before
        and (arguments.failed or arguments.dry_run)
    ):
        line.error("--failed and --dry-run are for --workflows-finished-before")
    if arguments.command == "prune" and arguments.workflows_finished_before and arguments.repository:
        line.error("--repository is for backups, and --workflows-finished-before for workflows: give one of both")
    progress = Progress()
    try:
        settings = configuration(stack_name(arguments.stack))
        work = on_host.operations_of(settings, progress, arguments.wait)
        return COMMANDS[arguments.command](work, arguments)
    except Busy as exc:
        return _failed(arguments, progress, BUSY, exc.message, exc.facts)
    except update.RolledBack as exc:
        return _failed(arguments, progress, ROLLED_BACK, exc.message, exc.facts)
    except update.Stuck as exc:
        return _failed(arguments, progress, STUCK, exc.message, exc.facts)
    except OperatorError as exc:
        return _failed(arguments, progress, FAILED, exc.message, exc.facts)
    except PermissionError as exc:
        return _failed(arguments, progress, FAILED, "%s: %s. Run it as root." % (exc.filename, exc.strerror))
    except OSError as exc:
        return _failed(arguments, progress, FAILED, of_the_system(exc))
    except KeyboardInterrupt:
        return _failed(arguments, progress, INTERRUPTED, "Interrupted; the next run cleans up.")


def _end_like_an_interruption() -> None:
    """Let systemd's stop, and a connection that breaks off, be interruptions: those clean up, and are recorded."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        # With nohup it goes on.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)


def _failed(
    arguments: argparse.Namespace,
    progress: Progress,
    exit_status: int,
    problem: str,
    facts: Optional[Dict[str, Any]] = None,
) -> int:
    progress.close()
    if arguments.json:
        result = {**(facts or {}), "ok": False, "problem": problem}
        print(json.dumps(result, indent=1, sort_keys=True, default=str))
    print("tammactl: %s" % problem, file=sys.stderr)
    return exit_status


def _show(arguments: argparse.Namespace, result: Any, lines: List[str]) -> None:
    if arguments.json:
        print(json.dumps(result, indent=1, sort_keys=True))
    else:
        print(printable("\n".join(lines)))


def table(rows: Sequence[Sequence[str]]) -> List[str]:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _status(work: operations.Operations, arguments: argparse.Namespace) -> int:
    settings = work.settings
    rows = [row._asdict() for row in on_host.rows_of(settings.project, settings.directory, settings.engine_socket)]
    well = bool(rows) and all(row["ready"] for row in rows)
    lines = table(
        [("SERVICE", "CONTAINER", "STATE", "HEALTH", "SINCE")]
        + [(row["service"], row["container"] or "-", row["state"], row["health"], row["since"] or "-") for row in rows]
    )
    known = doctor.releases(settings.project, settings.directory)
    notes = status.notes(Engine(settings.engine_socket), settings.project)
    lines += ["", *_serving(known), *_begun(known), *notes]
    problems = doctor.database(settings.project, settings.directory, settings.engine_socket)
    lines += problems
    well = well and not known["pending"] and not problems
    backups = doctor.overview(settings.project)
    if backups["repositories"]:
        lines += ["", *table([_STATE_HEADINGS, *(_state(item) for item in backups["repositories"])])]
    else:
        lines += ["", "No backups are configured."]
    lines += backups["problems"]
    well = well and not backups["problems"]
    told = {key: known[key] for key in ("release", "pending", "busy", "failure")}
    found = {"services": rows, "notes": notes, "problems": problems, "backups": backups}
    _show(arguments, {"ok": well, **found, **told}, lines)
    return DONE if well else UNWELL


def _begun(known: Dict[str, Any]) -> List[str]:
    """Who is at work on the stack, or what was cut off."""
    return [being_worked_on(known["busy"]) + "."] if known["busy"] else list(known["pending"])


def _serving(known: Dict[str, Any]) -> List[str]:
    """Which release serves, and whether a later one failed."""
    if known["failure"]:
        return [known["failure"]]
    words = ["Release %d (%s) serves." % (one["number"], one["version"]) for one in known["releases"] if one["serves"]]
    return words or ["No release is known: the next deploy makes the first."]


# -- releases -------------------------------------------------------------------------------------


def _releases(work: operations.Operations, arguments: argparse.Namespace) -> int:
    if arguments.log:
        entries = audit.lines(work.settings.project)
        _show(arguments, {"ok": True, "log": entries}, log_table(entries))
        return DONE
    known = doctor.releases(work.settings.project, work.settings.directory)
    _show(arguments, {"ok": True, **known}, [*release_table(known["releases"]), *_begun(known)])
    return DONE


def release_table(releases: List[Dict[str, Any]]) -> List[str]:
    """The history as lines."""
    if not releases:
        return ["No release is known: the next deploy makes the first."]
    rows = [("", "NR", "TIME", "VERSION", "BY", "FROM", "MODE", "SECONDS", "OUTCOME", "WAY BACK", "REASON")]
    for one in releases:
        outcome = "served" if one["outcome"] == "serves" and not one["serves"] else one["outcome"]
        why = next(iter(one["problem"].splitlines()), "") or one["reason"]
        rows.append(
            (
                "*" if one["serves"] else "",
                str(one["number"]),
                one["time"],
                one["version"],
                one["by"] or "-",
                one["origin"] or "-",
                one["mode"],
                "%.1f" % one["seconds"],
                outcome,
                one["way_back"] or "-",
                why,
            )
        )
    return table(rows)


def log_table(entries: List[Dict[str, Any]]) -> List[str]:
    """The audit log as lines."""
    if not entries:
        return ["The audit log is empty."]
    names = ("time", "what", "by", "user", "origin", "from", "to", "version", "mode", "seconds", "outcome")
    rows = [(*(name.upper() for name in names), "WHY")]
    for one in entries:
        cells = (str(one.get(name, "")) or "-" for name in names)
        rows.append((*cells, str(one.get("problem") or one.get("reason") or "")))
    return table(rows)


def _host(work: operations.Operations) -> on_host.OnHost:
    settings = work.settings
    return on_host.OnHost(settings.project, settings.directory, settings.engine_socket, work.progress)


def _update(work: operations.Operations, arguments: argparse.Namespace) -> int:
    host = _host(work)
    if arguments.plan:
        doctor.refuse_the_unfinished(work.settings.project, work.settings.directory)
        turn = host.update()
        told = _foreseen(turn.foresee(turn.of_version(arguments.version)), arguments.version)
        _show(arguments, {"ok": True, "update": told}, plan_result.update_lines(told))
        return DONE
    with host.to_its_end(), host.locked("update", arguments.wait):
        before = host.history.current()
        done = host.update(reason=arguments.reason).update_to(arguments.version)
    return _deployed(arguments, done, before.number if before else 0)


def _foreseen(foreseen: update.Foreseen, version: str) -> Dict[str, Any]:
    """What an update would do, for --plan."""
    planned = plan_result.describe(foreseen.planned, [])
    return {
        **{key: planned[key] for key in ("changed", "plan", "pulls", "files", "settings")},
        "former": foreseen.former.number if foreseen.former else 0,
        "version": version,
        "mode": foreseen.mode,
        "comes": foreseen.words,
        "refreshes": sorted({images.tagged(image) for image in foreseen.planned.plan.refreshes}),
    }


def _deployed(arguments: argparse.Namespace, done: update.Done, former: int) -> int:
    entry = done.entry
    number = entry.number if entry else 0
    result: Dict[str, Any] = {
        "ok": True,
        "changed": number != former,
        "release": number,
        "former": former,
        "plan": plan_result.describe(done.planned, done.work.pulled)["plan"],
        "kept_as": entry.guard if entry else "",
        "seconds": entry.seconds if entry else 0,
    }
    if entry is None or number == former:
        lines = ["Nothing had to be changed: release %d serves." % number]
    else:
        lines = ["Release %d (%s) serves; that took %.1f s." % (number, entry.version, entry.seconds)]
        lines += ["The database from before is kept as %s." % entry.guard] if entry.guard else []
    _show(arguments, result, lines)
    return DONE


def _rollback(work: operations.Operations, arguments: argparse.Namespace) -> int:
    host = _host(work)
    seen = None
    if arguments.plan or _asks(arguments):
        doctor.refuse_the_unfinished(work.settings.project, work.settings.directory)
        turn = host.update()
        seen = host.history.current()
        copy, guard = turn.database_of_rollback(arguments.release)
        planned = plan_result.describe(turn.plan_rollback(arguments.release).planned, [])
        target = turn.target(arguments.release)
        told = {"release": target.number, "version": target.version, "plan": planned["plan"], "files": planned["files"]}
        told.update(database=copy, kept_as=guard)
        if arguments.plan:
            _show(arguments, {"ok": True, "rollback": told}, plan_result.rollback_lines(told))
            return DONE
        _agree(plan_result.rollback_lines(told))
        arguments.release = target.number
    with host.to_its_end(), host.locked_to_go_back(arguments.release, arguments.wait):
        before = host.history.current()
        if seen and before and seen.number != before.number:
            raise OperatorError(
                "Meanwhile release %d serves, not %d: nothing was changed; look again." % (before.number, seen.number)
            )
        done = host.update().rollback(arguments.release)
    return _deployed(arguments, done, before.number if before else 0)


def _resume(work: operations.Operations, arguments: argparse.Namespace) -> int:
    host = _host(work)
    with host.to_its_end(), host.alone("resume", arguments.wait):
        found = host.resume()
    known = doctor.releases(work.settings.project, work.settings.directory)
    lines = ["Completed: %s." % ", ".join(found)] if found else ["Nothing was cut off."]
    told = {key: known[key] for key in ("release", "failure")}
    _show(arguments, {"ok": True, "completed": found, **told}, lines + _serving(known))
    return DONE


_STATE_HEADINGS = ("REPOSITORY", "LAST BACKUP", "LAST DRILL", "LAST CHECK", "LAST PRUNE")


def _state(item: Dict[str, str]) -> Sequence[str]:
    names = ("last_backup", "last_drill", "last_check", "last_prune")
    return (item["repository"], *(item[name] or "never" for name in names))


def _backup(work: operations.Operations, arguments: argparse.Namespace) -> int:
    taken = work.backup(arguments.reason, arguments.tag, arguments.repository)
    _show(
        arguments,
        {"ok": True, "backups": taken},
        [
            "%s: %s, %s (%s new in the repository)"
            % (one["repository"], one["id"], human(one["bytes"]), human(one["stored_bytes"]))
            for one in taken
        ],
    )
    return DONE


def _prune(work: operations.Operations, arguments: argparse.Namespace) -> int:
    if not arguments.workflows_finished_before:
        return _results("the prune", arguments, work.prune(arguments.repository))
    before = time.time() - elsa.retention(arguments.workflows_finished_before)
    found = work.prune_workflows(before, arguments.failed, arguments.dry_run)
    lines = ["%d finished workflows %s removed." % (found["instances"], "would be" if arguments.dry_run else "were")]
    sizes = [human(found[name]) for name in ("before_bytes", "after_bytes")]
    lines.append(
        "The rows that ELSA keeps of all of them take %s." % sizes[0]
        if arguments.dry_run
        else "The rows that ELSA keeps took %s before, and take %s now: by so much less is in the next backup."
        % (sizes[0], sizes[1])
    )
    _show(arguments, {"ok": True, **found}, lines)
    return DONE


def _backups(work: operations.Operations, arguments: argparse.Namespace) -> int:
    found = work.info()
    lines: List[str] = []
    for entry in found:
        lines.append("%s (%s)" % (entry["repository"], entry["location"]))
        if entry["problem"]:
            lines.append("  " + entry["problem"])
        rows = [("ID", "AGE", "SIZE", "ROWS", "REASON")]
        rows += [
            (item["id"], _age(item["age_seconds"]), human(item["bytes"]), str(item["rows"]), item["reason"])
            if not item["problem"]
            else (item["id"], _age(item["age_seconds"]), "?", "?", "cannot be read")
            for item in entry["backups"]
        ]
        lines += ["  " + line for line in table(rows)]
        for operation in ("drill", "check"):
            good = entry["last"].get("good_" + operation)
            lines.append("  last good %s: %s" % (operation, good["time"] if good else "never"))
    if not found:
        lines.append("No backups are configured: set tamma_backup_password and run site.yml.")
    kept = _kept(work)
    lines += _kept_lines(kept)
    problems = [entry["problem"] for entry in found if entry["problem"]]
    _show(arguments, {"ok": not problems, "repositories": found, "kept": kept}, lines)
    return FAILED if problems else DONE


def _kept(work: operations.Operations) -> List[Dict[str, Any]]:
    """What former restores and releases keep; nothing is known of it while PostgreSQL does not run."""
    try:
        return work.kept()
    except OperatorError as exc:
        print("tammactl: What former restores and releases keep is not known: %s" % exc.message, file=sys.stderr)
        return []


def _kept_lines(kept: List[Dict[str, Any]]) -> List[str]:
    if not kept:
        return []
    rows = [
        (
            item["name"],
            item["kind"],
            human(item["bytes"]),
            "to go back from release %d" % item["release"] if item["release"] else "",
        )
        for item in kept
    ]
    return [
        "Kept by restores and releases ('tammactl discard NAME' removes one):",
        *("  " + line for line in table([("NAME", "KIND", "SIZE", "NEEDED"), *rows])),
    ]


def _age(seconds: int) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return "%d %s" % (seconds // size, unit)
    return "%d s" % seconds


def _asks(arguments: argparse.Namespace) -> bool:
    """Whether somebody sits there who can be asked."""
    return sys.stdin.isatty() and not arguments.yes


def _agree(lines: List[str]) -> None:
    """Show what would happen, and ask. Raises OperatorError when the answer is not yes."""
    print("\n".join(lines), file=sys.stderr)
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise OperatorError("Nothing was changed, because you did not agree.")


def _restore(work: operations.Operations, arguments: argparse.Namespace) -> int:
    parts = arguments.part or ["database", "broker", "volumes"]
    options = (arguments.repository, arguments.source, arguments.host, arguments.unsigned)
    chosen = (arguments.backup, parts, *options)
    if arguments.plan:
        planned = work.plan_restore(*chosen)
        _show(arguments, {"ok": True, "restore": planned}, _planned(planned))
        return DONE
    if _asks(arguments):
        _agree(_planned(work.plan_restore(*chosen)))
    done = work.restore(*chosen)
    lines = [
        "Restored %s of %s from %s; the services that write were away for %.1f s."
        % (", ".join(done["parts"]), done["id"], done["repository"], done["away_seconds"])
    ]
    if done["kept_as"]:
        lines.append(
            "The former database is kept as %s; 'tammactl discard %s' removes it." % (done["kept_as"], done["kept_as"])
        )
    _show(arguments, {"ok": True, "restore": done}, lines)
    return DONE


def _planned(planned: Dict[str, Any]) -> List[str]:
    lines = []
    if planned["pending"]:
        lines.append(
            "A restore of %s has begun and has not ended; unless it is still at work, whatever comes next completes it "
            "or takes it back first." % planned["pending"]
        )
    lines.append(
        "Would restore %s of %s, %d rows, from %s."
        % (", ".join(planned["parts"]), planned["id"], planned["rows"], planned["repository"])
    )
    if planned["doubt"]:
        lines.append("Beware: %s." % planned["doubt"])
    if planned["kept_as"]:
        lines.append(
            "The services that write would be stopped for some seconds; the present database would be kept as %s."
            % planned["kept_as"]
        )
    lines += ["%s." % words for words in planned["stopping"]]
    if planned["cut_off"]:
        lines.append("Is cut off from the database: %s." % ", ".join(planned["cut_off"]))
    return lines


def _discard(work: operations.Operations, arguments: argparse.Namespace) -> int:
    if _asks(arguments):
        found = [
            item
            for item in work.kept()
            if item["name"] in arguments.name or (arguments.all and (arguments.needed or not item["release"]))
        ]
        if found:
            _agree(["Would remove %s, %s." % (item["name"], human(item["bytes"])) for item in found])
    gone = work.discard(arguments.name, arguments.needed)
    lines = ["Removed %s, %s." % (item["name"], human(item["bytes"])) for item in gone]
    _show(arguments, {"ok": True, "removed": gone}, lines or ["No restore or release has left anything."])
    return DONE


def _results(name: str, arguments: argparse.Namespace, results: List[Dict[str, Any]]) -> int:
    lines = ["%s: %s went well (%s s)" % (one["repository"], name, one["seconds"]) for one in results]
    _show(arguments, {"ok": True, "results": results}, lines)
    return DONE


def _logs(work: operations.Operations, arguments: argparse.Namespace) -> int:
    program = find_compose()
    if program is None:
        raise OperatorError("This host has no Docker Compose: let site.yml install it.")
    settings = work.settings
    if not os.path.isdir(settings.directory):
        raise OperatorError("There is no stack in %s: deploy it with site.yml." % settings.directory)
    options = ["--tail", str(arguments.tail), *(["--follow"] if arguments.follow else [])]
    argv = [program, "--project-name", settings.project, "logs", *options]
    engine = {"DOCKER_HOST": "unix://" + settings.engine_socket}
    lines: List[Dict[str, str]] = []

    def on_line(line: str) -> bool:
        if not arguments.json:
            # What a container writes shall do nothing to the terminal.
            print(printable(_ERASE.sub("", line).rstrip("\n")), flush=True)
        elif arguments.follow:
            print(json.dumps(log_line(line), sort_keys=True), flush=True)
        else:
            lines.append(log_line(line))
        return True

    argv += ["--no-color", *(["--timestamps"] if arguments.json else []), *arguments.service]
    (done,) = Runner(engine).pipeline([argv], on_line, settings.directory)
    if done.rc:
        raise OperatorError("The logs cannot be read: %s." % last_line(done.err))
    if arguments.json and not arguments.follow:
        _show(arguments, {"ok": True, "lines": lines}, [])
    return DONE


def log_line(line: str) -> Dict[str, str]:
    """A line of Compose's as an object: who wrote it, when, and what."""
    name, separator, rest = _ERASE.sub("", line).rstrip("\n").partition("| ")
    if not separator:
        return {"service": "", "container": "", "time": "", "text": name}
    # Compose leaves the project's name out: service and number.
    container = name.strip()
    moment, _space, text = rest.partition(" ")
    return {"service": container.rpartition("-")[0] or container, "container": container, "time": moment, "text": text}


def _doctor(work: operations.Operations, arguments: argparse.Namespace) -> int:
    found = doctor.examine(work)
    lines = ["%s: %s" % (item.severity, item.words) for item in found] or ["Nothing is wrong."]
    well = not any(item.severity == "problem" for item in found)
    _show(arguments, {"ok": well, "findings": [item._asdict() for item in found]}, lines)
    return DONE if well else UNWELL


COMMANDS: Dict[str, Callable[[operations.Operations, argparse.Namespace], int]] = {
    "status": _status,
    "releases": _releases,
    "update": _update,
    "rollback": _rollback,
    "resume": _resume,
    "backup": _backup,
    "backups": _backups,
    "restore": _restore,
    "discard": _discard,
    "drill": lambda work, arguments: _results(
        "the drill", arguments, work.drill(arguments.backup, arguments.repository, arguments.unsigned)
    ),
    "check": lambda work, arguments: _results(
        "the check", arguments, work.check(arguments.repository, arguments.everything)
    ),
    "prune": _prune,
    "logs": _logs,
    "doctor": _doctor,
}


def settle_environment() -> None:
    """Look for programs where the system has them: whoever is root here may have come with another PATH."""
    os.environ["PATH"] = PROGRAM_PATH


if __name__ == "__main__":
    settle_environment()
    _end_like_an_interruption()
    sys.exit(main(sys.argv[1:]))
