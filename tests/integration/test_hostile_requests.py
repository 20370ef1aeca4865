# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edge answers to those who mean no good: a real Caddy with our configuration, and services that tell."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.bench import caddy as bench
from tests.bench.caddy import DOMAIN, ELSA, LOGIN, RABBITMQ, Caddy

AUTHORIZATION = "Authorization: Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()
SESSION = "Cookie: _oauth2_proxy=session=good; theme=dark"


@pytest.fixture(scope="module")
def caddy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    with bench.running(tmp_path_factory.mktemp("caddy"), tamma_stack_edge_users={LOGIN[0]: ""}) as running:
        yield running


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    """One that asks a login service about everybody."""
    with bench.running(tmp_path_factory.mktemp("asking"), forward_auth=True) as running:
        yield running


#: Request target → what a stranger is answered, and which path a service sees of somebody who is logged in; both are
#: answered 400 where it is "refused".
TARGETS = {
    # Ordinary ones.
    "/api/health": (200, "/api/health"),
    "/api/health?x=1": (200, "/api/health?x=1"),
    "/elsa-api/health": (200, "/health"),
    "/api/v1/thing": (200, "/api/v1/thing"),
    "/": (401, "/"),
    "/api/engines": (401, "/api/engines"),
    "/api/engines/a%20b": (401, "/api/engines/a%20b"),
    "/api/engines/%C3%BC": (401, "/api/engines/%C3%BC"),
    "/api/engines/ü": (401, "/api/engines/%C3%BC"),
    "/api/engines/100%25": (401, "/api/engines/100%25"),
    "/api/engines/.hidden": (401, "/api/engines/.hidden"),
    "/api/engines/a..b": (401, "/api/engines/a..b"),
    "/api/engines?next=%2Fa%2F..%2Fb": (401, "/api/engines?next=%2Fa%2F..%2Fb"),
    "/api/engines?x=%252f%00": (401, "/api/engines?x=%252f%00"),
    # Encoded slashes.
    "/api/engines/..%2fhealth": "refused",
    "/api/engines/..%2Fhealth": "refused",
    "/api/engines%2f..%2fhealth": "refused",
    "/api%2fhealth": "refused",
    "/api/engine%2fcommand": "refused",
    "/elsa-api/..%2fapi/engines": "refused",
    "/elsa-api/health%2f": "refused",
    "/api/v1/..%2fengines": "refused",
    "/api/v1%2f..%2fengines": "refused",
    # Dot segments.
    "/api/engines/../health": "refused",
    "/api/./health": "refused",
    "/api/health/.": "refused",
    "/api/health/..": "refused",
    "/api/health/../engines": "refused",
    "/api/v1/../engines": "refused",
    "/elsa-api/health/../api/x": "refused",
    "/..": "refused",
    "/.../x": "refused",
    "/api/engines/..?/x": "refused",
    # Encoded dots.
    "/api/engines/%2e%2e/health": "refused",
    "/api/engines/%2E%2E%2Fhealth": "refused",
    "/api/engines/.%2e/health": "refused",
    "/api/v1/%2e%2e/engines": "refused",
    "/elsa-api/%2e%2e/api/health": "refused",
    "/api/health%2e": "refused",
    # Double slashes.
    "//api/health": "refused",
    "/api//health": "refused",
    "/api/v1//engines": "refused",
    "/api/engine//command": "refused",
    "/api/health//": "refused",
    # Backslashes.
    "/api/health\\..\\engines": "refused",
    "/api/engines\\..\\health": "refused",
    "/api/engines/..%5chealth": "refused",
    # Encoded twice.
    "/api/engines/..%252fhealth": "refused",
    "/api/engines/%252e%252e/health": "refused",
    "/api/engines/..%255chealth": "refused",
    # Overlong UTF-8, and what is none.
    "/api/engines/..%c0%afhealth": "refused",
    "/api/engines/%c0%ae%c0%ae/health": "refused",
    "/api/engines/..%e0%80%afhealth": "refused",
    "/api/engines/..%f0%80%80%afhealth": "refused",
    "/api/engines/%ff": "refused",
    # Null and other control characters, and what is no encoding.
    "/api/health%00": "refused",
    "/api/health%00/../engines": "refused",
    "/api/health%0a": "refused",
    "/api/health%0d%0aX: y": "refused",
    "/api/health%7f": "refused",
    "/api/health%": "refused",
    "/api/health%zz": "refused",
    # Semicolons.
    "/api/health;x=1": (401, "/api/health;x=1"),
    "/api/health;/../engines": "refused",
    "/api/engines/..;/health": "refused",
    "/api/engines;/health": (401, "/api/engines;/health"),
    # Another case, and other ways to write an open path.
    "/API/health": (401, "/API/health"),
    "/api/HEALTH": (401, "/api/HEALTH"),
    "/api/%68ealth": (401, "/api/%68ealth"),
    "/api/health/": (401, "/api/health/"),
    "/api/healthy": (401, "/api/healthy"),
    "/api/v1": (401, "/api/v1"),
    # Trailing dots and spaces.
    "/api/health.": (401, "/api/health."),
    "/api/health..": (401, "/api/health.."),
    "/api/health%20": (401, "/api/health%20"),
    # Fragments, question marks, and what is in a query.
    "/api/health#/engines": (401, "/api/health%23/engines"),
    "/api/health%23": (401, "/api/health%23"),
    "/api/health%3f": (401, "/api/health%3f"),
    "/api/health?/../engines": (200, "/api/health?/../engines"),
    "/api/health??x": (200, "/api/health??x"),
    "/api/engines?/api/health": (401, "/api/engines?/api/health"),
    # What the edge itself would replace.
    "/api/engines/{http.request.host}": (401, "/api/engines/%7Bhttp.request.host%7D"),
    "/api/engines?{http.request.host}": (401, "/api/engines?{http.request.host}"),
    # Whole addresses, and no path.
    f"https://{DOMAIN}/api/health": (200, "/api/health"),
    f"https://{DOMAIN}/api/engines": (401, "/api/engines"),
    f"https://{DOMAIN}/api/engines/..%2fhealth": "refused",
    "foo:bar": "refused",
    "*": "refused",
}


