"""Backtests: what the policy would have alerted on in a table of past events, when, and with which evidence.

A table goes the way that events and labels go through the service, without Kafka and without a database:
references are learned from the first stretch, or built from the configured file; every later window is
counted on their bins and judged in order of time, and so is what came of its predictions; alerts open,
develop and end, and routes say who would have been told.

Examples
--------
>>> import numpy as np, pandas as pd
>>> from monitor.config import Configuration
>>> configuration = Configuration.model_validate({
...     "kafka": {"bootstrap_servers": "127.0.0.1:9092"}, "database_url": "sqlite:///x.db",
...     "streams": [{"topic": "p", "kind": "predictions"}],
...     "defaults": {"slice": "1h", "windows": ["1d"], "reference": {"first": "20d"}, "detector": "psi"}})
>>> hours = np.arange(24 * 30)
>>> frame = pd.DataFrame({"timestamp": hours * 3_600_000, "model": "m", "temp": hours * 7 % 24})
>>> frame.loc[frame.timestamp >= 25 * 86_400_000, "temp"] += 12
>>> found = backtest(frame, configuration)
>>> found.windows, [(alert.column, f"{alert.opened_at:%-d %b}") for alert in found.alerts]
(10, [('temp', '27 Jan')])
"""

from monitor.backtest.report import Backtest, Delivery, Retraining
from monitor.backtest.run import Progress, backtest

__all__ = ["Backtest", "Delivery", "Progress", "Retraining", "backtest"]
