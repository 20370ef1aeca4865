# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tags an image of Tamma gets, from what was built: a branch, a release, a commit."""

from __future__ import annotations

import re
from typing import Iterable, List, NamedTuple, Optional, Tuple

_SHORT = 7
_LONGEST = 128
_RELEASE = re.compile(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?")
_COMMIT = re.compile(r"sha-[0-9a-f]{%d,40}" % _SHORT)


class Version(NamedTuple):
    """A released version; *pre* is empty, or begins with a hyphen."""

    number: Tuple[int, int, int]
    pre: str

    @property
    def name(self) -> str:
        """The version as a tag of an image."""
        return "%d.%d.%d%s" % (*self.number, self.pre)


def version(tag: str) -> Optional[Version]:
    """Read a Git tag or the tag of an image as a version: ``v1.2.3``, ``1.2.3-rc.1``; None for any other."""
    found = _RELEASE.fullmatch(tag)
    if not found:
        return None
    major, minor, patch, pre = found.groups()
    return Version((int(major), int(minor), int(patch)), pre or "")


def order(known: Version) -> Tuple[Tuple[int, int, int], bool, List[Tuple[bool, int, str]]]:
    """What versions are sorted by: a release comes after what precedes it, and rc.10 after rc.9."""
    parts = known.pre[1:].split(".")
    return (
        known.number,
        not known.pre,
        [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts],
    )


def commit_tag(sha: str, dirty: bool = False) -> str:
    """The tag that names a commit; what is not committed is said."""
    return "sha-%s%s" % (sha[:_SHORT], "-dirty" if dirty else "")


def tags(
    sha: str,
    branch: str = "",
    tag: str = "",
    default_branch: str = "main",
    dirty: bool = False,
    releases: Iterable[str] = (),
) -> List[str]:
    """All tags of an image, the one that names the commit first.

    releases: the other tags of the source. A correction of an old version takes ``1.2`` or ``1`` from no newer one.
    """
    found = [commit_tag(sha, dirty)]
    if dirty:
        return found
    released = version(tag)
    if released:
        found.append(released.name)
        others = [other.number for other in map(version, releases) if other and not other.pre]
        for length in () if released.pre else (2, 1):
            prefix = released.number[:length]
            newer = any(number[:length] == prefix and number > released.number for number in others)
            # 0.1 and 0.2 have nothing in common that a 0 would stand for.
            if not newer and prefix != (0,):
                found.append(".".join(map(str, prefix)))
    elif branch and branch == default_branch:
        found.append("latest")
    elif branch:
        found.append(branch_tag(branch))
    return found


def branch_tag(branch: str) -> str:
    """The tag of a branch: what a tag may not have in it becomes a hyphen."""
    return ("branch-" + re.sub(r"[^A-Za-z0-9_.-]+", "-", branch).strip("-.")).lower()[:_LONGEST]


def stays(tag: str) -> bool:
    """Whether a tag means the same image for ever, as that of a released version does."""
    return version(tag) is not None and not tag.startswith("v")


def names_a_commit(tag: str) -> bool:
    """Whether a tag names a commit, and nothing beside it."""
    return _COMMIT.fullmatch(tag) is not None
