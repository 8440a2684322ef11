"""What every address asks of those who come: the one table that says so, for the API and the console alike.

Guarantees
----------
What no rule names is closed: reading takes a viewer, everything else an operator.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from monitor.config.sign_in import RoleName
from monitor.web.guard import SAFE_METHODS

Access = Literal["open", "own"] | RoleName
"""A role; or `open`: everybody; or `own`: the route itself asks for a token or a signature."""


@dataclass(frozen=True)
class Rule:
    """Which access some addresses take.

    Parameters
    ----------
    pattern : str
        Regular expression of the whole path.
    access : str
    methods : frozenset of str
        Only for these; empty: for all.
    """

    pattern: str
    access: Access
    methods: frozenset[str] = field(default=frozenset())

    def fits(self, method: str, path: str) -> bool:
        """Whether the rule is about a request."""
        return (not self.methods or method in self.methods) and bool(re.fullmatch(self.pattern, path))


POST = frozenset({"POST"})
METRICS = "/metrics"
RULES = (
    # Probes come before anybody can have signed in.
    Rule(r"/livez|/readyz", "open", SAFE_METHODS),
    Rule(METRICS, "open", SAFE_METHODS),
    # Style and scripts of the sign-in page, and signing in itself.
    Rule(r"/static/[^/]+/[^/]+", "open", SAFE_METHODS),
    Rule(r"/sign-in(/start|/callback)?", "open", SAFE_METHODS),
    Rule(r"/theme", "open", POST),  # sets a cookie of the browser, nothing else
    Rule(r"/sign-out", "viewer", POST),
    # Senders of events have a token of their own, MLflow signs.
    Rule(r"(/api)?/v1/events", "own", POST),
    Rule(r"/api/v1/hooks/mlflow", "own", POST),
    # Backtests are expensive; tokens give away what one may do oneself; the log is about people.
    Rule(r"/configuration/(.*/)?preview(/.*)?", "admin"),
    Rule(r"/configuration/(tokens|audit)(/.*)?", "admin"),
)


def needed(method: str, path: str, *, metrics_need_token: bool = False) -> Access:
    """Say which access a request takes.

    Parameters
    ----------
    method : str
    path : str
        Decoded, as routes match it.
    metrics_need_token : bool
        `http.metrics_need_token`.

    Examples
    --------
    >>> needed("GET", "/incidents"), needed("POST", "/api/v1/incidents/a/resolve"), needed("GET", "/livez")
    ('viewer', 'operator', 'open')
    """
    for rule in RULES:
        if rule.fits(method, path):
            return "viewer" if rule.pattern == METRICS and metrics_need_token else rule.access
    return "viewer" if method in SAFE_METHODS else "operator"
