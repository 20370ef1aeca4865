# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging in to PostgreSQL and RabbitMQ over the network with the standard library alone.

A bare host has neither an engine nor a client, and yet it has to be known before anything changes
whether the stack will be let in. A password goes over the connection and nowhere else.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import hmac
import ipaddress
import os
import re
import socket
import ssl
import stringprep
import struct
import time
import unicodedata
from types import TracebackType
from typing import List, NamedTuple, NoReturn, Optional, Sequence, Tuple, Type

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

# For a login from its first byte to its last, and for a query.
SECONDS = 10.0

# libpq's words for how TLS is used, weakest first.
SSL_MODES = ("disable", "require", "verify-ca", "verify-full")


@dataclasses.dataclass(frozen=True)
class Postgres:
    """Where a database is and how one logs in to it. ca: PEM text, empty for the authorities of the system.

    host: a name, an address, or the directory with its socket on this host.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = dataclasses.field(repr=False)
    sslmode: str = "verify-full"
    ca: str = ""

    def __str__(self) -> str:
        return "PostgreSQL at %s:%d" % (self.host, self.port)


@dataclasses.dataclass(frozen=True)
class RabbitMQ:
    """Where a broker is and how one logs in to it. ca: PEM text, empty for the authorities of the system."""

    host: str
    port: int
    user: str
    password: str = dataclasses.field(repr=False)
    vhost: str = "/"
    tls: bool = True
    ca: str = ""

    def __str__(self) -> str:
        return "RabbitMQ at %s:%d" % (self.host, self.port)


class Refused(OperatorError):
    """PostgreSQL answered with an error. code: its SQLSTATE."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, sqlstate=code)
        self.code = code


# --- what both have in common ---------------------------------------------------------------------


