# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names and paths the operator may choose: they reach units of systemd, lines for a shell, and Compose."""

from __future__ import annotations

import re
from typing import Iterable, Mapping

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
# With spaces between other characters, but none at an end: systemd cuts those off.
_PATH = re.compile(r"(?:/[\w.+@%,=~:-]+(?: +[\w.+@%,=~:-]+)*)+/?")


def project_problems(names: Mapping[str, str]) -> Iterable[str]:
    """One sentence for each name of a stack that is none. names: variable → value."""
    for variable, name in names.items():
        if not _PROJECT.fullmatch(name):
            yield (
                "%s is %s: it takes small letters, digits, '-' and '_', and begins with a letter or a digit."
                % (variable, ascii(name))
            )


def path_problems(paths: Mapping[str, str]) -> Iterable[str]:
    """One sentence for each path that is none. paths: variable → value; an empty one is not set."""
    for variable, path in paths.items():
        if path and not (_PATH.fullmatch(path) and not {".", ".."} & set(path.split("/"))):
            yield (
                "%s is %s: it takes an absolute path of letters, digits, spaces between them and any of "
                "'._+@%%,=~:-', without '.' or '..' as a part." % (variable, ascii(path))
            )
