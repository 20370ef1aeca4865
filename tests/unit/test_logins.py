# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging in to servers that lie, stutter, never end, or ask for more than is good."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils import logins
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import (
    Postgres,
    PostgresSession,
    RabbitMQ,
    Scram,
    log_in_to_rabbitmq,
)

PASSWORD = "s3cret-canary"
AWAY = "192.0.2.7"

Script = Callable[[socket.socket], None]


class Talk:
    """The server's end of a connection, and what the client has sent to it."""

    def __init__(self, script: Script) -> None:
        self.ours, theirs = socket.socketpair()
        self.heard = b""
        self._script = script
        self._end = theirs
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._script(self._end)
            self._end.shutdown(socket.SHUT_WR)
            while part := self._end.recv(65536):
                self.heard += part
        except OSError:
            pass  # the client has left
        finally:
            self._end.close()

    def end(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextmanager
def answering(patch: pytest.MonkeyPatch, script: Script, local: bool = False) -> Iterator[Talk]:
    talk = Talk(script)
    patch.setattr(socket, "create_connection", lambda *_arguments, **_options: talk.ours)
    patch.setattr(logins, "_is_local", lambda _socket: local)
    try:
        yield talk
    finally:
        talk.ours.close()
        talk.end()


def postgres(**changes: Any) -> Postgres:
    common = {"host": AWAY, "port": 5432, "database": "d", "user": "u", "password": PASSWORD, "sslmode": "disable"}
    return Postgres(**{**common, **changes})


BROKER = RabbitMQ(AWAY, 5672, "u", PASSWORD, tls=False)


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def asks(method: int, rest: bytes = b"") -> bytes:
    return message(b"R", struct.pack("!i", method) + rest)


READY = message(b"Z", b"I")
IN = asks(0) + READY
SASL = asks(10, b"SCRAM-SHA-256\0\0")


def says(*parts: bytes) -> Script:
    def script(end: socket.socket) -> None:
        for part in parts:
            end.sendall(part)

    return script


def hears(end: socket.socket, kind: bytes) -> bytes:
    """Receive the client's messages until one of this kind, and return its body."""
    while True:
        head = end.recv(5, socket.MSG_WAITALL)
        if len(head) < 5:
            raise ConnectionError
        body = end.recv(struct.unpack("!i", head[1:])[0] - 4, socket.MSG_WAITALL)
        if head[:1] == kind:
            return body


def starts(end: socket.socket) -> None:
    (length,) = struct.unpack("!i", end.recv(4, socket.MSG_WAITALL))
    end.recv(length - 4, socket.MSG_WAITALL)


def use(server: Any) -> None:
    if isinstance(server, RabbitMQ):
        log_in_to_rabbitmq(server)
        return
    with PostgresSession(server) as session:
        session.query("SELECT 1")


def fails(patch: pytest.MonkeyPatch, script: Script, server: Any = None, local: bool = False) -> OperatorError:
    server = server or postgres()
    with answering(patch, script, local) as talk, pytest.raises(OperatorError) as caught:
        use(server)
    assert PASSWORD not in caught.value.message
    assert "\n" not in caught.value.message
    assert isinstance(server, RabbitMQ) or PASSWORD.encode() not in talk.heard
    return caught.value


# -- what a server may ask for --------------------------------------------------------------


@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_nobody_away_gets_the_password_itself(monkeypatch: pytest.MonkeyPatch, sslmode: str) -> None:
    monkeypatch.setattr(PostgresSession, "_start_tls", lambda _self: None)
    failure = fails(monkeypatch, says(asks(3)), postgres(sslmode=sslmode))
    assert "asks for the password itself, and so could somebody in between" in failure.message
    assert "tamma_stack_postgres_sslmode" in failure.message


@pytest.mark.parametrize("first", [asks(5, b"salt"), IN])
def test_tls_that_verifies_nothing_takes_only_a_server_that_proves_itself(
    monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(PostgresSession, "_start_tls", lambda _self: None)
    for changes in ({"sslmode": "require"}, {"sslmode": "verify-ca"}):
        failure = fails(monkeypatch, says(first), postgres(**changes))
        assert "so could somebody in between: let pg_hba.conf ask this host for scram-sha-256" in failure.message


@pytest.mark.parametrize(
    ("method", "changes", "local"),
    [
        (3, {"sslmode": "verify-full"}, False),
        (5, {"sslmode": "verify-full"}, False),
        (5, {"sslmode": "verify-ca", "ca": "PEM"}, False),
        (0, {"sslmode": "verify-full"}, False),
        (5, {"sslmode": "disable"}, False),
        (3, {"sslmode": "disable"}, True),
        (5, {"sslmode": "require"}, True),
    ],
)
def test_older_logins_stay_where_nobody_is_in_between(
    monkeypatch: pytest.MonkeyPatch, method: int, changes: dict[str, str], local: bool
) -> None:
    monkeypatch.setattr(PostgresSession, "_start_tls", lambda _self: None)
    first = IN if method == 0 else asks(method, b"salt" if method == 5 else b"") + IN
    with answering(monkeypatch, says(first), local) as talk, PostgresSession(postgres(**changes)):
        pass
    talk.end()
    assert (PASSWORD.encode() in talk.heard) == (method == 3)


def test_what_is_local() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as opened:
        assert logins._is_local(opened)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert logins._is_local(ours)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as away:
        away.connect(("127.0.0.1", 9))
        assert logins._is_local(away)
    with socket.socket() as gone:
        assert not logins._is_local(gone)


# -- SCRAM ----------------------------------------------------------------------------------


def scram(
    change: Callable[[str], str] = lambda text: text,
    final: Callable[[str], str] = lambda text: text,
    skip: bool = False,
) -> Script:
    """A server that knows the password. change, final: what it says instead."""

    def script(end: socket.socket) -> None:
        starts(end)
        end.sendall(SASL)
        bare = hears(end, b"p").partition(b"n,,")[2].decode()
        first = change("r=%sserver,s=%s,i=4096" % (bare.partition("r=")[2], base64.b64encode(b"salt").decode()))
        end.sendall(asks(11, first.encode("utf-8", "surrogateescape")))
        answer = hears(end, b"p").decode().rpartition(",p=")[0]
        if skip:
            end.sendall(IN)
            return
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), b"salt", 4096)
        key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
        signature = hmac.new(key, ",".join([bare, first, answer]).encode(), hashlib.sha256).digest()
        last = final("v=" + base64.b64encode(signature).decode())
        end.sendall(asks(12, last.encode("utf-8", "surrogateescape")) + IN)
        hears(end, b"Q")
        end.sendall(message(b"D", b"\0\1\0\0\0\1x") + message(b"C", b"SELECT 1\0") + READY)

    return script