class _Connection:
    """A connection on which an exchange takes SECONDS at the most, however slowly the peer speaks.

    local: whether nobody can stand in between, as on the loopback address and on a socket of this host.
    """

    def __init__(self, what: str, variable: str, host: str, port: int) -> None:
        """*what* begins every sentence; *variable* is the prefix of the variables that they name."""
        self.what = what
        self.variable = variable
        self.host = host
        self._patient = False
        try:
            self._socket = (
                _local(host, port) if host.startswith("/") else socket.create_connection((host, port), SECONDS)
            )
        except (socket.gaierror, UnicodeError) as exc:
            raise OperatorError(
                "%s: this host cannot resolve the name (%s): check %s_host and the host's name servers."
                % (what, getattr(exc, "strerror", "no valid name"), variable)
            ) from exc
        except ConnectionRefusedError as exc:
            raise OperatorError(
                "%s refuses the connection: check that the server runs and listens on this address, and %s_port."
                % (what, variable)
            ) from exc
        except socket.timeout as exc:
            raise OperatorError(
                "%s does not answer within %d seconds: check %s_host, and that no firewall between this host and the "
                "server drops the connection." % (what, SECONDS, variable)
            ) from exc
        except OSError as exc:
            raise OperatorError(
                "%s cannot be reached from this host (%s): check %s_host and the routes to it."
                % (what, exc.strerror or exc, variable)
            ) from exc
        self.local = _is_local(self._socket)
        self.begin()

    def begin(self) -> None:
        """From now on the peer has SECONDS until :meth:`begin` is called again."""
        self._heard = False
        self._until = time.monotonic() + SECONDS

    def _keep_time(self) -> None:
        if self._patient:
            return
        left = self._until - time.monotonic()
        if left <= 0:
            raise self._silent()
        self._socket.settimeout(left)

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def be_patient(self) -> None:
        """Wait without an end; the kernel notices a peer that is gone."""
        self._patient = True
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def secure(self, ca: str, verify: bool, check_name: bool) -> None:
        """Begin TLS on the open connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = verify and check_name
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        if ca and verify:
            try:
                context.load_verify_locations(cadata=ca)
            except (ssl.SSLError, ValueError) as exc:
                raise OperatorError(
                    "%s_ca holds no certificate in PEM form: give it the text between BEGIN and END CERTIFICATE, with "
                    "these lines." % self.variable
                ) from exc
        elif verify:
            context.load_default_certs()
        self._keep_time()
        try:
            self._socket = context.wrap_socket(self._socket, server_hostname=self.host)
        except ssl.SSLCertVerificationError as exc:
            raise OperatorError(self._distrust(exc, bool(ca))) from exc
        except socket.timeout as exc:
            raise self._silent() from exc
        except OSError as exc:
            raise OperatorError(
                "%s does not agree on TLS (%s): check that this port speaks TLS 1.2 or later."
                % (self.what, getattr(exc, "reason", None) or exc.strerror or exc)
            ) from exc

    def _distrust(self, exc: ssl.SSLCertVerificationError, own: bool) -> str:
        said = (exc.verify_message or str(exc)).rstrip(".")
        if "mismatch" in said.lower() or "doesn't match" in said:
            return (
                "The certificate of %s was not made for this name (%s): set %s_host to a name that stands in the "
                "certificate." % (self.what, said, self.variable)
            )
        if exc.verify_code in (9, 10):
            return "The certificate of %s is not valid today (%s): renew it, or set this host's clock." % (
                self.what,
                said,
            )
        whom = "the authority in %s_ca" % self.variable if own else "an authority that this host knows"
        return "The certificate of %s does not come from %s (%s): give %s_ca the authority that signed it." % (
            self.what,
            whom,
            said,
            self.variable,
        )

    def send(self, data: bytes) -> None:
        """Send everything."""
        self._keep_time()
        try:
            self._socket.sendall(data)
        except socket.timeout as exc:
            raise self._silent() from exc
        except OSError as exc:
            raise self._broken(exc) from exc

    def receive(self, count: int) -> bytes:
        """Receive exactly *count* bytes."""
        parts = []
        while count:
            self._keep_time()
            try:
                part = self._socket.recv(min(count, 65536))
            except socket.timeout as exc:
                raise self._silent() from exc
            except OSError as exc:
                raise self._broken(exc) from exc
            if not part:
                raise self._broken(None)
            self._heard = True
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _silent(self) -> OperatorError:
        how = "does not come to an end within" if self._heard else "says nothing for"
        return OperatorError(
            "%s took the connection but %s %d seconds: check that %s_port is the right one and that the server is well."
            % (self.what, how, SECONDS, self.variable)
        )

    def _broken(self, exc: Optional[OSError]) -> OperatorError:
        why = " (%s)" % (exc.strerror or exc) if exc else ""
        return OperatorError(
            "%s closed the connection%s: check %s_port, whether the server asks for TLS there, and its log."
            % (self.what, why, self.variable)
        )


def _local(directory: str, port: int) -> socket.socket:
    """A connection to the socket in a directory, to which a container can write: to none that a link leads to."""
    found = os.open(os.path.join(directory, ".s.PGSQL.%d" % port), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(SECONDS)
            made.connect("/proc/self/fd/%d" % found)
        except BaseException:
            made.close()
            raise
        return made
    finally:
        os.close(found)


def _is_local(opened: socket.socket) -> bool:
    if opened.family == socket.AF_UNIX:
        return True
    try:
        return ipaddress.ip_address(opened.getpeername()[0].partition("%")[0]).is_loopback
    except OSError:
        return False  # it is gone again


def _said(text: bytes) -> str:
    """What a server says, for a sentence of ours."""
    return " ".join(text[:_LONGEST_SAYING].decode("utf-8", "replace").split()).rstrip(".")


_LONGEST_SAYING = 2000

# --- PostgreSQL (frontend/backend protocol 3.0) ---------------------------------------------------

# By the first byte: what the server may send during a login, and afterwards.
_OF_LOGIN = b"RENv"
_OF_QUERY = b"TDCIENSAKZ"
# The longest message of a login, and what an answer to a query may take in memory.
_LONGEST = 1 << 16
_LARGEST = 1 << 26
# What a row, and a column of it, take beside their text.
_OVERHEAD = 128

_WEAKER = {0: "lets everybody in without a password", 3: "asks for the password itself", 5: "asks for an MD5 of it"}


# Of other errors the detail may show rows: object in use, not in the needed state, others depend on it.
_TOLD_IN_DETAIL = ("55", "2B")


class PostgresSession:
    """A login to a database; a context manager. Speaks the simple query protocol."""

    def __init__(self, server: Postgres, application: str = "tamma") -> None:
        """Log in, or raise OperatorError with the one sentence that says what to do."""
        self._server = server
        self._link = _Connection(str(server), "tamma_stack_postgres", server.host, server.port)
        try:
            if server.sslmode != "disable":
                self._start_tls()
            parameters = {
                "user": server.user,
                "database": server.database,
                "application_name": application,
                "client_encoding": "UTF8",
            }
            words = b"".join(_zero(key) + _zero(value) for key, value in parameters.items()) + b"\0"
            self._link.send(struct.pack("!ii", len(words) + 8, 196608) + words)
            self._authenticate()
            self._until_ready()
        except BaseException:
            self._link.close()
            raise

    def __enter__(self) -> PostgresSession:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], exc: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        # When it is gone already, what was wanted of it was had before.
        with contextlib.suppress(OperatorError):
            self._link.begin()
            self._send(b"X", b"")
        self._link.close()

    def be_patient(self) -> None:
        """Wait for an answer as long as it takes, from now on: counting a large table takes its time."""
        self._link.be_patient()

    def query(self, sql: str) -> List[List[Optional[str]]]:
        """Run SQL, one statement or several as one transaction, and return the rows as text.

        Raises Refused with the server's own words.
        """
        self._link.begin()
        self._send(b"Q", _zero(sql))
        return self._until_ready()

    def row(self, sql: str, columns: int) -> List[Optional[str]]:
        """Run SQL that has one row of so many columns, and return that."""
        rows = self.query(sql)
        if len(rows) != 1 or len(rows[0]) != columns:
            raise self._foreign()
        return rows[0]

    def _start_tls(self) -> None:
        mode = self._server.sslmode
        self._link.send(struct.pack("!ii", 8, 80877103))
        if self._link.receive(1) != b"S":
            raise OperatorError(
                "%s does not offer TLS, and tamma_stack_postgres_sslmode is '%s': switch TLS on in the server, or set "
                "'disable' if the network between is yours alone." % (self._server, mode)
            )
        self._link.secure(self._server.ca, verify=mode.startswith("verify"), check_name=mode == "verify-full")

    def _send(self, kind: bytes, body: bytes) -> None:
        self._link.send(kind + struct.pack("!i", len(body) + 4) + body)

    def _receive(self, expected: bytes, longest: int) -> Tuple[bytes, bytes]:
        head = self._link.receive(5)
        kind, length = head[:1], struct.unpack("!i", head[1:])[0]
        if kind not in expected or not 4 <= length <= longest:
            raise self._foreign()
        return kind, self._link.receive(length - 4)

    def _foreign(self) -> OperatorError:
        return OperatorError("%s does not speak PostgreSQL's protocol: check tamma_stack_postgres_port." % self._server)

    def _until_ready(self) -> List[List[Optional[str]]]:
        rows: List[List[Optional[str]]] = []
        failures: List[Refused] = []
        room = _LARGEST
        while True:
            kind, body = self._receive(_OF_QUERY, _LARGEST)
            if kind == b"D":
                row = _row(body)
                if row is None:
                    raise self._foreign()
                rows.append(row)
                room -= len(body) + _OVERHEAD * (1 + len(row))
                if room < 0:
                    raise OperatorError("%s answers with more than a question of ours has." % self._server)
            elif kind == b"E":
                failures = [self._error(body)]
                if b"VFATAL" in body.split(b"\0"):
                    raise failures[0]  # nothing follows
            elif kind == b"Z":
                if failures:
                    raise failures[0]
                return rows

    def _authenticate(self) -> None:
        method, rest = self._asked()
        if method == 10:
            self._scram(rest)
        elif method in _WEAKER:
            self._check_weaker(method)
        else:
            raise OperatorError(
                "%s asks for another kind of login than a password (method %d): let pg_hba.conf ask this host for "
                "scram-sha-256." % (self._server, method)
            )
        if method == 3:
            self._send(b"p", _zero(self._server.password))
        elif method == 5:
            self._send(b"p", _zero(_md5(self._server.user, self._server.password, rest)))
        if method and self._asked()[0] != 0:
            raise self._foreign()

    def _asked(self) -> Tuple[int, bytes]:
        """What the server wants next of the login."""
        while True:
            kind, body = self._receive(_OF_LOGIN, _LONGEST)
            if kind == b"E":
                raise self._error(body)
            if kind == b"R":
                if len(body) < 4:
                    raise self._foreign()
                return struct.unpack("!i", body[:4])[0], body[4:]

    def _check_weaker(self, method: int) -> None:
        """Refuse a login in which the server proves nothing, where somebody else could be the server.

        'disable' says that the network is the operator's alone, as the stack's own ones are.
        """
        server = self._server
        verified = server.sslmode == "verify-full" or (server.sslmode == "verify-ca" and bool(server.ca))
        if self._link.local or verified or (server.sslmode == "disable" and method != 3):
            return
        raise OperatorError(
            "%s %s, and so could somebody in between: let pg_hba.conf ask this host for scram-sha-256, or set "
            "tamma_stack_postgres_sslmode to 'verify-full'." % (server, _WEAKER[method])
        )

    def _scram(self, offered: bytes) -> None:
        if b"SCRAM-SHA-256" not in offered.split(b"\0"):
            raise OperatorError("%s offers no login with SCRAM-SHA-256: let pg_hba.conf ask for it." % self._server)
        exchange = Scram(self._server.password)
        first = exchange.first().encode()
        self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        self._send(b"p", exchange.answer(self._sasl(11)).encode())
        if not exchange.proves(self._sasl(12)):
            raise OperatorError(
                "%s cannot prove that it knows the password of %s: somebody else may be answering at this address."
                % (self._server, self._server.user)
            )

    def _sasl(self, step: int) -> str:
        method, text = self._asked()
        if method != step:
            raise self._foreign()
        return text.decode("utf-8", "replace")

    def _error(self, body: bytes) -> Refused:
        fields = {part[:1]: _said(part[1:]) for part in body.split(b"\0") if part}
        code, said = fields.get(b"C", ""), fields.get(b"M", "it did not say why")
        if code[:2] in _TOLD_IN_DETAIL and b"D" in fields:
            said += ": " + fields[b"D"]
        server = self._server
        what_to_do = {
            "28P01": "check tamma_stack_postgres_user and tamma_stack_postgres_password",
            "28000": "%slet pg_hba.conf admit this host, user and database, and check tamma_stack_postgres_user"
            % (
                "set tamma_stack_postgres_sslmode if the server insists on TLS, or "
                if server.sslmode == "disable"
                else ""
            ),
            "3D000": "create it (CREATE DATABASE), or correct tamma_stack_postgres_database",
            "42501": "grant what is missing to the role %s" % server.user,
            "55P03": "somebody else holds it: see who in pg_locks and pg_stat_activity, and end that",
            "53300": "raise max_connections on the server",
            "57P03": "wait until it is up, and run this again",
        }.get(code, "see the server's log")
        return Refused("%s refuses: %s (%s): %s." % (server, said, code or "no code", what_to_do), code)


def _zero(text: str) -> bytes:
    return text.encode("utf-8") + b"\0"


def _row(body: bytes) -> Optional[List[Optional[str]]]:
    """The columns of a row; None when it is none."""
    row: List[Optional[str]] = []
    position = 2
    try:
        for _column in range(struct.unpack_from("!H", body)[0]):
            length = struct.unpack_from("!i", body, position)[0]
            position += 4
            if length == -1:
                row.append(None)
                continue
            if not 0 <= length <= len(body) - position:
                return None
            row.append(body[position : position + length].decode("utf-8", "replace"))
            position += length
    except struct.error:
        return None
    return row if position == len(body) else None


def _md5(user: str, password: str, salt: bytes) -> str:
    inner = _md5_hex(password.encode("utf-8") + user.encode("utf-8"))
    return "md5" + _md5_hex(inner.encode("ascii") + salt)


def _md5_hex(data: bytes) -> str:
    # What an old server asks for; nothing here rests on it.
    return hashlib.new("md5", data, usedforsecurity=False).hexdigest()


def saslprep(password: str) -> str:
    """Prepare a password as PostgreSQL does (RFC 4013), and leave alone what that forbids."""
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in password if not stringprep.in_table_b1(char)
    )
    text = unicodedata.normalize("NFKC", mapped)
    forbidden = (
        stringprep.in_table_a1,
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if not text or any(table(char) for char in text for table in forbidden):
        return password
    if any(stringprep.in_table_d1(char) for char in text):
        ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        if not ends or any(stringprep.in_table_d2(char) for char in text):
            return password
    return text


# RFC 7677 asks for 4096 at least. A server that wants more than this keeps a host busy rather than out.
_ITERATIONS = (4096, 1000000)
_SERVER_FIRST = re.compile(r"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,8})")


class Scram:
    """The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding."""

    def __init__(self, password: str, nonce: str = "") -> None:
        self._password = saslprep(password).encode("utf-8")
        self._nonce = nonce or base64.b64encode(os.urandom(18)).decode("ascii")
        # PostgreSQL takes the name from the startup message.
        self._bare = "n=,r=" + self._nonce
        self._signature = b""

    def first(self) -> str:
        """The message that begins the exchange."""
        return "n,," + self._bare

    def answer(self, server_first: str) -> str:
        """The proof, for the server's nonce, salt and number of iterations."""
        nonce, salt, iterations = _challenge(server_first)
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise OperatorError(_NO_SCRAM)
        if not _ITERATIONS[0] <= iterations <= _ITERATIONS[1]:
            raise OperatorError(
                "The server wants %d iterations of SCRAM, and this host computes %d to %d: set scram_iterations there, "
                "and the role's password again." % (iterations, *_ITERATIONS)
            )
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        key = _hmac(salted, b"Client Key")
        final = "c=biws,r=" + nonce
        message = ",".join([self._bare, server_first, final]).encode("utf-8")
        signature = _hmac(hashlib.sha256(key).digest(), message)
        self._signature = _hmac(_hmac(salted, b"Server Key"), message)
        proof = bytes(one ^ other for one, other in zip(key, signature))
        return "%s,p=%s" % (final, base64.b64encode(proof).decode("ascii"))

    def proves(self, server_final: str) -> bool:
        """Whether the server showed that it knows the password, too."""
        return hmac.compare_digest(server_final.encode("utf-8"), b"v=" + base64.b64encode(self._signature))


