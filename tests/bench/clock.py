"""The clock of a test run: what its time went into, and how busy the cores were meanwhile.

A run names a file in TAMMA_CLOCK, and in TAMMA_CLOCK_PLACE the test file or scenario that is at work. Whatever process
takes part adds a line for each phase when it ends. Phases of a place lie inside each other; each is told its own time.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .names import REPOSITORY

FILE, PLACE = "TAMMA_CLOCK", "TAMMA_CLOCK_PLACE"
DIRECTORY = REPOSITORY / ".cache" / "clock"
RUN = "the whole run"
TICKS = os.sysconf("SC_CLK_TCK")
#: What the lines of Molecule and of playbooks tell: how deep a phase lies, what begins it, and its name.
TELLING = (
    (0, re.compile(r"INFO +\[\S+ > (\w+)\] Executing$"), "Molecule: {}"),
    (1, re.compile(r"TASK \[(?:meywd\.tamma\.)?tamma_runtime : "), "installing the engine"),
    (1, re.compile(r"TASK \[(?:meywd\.tamma\.)?(tamma_\w+) : "), "tasks of {}"),
    (1, re.compile(r"(?:TASK|PLAY) \["), "tasks of playbooks"),
    (1, re.compile(r"PLAY RECAP"), ""),
    (2, re.compile(r" +\S+ \| +[\d.]+ s  pull "), "pulling images"),
    (2, re.compile(r" +\S+ \| +[\d.]+ s  apply "), "starting services"),
    (2, re.compile(r" +\S+ \| +[\d.]+ s  (\w+) "), "operator: {}"),
)


class Phase(NamedTuple):
    """One phase: where, what, when, and the seconds that the cores were busy meanwhile, all of them together."""

    place: str
    name: str
    began: float
    ended: float
    busy: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Own(NamedTuple):
    """What a phase has for itself: without those inside it."""

    place: str
    name: str
    seconds: float
    busy: float


def now() -> tuple[float, float]:
    """Return the time and how long the cores have been busy since the boot."""
    user, nice, system, _, _, *interrupts = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return time.time(), sum(map(int, (user, nice, system, *interrupts))) / TICKS


def record(name: str, began: tuple[float, float]) -> None:
    """Add a phase that ends now, if somebody wants to know. What threads do lies beside each other, and is none."""
    file = os.environ.get(FILE)
    if file and threading.current_thread() is threading.main_thread():
        ended = now()
        phase = Phase(os.environ.get(PLACE, ""), name, began[0], ended[0], ended[1] - began[1])
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(phase) + "\n")


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Let the block be a phase."""
    began = now()
    try:
        yield
    finally:
        record(name, began)


class Lines:
    """The phases that a program tells of by what it prints."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str, tuple[float, float]]] = []

    def take(self, line: str) -> None:
        """End and begin what a line ends and begins."""
        for depth, pattern, name in TELLING:
            if found := pattern.match(line):
                name = name.format(*found.groups())
                if (depth, name) not in ((known, same) for known, same, _ in self._open):
                    self.end(depth)
                    self._open += [(depth, name, now())] if name else []
                return

    def end(self, depth: int = 0) -> None:
        """End what lies so deep and deeper."""
        while self._open and self._open[-1][0] >= depth:
            _, name, began = self._open.pop()
            record(name, began)


def begin() -> None:
    """Begin to record a run, in this process and those that it starts; one that has begun goes on."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault(FILE, str(DIRECTORY / time.strftime("%Y%m%d-%H%M%S.jsonl")))


def newest() -> Path | None:
    """Return the file of the newest run."""
    return max(DIRECTORY.glob("*.jsonl"), default=None)


def read(file: Path) -> list[Phase]:
    """Return the phases of a run."""
    return [Phase(*json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def own(phases: Iterable[Phase]) -> list[Own]:
    """Take from each phase what those inside it took."""
    result: list[Own] = []
    around: list[tuple[Phase, int]] = []
    for one in sorted(phases, key=lambda phase: (phase.place, phase.began, -phase.ended)):
        while around and (around[-1][0].place != one.place or around[-1][0].ended < one.ended):
            around.pop()
        if around:
            outer = around[-1][1]
            less = result[outer]
            result[outer] = less._replace(seconds=less.seconds - one.seconds, busy=less.busy - one.busy)
        around.append((one, len(result)))
        result.append(Own(one.place, one.name, one.seconds, one.busy))
    return result


def table(phases: list[Phase]) -> list[str]:
    """Return the run as lines: first by phase, then by place."""
    parts = [part for part in own(phases) if part.name != RUN]
    whole = _total(RUN, [part for part in own(phases) if part.name == RUN])
    lines = [f"{RUN}: {_clock(whole.seconds)}, cores {_busy(whole)} busy"]
    for title, named in (("PHASE", lambda part: part.name), ("PLACE", lambda part: part.place or "-")):
        groups: dict[str, list[Own]] = {}
        for part in parts:
            groups.setdefault(named(part), []).append(part)
        rows = sorted(((_total(name, group), len(group)) for name, group in groups.items()), reverse=True, key=_length)
        lines += ["", f"{title:<58}{'TIMES':>6}{'TIME':>9}{'CORES':>7}"]
        lines += [f"{total.name:<58}{times:>6}{_clock(total.seconds):>9}{_busy(total):>7}" for total, times in rows]
    return lines


def _length(row: tuple[Own, int]) -> float:
    return row[0].seconds


def _total(name: str, parts: list[Own]) -> Own:
    return Own("", name, sum(part.seconds for part in parts), sum(part.busy for part in parts))


def _clock(seconds: float) -> str:
    return f"{seconds // 60:.0f}:{seconds % 60:04.1f}"


def _busy(part: Phase | Own) -> str:
    return f"{100 * part.busy / (part.seconds * (os.cpu_count() or 1) or 1):.0f} %"


if __name__ == "__main__":
    found = newest()
    print("\n".join(table(read(found))) if found else "No run has been recorded yet: `make test` does.")
