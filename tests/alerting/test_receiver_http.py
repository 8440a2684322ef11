"""What receivers that share the HTTP client share with it."""

import ssl
import subprocess

import pytest

from alerting.notifiers.alertmanager import AlertmanagerNotifier
from alerting.notifiers.base import Notifier
from alerting.notifiers.catalog import build
from alerting.notifiers.pagerduty import PagerDutyNotifier
from alerting.notifiers.teams import TeamsNotifier
from schemas.errors import ConfigurationError, RetryLater
from tests.alerting.servers import LocalServer
from tests.alerting.stories import OPENED
from tests.kit.ports import free_port

every_one = pytest.mark.parametrize("cls", [AlertmanagerNotifier, PagerDutyNotifier, TeamsNotifier])


def make(cls: type[Notifier], address: str, **changes) -> Notifier:
    """The first example of a notifier, at an address."""
    example = cls.examples()[0]
    options = {key: str(text).replace("{server}", address) for key, text in example.options.items()}
    environment = {key: text.replace("{server}", address) for key, text in example.environment.items()}
    validated = cls.Options.model_validate({**options, **changes})
    return build("tried", validated, environment, lambda: 1_767_352_000_000)


@every_one
def test_a_file_without_certificates_is_refused(cls, tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(ConfigurationError, match=r"receivers\.tried\.ca_file: .* no certificates"):
            make(cls, "https://x.example", ca_file=str(tmp_path / name))


@every_one
def test_proxies_of_the_environment_are_not_used(cls, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with LocalServer() as server:
        make(cls, server.address).send(OPENED, None)
        assert len(server.requests) == 1


@every_one
def test_a_certificate_that_nobody_vouches_for_is_refused(cls, tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *kind, "-keyout", str(key), "-out", str(certificate), *name]
    subprocess.run(command, check=True, capture_output=True)
    server = LocalServer()
    server.start(_context(certificate, key))
    address = server.address.replace("http://", "https://")
    try:
        with pytest.raises(RetryLater, match="certificate"):
            make(cls, address).send(OPENED, None)
        make(cls, address, ca_file=str(certificate)).send(OPENED, None)
        assert len(server.requests) == 1
    finally:
        server.stop()


def _context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