_NO_SCRAM = "The server's half of the login is not what RFC 5802 says: see its log."


def _challenge(server_first: str) -> Tuple[str, bytes, int]:
    """Nonce, salt and number of iterations."""
    found = _SERVER_FIRST.fullmatch(server_first)
    try:
        if found:
            return found.group(1), base64.b64decode(found.group(2), validate=True), int(found.group(3))
    except ValueError:
        pass
    raise OperatorError(_NO_SCRAM)


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


# --- RabbitMQ (AMQP 0-9-1) ------------------------------------------------------------------------

_START, _START_OK = (10, 10), (10, 11)
_TUNE, _TUNE_OK = (10, 30), (10, 31)
_OPEN, _OPEN_OK = (10, 40), (10, 41)
_CLOSE, _CLOSE_OK = (10, 50), (10, 51)
_CHANNEL_OPEN, _CHANNEL_OPEN_OK = (20, 10), (20, 11)
_CHANNEL_CLOSE = (20, 40)
_DECLARE, _DECLARE_OK = (50, 10), (50, 11)
_BIND, _BIND_OK = (50, 20), (50, 21)
# A queue that nobody else sees and that is gone with the connection.
_EXCLUSIVE_AUTO_DELETE = b"\x0c"
_NO_TABLE = b"\0\0\0\0"
_METHOD, _HEARTBEAT = 1, 8
_FRAME_END = b"\xce"