def test_a_server_that_proves_itself_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresSession, "_start_tls", lambda _self: None)
    with answering(monkeypatch, scram()), PostgresSession(postgres(sslmode="require")) as session:
        assert session.query("SELECT 'x'") == [["x"]]


@pytest.mark.parametrize("count", ["1", "4095", "1000001", "999999999"])
def test_a_server_does_not_keep_the_host_computing(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    began = time.monotonic()
    failure = fails(monkeypatch, scram(lambda text: text.replace("i=4096", "i=" + count)))
    assert "wants %s iterations of SCRAM" % count in failure.message
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "change",
    [
        lambda _text: "",
        lambda _text: "r=other,s=c2FsdA==,i=4096",
        lambda text: text.replace("server", ""),
        lambda text: text.replace("s=c2FsdA==", "s="),
        lambda text: text.replace("c2FsdA==", "c2Fsd"),
        lambda text: text.replace("c2FsdA==", "!!!!"),
        lambda text: text.replace("i=4096", "i=²"),
        lambda text: text.replace("i=4096", "i=-1"),
        lambda text: text.replace("i=4096", "i=" + "9" * 6000),
        lambda text: "m=x," + text,
        lambda text: text + ",x=y",
        lambda text: text + "\udcff",
        lambda text: text.replace("server", "ser\nver"),
    ],
)
def test_a_challenge_that_is_none(monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]) -> None:
    assert "not what RFC 5802 says" in fails(monkeypatch, scram(change)).message


