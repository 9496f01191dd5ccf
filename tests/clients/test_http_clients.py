"""HTTP clients that are not ours: curl, httpx, requests, Node's fetch, and the SDK that Sendmux publishes for Python."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import httpx
import pytest
import requests
from sendmux_core import RetryOptions, SendmuxApiError
from sendmux_sending import (
    Address,
    Attachment,
    BatchSendRequest,
    EmailsApi,
    EmailSendRequest,
    InlineAttachment,
    MetaApi,
    Recipient,
    attachment_from_file,
    create_sending_client,
)

from tests.clients.programs import NODE, call, needs
from tests.support import World

SMX = "smx_mbx_0123456789abcdefghijklmnopqrstuv"  # as it was imported from there
SENDER = "app@shared.example"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    keys = [{"name": "moved here", "secret": SMX}]
    with World(tmp_path_factory.mktemp("clients"), keys=keys) as world:
        yield world


@pytest.fixture
def url(world: World) -> str:
    return f"http://127.0.0.1:{world.http}"


def arrived(world: World, address: str) -> EmailMessage:
    found = email.message_from_bytes(world.sent_to(address)[0]["raw"], policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def texts(message: EmailMessage) -> dict[str, str]:
    return {
        part.get_content_type(): part.get_content() for part in message.walk() if part.get_content_maintype() == "text"
    }


# Each dialect's request for the same mail, and where its own answer says that it was taken.
DIALECTS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "native": (
        "/api/v1/emails",
        "Authorization",
        {"from": SENDER, "subject": "Hi", "text": "Grüße", "html": "<p>Grüße</p>"},
        "id",
    ),
    "sendfleet": (
        "/api/send/",
        "X-API-Key",
        {"from_email": SENDER, "subject": "Hi", "message": "Grüße", "html": "<p>Grüße</p>"},
        "message_id",
    ),
    "mailerlogic": (
        "/api/v1/send",
        "X-API-Key",
        {"from": SENDER, "subject": "Hi", "text": "Grüße", "html": "<p>Grüße</p>"},
        "email_id",
    ),
    "sendmux": (
        "/api/v1/emails/send",
        "Authorization",
        {"from": {"email": SENDER}, "subject": "Hi", "text_body": "Grüße", "html_body": "<p>Grüße</p>"},
        "data",
    ),
}


def asked(dialect: str, client: str, key: str) -> tuple[str, dict[str, str], dict[str, Any], str]:
    """The path, headers and body of a dialect's request, and to whom it goes."""
    path, header, body, _ = DIALECTS[dialect]
    to = f"{client}-{dialect}@one.test"
    credential = {header: f"Bearer {key}" if header == "Authorization" else key}
    return path, credential, {**body, "to": {"email": to} if dialect == "sendmux" else to}, to


@pytest.mark.parametrize("dialect", DIALECTS)
def test_curl(world: World, url: str, dialect: str) -> None:
    path, headers, body, to = asked(dialect, "curl", world.key)
    fields = [each for name, value in headers.items() for each in ("-H", f"{name}: {value}")]
    said = call(
        *(needs("curl"), "-sS", "--fail-with-body", url + path, "-H", "Content-Type: application/json", *fields),
        *("-d", json.dumps(body)),
    )
    assert json.loads(said)[DIALECTS[dialect][3]]
    assert texts(arrived(world, to)).keys() == {"text/plain", "text/html"}


def test_curl_that_was_not_told_what_it_sends(world: World, url: str) -> None:
    """`-d` alone says that it is a form."""
    _, _, body, to = asked("native", "bare-curl", world.key)
    call(
        needs("curl"),
        "-sS",
        "--fail-with-body",
        f"{url}/api/v1/emails",
        "-H",
        f"X-API-Key: {world.key}",
        "-d",
        json.dumps(body),
    )
    assert arrived(world, to)["Subject"] == "Hi"


