"""A real Alertmanager on loopback that tells a webhook."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.kit.ports import LOOPBACK, free_port
from tests.kit.process import ServerProcess, program
from tests.kit.waiting import wait_for


class AlertmanagerServer:
    """A server of its own, without a cluster, stopped by its process id.

    Parameters
    ----------
    webhook_url
        Told of every group of alerts, within about a second; each alert is a group of its own.
    users
        Names and bcrypt hashes for basic authentication; none: everybody is let in.
    """

    def __init__(self, webhook_url: str, users: Mapping[str, str] | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="driftline-alertmanager-")
        self._folder = Path(self._temporary.name)
        self._program = program("prometheus-alertmanager", "prometheus-alertmanager")
        self._port = free_port()
        self._process: ServerProcess | None = None
        self.url = f"http://{LOOPBACK}:{self._port}"
        (self._folder / "alertmanager.yml").write_text(_configuration(webhook_url))
        accounts = "".join(f"\n  {name}: {hashed}" for name, hashed in (users or {}).items()) or " {}"
        (self._folder / "web.yml").write_text(f"basic_auth_users:{accounts}\n")

    def __enter__(self) -> "AlertmanagerServer":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = ServerProcess(
            [
                self._program,
                f"--config.file={self._folder}/alertmanager.yml",
                f"--web.config.file={self._folder}/web.yml",
                f"--storage.path={self._folder}/data",
                f"--web.listen-address={LOOPBACK}:{self._port}",
                "--cluster.listen-address=",
            ],
            self._folder / "server.log",
        )
        self._process.wait_until(self._answers, what="Alertmanager does not answer")

    def restart(self) -> None:
        """End the server in an orderly way and start it again on the same port."""
        if self._process is not None:
            self._process.stop()
        self.start()

    def stop(self) -> None:
        """End the server and remove its data."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        self._temporary.cleanup()

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that it knows to be active."""
        answer = httpx.get(f"{self.url}/api/v2/alerts", timeout=60)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    def wait_for_alerts(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many alerts are active, and return them."""
        what = f"Alertmanager has not {count} active alerts"
        return wait_for(lambda: (found,) if len(found := self.alerts()) == count else None, what=what)[0]

    def log_tail(self) -> str:
        """Return the end of the server's log."""
        return "" if self._process is None else self._process.log_tail()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=10).status_code in (200, 401)
        except httpx.TransportError:
            return False


def _configuration(webhook_url: str) -> str:
    return f"""
global: {{resolve_timeout: 5m}}
route: {{receiver: hook, group_by: ['...'], group_wait: 100ms, group_interval: 500ms, repeat_interval: 1h}}
receivers:
  - name: hook
    webhook_configs: [{{url: "{webhook_url}", send_resolved: true}}]
"""
