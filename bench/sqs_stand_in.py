"""Plays an SQS queue with as little work as can be: hands out events of SES about given mail, ten at a time.

No event comes twice, and none is handed out again: whoever measures fills the queue and waits until all was deleted.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from bench.keep_alive import KeepAlive
from bench.ses_stand_in import answer

START = datetime.now(UTC).timestamp() - 3600
TOPIC = "arn:aws:sns:eu-west-1:123456789012:relay-events"
BOUNCES = 50  # one event in so many is of a soft bounce: a hard one would have the recipient refused


class Queue:
    """`mail`: of each message the delivery's id, SES's id and the recipient."""

    def __init__(self, mail: list[tuple[int, str, str]]) -> None:
        self._mail = mail
        self._made = 0
        self._left = 0
        self.received = self.deleted = 0
        self.first_at = self.last_at = 0.0

    def fill(self, events: int) -> None:
        self._left, self.received, self.deleted = events, 0, 0
        self.first_at = self.last_at = 0.0

    def receive(self, most: int) -> bytes:
        count = min(most, self._left)
        self._left -= count
        self.received += count
        if count and not self.first_at:
            self.first_at = time.monotonic()
        return answer({"Messages": [self._message() for _ in range(count)]} if count else {})

    def delete(self, entries: list[dict[str, str]]) -> bytes:
        self.deleted += len(entries)
        self.last_at = time.monotonic()  # the same clock in every process of the machine
        return answer({"Successful": [{"Id": each["Id"]} for each in entries], "Failed": []})

    def seen(self) -> bytes:
        return answer(
            {"received": self.received, "deleted": self.deleted, "first_at": self.first_at, "last_at": self.last_at}
        )

    def _message(self) -> dict[str, object]:
        self._made += 1
        delivery_id, ses_message_id, address = self._mail[self._made % len(self._mail)]
        body = json.dumps(_envelope(self._event(delivery_id, ses_message_id, address), self._made))
        return {
            "MessageId": f"{self._made:032x}",
            "ReceiptHandle": f"r{self._made}",
            "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
            "Body": body,
            "Attributes": {"SentTimestamp": str(int(START * 1000))},
        }

    def _event(self, delivery_id: int, ses_message_id: str, address: str) -> dict[str, object]:
        at = _stamp(START + self._made / 1000)
        mail = {
            "timestamp": _stamp(START),
            "messageId": ses_message_id,
            "source": "app@bench.example",
            "sourceArn": "arn:aws:ses:eu-west-1:123456789012:identity/bench.example",
            "sendingAccountId": "123456789012",
            "destination": [address],
            "headersTruncated": False,
            "headers": [{"name": f"X-Header-{number}", "value": "v" * 40} for number in range(12)],
            "commonHeaders": {"from": ["app@bench.example"], "to": [address], "subject": "Measurement"},
            "tags": {"relay_id": [str(delivery_id)], "attempt": ["1"], "ses:configuration-set": ["relay"]},
        }
        if self._made % BOUNCES == 0:
            person = {"emailAddress": address, "status": "5.2.2", "diagnosticCode": "smtp; 552 5.2.2 mailbox full"}
            bounce = {"bounceType": "Transient", "bounceSubType": "MailboxFull", "bouncedRecipients": [person]}
            return {"eventType": "Bounce", "mail": mail, "bounce": bounce | {"timestamp": at, "feedbackId": at}}
        delivery = {"timestamp": at, "processingTimeMillis": 500, "recipients": [address], "smtpResponse": "250 ok"}
        return {"eventType": "Delivery", "mail": mail, "delivery": delivery}


def _envelope(event: dict[str, object], number: int) -> dict[str, object]:
    return {
        "Type": "Notification",
        "MessageId": f"{number:032x}",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": json.dumps(event),
        "Timestamp": _stamp(START),
        "SignatureVersion": "2",
        "Signature": "c" * 344,
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
    }


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Connection(KeepAlive):
    """One client's. An empty queue answers as soon as a long poll would, or after a second."""

    def __init__(self, queue: Queue, url: str) -> None:
        super().__init__()
        self._queue = queue
        self._url = url

    def take(self, head: bytes, body: bytes) -> None:
        self._reply(head.decode("latin-1"), body)

    def _reply(self, head: str, body: bytes) -> None:
        if head.startswith("GET /fill"):
            query = parse_qs(urlsplit(head.split()[1]).query)
            self._queue.fill(int(query["events"][0]))
        if head.startswith("GET"):
            self.transport.write(self._queue.seen())
            return
        operation = head.lower().partition("\r\nx-amz-target:")[2].partition("\r\n")[0].strip().partition(".")[2]
        asked = json.loads(body)
        match operation:
            case "getqueueurl":
                self.transport.write(answer({"QueueUrl": f"{self._url}/1/relay-events"}))
            case "receivemessage":
                octets = self._queue.receive(asked.get("MaxNumberOfMessages", 1))
                wait = 0.0 if b"Messages" in octets else min(1.0, asked.get("WaitTimeSeconds", 0))
                asyncio.get_running_loop().call_later(wait, self.transport.write, octets)
            case "deletemessagebatch":
                self.transport.write(self._queue.delete(asked["Entries"]))
            case _:
                self.transport.write(answer({"Attributes": {"ApproximateNumberOfMessages": "0"}}))


async def serve(port: int, mail: Path) -> None:
    queue = Queue([(each[0], each[1], each[2]) for each in json.loads(mail.read_text("utf-8"))])
    url = f"http://127.0.0.1:{port}"
    server = await asyncio.get_running_loop().create_server(lambda: Connection(queue, url), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mail", type=Path, required=True, help="JSON: delivery id, SES id and recipient of each")
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.mail))


if __name__ == "__main__":
    main()
