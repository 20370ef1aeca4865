"""One test per tool that reads the source: `make lint`."""

from __future__ import annotations

import ast
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tools import check_specs, roles, variables
from tests.tools.run import project_files, run

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ".collections/ansible_collections/meywd/tamma/plugins"
TAMMACTL = "roles/tamma_backup/files/tammactl"
PYTHON_TREES = ("benchmarks", "molecule", "plugins", "roles", "tests")

# Which Pythons a controller may have, by ansible-core release line.
CONTROLLER_PYTHONS = {
    "2.19": {"3.11", "3.12", "3.13"},
    "2.20": {"3.12", "3.13", "3.14"},
    "2.21": {"3.12", "3.13", "3.14"},
}


def _load(path: str) -> dict[str, Any]:
    content = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def _shell_scripts() -> list[Path]:
    def is_shell(path: Path) -> bool:
        if path.suffix:
            return path.suffix == ".sh"
        with (ROOT / path).open("rb") as file:
            return re.match(rb"#!.*\b(ba|da)?sh\b", file.readline()) is not None

    return [path for path in project_files() if is_shell(path)]


def test_ruff_check() -> None:
    run(["ruff", "check", "--no-cache", *(tree for tree in PYTHON_TREES if (ROOT / tree).is_dir())])


def test_ruff_format() -> None:
    trees = [tree for tree in PYTHON_TREES if (ROOT / tree).is_dir()]
    run(["ruff", "format", "--no-cache", "--check", "--diff", *trees])


def test_mypy() -> None:
    targets = [
        PLUGINS,
        TAMMACTL,
        "tests/bench",
        "tests/postgres",
        "tests/tools",
        *(str(path) for path in project_files(":(glob)tests/*.py")),
    ]
    if (ROOT / "benchmarks").is_dir():
        targets.append("benchmarks")
    run(["mypy", *targets])


def test_yamllint() -> None:
    run(["yamllint", "--strict", "."])


def test_ansible_lint() -> None:
    output = run(["ansible-lint", "--nocolor", "--offline"])
    assert "0 failure(s), 0 warning(s)" in output, output


def test_ansible_lint_excuses_nothing() -> None:
    config = _load(".ansible-lint")
    assert config["profile"] == "production"
    assert not config["skip_list"]
    assert not config["warn_list"]
    assert not (ROOT / ".ansible-lint-ignore").exists()
    assert not (ROOT / ".config" / "ansible-lint-ignore.txt").exists()


def test_shellcheck() -> None:
    scripts = _shell_scripts()
    assert scripts
    run(["shellcheck", *scripts])


def test_zizmor() -> None:
    run(["zizmor", "--offline", "--no-progress", "--persona=pedantic", ".github/workflows"])


def _dockerfiles() -> list[Path]:
    # Those that users build with; the bench's own have whatever Debian has today.
    return project_files(":(glob)roles/**/*Dockerfile")


def test_hadolint() -> None:
    assert _dockerfiles()
    run(["hadolint", "--no-color", "--failure-threshold=style", *_dockerfiles()])
    assert not [path for path in project_files() if path.name in (".hadolint.yaml", ".hadolint.yml")]
    assert not [path for path in _dockerfiles() if "hadolint" in (ROOT / path).read_text(encoding="utf-8")]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="it comes for this kind of machine alone")
def test_trivy() -> None:
    for directory in {path.parent for path in _dockerfiles()}:
        alone = ["--skip-check-update", "--skip-version-check", "--disable-telemetry", "--ignorefile="]
        run(["trivy", "config", "--quiet", "--exit-code=1", *alone, directory])
    assert not [path for path in _dockerfiles() if "trivy:ignore" in (ROOT / path).read_text(encoding="utf-8")]


def test_workflow_schema() -> None:
    run(["check-jsonschema", "--builtin-schema=vendor.github-workflows", *project_files(".github/workflows")])


def test_workflow_matrix_covers_what_is_supported() -> None:
    minimum = _load("meta/runtime.yml")["requires_ansible"]
    matrix = _load(".github/workflows/ci.yml")["jobs"]["static"]["strategy"]["matrix"]["include"]
    tested: dict[str, set[str]] = {}
    for entry in matrix:
        tested.setdefault(entry["core"], set()).add(entry["python"])
    assert minimum == f">={min(CONTROLLER_PYTHONS)}.0"
    assert tested.keys() == CONTROLLER_PYTHONS.keys()
    for core, pythons in tested.items():
        # The oldest and the newest; what lies between differs from neither.
        assert pythons == {min(CONTROLLER_PYTHONS[core]), max(CONTROLLER_PYTHONS[core])}, core


def test_changelog() -> None:
    run(["antsibull-changelog", "lint"])


def test_specs_and_defaults_agree() -> None:
    known = roles.load_roles()
    problems = [
        *(problem for role in known for problem in check_specs.problems_of(role)),
        *check_specs.taken_for_true(known),
    ]
    assert not problems, "\n".join(problems)


def test_generated_tables_are_up_to_date() -> None:
    assert not variables.outdated()


def test_action_group_holds_every_module() -> None:
    # An action plugin without a module beside it has a module file for its documentation.
    modules = {path.stem for path in project_files("plugins/modules/*.py") if path.stem != "__init__"}
    group = _load("meta/runtime.yml")["action_groups"]["tamma"]
    assert group == sorted(modules)


def test_module_utils_need_nothing_but_the_standard_library() -> None:
    allowed = {"__future__", "ansible_collections.meywd.tamma.plugins.module_utils"}
    foreign = []
    for path in project_files("plugins/module_utils/*.py"):
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                known = any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)
                if not known and name.partition(".")[0] not in sys.stdlib_module_names:
                    foreign.append(f"{path}:{node.lineno}: {name}")
    assert not foreign, "\n".join(foreign)


def test_no_path_of_this_checkout() -> None:
    needle = os.fsencode(ROOT)
    named = [str(path) for path in project_files() if needle in (ROOT / path).read_bytes()]
    assert not named


def test_lock_names_packages_and_hashes_only() -> None:
    lines = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8").splitlines()
    expected = re.compile(r"(#.*|\s+#.*|[a-z0-9-]+==\S+( ; .*)? \\|\s+--hash=sha256:[0-9a-f]{64}( \\)?)")
    assert not [line for line in lines if not expected.fullmatch(line)]


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    assert phony
    targets = set(phony.group(1).replace("\\\n", " ").split())
    documented = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert documented == targets


def test_ci_runs_what_the_readme_names() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in readme
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").rstrip().endswith("make test")