# With this the broker says why it refuses a login instead of hanging up.
_CAPABILITIES = b"\x1cauthentication_failure_closet\x01"
_PROPERTIES = b"\x0ccapabilitiesF" + struct.pack("!I", len(_CAPABILITIES)) + _CAPABILITIES


def log_in_to_rabbitmq(server: RabbitMQ) -> None:
    """Log in, open the virtual host, try the permissions on it and leave.

    Nothing stays: a queue of the connection's own needs the right to configure, and to bind it to an
    exchange that every virtual host has needs those to write and to read. Raises OperatorError with
    the one sentence that says what to do.
    """
    for variable, text in (("user", server.user), ("vhost", server.vhost)):
        if len(text.encode("utf-8")) > 255:
            raise OperatorError("tamma_stack_rabbitmq_%s is longer than AMQP allows (255 bytes)." % variable)
    link = _Connection(str(server), "tamma_stack_rabbitmq", server.host, server.port)
    try:
        if server.tls:
            link.secure(server.ca, verify=True, check_name=True)
        _talk(link, server)
    except (struct.error, IndexError) as exc:
        raise _no_amqp(server) from exc
    finally:
        link.close()


def _talk(link: _Connection, server: RabbitMQ) -> None:
    link.send(b"AMQP\x00\x00\x09\x01")
    mechanisms = _mechanisms(_expect(link, server, _START))
    if b"PLAIN" not in mechanisms:
        raise OperatorError("%s takes no login with a password: enable the mechanism PLAIN in it." % server)
    login = b"\0" + server.user.encode("utf-8") + b"\0" + server.password.encode("utf-8")
    _send(link, _START_OK, _long(_PROPERTIES) + _short(b"PLAIN") + _long(login) + _short(b"en_US"))
    # The broker's own limits, and no heartbeat: this is over in a moment.
    channels, size, _heartbeat = struct.unpack("!HIH", _expect(link, server, _TUNE))
    _send(link, _TUNE_OK, struct.pack("!HIH", channels, size, 0))
    _send(link, _OPEN, _short(server.vhost.encode("utf-8")) + _short(b"") + b"\0")
    _expect(link, server, _OPEN_OK)
    _send(link, _CHANNEL_OPEN, _short(b""), 1)
    _expect(link, server, _CHANNEL_OPEN_OK, 1)
    _send(link, _DECLARE, b"\0\0" + _short(b"") + _EXCLUSIVE_AUTO_DELETE + _NO_TABLE, 1)
    declared = _expect(link, server, _DECLARE_OK, 1)
    queue = _short(_string(declared, 0))
    _send(link, _BIND, b"\0\0" + queue + _short(b"amq.direct") + queue + b"\0" + _NO_TABLE, 1)
    _expect(link, server, _BIND_OK, 1)
    _send(link, _CLOSE, struct.pack("!H", 200) + _short(b"") + struct.pack("!HH", 0, 0))
    _expect(link, server, _CLOSE_OK)


