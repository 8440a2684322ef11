"""The webhook of a Teams workflow, and the ways in which connectors and workflows fail."""

import json
import re

import pytest
from pydantic import ValidationError

from alerting.messages.adaptive_card import MAX_BYTES, STYLES, card_of
from alerting.messages.plain import Tone, message_of
from alerting.notifiers.catalog import build
from alerting.notifiers.teams import TeamsOptions
from schemas.errors import ConfigurationError, DeliveryError, RetryLater
from tests.alerting import digests, stories
from tests.alerting.servers import Answer, LocalServer
from tests.alerting.stories import OPENED, RESOLVED, RISEN

SIGNATURE = "Kx1a2b3c4d5e6f7g8h9"
PATH = f"/workflows/0a1b2c3d4e5f/triggers/manual/paths/invoke?api-version=1&sig={SIGNATURE}"
ELEMENTS = {"Container", "RichTextBlock"}


class TeamsServer(LocalServer):
    """Takes cards below 28 kB, counted as Teams counts them, and answers 202 without a body."""

    def __init__(self):
        super().__init__()
        self.cards = []

    def respond(self, request):
        text = request.body.decode()
        if max(len(request.body), len(text.encode("utf-16-le"))) >= MAX_BYTES:
            return Answer(413)
        (attachment,) = json.loads(text)["attachments"]
        if attachment["contentType"] != "application/vnd.microsoft.card.adaptive":
            return Answer(400)
        self.cards.append(attachment["content"])
        return Answer(202)


@pytest.fixture
def server():
    with TeamsServer() as running:
        yield running


def make(server, **options):
    fields = {"url_env": "U", "allow_private": True, **options}
    address = f"{server.address}{PATH}"
    return build("team", TeamsOptions(type="teams", **fields), {"U": address}, lambda: 0)


def texts(card):
    found = []

    def walk(node):
        if isinstance(node, dict):
            if node.get("type") == "TextRun":
                found.append(node["text"])
            node = list(node.values())
        if isinstance(node, list):
            for part in node:
                walk(part)

    walk(card["body"])
    return found


def test_every_change_is_a_card(server):
    notifier = make(server)
    for notice in (OPENED, RISEN, RESOLVED):
        assert notifier.send(notice, None) is None
    titles = [texts(card)[0] for card in server.cards]
    assert titles == [
        "Firing (info): churn v1, drift in age",
        "Firing (page): churn v1, drift in score",
        "Resolved (page): churn v1, drift in score",
    ]
    assert server.requests[0].path == PATH
    assert server.requests[0].headers["content-type"] == "application/json; charset=utf-8"


def test_a_card_shows_the_whole_incident(server):
    notice = stories.acknowledged()
    make(server).send(notice, None)
    (card,) = server.cards
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["body"][0]["style"] == "warning"
    assert "• Acknowledged by operator: looking into it" in texts(card)
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open in Driftline", "url": notice.url}]


def test_a_digest_is_a_card(server):
    make(server).send_digest(digests.notice(*(digests.drifted(f"c{i}") for i in range(40))))
    (card,) = server.cards
    assert "… and 25 more" in " ".join(texts(card))


def test_the_largest_card_stays_within_the_limit(server):
    make(server).send(stories.enormous(text="é😀" * 200), None)
    make(server).send(stories.enormous(text='"\\' * 400), None)
    make(server).send_digest(
        digests.notice(*(digests.drifted('"' * 300, summary='"' * 1_000) for _ in range(50)))
    )
    assert len(server.cards) == 3
    assert any(re.search(r"… and 2\d\d more", text) for text in texts(server.cards[0]))


def test_names_can_neither_format_nor_link(server):
    """Runs of text are shown as they are; only text blocks and facts read Markdown."""
    make(server).send(stories.enormous(columns=3), None)
    (card,) = server.cards
    raw = json.dumps(card)
    assert '"TextBlock"' not in raw
    assert "FactSet" not in raw
    assert "\\u202e" not in raw
    assert "\\u0000" not in raw
    assert not any("\n" in text for text in texts(card))
    assert {element["type"] for element in card["body"]} == ELEMENTS


@pytest.mark.parametrize(
    "answer", [Answer(200, "1"), Answer(202), Answer(200, {"any": "thing"}), Answer(204)]
)
def test_what_counts_as_success(server, answer):
    server.will(answer)
    make(server).send(OPENED, None)


@pytest.mark.parametrize(("status", "is_passing"), [(429, True), (503, True), (413, False), (403, False)])
def test_connectors_say_it_in_words(server, status, is_passing):
    words = (
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error "
        f"{status} with ContextId tcid=1,server=X"
    )
    server.will(Answer(200, words))
    with pytest.raises(DeliveryError, match=str(status)) as caught:
        make(server).send(OPENED, None)
    assert isinstance(caught.value, RetryLater) is is_passing


def test_a_refusal_in_words_is_final(server):
    server.will(Answer(200, "Bad payload received by generic incoming webhook."))
    with pytest.raises(DeliveryError, match="Bad payload") as caught:
        make(server).send(OPENED, None)
    assert not isinstance(caught.value, RetryLater)


def test_the_page_of_a_proxy_is_not_success(server):
    server.will(Answer(200, "<!DOCTYPE html><html>please log in</html>"))
    with pytest.raises(RetryLater, match="web page") as caught:
        make(server).send(OPENED, None)
    assert "log in" not in str(caught.value)


def test_a_workflow_that_is_busy_says_when(server):
    server.will(Answer(429, {"error": {"code": "WorkflowRunActionRequestsLimit"}}, {"Retry-After": "12"}))
    with pytest.raises(RetryLater) as caught:
        make(server).send(OPENED, None)
    assert caught.value.after_s == 12.0


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_workflow_that_is_gone_or_off_is_final(server, status):
    said = f"the signature {SIGNATURE} in {PATH} is not valid"
    server.will(Answer(status, {"error": {"code": "WorkflowTriggerIsNotEnabled", "message": said}}))
    with pytest.raises(DeliveryError, match="WorkflowTriggerIsNotEnabled") as caught:
        make(server).send(OPENED, None)
    assert not isinstance(caught.value, RetryLater)
    assert SIGNATURE not in str(caught.value)
    assert "0a1b2c3d4e5f" not in str(caught.value)


def test_a_lost_answer_can_leave_a_second_card_but_loses_nothing(server):
    notifier = make(server)
    server.will(Answer(drop=True, is_kept=True))
    with pytest.raises(RetryLater):
        notifier.send(OPENED, None)
    notifier.send(OPENED, None)
    assert len(server.cards) == 2


def test_a_private_address_has_to_be_meant(server):
    with pytest.raises(DeliveryError, match="not a public address"):
        make(server, allow_private=False).send(OPENED, None)


def test_the_check_tells_nobody_anything(server):
    assert "cannot be checked without posting" in make(server).check()
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["teams", "ftp://x.example/a", "https://", "https://u:p@x.example/", "https://x y/"]
)
def test_what_is_no_address_is_refused_without_showing_it(url):
    with pytest.raises(ConfigurationError, match=r"receivers\.team\.url: not the address") as caught:
        build("team", TeamsOptions(type="teams", url_env="U"), {"U": url}, lambda: 0)
    assert url not in str(caught.value).replace("https://host/path", "")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("options", [{}, {"url_env": "U", "url_file": "/u"}, {"url": "https://x.example/"}])
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        TeamsOptions.model_validate({"type": "teams", **options})


def test_every_tone_has_a_style():
    assert set(STYLES) == set(Tone)
    assert card_of(message_of(OPENED))["body"][0]["style"] == "attention"
