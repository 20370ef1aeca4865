# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of the edge may say, and that nothing else gets into the Caddyfile."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.plugin_utils.edge_settings import (
    basic_names,
    exposed_problems,
    problems,
    warnings,
)

HASH = "$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
GOOD: dict[str, Any] = {
    "tamma_stack_domain": "tamma.example.org",
    "tamma_stack_edge_elsa_domain": "elsa.example.org",
    "tamma_stack_edge_rabbitmq_domain": "",
    "tamma_stack_edge_tls": "acme",
    "tamma_stack_edge_email": "ops+tamma@example.org",
    "tamma_stack_edge_acme_ca": "https://acme.example.org:9000/acme/acme/directory",
    "tamma_stack_edge_users": {"alice": HASH, "bob.b@example.org": HASH.replace("2y", "2b")},
    "tamma_stack_edge_forward_auth": "",
    "tamma_stack_edge_open_paths": ["/api/health", "/.well-known/*", "/a%20b"],
}


def wrong(name: str, value: object) -> list[str]:
    return problems({**GOOD, f"tamma_stack_{name}": value})


def test_good_variables() -> None:
    assert problems(GOOD) == []
    assert problems({}) == []


@pytest.mark.parametrize(
    "name",
    [
        "https://tamma.example.org",
        "tamma.example.org:8443",
        "tamma.example.org/x",
        "a b",
        "*.example.org",
        "a,b",
        "-a.org",
        "10.0.0.1",
        "::1",
        "tämma.example.org",
        "a..b",
        ".a",
        "a.",
        "a_b.org",
        "{$HOME}",
        "a\n:80",
        "x" * 64,
        "a." * 127,
    ],
)
def test_no_domain_name(name: str) -> None:
    (problem,) = wrong("domain", name)
    assert "which is no domain name: give a name such as tamma.example.org" in problem


@pytest.mark.parametrize("name", ["localhost", "tamma", "xn--tmma-5qa.example.org", "a-b.c2.example"])
def test_domain_name(name: str) -> None:
    assert wrong("domain", name) == []


def test_each_domain_is_another_one() -> None:
    (problem,) = wrong("edge_rabbitmq_domain", "ELSA.example.org")
    assert problem.startswith("tamma_stack_edge_rabbitmq_domain and tamma_stack_edge_elsa_domain are both")


@pytest.mark.parametrize(
    "address", ["ops", "ops@", "@example.org", "a b@example.org", "a@b }\n:80 {", "{env.HOME}@a.org"]
)
def test_no_e_mail_address(address: str) -> None:
    assert "which is no e-mail address" in wrong("edge_email", address)[0]


@pytest.mark.parametrize(
    "url", ["http://acme.example.org", "acme.example.org", "https://a b", "https://a/{env.X}", "https://"]
)
def test_no_authority(url: str) -> None:
    assert "which is no https:// address" in wrong("edge_acme_ca", url)[0]


@pytest.mark.parametrize(
    "address", ["http://oauth2-proxy:4180", "https://login.example.org", "[fd00::1]:80", "o_p:4180"]
)
def test_login_service(address: str) -> None:
    assert problems({**GOOD, "tamma_stack_edge_users": {}, "tamma_stack_edge_forward_auth": address}) == []


@pytest.mark.parametrize(
    "address",
    [
        "http://a/path",
        "http://a:4180/",
        "http://user:hidden@a:4180",
        "a b",
        "a {\n}",
        "ftp://a",
        "a:port",
        "a:65536",
        "a:0",
    ],
)
def test_no_login_service(address: str) -> None:
    (problem,) = problems({**GOOD, "tamma_stack_edge_users": {}, "tamma_stack_edge_forward_auth": address})
    assert problem.startswith("tamma_stack_edge_forward_auth is no address of a login service")
    assert "hidden" not in problem


def test_two_logins() -> None:
    (problem,) = wrong("edge_forward_auth", "http://oauth2-proxy:4180")
    assert "are both set" in problem


@pytest.mark.parametrize(
    "hashed",
    ["hidden-word", HASH[:-1], HASH + "x", HASH.replace("$2y", "$1"), "{SHA}hidden-word", HASH + "\n", "", None, 12345],
)
def test_something_else_than_a_hash_is_not_shown(hashed: object) -> None:
    (problem,) = wrong("edge_users", {"alice": hashed})
    assert "something else than a bcrypt hash for alice" in problem
    assert not hashed or str(hashed) not in problem


@pytest.mark.parametrize("cost", ["00", "03", "13", "14", "31"])
def test_cost_that_nobody_waits_for(cost: str) -> None:
    assert "has the cost" in wrong("edge_users", {"alice": HASH.replace("$10$", f"${cost}$")})[0]


@pytest.mark.parametrize("user", ["", "a b", "alice:hidden-word", "a{b", "a\nb", '"a"', "#a", "import", "a`b"])
def test_user_name_that_the_edge_cannot_take(user: str) -> None:
    (problem,) = wrong("edge_users", {user: HASH})
    assert "has a user name that the edge cannot take" in problem
    assert "hidden-word" not in problem


def test_users_that_are_no_dictionary() -> None:
    assert wrong("edge_users", ["alice:hidden-word"]) == [
        "tamma_stack_edge_users is no dictionary: give user names and the bcrypt hashes of their passwords."
    ]


@pytest.mark.parametrize(
    "path", ["api", "*", "/a b", "/a/../b", "/./a", "//api/*", "/a{b}", '/"', "/a*b", "/#", "", None, "/a\n"]
)
def test_no_open_path(path: object) -> None:
    assert "give a path that begins with a slash" in wrong("edge_open_paths", [path])[0]


