# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose keys a file holds, without GnuPG."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: key_fingerprints
short_description: Fingerprints of the primary keys in an OpenPGP file
version_added: "0.6.0"
author:
  - the Tamma collection contributors (@meywd)
description:
  - Reads a file of public keys in ASCII armor and returns the fingerprint of each primary key of version 4.
  - A file that is anything else has none.
options:
  _input:
    description: The file's text.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show whose keys these are
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', 'docker.asc') | meywd.tamma.key_fingerprints }}"
"""

RETURN = r"""
_value:
  description: The fingerprints in capitals, without spaces; none where the text cannot be read as a whole.
  type: list
  elements: str
  sample: [9DC858229FC7DD38854AE2D88D81803C0EBFCD88]
"""

import base64
import hashlib
import re
from typing import Any, Callable, Dict, Iterator, List, Tuple

_ARMOR = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----[^\S\n]*\n(?:[^\n:]+:[^\n]*\n)*[^\S\n]*\n"
    r"([A-Za-z0-9+/=\s]*?)(?:\n=[A-Za-z0-9+/]{4})?\s*\n-----END PGP PUBLIC KEY BLOCK-----"
)
_PUBLIC_KEY = 6


def key_fingerprints(text: str) -> List[str]:
    """See DOCUMENTATION."""
    text = text.replace("\r\n", "\n").strip()
    if _ARMOR.sub("", text).strip():
        return []
    try:
        packets = [item for block in _ARMOR.findall(text) for item in _packets(base64.b64decode(block))]
    except (ValueError, IndexError):
        return []
    keys = [body for tag, body in packets if tag == _PUBLIC_KEY]
    if any(body[:1] != b"\x04" for body in keys):
        return []
    return [
        # It is how keys are named, no protection of ours.
        hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # noqa: S324
        for body in keys
    ]


def _packets(data: bytes) -> Iterator[Tuple[int, bytes]]:
    while data:
        head = data[0]
        if not head & 0x80:
            raise ValueError("no packet")
        if head & 0x40:
            tag, first = head & 0x3F, data[1]
            if first < 192:
                size, start = first, 2
            elif first < 224:
                size, start = ((first - 192) << 8) + data[2] + 192, 3
            elif first == 255:
                size, start = int.from_bytes(data[2:6], "big"), 6
            else:
                raise ValueError("a packet in parts")
        else:
            if head & 3 == 3:
                raise ValueError("a packet without an end")
            width = 1 << (head & 3)
            tag, size, start = (head >> 2) & 0xF, int.from_bytes(data[1 : 1 + width], "big"), 1 + width
        if len(data) < start + size:
            raise ValueError("cut off")
        yield tag, data[start : start + size]
        data = data[start + size :]


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"key_fingerprints": key_fingerprints}
