# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's own clients of PostgreSQL and RabbitMQ, against real servers with and without TLS."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import logins
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import (
    Postgres,
    PostgresSession,
    RabbitMQ,
    check_postgres,
    check_rabbitmq,
)
from ansible_collections.meywd.tamma.plugins.module_utils.servers import POSTGRES_CA
from ansible_collections.meywd.tamma.plugins.module_utils.tables import INIT_SQL as INIT_SQL_PATH
from ansible_collections.meywd.tamma.plugins.module_utils.tables import of_external, prepare
from tests.bench import engine, images
from tests.bench.command import docker
from tests.bench.names import LABEL
from tests.bench.patience import wait_until
from tests.integration.rendering import NASTY
from tests.tools import authority

INIT_SQL = Path(__file__).resolve().parents[2] / "roles/tamma_stack/files/postgres/init-db.sql"
PASSWORD = "p@ss;w\"o'rd ü"
BROKER_PASSWORD = "p@ss;w\"o'rd"

# Read from top to bottom; the image's own last line asks everybody for scram-sha-256.
ADMISSION = """
local all all trust
host all nobody all reject
hostnossl all only_tls all reject
host all old_role all md5
host all plain_role all password
host all all all scram-sha-256
"""
BROKER_TLS = """
listeners.ssl.default = 5671
ssl_options.certfile = /tls/server.pem
ssl_options.keyfile = /tls/server.key
ssl_options.verify = verify_none
"""


class Servers(NamedTuple):
    """Both servers as the tests reach them by the name "localhost", and their containers."""

    postgres: Postgres
    container: str
    rabbitmq: RabbitMQ
    rabbitmq_tls: RabbitMQ
    broker: str

    def sql(self, text: str, database: str = "postgres") -> None:
        """Run SQL as the superuser, without a password."""
        command = ("exec", "--interactive", self.container, "psql", "-qXv", "ON_ERROR_STOP=1", "-U", "admin")
        docker(*command, database, data=text.encode())


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """PostgreSQL and RabbitMQ of the bench, with a certificate for "localhost" from an authority of their own."""
    engine.ensure()
    images.build(["postgres", "rabbitmq"])
    tls = tmp_path_factory.mktemp("tls")
    authority.make(tls, ["localhost"])
    ca = (tls / "ca.pem").read_text()
    common = ("create", "--label", LABEL + "=test")
    started = [
        docker(
            *common, *("--env", "POSTGRES_USER=admin", "--env", "POSTGRES_PASSWORD=" + PASSWORD),
            *("--publish", "127.0.0.1::5432"), images.tag("postgres"),
        ),
        docker(
            *common, *("--env", "RABBITMQ_DEFAULT_USER=tamma", "--env", "RABBITMQ_DEFAULT_PASS=" + BROKER_PASSWORD),
            *("--publish", "127.0.0.1::5672", "--publish", "127.0.0.1::5671"), images.tag("rabbitmq"),
        ),
    ]  # fmt: skip
    try:
        (tls / "20-tls.conf").write_text(BROKER_TLS)
        postgres, rabbitmq = started
        for container, owner in ((postgres, 70), (rabbitmq, 100)):
            for path in (tls, *tls.iterdir()):
                os.chown(path, owner, owner)
            docker("cp", "--archive", tls, container + ":/tls")
        docker("cp", tls / "20-tls.conf", rabbitmq + ":/etc/rabbitmq/conf.d/20-tls.conf")
        docker("start", *started)
        found = Servers(
            Postgres("localhost", port(postgres, 5432), "tamma", "tamma", PASSWORD, "verify-full", ca),
            postgres,
            RabbitMQ("localhost", port(rabbitmq, 5672), "tamma", BROKER_PASSWORD, tls=False),
            RabbitMQ("localhost", port(rabbitmq, 5671), "tamma", BROKER_PASSWORD, ca=ca),
            rabbitmq,
        )
        admin = dataclasses.replace(found.postgres, user="admin", database="postgres")
        let_in(lambda: not check_postgres(but(admin, sslmode="disable")), postgres)
        let_in(lambda: not check_rabbitmq(found.rabbitmq), rabbitmq)
        hba = ("exec", "--interactive", postgres, "sh", "-c", 'cat > "$PGDATA/pg_hba.conf"')
        docker(*hba, data=ADMISSION.encode())
        for setting in ("ssl_cert_file = '/tls/server.pem'", "ssl_key_file = '/tls/server.key'", "ssl = on"):
            found.sql("ALTER SYSTEM SET " + setting)
        found.sql("SELECT pg_reload_conf(); CREATE ROLE tamma LOGIN")
        found.sql("CREATE DATABASE tamma OWNER tamma")
        set_password(found, "tamma", PASSWORD)
        let_in(lambda: not check_postgres(found.postgres), postgres)
        yield found
    finally:
        docker("rm", "--force", "--volumes", *started, check=False)


