"""What runs every few seconds does not read everything that was ever sent."""

import pytest
from sqlalchemy import event

from monitor.store import engine as engines
from monitor.store import outbox, schema
from monitor.store.engine import immediate


@pytest.fixture
def engine(sqlite_url):
    made = engines.create(sqlite_url)
    schema.upgrade(made)
    yield made
    made.dispose()


@pytest.mark.parametrize(
    ("ask", "way"),
    [
        (lambda one: outbox.sent_since(one, "hook", 0), "outbox_sent (receiver=? AND state=? AND"),
        (lambda one: outbox.in_hand(one, "hook", 0), "outbox_sent (receiver=? AND state=?)"),
        (lambda one: outbox.send_again(one, "hook", 0, 0), "outbox_order (receiver=? AND alert_id=?"),
        (lambda one: outbox.due_receivers(one, 0), "outbox_due (state=?"),
    ],
    ids=["what was sent since", "what is being sent", "what is sent again", "what is due"],
)
def test_an_index_leads_to_what_is_asked_for(engine, ask, way):
    plans: list[str] = []

    def explain(connection, _cursor, statement, parameters, *_):
        if not statement.startswith("EXPLAIN"):
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            plans.extend(str(row[-1]) for row in rows)

    with immediate(engine) as connection:
        event.listen(engine, "before_cursor_execute", explain)
        ask(connection)
    assert any(way in plan for plan in plans), plans
