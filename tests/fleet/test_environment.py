"""Variables that are no settings: service links go, typos are refused."""

from __future__ import annotations

from typing import Dict

import pytest

from fleet.environment import check_variables, drop_service_links
from tests.harness import nanofleet
from wire.errors import SettingsError


def links(service: str) -> Dict[str, str]:
    """What Kubernetes sets in each pod for a service with one named port, and Docker for a link."""
    port = f"{service}_PORT_1883_TCP"
    return {
        f"{service}_SERVICE_HOST": "10.0.0.7",
        f"{service}_SERVICE_PORT": "1883",
        f"{service}_SERVICE_PORT_MQTT": "1883",
        f"{service}_PORT": "tcp://10.0.0.7:1883",
        port: "tcp://10.0.0.7:1883",
        f"{port}_PROTO": "tcp",
        f"{port}_PORT": "1883",
        f"{port}_ADDR": "10.0.0.7",
        f"{service}_PORT_53_UDP": "udp://10.0.0.7:53",
    }


@pytest.mark.parametrize(
    "service", ["NANOFLEET", "NANOFLEET_BROKER", "NANOFLEET_METRICS", "NANOFLEET_SERVICE_PORT", "NANOFLEET_2"]
)
def test_service_links_are_no_settings(service: str) -> None:
    environment = {
        **links(service),
        "NANOFLEET_MAX_BATCH": "4",
        "HOME": "/",
        "REDIS_PORT": "tcp://10.0.0.1:1",
    }
    drop_service_links(environment)
    assert environment == {"NANOFLEET_MAX_BATCH": "4", "HOME": "/", "REDIS_PORT": "tcp://10.0.0.1:1"}


def test_settings_that_look_alike_stay() -> None:
    settings = {"NANOFLEET_METRICS_PORT": "9470", "NANOFLEET_BROKER": "tcp://x"}
    environment = dict(settings)
    drop_service_links(environment)
    assert environment == settings


@pytest.mark.parametrize("variable", ["NANOFLEET_MAX_BACH", "NANOFLEET_SERVICE_HOSTS", "NANOFLEET_PORT"])
def test_typos_are_refused(variable: str) -> None:
    environment = {variable: "4"}
    drop_service_links(environment)
    with pytest.raises(SettingsError, match=f"{variable}: there is no such setting"):
        check_variables(environment, {"NANOFLEET_MAX_BATCH"})


def test_a_command_starts_beside_services_of_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("NANOFLEET", "NANOFLEET_METRICS", "NANOFLEET_BROKER"):
        for name, value in links(service).items():
            monkeypatch.setenv(name, value)
    done = nanofleet("models", "list", "--json")
    assert done.returncode == 0, done.stderr
