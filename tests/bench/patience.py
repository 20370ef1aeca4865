"""Waiting for conditions, for longer on a machine that is slow or busy.

A deadline says how long something takes at the very most on a quiet machine. A run measures once how much slower its
own one is, so that a busy machine makes it slower, and not red.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from typing import TypeVar

from . import clock
from .command import BenchError

FACTOR = "TAMMA_PATIENCE"
#: A fixed job: so many rounds take so many seconds on one of two quiet cores.
ROUNDS, SECONDS = 400, 0.24
BLOCK = bytes(2**20)

Found = TypeVar("Found")


def measure() -> float:
    """Do the job; let this process and those that it starts be so much more patient, and return by how much."""
    began = time.monotonic()
    for _ in range(ROUNDS):
        hashlib.sha256(BLOCK)
    factor = max(1.0, (time.monotonic() - began) / SECONDS)
    os.environ[FACTOR] = f"{factor:.1f}"
    return factor


def scaled(seconds: float) -> float:
    """Return a deadline as it is on this machine."""
    return seconds * float(os.environ.get(FACTOR, "1"))


def wait_until(look: Callable[[], Found], seconds: float, what: str, hint: Callable[[], str] = str) -> Found:
    """Look until there is something to see, and return that; when nothing comes, *hint* is asked what else to tell."""
    deadline = time.monotonic() + scaled(seconds)
    with clock.phase(f"waiting for {what}"):
        while not (found := look()):
            if time.monotonic() > deadline:
                raise BenchError(" ".join([f"Waited {scaled(seconds):.0f} s in vain for {what}.", hint()]).rstrip())
            time.sleep(0.1)
    return found
