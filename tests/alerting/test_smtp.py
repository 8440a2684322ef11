"""E-mail through a mail server that protects itself, refuses some addresses and gets lost at every step."""

import base64
import email.utils
import smtplib
import ssl
import subprocess

import pytest
from pydantic import ValidationError

from alerting.finding import instant
from alerting.mail.message import message_id
from alerting.notifiers.catalog import build
from alerting.notifiers.smtp import EmailNotifier, EmailOptions
from alerting.progress import REMEMBERED_MESSAGES, Progress
from alerting.secrets import Secrets
from schemas.errors import ConfigurationError, DeliveryError, RetryLater
from tests.alerting import digests, stories
from tests.alerting.servers import Answer
from tests.alerting.smtp_server import SmtpServer
from tests.alerting.stories import OPENED, RESOLVED, RISEN
from tests.kit.ports import LOOPBACK, free_port

NOW_MS = 1_767_352_000_000
PASSWORD = "pass phrase/of:the relay"
ANN, BEN = "ann@example.com", "ben@example.com"


@pytest.fixture
def server():
    with SmtpServer() as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for mail.example that signs itself, and a context that has it."""
    folder = tmp_path_factory.mktemp("certificate")
    path, key = folder / "c.pem", folder / "k.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=mail.example", "-addext", "subjectAltName=DNS:mail.example"]
    command = ["openssl", "req", "-x509", *kind, "-keyout", str(key), "-out", str(path), *name]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return str(path), context


def make(port, now_ms=lambda: NOW_MS, resolve=None, **options) -> EmailNotifier:
    fields = {
        "host": LOOPBACK,
        "port": port,
        "security": "none",
        "from": "Driftline <drift@example.com>",
        "to": [ANN, BEN],
        "allow_private": True,
        **options,
    }
    validated = EmailOptions.model_validate({"type": "email", **fields})
    secrets = Secrets({"PASSWORD": PASSWORD}, "receivers.mail")
    return EmailNotifier(validated, secrets, now_ms, resolve or (lambda *_: [LOOPBACK]))


class TestMails:
    def test_the_mails_of_an_incident_are_one_thread(self, server):
        notifier, state = make(server.port), None
        for notice in (OPENED, RISEN, RESOLVED):
            state = notifier.send(notice, state)
        first, second, third = (mail.parsed for mail in server.mails)
        assert [mail["Subject"] for mail in (first, second, third)] == [
            "[Firing] churn v1, drift in age",
            "[Firing] churn v1, drift in age",
            "[Resolved] churn v1, drift in age",
        ]
        assert second["In-Reply-To"] == third["In-Reply-To"] == first["Message-ID"]
        assert third["References"].endswith(first["Message-ID"])
        assert first["References"] == second["References"].split()[0]
        assert first["In-Reply-To"] is None
        assert len({mail["Message-ID"] for mail in (first, second, third)}) == 3

    def test_a_thread_survives_a_lost_state(self, server):
        notifier = make(server.port)
        notifier.send(OPENED, None)
        notifier.send(RESOLVED, None)
        first, second = (mail.parsed for mail in server.mails)
        assert first["References"] == second["References"]
        assert first["References"].startswith("<incident-")

    def test_the_same_notice_is_the_same_mail(self, server):
        notifier = make(server.port)
        state = notifier.send(OPENED, None)
        assert notifier.send(OPENED, state) == state
        first, second = server.mails
        assert first.data == second.data

    def test_the_headers_say_who_and_when_and_that_nobody_is_to_answer(self, server):
        make(server.port).send(OPENED, None)
        (mail,) = server.mails
        assert (mail.sender, mail.recipients) == ("drift@example.com", (ANN, BEN))
        headers = mail.parsed
        assert headers["From"] == "Driftline <drift@example.com>"
        assert headers["To"] == f"{ANN}, {BEN}"
        assert email.utils.parsedate_to_datetime(headers["Date"]) == instant(NOW_MS)
        assert headers["Auto-Submitted"] == "auto-generated"

    def test_it_says_what_happened_as_text_and_as_html(self, server):
        make(server.port).send(stories.acknowledged(), None)
        (mail,) = server.mails
        for words in ("Acknowledged (info): churn v1, drift in age", "looking into it", "62 % of rows"):
            assert words in mail.text
            assert words in mail.html
        assert "https://drift.example.com/incidents/" in mail.text
        assert '<a href="https://drift.example.com/incidents/' in mail.html

    def test_a_digest_is_a_mail_of_its_own(self, server):
        make(server.port).send_digest(digests.notice(digests.drifted()))
        (mail,) = server.mails
        assert mail.parsed["Subject"].startswith("[Weekly digest] 1 of 240 streams drifted")
        assert mail.parsed["References"] is None
        assert "age: 62 % of rows" in mail.text

    def test_the_worst_names_neither_break_headers_nor_become_markup(self, server):
        make(server.port).send(stories.enormous(), None)
        (mail,) = server.mails
        assert mail.recipients == (ANN, BEN)
        assert mail.parsed["Bcc"] is None
        assert "😀שלום" in mail.parsed["Subject"]
        assert "<script" not in mail.html
        assert "&lt;script&gt;" in mail.html
        assert "src=" not in mail.html
        assert "\u202e" not in mail.html + mail.text + mail.parsed["Subject"]
        assert not any(ord(letter) < 32 and letter not in "\r\n" for letter in mail.text)
        assert "… and 246 more" in mail.text
        assert mail.data.isascii()

    @pytest.mark.parametrize(
        "text", ["é" * 400, "😀" * 400, "a" * 2_000, "word " * 400, ".\n.\r\n", "שלום " * 90]
    )
    def test_long_names_arrive_as_they_were(self, server, text):
        make(server.port).send(stories.enormous(columns=2, text=text), None)
        (mail,) = server.mails
        start = " ".join(text.split())[:150]
        assert start in mail.parsed["Subject"]
        assert start in mail.text

    def test_an_identity_is_made_of_any_name(self):
        odd = message_id('a"> <b@c', "x@example.com")
        assert odd == message_id('a"> <b@c', "x@example.com")
        assert odd.count("<") == odd.count("@") == 1


class TestConnections:
    def test_starttls_and_a_user(self, certificate):
        path, context = certificate
        with SmtpServer({"driftline": PASSWORD}, context) as server:
            notifier = make(
                server.port,
                host="mail.example",
                security="starttls",
                username="driftline",
                password_env="PASSWORD",
                ca_file=path,
            )
            assert notifier.check() == "mail server mail.example answers; 2 addresses"
            assert server.mails == []
            notifier.send(OPENED, None)
            assert len(server.mails) == 1
        assert server.commands.index("STARTTLS") < [command[:4] for command in server.commands].index("AUTH")

    def test_tls_from_the_beginning(self, certificate):
        path, context = certificate
        with SmtpServer(tls=context, is_tls_first=True) as server:
            make(server.port, host="mail.example", security="tls", ca_file=path).send(OPENED, None)
            assert len(server.mails) == 1

    @pytest.mark.parametrize(("security", "first"), [("starttls", False), ("tls", True)])
    def test_a_certificate_for_another_name_is_refused(self, certificate, security, first):
        path, context = certificate
        with SmtpServer(tls=context, is_tls_first=first) as server:
            for changes in ({"host": "other.example", "ca_file": path}, {"host": "mail.example"}):
                with pytest.raises(RetryLater, match="no secure connection"):
                    make(server.port, security=security, **changes).send(OPENED, None)
            assert server.mails == []

    def test_a_server_without_starttls_gets_nothing(self, server):
        with pytest.raises(DeliveryError, match="STARTTLS") as caught:
            make(server.port, security="starttls").send(OPENED, None)
        assert not isinstance(caught.value, RetryLater)
        assert server.mails == []

    def test_a_wrong_password_is_final_and_not_shown(self):
        with SmtpServer({"driftline": "another"}) as server:
            notifier = make(server.port, username="driftline", password_env="PASSWORD")
            for call in (lambda: notifier.send(OPENED, None), notifier.check):
                with pytest.raises(DeliveryError, match="the user or the password: 535") as caught:
                    call()
                assert not isinstance(caught.value, RetryLater)
                assert PASSWORD not in str(caught.value)
            assert PASSWORD not in repr(vars(notifier))

    def test_what_a_server_repeats_of_a_login_is_not_shown(self, server):
        login = base64.b64encode(f"\0driftline\0{PASSWORD}".encode()).decode()
        server.reply_to("EHLO", "250-mail.example\r\n250 AUTH PLAIN")
        server.reply_to("AUTH", f"501 5.5.2 cannot decode {login}")
        with pytest.raises(DeliveryError, match=r"501 5\.5\.2 cannot decode") as caught:
            make(server.port, username="driftline", password_env="PASSWORD").send(OPENED, None)
        assert login not in str(caught.value)

    def test_a_server_with_other_ways_to_log_in_is_told_of(self, server):
        server.reply_to("EHLO", "250-mail.example\r\n250 AUTH GSSAPI")
        with pytest.raises(DeliveryError, match="none of PLAIN, LOGIN, CRAM-MD5 to log in") as caught:
            make(server.port, username="driftline", password_env="PASSWORD").send(OPENED, None)
        assert not isinstance(caught.value, RetryLater)

    def test_a_server_that_wants_a_user_is_told_of(self):
        with SmtpServer({"driftline": "x"}) as server, pytest.raises(DeliveryError, match="sender: 530"):
            make(server.port).send(OPENED, None)

    def test_a_private_address_has_to_be_meant(self, server):
        with pytest.raises(DeliveryError, match="not a public address"):
            make(server.port, allow_private=False).send(OPENED, None)
        assert server.commands == []

    def test_a_name_that_cannot_be_resolved_is_tried_again(self):
        def nowhere(*_):
            raise OSError

        with pytest.raises(RetryLater, match=r"mail\.example cannot be resolved"):
            make(25, host="mail.example", resolve=nowhere).send(OPENED, None)

    def test_the_next_address_is_tried_if_one_takes_no_connection(self, server):
        make(server.port, resolve=lambda *_: ["127.0.0.2", LOOPBACK]).send(OPENED, None)
        assert len(server.mails) == 1

    def test_a_server_that_is_not_there_is_tried_again(self):
        with pytest.raises(RetryLater, match="connection refused"):
            make(free_port()).send(OPENED, None)

    @pytest.mark.parametrize("command", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
    def test_a_connection_that_breaks_is_tried_again(self, server, command):
        server.reply_to(command, "", "")  # HELO follows a refused EHLO
        server.reply_to("HELO", "")
        with pytest.raises(RetryLater):
            make(server.port).send(OPENED, None)
        assert server.mails == []

    @pytest.mark.parametrize("command", ["CONNECT", "MAIL", "DATA"])
    @pytest.mark.parametrize(("code", "is_passing"), [("421", True), ("451", True), ("554", False)])
    def test_the_first_digit_says_whether_to_try_again(self, server, command, code, is_passing):
        server.reply_to(command, f"{code} 4.7.0 because")
        with pytest.raises(DeliveryError, match=f"{code} 4.7.0 because") as caught:
            make(server.port).send(OPENED, None)
        assert isinstance(caught.value, RetryLater) is is_passing

    def test_a_goodbye_that_fails_changes_nothing(self, server):
        server.reply_to("QUIT", "")
        make(server.port).send(OPENED, None)
        assert len(server.mails) == 1

    def test_a_lost_answer_leaves_two_mails_of_one_identity(self, server):
        notifier, impatient = make(server.port), make(server.port, timeout_s=0.2)
        server.will(Answer(drop=True, is_kept=True), Answer(hang=True, is_kept=True))
        for one in (notifier, impatient):
            with pytest.raises(RetryLater):
                one.send(OPENED, None)
        notifier.send(OPENED, None)
        assert len({mail.parsed["Message-ID"] for mail in server.mails}) == 1

    def test_a_server_that_is_slow_all_along_is_left(self, server):
        clock = iter(range(NOW_MS, NOW_MS + 10**9, 20_000))
        with pytest.raises(RetryLater, match="timed out"):
            make(server.port, now_ms=lambda: next(clock)).send(OPENED, None)
        assert server.mails == []

    def test_a_password_that_cannot_be_sent_is_refused(self):
        fields = {"username": "u", "password_env": "P", "host": "mail.example"}
        validated = EmailOptions.model_validate(options(**fields))
        with pytest.raises(ConfigurationError, match=r"receivers\.mail\.password: .*ASCII") as caught:
            build("mail", validated, {"P": "geheimnisvölles"}, lambda: 0)
        assert "geheim" not in str(caught.value)


class TestRecipients:
    def test_those_who_have_it_are_not_sent_it_again(self, server):
        server.recipients[BEN] = "450 4.2.1 greylisted"
        notifier = make(server.port)
        for _ in range(3):
            with pytest.raises(RetryLater, match=f"1 of 2 have not got it: .*{BEN}: 450"):
                notifier.send(OPENED, None)
        del server.recipients[BEN]
        state = notifier.send(OPENED, None)
        assert [mail.recipients for mail in server.mails] == [(ANN,), (BEN,)]
        assert server.mails[0].data == server.mails[1].data
        notifier.send(RISEN, state)
        assert server.mails[2].recipients == (ANN, BEN)

    def test_an_address_that_is_refused_for_good_does_not_hold_up_the_others(self, server, caplog):
        server.recipients[ANN] = "550 5.1.1 no such user"
        server.recipients[BEN] = "450 4.2.1 greylisted"
        notifier = make(server.port, to=[ANN, BEN, "cora@example.com"])
        with pytest.raises(RetryLater, match="1 of 3"):
            notifier.send(OPENED, None)
        del server.recipients[BEN]
        state = notifier.send(OPENED, None)
        assert f"{ANN}: 550 5.1.1 no such user (2 of 3 have got it)" in caplog.text
        assert [mail.recipients for mail in server.mails] == [("cora@example.com",), (BEN,)]
        notifier.send(RISEN, state)
        assert server.mails[2].parsed["In-Reply-To"] == server.mails[0].parsed["Message-ID"]

    def test_all_refused_is_final_and_names_them(self, server):
        server.recipients |= {ANN: "550 5.1.1 no such user", BEN: "553 5.1.3 no such host"}
        with pytest.raises(DeliveryError, match=rf"{ANN}: 550 .*{BEN}: 553 .*0 of 2") as caught:
            make(server.port).send(OPENED, None)
        assert not isinstance(caught.value, RetryLater)

    def test_a_server_that_closes_while_it_is_told_the_addresses_gets_them_again(self, server):
        server.recipients[BEN] = "421 4.7.0 too many"
        notifier = make(server.port)
        with pytest.raises(RetryLater, match="2 of 2"):
            notifier.send(OPENED, None)
        server.recipients.clear()
        notifier.send(OPENED, None)
        assert [mail.recipients for mail in server.mails] == [(ANN, BEN)]

    def test_what_is_refused_once_it_was_read_names_the_addresses(self, server):
        server.will(Answer(400))
        with pytest.raises(DeliveryError, match=rf"{ANN}: 554 .*{BEN}"):
            make(server.port).send(OPENED, None)

    def test_what_is_remembered_is_bounded(self):
        progress = Progress()
        for number in range(REMEMBERED_MESSAGES + 10):
            progress.note(f"n{number}", ["a"], {"b": "no"})
        assert progress.left("n0", ["a"]) == ["a"]
        assert progress.left("n1009", ["a", "b", "c"]) == ["c"]
        assert len(progress._refused) == len(progress._got) == REMEMBERED_MESSAGES


def options(**changes):
    base = {"type": "email", "host": "mail.example", "from": "d@example.com", "to": [ANN]}
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def test_the_port_follows_from_the_protection(monkeypatch):
    asked = []
    for security, port in [("starttls", 587), ("tls", 465), ("none", 25)]:
        validated = EmailOptions.model_validate(options(security=security))

        def resolve(host, port):
            asked.append(port)
            raise OSError

        with pytest.raises(RetryLater):
            EmailNotifier(validated, Secrets({}, "r"), lambda: 0, resolve).check()
        assert asked.pop() == port


@pytest.mark.parametrize(
    "changes",
    [
        {"host": None},
        {"host": "mail example"},
        {"from": None},
        {"from": "nobody"},
        {"from": "a@b.example\r\nBcc: c@d.example"},
        {"to": []},
        {"to": ["ann"]},
        {"to": ["ann@example.com\r\nBcc: x@y.example"]},
        {"to": ["Ann <ann@example.com>"]},
        {"to": ["änn@example.com"]},
        {"to": [f"a{i}@example.com" for i in range(51)]},
        {"username": "u"},
        {"password_env": "P"},
        {"username": "u", "password_env": "P", "password_file": "/p"},
        {"username": "u", "password_env": "P", "security": "none"},
        {"security": "ssl"},
        {"port": 0},
        {"password": "x"},
    ],
)
def test_options_that_cannot_be_meant_are_refused(changes):
    with pytest.raises(ValidationError):
        EmailOptions.model_validate(options(**changes))


def test_a_file_without_certificates_is_refused(tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "missing.pem"):
        validated = EmailOptions.model_validate(options(ca_file=str(tmp_path / name)))
        with pytest.raises(ConfigurationError, match=r"receivers\.mail\.ca_file: .* no certificates"):
            build("mail", validated, {}, lambda: 0)


def test_the_library_takes_the_socket_from_where_it_is_made_here():
    """`_PinnedClient` connects by replacing this method of smtplib."""
    assert callable(getattr(smtplib.SMTP, "_get_socket", None))
