"""Signatures against the known answers that AWS publishes."""

from datetime import UTC, datetime

import pytest

from alerting.retraining.sigv4 import Keys, Scope, signed, signing_key

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = Keys("AKIDEXAMPLE", SECRET)
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
HOST = {"Host": "example.amazonaws.com"}
EMPTY_FORM = {**HOST, "Content-Type": "application/x-www-form-urlencoded"}


def signature(method, headers, body=b"", keys=KEYS):
    sent = signed(method, "/", headers, body, keys=keys, scope=Scope("us-east-1", "service"), at=AT)
    return sent["authorization"].rpartition("Signature=")[2]


def test_the_signing_key_of_the_documentation():
    key = signing_key(SECRET, "20150830", Scope("us-east-1", "iam"))
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


@pytest.mark.parametrize(
    ("method", "headers", "body", "wanted"),
    [
        ("GET", HOST, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", HOST, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "POST",
            EMPTY_FORM,
            b"Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
    ids=["get-vanilla", "post-vanilla", "post-x-www-form-urlencoded"],
)
def test_the_signatures_of_the_test_suite(method, headers, body, wanted):
    assert signature(method, headers, body) == wanted


def test_white_space_of_a_header_does_not_matter():
    wanted = signature("GET", {**HOST, "My-Header1": "a b c"})
    assert signature("GET", {**HOST, "my-header1": "  a   b   c "}) == wanted


def test_the_token_of_a_session_is_signed():
    keys = Keys("AKIDEXAMPLE", SECRET, "token")
    sent = signed("POST", "/", HOST, b"", keys=keys, scope=Scope("us-east-1", "service"), at=AT)
    assert sent["x-amz-security-token"] == "token"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in sent["authorization"]


def test_keys_do_not_show_their_secrets():
    assert repr(Keys("AKIDEXAMPLE", SECRET, "token")) == "Keys(access_key_id='AKIDEXAMPLE')"