def port(container: str, inside: int) -> int:
    return int(docker("port", container, "%d/tcp" % inside).splitlines()[0].rpartition(":")[2])


def let_in(condition: Callable[[], bool], container: str) -> None:
    wait_until(condition, 60, "a server to let us in", lambda: docker("logs", "--tail", "20", container))


def set_password(servers: Servers, role: str, password: str, stored_as: str = "scram-sha-256") -> None:
    quoted = password.replace("'", "''")
    servers.sql("SET password_encryption = '%s'; ALTER ROLE %s PASSWORD '%s'" % (stored_as, role, quoted))


def but(server: Any, **changes: Any) -> Any:
    return dataclasses.replace(server, **changes)


# -- PostgreSQL -----------------------------------------------------------------------------


def test_a_good_login_finds_nothing_wrong(servers: Servers) -> None:
    assert check_postgres(servers.postgres) == []


@pytest.mark.parametrize(
    "password", [*NASTY, "Ⅸ㎏\u00a0soft\u00adhyphen", "אבג", "\u0627 1", "unassigned \U0001fae8", "\ue000"]
)
def test_scram_takes_any_password(servers: Servers, password: str) -> None:
    servers.sql("DROP ROLE IF EXISTS somebody; CREATE ROLE somebody LOGIN")
    set_password(servers, "somebody", password)
    with PostgresSession(but(servers.postgres, user="somebody", password=password, database="postgres")) as session:
        assert session.query("SELECT current_user, NULL, 'ü'") == [["somebody", None, "ü"]]
    (problem,) = check_postgres(but(servers.postgres, user="somebody", password=password + "x", database="postgres"))
    assert "28P01" in problem


@pytest.mark.parametrize(("role", "stored_as"), [("old_role", "md5"), ("plain_role", "scram-sha-256")])
def test_the_older_kinds_of_login(servers: Servers, role: str, stored_as: str) -> None:
    servers.sql("CREATE ROLE %s LOGIN" % role)
    set_password(servers, role, PASSWORD, stored_as)
    with PostgresSession(but(servers.postgres, user=role, database="postgres")) as session:
        assert session.query("SELECT current_user") == [[role]]
    with pytest.raises(OperatorError, match=r"28P01.*tamma_stack_postgres_password"):
        PostgresSession(but(servers.postgres, user=role, password="wrong", database="postgres"))


@pytest.mark.parametrize(
    ("changes", "secured"),
    [
        ({"sslmode": "disable"}, "f"),
        ({"sslmode": "require", "ca": ""}, "t"),
        ({"sslmode": "verify-ca", "host": "127.0.0.1"}, "t"),
        ({"sslmode": "verify-full"}, "t"),
    ],
)
def test_tls_as_the_mode_says(servers: Servers, changes: dict[str, str], secured: str) -> None:
    with PostgresSession(but(servers.postgres, **changes)) as session:
        assert session.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [[secured]]


@pytest.fixture(scope="module")
def another_authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("another")
    authority.make(directory, ["localhost"])
    return (directory / "ca.pem").read_text()


def test_a_certificate_that_nobody_vouches_for(servers: Servers, another_authority: str) -> None:
    (problem,) = check_postgres(but(servers.postgres, ca=another_authority))
    assert "does not come from the authority in tamma_stack_postgres_ca" in problem
    (problem,) = check_postgres(but(servers.postgres, ca=""))
    assert "an authority that this host knows" in problem
    (problem,) = check_rabbitmq(but(servers.rabbitmq_tls, ca=another_authority))
    assert "does not come from the authority in tamma_stack_rabbitmq_ca" in problem


def test_a_certificate_for_another_name(servers: Servers) -> None:
    (problem,) = check_postgres(but(servers.postgres, host="127.0.0.1"))
    assert "was not made for this name" in problem
    assert "tamma_stack_postgres_host" in problem


def test_an_authority_that_is_no_certificate(servers: Servers) -> None:
    (problem,) = check_postgres(but(servers.postgres, ca="-----BEGIN NONSENSE"))
    assert problem.startswith("tamma_stack_postgres_ca holds no certificate")


