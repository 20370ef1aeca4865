"""The lite profile on one host: what is left out is not there at all."""

from __future__ import annotations

from testinfra.host import Host

from tests.tools.deployed import compose, engine


def test_nothing_of_the_services_that_are_left_out_was_made(host: Host) -> None:
    volumes = compose(host, "config", "--volumes").split()
    assert "tamma-pg-data" in volumes
    listing = f"{engine(host)} volume ls --quiet --filter label=com.docker.compose.project=tamma"
    made = host.check_output(listing).split()
    assert sorted(made) == ["tamma_tamma-api-workdir", "tamma_tamma-engine-workdir", "tamma_tamma-pg-data"]
    assert "rabbitmq" not in host.check_output(f"{engine(host)} image ls")
