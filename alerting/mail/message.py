"""A message as an e-mail: plain text and HTML, with an identity and a thread that every attempt repeats.

References
----------
RFC 5322, sections 3.6.4 (``Message-ID``, ``In-Reply-To``, ``References``) and 2.1.1 (length of lines), and
RFC 3834, section 5 (``Auto-Submitted``).
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from html import escape

from alerting.messages.plain import Message, Section, Tone, one_line, plain_text

MAX_SUBJECT = 200
# Not every server takes bytes beyond ASCII.
POLICY = SMTP.clone(cte_type="7bit")
COLOURS = {Tone.ALARM: "#b3261e", Tone.SEEN: "#8a6100", Tone.OVER: "#1b6e3c", Tone.CALM: "#4a4f57"}
_FONT = "font-family:Arial,Helvetica,sans-serif;font-size:14px;line-height:1.45;color:#1d1f23"


def message_id(name: str, sender: str) -> str:
    """Make the identity of a mail from that of a notice or an incident; the same one for every attempt.

    Examples
    --------
    >>> message_id("0a1b", "Driftline <drift@example.com>")
    '<0a1b@example.com>'
    """
    is_plain = name.isascii() and name.replace("-", "").isalnum() and len(name) <= 64
    local = name if is_plain else hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"<{local}@{parseaddr(sender)[1].rpartition('@')[2]}>"


def email_of(
    message: Message,
    *,
    id_: str,
    subject: str,
    sender: str,
    to: tuple[str, ...],
    at: datetime,
    thread: str = "",
    answers: str = "",
) -> EmailMessage:
    """Write a mail.

    Parameters
    ----------
    message : Message
    id_ : str
        Its ``Message-ID``.
    subject : str
        Any text; it is cut to 200 characters.
    sender, to : str, tuple of str
        Addresses.
    at : datetime
        Wall time of the attempt, for ``Date``.
    thread : str
        Name of the thread, in the form of a ``Message-ID``; empty for a mail of its own.
    answers : str
        ``Message-ID`` of the first mail of the thread; empty if this is the first one.
    """
    mail = EmailMessage(policy=POLICY)
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Subject"] = one_line(subject, MAX_SUBJECT)
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = id_
    if thread:
        mail["References"] = f"{thread} {answers}".rstrip()
    if answers:
        mail["In-Reply-To"] = answers
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"  # the same for Exchange
    mail.set_content(f"{plain_text(message)}\n", charset="utf-8")
    mail.add_alternative(html_of(message), subtype="html", charset="utf-8")
    # Instead of a random one, so that every attempt sends the same bytes.
    mail.set_boundary(f"=_{hashlib.sha256(id_.encode()).hexdigest()[:32]}")
    return mail


def html_of(message: Message) -> str:
    """Write a message as HTML: inline styles, nothing that is loaded, every text escaped."""
    title = f"margin:0 0 12px;padding:8px 12px;color:#fff;background:{COLOURS[message.tone]};font-size:17px"
    facts = "<br>".join(f"{escape(name)}: {escape(value)}" for name, value in message.facts)
    parts = [
        f'<h1 style="{title}">{escape(message.title)}</h1>',
        f'<p style="margin:0 0 12px">{escape(message.summary)}</p>',
        *(_section(one) for one in message.sections),
        _button(message.url) if message.url else "",
        f'<p style="margin:16px 0 0;font-size:12px;color:#5f656e">{facts}</p>',
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"></head>\n'
        f'<body style="margin:0;padding:16px;{_FONT}">\n{body}\n</body></html>\n'
    )


def _section(section: Section) -> str:
    items = "\n".join(f'<li style="margin:0 0 4px">{escape(line)}</li>' for line in section.shown)
    heading = f'<h2 style="margin:16px 0 4px;font-size:14px">{escape(section.heading)}</h2>'
    return f'{heading}\n<ul style="margin:0;padding-left:20px">\n{items}\n</ul>'


def _button(url: str) -> str:
    return f'<p style="margin:16px 0 0"><a href="{escape(url)}">Open in Driftline</a></p>'
