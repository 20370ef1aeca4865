"""The command line of the test bench."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
import time
from pathlib import Path

from . import clock, engine, hosts, images, inventory, machine, registry, releases, snapshots, ssh
from .command import LOCK, BenchError, one_at_a_time
from .names import DEFAULT_SANDBOX, REGISTRY_ADDRESS, cache_dir
from .progress import say


def main() -> int:
    """Do what the command line asks for; return the exit status."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _engine(_: argparse.Namespace) -> None:
    with one_at_a_time():
        engine.ensure()
    say(engine.describe())


def _images(arguments: argparse.Namespace) -> None:
    with one_at_a_time():
        engine.ensure()
        images.build(arguments.only or None)
        if not arguments.only:
            releases.build()
        if arguments.snapshots:
            _serve()
    if arguments.snapshots:
        for name in snapshots.ENGINES:
            snapshots.ensure(name)
    if not arguments.only:
        for name, megabytes in releases.sizes().items():
            say(f"{name:<42}{megabytes:>5} MB")


def _up(arguments: argparse.Namespace) -> None:
    begin = time.monotonic()
    with clock.phase("the bench's images"), one_at_a_time():
        engine.ensure()
        images.build()
        releases.build()
        _serve()
    if arguments.engine:
        snapshots.ensure(arguments.engine)
    sandbox = hosts.up(arguments.name, arguments.hosts, arguments.publish, arguments.engine)
    for host in sandbox:
        say(f"{host.name}: {shlex.join(ssh.command(host.ssh_port or 0))}")
    say(
        f"Sandbox {arguments.name} has {len(sandbox)} running host(s); they pull from "
        f"{REGISTRY_ADDRESS}. {time.monotonic() - begin:.1f} s"
    )


def _serve() -> None:
    """Make sure that the registry has every image, and that there is a key for the hosts."""
    registry.ensure()
    pushed = registry.push(releases.served())
    ssh.key()
    if pushed:
        say(f"Pushed {len(pushed)} images to the registry: {', '.join(pushed)}")


def _down(arguments: argparse.Namespace) -> None:
    if engine.answers():
        removed = hosts.down(None if arguments.all else arguments.name)
        say("Removed hosts: " + (", ".join(f"{h.sandbox}/{h.name}" for h in removed) or "none."))
    else:
        say("No Docker engine answers, so no sandbox runs.")
    if arguments.all:
        _remove_everything()


def _remove_everything() -> None:
    left = [f"the Debian packages {' '.join(machine.installed())}"] if machine.installed() else []
    if engine.answers():
        registry.remove()
        images.remove()
    if engine.remove():
        left.append("the engine's iptables chains (until the next start)")
    shutil.rmtree(cache_dir())
    for lock in LOCK.parent.glob(f"{LOCK.stem}.*"):
        lock.unlink()
    say("Removed the registry, the network, the images, the keys and the bench's own engine.")
    say("Left on this machine: " + (" and ".join(left) or "nothing") + ".")


def _screenshot(arguments: argparse.Namespace) -> None:
    # Playwright comes with the locked tools; the other commands need nothing but Python.
    from . import browser

    browser.screenshot(arguments.url, arguments.file, arguments.until)


def _inventory(arguments: argparse.Namespace) -> None:
    print(json.dumps(inventory.inventory(arguments.name), indent=2))


def _reset(arguments: argparse.Namespace) -> None:
    for host in hosts.reset(arguments.name, arguments.host):
        say(f"{host.name} is new again: {shlex.join(ssh.command(host.ssh_port or 0))}")


def _status(_: argparse.Namespace) -> None:
    if not engine.answers():
        say("No Docker engine answers.")
        return
    say(engine.describe())
    say(f"{'SANDBOX':<16}{'HOST':<10}{'STATE':<10}{'ADDRESS':<16}{'SSH PORT':<10}PUBLISHED")
    for host in hosts.existing():
        say(
            f"{host.sandbox:<16}{host.name:<10}{'running' if host.running else 'stopped':<10}"
            f"{host.address:<16}{host.ssh_port or '-'!s:<10}{'yes' if host.published else 'no'}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, help_text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.set_defaults(run=run)
        return command

    def add_name(command: argparse.ArgumentParser) -> None:
        command.add_argument("--name", default=DEFAULT_SANDBOX, help="sandbox (default: demo)")

    add("engine", _engine, "make sure that a Docker engine answers")
    command = add("images", _images, "build the images that are missing")
    command.add_argument("--snapshots", action="store_true", help="and of provisioned hosts")
    command.add_argument("--only", nargs="+", metavar="IMAGE", help=", ".join(images.IMAGES))
    command = add("up", _up, "bring a sandbox up: engine, images, registry, hosts")
    add_name(command)
    command.add_argument("--hosts", type=int, metavar="N", help="at least so many (default: 1)")
    command.add_argument("--publish", action="store_true", help="publish the first host's stack on 127.0.0.1")
    engines = ("", *snapshots.ENGINES)
    command.add_argument("--engine", choices=engines, default="", help="with this engine and the stack's images")
    command = add("down", _down, "remove a sandbox's hosts and their data")
    add_name(command)
    command.add_argument("--all", action="store_true", help="remove every trace of the bench")
    add_name(add("inventory", _inventory, "print a sandbox as an Ansible inventory"))
    command = add("reset", _reset, "put new hosts in the place of the named ones")
    add_name(command)
    command.add_argument("host", nargs="+", metavar="HOST", help="tamma1, tamma2...")
    command = add("screenshot", _screenshot, "save a picture of a page, once it shows what it should")
    command.add_argument("url", metavar="URL")
    command.add_argument("file", metavar="FILE", type=Path)
    command.add_argument("--until", default="true", metavar="JAVASCRIPT", help="what must hold first")
    add("status", _status, "show the engine and the sandboxes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
