# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tammactl: the collection's operator on the host, for timers and for people without a controller.

The same code as the Ansible modules; this is only its command line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any, Dict, List, Sequence

from ansible_collections.meywd.tamma.plugins.module_utils import doctor, operations, restore, status
from ansible_collections.meywd.tamma.plugins.module_utils.backup import human
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Busy
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

# Exit statuses.
DONE, FAILED, USAGE, UNWELL, BUSY = 0, 1, 2, 3, 4

_ABOUT = """\
Looks after the Tamma stack of this host.

  tammactl status                 how every service is, and the last backup
  tammactl backup                 take a backup now, and read it back
  tammactl backups                list the backups
  tammactl restore latest --plan  say what a restore would do
  tammactl restore latest         put the newest backup's data in the place of today's
  tammactl drill                  prove that the newest backup can be restored
  tammactl doctor                 what is wrong with this host, and what to do

Exit status: 0 done; 1 it failed, and the last line says why; 2 the command line is wrong; 3 the stack or
the host is not well (status, doctor); 4 another operation is at work on the stack.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="tammactl", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument(
        "--stack", default=os.environ.get("TAMMA_STACK", ""), help="the stack's name (when there are more)"
    )
    top.add_argument("--json", action="store_true", help="print the result as JSON")
    top.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait for another operation to end")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        # Also behind the command, where most people write it.
        command.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        command.add_argument("--wait", type=float, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return command

    def add_repository(command: argparse.ArgumentParser) -> None:
        command.add_argument("--repository", default="", metavar="NAME", help="this repository alone")

    add("status", "show every service and the last backup")
    command = add("backup", "take a backup and read it back")
    command.add_argument("--reason", default="by hand", help="stands in the list of backups")
    command.add_argument("--tag", action="append", default=[], help="a name to find it by; may be repeated")
    add_repository(command)
    add("backups", "list the backups, their sizes and ages, and when they were last proven")
    command = add("restore", "put a backup's data in the place of today's, which is kept under another name")
    command.add_argument("backup", help="'latest', an id, tag:NAME, or a time such as 2026-01-31T12:00:00Z")
    command.add_argument(
        "--part",
        action="append",
        choices=restore.PARTS,
        help="restore this part; may be repeated (default: all but files)",
    )
    command.add_argument("--plan", action="store_true", help="say what would happen, and change nothing")
    command.add_argument("--source", default="", metavar="STACK", help="take the backup of another stack")
    add_repository(command)
    command = add("drill", "restore a backup beside the live database, compare it, and remove it")
    command.add_argument("backup", nargs="?", default="latest", help="as for restore (default: latest)")
    add_repository(command)
    command = add("check", "check the integrity of the stored data")
    command.add_argument("--everything", action="store_true", help="read all of it, not a part")
    add_repository(command)
    command = add("prune", "remove the backups that the retention does not keep")
    add_repository(command)
    command = add("logs", "show what the services wrote")
    command.add_argument("service", nargs="*", help="these services alone")
    command.add_argument("--tail", type=int, default=100, help="so many lines of each (default: 100)")
    command.add_argument("--follow", action="store_true", help="go on until interrupted")
    add("doctor", "look for what is wrong with this host, and say what to do")
    return top


class Progress:
    """Lines of what happens, on standard error: with a clock on a terminal, for the journal otherwise."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, phase: str, words: str) -> None:
        stamp = "%6.1f s  " % (time.monotonic() - self._began) if sys.stderr.isatty() else ""
        print("%s%-7s %s" % (stamp, phase, words), file=sys.stderr, flush=True)


def stack_name(given: str) -> str:
    """The stack that is meant: the given one, or the only one of this host."""
    if given:
        return given
    try:
        found = sorted(os.listdir(operations.CONFIGURATION))
    except OSError:
        found = []
    if len(found) == 1:
        return found[0]
    if not found:
        raise OperatorError("No stack of this host is known to tammactl: deploy one with site.yml.")
    raise OperatorError("This host has the stacks %s: name one with --stack." % ", ".join(found))