@pytest.mark.parametrize("last", ["", "v=", "v=AAAA", "v=ü", "e=other-error", "v=\udcff"])
def test_a_server_that_does_not_know_the_password(monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    assert "cannot prove that it knows the password" in fails(monkeypatch, scram(final=lambda _text: last)).message


def test_a_server_that_leaves_its_proof_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not speak PostgreSQL's protocol" in fails(monkeypatch, scram(skip=True)).message


def test_a_proof_is_compared_whatever_it_is() -> None:
    exchange = Scram("x", nonce="mine")
    exchange.answer("r=mineyours,s=c2FsdA==,i=4096")
    assert not exchange.proves("v=ü")


# -- messages -------------------------------------------------------------------------------

FOREIGN = "does not speak PostgreSQL's protocol"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "closed the connection"),
        (b"R\0\0", "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", FOREIGN),
        (b"R" + struct.pack("!i", -1), FOREIGN),
        (b"R" + struct.pack("!i", 3), FOREIGN),
        (b"R" + struct.pack("!i", 1 << 26), FOREIGN),
        (b"R" + struct.pack("!i", 4), FOREIGN),
        (message(b"R", b"\0\0"), FOREIGN),
        (message(b"?"), FOREIGN),
        (READY, FOREIGN),
        (message(b"D", b"\0\0") + IN, FOREIGN),
        (asks(12, b"v=x"), "another kind of login than a password (method 12)"),
        (asks(7), "another kind of login"),
        (asks(5, b"salt") + asks(5, b"salt"), FOREIGN),
        (asks(10, b"SCRAM-SHA-1\0\0"), "offers no login with SCRAM-SHA-256"),
        (SASL + asks(0), FOREIGN),
        (SASL + asks(11), "not what RFC 5802 says"),
        (SASL + asks(12), FOREIGN),
        (message(b"E"), "refuses: it did not say why (no code)"),
        (message(b"E", b"\0\0\0"), "refuses: it did not say why (no code)"),
        (message(b"E", b"C\0M\0\0"), "(no code)"),
        (message(b"E", b"Mno\xff\x1b]0;evil\x07\nnext\0\0"), "refuses: no\ufffd\\x1b]0;evil\\x07 next (no code)"),
        (IN + message(b"D"), FOREIGN),
        (IN + message(b"D", b"\0"), FOREIGN),
        (IN + message(b"D", b"\xff\xff"), FOREIGN),
        (IN + message(b"D", b"\0\1"), FOREIGN),
        (IN + message(b"D", b"\0\1" + struct.pack("!i", -2)), FOREIGN),
        (IN + message(b"D", b"\0\1" + struct.pack("!i", 5) + b"abc"), FOREIGN),
        (IN + message(b"D", b"\0\1" + struct.pack("!i", 1) + b"abc"), FOREIGN),
        (IN + message(b"G", b"\0"), FOREIGN),
        (IN + message(b"E", b"SFATAL\0VFATAL\0Mgoing down\0\0"), "going down"),
    ],
)
def test_a_malformed_answer_ends_in_one_sentence(monkeypatch: pytest.MonkeyPatch, sent: bytes, words: str) -> None:
    failure = fails(monkeypatch, says(sent))
    assert words in failure.message
    assert len(failure.message) < 400


def test_a_server_that_says_too_much_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    long = message(b"E", b"M" + b"x" * 60000 + b"\0\0")
    assert len(fails(monkeypatch, says(long)).message) < 2200


def test_rows_without_an_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "_LARGEST", 1 << 16)
    rows = IN + message(b"D", b"\0\0") * 600
    assert "more than a question of ours has" in fails(monkeypatch, says(rows)).message


def test_a_row_is_as_wide_as_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (READY, message(b"D", b"\0\0") + READY, message(b"D", b"\0\1\0\0\0\0") * 2 + READY):
        with answering(monkeypatch, says(IN + answer)), pytest.raises(OperatorError, match=FOREIGN):
            PostgresSession(postgres()).row("SHOW max_connections", 1)


# -- time -----------------------------------------------------------------------------------


