# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle that is made, changed by its owner, and renewed."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.action import tamma_bundle, tamma_bundle_ask
from ansible_collections.meywd.tamma.plugins.module_utils import bundle, formats
from ansible_collections.meywd.tamma.plugins.module_utils.bundle import Bundle, Plan
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release
from tests.tools.roles import ROOT

EXAMPLE = """# Settings of the stack.
# What nobody needs to know in .env.

# --- Required ---
# A token.
GITHUB_TOKEN=
# Made up.
POSTGRES_PASSWORD=change_this_in_production
# TAMMA_VERSION=latest
# POSTGRES_PASSWORD_NPGSQL=
# NGINX_HASH=
# PORT=3001
"""


def made(directory: Path, **changes: Any) -> Bundle:
    """A bundle of three files."""
    options: dict[str, Any] = {
        "files": [
            File("docker-compose.yml", "services: {}\n"),
            File("nginx/site.conf", "one\n"),
            File(".env.example", EXAMPLE),
        ],
        "settings": {"TAMMA_VERSION": "1.0"},
        "secrets": {"GITHUB_TOKEN": "token"},
        "given": [],
        "variables": {},
        "force": False,
        "compose_files": ["docker-compose.yml"],
        "hashed": {},
        **changes,
    }
    release = Release(
        project="tamma",
        directory=str(directory),
        files=options["files"],
        compose_files=options["compose_files"],
        settings=options["settings"],
        secrets=options["secrets"],
        generated=["POSTGRES_PASSWORD"],
        pull_always=False,
        deadline=0,
        deadlines={},
    )
    return Bundle(release, options["hashed"], options["given"], options["variables"], options["force"])


def write(directory: Path, **changes: Any) -> Plan:
    wanted = made(directory, **changes)
    planned = bundle.plan(wanted)
    bundle.write(wanted, planned)
    return planned


def env(directory: Path) -> dict[str, str]:
    return formats.parse_dotenv((directory / ".env").read_text(encoding="utf-8"))


def newer(name: str, content: str) -> list[File]:
    """The bundle's files, one of them in a newer version."""
    files = made(Path("/")).release.files
    return [item._replace(content=content) if item.path == name else item for item in files]


# -- the first run --------------------------------------------------------------------------


def test_a_directory_is_made_with_everything_in_it(tmp_path: Path) -> None:
    write(tmp_path / "new" / "tamma")
    made_files = {str(path.relative_to(tmp_path / "new/tamma")) for path in tmp_path.rglob("*") if path.is_file()}
    assert made_files == {
        "docker-compose.yml",
        "nginx/site.conf",
        ".env.example",
        ".env",
        ".gitignore",
        ".tamma/bundle.json",
        ".tamma/variables.json",
    }


def test_what_may_hold_a_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    write(tmp_path, files=[*newer("", ""), File("engine/ssh/id", "key\n", 0o600, secret=True)])
    modes = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    private = {name for name, mode in modes.items() if not mode & 0o077}
    assert private == {
        ".env",
        ".tamma",
        ".tamma/bundle.json",
        ".tamma/variables.json",
        "engine",
        "engine/ssh",
        "engine/ssh/id",
    }


def test_the_settings_stand_where_the_example_explains_them(tmp_path: Path) -> None:
    write(tmp_path)
    lines = (tmp_path / ".env").read_text(encoding="utf-8").splitlines()
    assert lines[lines.index("# A token.") + 1] == "GITHUB_TOKEN=token"
    assert "TAMMA_VERSION=1.0" in lines
    assert "# PORT=3001" in lines
    assert not any("nobody needs to know" in line for line in lines)


def test_no_placeholder_becomes_a_value(tmp_path: Path) -> None:
    assert bundle.fill_in(EXAMPLE, {}).count("change_this_in_production") == 0
    write(tmp_path)
    assert len(env(tmp_path)["POSTGRES_PASSWORD"]) > 40


