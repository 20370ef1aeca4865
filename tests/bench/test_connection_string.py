"""The stand-in reads connection strings as .NET does, or tests that pass would prove nothing."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.bench.names import IMAGE_SOURCES


def _load() -> ModuleType:
    path = IMAGE_SOURCES / "tamma" / "standin" / "connection_string.py"
    spec = importlib.util.spec_from_file_location("standin_connection_string", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


connection_string = _load()


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
    assert settings == {"host": "db", "username": "tamma", "database": "x", "port": "5432"}
    assert connection_string.parse("a==b=c") == {"a=b": "c"}
