# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment file of a release: what is given, what the host knows, and what is made up."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings

from ansible_collections.meywd.tamma.plugins.module_utils.files import File, record, write
from ansible_collections.meywd.tamma.plugins.module_utils.formats import parse_dotenv, quote_npgsql, quote_url
from ansible_collections.meywd.tamma.plugins.module_utils.release import (
    ENV_FILE,
    Release,
    check_placeholders,
    compare_files,
    environment,
    secret_names,
    wanted_files,
)
from tests.unit.test_formats import printable

GENERATED = ["POSTGRES_PASSWORD", "ELSA_SIGNING_KEY"]


def release(directory: Path, **secrets: str) -> Release:
    return Release(
        project="tamma",
        directory=str(directory),
        files=[File("docker-compose.yml", "services: {}\n")],
        compose_files=["docker-compose.yml", "docker-compose.dev.yml"],
        settings={"TAMMA_VERSION": "1.0"},
        secrets=secrets,
        generated=GENERATED,
        pull_always=False,
        deadline=300,
        deadlines={},
    )


def deploy(wanted: Release) -> None:
    """Write a release's files as a deploy does."""
    files = wanted_files(wanted, environment(wanted))
    write(wanted.directory, files)
    record(wanted.directory, [item.path for item in files])


def test_compose_reads_the_directory_as_the_release_says(tmp_path: Path) -> None:
    env = environment(release(tmp_path))
    assert env["COMPOSE_PROJECT_NAME"] == "tamma"
    assert env["COMPOSE_FILE"] == "docker-compose.yml:docker-compose.dev.yml"
    assert env["TAMMA_VERSION"] == "1.0"


def test_made_up_secrets_are_long_and_each_another(tmp_path: Path) -> None:
    made_up = [environment(release(tmp_path))[name] for name in GENERATED for _ in range(3)]
    assert len(set(made_up)) == 6
    assert min(map(len, made_up)) >= 43
    assert quote_url(made_up[0]) == made_up[0]


def test_made_up_secrets_stay_what_they_were(tmp_path: Path) -> None:
    wanted = release(tmp_path)
    deploy(wanted)
    first = parse_dotenv((tmp_path / ENV_FILE).read_text())
    assert environment(wanted) == first


def test_a_given_secret_wins_and_an_empty_one_counts_as_not_given(tmp_path: Path) -> None:
    deploy(release(tmp_path, POSTGRES_PASSWORD="given", GITHUB_TOKEN="token"))
    again = environment(release(tmp_path, POSTGRES_PASSWORD="", GITHUB_TOKEN=""))
    assert again["POSTGRES_PASSWORD"] == "given"
    assert "GITHUB_TOKEN" not in again
    assert environment(release(tmp_path, POSTGRES_PASSWORD="new"))["POSTGRES_PASSWORD"] == "new"


@given(printable.filter(bool))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_a_second_deploy_finds_nothing_to_change(tmp_path: Path, password: str) -> None:
    wanted = release(tmp_path, POSTGRES_PASSWORD=password)
    deploy(wanted)
    env = environment(wanted)
    assert env["POSTGRES_PASSWORD_NPGSQL"] == quote_npgsql(password)
    assert compare_files(wanted, env) == ([], {"added": [], "changed": [], "removed": []})


def test_changes_are_told_by_name(tmp_path: Path) -> None:
    deploy(release(tmp_path, GITHUB_TOKEN="former-value", ELSA_API_KEY="gone-value"))
    wanted = release(tmp_path, GITHUB_TOKEN="other-value")
    changes, keys = compare_files(wanted, environment(wanted))
    assert keys == {"added": [], "changed": ["GITHUB_TOKEN"], "removed": ["ELSA_API_KEY"]}
    assert [(change.path, change.action) for change in changes] == [(ENV_FILE, "update")]
    assert "-value" not in changes[0].diff


def test_every_spelling_of_a_secret_counts_as_secret() -> None:
    assert secret_names(release(Path("/nowhere"), GITHUB_TOKEN="x")) == sorted(
        [
            *GENERATED,
            "GITHUB_TOKEN",
            "POSTGRES_PASSWORD_NPGSQL",
            "POSTGRES_PASSWORD_URL",
            *(f"{server}_{kind}_PASSWORD" for server in ("POSTGRES", "RABBITMQ") for kind in ("INITIAL", "CONTAINER")),
            "SECRETS_HASH_KEY",
        ]
    )


def test_the_environment_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    wanted = release(tmp_path)
    deploy(wanted)
    assert (tmp_path / ENV_FILE).stat().st_mode & 0o777 == 0o600


def test_placeholders_are_refused_in_production_alone(tmp_path: Path) -> None:
    deploy(release(tmp_path, POSTGRES_PASSWORD="tamma_dev_only", ELSA_SIGNING_KEY="a-good-one-8fX2"))
    wanted = release(tmp_path, GITHUB_TOKEN="ghp_xxx")
    assert check_placeholders(wanted, environment(wanted)) == []
    production = wanted._replace(refuses_placeholders=True)
    given_one, kept_one = check_placeholders(production, environment(production))
    assert given_one.startswith("GITHUB_TOKEN is a placeholder")
    assert kept_one.endswith("tamma_stack_rotate=POSTGRES_PASSWORD.")
    assert "ELSA_SIGNING_KEY" not in given_one + kept_one
    assert "tamma_dev_only" not in given_one + kept_one


def test_what_is_made_up_is_no_placeholder(tmp_path: Path) -> None:
    production = release(tmp_path)._replace(refuses_placeholders=True)
    assert check_placeholders(production, environment(production)) == []