def main(words: Sequence[str]) -> int:
    """Do what the command line says; return the exit status."""
    arguments = parser().parse_args(words)
    try:
        settings = operations.configuration(stack_name(arguments.stack))
        work = operations.Operations(settings, Progress(), arguments.wait)
        return COMMANDS[arguments.command](work, arguments)
    except Busy as exc:
        return _failed(arguments, exc, BUSY)
    except OperatorError as exc:
        return _failed(arguments, exc, FAILED)
    except PermissionError as exc:
        print("tammactl: %s: %s. Run it as root." % (exc.filename, exc.strerror), file=sys.stderr)
        return FAILED
    except OSError as exc:
        print("tammactl: %s: %s." % (exc.filename or "this host", exc.strerror or exc), file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("tammactl: interrupted; the next run cleans up.", file=sys.stderr)
        return 130


def _failed(arguments: argparse.Namespace, exc: OperatorError, exit_status: int) -> int:
    if arguments.json:
        print(json.dumps({"ok": False, "problem": exc.message, **exc.facts}, indent=1, sort_keys=True, default=str))
    print("tammactl: %s" % exc.message, file=sys.stderr)
    return exit_status


def _show(arguments: argparse.Namespace, result: Any, lines: List[str]) -> None:
    if arguments.json:
        print(json.dumps(result, indent=1, sort_keys=True))
    else:
        print("\n".join(lines))


def table(rows: List[Sequence[str]]) -> List[str]:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _status(work: operations.Operations, arguments: argparse.Namespace) -> int:
    settings = work.settings
    engine = Engine(settings.engine_socket)
    program = find_compose()
    project = Compose(Runner(), program, settings.directory, settings.project).project() if program else None
    rows = [row._asdict() for row in status.rows(engine, settings.project, project)]
    well = bool(rows) and all(row["ready"] for row in rows)
    lines = table(
        [("SERVICE", "CONTAINER", "STATE", "HEALTH", "SINCE")]
        + [(row["service"], row["container"] or "-", row["state"], row["health"], row["since"] or "-") for row in rows]
    )
    records = work.records()
    for repository in settings.repositories:
        found = records.get(repository.name, {}).get("good_backup")
        lines.append("Last good backup in %s: %s" % (repository.name, found["time"] if found else "never"))
    _show(arguments, {"ok": well, "services": rows, "operations": records}, lines)
    return DONE if well else UNWELL


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
            for item in entry["backups"]
        ]
        lines += ["  " + line for line in table(rows)]
        for operation in ("drill", "check"):
            good = entry["last"].get("good_" + operation)
            lines.append("  last good %s: %s" % (operation, good["time"] if good else "never"))
    _show(arguments, {"ok": not any(entry["problem"] for entry in found), "repositories": found}, lines)
    return FAILED if any(entry["problem"] for entry in found) else DONE


def _age(seconds: int) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return "%d %s" % (seconds // size, unit)
    return "%d s" % seconds


def _restore(work: operations.Operations, arguments: argparse.Namespace) -> int:
    parts = arguments.part or ["database", "broker", "volumes"]
    if arguments.plan:
        planned = work.plan_restore(arguments.backup, parts, arguments.repository, arguments.source)
    else:
        planned = work.restore(arguments.backup, parts, arguments.repository, arguments.source)
    verb = "Would restore" if arguments.plan else "Restored"
    lines = ["%s %s of %s from %s." % (verb, ", ".join(planned["parts"]), planned["id"], planned["repository"])]
    if planned["kept_as"]:
        lines.append(
            'The present database %s kept as %s; remove it with: DROP DATABASE "%s"'
            % ("would be" if arguments.plan else "is", planned["kept_as"], planned["kept_as"])
        )
    _show(arguments, {"ok": True, "restore": planned}, lines)
    return DONE


def _results(name: str, arguments: argparse.Namespace, results: List[Dict[str, Any]]) -> int:
    lines = ["%s: %s went well (%s s)" % (one["repository"], name, one["seconds"]) for one in results]
    _show(arguments, {"ok": True, "results": results}, lines)
    return DONE


def _logs(work: operations.Operations, arguments: argparse.Namespace) -> int:
    program = find_compose() or "docker-compose"
    options = ["--tail", str(arguments.tail), *(["--follow"] if arguments.follow else [])]
    os.chdir(work.settings.directory)
    os.environ["DOCKER_HOST"] = "unix://" + work.settings.engine_socket
    os.execv(program, [program, "logs", *options, *arguments.service])  # noqa: S606 - it takes over this process
    return FAILED


def _doctor(work: operations.Operations, arguments: argparse.Namespace) -> int:
    found = doctor.examine(work)
    lines = ["%s: %s" % (item.severity, item.words) for item in found] or ["Nothing is wrong."]
    _show(arguments, {"ok": not found, "findings": [item._asdict() for item in found]}, lines)
    return UNWELL if any(item.severity == "problem" for item in found) else DONE


COMMANDS = {
    "status": _status,
    "backup": _backup,
    "backups": _backups,
    "restore": _restore,
    "drill": lambda work, arguments: _results(
        "the drill", arguments, work.drill(arguments.backup, arguments.repository)
    ),
    "check": lambda work, arguments: _results(
        "the check", arguments, work.check(arguments.repository, arguments.everything)
    ),
    "prune": lambda work, arguments: _results("the prune", arguments, work.prune(arguments.repository)),
    "logs": _logs,
    "doctor": _doctor,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
