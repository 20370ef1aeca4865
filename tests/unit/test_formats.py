# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any printable secret comes back from each format as it went in."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.formats import (
    first_rabbitmq_password,
    parse_dotenv,
    quote_dotenv,
    quote_npgsql,
    quote_url,
    render_appsettings,
    render_dotenv,
    render_node_environment,
    render_rabbitmq_config,
    unquote_dotenv,
)
from tests.unit.readers import read_connection_string, read_erlang_bytes, read_node_environment

# No control characters, no line or paragraph separators; every script and symbol else.
printable = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=128)
awkward = st.text(st.sampled_from("\\\"'$#{}=;: %@/ab\u00e9"), max_size=12)
names = st.from_regex(r"[A-Z_][A-Z0-9_]{0,20}", fullmatch=True)


@given(printable | awkward)
@example("")
@example('\\"')
@example("\\\\")
@example("ends with \\")
@example("$$ ${HOME} \\$ $")
@example(" # not a comment #")
@example("' \" '\"")
def test_dotenv_gives_back_any_printable_text(value: str) -> None:
    assert unquote_dotenv(quote_dotenv(value)) == value


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@example("next\x85line")
@example("line\u2028separator")
def test_text_is_refused_or_stays_on_its_line(value: str) -> None:
    """A file is read line by line, so what ends a line for the reader must not get into it."""
    try:
        written = render_dotenv([("one", {"VALUE": value, "AFTER": "it"})])
    except ValueError:
        return
    assert parse_dotenv(written) == {"VALUE": value, "AFTER": "it"}


@pytest.mark.parametrize("character", [chr(code) for code in [*range(32), 127]])
def test_a_control_character_is_refused(character: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        quote_dotenv("before" + character + "after")


@pytest.mark.parametrize("value", ["simple", "ghcr.io/meywd", "a=b", "postgres:15@sha256~1", "100%", "a,b+c_d-e"])
def test_a_value_that_needs_no_quotes_gets_none(value: str) -> None:
    assert quote_dotenv(value) == value


@given(
    st.lists(
        st.tuples(st.sampled_from(["Settings", 'Secrets = # "']), st.dictionaries(names, awkward, max_size=5)),
        max_size=3,
    )
)
def test_a_rendered_file_is_read_back(sections: list[tuple[str, dict[str, str]]]) -> None:
    expected: dict[str, str] = {}
    for _title, values in sections:
        expected.update(values)
    assert parse_dotenv(render_dotenv([*sections])) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("KEY=value", {"KEY": "value"}),
        ("  KEY =  value  ", {"KEY": "value"}),
        ("export KEY=value", {"KEY": "value"}),
        ("KEY=", {"KEY": ""}),
        ("KEY=a=b", {"KEY": "a=b"}),
        ("KEY=value # comment", {"KEY": "value"}),
        ("KEY=value#kept", {"KEY": "value#kept"}),
        ('KEY="value" # comment', {"KEY": "value"}),
        ("KEY='a \"b\" $c #d'", {"KEY": 'a "b" $c #d'}),
        ("KEY='it\\'s'", {"KEY": "it's"}),
        ('KEY="\\$HOME"', {"KEY": "$HOME"}),
        ("# KEY=value", {}),
        ("#KEY=value", {}),
        ("KEY", {}),
        ("", {}),
    ],
)
def test_a_line_that_somebody_wrote_by_hand(line: str, expected: dict[str, str]) -> None:
    assert parse_dotenv(line) == expected


@given(printable | awkward)
@example("; Host=elsewhere; ")
@example('""')
@example(" spaces at the ends ")
def test_npgsql_gives_back_any_printable_text(value: str) -> None:
    text = "Server=postgres;User Id=tamma;Password=%s;" % quote_npgsql(value)
    assert read_connection_string(text) == {"server": "postgres", "user id": "tamma", "password": value}


@given(printable | awkward)
@example("p@ss:w/rd?#%[]")
def test_a_url_gives_back_any_printable_text(value: str) -> None:
    url = urlsplit("postgresql://tamma:%s@postgres:5432/tamma" % quote_url(value))
    assert unquote(url.password or "") == value
    assert (url.username, url.hostname, url.port, url.path) == ("tamma", "postgres", 5432, "/tamma")
    assert url.geturl().isascii()


# -- secret files ---------------------------------------------------------------------------

# Names of ASP.NET's settings: levels with two underscores between them, none of which is a value as well.
setting_names = st.sampled_from(
    ["ConnectionStrings__DefaultConnection", "Elsa__Identity__SigningKey", "Elsa__ApiKey", "Jwt__Secret", "Plain"]
)


def flat(tree: dict[str, Any], above: str = "") -> dict[str, str]:
    """Every value of ASP.NET's JSON, by the name that the same setting has as a variable."""
    values: dict[str, str] = {}
    for name, value in tree.items():
        values.update(flat(value, above + name + "__") if isinstance(value, dict) else {above + name: value})
    return values


@given(st.dictionaries(setting_names, printable | awkward))
def test_appsettings_have_every_setting_where_aspnet_looks_for_it(values: dict[str, str]) -> None:
    written = render_appsettings(values)
    assert flat(json.loads(written.encode("utf-8"))) == values


def test_appsettings_nest_by_two_underscores() -> None:
    values = {"Elsa__Identity__SigningKey": "a", "Elsa__ApiKey": "b", "GitHub__Token": "c"}
    expected = {"Elsa": {"Identity": {"SigningKey": "a"}, "ApiKey": "b"}, "GitHub": {"Token": "c"}}
    assert json.loads(render_appsettings(values)) == expected


@given(st.dictionaries(names, printable | awkward, max_size=4))
@example({"DATABASE_URL": "line\u2028separator \u2029 `${x}` */ </script>"})
def test_a_script_for_node_sets_every_variable(values: dict[str, str]) -> None:
    assert read_node_environment(render_node_environment(values)) == values


@given(printable | awkward)
@example("\x80 and beyond \xff: ü€𝄞")
def test_rabbitmq_first_stores_the_bytes_that_its_clients_send(value: str) -> None:
    spelled = first_rabbitmq_password(value)
    assert read_erlang_bytes(render_rabbitmq_config({"RABBITMQ_DEFAULT_PASS": spelled})) == value.encode("utf-8")


@given(st.text(st.characters(max_codepoint=126, exclude_categories=["Cc"])))
def test_a_first_password_of_ascii_stays_as_it_is(value: str) -> None:
    assert first_rabbitmq_password(value) == value