@pytest.mark.parametrize("target", TARGETS)
def test_hostile_requests(caddy: Caddy, target: str) -> None:
    expected = TARGETS[target]
    stranger, known = caddy.ask(target), caddy.ask(target, AUTHORIZATION)
    if isinstance(expected, str):
        assert (stranger.status, known.status) == (400, 400)
        return
    status, path = expected
    assert (stranger.status, known.status, known.seen["path"]) == (status, 200, path)
    if status == 200:
        assert stranger.seen["path"] == path


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "TRACK"])
def test_methods_that_nobody_needs(caddy: Caddy, method: str) -> None:
    assert caddy.ask("/api/health", AUTHORIZATION, method=method).status == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (DOMAIN.upper(), 401),
        (DOMAIN + ".", 200),
        (DOMAIN + ":1", 401),
        (f"evil.example, {DOMAIN}", 400),
        (f"{DOMAIN}@evil.example", 400),
        ("localhost", 200),
        ("127.0.0.1", 200),
        ("tamma-api", 200),
    ],
)
def test_other_names_lead_to_no_service(caddy: Caddy, host: str, status: int) -> None:
    """What the edge does not know it answers itself, with nothing."""
    answer = caddy.ask("/api/engines", host=host)
    assert answer.status == status
    assert "service" not in answer.text


def test_another_sites_name_is_asked_for_its_login(caddy: Caddy) -> None:
    assert caddy.ask("/elsa/api/x", host=ELSA, site=DOMAIN).status == 401
    assert caddy.ask("/elsa/api/x", AUTHORIZATION, host=ELSA, site=DOMAIN).seen["service"] == "elsa-server"


