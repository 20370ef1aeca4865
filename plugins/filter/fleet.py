# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the update or rollback of a fleet has come, from what ``update.yml`` or ``rollback.yml`` registered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

# What became of a host.
UPDATED = "updated"
BACK = "went back"
UNCHANGED = "unchanged"
WOULD = "would be updated"
WOULD_GO_BACK = "would go back"
UNTOUCHED = "not touched"
UNREACHED = "not reached"
REFUSED = "refused"
LOST = "connection lost"
DIED = "cut off"
FAILED = "failed, nothing changed"
ROLLED_BACK = "failed, rolled back"
STUCK = "failed, not rolled back"
INCOMPLETE = "serves, not completed"
COMPLETED = "completed, not gone back"
UNWELL = "unwell"
UNWELL_BACK = "unwell, rolled back"

_GOOD = (UPDATED, BACK, UNCHANGED, WOULD, WOULD_GO_BACK, UNTOUCHED)
# What ends a rollout that has begun, and what keeps it from beginning; what ends a rollback.
_STOPS = (LOST, DIED, COMPLETED, FAILED, ROLLED_BACK, STUCK, INCOMPLETE, UNWELL, UNWELL_BACK)
_OF_RELEASES = {"rolled_back": ROLLED_BACK, "stuck": STUCK, "incomplete": INCOMPLETE, "completed": COMPLETED}
# Who has to go back still.
_NOT_BACK = (UNTOUCHED, UNREACHED, FAILED, ROLLED_BACK, STUCK, COMPLETED)
_LOST = "The connection was lost. The host may be between two releases: "
_DIED = "The module did not come to its end. The host may be between two releases: %s.\n%s"


class State(NamedTuple):
    """One host. prepared: what it said of the release before it was touched. release: what its deploy said.

    A rollback says all of it at its end.
    """

    host: str
    outcome: str
    problem: str
    prepared: Mapping[str, Any]
    release: Mapping[str, Any]
    seconds: float


def state(host: str, known: Mapping[str, Any], check: bool = False) -> State:
    """Read what is registered for a host."""
    answer, release, problem = _registered(known)
    prepared = known.get("__tamma_stack_prepared") or {}
    # Only what comes before the deploy says whether it is needed.
    touched = bool(prepared) and bool(release) and "needed" not in release
    seconds = float(known.get("__tamma_update_seconds") or release.get("seconds") or 0)

    def told(outcome: str, words: str = "") -> State:
        return State(host, outcome, problem or words, prepared, release if touched else {}, seconds if touched else 0)

    if touched:
        outcome = _of_touched(known, release, problem)
        if outcome == DIED:
            problem = _DIED % ("run the playbook again", problem)
        return told(outcome, _LOST + "run the playbook again when it is back." if outcome == LOST else "")
    if answer.get("unreachable") or release.get("unreachable"):
        words = str((release if release.get("unreachable") else answer).get("msg") or "")
        return told(UNREACHED, "The host was not reached, and has not been updated. %s" % words)
    if not prepared:
        # What was cut off before is completed first, and that may fail.
        outcome = DIED if "module_stdout" in release else _OF_RELEASES.get(str(release.get("outcome")), REFUSED)
        return told(outcome if problem else UNTOUCHED)
    if not prepared.get("needed"):
        if (known.get("__tamma_stack_status") or {}).get("unreachable"):
            return told(UNREACHED, "The host has the release, and was not reached when it was asked how it is.")
        return told(UNWELL if problem else UNCHANGED)
    if problem:
        return told(FAILED)
    return told(WOULD if check else UNTOUCHED)


def state_of_rollback(host: str, known: Mapping[str, Any], check: bool = False) -> State:
    """The same for a host that goes back. Its turn may not have come."""
    answer, release, problem = _registered(known)

    def told(outcome: str, words: str = "") -> State:
        return State(host, outcome, problem or words, release, release, 0 if check else release.get("seconds") or 0)

    if answer.get("unreachable"):
        return told(UNREACHED, "The host was not reached, and has not gone back. %s" % (answer.get("msg") or ""))
    if not answer:
        return told(UNTOUCHED)
    outcome = _of_touched(known, release, problem)
    if outcome == UPDATED:
        gone = WOULD_GO_BACK if check else BACK
        return told(gone if release.get("changed") else UNCHANGED)
    if outcome == DIED:
        problem = _DIED % ("type 'tammactl resume' on it", problem)
    return told(outcome, _LOST + "status.yml says which one serves when it is back." if outcome == LOST else "")


def _registered(known: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any], str]:
    answer, release = (known.get(name) or {} for name in ("__tamma_update_answer", "__tamma_stack_release"))
    return answer, release, str(known.get("__tamma_update_problem") or "")


def _of_touched(known: Mapping[str, Any], release: Mapping[str, Any], problem: str) -> str:
    status = known.get("__tamma_stack_status") or {}
    if known.get("__tamma_update_went_back"):
        return UNWELL_BACK
    if release.get("unreachable") or status.get("unreachable"):
        return LOST
    outcome = _OF_RELEASES.get(str(release.get("outcome")))
    if known.get("__tamma_update_unwell"):
        # One that goes back may get stuck on its way.
        return outcome if outcome in (STUCK, INCOMPLETE) else UNWELL
    if outcome is None and release.get("failed") and "module_stdout" in release:
        return DIED
    if release.get("failed") or problem:
        return outcome or FAILED
    return UPDATED


