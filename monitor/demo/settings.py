"""The demo's configuration: an ordinary ``driftline.yaml``, written where the demo works."""

from __future__ import annotations

from pathlib import Path
from string import Template

from monitor.demo import model
from monitor.demo.script import LABELS, PREDICTIONS

FILE = "demo.yaml"
CHANNEL = "#flight-delays"
TOKEN_NAME = "DRIFTLINE_DEMO_SLACK_TOKEN"  # noqa: S105 - name of the variable

_TEMPLATE = Template("""\
# Written by `driftline demo`. The same file runs against a real Kafka: change bootstrap_servers, leave out
# base_url, put a bot's token into the variable, then `driftline run -c $file`.
kafka: {bootstrap_servers: "$kafka", group_id: driftline-demo, options: {log_level: 2}}
database_url: $database
http: {host: 127.0.0.1, port: $port}
commit_interval: 500ms            # a year goes by in two minutes
streams:
  - {topic: $predictions, kind: predictions, format: json}
  - {topic: $labels, kind: labels, format: json}
defaults:
  slice: 6h
  windows: [1d, 7d]
  lateness: 3h
  horizon: 30d
  labels: {horizon: 30d, wait: 1d}  # flights land within a day
models:
  $model:
    task: binary_classification
    positive_label: 1
    segments: [origin]
    reference: {$reference}
    performance: {metric: recall, slo: 0.2, long: 7d, short: 1d}
alerts:
  budget: 1 per week
  policy: {clean_windows: 7}      # an incident is over after a week without findings
  routes:
    - {match: {}, to: [team]}
receivers:
  team: {type: slack, channel: "$channel", token_env: $token, base_url: "$slack", charts: false}
""")


def write(folder: Path, *, kafka: str, slack: str, port: int, reference: str) -> Path:
    """Write the configuration.

    Parameters
    ----------
    folder : Path
        Where the database will be as well.
    kafka : str
        Address of the broker.
    slack : str
        Address that takes the place of Slack's API.
    port : int
        Of the console.
    reference : str
        What windows are compared with: ``file: …``, or ``from: …, to: …``.

    Returns
    -------
    Path
        The file.
    """
    path = folder / FILE
    text = _TEMPLATE.substitute(
        file=FILE, kafka=kafka, database=f"sqlite:///{(folder / 'driftline.db').absolute()}", port=port,
        predictions=PREDICTIONS, labels=LABELS, model=model.NAME, reference=reference, channel=CHANNEL,
        token=TOKEN_NAME, slack=slack,
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")
    return path