def test_git_passes_over_what_may_hold_a_secret(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.log\n.env", encoding="utf-8")
    write(tmp_path, files=[*newer("", ""), File("edge/users.caddy", "", 0o600, secret=True)])
    lines = (tmp_path / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["*.log", ".env"]
    assert lines.count(".env") == 1
    assert lines[-3:] == ["/.tamma/", "/backups/", "/edge/users.caddy"]


# -- another run ----------------------------------------------------------------------------


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert write(tmp_path).changes == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_planning_changes_nothing(tmp_path: Path) -> None:
    assert bundle.plan(made(tmp_path / "new")).changes
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_nobody_touched_is_renewed(tmp_path: Path) -> None:
    write(tmp_path)
    planned = write(tmp_path, files=newer("nginx/site.conf", "two\n"))
    assert (tmp_path / "nginx/site.conf").read_text() == "two\n"
    assert (planned.kept, planned.beside) == ([], [])


def test_a_changed_file_stays_and_its_new_version_is_put_beside_it_once(tmp_path: Path) -> None:
    write(tmp_path)
    mine = tmp_path / "nginx/site.conf"
    mine.write_text("mine\n")
    assert write(tmp_path).kept == ["nginx/site.conf"]
    assert not (tmp_path / "nginx/site.conf.new").exists()

    planned = write(tmp_path, files=newer("nginx/site.conf", "two\n"))
    assert (planned.kept, planned.beside) == (["nginx/site.conf"], ["nginx/site.conf"])
    assert (mine.read_text(), (tmp_path / "nginx/site.conf.new").read_text()) == ("mine\n", "two\n")

    (tmp_path / "nginx/site.conf.new").unlink()
    planned = write(tmp_path, files=newer("nginx/site.conf", "two\n"))
    assert (planned.kept, planned.beside, planned.changes) == (["nginx/site.conf"], [], [])


def test_who_took_the_new_version_over_is_back_among_the_renewed(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "nginx/site.conf").write_text("two\n")
    assert write(tmp_path, files=newer("nginx/site.conf", "two\n")).kept == []
    assert write(tmp_path, files=newer("nginx/site.conf", "three\n")).kept == []
    assert (tmp_path / "nginx/site.conf").read_text() == "three\n"


def test_a_file_that_is_no_longer_part_of_it_is_removed_unless_it_was_changed(tmp_path: Path) -> None:
    write(tmp_path)
    fewer = [item for item in newer("", "") if item.path != "nginx/site.conf"]
    write(tmp_path, files=fewer)
    assert not (tmp_path / "nginx").exists()

    write(tmp_path)
    (tmp_path / "nginx/site.conf").write_text("mine\n")
    write(tmp_path, files=fewer)
    assert (tmp_path / "nginx/site.conf").read_text() == "mine\n"


def test_a_hash_is_one_of_what_is_there(tmp_path: Path) -> None:
    (item,) = (item for item in newer("", "") if item.path == "nginx/site.conf")
    write(tmp_path, hashed={"NGINX_HASH": [item]})
    first = env(tmp_path)["NGINX_HASH"]
    (tmp_path / "nginx/site.conf").write_text("mine\n")
    write(tmp_path, hashed={"NGINX_HASH": [item]})
    assert env(tmp_path)["NGINX_HASH"] not in ("", first)


def test_a_first_run_that_was_cut_off_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "nginx").touch()
    with pytest.raises(OperatorError, match="nginx is a file where a directory belongs"):
        write(tmp_path, force=True)
    (tmp_path / "nginx").unlink()
    assert (tmp_path / "docker-compose.yml").exists()
    assert write(tmp_path).kept == []


# -- .env -----------------------------------------------------------------------------------


def test_no_value_is_replaced_and_the_owner_is_told(tmp_path: Path) -> None:
    write(tmp_path)
    text = (tmp_path / ".env").read_text()
    changed = text.replace("TAMMA_VERSION=1.0", "TAMMA_VERSION=9.9 # mine").replace("# PORT=3001", "PORT=8080")
    (tmp_path / ".env").write_text(changed)
    planned = write(tmp_path, settings={"TAMMA_VERSION": "2.0"}, secrets={"GITHUB_TOKEN": "another"})
    assert (tmp_path / ".env").read_text() == changed
    assert planned.stays == ["GITHUB_TOKEN", "TAMMA_VERSION"]


def test_an_empty_value_is_filled_in(tmp_path: Path) -> None:
    write(tmp_path, secrets={"GITHUB_TOKEN": ""})
    assert env(tmp_path)["GITHUB_TOKEN"] == ""
    write(tmp_path)
    assert env(tmp_path)["GITHUB_TOKEN"] == "token"


def test_a_new_setting_comes_last(tmp_path: Path) -> None:
    write(tmp_path)
    before = (tmp_path / ".env").read_text()
    planned = write(tmp_path, settings={"TAMMA_VERSION": "1.0", "NEW": "a value"})
    after = (tmp_path / ".env").read_text()
    assert after.startswith(before)
    assert after.endswith('\nNEW="a value"\n')
    assert planned.settings == {"added": ["NEW"], "changed": [], "removed": []}


def test_the_files_that_compose_reads_follow_until_somebody_chooses_others(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, compose_files=["docker-compose.yml", "docker-compose.edge.yml"])
    assert env(tmp_path)["COMPOSE_FILE"] == "docker-compose.yml:docker-compose.edge.yml"
    text = (tmp_path / ".env").read_text()
    (tmp_path / ".env").write_text(text.replace("docker-compose.edge.yml", "docker-compose.override.yml"))
    planned = write(tmp_path)
    assert env(tmp_path)["COMPOSE_FILE"] == "docker-compose.yml:docker-compose.override.yml"
    assert planned.stays == ["COMPOSE_FILE"]


def test_a_password_with_special_characters_has_its_other_spellings(tmp_path: Path) -> None:
    write(tmp_path, secrets={"POSTGRES_PASSWORD": 'p@ss;"w'})
    assert env(tmp_path)["POSTGRES_PASSWORD_NPGSQL"] == formats.quote_npgsql('p@ss;"w')
    text = (tmp_path / ".env").read_text().replace('p@ss;\\"w', "other @")
    (tmp_path / ".env").write_text(text)
    write(tmp_path, secrets={})
    assert env(tmp_path)["POSTGRES_PASSWORD"] == "other @"
    assert env(tmp_path)["POSTGRES_PASSWORD_NPGSQL"] == '"other @"'


def test_a_plain_password_has_none_that_its_owner_would_have_to_know_of(tmp_path: Path) -> None:
    write(tmp_path)
    assert "POSTGRES_PASSWORD_NPGSQL" not in env(tmp_path)


lines = st.lists(
    st.sampled_from(
        ["# a comment", "", "A=1", "export B = 'two'", 'C="x\u2028B=3"', "  D=", "no setting", "A=again", "E='it\\'s'"]
    ),
    max_size=6,
).map("\n".join)
values = st.dictionaries(st.sampled_from(["A", "B", "C", "D", "E", "F"]), st.sampled_from(["", "1", "a b", '"', "$"]))


@given(lines, values)
@example('C="x\u2028B=3"', {"B": "4"})
def test_a_file_that_is_extended_says_what_it_said_and_the_new(text: str, new: dict[str, str]) -> None:
    after = bundle.extend(text, new)
    assert formats.parse_dotenv(after) == {**formats.parse_dotenv(text), **new}
    assert bundle.extend(after, new) == after
    if new.items() <= formats.parse_dotenv(text).items():
        assert after == text


# -- what is refused ------------------------------------------------------------------------


def test_somebody_else_s_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    bundle.plan(made(tmp_path))
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OperatorError, match=r"not empty and not a bundle \(it holds thesis\.tex\).*tamma_bundle_force"):
        bundle.plan(made(tmp_path))
    write(tmp_path, force=True)
    assert (tmp_path / "thesis.tex").exists()