def fleet(hosts: Iterable[str], hostvars: Mapping[str, Any], check: bool = False) -> dict[str, Any]:
    """What the playbook goes by, and what it shows."""
    # There are no variables of hosts when the playbook is only read. Who is outside of --limit was never asked.
    known = {host: hostvars.get(host, {}) for host in hosts}
    states = [state(host, known[host], check) for host in known if "__tamma_update_answer" in known[host]]
    prepared = [one for one in states if one.prepared]
    digests: dict[str, str] = {}
    for one in prepared:
        # Who comes first has found it out.
        digests = {**(one.prepared.get("digests") or {}), **digests}
    settings = prepared[0].prepared if prepared else {}
    clear = not check and not obstacles(states)
    return {
        "first": next((one.host for one in states if one.outcome not in (UNREACHED, REFUSED)), ""),
        "digests": digests,
        "differing": [one.host for one in prepared if _differs(one.prepared.get("digests") or {}, digests)],
        "unchanged": [one.host for one in states if one.outcome == UNCHANGED],
        "rollout": [one.host for one in states if clear and one.outcome == UNTOUCHED],
        "batches": [_step(step) for step in _steps(settings.get("batches"))] or ["100%"],
        **_shown(states, lines(states, check)),
    }


def fleet_rollback(hosts: Iterable[str], hostvars: Mapping[str, Any], check: bool = False) -> dict[str, Any]:
    """What the playbook ``rollback.yml`` goes by, and what it shows."""
    states = [state_of_rollback(host, hostvars[host], check) for host in hosts]
    return _shown(states, lines_of_rollback(states, check))


def _shown(states: list[State], said: list[str]) -> dict[str, Any]:
    return {
        "failed": {one.host: one.problem for one in states if one.outcome not in _GOOD},
        "rows": [row(one) for one in states],
        "lines": [*said, *_kept(states)],
    }


def _kept(states: Iterable[State]) -> list[str]:
    """Where the rows are that hosts which go back do not serve any more."""
    return [
        "%s: the database with what was written since %s kept as %s."
        % (one.host, "would be" if one.outcome == WOULD_GO_BACK else "is", one.release["kept_as"])
        for one in states
        if one.outcome in (BACK, WOULD_GO_BACK, UNWELL_BACK) and one.release.get("kept_as")
    ]


def _steps(batches: Any) -> list[Any]:
    """One step, and several as text, are as good as a list of them: Ansible's own ``serial`` is, too."""
    if batches is None:
        return []
    return batches if isinstance(batches, list) else [step.strip() for step in str(batches).split(",")]


def _step(step: Any) -> Any:
    return int(step) if str(step).isdigit() else step


def _differs(own: Mapping[str, str], agreed: Mapping[str, str]) -> bool:
    return any(agreed[image] != pinned for image, pinned in own.items())


def obstacles(states: Iterable[State]) -> list[State]:
    """The hosts that keep a rollout from beginning."""
    found = []
    for one in states:
        unreached = one.outcome == UNREACHED and any(item.prepared.get("when_unreachable") == "stop" for item in states)
        if unreached or one.outcome == REFUSED or one.outcome in _STOPS:
            found.append(one)
    return found


def row(one: State) -> dict[str, Any]:
    """A host's row in the final table."""
    former = one.prepared.get("former") or {}
    number = one.release.get("release") if one.outcome in (UPDATED, BACK, INCOMPLETE) else 0
    return {
        "host": one.host,
        "from": _release(former.get("version"), former.get("number")),
        "to": _release(one.prepared.get("version"), number) if one.outcome != UNCHANGED else "",
        "mode": one.release.get("mode") or one.prepared.get("mode") or "",
        "seconds": "%.0f" % one.seconds if one.seconds else "",
        "outcome": one.outcome,
    }


def _release(version: Any, number: Any) -> str:
    if version and number:
        return "%s (release %s)" % (version, number)
    return "release %s" % number if number else str(version or "")


def lines(states: list[State], check: bool) -> list[str]:
    """What the operator has to know beside the table."""
    begun = any(one.release for one in states)
    stopped = [one.host for one in states if begun and one.outcome in _STOPS]
    against = [one.host for one in obstacles(states) if not begun]
    unreached = [one.host for one in states if one.outcome == UNREACHED]
    untouched = sum(one.outcome == UNTOUCHED for one in states)
    said = []
    if stopped:
        said.append(
            "The rollout ended at %s; hosts not touched: %d. When the cause is removed, run this again: hosts "
            "that have the release are left alone." % (", ".join(stopped), untouched)
        )
        updated = [one.host for one in states if one.outcome == UPDATED]
        if updated:
            said.append(
                "Those with the new release keep it. To take it back on them: rollback.yml --limit %s; other hosts "
                "would go one release further back." % ",".join(updated)
            )
    elif against:
        said.append("The rollout has not begun, because of %s." % ", ".join(against))
    if unreached and not (set(unreached) & set(against)):
        said.append("Not reached: %s. Run this again when they are back." % ", ".join(unreached))
    if check:
        said.append("This was a check: nothing was changed.")
    return said


def lines_of_rollback(states: list[State], check: bool) -> list[str]:
    """What the operator has to know beside the table of a rollback."""
    stopped = [one.host for one in states if one.outcome in _STOPS]
    left = [one.host for one in states if one.outcome in _NOT_BACK]
    said = []
    if stopped:
        untouched = sum(one.outcome == UNTOUCHED for one in states)
        said.append("The rollback ended at %s; hosts not touched: %d." % (", ".join(stopped), untouched))
    if check:
        said.append("This was a check: nothing was changed.")
    elif left:
        said.append(
            "Not gone back: %s. When the cause is removed, run this again with --limit %s: other hosts would go one "
            "release further back." % (", ".join(left), ",".join(left))
        )
    return said


class FilterModule:
    """The filters of the playbooks ``update.yml`` and ``rollback.yml``."""

    def filters(self) -> dict[str, Any]:
        """Map names to functions."""
        return {"fleet": fleet, "fleet_rollback": fleet_rollback}