def test_a_server_without_tls(servers: Servers) -> None:
    servers.sql("ALTER SYSTEM SET ssl = off")
    servers.sql("SELECT pg_reload_conf()")
    try:
        let_in(lambda: "does not offer TLS" in "".join(check_postgres(servers.postgres)), servers.container)
    finally:
        servers.sql("ALTER SYSTEM SET ssl = on")
        servers.sql("SELECT pg_reload_conf()")
        let_in(lambda: not check_postgres(servers.postgres), servers.container)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, ("28P01", "tamma_stack_postgres_password")),
        ({"user": "missing"}, ("28P01", "tamma_stack_postgres_user")),
        ({"user": "nobody"}, ("28000", ": let pg_hba.conf admit")),
        ({"user": "only_tls", "sslmode": "disable"}, ("28000", "tamma_stack_postgres_sslmode", "pg_hba.conf")),
        ({"database": "missing"}, ("3D000", "tamma_stack_postgres_database")),
        ({"host": "nowhere.invalid"}, ("cannot resolve the name", "tamma_stack_postgres_host")),
        ({"host": "a" * 70 + ".invalid"}, ("cannot resolve the name",)),
        ({"port": 1}, ("refuses the connection", "tamma_stack_postgres_port")),
    ],
)
def test_a_login_that_fails_says_what_to_do(servers: Servers, changes: dict[str, Any], words: tuple[str, ...]) -> None:
    (problem,) = check_postgres(but(servers.postgres, **changes))
    for word in words:
        assert word in problem
    assert PASSWORD not in problem


def test_a_database_that_lets_nobody_connect(servers: Servers) -> None:
    servers.sql("CREATE DATABASE closed; REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    (problem,) = check_postgres(but(servers.postgres, database="closed"))
    assert "42501" in problem


def test_a_role_that_may_create_nothing(servers: Servers) -> None:
    servers.sql("CREATE DATABASE foreign_one")
    foreign = but(servers.postgres, database="foreign_one")
    (problem,) = check_postgres(foreign)
    grants = problem.partition("run as its owner: ")[2].rstrip(".")
    assert 'GRANT CREATE ON DATABASE "foreign_one" TO "tamma"' in grants
    servers.sql(grants, "foreign_one")
    assert check_postgres(foreign) == []


def test_tables_of_another_role(servers: Servers) -> None:
    servers.sql("CREATE DATABASE restored OWNER tamma")
    restored = but(servers.postgres, database="restored")
    with PostgresSession(restored) as session:
        session.query(INIT_SQL.read_text(encoding="utf-8"))
    servers.sql('CREATE SCHEMA "Elsa"; CREATE TABLE "Elsa"."Kept Words" (word text)', "restored")
    (problem,) = check_postgres(restored)
    assert 'The table "Elsa"."Kept Words" in the database restored' in problem
    servers.sql(problem.partition("superuser run ")[2].partition(", and so")[0], "restored")
    assert check_postgres(restored) == []


def test_a_server_that_is_too_old(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "OLDEST", 99)
    (problem,) = check_postgres(servers.postgres)
    assert "is version 15." in problem
    assert "use 99 or later" in problem


def test_the_encoding_has_to_hold_every_text(servers: Servers) -> None:
    servers.sql("CREATE DATABASE latin OWNER tamma ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    (problem,) = check_postgres(but(servers.postgres, database="latin"))
    assert "LATIN1" in problem


def test_several_statements_are_one_transaction(servers: Servers) -> None:
    with PostgresSession(servers.postgres) as session:
        with pytest.raises(OperatorError, match="42601"):
            session.query("CREATE TABLE half (n int); NONSENSE")
        assert session.query("SELECT to_regclass('half')") == [[None]]


def settings_of(database: Postgres) -> dict[str, str]:
    return {
        "POSTGRES_HOST": database.host,
        "POSTGRES_HOST_PORT": str(database.port),
        "POSTGRES_DB": database.database,
        "POSTGRES_USER": database.user,
        "POSTGRES_PASSWORD": database.password,
    }


def test_the_init_sql_needs_no_superuser_and_runs_once(servers: Servers) -> None:
    servers.sql("CREATE DATABASE once OWNER tamma")
    outside = but(servers.postgres, database="once")
    files = {INIT_SQL_PATH: INIT_SQL.read_text(encoding="utf-8"), POSTGRES_CA: outside.ca}
    wanted = of_external(settings_of(outside), files)
    assert wanted
    where = "in the database once of PostgreSQL at localhost:%d" % outside.port
    assert wanted.steps == [f"run postgres/init-db.sql {where}"]
    assert PASSWORD not in repr(wanted)
    prepare(wanted)
    assert of_external(settings_of(outside), files) is None
    # It says something else by now: it can be repeated.
    later = {**files, INIT_SQL_PATH: files[INIT_SQL_PATH].replace("'init-db.sql 1'", "'init-db.sql 2'")}
    again = of_external(settings_of(outside), later)
    assert again
    prepare(again)
    assert of_external(settings_of(outside), later) is None


def test_a_role_that_may_not_create_a_schema_needs_elsas(servers: Servers) -> None:
    servers.sql("CREATE DATABASE prepared OWNER admin")
    outside = but(servers.postgres, database="prepared")
    servers.sql("GRANT ALL ON SCHEMA public TO tamma", "prepared")
    servers.sql('CREATE EXTENSION "uuid-ossp"', "prepared")
    (problem,) = logins.check_postgres(outside)
    assert 'GRANT CREATE ON DATABASE "prepared" TO "tamma"' in problem
    servers.sql('CREATE SCHEMA "Elsa" AUTHORIZATION tamma', "prepared")
    assert logins.check_postgres(outside) == []


def test_init_sql_that_fails_leaves_nothing(servers: Servers) -> None:
    servers.sql("CREATE DATABASE half OWNER tamma")
    outside = but(servers.postgres, database="half")
    files = {INIT_SQL_PATH: f"CREATE SCHEMA half; {INIT_SQL.read_text()}; NONSENSE", POSTGRES_CA: outside.ca}
    wanted = of_external(settings_of(outside), files)
    assert wanted
    with pytest.raises(OperatorError, match=r"^The database was not prepared, and not changed.*42601"):
        prepare(wanted)
    with PostgresSession(outside) as session:
        assert session.query("SELECT to_regnamespace('half')") == [[None]]


# -- RabbitMQ -------------------------------------------------------------------------------


def test_the_broker_lets_us_in(servers: Servers) -> None:
    assert check_rabbitmq(servers.rabbitmq) == []
    assert check_rabbitmq(servers.rabbitmq_tls) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, ("ACCESS_REFUSED", "tamma_stack_rabbitmq_password")),
        ({"user": "missing"}, ("ACCESS_REFUSED", "tamma_stack_rabbitmq_user")),
        ({"vhost": "missing"}, ("vhost missing not found", "tamma_stack_rabbitmq_vhost")),
        ({"host": "nowhere.invalid"}, ("cannot resolve the name", "tamma_stack_rabbitmq_host")),
        ({"port": 1}, ("refuses the connection", "tamma_stack_rabbitmq_port")),
    ],
)
@pytest.mark.parametrize("tls", [False, True])
def test_a_broker_that_refuses(servers: Servers, tls: bool, changes: dict[str, Any], words: tuple[str, ...]) -> None:
    (problem,) = check_rabbitmq(but(servers.rabbitmq_tls if tls else servers.rabbitmq, **changes))
    for word in words:
        assert word in problem
    assert BROKER_PASSWORD not in problem