def test_curl_sends_a_file_and_a_whole_message(world: World, url: str) -> None:
    whole = b"From: app@shared.example\r\nTo: curl-eml@one.test\r\nSubject: Whole\r\n\r\nAs it is\r\n"
    common = (needs("curl"), "-sS", "--fail-with-body", f"{url}/api/v1/emails", "-H", f"X-API-Key: {world.key}")
    call(*common, "-H", "Content-Type: message/rfc822", "--data-binary", "@-", given=whole)
    assert arrived(world, "curl-eml@one.test").get_content() == "As it is\r\n"
    _, _, body, to = asked("native", "curl-form", world.key)
    call(
        *common,
        "-F",
        f"email={json.dumps(body)}",
        "-F",
        "attachments=@-;filename=größe.csv;type=text/csv",
        given=b"1;2",
    )
    [file] = arrived(world, to).iter_attachments()
    assert (file.get_filename(), file.get_content_type(), file.get_payload(decode=True)) == (
        "größe.csv",
        "text/csv",
        b"1;2",
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("client", ["httpx", "requests"])
def test_python_s_clients(world: World, url: str, client: str, dialect: str) -> None:
    path, headers, body, to = asked(dialect, client, world.key)
    answer: httpx.Response | requests.Response
    if client == "httpx":
        answer = httpx.post(url + path, headers=headers, json=body)
    else:
        answer = requests.post(url + path, headers=headers, json=body, timeout=10)
    assert answer.status_code in {200, 202}
    assert answer.json()[DIALECTS[dialect][3]]
    assert texts(arrived(world, to)).keys() == {"text/plain", "text/html"}


@pytest.mark.parametrize("client", ["httpx", "requests"])
def test_files_by_python_s_clients(world: World, url: str, client: str) -> None:
    _, headers, body, to = asked("native", f"files-{client}", world.key)
    files = {"attachments": ("größe.csv", b"1;2", "text/csv")}
    if client == "httpx":
        answer = httpx.post(f"{url}/api/v1/emails", headers=headers, data={"email": json.dumps(body)}, files=files)
        assert answer.status_code == 202, answer.text
    else:
        asked_too = requests.post(
            f"{url}/api/v1/emails", headers=headers, data={"email": json.dumps(body)}, files=files, timeout=10
        )
        assert asked_too.status_code == 202, asked_too.text
    [file] = arrived(world, to).iter_attachments()
    assert (file.get_filename(), file.get_payload(decode=True)) == ("größe.csv", b"1;2")


def test_one_connection_for_many_requests(world: World, url: str) -> None:
    with httpx.Client(base_url=url, headers={"X-API-Key": world.key}) as client:
        for status, body in ((400, {}), (202, {**asked("native", "kept", "")[2]}), (404, None), (400, {"to": 1})):
            answer = client.get("/api/v1/nowhere") if body is None else client.post("/api/v1/emails", json=body)
            assert answer.status_code == status
            assert status == 202 or answer.headers["x-request-id"] == answer.json()["request_id"]


def test_node_s_fetch(world: World, url: str) -> None:
    _, _, body, to = asked("native", "fetch", world.key)
    said = call(
        needs("node", "nodejs"), str(NODE / "fetch.mjs"), json.dumps({"url": url, "key": world.key, "email": body})
    )
    as_json, as_form, refused = json.loads(said)
    assert (as_json["status"], as_form["status"], refused["status"]) == (202, 202, 401)
    assert refused["body"]["reason"] == "unauthorized"
    found = [email.message_from_bytes(each["raw"], policy=email.policy.default) for each in world.sent_to(to, 2)]
    [file] = next(each for each in found if each["Subject"] == "By form").iter_attachments()  # type: ignore[attr-defined]
    assert (file.get_filename(), file.get_payload(decode=True).decode()) == ("größe.csv", "größe")


class TestSendmuxSdk:
    """Generated by them from their own OpenAPI document: it refuses an answer that differs from it."""

    @pytest.fixture
    def client(self, url: str) -> Any:
        return create_sending_client(api_key=SMX, base_url=f"{url}/api/v1", retry_options=RetryOptions(max_attempts=1))

    @pytest.fixture
    def emails(self, client: Any) -> EmailsApi:
        return EmailsApi(client)

    def mail(self, to: str, **more: Any) -> EmailSendRequest:
        return EmailSendRequest(
            var_from=Address(email=SENDER, name="Shöp"),
            to=Address(email=to, name="Ana"),
            subject="Order 9",
            html_body="<p>Thanks</p>",
            text_body="Thanks",
            **more,
        )

    def test_it_sends(self, world: World, emails: EmailsApi) -> None:
        copies = [Recipient(email="sdk-copy@one.test", name="Bo")]
        answer = emails.sending_send_email(self.mail("sdk@one.test", cc=copies, custom_headers={"X-Order": "9"}))
        assert answer.ok
        assert (answer.data.status, answer.data.message_id[:4]) == ("queued", "eml_")
        found = arrived(world, "sdk@one.test")
        assert (found["From"], found["To"]) == ("Shöp <app@shared.example>", "Ana <sdk@one.test>")
        assert (found["Cc"], found["X-Order"]) == ("Bo <sdk-copy@one.test>", "9")
        shown = world.call("GET", f"/api/v1/emails/{answer.data.message_id}").json
        assert shown["message_id"] == found["Message-ID"] or shown["status"] in {"sent", "queued", "sending"}

    def test_it_sends_files(self, world: World, emails: EmailsApi, tmp_path: Any) -> None:
        (tmp_path / "bill.csv").write_bytes(b"1;2")
        files = [Attachment(InlineAttachment(**attachment_from_file(tmp_path / "bill.csv")))]
        emails.sending_send_email(self.mail("sdk-file@one.test", attachments=files))
        [file] = arrived(world, "sdk-file@one.test").iter_attachments()
        assert (file.get_filename(), file.get_payload(decode=True)) == ("bill.csv", b"1;2")

    def test_it_sends_batches(self, world: World, emails: EmailsApi) -> None:
        asked = BatchSendRequest(messages=[self.mail("sdk-1@one.test"), self.mail("sdk-2@nowhere..test")])
        answer = emails.sending_send_email_batch(asked)
        assert (answer.data.summary.total, answer.data.summary.queued, answer.data.summary.failed) == (2, 1, 1)
        first, second = answer.data.results
        assert (first.status, second.status, second.message_id) == ("queued", "failed", None)
        assert second.error is not None
        assert second.error.code == "validation_error"
        world.sent_to("sdk-1@one.test")

    def test_a_key_counts_once(self, world: World, emails: EmailsApi) -> None:
        ids = {
            emails.sending_send_email(self.mail("sdk-once@one.test"), idempotency_key="order-9").data.message_id
            for _ in range(3)
        }
        assert len(ids) == 1
        world.sent_to("sdk-once@one.test", 1)
        with pytest.raises(SendmuxApiError) as refused:
            emails.sending_send_email(self.mail("sdk-other@one.test"), idempotency_key="order-9")
        assert refused.value.code == "idempotency_conflict"

    def test_it_knows_why_it_is_refused(self, emails: EmailsApi) -> None:
        with pytest.raises(SendmuxApiError) as refused:
            emails.sending_send_email(
                EmailSendRequest(
                    var_from=Address(email="me@nowhere.example"),
                    to=Address(email="a@one.test"),
                    subject="x",
                    html_body="x",
                )
            )
        assert (refused.value.status_code, refused.value.code) == (404, "not_found")

    def test_it_checks_its_credential(self, client: Any) -> None:
        said = MetaApi(client).sending_get_connection()
        assert said.ok
        assert "email.send" in said.data.permissions
        assert said.data.credential.type == "api_key"