def forever(first: bytes, drip: bytes) -> Script:
    """Say something, and then a little more again and again until the client leaves."""

    def script(end: socket.socket) -> None:
        end.sendall(first)
        end.settimeout(0.02)
        while True:
            end.sendall(drip)
            try:
                if not end.recv(65536):
                    return
            except TimeoutError:
                continue

    return script


@pytest.mark.parametrize(
    ("server", "first", "drip"),
    [
        (postgres(), b"", message(b"N", b"\0")),
        (postgres(), b"N" + struct.pack("!i", 60000), b"x"),
        (postgres(), IN, message(b"N", b"\0")),
        (postgres(), IN, message(b"E", b"Mno\0\0")),
        (BROKER, b"", b"\x08\0\0\0\0\0\0\xce"),
        (BROKER, b"\x01\0\0\0\0\xff\xff", b"x"),
    ],
)
def test_one_deadline_for_all_of_it(monkeypatch: pytest.MonkeyPatch, server: Any, first: bytes, drip: bytes) -> None:
    monkeypatch.setattr(logins, "SECONDS", 0.3)
    began = time.monotonic()
    assert "does not come to an end within" in fails(monkeypatch, forever(first, drip), server).message
    assert time.monotonic() - began < 2


def test_tls_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "SECONDS", 0.3)
    began = time.monotonic()
    # The head of a handshake record that is long, and its content byte by byte.
    failure = fails(monkeypatch, forever(b"S\x16\x03\x03\x3f\x00\x02\x00\x3e\x00", b"x"), postgres(sslmode="require"))
    assert "does not come to an end within" in failure.message
    assert time.monotonic() - began < 2


def test_a_query_has_a_deadline_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "SECONDS", 0.3)

    def script(end: socket.socket) -> None:
        starts(end)
        end.sendall(IN)
        for _query in range(3):
            hears(end, b"Q")
            end.sendall(READY)
        hears(end, b"Q")
        hears(end, b"X")

    with answering(monkeypatch, script), PostgresSession(postgres()) as session:
        for _query in range(3):
            assert session.query("SELECT") == []
        with pytest.raises(OperatorError, match="says nothing for"):
            session.query("SELECT pg_sleep(9)")


# -- RabbitMQ -------------------------------------------------------------------------------

NO_AMQP = "does not speak AMQP 0-9-1"


def frame(method: tuple[int, int], arguments: bytes = b"", channel: int = 0, end: bytes = b"\xce") -> bytes:
    payload = struct.pack("!HH", *method) + arguments
    return struct.pack("!BHI", 1, channel, len(payload)) + payload + end


START = frame((10, 10), b"\0\x09" + b"\0\0\0\0" + b"\0\0\0\x0ePLAIN AMQPLAIN" + b"\0\0\0\x05en_US")
TUNE = frame((10, 30), struct.pack("!HIH", 2047, 131072, 60))
OPENED = frame((10, 41), b"\0")
DECLARED = frame((50, 11), b"\3amq" + bytes(8), 1)
AGREED = [START, TUNE, OPENED, frame((20, 11), bytes(4), 1), DECLARED, frame((50, 21), b"", 1), frame((10, 51))]