def _send(link: _Connection, method: Tuple[int, int], arguments: bytes, channel: int = 0) -> None:
    payload = struct.pack("!HH", *method) + arguments
    link.send(struct.pack("!BHI", 1, channel, len(payload)) + payload + _FRAME_END)


def _no_amqp(server: RabbitMQ) -> OperatorError:
    return OperatorError(
        "%s does not speak AMQP 0-9-1: check tamma_stack_rabbitmq_port and tamma_stack_rabbitmq_tls." % server
    )


def _expect(link: _Connection, server: RabbitMQ, wanted: Tuple[int, int], on: int = 0) -> bytes:
    """Receive a method on a channel and return its arguments."""
    while True:
        kind, channel, size = struct.unpack("!BHI", link.receive(7))
        if kind not in (_METHOD, _HEARTBEAT) or size > _LONGEST:
            raise _no_amqp(server)
        payload, end = link.receive(size), link.receive(1)
        if end != _FRAME_END:
            raise _no_amqp(server)
        if kind == _HEARTBEAT:
            continue
        method = struct.unpack_from("!HH", payload)
        if method in (_CLOSE, _CHANNEL_CLOSE):
            _refused(server, payload[4:], method == _CHANNEL_CLOSE)
        if (method, channel) != (wanted, on):
            raise _no_amqp(server)
        return payload[4:]


