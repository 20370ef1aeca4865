"""The stand-in reads connection strings as .NET does, and URLs as node-postgres does.

Otherwise tests that pass would prove nothing.
"""

from __future__ import annotations

import pytest

from tests.tools import standin

connection_string = standin.load("connection_string")
node_postgres = standin.load("database_url").node_postgres

SYSTEM = "/etc/ssl/certs/ca-certificates.crt"


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("Password=plain", "plain"),
        ("Password = spaces around = and inside ;", "spaces around = and inside"),
        ('Password="semi;colon"', "semi;colon"),
        ("Password='semi;colon'", "semi;colon"),
        ('Password="say ""hi"""', 'say "hi"'),
        ("Password='it''s'", "it's"),
        ("Password='say \"hi\"'", 'say "hi"'),
        ('Password=" kept "', " kept "),
        ("Password=in'side", "in'side"),
        ("Password=one;Password=two", "two"),
        ("PWD=synonym", "synonym"),
        ("Password=a==b", "a==b"),
    ],
)
def test_value(text: str, password: str) -> None:
    assert connection_string.npgsql(f"Host=postgres;{text}")["password"] == password


@pytest.mark.parametrize("text", ["Password", 'Password="open', "Password=ends with'", 'Password="a"b', "=x"])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="starting at index 14"):
        connection_string.parse(f"Host=postgres;{text}")


def test_a_value_cut_by_a_semicolon_is_refused_not_shortened() -> None:
    with pytest.raises(ValueError, match="does not conform"):
        connection_string.npgsql("Host=postgres;Password=before;after")


def test_an_empty_value_removes_its_key() -> None:
    assert "password" not in connection_string.npgsql("Host=postgres;Password=x;Password=;")


def test_unknown_keywords_are_refused() -> None:
    with pytest.raises(ValueError, match="Couldn't set colour"):
        connection_string.npgsql("Host=postgres;Colour=red")


def test_names_in_any_case_and_a_key_with_an_equals_sign() -> None:
    settings = connection_string.npgsql("SERVER=db;User Id=tamma;database=x;")
    assert settings == {"host": "db", "username": "tamma", "database": "x", "port": "5432", "sslmode": "prefer"}
    assert connection_string.parse("a==b=c") == {"a=b": "c"}


@pytest.mark.parametrize(
    ("text", "tls"),
    [
        ("SSL Mode=Disable", {"sslmode": "disable"}),
        ("SslMode=require;Trust Server Certificate=true;Root Certificate=/ca", {"sslmode": "require"}),
        ("SSL Mode=VerifyCA;Root Certificate=/ca", {"sslmode": "verify-ca", "sslrootcert": "/ca"}),
        ("SSL Mode=VerifyFull", {"sslmode": "verify-full", "sslrootcert": SYSTEM}),
    ],
)
def test_tls_of_npgsql(text: str, tls: dict[str, str]) -> None:
    assert connection_string.npgsql(f"Host=db;{text}") == {"host": "db", "port": "5432", **tls}


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="verify-full is no SslMode"):
        connection_string.npgsql("Host=db;SSL Mode=verify-full")


# Each line was tried with pg 8.13 to 8.16 and a real server.
@pytest.mark.parametrize(
    ("query", "tls"),
    [
        ("", {"sslmode": "disable"}),
        ("?sslmode=disable", {"sslmode": "disable"}),
        ("?sslmode=no-verify", {"sslmode": "require"}),
        ("?sslmode=require", {"sslmode": "verify-full", "sslrootcert": SYSTEM}),
        ("?sslmode=require&uselibpqcompat=true", {"sslmode": "require"}),
        ("?sslmode=verify-ca&sslrootcert=/ca", {"sslmode": "verify-full", "sslrootcert": "/ca"}),
        ("?sslmode=verify-ca&uselibpqcompat=true&sslrootcert=/ca", {"sslmode": "verify-ca", "sslrootcert": "/ca"}),
        ("?sslmode=verify-full&sslrootcert=/ca", {"sslmode": "verify-full", "sslrootcert": "/ca"}),
        ("?sslrootcert=/ca", {"sslmode": "verify-full", "sslrootcert": "/ca"}),
    ],
)
def test_tls_of_node_postgres(query: str, tls: dict[str, str]) -> None:
    login = {"host": "db", "port": "6432", "username": "me:", "password": "p@ss", "database": "x"}
    assert node_postgres(f"postgresql://me%3A:p%40ss@db:6432/x{query}") == {**login, **tls}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://me@db/x", "not a valid URL"),
        ("postgresql://me@db/", "not a valid URL"),
        ("postgresql://me@db/x?sslmode=verify-ca&uselibpqcompat=true", "requires specifying a CA"),
        ("postgresql://me@10.0.0.1/x?sslmode=verify-full", "does not match certificate's altnames"),
    ],
)
def test_urls_that_node_postgres_refuses(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        node_postgres(url)


@pytest.mark.parametrize(
    ("path", "database"),
    [("a@b", "a@b"), ("a%40b", "a%40b"), ("%C3%BC%20;/=%25x", "ü ;/=%x"), ("%C3%BC%20%3B%25x", "ü %3B%x")],
)
def test_node_postgres_leaves_some_escapes_in_a_database_name(path: str, database: str) -> None:
    assert node_postgres(f"postgresql://me@db/{path}")["database"] == database