def test_a_broker_that_keeps_to_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, says(b"\x08\0\0\0\0\0\0\xce", *AGREED)) as talk:
        log_in_to_rabbitmq(BROKER)
    assert struct.pack("!HHHIH", 10, 31, 2047, 131072, 0) in talk.heard


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ([], "closed the connection"),
        ([b"AMQP\0\0\x09\1"], NO_AMQP),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], NO_AMQP),
        ([b"\1\0\0" + struct.pack("!I", 1 << 31)], NO_AMQP),
        ([b"\1\0\0\0\0\0\0\xce"], NO_AMQP),
        ([b"\1\0\0\0\0\0\2\0\x0a\xce"], NO_AMQP),
        ([frame((10, 10), b"", end=b"\0")], NO_AMQP),
        ([b"\x08\0\0\0\0\0\0\0"], NO_AMQP),
        ([frame((10, 10))], NO_AMQP),
        ([frame((10, 10), b"\0\x09\xff\xff\xff\xff")], NO_AMQP),
        ([frame((10, 10), b"\0\x09" + bytes(8))], "takes no login with a password"),
        ([TUNE], NO_AMQP),
        ([START, frame((10, 30))], NO_AMQP),
        ([START, frame((10, 30), bytes(9))], NO_AMQP),
        ([START, START], NO_AMQP),
        ([START, OPENED], NO_AMQP),
        ([START, TUNE, frame((10, 41), b"\0", 7)], NO_AMQP),
        ([*AGREED[:4], frame((50, 11), b"", 1)], NO_AMQP),
        ([*AGREED[:4], frame((50, 11), b"\xffshort", 1)], NO_AMQP),
        ([*AGREED[:4], frame((50, 11), b"\3amq" + bytes(8), 0)], NO_AMQP),
        ([frame((10, 50))], NO_AMQP),
        ([frame((10, 50), b"\1\x93")], NO_AMQP),
        ([frame((10, 50), b"\1\x93\xffshort")], NO_AMQP),
        ([frame((10, 50), b"\1\x93\0\0\0\0\0")], "refuses: it did not say why (403)"),
        ([frame((10, 50), b"\1\x93\6n\xff\x1b\n.x\0\0\0\0")], "refuses: n\ufffd\\x1b .x (403)"),
        ([START, TUNE, frame((20, 40), b"\1\x93\2no\0\0\0\0", 1)], "give the user every permission"),
    ],
)
def test_a_malformed_frame_ends_in_one_sentence(monkeypatch: pytest.MonkeyPatch, sent: list[bytes], words: str) -> None:
    assert words in fails(monkeypatch, says(*sent), BROKER).message


@pytest.mark.parametrize("name", ["user", "vhost"])
def test_names_that_amqp_cannot_say(name: str) -> None:
    broker = RabbitMQ(**{"host": AWAY, "port": 1, "user": "u", "password": "x", "vhost": "/", name: "ü" * 128})
    with pytest.raises(OperatorError, match="tamma_stack_rabbitmq_%s is longer than AMQP allows" % name):
        log_in_to_rabbitmq(broker)


# -- anything at all ------------------------------------------------------------------------

_some = st.binary(max_size=40)
_postgres = st.lists(
    st.one_of(
        _some,
        st.builds(lambda kind, body: message(bytes([kind]), body), st.sampled_from(b"RENvTDCIZSAKG"), _some),
        st.builds(asks, st.integers(-1, 13), _some),
        st.builds(
            lambda kind, length: kind + struct.pack("!i", length), st.sampled_from([b"R", b"D"]), st.integers(-9, 99)
        ),
        st.sampled_from([IN, SASL, READY, asks(5, b"salt"), asks(11, b"r=,s=,i=")]),
    ),
    max_size=8,
)
_amqp = st.lists(
    st.one_of(
        _some,
        st.sampled_from(AGREED),
        st.builds(
            frame,
            st.tuples(st.sampled_from([10, 20, 50]), st.sampled_from([10, 11, 20, 21, 30, 40, 41, 50, 51])),
            _some,
            st.integers(0, 2),
            st.sampled_from([b"\xce", b"", b"\0"]),
        ),
    ),
    max_size=9,
)
_fuzz = settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


def chunked(data: bytes, size: int) -> Script:
    return says(*(data[at : at + size] for at in range(0, len(data), size)))


@_fuzz
@given(_postgres, st.integers(1, 50), st.booleans())
def test_postgresql_ends_well_or_in_a_sentence(parts: list[bytes], size: int, local: bool) -> None:
    with pytest.MonkeyPatch.context() as patch, answering(patch, chunked(b"".join(parts), size), local):
        try:
            use(postgres())
        except OperatorError as exc:
            assert PASSWORD not in exc.message  # noqa: PT017


@_fuzz
@given(_amqp, st.integers(1, 50))
def test_amqp_ends_well_or_in_a_sentence(parts: list[bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch, answering(patch, chunked(b"".join(parts), size)):
        try:
            use(BROKER)
        except OperatorError as exc:
            assert PASSWORD not in exc.message  # noqa: PT017


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_any_challenge_is_refused(text: str) -> None:
    with pytest.raises(OperatorError):
        Scram("x", nonce="mine").answer(text)
