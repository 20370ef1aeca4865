"""The artifact holds what a user needs and nothing else, and works where there is no checkout."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.tools.roles import load_roles
from tests.tools.run import project_files, run

ROOT = Path(__file__).resolve().parent.parent

# What a user gets. Whatever else appears in the project has to be named here or in build_ignore.
TREES = ("docs", "inventories/example", "meta", "playbooks", "plugins", "roles")
# site.yml: build_ignore cannot tell it from playbooks/site.yml.
FILES = ("CHANGELOG.rst", "LICENSE", "README.md", "site.yml")
OPTIONAL_FILES = ("changelogs/changelog.yaml",)
MADE_BY_THE_BUILD = ("FILES.json", "MANIFEST.json")
LARGEST = 1_000_000

Ansible = Callable[..., str]


@pytest.fixture(scope="module")
def ansible(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    """Runs an Ansible command as a user does who installed the artifact and has nothing else of us."""
    home = tmp_path_factory.mktemp("home")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "TAMMA_", "PYTHON"))}
    env |= {
        "HOME": str(home),
        "ANSIBLE_COLLECTIONS_PATH": str(home / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }

    def ansible(*words: str | os.PathLike[str]) -> str:
        return run(words, cwd=home, env=env)

    ansible("ansible-galaxy", "collection", "install", "--offline", artifact)
    return ansible


@pytest.fixture(scope="module")
def installed(ansible: Ansible) -> Path:
    """Where the artifact was installed."""
    found = json.loads(ansible("ansible-galaxy", "collection", "list", "meywd.tamma", "--format", "json"))
    ((place, collections),) = found.items()
    assert collections == {"meywd.tamma": {"version": _galaxy()["version"]}}
    path = Path(place) / "meywd" / "tamma"
    assert not path.is_relative_to(ROOT)
    return path


def _galaxy() -> dict[str, object]:
    content = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def _modules() -> list[str]:
    return sorted(path.stem for path in project_files("plugins/modules/*.py"))


def _playbooks() -> list[str]:
    return sorted(path.stem for path in project_files(":(glob)playbooks/*.yml"))


def test_contents(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        members = archive.getmembers()
    shipped = {member.name for member in members if not member.isdir()}
    expected = {str(path) for path in project_files(*TREES)} | {*FILES, *MADE_BY_THE_BUILD}
    expected |= {name for name in OPTIONAL_FILES if (ROOT / name).is_file()}
    assert shipped - expected == set(), "unexpected"
    assert expected - shipped == set(), "missing"
    assert all(member.isfile() or member.isdir() for member in members), "links"
    assert not [member.name for member in members if member.size > LARGEST]


def test_nothing_for_developers_inside(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = [Path(name) for name in archive.getnames()]
    developers = {"tests", "molecule", "benchmarks", "__pycache__", "conftest.py"}
    assert not [path for path in names if developers & set(path.parts) or path.name.startswith(".")]


def test_metadata(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        file = archive.extractfile("MANIFEST.json")
        assert file is not None
        manifest = json.load(file)["collection_info"]
    galaxy = _galaxy()
    assert {name: manifest[name] for name in ("namespace", "name", "version", "dependencies")} == {
        name: galaxy[name] for name in ("namespace", "name", "version", "dependencies")
    }
    assert manifest["license"] == ["GPL-3.0-or-later"]


@pytest.mark.parametrize("playbook", _playbooks())
def test_playbook_by_its_full_name(ansible: Ansible, installed: Path, playbook: str) -> None:
    inventory = installed / "inventories" / "example" / "hosts.yml"
    ansible("ansible-playbook", "--syntax-check", "--inventory", _without_vault(inventory), f"meywd.tamma.{playbook}")


def _without_vault(inventory: Path) -> Path:
    """The example's hosts alone: its vault has a password, and syntax needs no secrets."""
    alone = inventory.parent.parent / "hosts-only"
    alone.mkdir(exist_ok=True)
    (alone / "hosts.yml").write_text(inventory.read_text(encoding="utf-8"), encoding="utf-8")
    return alone / "hosts.yml"


def test_documentation_of_the_modules(ansible: Ansible, installed: Path) -> None:
    names = [f"meywd.tamma.{name}" for name in _modules()]
    documented = json.loads(ansible("ansible-doc", "--json", "--type", "module", *names))
    assert sorted(documented) == names
    for name, module in documented.items():
        assert Path(module["doc"]["filename"]).is_relative_to(installed), name
        assert module["examples"], name
        assert {"check_mode", "diff_mode"} <= module["doc"].get("attributes", {}).keys(), name


def test_documentation_of_the_roles(ansible: Ansible) -> None:
    documented = json.loads(ansible("ansible-doc", "--json", "--type", "role", "--list", "meywd.tamma"))
    for role in load_roles():
        found = documented[f"meywd.tamma.{role.name}"]["entry_points"]
        assert set(found) == {point.name for point in role.entry_points}
        ansible("ansible-doc", "--type", "role", f"meywd.tamma.{role.name}")


def test_documentation_of_the_filters(ansible: Ansible, installed: Path) -> None:
    listed = json.loads(ansible("ansible-doc", "--json", "--type", "filter", "--list", "meywd.tamma"))
    assert not [name for name, description in listed.items() if description == "UNDOCUMENTED"]
    documented = json.loads(ansible("ansible-doc", "--json", "--type", "filter", *listed)) if listed else {}
    for name, plugin in documented.items():
        assert Path(plugin["doc"]["filename"]).is_relative_to(installed), name
        assert plugin["examples"], name