def test_not_everything_is_open() -> None:
    assert "which opens everything" in wrong("edge_open_paths", ["/*"])[0]


@pytest.mark.parametrize(
    "path",
    [
        *("/api/*", "/api*", "/a*", "/API/*", "/%61pi/*", "/api/engine/*", "/api/engines*", "/api/v1*"),
        *("/elsa-api/*", "/elsa-api/api/*", "/e*", "/api/engine/command", "/Api/Engine/Command"),
    ],
)
def test_what_opens_the_apis(path: str) -> None:
    (problem,) = wrong("edge_open_paths", [path])
    assert problem == (
        f"tamma_stack_edge_open_paths has '{path}', behind which Tamma asks for no login: name single paths."
    )


@pytest.mark.parametrize("path", ["/api/v1/*", "/api/github/callback", "/elsa-api/health", "/apis/*", "/x/api/*"])
def test_what_may_be_open(path: str) -> None:
    assert wrong("edge_open_paths", [path]) == []


#: What has a meaning of its own in a Caddyfile; a comma only in the name of a site.
SPECIAL = re.compile(r"[\s{}\"`#\\]")
ANY = st.one_of(st.text(), st.from_regex(r"[a-z./:@*{}\"`# \n\\-]{1,30}", fullmatch=True))


@given(ANY)
def test_what_is_accepted_stays_one_word_of_the_configuration(text: str) -> None:
    for name in ("domain", "edge_elsa_domain", "edge_email", "edge_acme_ca", "edge_forward_auth"):
        variables = {**GOOD, "tamma_stack_edge_users": {}, f"tamma_stack_{name}": text}
        if text and not problems(variables):
            assert not SPECIAL.search(text)
            assert "domain" not in name or "," not in text
    if not wrong("edge_open_paths", [text]) or not wrong("edge_users", {text: HASH}):
        assert not SPECIAL.search(text)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=8)


@given(NAMES, NAMES, st.binary(max_size=4))
def test_the_beginning_of_a_login_tells_whose_it_is(name: str, other: str, password: bytes) -> None:
    pattern = re.compile(basic_names([name]))
    assert pattern.match(base64.b64encode(name.encode() + b":" + password).decode()) or not password
    if other != name:
        assert not pattern.match(base64.b64encode(other.encode() + b":" + password).decode())


# -- what others than the host reach ----------------------------------------------------------

WITHOUT = {**GOOD, "tamma_stack_edge_users": {}}


def test_an_edge_with_a_login() -> None:
    assert list(exposed_problems(GOOD)) == []
    assert (
        list(exposed_problems({**WITHOUT, "tamma_stack_edge_forward_auth": "http://a:4180"}, claims_login=True)) == []
    )


@pytest.mark.parametrize("claims_login", [False, True])
def test_an_edge_without_a_login(claims_login: bool) -> None:
    (problem,) = exposed_problems(WITHOUT, claims_login=claims_login)
    assert problem.startswith("An edge without a login is refused")
    assert problem.endswith(
        ": set tamma_stack_edge_users or tamma_stack_edge_forward_auth, or tamma_stack_without_login to true if "
        "whoever reaches tamma.example.org may do everything there."
    )
    assert ("TAMMA_ENABLE_AUTH is none, because Tamma answers every login with 401" in problem) == claims_login
    assert list(exposed_problems(WITHOUT, claims_login=claims_login, without_login=True)) == []


def test_services_without_an_edge() -> None:
    (problem,) = exposed_problems({})
    assert problem.startswith("TAMMA_BIND_ADDRESS lets others than the host reach every service without a login")
    assert list(exposed_problems({}, without_login=True)) == []


def test_an_edge_without_a_login_is_a_warning_where_it_may_be() -> None:
    (warning,) = warnings(WITHOUT)
    assert warning.startswith(
        "The edge has no login, and Tamma asks for none: whoever reaches tamma.example.org may do"
    )
    for fine in (GOOD, {}, {**WITHOUT, "tamma_stack_edge_forward_auth": "http://a:4180"}):
        assert list(warnings(fine)) == []


# -- ELSA -----------------------------------------------------------------------------------


def test_elsas_domain_needs_a_login_of_the_edge() -> None:
    (problem,) = problems({**GOOD, "tamma_stack_edge_users": {}})
    assert problem.startswith("tamma_stack_edge_elsa_domain is set, and the edge has no login")
    without = {**WITHOUT, "tamma_stack_edge_elsa_domain": ""}
    assert problems(without) == []
    (problem,) = problems({**without, "tamma_stack_edge_rabbitmq_domain": "rabbitmq.example.org"})
    assert problem.startswith("tamma_stack_edge_rabbitmq_domain is set, and the edge has no login")


@pytest.mark.parametrize("path", ["/workflows/orders/new", "/workflows/orders/*"])
def test_paths_of_workflows_may_be_open(path: str) -> None:
    assert wrong("edge_elsa_open_paths", [path]) == []


@pytest.mark.parametrize(
    "path", ["/workflows/*", "/elsa/api/*", "/workflows", "/Workflows/a", "/workflows/../elsa/api"]
)
def test_nothing_else_of_elsa_may(path: str) -> None:
    assert any("tamma_stack_edge_elsa_open_paths has" in problem for problem in wrong("edge_elsa_open_paths", [path]))


def test_a_key_stays_one_word() -> None:
    assert wrong("elsa_api_key", "k3y-._~+/=") == []
    for key in ('a"b', "a b", "{env.HOME}", "a\nb"):
        (problem,) = wrong("elsa_api_key", key)
        assert key not in problem