@pytest.mark.parametrize("lacking", ["configure", "write", "read"])
def test_a_user_that_may_not_do_everything(servers: Servers, lacking: str) -> None:
    # Not even the queue that the check makes for itself.
    rights = ["^$" if right == lacking else ".*" for right in ("configure", "write", "read")]
    ctl = ("exec", servers.broker, "rabbitmqctl", "-q")
    docker(*ctl, "add_user", lacking, BROKER_PASSWORD)
    docker(*ctl, "set_permissions", lacking, *rights)
    (problem,) = check_rabbitmq(but(servers.rabbitmq, user=lacking))
    assert "ACCESS_REFUSED" in problem
    assert "rabbitmqctl set_permissions --vhost '/' '%s'" % lacking in problem


def test_a_check_leaves_no_queue_behind(servers: Servers) -> None:
    assert check_rabbitmq(servers.rabbitmq) == []
    listed = ("exec", servers.broker, "rabbitmqctl", "-q", "list_queues", "name")
    wait_until(lambda: "amq.gen" not in docker(*listed), 60, "the queue to go")


# -- the wrong door -------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing is given up after a moment."""
    monkeypatch.setattr(logins, "SECONDS", 1.0)


@pytest.mark.usefixtures("quick")
def test_a_port_of_something_else(servers: Servers) -> None:
    broker, database = servers.rabbitmq, servers.postgres
    for server in (
        but(database, port=broker.port),
        but(database, port=broker.port, sslmode="disable"),
        but(database, port=servers.rabbitmq_tls.port),
    ):
        (problem,) = check_postgres(server)
        assert "tamma_stack_postgres_port" in problem or "does not offer TLS" in problem
    for server in (
        but(broker, port=database.port),
        but(broker, port=servers.rabbitmq_tls.port),
        but(servers.rabbitmq_tls, port=broker.port),
    ):
        (problem,) = check_rabbitmq(server)
        assert "tamma_stack_rabbitmq_port" in problem or "does not agree on TLS" in problem


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("sslmode", ["disable", "verify-full"])
def test_a_server_that_says_nothing(sslmode: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        number = silent.getsockname()[1]
        (problem,) = check_postgres(Postgres("127.0.0.1", number, "tamma", "tamma", "x", sslmode))
        assert "says nothing" in problem
        (problem,) = check_rabbitmq(RabbitMQ("127.0.0.1", number, "tamma", "x", tls=sslmode != "disable"))
        assert "says nothing" in problem
