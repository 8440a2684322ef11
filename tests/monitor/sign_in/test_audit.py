"""Nothing is changed without a line in the log, and the log does not grow without bounds."""

from monitor.store import audit
from monitor.store.engine import immediate, reading
from schemas.errors import Unavailable
from tests.monitor.sign_in.sign_in_world import HTML, bearer, sign_in

DAY = 86_400_000


def entry(at_ms, actor="ann"):
    return {
        "at_ms": at_ms, "actor": actor, "subject": "", "via": "session", "role": "admin", "method": "POST",
        "path": "/x", "address": "", "status": 200,
    }  # fmt: skip


def test_every_change_is_written_down_with_how_it_was_answered(place):
    token = bearer(place.token("operator"))
    with place.client() as client:
        client.post("/api/v1/silences", json={"for": "1h"}, headers=token)
        client.post("/api/v1/silences", json={"for": "soon"}, headers=token)
        client.post("/api/v1/incidents/a%00b%2Fc/resolve", headers=token)
        client.delete("/api/v1/models", headers=token)
        client.get("/api/v1/models", headers=token)
        client.post("/api/v1/events", content=b"{}", headers=token)
    found = [(one.method, one.path, one.status, one.address) for one in reversed(place.entries())]
    assert found == [
        ("POST", "/api/v1/silences", 201, "198.51.100.7"),
        ("POST", "/api/v1/silences", 422, "198.51.100.7"),
        ("POST", "/api/v1/incidents/ab/c/resolve", 404, "198.51.100.7"),
        ("DELETE", "/api/v1/models", 405, "198.51.100.7"),
    ]


def test_what_fails_is_in_the_log_too(place, monkeypatch):
    def fail(*_args):
        raise RuntimeError

    monkeypatch.setattr("monitor.web.api.silences.stored.add", fail)
    with place.client() as client:
        answer = client.post("/api/v1/silences", json={"for": "1h"}, headers=bearer(place.token("operator")))
    assert answer.status_code == 500
    assert place.entries()[0].status == 500


def test_nothing_is_changed_that_cannot_be_written_down(place, monkeypatch):
    def away(*_args):
        msg = "database sqlite:///x: locked"
        raise Unavailable(msg)

    token = bearer(place.token("operator"))
    with place.client() as client:
        before = client.get("/api/v1/silences", headers=token).json()
        monkeypatch.setattr("monitor.store.audit.begin", away)
        answer = client.post("/api/v1/silences", json={"for": "1h"}, headers=token)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert client.get("/api/v1/silences", headers=token).json() == before
        monkeypatch.undo()
        monkeypatch.setattr("monitor.store.audit.finish", away)
        monkeypatch.setenv("OIDC_SECRET", "x")
        assert client.post("/api/v1/silences", json={"for": "1h"}, headers=token).status_code == 201
    assert place.entries()[0].status is None


def test_old_entries_are_forgotten(place):
    now_ms = place.clock.now_ms()
    with immediate(place.world.engine) as connection:
        for days in (500, 401, 399, 0):
            audit.begin(connection, entry(now_ms - days * DAY))
    with place.client() as client:
        client.post("/api/v1/silences", json={"for": "1h"}, headers=bearer(place.token("operator")))
    ages = [(now_ms - one.at_ms) // DAY for one in place.entries()]
    assert ages == [0, 0, 399]


def test_no_more_than_so_many_entries_are_kept(place, monkeypatch):
    monkeypatch.setattr(audit, "MOST_KEPT", 10)
    monkeypatch.setattr(audit, "FORGOTTEN_AT_ONCE", 4)
    with immediate(place.world.engine) as connection:
        numbers = [audit.begin(connection, entry(1)) for _ in range(20)]
        removed = [audit.forget(connection, 0) for _ in range(4)]
    assert removed == [4, 4, 2, 0]
    assert [one.id for one in place.entries()] == numbers[:9:-1]


def test_the_log_is_read_with_indexes(place):
    with reading(place.world.engine) as connection:
        for which in ("", "WHERE actor = 'a' AND id < 7"):
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN SELECT * FROM audit {which} ORDER BY id DESC LIMIT 10"
            ).all()
            assert not any("TEMP B-TREE" in str(step) for step in plan)
            assert not which or "audit_actor" in str(plan)


def test_the_page_of_the_log(place):
    with immediate(place.world.engine) as connection:
        for number in range(150):
            audit.begin(connection, entry(place.clock.now_ms(), "<b>bob</b>" if number % 2 else "eve"))
    with place.client() as client:
        sign_in(place.provider, client, ["platform"])
        page = client.get("/configuration/audit", headers=HTML).text
        assert page.count("<tr>") == 101
        assert "SIGN-IN /sign-in" in page
        assert "&lt;b&gt;bob&lt;/b&gt;" in page
        older = page[: page.rindex('">Older')].rpartition('href="')[2].replace("&amp;", "&")
        assert client.get(older, headers=HTML).text.count("<tr>") == 52
        only = client.get("/configuration/audit", params={"actor": "eve"}, headers=HTML).text
        assert only.count("<tr>") == 76
        nobody = client.get("/configuration/audit", params={"actor": "nobody"}, headers=HTML).text
        assert "nobody has changed nothing" in nobody
        assert client.get("/configuration/audit?page=1", headers=HTML).status_code == 422
