"""API tokens: what they open, for how long, and what is kept of them."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from monitor.cli import run
from monitor.store.engine import reading
from monitor.store.tables import api_token
from monitor.web.sign_in.tokens import create, hash_of, is_token
from schemas.errors import UsageError
from tests.monitor.sign_in.sign_in_world import HTML, bearer, form_token, sign_in

DAY = 86_400_000


def test_a_token_opens_the_api_and_only_its_hash_is_kept(place):
    token = place.token("viewer")
    with place.client() as client:
        assert client.get("/api/v1/models", headers=bearer(token)).status_code == 200
        assert client.get("/incidents", headers={**bearer(token), **HTML}).status_code == 200
        place.clock.advance(61_000)
        assert client.get("/api/v1/models", headers={"authorization": f"bearer  {token}"}).status_code == 200
    (row,) = place.tokens()
    assert row.used_at_ms == place.clock.now_ms()
    assert row.hash == hash_of(token)
    assert token not in str(row)


def test_whatever_is_wrong_with_a_token_the_answer_is_the_same(place):
    expired, revoked = place.token(name="old", lives_ms=1_000), place.token(name="away")
    with place.client() as client:
        sign_in(place.provider, client, ["platform"])
        told = {"form_token": form_token(client, "/configuration/tokens"), "back": "/configuration/tokens"}
        number = next(row.id for row in place.tokens() if row.name == "away")
        assert client.post(f"/configuration/tokens/{number}/revoke", data=told).status_code == 303
        place.clock.advance(1_000)
        client.cookies.clear()
        wrong = [expired, revoked, "dl_" + "a" * 43, "dl_", "", "x" * 5_000, "dl_" + "ä" * 43]
        answers = [
            client.get("/api/v1/models", headers={"authorization": f"Bearer {one}".encode()}) for one in wrong
        ]
        twice = client.get(
            "/api/v1/models", headers=[("authorization", f"Bearer {one}") for one in (revoked, revoked)]
        )
    assert {answer.status_code for answer in [*answers, twice]} == {401}
    assert len({answer.text for answer in [*answers, twice]}) == 1
    assert (place.entries()[0].path, place.entries()[0].status) == (
        f"/configuration/tokens/{number}/revoke",
        303,
    )


def test_guessing_is_slowed_down_and_others_at_that_address_go_on(place):
    token = place.token("viewer")
    with place.client() as client:
        assert client.get("/api/v1/models", headers=bearer(token)).status_code == 200
        statuses = [
            client.get("/api/v1/models", headers=bearer("dl_" + "a" * 43)).status_code for _ in range(22)
        ]
        assert statuses == [401] * 20 + [429] * 2
        assert client.get("/api/v1/models", headers=bearer(token)).status_code == 200
        unknown = client.get("/api/v1/models", headers=bearer(place.token("viewer", "other")))
        assert (unknown.status_code, unknown.headers["retry-after"]) == (429, "3")
        place.clock.advance(3_000)
        assert client.get("/api/v1/models", headers=bearer("dl_" + "b" * 43)).status_code == 401


def test_local_tokens_mean_what_they_say_and_foreign_headers_nothing(place):
    token = place.token("viewer")
    with place.client(http={}) as client:
        assert client.get("/api/v1/models").status_code == 200
        assert client.get("/api/v1/models", headers=bearer("of something else")).status_code == 200
        assert client.get("/api/v1/models", headers=bearer("dl_wrong")).status_code == 401
        assert client.post("/api/v1/silences", json={"for": "1h"}, headers=bearer(token)).status_code == 403
        assert client.post("/api/v1/silences", json={"for": "1h"}).status_code == 201


def test_a_name_is_used_once_at_a_time(place):
    engine = place.world.engine
    place.token(name="ci")
    with pytest.raises(UsageError, match="there is a token named 'ci' already"):
        place.token(name=" ci ")
    for odd in ("", "  ", "a\nb", "x" * 201):
        with pytest.raises(UsageError, match="is not a name for a token"):
            create(engine, odd, "viewer", None, "ann", 0)

    def make(_):
        try:
            return create(engine, "race", "viewer", None, "ann", 0)[1]
        except UsageError:
            return None

    with ThreadPoolExecutor(4) as threads:
        assert len([one for one in threads.map(make, range(8)) if one]) == 1


def test_the_page_makes_tokens_and_shows_them_once(place):
    with place.client() as client:
        sign_in(place.provider, client, ["platform"])
        told = {"form_token": form_token(client, "/configuration/tokens")}
        made = client.post(
            "/configuration/tokens", data={**told, "name": "<ci> & co", "role": "operator", "lifetime": "30d"}
        )
        token = re.findall(r"dl_[\w-]{43}", made.text)[0]
        assert made.headers["cache-control"] == "no-store"
        page = client.get("/configuration/tokens", headers=HTML).text
        assert "&lt;ci&gt; &amp; co" in page
        assert token not in page
        (row,) = place.tokens()
        assert (row.role, row.created_by) == ("operator", "ann")
        assert row.expires_at_ms - row.created_at_ms == 30 * DAY
        for wrong, words in (
            ({"role": "king"}, "'king' is no role"),
            ({"name": ""}, "not a name"),
            ({"lifetime": "1s"}, "out of range"),
            ({"lifetime": "soon"}, "not a duration"),
            ({"name": "<ci> & co"}, "already"),
        ):
            refused = client.post(
                "/configuration/tokens",
                data={**told, "name": "b", "role": "viewer", "lifetime": "30d", **wrong},
            )
            assert (refused.status_code, words in refused.text) == (422, True), refused.text
        again = {**told, "name": "<ci> & co", "role": "operator", "lifetime": "30d"}
        twice = client.post("/configuration/tokens", data=again)
        assert "you made it a moment ago: if you did not see it, revoke it" in twice.text
        place.clock.sleep(61)
        assert "a moment ago" not in client.post("/configuration/tokens", data=again).text


def test_admins_end_the_sessions_of_others(place):
    with place.client() as admin, place.client() as other:
        sign_in(place.provider, other, ["staff"])
        sign_in(place.provider, admin, ["platform"])
        page = admin.get("/configuration/tokens", headers=HTML).text
        ends = re.findall(r"/configuration/tokens/sessions/[0-9a-f]{64}/end", page)
        assert len(ends) == 2
        told = {"form_token": form_token(admin, "/configuration/tokens"), "back": "/configuration/tokens"}
        for end in ends:
            if (
                admin.get("/api/v1/models").status_code == 200
                and other.get("/api/v1/models").status_code == 200
            ):
                admin.post(end, data=told)
        statuses = {admin.get("/api/v1/models").status_code, other.get("/api/v1/models").status_code}
        assert statuses == {200, 401}


@pytest.fixture
def config(place, tmp_path):
    path = tmp_path / "driftline.yaml"
    path.write_text(
        "kafka: {bootstrap_servers: 'b:1'}\nstreams: [{topic: p, kind: predictions}]\n"
        f"database_url: '{place.world.engine.url}'\n"
    )
    return str(path)


def test_the_command_makes_lists_and_revokes(place, config, capsys):
    assert run(["token", "create", "-c", config, "ci", "--role", "operator", "--valid-for", "never"]) == 0
    token = capsys.readouterr().out.strip()
    assert is_token(token)
    assert run(["token", "create", "-c", config, "ci"]) == 2
    assert "already" in capsys.readouterr().err
    assert run(["token", "create", "-c", config, "x", "--valid-for", "soon"]) == 2
    assert "--valid-for: 'soon' is not a duration" in capsys.readouterr().err
    assert run(["token", "list", "-c", config, "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert (item["name"], item["role"], item["expires_at"], item["used_at"]) == ("ci", "operator", None, None)
    with place.client() as client:
        assert client.get("/api/v1/models", headers=bearer(token)).status_code == 200
        assert run(["token", "revoke", "-c", config, "ci"]) == 0
        assert client.get("/api/v1/models", headers=bearer(token)).status_code == 401
    assert run(["token", "revoke", "-c", config, "ci"]) == 2
    assert run(["token", "create", "-c", config, "ci", "--json"]) == 0
    assert '"token": "dl_' in capsys.readouterr().out
    assert run(["token", "list", "-c", config]) == 0
    assert "ci  operator  revoked" in capsys.readouterr().out
    paths = [(entry.via, entry.path) for entry in place.entries()]
    assert paths[-2:] == [("command", "token revoke ci"), ("command", "token create ci --role operator")]
    with reading(place.world.engine) as connection:
        assert connection.execute(select(api_token.c.revoked_by)).scalars().first()