def _refused(server: RabbitMQ, arguments: bytes, logged_in: bool) -> NoReturn:
    code = struct.unpack_from("!H", arguments)[0]
    said = _said(_string(arguments, 2)) or "it did not say why"
    what_to_do = {
        403: "check tamma_stack_rabbitmq_user and tamma_stack_rabbitmq_password",
        530: "create the virtual host and give the user permissions on it, or correct tamma_stack_rabbitmq_vhost",
    }.get(code, "see the broker's log")
    if code == 403 and logged_in:
        names = "'%s' '%s'" % (server.vhost, server.user)
        what_to_do = "give the user every permission (rabbitmqctl set_permissions --vhost %s '.*' '.*' '.*')" % names
    raise OperatorError("%s refuses: %s (%d): %s." % (server, said, code, what_to_do), code=code)


def _mechanisms(start: bytes) -> Sequence[bytes]:
    # Two bytes of version, a table of properties, the mechanisms, the locales.
    position = 6 + struct.unpack_from("!I", start, 2)[0]
    length = struct.unpack_from("!I", start, position)[0]
    return start[position + 4 : position + 4 + length].split()


def _string(arguments: bytes, at: int) -> bytes:
    """A short string; raises IndexError when it is not all there."""
    found = arguments[at + 1 : at + 1 + arguments[at]]
    if len(found) != arguments[at]:
        raise IndexError(at)
    return found


