# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules return, as rows and sentences for the operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.meywd.tamma.plugins.module_utils.lock import being_worked_on
from ansible_collections.meywd.tamma.plugins.module_utils.room import human


def service_rows(hosts: Iterable[str], hostvars: Mapping[str, Any], variable: str) -> list[dict[str, Any]]:
    """One row for each container of each host, from the result registered as *variable*."""
    return [
        {"host": host, **service}
        for host in hosts
        for service in (hostvars[host].get(variable) or {}).get("services") or []
    ]


def outcomes(hosts: Iterable[str], hostvars: Mapping[str, Any], variable: str) -> list[str]:
    """One line for each host: what its deploy did, from the result registered as *variable*."""
    lines = []
    for host in hosts:
        if variable not in hostvars[host]:
            continue
        result = hostvars[host][variable]
        steps = ["%s %s" % (change["action"], change["service"]) for change in result.get("plan") or []]
        done = {
            "pulled": result.get("pulls"),
            "database": result.get("database"),
            "directories": result.get("directories"),
            "files": [file["path"] for file in result.get("files") or []],
            "services": steps,
        }
        words = ["%s: %s" % (what, ", ".join(names)) for what, names in done.items() if names]
        lines += ["%s  %s" % (host, word) for word in words or ["nothing had to be changed"]]
    return lines


def removal_rows(hosts: Iterable[str], hostvars: Mapping[str, Any], variable: str) -> list[dict[str, Any]]:
    """One row for each host: how many containers, networks, volumes and files went."""
    return [
        {"host": host, **{kind: len(names) for kind, names in hostvars[host][variable]["removed"].items()}}
        for host in hosts
        if "removed" in (hostvars[host].get(variable) or {})
    ]


def backup_rows(hosts: Iterable[str], hostvars: Mapping[str, Any], variable: str) -> list[dict[str, Any]]:
    """One row for each repository of each host: the backup that came into it, or why none did."""
    rows: list[dict[str, Any]] = []
    for host in hosts:
        result = hostvars[host].get(variable) or {}
        taken = result.get("backups") or result.get("taken") or []
        rows += [
            {
                "host": host,
                "repository": one["repository"],
                "backup": one["id"] or "none",
                "size": human(one["bytes"]),
                "seconds": "%.0f" % sum(one["seconds"].values()),
                "problem": one["problem"],
            }
            for one in taken
        ]
        if not taken and not result.get("changed"):
            problem = str(result.get("msg") or "the host was not reached")
            rows.append(
                {"host": host, "repository": "", "backup": "none", "size": "", "seconds": "", "problem": problem}
            )
    return rows


def backup_states(hosts: Iterable[str], hostvars: Mapping[str, Any], variable: str) -> list[dict[str, Any]]:
    """One row for each repository of each host: when each operation last went well."""
    rows: list[dict[str, Any]] = []
    for host in hosts:
        found = (hostvars[host].get(variable) or {}).get("backups") or {}
        for state in found.get("repositories") or []:
            times = {name.replace("_", " "): moment or "never" for name, moment in state.items()}
            rows.append({"host": host, **times})
    return rows


def release_lines(hosts: Iterable[str], hostvars: Mapping[str, Any], variable: str) -> list[str]:
    """Lines for each host: which release serves, what became of a later one, what was cut off, and what is odd."""
    lines = []
    for host in hosts:
        result = hostvars[host].get(variable) or {}
        lines += [
            "%s  release %d (%s) serves, deployed at %s by %s"
            % (host, one["number"], one["version"], one["time"], one["by"] or "somebody")
            for one in result.get("releases") or []
            if one["serves"]
        ]
        who = result.get("busy")
        told = [result.get("failure"), *(result.get("pending") or []), *(result.get("notes") or [])]
        told += [being_worked_on(who) + "."] if who else []
        lines += ["%s  %s" % (host, words) for words in told if words]
    return lines


def able_lines(hosts: Iterable[str], hostvars: Mapping[str, Any], variable: str) -> list[str]:
    """Lines for each host: what keeps its stack from its work, from the result registered as *variable*."""
    return [
        "%s  %s: %s" % (host, item["severity"], item["words"])
        for host in hosts
        for item in (hostvars[host].get(variable) or {}).get("able") or []
    ]


def restore_rows(hosts: Iterable[str], hostvars: Mapping[str, Any], variable: str) -> list[dict[str, Any]]:
    """One row for each host that was restored: from what, and under which name its former database is kept."""
    found = [(host, (hostvars[host].get(variable) or {}).get("restore")) for host in hosts]
    return [
        {
            "host": host,
            "backup": restored["id"],
            "repository": restored["repository"],
            "parts": ", ".join(restored["parts"]),
            "rows": restored["rows"],
            "kept as": restored["kept_as"],
        }
        for host, restored in found
        if restored
    ]


def complaints(status: Mapping[str, Any]) -> str:
    """What is not well, in one sentence for each trouble."""
    overdue = [*(status.get("pending") or []), *((status.get("backups") or {}).get("problems") or [])]
    overdue += [item["words"] for item in status.get("able") or [] if item["severity"] == "problem"]
    if status.get("healthy"):
        return "\n".join(overdue)
    if not status["services"]:
        return "There is no stack on this host: run site.yml to bring it up."
    lines = [
        "%s is %s%s."
        % (row["service"], row["state"], "" if row["health"] == "none" else ", its health check says " + row["health"])
        for row in status["services"]
        if not row["ready"]
    ]
    lines += [
        "%s does not answer on %s: %s." % (item["service"], item["url"], item["problem"])
        for item in status["endpoints"]
        if item["problem"]
    ]
    lines += ["%s was started again while it was watched." % service for service in status.get("restarted") or []]
    program = status.get("engine", "docker")
    return "\n".join(
        [*lines, *overdue, "The services' logs say more: %s compose logs SERVICE in the stack's directory." % program]
    )


class FilterModule:
    """The filters of the collection's playbooks."""

    def filters(self) -> dict[str, Any]:
        """Map names to functions."""
        return {
            "outcomes": outcomes,
            "service_rows": service_rows,
            "removal_rows": removal_rows,
            "backup_rows": backup_rows,
            "backup_states": backup_states,
            "release_lines": release_lines,
            "able_lines": able_lines,
            "restore_rows": restore_rows,
            "complaints": complaints,
        }
