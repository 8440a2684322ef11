"""What holds for every page: no barriers, nothing from elsewhere, both themes, any width, without script."""

import hashlib
import json

import pytest
from fastapi.testclient import TestClient

from monitor.web.app import create_app
from monitor.web.console import assets
from monitor.web.console.forms import COOKIE, FIELD
from monitor.web.console.routes import modules
from tests.kit.browser import PHONE, Visitor
from tests.monitor.console.conftest import filled_world, serving
from tests.monitor.console.looks import check_page

PAGES = ("/", "/incidents", "/incidents/{incident}")


@pytest.fixture(scope="module")
def client(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


@pytest.fixture(scope="module")
def incident(client):
    return client.get("/api/v1/incidents").json()["items"][0]["id"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_for_everybody(browser, address, incident, path):
    check_page(browser, address, path.format(incident=incident))


def test_names_of_models_are_no_markup(tmp_path, world):
    world.add([0], model="<script>alert(1)</script>")
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    page = TestClient(app, base_url="http://127.0.0.1").get("/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_colours_are_chosen_without_script_and_remembered(visitor):
    page = visitor.visit("/incidents")
    with page.expect_navigation():
        page.get_by_role("button", name="Colours: as the system").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.url.endswith("/incidents")
    visitor.visit("/")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_the_keyboard_reaches_the_contents_first(visitor):
    page = visitor.visit("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_url("**/#main")


def test_forms_are_taken_from_pages_of_ours_only(client):
    client.cookies.clear()
    client.get("/")
    token = client.cookies[COOKIE]
    form = {"theme": "dark", "back": "//evil.example/x"}
    assert client.post("/theme", data=form).status_code == 403
    assert client.post("/theme", data={**form, FIELD: "x" * 32}).status_code == 403
    foreign = {"origin": "http://evil.example"}
    assert client.post("/theme", data={**form, FIELD: token}, headers=foreign).status_code == 403
    assert client.post("/theme", json={**form, FIELD: token}).status_code == 415
    taken = client.post("/theme", data={**form, FIELD: token}, follow_redirects=False)
    assert (taken.status_code, taken.headers["location"]) == (303, "/")
    wrong = client.post("/theme", data={"theme": "pink", FIELD: token})
    assert (wrong.status_code, wrong.json()["errors"][0]["allowed"]) == (422, "(use auto, light, dark)")


def test_who_comes_with_a_browser_reads_pages_when_something_is_wrong(client):
    page = client.get("/incidents/nowhere", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "there is no incident" in page.text
    assert client.get("/incidents/nowhere").headers["content-type"] == "application/problem+json"
    api = client.get("/api/v1/incidents/nowhere", headers={"accept": "text/html"})
    assert api.headers["content-type"] == "application/problem+json"


def test_vendored_files_are_what_was_recorded():
    folder = assets.FOLDER / "vendored"
    recorded = json.loads((folder / "vendored.json").read_text())
    hashes = {name: value for one in recorded for name, value in one["files"].items()}
    assert all(one["version"] and one["licence"] for one in recorded)
    found = {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.suffix != ".json"
    }
    assert found == hashes


def test_files_are_kept_by_browsers_until_their_contents_change(client):
    kept = client.get(assets.address("style.css"))
    assert "immutable" in kept.headers["cache-control"]
    assert client.get("/static/older/style.css").headers["cache-control"] == "no-store"
    assert client.get("/static/x/secret.py").status_code == 404


def test_every_module_has_routes():
    assert modules()
    assert [module.__name__ for module in modules() if not hasattr(module, "routes")] == []


@pytest.mark.parametrize("name", ["ann", "Annegret.von-und-zu-Hohenstein-" * 4])
def test_the_head_of_a_page_is_one_line_whoever_is_signed_in(browser, tmp_path, name):
    proxied = {"type": "proxy", "trusted": ["127.0.0.0/8"], "roles": {"viewer": ["*"]}}
    world = filled_world(f"sqlite:///{tmp_path / 'head.db'}", http={"sign_in": proxied})
    headers = {"x-forwarded-user": name, "x-forwarded-groups": "staff"}
    with serving(world) as running:
        visitor = Visitor(browser, running.url, extra_http_headers=headers)
        page = visitor.visit("/")
        top = page.locator("header.top").bounding_box()
        assert top is not None
        assert top["height"] < 60
        assert page.locator(".who p").get_attribute("title") == f"{name} (viewer)"
        assert "(viewer)" in page.locator(".who").inner_text()
        visitor.close()
        visitor = Visitor(browser, running.url, viewport=PHONE, extra_http_headers=headers)
        visitor.visit("/")
        assert visitor.is_within_width()
        visitor.close()
    world.engine.dispose()


def test_pages_are_told_of_what_is_new(browser, tmp_path):
    world = filled_world(f"sqlite:///{tmp_path / 'live.db'}")
    with serving(world) as running:
        visitor = Visitor(browser, running.url)
        page = visitor.visit("/")
        page.get_by_text("Live", exact=True).wait_for()
        assert page.get_by_text("brand-new").count() == 0
        world.add([0], model="brand-new")
        world.judge(20)
        page.get_by_role("rowheader", name="brand-new").wait_for()
        assert visitor.troubles == []
        visitor.close()
    world.engine.dispose()
