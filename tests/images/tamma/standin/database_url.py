"""Reads a database URL as node-postgres 8 does, with its own ideas of TLS and of escapes."""

import ipaddress
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from .connection_string import with_authority

#: What decodeURI leaves alone in the name of a database.
_KEPT_ESCAPES = re.compile("(%(?:23|24|26|2B|2C|2F|3A|3B|3D|3F|40))", re.IGNORECASE)


def node_postgres(url: str) -> dict[str, str]:
    """Return host, port, database, username, password, sslmode and sslrootcert; ValueError when it is none."""
    parts = urlsplit(url)
    settings = {
        "host": parts.hostname or "localhost",
        "port": str(parts.port or 5432),
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": _decode_uri(parts.path[1:]),
    }
    if parts.scheme not in ("postgres", "postgresql") or not settings["database"]:
        raise ValueError("DATABASE_URL is not a valid URL of a PostgreSQL database")
    query = dict(parse_qsl(parts.query))
    authority = query.get("sslrootcert", "")
    mode = _mode(query.get("sslmode", ""), authority, query.get("uselibpqcompat") == "true")
    if mode == "verify-full" and _is_address(settings["host"]):
        # Before 8.23 it looks for "localhost" in the certificate.
        raise ValueError("Hostname/IP does not match certificate's altnames: Host: localhost.")
    return with_authority(settings, mode, authority)


def _mode(given: str, authority: str, as_libpq: bool) -> str:
    if given == "disable" or not (given or authority):
        return "disable"
    if as_libpq:
        if given == "verify-ca" and not authority:
            raise ValueError("SECURITY WARNING: Using sslmode=verify-ca requires specifying a CA with sslrootcert.")
        if given in ("prefer", "require"):
            return "verify-ca" if given == "require" and authority else "require"
        return "verify-ca" if given == "verify-ca" else "verify-full"
    return "require" if given == "no-verify" else "verify-full"


def _decode_uri(text: str) -> str:
    return "".join(part if number % 2 else unquote(part) for number, part in enumerate(_KEPT_ESCAPES.split(text)))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
