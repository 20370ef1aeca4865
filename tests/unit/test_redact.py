# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No spelling of a secret survives, and nothing else changes."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.formats import quote_dotenv, quote_npgsql, quote_url
from ansible_collections.meywd.tamma.plugins.module_utils.redact import MASK, Redactor, settings_in

# Without the mask's own character, which is in the text afterwards anyhow.
characters = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="*")
secrets = st.text(characters, min_size=4, max_size=40) | st.text(
    st.sampled_from("\\\"'$#=;@ab"), min_size=4, max_size=12
)


def in_dotenv(value: str) -> str:
    """What stands in .env between the quotes, if there are any."""
    written = quote_dotenv(value)
    return value if written == value else written[1:-1]


def spellings(secret: str) -> list[str]:
    """The secret as it stands in .env, in a connection string, in JSON and in a URL, without outer quotes."""
    in_json = json.dumps(secret, ensure_ascii=False)[1:-1]
    return [secret, in_dotenv(secret), quote_npgsql(secret)[1:-1], in_json, quote_url(secret)]


@given(secrets)
@example('pa"ss$word')
@example("back\\slash$")
@example('all"of\\them$')
def test_no_spelling_survives(secret: str) -> None:
    redactor = Redactor([secret])
    for spelling in spellings(secret):
        assert spelling not in redactor.mask("KEY=<%s>" % spelling)


@given(secrets)
@example('pa"ss')
@example("$money")
def test_no_line_of_an_environment_file_shows_the_database_password(secret: str) -> None:
    """.env holds it three times; the redactor is told all three values."""
    values = [secret, quote_npgsql(secret), quote_url(secret)]
    redactor = Redactor(values)
    for value in values:
        assert in_dotenv(value) not in redactor.mask("KEY=%s" % quote_dotenv(value))


@given(st.text("abc \n"), st.text('XYZ$"\\', min_size=4, max_size=20), st.text("abc \n"))
def test_what_surrounds_a_secret_stays(before: str, secret: str, after: str) -> None:
    assert Redactor([secret]).mask(before + secret + after) == before + MASK + after


def test_a_secret_within_a_longer_one_goes_with_it() -> None:
    assert Redactor(["inner", "the inner one"]).mask("(the inner one, inner)") == "(%s, %s)" % (MASK, MASK)


def test_a_value_too_short_to_be_a_secret_garbles_nothing() -> None:
    assert Redactor(["abc", ""]).mask("abcdef") == "abcdef"


def test_settings_in_an_overlay_count_as_secrets() -> None:
    overlay = (
        "services:\n  api:\n    image: reg/api\n    environment:\n      API_KEY: 'abc def'\n      - OTHER_KEY=xyz\n"
    )
    assert settings_in(overlay) == ["abc def", "xyz"]
    assert settings_in('{\n  "A_TOKEN": "t-1",\n  "image": "i"\n}') == ["t-1"]
    assert settings_in("    APIKEY: k-1\n    CMD: run\n    image: i\n") == ["k-1"]


def test_no_line_of_a_key_survives() -> None:
    lines = [
        "-----BEGIN PRIVATE KEY-----",
        "MIIEvQIBADANBgkqhkiG9w0B",
        "AQEFAASCBKcwggSjAgEAAoIB",
        "-----END PRIVATE KEY-----",
    ]
    redactor = Redactor(["\n".join(lines) + "\n"])
    for line in lines[1:3]:
        assert line not in redactor.mask("an error in line 2: %s!" % line)
    assert redactor.mask("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"
