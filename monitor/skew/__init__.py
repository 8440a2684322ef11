"""Training-serving skew where both sides are logged: what a model was trained on, and what it was served.

Rows and events of one key are compared feature by feature, value by value.

Examples
--------
>>> import pandas as pd
>>> from monitor.skew import skew
>>> training = pd.DataFrame({"event_id": list("abcd"), "wait": [1.0, 2.0, 3.0, 5.0], "plan": list("xxyy")})
>>> events = pd.DataFrame({"event_id": ["d", "c", "b"], "wait": [300.0, 180.0, 120.0], "plan": list("yyx")})
>>> found = skew(training, events)
>>> [(column.name, column.differ, column.compared) for column in found.columns]
[('wait', 3, 3), ('plan', 0, 3)]
>>> found.columns[0].patterns[0].words
'events are 60 × the table (minutes → seconds)'
"""

from monitor.skew.report import ColumnSkew, Example, Keys, Skew
from monitor.skew.run import skew

__all__ = ["ColumnSkew", "Example", "Keys", "Skew", "skew"]
