"""Reads an ADO.NET connection string by the rules of .NET's DbConnectionStringBuilder."""

import re

_PAIR = re.compile(
    r"""
    [\s;]*
    (?P<key> (?: [^=\s\x00-\x1f\x7f-\x9f] | \s+[^=\s\x00-\x1f\x7f-\x9f] | \s+== | == )+ )
    \s*=(?!=)\s*
    (?P<value>
        "(?: [^"\x00] | "" )*"
      | '(?: [^'\x00] | '' )*'
      | (?!["'\s]) (?: [^;\s\x00-\x1f\x7f-\x9f] | \s+[^;\s\x00-\x1f\x7f-\x9f] )* (?<!["'])
    )
    \s* (?: ; | \Z )
    """,
    re.VERBOSE,
)
_NOTHING = re.compile(r"[\s;]*\Z")

#: Npgsql's names for what a stand-in needs, in lower case.
_SYNONYMS = {
    "host": "host",
    "server": "host",
    "port": "port",
    "database": "database",
    "db": "database",
    "username": "username",
    "user name": "username",
    "user id": "username",
    "userid": "username",
    "uid": "username",
    "password": "password",
    "pwd": "password",
    "psw": "password",
    "ssl mode": "sslmode",
    "sslmode": "sslmode",
    "root certificate": "sslrootcert",
    "rootcertificate": "sslrootcert",
    "trust server certificate": "",
    "trustservercertificate": "",
    "search path": "search_path",
    "searchpath": "search_path",
    "application name": "application_name",
    "applicationname": "application_name",
    "maximum pool size": "pool",
    "max pool size": "pool",
    "maxpoolsize": "pool",
}

#: Npgsql's modes of TLS in libpq's words.
_MODES = {
    "disable": "disable",
    "allow": "allow",
    "prefer": "prefer",
    "require": "require",
    "verifyca": "verify-ca",
    "verifyfull": "verify-full",
}

#: Where a certificate is looked for that is to be checked and whose authority nobody named.
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def parse(text: str) -> dict[str, str]:
    """Return the pairs, keys in lower case; a later pair wins, an empty value removes its key."""
    pairs: dict[str, str] = {}
    position = 0
    while not _NOTHING.match(text, position):
        match = _PAIR.match(text, position)
        if match is None:
            raise ValueError(
                f"Format of the initialization string does not conform to specification starting at index {position}."
            )
        key = match["key"].replace("==", "=").lower()
        value = match["value"]
        if value[:1] in ('"', "'"):
            value = value[1:-1].replace(value[0] * 2, value[0])
        if value:
            pairs[key] = value
        else:
            pairs.pop(key, None)
        position = match.end()
    return pairs


def npgsql(text: str) -> dict[str, str]:
    """Return what of a connection string a stand-in needs, as Npgsql 8 understands it."""
    pairs = parse(text)
    unknown = [key for key in pairs if key not in _SYNONYMS]
    if unknown:
        raise ValueError(f"Couldn't set {unknown[0]}: keyword not supported.")
    settings = {_SYNONYMS[key]: value for key, value in pairs.items() if _SYNONYMS[key]}
    if "host" not in settings:
        raise ValueError("Host can't be null")
    settings.setdefault("port", "5432")
    mode = settings.get("sslmode", "Prefer").lower()
    if mode not in _MODES:
        raise ValueError(f"Couldn't set ssl mode: {mode} is no SslMode.")
    return with_authority(settings, _MODES[mode], settings.pop("sslrootcert", ""))


def with_authority(settings: dict[str, str], mode: str, authority: str) -> dict[str, str]:
    """Add TLS to the settings; libpq would check the certificate in every mode that comes with an authority."""
    tls = {"sslmode": mode}
    if mode.startswith("verify"):
        tls["sslrootcert"] = authority or SYSTEM_AUTHORITIES
    return {**settings, **tls}