def _short(data: bytes) -> bytes:
    return struct.pack("!B", len(data)) + data


def _long(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


# --- what the stack needs of a database -----------------------------------------------------------

OLDEST = 13

_EXAMINE = """SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'),
 pg_is_in_recovery(), pg_encoding_to_char(encoding),
 has_database_privilege(oid, 'CREATE'),
 EXISTS (SELECT FROM pg_extension WHERE extname = 'uuid-ossp'),
 EXISTS (SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp'),
 EXISTS (SELECT FROM pg_namespace WHERE nspname = 'Elsa' AND has_schema_privilege(oid, 'CREATE')),
 coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'CREATE'), false),
 (SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
   WHERE relkind IN ('r', 'p') AND NOT pg_has_role(relowner, 'USAGE') AND (nspname = 'Elsa'
     OR nspname = 'public' AND relname IN ('mentorship_sessions', 'mentorship_events', '__EFMigrationsHistory'))
   ORDER BY 1 LIMIT 1)
FROM pg_database WHERE datname = current_database()"""


class Database(NamedTuple):
    """What was found in a database.

    prepared: for a role that may not create schemas: what it could not make itself is there.
    """

    version: str
    problems: List[str]
    prepared: bool


def examine(session: PostgresSession, server: Postgres) -> Database:
    """Judge a database that one is logged in to; reads only."""
    row = session.row(_EXAMINE, 10)
    major, version, encoding, foreign = number(row[0]), row[1] or "", row[3] or "", row[9]
    standby, create, has_extension, offers_extension, schema, public = (row[n] == "t" for n in (2, 4, 5, 6, 7, 8))
    prepared = has_extension and schema
    role = identifier(server.user)
    lacking = []
    if not create and not prepared:
        lacking.append("GRANT CREATE ON DATABASE %s TO %s" % (identifier(server.database), role))
    if not public:
        lacking.append("GRANT CREATE ON SCHEMA public TO %s" % role)
    problems = []
    if major < OLDEST:
        problems.append(
            "%s is version %s: use %d or later, where a role that is no superuser may create the extension uuid-ossp."
            % (server, version, OLDEST)
        )
    if standby:
        problems.append("%s is a standby that can only be read: set tamma_stack_postgres_host to the primary." % server)
    if encoding != "UTF8":
        problems.append(
            "The database %s of %s has the encoding %s: create one with ENCODING 'UTF8'."
            % (server.database, server, encoding)
        )
    if not has_extension and not offers_extension:
        problems.append(
            "%s does not have the extension uuid-ossp: install PostgreSQL's contrib package on the server, or allow "
            "the extension in the settings of the service." % server
        )
    if lacking:
        problems.append(
            "The role %s may not create what the stack needs in the database %s of %s: run as its owner: %s."
            % (server.user, server.database, server, "; ".join(lacking))
        )
    if foreign:
        problems.append(
            "The table %s in the database %s of %s belongs to another role, and updates of the services change it: "
            "have a superuser run ALTER TABLE %s OWNER TO %s, and so for every table of the services."
            % (foreign, server.database, server, foreign, role)
        )
    return Database(version, problems, prepared)


def number(text: Optional[str]) -> int:
    """A number as a server says it; 0 for anything else."""
    return int(text) if text and re.fullmatch("[0-9]{1,9}", text) else 0


def identifier(name: str) -> str:
    """A name quoted for SQL."""
    return '"%s"' % name.replace('"', '""')


def check_postgres(server: Postgres) -> List[str]:
    """Log in and say everything that keeps the stack from using this database."""
    try:
        with PostgresSession(server) as session:
            return examine(session, server).problems
    except OperatorError as exc:
        return [exc.message]


def check_rabbitmq(server: RabbitMQ) -> List[str]:
    """Log in and say what keeps the stack from using this broker."""
    try:
        log_in_to_rabbitmq(server)
    except OperatorError as exc:
        return [exc.message]
    return []
