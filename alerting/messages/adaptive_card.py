"""A message as an Adaptive Card for Microsoft Teams, within the size that Teams takes.

References
----------
https://adaptivecards.io/explorer/ (elements of version 1.4),
https://learn.microsoft.com/en-us/adaptive-cards/authoring-cards/text-features (Markdown in text blocks) and
https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
(limits)
"""

from __future__ import annotations

from typing import Any

import msgspec

from alerting.messages.plain import Message, Section, Tone

MAX_BYTES = 28_000
FEWER_LINES = (15, 10, 5, 3, 1, 0)
STYLES = {Tone.ALARM: "attention", Tone.SEEN: "warning", Tone.OVER: "good", Tone.CALM: "emphasis"}

Element = dict[str, Any]


def card_body_of(message: Message, limit: int = MAX_BYTES) -> bytes:
    """Write the body of a request, leaving out lines until it is small enough.

    Parameters
    ----------
    message : Message
    limit : int
        Bytes. Teams counts those of UTF-16, in which most text takes twice as many as in UTF-8; the body is
        below the limit in both.

    Returns
    -------
    bytes
        JSON in UTF-8.
    """
    for shown in FEWER_LINES:
        body = msgspec.json.encode(_envelope(card_of(message.with_fewer_lines(shown))))
        if max(len(body), len(body.decode().encode("utf-16-le"))) < limit:
            break
    return body


def card_of(message: Message) -> Element:
    """Lay out a card.

    Notes
    -----
    All text stands in runs of rich text blocks: unlike text blocks, they read no Markdown, so a name can
    neither make a link nor a picture.
    """
    heading = {
        "type": "Container",
        "style": STYLES[message.tone],
        "bleed": True,
        "items": [_text(message.title, size="Large", weight="Bolder")],
    }
    small = " · ".join(f"{name}: {value}" for name, value in message.facts)
    body = [heading, _text(message.summary), *(part for one in message.sections for part in _section(one))]
    body.append(_text(small, size="Small", isSubtle=True))
    card: Element = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": message.title,
        "body": body,
        "msteams": {"width": "Full"},
    }
    if message.url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open in Driftline", "url": message.url}]
    return card


def _envelope(card: Element) -> Element:
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _section(section: Section) -> list[Element]:
    lines = (_text(f"• {line}", spacing="None") for line in section.shown)
    return [_text(section.heading, spacing="Medium", weight="Bolder"), *lines]


def _text(text: str, spacing: str = "Default", **style: object) -> Element:
    run = {"type": "TextRun", "text": text, **style}
    return {"type": "RichTextBlock", "spacing": spacing, "inlines": [run]}
