# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that the operator mistyped, told from variables that are not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.meywd.tamma.plugins.plugin_utils.variables import is_clear_text, known, unknown

NAMES = {"tamma_stack_version", "tamma_stack_registry", "tamma_stack_postgres_password", "tamma_runtime_engine"}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("tamma_stack_verson", "tamma_stack_version"),
        ("tamma_stak_version", "tamma_stack_version"),
        ("tama_stack_registry", "tamma_stack_registry"),
        ("tamma-stack-version", "tamma_stack_version"),
        ("tamma_stack_something_else", ""),
        ("tamma_runtime_x", ""),
    ],
)
def test_a_mistyped_variable(name: str, near: str) -> None:
    assert unknown([name], NAMES) == [(name, near)]


@pytest.mark.parametrize(
    "name",
    [
        "tamma_stack_version",
        "vault_tamma_stack_postgres_password",
        "tamma_postgres_password",
        "ansible_host",
        "inventory_hostname",
        "_tamma_stack_verson",
        "__tamma_stack_files",
        "x",
    ],
)
def test_a_variable_that_is_known_or_not_ours(name: str) -> None:
    assert unknown([name], NAMES) == []


def test_several_are_told_in_order() -> None:
    assert unknown(["tamma_stack_b", "tamma_stack_a", "y"], NAMES) == [("tamma_stack_a", ""), ("tamma_stack_b", "")]


def test_every_role_and_entry_point_is_read(tmp_path: Path) -> None:
    for role, spec in {
        "tamma_a": "argument_specs: {main: {options: {tamma_a_x: {}}}, absent: {options: {tamma_a_y: {}}}}",
        "tamma_b": "argument_specs: {main: {short_description: no options}}",
    }.items():
        (tmp_path / "roles" / role / "meta").mkdir(parents=True)
        (tmp_path / "roles" / role / "meta" / "argument_specs.yml").write_text(spec)
    assert known(tmp_path) == {"tamma_a_x", "tamma_a_y"}


def test_what_the_collection_knows_is_nothing_unknown() -> None:
    names = known(Path(__file__).resolve().parents[2])
    assert "tamma_stack_version" in names
    assert unknown(names, names) == []


# -- what stands in a file as it is ---------------------------------------------------------

VAULT = VaultLib([("default", VaultSecret(b"a passphrase"))])


def loaded(path: Path, text: str, vaulted: bool = False) -> dict[str, object]:
    """What Ansible has of a file of variables."""
    path.write_bytes(VAULT.encrypt(text) if vaulted else text.encode())
    loader = DataLoader()
    loader.set_vault_secrets(VAULT.secrets)
    found: dict[str, object] = loader.load_from_file(str(path))
    return found


def test_clear_text_is_what_stands_in_a_file_as_it_is(tmp_path: Path) -> None:
    inline = VAULT.encrypt("hidden").decode().replace("\n", "\n  ")
    found = loaded(
        tmp_path / "a.yml", f"clear: x\nelsewhere: '{{{{ y }}}}'\nnumber: 1\nvaulted: !vault |\n  {inline}\n"
    )
    assert {name for name, value in found.items() if is_clear_text(value)} == {"clear"}
    assert not is_clear_text("from nowhere")


def test_a_file_that_is_vaulted_as_a_whole_is_none(tmp_path: Path) -> None:
    found = loaded(tmp_path / "vault.yml", "clear: x\n", vaulted=True)
    assert found == {"clear": "x"}
    assert not is_clear_text(found["clear"])