def test_what_is_there_stays_even_when_it_is_forced(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text("mine")
    (tmp_path / ".env").write_text("TAMMA_VERSION=0.9\n")
    planned = write(tmp_path, force=True)
    assert planned.beside == ["docker-compose.yml"]
    assert (tmp_path / "docker-compose.yml").read_text() == "mine"
    assert env(tmp_path)["TAMMA_VERSION"] == "0.9"


def test_the_directory_of_a_deployed_stack_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".tamma").mkdir()
    (tmp_path / ".tamma/files.json").write_text("[]")
    with pytest.raises(OperatorError, match="deployed from here: change it with the playbook site"):
        bundle.plan(made(tmp_path, force=True))


def test_a_run_without_the_variables_of_before_is_refused(tmp_path: Path) -> None:
    write(tmp_path, given=["tamma_stack_profile"], variables={"tamma_stack_profile": "lite"})
    with pytest.raises(OperatorError, match=r"made with tamma_stack_profile.*add -e @.*/\.tamma/variables\.json"):
        bundle.plan(made(tmp_path))
    write(tmp_path, force=True)
    write(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_record_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    write(tmp_path)
    (tmp_path / ".tamma/bundle.json").write_text(content)
    with pytest.raises(OperatorError, match=r"bundle\.json cannot be read: put back what it held, or remove it"):
        bundle.plan(made(tmp_path))


# -- what is shown --------------------------------------------------------------------------


def result(*files: tuple[str, str], **more: list[str]) -> dict[str, Any]:
    listed = [{"path": path, "action": action} for path, action in files]
    return {"files": listed, "beside": [], "stays": [], **more}


def test_the_steps_are_numbered_and_say_what_happened() -> None:
    paths = ["docker-compose.yml", "nginx/site.conf", "postgres/init-db.sql", "README.md", ".env", ".gitignore"]
    shown = tamma_bundle.steps(
        paths, result((".env", "create"), ("nginx/site.conf", "keep"), ("README.md.new", "create")), check=False
    )
    assert [" ".join(line.split()) for line in shown] == [
        "[1/5] Generating docker-compose.yml... unchanged",
        "[2/5] Generating .env from template... done",
        "[3/5] Copying init-db.sql... unchanged",
        "[4/5] Copying nginx config... yours is kept",
        "[5/5] Writing README.md and .gitignore... done",
    ]
    assert tamma_bundle.steps([".env"], result((".env", "create")), check=True)[0].endswith(" would be done")


def test_what_was_made_is_listed_without_what_the_bundle_keeps_for_itself() -> None:
    found = tamma_bundle.sections(
        result(
            (".env", "create"), (".tamma/bundle.json", "create"), ("a.yml.new", "create"), beside=["a.yml"], stays=["X"]
        ),
        "./tamma",
    )
    assert [line.strip() for line in found if line] == [
        "Created:",
        "./tamma/.env",
        "Kept, because you changed them (take over from the new version what you want):",
        "./tamma/a.yml (new: a.yml.new)",
        "Kept in ./tamma/.env, where you change them:",
        "X",
    ]


def test_what_is_missing_comes_first_among_the_next_steps() -> None:
    missing = {"GITHUB_TOKEN": "a token", "ANTHROPIC_API_KEY": "a key", "GITHUB_REPO": "a name"}
    shown = [line.strip() for line in tamma_bundle.next_steps(missing, ["Run it"], ".")]
    assert "GITHUB_TOKEN is not set: it is a token." in shown
    assert shown[-2:] == ["1. Edit ./.env and set GITHUB_TOKEN, ANTHROPIC_API_KEY and GITHUB_REPO", "2. Run it"]
    assert [line.strip() for line in tamma_bundle.next_steps({}, ["Run it"], ".")][-1] == "1. Run it"


def test_a_prompt_says_what_is_asked_for_and_how_to_pass() -> None:
    question = {"setting": "GITHUB_TOKEN", "what": "a token", "hidden": True}
    assert tamma_bundle_ask.prompt(question) == "GITHUB_TOKEN, a token (not shown; Enter: later):"
    assert tamma_bundle_ask.prompt({**question, "hidden": False}) == "GITHUB_TOKEN, a token (Enter: later):"


def test_a_secret_inside_an_option_makes_it_a_secret() -> None:
    inside = {"type": "list", "options": {"name": {"type": "str"}, "password": {"no_log": True}}}
    assert tamma_bundle_ask.holds_secret(inside)
    assert not tamma_bundle_ask.holds_secret({"type": "str"})


# -- what a bundle says ---------------------------------------------------------------------


def said(template: str, **given: Any) -> str:
    """A template of the role, as an engine that runs where *given* says needs it."""
    role = ROOT / "roles/tamma_bundle"
    environment = jinja2.Environment(undefined=jinja2.ChainableUndefined, trim_blocks=True, autoescape=False)
    environment.filters["bool"] = bool
    variables = {"tamma_stack_engine_workdir": "", "tamma_stack_profile": "production", **given}
    known = yaml.safe_load((role / "vars/main.yml").read_text(encoding="utf-8"))
    for name in ("worker", "workspace", "settings"):
        name = f"__tamma_bundle_{name}"
        variables[name] = environment.from_string(known[name]).render(variables)
    text = (role / "templates" / template).read_text(encoding="utf-8")
    return environment.from_string(text).render(variables)


@pytest.mark.parametrize(("runs", "service"), [("engine", "tamma-engine"), ("api", "tamma-api")])
@pytest.mark.parametrize("template", ["README.md.j2", "next_steps.j2"])
def test_a_bundle_says_how_the_working_directory_is_given_away(template: str, runs: str, service: str) -> None:
    command = f"--user 0 --cap-add CHOWN --entrypoint chown {service} 1001:1001 /workspace"
    assert command in said(template, tamma_stack_engine_runs=runs)
    assert "chown" not in said(template, tamma_stack_engine_runs=runs, tamma_stack_engine_workdir="/srv/work")
    assert f"docker compose logs -f {service}" in said(template, tamma_stack_engine_runs=runs)


def test_a_bundle_asks_for_no_token_beside_an_app_and_for_no_second_elsa() -> None:
    assert "`GITHUB_TOKEN`, " in said("README.md.j2")
    assert "GITHUB_TOKEN" not in said("README.md.j2", __tamma_stack_github_app=True)
    assert "--scale tamma-api-dotnet=2" in said("README.md.j2")
    assert "--scale elsa-server" not in said("README.md.j2")