def test_an_absolute_target_counts_more_than_the_host_header(caddy: Caddy) -> None:
    assert "service" not in caddy.ask("http://evil.example/api/engines", AUTHORIZATION).text


# -- who somebody is ------------------------------------------------------------------------

CLAIMS = [
    *("X-Real-IP", "Forwarded", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups"),
    *("X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token", "X-Forwarded-Prefix", "X-Forwarded-Uri"),
    *("X-Auth-Request-User", "X-Auth-Request-Groups", "X-Auth-Request-Access-Token", "X-Authenticated-User"),
    *("Remote-User", "Remote-Groups", "X-Remote-User", "X-WebAuth-User", "X-User", "X-Client-IP", "True-Client-IP"),
    *("CF-Connecting-IP", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Method-Override"),
    *("X_Real_IP", "Remote_User", "X_Auth_Request_User", "X-Tamma-Without-Login", "X-SSL-Client-Verify", "Proxy"),
    "Tamma-Stream",
]


@pytest.mark.parametrize("target", ["/api/engines", "/api/health", "/elsa-api/x", "/", "/api/v1/x"])
def test_what_a_client_says_about_itself_is_removed(caddy: Caddy, target: str) -> None:
    headers = caddy.ask(target, AUTHORIZATION, *(f"{name}: mallory" for name in CLAIMS)).seen["headers"]
    assert not [name for name, value in headers.items() if "mallory" in value]


def test_where_a_request_comes_from_is_said_by_the_edge(caddy: Caddy) -> None:
    claims = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http")
    headers = caddy.ask("/api/engines", AUTHORIZATION, *claims).seen["headers"]
    assert "6.6.6.6" not in headers["x-forwarded-for"]
    assert (headers["x-forwarded-host"], headers["x-forwarded-proto"]) == (DOMAIN, "https")


@pytest.mark.parametrize("target", ["/api/engines", "/api/health", "/", "/elsa-api/health"])
def test_no_service_sees_the_password(caddy: Caddy, target: str) -> None:
    for header in (AUTHORIZATION, AUTHORIZATION.replace("Basic", "basic")):
        assert "authorization" not in caddy.ask(target, header).seen["headers"]


def test_an_open_path_may_bring_a_key_of_its_own(caddy: Caddy) -> None:
    headers = caddy.ask("/api/v1/x", "Authorization: Bearer abc").seen["headers"]
    assert headers["authorization"] == "Bearer abc"
    assert headers["x-tamma-without-login"] == "1"
    assert "x-tamma-without-login" not in caddy.ask("/api/engines", AUTHORIZATION).seen["headers"]


def test_elsa_gets_its_key_and_nobody_brings_another(caddy: Caddy) -> None:
    for target in ("/elsa/api/x", "/elsa/api/x?y"):
        seen = caddy.ask(target, AUTHORIZATION, site=ELSA).seen
        assert (seen["service"], seen["headers"]["authorization"]) == ("elsa-server", bench.KEY)
    for target in ("/workflows/open/x", "/workflows/x"):
        assert "authorization" not in caddy.ask(target, AUTHORIZATION, site=ELSA).seen["headers"]
    assert "authorization" not in caddy.ask("/workflows/open/x", "Authorization: ApiKey x", site=ELSA).seen["headers"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/workflows/open/x", 200),
        ("/workflows/open/..%2f..%2felsa/api/x", 400),
        ("/workflows/open/../../elsa/api/x", 400),
        ("/Workflows/open/x", 401),
        ("/workflows/x", 401),
        ("/elsa/api/identity/login", 401),
    ],
)
def test_what_is_open_at_elsa(caddy: Caddy, target: str, status: int) -> None:
    assert caddy.ask(target, site=ELSA).status == status


@pytest.mark.parametrize("target", ["/elsa/api/identity", "/elsa/api/identity/login", "/ELSA/api/%69dentity/login"])
def test_elsas_own_login_is_not_there(caddy: Caddy, target: str) -> None:
    assert caddy.ask(target, AUTHORIZATION, site=ELSA, method="POST").status == 404


def test_queues_have_the_names_they_have(caddy: Caddy) -> None:
    for target in ("/api/queues/%2F/a", "/api/queues/%2F/50%25ab", "/api/queues/%2f/a%2Fb"):
        assert caddy.ask(target, site=RABBITMQ).status == 401
        assert caddy.ask(target, AUTHORIZATION, site=RABBITMQ).seen["path"] == target
    assert caddy.ask("/api/queues/../x", AUTHORIZATION, site=RABBITMQ).status == 400


def test_a_guess_costs_no_hash(caddy: Caddy) -> None:
    """Of a name that nobody has; Caddy would compute one of the cost 14, a second and more."""
    began = time.monotonic()
    for number in range(20):
        guess = base64.b64encode(b"operato%d:bench-password" % number).decode()
        answer = caddy.ask("/", f"Authorization: Basic {guess}")
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="restricted"')
    assert time.monotonic() - began < 10
    wrong = base64.b64encode(b"operator:another").decode()
    assert caddy.ask("/", f"Authorization: Basic {wrong}").status == 401


# -- pages of somebody else -----------------------------------------------------------------

OWN, OTHER = f"Origin: https://{DOMAIN}", "Origin: https://evil.example"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", (), 200),
        ("POST", ("Sec-Fetch-Site: same-origin",), 200),
        ("POST", ("Sec-Fetch-Site: none",), 200),
        ("POST", (OWN,), 200),
        ("POST", (OWN, "Sec-Fetch-Site: same-origin"), 200),
        ("POST", ("Sec-Fetch-Site: cross-site",), 403),
        ("POST", ("Sec-Fetch-Site: same-site",), 403),
        ("POST", (OTHER,), 403),
        ("POST", (OTHER, "Sec-Fetch-Site: same-origin"), 403),
        ("POST", ("Origin: null",), 403),
        ("POST", (f"Origin: http://{DOMAIN}",), 403),
        ("POST", (f"Origin: https://{DOMAIN}.evil.example",), 403),
        ("POST", (f"Origin: https://{DOMAIN}:8443",), 403),
        ("POST", (OTHER, OWN), 403),
        *((method, (OTHER,), 403) for method in ("PUT", "PATCH", "DELETE", "PROPFIND")),
        ("GET", (OTHER, "Sec-Fetch-Site: cross-site"), 200),
        ("HEAD", (OTHER, "Sec-Fetch-Site: cross-site"), 200),
        ("GET", (OTHER, "Connection: upgrade", "Upgrade: websocket"), 403),
        ("GET", ("Sec-Fetch-Site: cross-site", "Connection: upgrade", "Upgrade: websocket"), 403),
    ],
)
def test_a_page_of_somebody_else_changes_nothing(
    caddy: Caddy, method: str, headers: tuple[str, ...], status: int
) -> None:
    if method == "PROPFIND":
        # The service does not know it.
        assert caddy.ask("/api/engines", AUTHORIZATION, *headers, method=method).status == status
        return
    for target in ("/api/engines", "/", "/elsa-api/x"):
        assert caddy.ask(target, AUTHORIZATION, *headers, method=method).status == status


