"""Operators that die by SIGKILL at a place of choice (see killer/sitecustomize.py)."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .command import BenchError, docker

KILLER = Path(__file__).parent / "killer"
TARGET = "/root/killer"
#: What a playbook takes as ansible_python_interpreter.
PYTHON = f"{TARGET}/python"
#: tammactl with the killer in it: by itself it takes no code from anywhere else.
TAMMACTL = f"{PYTHON} /usr/local/bin/tammactl"


#: How the effects begin that are programs.
PROGRAMS = ("restic", "pg_")


class Fault(NamedTuple):
    """Where an operator dies: "before" or "after" an effect, or "during" one that is a program.

    script: what happens in the place of its death, on the host.
    """

    when: str
    effect: str
    script: str = ""

    def __str__(self) -> str:
        return f"{self.when} {self.effect}"


def listed(file: Path, operation: str) -> list[Fault]:
    """Return the faults of an operation from a file with lines such as "rotate: after replace .env #1"."""
    lines = [line.partition(": ") for line in file.read_text(encoding="utf-8").splitlines()]
    words = [text.partition(" ") for name, _, text in lines if name == operation]
    return [Fault(when, effect) for when, _, effect in words]


def cases(file: Path, kind: str = "case") -> list[str]:
    """Return the names of other faults from such a file: "case: wrong password"."""
    lines = [line.partition(": ") for line in file.read_text(encoding="utf-8").splitlines()]
    return [text for name, _, text in lines if name == kind]


class DataLost(AssertionError):
    """A fault has changed what is stored."""


#: What came of the faults of this session: operation → tried, survived, lost data.
tally: dict[str, list[int]] = {}


@contextlib.contextmanager
def tried(operation: str) -> Iterator[None]:
    """Count a fault, and whether it was survived."""
    counts = tally.setdefault(operation, [0, 0, 0])
    counts[0] += 1
    try:
        yield
    except DataLost:
        counts[2] += 1
        raise
    counts[1] += 1


def table() -> list[str]:
    """The faults of this session as lines."""
    rows = [["WHAT FAILS", "CASES", "SURVIVED", "DATA LOST"]]
    rows += [[operation, *map(str, counts)] for operation, counts in tally.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def matrix(operation: str, effects: Iterable[str], survive: Callable[[Fault], None]) -> None:
    """Let an operator die at each effect; print what came of it, and fail if anything did not survive."""
    failed = []
    every = [
        Fault(when, effect)
        for effect in effects
        for when in (("before", "during", "after") if effect.startswith(PROGRAMS) else ("before", "after"))
    ]
    for fault in every:
        outcome = "survived"
        try:
            with tried(operation):
                survive(fault)
        except (AssertionError, BenchError) as error:
            outcome = "NOT SURVIVED"
            failed.append(f"{operation}: {fault}: {error}")
        print(f"{operation}: {fault}: {outcome}", flush=True)
    assert not failed, "\n\n".join(failed)


def arm(container: str, fault: Fault | None, clock: int = 0) -> None:
    """Put the killer on a host; without a fault it only writes down what happens. clock: seconds it is ahead."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(KILLER.iterdir()):
            if path.is_file():
                archive.add(path, f"killer/{path.name}", filter=_of_root)
        if fault or clock:
            plan = {key: value for key, value in fault._asdict().items() if value} if fault else {}
            text = json.dumps({**plan, "clock": clock}).encode()
            entry = tarfile.TarInfo("killer/plan.json")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    docker("exec", container, "rm", "-rf", TARGET)
    docker("exec", "-i", container, "tar", "-xC", "/root", data=buffer.getvalue())


def effects(container: str) -> list[str]:
    """Return what the operator has done since the killer was put there."""
    return docker("exec", container, "cat", f"{TARGET}/effects.log").splitlines()


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    return entry
