"""Running other programs: one kind of error for whatever goes wrong, and one run at a time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LAST_LINES = 25
#: Of the machine, because checkouts share the engine, its images and the registry.
LOCK = Path(tempfile.gettempdir()) / f"tamma-bench-{os.getuid()}.lock"


class BenchError(Exception):
    """What failed and what to do about it, in words for the person at the terminal."""


def run(
    argv: Sequence[str | Path],
    *,
    check: bool = True,
    data: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its output as text."""
    words = [str(word) for word in argv]
    try:
        raw = subprocess.run(
            words,
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            check=False,
            timeout=timeout,
            env={**os.environ, **environment} if environment else None,
        )
    except FileNotFoundError as error:
        raise BenchError(f"{words[0]} is not installed, and the bench needs it.") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"`{' '.join(words)}` did not end within {timeout:.0f} s.") from error
    result = subprocess.CompletedProcess(
        words,
        raw.returncode,
        raw.stdout.decode(errors="replace"),
        raw.stderr.decode(errors="replace"),
    )
    if check and result.returncode != 0:
        lines = (result.stdout + result.stderr).strip().splitlines()[-LAST_LINES:]
        raise BenchError(f"`{' '.join(words)}` failed with status {result.returncode}:\n" + "\n".join(lines))
    return result


def docker(*words: str | Path, check: bool = True, data: bytes | None = None) -> str:
    """Run the Docker client and return what it printed."""
    return run(["docker", *words], check=check, data=data).stdout.strip()


@contextmanager
def one_at_a_time(lock: Path = LOCK) -> Iterator[None]:
    """Wait until no other bench command makes something that all sandboxes share."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
