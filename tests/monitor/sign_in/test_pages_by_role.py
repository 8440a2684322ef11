"""What pages offer to those who may only look, and what they say when somebody is signed in no more."""

import re

import pytest

from tests.monitor.sign_in.sign_in_world import HTML, form_token, sign_in

HARMLESS = {"/theme", "/sign-out"}


def actions_of(page):
    """Where the forms of a page lead that change something."""
    forms = re.findall(r"<form([^>]*)>", page)
    changing = [one for one in forms if 'method="post"' in one]
    return {place for one in changing for place in re.findall(r'action="([^"]*)"', one)} - HARMLESS


@pytest.fixture
def pages(place):
    incident = place.world.alert(index=40).id
    return [
        f"/incidents/{incident}",
        "/incidents",
        "/silences",
        "/deliveries?state=dead",
        "/events/1",
        "/events/replay",
    ]


def test_viewers_are_told_instead_of_offered_what_they_may_not_do(place, pages):
    with place.client() as client:
        sign_in(place.provider, client, ["oncall"])
        offered = [actions_of(client.get(path, headers=HTML).text) for path in pages]
        assert all(offered[0:3] + offered[4:])
        sign_in(place.provider, client, ["staff"])
        for path in pages:
            page = client.get(path, headers=HTML)
            assert page.status_code == 200
            assert not re.findall(r'<button[^>]*name="(?!theme)', page.text), path
            assert "takes the role operator" in page.text or path.startswith(("/incidents", "/deliveries")), (
                path
            )
        story = client.get(pages[0], headers=HTML).text
        assert "To recompute and verify takes the role operator" in story
        assert actions_of(story) == set()


def test_a_session_that_ends_between_page_and_press_changes_nothing_and_leads_back(place, pages):
    path = pages[0]
    with place.client() as client:
        sign_in(place.provider, client, ["oncall"])
        token = form_token(client, path)
        place.clock.sleep(9 * 3_600)
        fields = {"form_token": token, "do": "resolve", "back": path}
        answer = client.post(path, data=fields, headers={**HTML, "referer": f"{place.home}{path}"})
        assert answer.status_code == 401
        assert "Nothing was changed." in answer.text
        assert f'href="/sign-in?back={path.replace("/", "%2F")}"' in answer.text
        sign_in(place.provider, client, ["oncall"])
        assert client.get(f"/api/v1{path}").json()["state"] == "firing"


def test_a_page_that_reloads_itself_leads_back_after_signing_in(place):
    with place.client() as client:
        headers = {"hx-request": "true", "hx-current-url": f"{place.home}/incidents?state=all"}
        told = client.get("/incidents", headers=headers)
        assert told.headers["hx-redirect"] == "/sign-in?back=%2Fincidents%3Fstate%3Dall"
        for odd in ("https://evil.example/incidents", "not an address", f"{place.home}//evil.example"):
            told = client.get("/incidents", headers=headers | {"hx-current-url": odd})
            assert told.headers["hx-redirect"] == "/sign-in"


def test_the_log_says_what_a_form_did(place, pages):
    path = pages[0]
    with place.client() as client:
        sign_in(place.provider, client, ["oncall"])
        fields = {
            "form_token": form_token(client, path),
            "do": "silence",
            "for": "8h",
            "reason": "known\n<b>",
        }
        client.post(path, data={**fields, "actor": "mallory"})
        client.post("/events/1/replay", data={**fields, "cause": "mended"})
        client.post("/silences", data={"form_token": fields["form_token"], "model": "q", "for": "1h"})
        details = [one.detail for one in place.entries("ann") if one.method == "POST"]
        assert details == [
            "silence model q, for 1h by ann",
            "replay of ids [1]; 1 marked by ann: mended",
            "silence 8h by ann: known <b>",
        ]


def test_a_reference_is_taken_under_the_name_of_who_is_signed_in(place):
    token = {"authorization": f"Bearer {place.token('operator', 'ci')}"}
    with place.client() as client:
        (known, *_) = client.get("/api/v1/references", headers=token).json()["items"]
        path = "/api/v1/models/m/versions/1/reference"
        taken = client.post(path, json={"hash": known["hash"], "actor": "mallory"}, headers=token)
        assert taken.status_code == 201, taken.text
        used = client.get(f"/api/v1/references/{known['hash']}", headers=token).json()["used_by"]
        assert "token ci" in {one["promoted_by"] for one in used}
        assert "mallory" not in {one["promoted_by"] for one in used}


def test_who_is_no_admin_is_offered_no_page_of_admins(place):
    with place.client() as client:
        for groups, is_admin in ((["oncall"], False), (["platform"], True)):
            sign_in(place.provider, client, groups)
            page = client.get("/configuration", headers=HTML).text
            for path in ("/configuration/tokens", "/configuration/audit", "/configuration/preview"):
                assert (f'href="{path}"' in page) == is_admin, path
