"""ansible-test sanity: every test, on what would be published, with nothing ignored: `make sanity`."""

from __future__ import annotations

import configparser
import os
import re
import sys
import tempfile
from pathlib import Path

import ansible_test
import pytest

from tests.tools.run import project_files, run

ROOT = Path(__file__).resolve().parent.parent

# ansible-test makes virtual environments without pip, and fetches pip's installer from a server of
# its own. Python brings pip along.
PIP_FROM_PYTHON = "import ensurepip\nensurepip.bootstrap(default_pip=True)\n"

# ansible-test drops the environment, and with it what pip reads from there.
PIP_SETTINGS = {
    "cert": ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
    "index-url": ("PIP_INDEX_URL",),
    "extra-index-url": ("PIP_EXTRA_INDEX_URL",),
    "proxy": ("PIP_PROXY", "HTTPS_PROXY", "https_proxy"),
    "timeout": ("PIP_DEFAULT_TIMEOUT",),
    "trusted-host": ("PIP_TRUSTED_HOST",),
}

# The virtual environments are kept; their path must stay short enough for a script's first line.
LONGEST_HOME = 60


def _home() -> Path:
    wanted = ROOT / ".cache" / "ansible-test"
    if len(str(wanted)) <= LONGEST_HOME:
        return wanted
    return Path(tempfile.gettempdir()) / f"tamma-ansible-test-{os.getuid()}"


def _pip_bootstrap_name() -> str:
    """The name under which this ansible-test looks for pip's installer before it fetches it."""
    source = Path(ansible_test.__path__[0]) / "_internal" / "python_requirements.py"
    version = re.search(r"\bpip='([\d.]+)'", source.read_text(encoding="utf-8"))
    assert version, f"{source} does not say which pip it wants"
    return f"get_pip_{version[1].replace('.', '_')}.py"


def _prepare(home: Path) -> None:
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    (cache / _pip_bootstrap_name()).write_text(PIP_FROM_PYTHON, encoding="utf-8")
    settings = configparser.ConfigParser(interpolation=None)
    settings["global"] = {"disable-pip-version-check": "true"}
    for name, variables in PIP_SETTINGS.items():
        value = next((os.environ[variable] for variable in variables if os.environ.get(variable)), None)
        if value:
            settings["global"][name] = value
    (home / ".pip").mkdir(exist_ok=True)
    with (home / ".pip" / "pip.conf").open("w", encoding="utf-8") as file:
        settings.write(file)


@pytest.fixture
def collection(artifact: Path, tmp_path: Path) -> Path:
    """The artifact's content where ansible-test wants it."""
    target = tmp_path / "ansible_collections" / "meywd" / "tamma"
    target.mkdir(parents=True)
    # Python has no safe way to do this before 3.11.4.
    run(["tar", "--extract", "--file", artifact, "--directory", target])
    return target


def test_sanity(collection: Path) -> None:
    home = _home()
    _prepare(home)
    # A config file of ours would be one that users of the collection do not have.
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    output = run(
        ["ansible-test", "sanity", "--requirements", "--color", "no", "--truncate", "0",
         "--python", f"{sys.version_info.major}.{sys.version_info.minor}"],
        cwd=collection,
        env={**env, "HOME": str(home)},
        timeout=1200,
    )  # fmt: skip
    assert "Running sanity test" in output, output


def test_nothing_is_ignored() -> None:
    assert not project_files("tests/sanity/ignore*")
