# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any printable secret comes back from each format as it went in."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.formats import (
    parse_dotenv,
    quote_dotenv,
    quote_npgsql,
    quote_url,
    render_dotenv,
    unquote_dotenv,
)
from tests.unit.readers import read_connection_string

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
