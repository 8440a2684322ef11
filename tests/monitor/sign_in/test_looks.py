"""The pages of sign-in, tokens and the log, in a real browser."""

import pytest

from monitor.web.app import create_app
from monitor.web.serve import Serving
from tests.kit.browser import PHONE, Visitor
from tests.kit.ports import free_port
from tests.monitor.console.looks import check_page
from tests.monitor.web_world import configuration


@pytest.fixture
def served(place):
    """The console with sign-in, on an address that the provider can lead back to."""
    port = free_port()
    http = {**place.http, "public_url": f"http://127.0.0.1:{port}", "port": port}
    made = configuration(str(place.world.engine.url), http=http)
    app = create_app(made, place.world.engine, place.world.telemetry, place.clock)
    with Serving(app, "127.0.0.1", port) as running:
        yield running.url


@pytest.fixture
def local(place):
    """The console without sign-in."""
    made = configuration(str(place.world.engine.url))
    app = create_app(made, place.world.engine, place.world.telemetry, place.clock)
    with Serving(app, "127.0.0.1", 0) as running:
        yield running.url


def test_people_sign_in_make_a_token_look_at_the_log_and_sign_out_by_keyboard(place, served, browser):
    place.provider.person["groups"] = ["platform"]
    visitor = Visitor(browser, served)
    page = visitor.visit("/configuration/tokens")
    assert page.url == f"{served}/sign-in?back=%2Fconfiguration%2Ftokens"
    assert visitor.barriers() == []
    page.get_by_role("link", name="Sign in at 127.0.0.1").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{served}/configuration/tokens")
    page.get_by_label("Name").focus()
    page.keyboard.type("nightly <report>")
    page.keyboard.press("Enter")
    page.wait_for_selector("#token")
    assert page.locator("#token").inner_text().startswith("dl_")
    assert visitor.barriers() == []
    page.evaluate("document.body.dispatchEvent(new CustomEvent('driftline-changed'))")
    page.wait_for_timeout(200)
    assert page.locator("#token").is_visible()  # news do not take it away before it is copied
    with page.expect_navigation():
        page.get_by_role("link", name="All tokens").click()
    assert page.get_by_role("rowheader", name="nightly <report>").is_visible()
    page.goto("/configuration/audit")
    assert visitor.barriers() == []
    assert "POST /configuration/tokens" in page.locator("table").inner_text()
    page.get_by_role("button", name="Sign out", exact=True).press("Enter")
    page.wait_for_url(f"{served}/sign-in")
    page.goto("/incidents")
    assert page.url.startswith(f"{served}/sign-in?back=")
    visitor.close()
    assert visitor.troubles == []
    assert [url for url in visitor.asked if not url.startswith((served, place.provider.url))] == []


def test_the_sign_in_page_works_on_phones_in_the_dark_and_without_script(place, served, browser):
    for options in ({"viewport": PHONE}, {"color_scheme": "dark"}, {"java_script_enabled": False}):
        visitor = Visitor(browser, served, **options)
        page = visitor.visit("/incidents?state=open")
        assert page.locator("h1").inner_text() == "Sign in"
        if "java_script_enabled" not in options:
            assert visitor.is_within_width()
            assert visitor.barriers() == []
        with page.expect_navigation():
            page.get_by_role("link", name="Sign in at 127.0.0.1").click()
        assert page.url == f"{served}/incidents?state=open"
        visitor.close()
        assert visitor.troubles == []


@pytest.mark.parametrize("path", ["/configuration/tokens", "/configuration/audit"])
def test_pages_for_admins_look_right(place, local, browser, path):
    for number, role in enumerate(("viewer", "operator", "admin")):
        place.token(role, f"<b>token</b> {number} " + "long " * 12, lives_ms=(None, 1, 10**9)[number])
    check_page(browser, local, path)
