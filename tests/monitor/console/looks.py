"""What every page of the console is tried for, whatever it shows."""

from tests.kit.browser import PHONE, Visitor


def check_page(browser, address, path):
    """Try both themes for barriers, a phone's width, no script; nothing is from elsewhere or logged."""
    for options in ({"color_scheme": "dark"}, {"color_scheme": "light", "viewport": PHONE}):
        visitor = Visitor(browser, address, **options)
        visitor.visit(path)
        visitor.charts_are_drawn()
        assert visitor.barriers() == []
        assert visitor.is_within_width()
        finish(visitor, address)
    visitor = Visitor(browser, address, viewport=PHONE, java_script_enabled=False)
    page = visitor.visit(path)
    assert page.locator("h1").inner_text()
    assert page.locator("nav a").count() >= 4
    finish(visitor, address)


def finish(visitor, address):
    """Close the window; the browser must have had nothing to complain of, and asked nobody else."""
    visitor.close()
    assert visitor.troubles == []
    assert [url for url in visitor.asked if not url.startswith(address)] == []
