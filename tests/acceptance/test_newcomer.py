"""A newcomer's path: the demo, its page, and what caused June's loss of recall in at most three clicks."""

import re

import pytest

from tests.acceptance.test_demo import demo, said
from tests.kit.browser import Visitor
from tests.kit.waiting import wait_for

pytestmark = [pytest.mark.acceptance, pytest.mark.full, pytest.mark.timeout(300)]


def test_the_cause_of_the_loss_of_recall_in_june_is_three_clicks_away(browser, tmp_path):
    arguments = ("--speed", "max", "--until", "2013-07-01", "--port", "0")
    with demo(tmp_path, *arguments) as (_, _, err):
        wait_for(lambda: said(err, "Serving on"), timeout_s=200, what="the summary")
        address = said(err, r"console  (http://\S+)/").group(1)
        visitor = Visitor(browser, address)
        page = visitor.visit("/")
        with page.expect_navigation():
            page.get_by_role("rowheader").get_by_role("link", name="flight-delay").click()  # the first click
        visitor.charts_are_drawn()
        with page.expect_navigation():
            # The second: the last thirty days, June.
            page.get_by_role("link", name="30 d", exact=True).click()
        moved = page.locator("section, main").filter(has_text="What moved in this range").last.inner_text()
        recall = re.search(r"Recall is ([\d.]+) %: the objective of 20 % is missed", moved)
        assert recall is not None, moved
        assert float(recall[1]) < 15
        cause = page.get_by_role("link", name="temp", exact=True).first
        assert "Most of it comes with temp" in moved
        cause.click()  # the third
        page.wait_for_url(re.compile("/features/temp"))
        visitor.charts_are_drawn()
        assert page.get_by_role("heading", name="temp", exact=True).count() == 1
        assert visitor.troubles == []
        visitor.close()