def test_webhooks_and_clients_with_keys_come_from_anywhere(caddy: Caddy) -> None:
    for target in ("/api/github/webhooks", "/api/v1/x"):
        assert caddy.ask(target, OTHER, "Sec-Fetch-Site: cross-site", method="POST").status == 200


def test_at_elsa_a_link_is_enough(caddy: Caddy) -> None:
    elsewhere = "Sec-Fetch-Site: cross-site"
    for target, status in (("/workflows/x", 403), ("/elsa/api/x", 403), ("/workflows/open/x", 200)):
        assert caddy.ask(target, AUTHORIZATION, elsewhere, site=ELSA).status == status
    assert caddy.ask("/workflows/x", AUTHORIZATION, "Sec-Fetch-Site: none", site=ELSA).status == 200
    assert caddy.ask("/workflows/x", AUTHORIZATION, OTHER, site=ELSA).status == 403


@pytest.mark.parametrize("site", [DOMAIN, ELSA, RABBITMQ])
def test_headers_of_every_answer(caddy: Caddy, site: str) -> None:
    for answer in (
        caddy.ask("/", AUTHORIZATION, site=site),
        caddy.ask("/", site=site),
        caddy.ask("/x/../y", site=site),
    ):
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    policy = caddy.ask("/", AUTHORIZATION, site=site).headers["content-security-policy"]
    assert ("default-src 'self'" in policy) == (site != DOMAIN)


