"""Whose posts are believed, and which certificate URLs are SNS's: a table of tricks (the issue's fourth point)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.sns.topics import Source, source_of
from relay.ses.access import Access, Chain
from tests.feedback.sns import CERTIFICATE, HOST, PEM, TOPIC


def source(arn: str = TOPIC, events_url: str | None = None) -> Source | None:
    return source_of(arn, Access("acme", "eu-west-1", Chain(), events_url=events_url))


@pytest.mark.parametrize(
    ("arn", "origin"),
    [
        (TOPIC, "https://sns.eu-west-1.amazonaws.com"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:t", "https://sns.us-gov-west-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:t", "https://sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-eusc:sns:eusc-de-east-1:123456789012:t", "https://sns.eusc-de-east-1.amazonaws.eu"),
        ("arn:aws-moon:sns:eu-west-1:123456789012:t", None),
        ("arn:aws:sqs:eu-west-1:123456789012:t", None),
        ("arn:aws:sns:eu-west-1:123456789012:t.fifo", None),
        ("arn:aws:sns:evil.example/:123456789012:t", None),
        ("arn:aws:sns:eu-west-1:12345678901:t", None),
        (f"{TOPIC}\n", None),
        ("", None),
    ],
)
def test_a_topic_says_where_its_certificates_are(arn: str, origin: str | None) -> None:
    found = source(arn)
    assert (found and found.origin) == origin


@pytest.mark.parametrize(
    ("events_url", "host"),
    [
        (None, f"https://{HOST}"),
        (f"https://{HOST}", f"https://{HOST}"),
        ("https://vpce-1.sns.eu-west-1.vpce.amazonaws.com/", f"https://{HOST}"),
        ("https://sns.eu-west-1.api.aws", f"https://{HOST}"),
        ("http://127.0.0.1:8055/", "http://127.0.0.1:8055"),
        ("http://amazonaws.com.example:1", "http://amazonaws.com.example:1"),
    ],
)
def test_what_stands_in_for_aws_has_the_certificates_of_the_same_urls(events_url: str | None, host: str) -> None:
    found = source(events_url=events_url)
    assert found is not None
    assert found.has_certificate(CERTIFICATE)
    assert not found.has_certificate(f"http://127.0.0.1:8055{PEM}")
    assert (found.host, found.address(CERTIFICATE)) == (host, host + PEM)


TRICKS = [
    "",
    "https://evil.example" + PEM,
    "http://" + HOST + PEM,
    "HTTPS://" + HOST + PEM,
    "https://" + HOST.upper() + PEM,
    "https://" + HOST + ".evil.example" + PEM,
    "https://evil.example/" + HOST + PEM,
    "https://sns.eu-west-1.amazonaws.com.cn" + PEM,
    "https://sns.us-east-1.amazonaws.com" + PEM,
    "https://sqs.eu-west-1.amazonaws.com" + PEM,
    "https://s3.amazonaws.com/sns.eu-west-1.amazonaws.com" + PEM,
    "https://sns.s3.amazonaws.com" + PEM,
    "https://sns.eu-west-1.s3.amazonaws.com" + PEM,
    f"https://evil@{HOST}{PEM}",
    f"https://{HOST}@evil.example{PEM}",
    f"https://{HOST}:443{PEM}",
    f"https://{HOST}:8443{PEM}",
    f"https://{HOST}.{PEM}",
    f"https://{HOST}{PEM}?x",
    f"https://{HOST}{PEM}?",
    f"https://{HOST}{PEM}#x",
    f"https://{HOST}{PEM};x",
    f"https://{HOST}{PEM}/",
    f"https://{HOST}{PEM}/../../x.pem",
    f"https://{HOST}/{PEM}",
    f"https://{HOST}//evil.example{PEM}",
    f"https://{HOST}\\@evil.example{PEM}",
    f"https://{HOST}/x{PEM}",
    f"https://{HOST}/..{PEM}",
    f"https://{HOST}/%2e%2e{PEM}",
    f"https://{HOST}{PEM.replace('.pem', '%2epem')}",
    f"https://{HOST}{PEM.replace('-9c', '-%39c')}",
    f"https://{HOST}{PEM.replace('-9c', '-9c/')}",
    f"https://{HOST}{PEM.replace('-9c', '-٣c')}",
    f"https://{HOST}/SimpleNotificationService-.pem",
    f"https://{HOST}/SimpleNotificationService-1234567.pem",
    f"https://{HOST}/SimpleNotificationService-{'a' * 65}.pem",
    f"https://{HOST}{PEM} ",
    f" https://{HOST}{PEM}",
    f"https://{HOST}{PEM}\n",
    f"https://{HOST}\t{PEM}",
    f"//{HOST}{PEM}",
    f"file://{PEM}",
    PEM,
]


@pytest.mark.parametrize("url", TRICKS)
def test_no_other_url_is_a_certificate(url: str) -> None:
    found = source()
    assert found is not None
    assert not found.has_certificate(url)


@given(st.data())
def test_one_character_more_less_or_other_is_another_url(data: st.DataObject) -> None:
    """But for the hex digits of the name, and those that make another region's host."""
    found = source()
    assert found is not None
    at = data.draw(st.integers(0, len(f"https://{HOST}/SimpleNotificationService-")))
    put = data.draw(st.sampled_from(["", "/", ".", "@", ":", "?", "#", "%", "\\", "\n", "a", "é", "\u2044"]))
    take = data.draw(st.integers(0, 1))
    url = CERTIFICATE[:at] + put + CERTIFICATE[at + take :]
    assert found.has_certificate(url) == (
        url == CERTIFICATE or (at == len(f"https://{HOST}/SimpleNotificationService-") and put in {"", "a"})
    )
