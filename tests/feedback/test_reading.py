"""What each event of SES means, by tables; and that nothing a stranger writes as an event does harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery import RecipientState
from relay.feedback.envelopes import NotAnEvent, Notice, unwrapped
from relay.feedback.reading import MOST_RAW, read
from tests.feedback import samples

ANA, BO = "ana@dest.example", "bo@dest.example"
MAIL = samples.mail(7, [ANA], attempt=2)
S = RecipientState

# fmt: off
TYPES = [
    # event                                    type                 state             fate            of whom
    (samples.send(MAIL),                       "email.sent",        None,             None,           (ANA,)),
    (samples.delivery(MAIL, ANA),              "email.delivered",   S.DELIVERED,      "delivered",    (ANA,)),
    (samples.bounce(MAIL, ANA),                "email.bounced",     S.BOUNCED,        "bounced",      (ANA,)),
    (samples.complaint(MAIL, ANA),             "email.complained",  S.COMPLAINED,     "complained",   (ANA,)),
    (samples.reject(MAIL),                     "email.rejected",    S.REJECTED,       "rejected",     (ANA,)),
    (samples.opened(MAIL),                     "email.opened",      None,             "opened",       (ANA,)),
    (samples.clicked(MAIL),                    "email.clicked",     None,             "clicked",      (ANA,)),
    (samples.rendering_failure(MAIL),          "email.failed",      S.FAILED,         "failed",       (ANA,)),
    (samples.delay(MAIL, ANA),                 "email.delayed",     S.DELAYED,        "delayed",      (ANA,)),
    (samples.subscription(MAIL),               "email.unsubscribed", None,            "unsubscribed", (ANA,)),
    (samples.subscription(MAIL, has_left=False), "ses.subscription", None,            None,           ()),
    (samples.unheard_of(MAIL),                 "ses.teleported",    None,             None,           ()),
]
# fmt: on


@pytest.mark.parametrize(("event", "type", "state", "fate", "people"), TYPES, ids=[each[1] for each in TYPES])
def test_every_type(
    event: dict[str, Any], type: str, state: RecipientState | None, fate: str | None, people: tuple[str, ...]
) -> None:
    for body in (json.dumps(event), samples.enveloped(event), samples.on_event_bridge(event)):
        found = read(unwrapped(body))
        assert (found.type, found.state, found.fate) == (type, state, fate)
        assert tuple(person.address for person in found.people) == people
        assert (found.delivery_id, found.attempt, found.ses_message_id) == (7, 2, "0102-a")
        assert (found.raw is not None) == type.startswith("ses.")
        assert ANA not in repr(found)
        assert ANA not in json.dumps(dict(found.data))


# fmt: off
BOUNCES = [
    # type            subtype                      type here             listed as                       counts
    ("Permanent",    "General",                   "email.bounced",      ("bounce", "ses"),               True),
    ("Permanent",    "NoEmail",                   "email.bounced",      ("bounce", "ses"),               True),
    ("Permanent",    "Suppressed",                "email.bounced",      ("bounce", "ses"),               True),
    ("Permanent",    "OnAccountSuppressionList",  "email.bounced",      ("bounce", "ses-account"),       False),
    ("Permanent",    "OnTenantSuppressionList",   "email.bounced",      ("bounce", "ses-tenant"),        False),
    ("Permanent",    "EmailValidationSuppressed", "email.bounced",      ("validation", "ses-validation"), False),
    ("Permanent",    "UnsubscribedRecipient",     "email.suppressed",   None,                            False),
    ("Permanent",    "SomethingNew",              "email.bounced",      ("bounce", "ses"),               True),
    ("permanent",    "onaccountsuppressionlist",  "email.bounced",      ("bounce", "ses-account"),       False),
    ("Transient",    "General",                   "email.soft_bounced", None,                            False),
    ("Transient",    "MailboxFull",               "email.soft_bounced", None,                            False),
    ("Transient",    "MessageTooLarge",           "email.soft_bounced", None,                            False),
    ("Transient",    "ContentRejected",           "email.soft_bounced", None,                            False),
    ("Transient",    "AttachmentRejected",        "email.soft_bounced", None,                            False),
    ("Transient",    "CustomTimeoutExceeded",     "email.soft_bounced", None,                            False),
    ("Transient",    "UnsubscribedRecipient",     "email.suppressed",   None,                            False),
    ("Undetermined", "Undetermined",              "email.soft_bounced", None,                            False),
    ("Ephemeral",    "Whatever",                  "email.soft_bounced", None,                            False),
]
# fmt: on


@pytest.mark.parametrize(("sort", "subsort", "type", "listed", "counts"), BOUNCES)
def test_every_sort_of_bounce(sort: str, subsort: str, type: str, listed: tuple[str, str] | None, counts: bool) -> None:
    found = read(samples.bounce(MAIL, ANA, type=sort, subtype=subsort))
    assert (found.type, found.is_bounce) == (type, counts)
    assert (None if found.listing is None else (found.listing.reason, found.listing.source)) == listed
    if found.listing is not None:
        assert (found.listing.lasts is not None) == (found.listing.reason == "validation")


# fmt: off
COMPLAINTS = [
    # type           subtype                      type here            listed  counts
    ("abuse",        None,                       "email.complained",   True,   True),
    ("fraud",        None,                       "email.complained",   True,   True),
    ("virus",        None,                       "email.complained",   True,   True),
    ("other",        None,                       "email.complained",   True,   True),
    (None,           None,                       "email.complained",   True,   True),
    ("not-spam",     None,                       "email.not_spam",     False,  False),
    ("auth-failure", None,                       "email.auth_failure", False,  False),
    ("abuse",        "OnAccountSuppressionList", "email.suppressed",   True,   False),
    (None,           "OnTenantSuppressionList",  "email.suppressed",   True,   False),
]
# fmt: on


@pytest.mark.parametrize(("sort", "subsort", "type", "is_listed", "counts"), COMPLAINTS)
def test_every_sort_of_complaint(
    sort: str | None, subsort: str | None, type: str, is_listed: bool, counts: bool
) -> None:
    found = read(samples.complaint(MAIL, ANA, type=sort, subtype=subsort))
    assert (found.type, found.listing is not None, found.is_complaint) == (type, is_listed, counts)
    assert not found.is_ambiguous


# fmt: off
AMBIGUOUS = [
    # the mail went to                       SES names     ambiguous
    ([ANA],                                  [ANA],        False),
    ([ANA, "cy@other.example"],              [ANA],        False),
    ([ANA, BO],                              [ANA],        True),
    ([ANA, BO],                              [ANA, BO],    True),
    ([ANA, "Bo <BO@Dest.Example>"],          [ANA],        True),
    ([ANA],                                  [],           True),
]
# fmt: on


@pytest.mark.parametrize(("to", "named", "is_ambiguous"), AMBIGUOUS)
def test_a_complaint_that_may_be_of_several_says_so(to: list[str], named: list[str], is_ambiguous: bool) -> None:
    found = read(samples.complaint(samples.mail(7, to), *named))
    assert found.is_ambiguous == is_ambiguous


def test_two_copies_have_one_key_and_nothing_else_has_it() -> None:
    events = [event for event, *_ in TYPES] + [
        samples.bounce(MAIL, ANA, feedback_id="b-2"),
        samples.clicked(MAIL, link="https://example.com/b"),
        samples.opened(MAIL, after=9),
        samples.delivery(samples.mail(7, [ANA], ses_message_id="0102-b"), ANA),
    ]
    keys = [read(event).key for event in events]
    assert len(set(keys)) == len(keys)
    assert [read(json.loads(json.dumps(event))).key for event in events] == keys


def test_the_older_form_means_the_same() -> None:
    for event in (samples.delivery(MAIL, ANA), samples.bounce(MAIL, ANA), samples.complaint(MAIL, ANA)):
        new, old = read(event), read(samples.legacy(event))
        assert (old.type, old.state, old.people, old.at, old.key) == (new.type, new.state, new.people, new.at, new.key)
        assert (old.delivery_id, old.attempt) == (None, None)


def test_what_a_server_said_is_one_line_without_addresses() -> None:
    said = "smtp; 550 5.1.1 <ana@dest.example>: user\r\nunknown\x1b[31m " + "x" * 2000
    found = read(samples.bounce(MAIL, ANA, diagnostic=said))
    told = found.data["diagnostic"]
    assert told.startswith("smtp; 550 5.1.1 (address): user unknown [31m xxx")
    assert len(told) == 500


# fmt: off
LINKS = [
    ("https://example.com/a",                               "https://example.com/a"),
    ("https://video.example/@handle/clip?t=1",              "https://video.example/@handle/clip?t=1"),
    ("https://maps.example/@48.1,16.3,12z",                 "https://maps.example/@48.1,16.3,12z"),
    ("https://x.example/?e=ana@dest.example&c=7",           "https://x.example/?e=(address)&c=7"),
    ("https://x.example/?e=ana%2Bx%40dest.example&c=7",     "https://x.example/?e=(address)&c=7"),
    ("https://x.example/u/ana%2540dest.example/out#top",    "https://x.example/u/(address)/out#top"),
    ("mailto:ana@dest.example?subject=x",                   "mailto:(address)?subject=x"),
]
# fmt: on


@pytest.mark.parametrize(("link", "told"), LINKS, ids=[str(number) for number, _ in enumerate(LINKS)])
def test_a_link_is_told_without_the_addresses_in_it(link: str, told: str) -> None:
    assert read(samples.clicked(MAIL, link=link)).data["link"] == told


# fmt: off
MOMENTS = [
    ("2026-01-05T12:00:01.000Z",  1_767_614_401_000),
    ("2026-01-05T12:00:01Z",      1_767_614_401_000),
    ("2026-01-05T12:00:01.5+0000", 1_767_614_401_500),
    ("2026-01-05T14:00:01+02:00", 1_767_614_401_000),
    ("soon",                      1_767_614_400_000),  # that of the mail
    ("9999-12-31T23:59:59Z",      1_767_614_400_000),
    (17,                          1_767_614_400_000),
]
# fmt: on


@pytest.mark.parametrize(("written", "at"), MOMENTS, ids=[str(number) for number, _ in enumerate(MOMENTS)])
def test_moments(written: object, at: int) -> None:
    event = samples.delivery(MAIL, ANA)
    event["delivery"]["timestamp"] = written
    assert read(event).at == at


TAGS = [
    {},
    {"relay_id": ["7"], "attempt": ["x"]},
    {"relay_id": [], "attempt": ["1"]},
    {"relay_id": ["7", "8"], "attempt": ["1"]},
    {"relay_id": "7", "attempt": "1"},
    {"relay_id": ["-7"], "attempt": ["1"]},
    {"relay_id": ["\u0667"], "attempt": ["1"]},
    {"relay_id": [str(2**63)], "attempt": ["1"]},
    "relay_id",
]


@pytest.mark.parametrize("tags", TAGS, ids=[str(number) for number, _ in enumerate(TAGS)])
def test_tags_that_are_not_ours(tags: object) -> None:
    found = read(samples.send(samples.mail(None, [ANA]) | {"tags": tags}))
    assert found.delivery_id is None or found.attempt is None


NO_EVENTS = [
    '{"mail": {"messageId": "\\ud800"}}',
    '{"mail": {"messageId": "a\\u0000b"}}',
    "",
    "x",
    "[]",
    "7",
    "null",
    '{"Message": 7, "TopicArn": "x"}',
    '{"Type": ["Notification"]}',
    "{}",
    '{"mail": {}}',
    "[" * 100_000,
]


@pytest.mark.parametrize("body", NO_EVENTS, ids=[str(number) for number, _ in enumerate(NO_EVENTS)])
def test_what_is_no_event(body: str) -> None:
    with pytest.raises(NotAnEvent):
        read(unwrapped(body))


def test_half_a_character_harms_nobody() -> None:
    event = samples.delivery(MAIL | {"destination": ["\ud800@dest.example"]}, ANA)
    event["delivery"] |= {"timestamp": "\ud800", "smtpResponse": "\ud800 ok", "recipients": ["\ud800@dest.example"]}
    found = read(event)
    json.dumps(dict(found.data)).encode()
    assert found.people == ()


def test_what_aws_says_to_a_new_destination_is_no_trouble() -> None:
    said = "Successfully validated SNS topic for Amazon SES event publishing."
    for body in (said, json.dumps({"Type": "Notification", "TopicArn": "arn:x", "Message": said})):
        with pytest.raises(Notice):
            unwrapped(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
PARTS = "send delivery bounce complaint reject open click failure deliveryDelay subscription".split()  # noqa: SIM905
INNER = (  # noqa: SIM905
    "timestamp recipients bouncedRecipients complainedRecipients delayedRecipients feedbackId bounceType bounceSubType "
    "complaintFeedbackType complaintSubType newTopicPreferences smtpResponse processingTimeMillis link userAgent"
).split()


@given(
    st.sampled_from([*(each[0]["eventType"] for each in TYPES), "x" * 300, ""]),
    st.dictionaries(st.sampled_from(PARTS), st.dictionaries(st.sampled_from(INNER), JSON) | JSON),
    st.dictionaries(st.sampled_from(["tags", "timestamp", "destination", "headers"]), JSON),
)
def test_any_json_is_understood_or_kept(kind: str, parts: dict[str, Any], about: dict[str, Any]) -> None:
    found = read({"eventType": kind, "mail": {"messageId": "0102-a", **about}, **parts})
    assert found.type.startswith(("email.", "ses."))
    assert found.raw is None or len(found.raw) <= MOST_RAW
    json.dumps(dict(found.data)).encode()