# -- a login service ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["/", "/api/engines?x=1&rd=https://evil.example", "/a%20b?c=%26&d=+", "/a&rd=evil.example", "/a?b#c", "/{a}?{b}"],
)
def test_the_way_back_from_a_login_is_one_value(asking: Caddy, target: str) -> None:
    answer = asking.ask(target)
    assert answer.status == 302
    location = urlsplit(answer.headers["location"])
    assert location.path == "/oauth2/sign_in"
    ((name, value),) = parse_qsl(location.query, keep_blank_values=True)
    assert (name, value.partition(DOMAIN)[2].partition("/")[2]) == ("rd", target[1:])


def test_who_is_logged_in_there(asking: Caddy) -> None:
    claims = ("X-Auth-Request-User: mallory", "X-Auth-Request-Groups: admins", "X-Forwarded-User: mallory")
    headers = asking.ask("/api/engines", SESSION, *claims).seen["headers"]
    assert headers["x-auth-request-user"] == "alice"
    assert "mallory" not in str(headers)
    assert "admins" not in str(headers)
    assert "session" not in headers["cookie"]
    assert "theme=dark" in headers["cookie"]


@pytest.mark.parametrize("target", ["/oauth2/..%2fapi/engines", "/oauth2/../api/engines", "/oauth2/%2e%2e/api/engines"])
def test_nothing_leads_past_the_logins_own_pages(asking: Caddy, target: str) -> None:
    for site in (DOMAIN, ELSA):
        assert asking.ask(target, site=site).status == 400
    assert "rabbitmq" not in asking.ask(target, site=RABBITMQ).text


def test_a_page_of_somebody_else_has_no_session_either(asking: Caddy) -> None:
    assert asking.ask("/api/engines", SESSION, OTHER, method="POST").status == 403
    assert asking.ask("/api/engines", SESSION, OWN, method="POST").status == 200
    assert asking.ask("/api/engines", SESSION, AUTHORIZATION).seen["headers"].get("authorization") is None
    # RabbitMQ's page logs in like that, to RabbitMQ.
    rabbitmq = asking.ask("/api/whoami", SESSION, AUTHORIZATION, site=RABBITMQ).seen
    assert (rabbitmq["service"], "Authorization: " + rabbitmq["headers"]["authorization"]) == (
        "rabbitmq",
        AUTHORIZATION,
    )


# -- those who are slow ---------------------------------------------------------------------


def test_who_sends_slowly_is_cut_and_who_listens_is_not(caddy: Caddy) -> None:
    file = caddy.directory / "Caddyfile"
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace("read_body 60s", "read_body 1s"), encoding="utf-8")
    try:
        caddy.reload()
        began = time.monotonic()
        with caddy.connect() as connection:
            head = f"POST /api/health HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\nContent-Length: 99\r\n\r\na"
            connection.sendall(head.encode())
            assert "service" not in bench.read(connection).text
        assert time.monotonic() - began < 20
        assert caddy.ask("/api/events?seconds=3", AUTHORIZATION).text.count("data:") == 4
    finally:
        file.write_text(before, encoding="utf-8")
        caddy.reload()
