# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a given certificate and its key are fit for the names under which the edge answers."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable

# ansible-core requires it; ansible-test imports this file without.
with contextlib.suppress(ImportError):
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

_CERTIFICATE = "tamma_stack_edge_certificate"
_KEY = "tamma_stack_edge_certificate_key"
_SOON = datetime.timedelta(days=14)


def is_certificate(text: str) -> bool:
    """Whether a text is a certificate in PEM form."""
    try:
        x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        return False
    return True


def judge(certificate: str, key: str, names: Iterable[str], now: datetime.datetime) -> tuple[list[str], list[str]]:
    """Return what is wrong, and what will be soon: a sentence for each, in both lists."""
    try:
        read = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        return [f"{_CERTIFICATE} is no certificate in PEM form: give the text of the file, its chain included."], []
    problems = _key_problems(read, key)
    until = _until(read)
    if until <= now:
        problems.append(f"{_CERTIFICATE} has ended on {until:%Y-%m-%d}: give its successor.")
    missing = [name for name in names if not any(_covers(pattern, name) for pattern in _names(read))]
    if missing:
        problems.append(f"{_CERTIFICATE} is not for {' and '.join(missing)}: give one that names it.")
    if problems or until - now > _SOON:
        return problems, []
    return [], [f"{_CERTIFICATE} ends on {until:%Y-%m-%d}: give its successor, and deploy, before that."]


def _key_problems(certificate: x509.Certificate, key: str) -> list[str]:
    try:
        public = serialization.load_pem_private_key(key.encode(), None).public_key()
    except TypeError:
        return [f"{_KEY} is encrypted, and nobody is there to type its passphrase: give it without, vaulted."]
    except ValueError:
        return [f"{_KEY} is no private key in PEM form: give the text of the file."]
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*form) != certificate.public_key().public_bytes(*form):
        return [f"{_KEY} does not belong to {_CERTIFICATE}: give the two that were made together."]
    return []


def _until(certificate: x509.Certificate) -> datetime.datetime:
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    # Before cryptography 42.
    return certificate.not_valid_after.replace(tzinfo=datetime.timezone.utc)


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        # Browsers look nowhere else.
        return []
    return found.value.get_values_for_type(x509.DNSName)


def _covers(pattern: str, name: str) -> bool:
    pattern, name = pattern.casefold(), name.casefold()
    return pattern == name or (pattern.startswith("*.") and pattern[2:] == name.partition(".")[2])
