"""Greps everything: what a relay says, answers, prints, measures and stores, for secrets that it was told."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import re
import secrets
import smtplib
import sqlite3
import sys
import traceback
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relay import config
from relay.cli.main import main
from relay.declared import AccountFields, KeyFields
from relay.http.management import ROUTES
from relay.management.reaching import access_of, base_of
from relay.message import Address, Addressee, Submission, Trace
from relay.sealing import api_key_prefix
from relay.store.beside import with_database
from relay.store.directory import accounts, audit, domains, keys, snapshot, tenants
from relay.store.files import master_key
from tests import processes
from tests.processes import Relay, wait_until
from tests.ses.sts_server import Sts
from tests.ses.sts_server import running as running_sts
from tests.wire import Wire

LEAST = 12  # characters of a secret that tell it

# -- finding ---------------------------------------------------------------------------------------------------------


def needles(secret: str) -> set[bytes]:
    """What shows that a secret is in a text: its first characters, plain, or anywhere in base64."""
    head = secret[: max(LEAST, len(secret) // 2)].encode()
    found = {head, head.hex().encode()}
    for offset in range(3):
        encoded = base64.b64encode(b"x" * offset + head)
        found.add(encoded[4 if offset else 0 : len(encoded) // 4 * 4 - 4])
    return found


@dataclass
class Evidence:
    """Everything that was said and written, by place, and what must be in none of it, by name."""

    places: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    secrets: dict[str, str] = field(default_factory=dict)

    def secret(self, name: str, value: str = "") -> str:
        """A new secret; of a value, the part of it that may never be seen."""
        made = value or f"{name.replace(' ', '')}{secrets.token_hex(24)}"
        self.secrets[name] = made
        return made

    def note(self, place: str, text: object) -> None:
        self.places[place].append(text if isinstance(text, bytes) else str(text).encode("utf-8", "backslashreplace"))

    def found(self, names: Mapping[str, str] | None = None) -> set[tuple[str, str]]:
        """Which secret is where."""
        wanted = {name: needles(value) for name, value in (names or self.secrets).items()}
        return {
            (name, place)
            for place, texts in self.places.items()
            for text in (b"\n".join(texts),)
            for name, all_of_it in wanted.items()
            if any(each in text for each in all_of_it)
        }

    def around(self) -> list[bytes]:
        """Where what was found stands, for whoever has to mend it."""
        wanted = b"|".join(re.escape(each) for value in self.secrets.values() for each in needles(value))
        return [
            place.encode() + b": " + text[max(0, at.start() - 150) : at.start()]
            for place, texts in self.places.items()
            for text in texts
            if (at := re.search(wanted, text))
        ]


def part(key: str) -> str:
    """The part of a key that is never shown."""
    return key.partition(".")[2] or key[len(api_key_prefix(key)) :]


# -- everybody's ways in ---------------------------------------------------------------------------------------------


@dataclass
class Told:
    """A relay as a process, with the sandbox and STS, and all that is said to and by it."""

    relay: Relay
    sandbox_url: str
    sts: Sts
    evidence: Evidence
    operator: str = ""

    @property
    def folder(self) -> Path:
        return self.relay.folder

    def http(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, is_name: bool = False, **headers: str
    ) -> Any:
        """One request; its answer is evidence, but for the new key that two routes show once.

        `is_name`: a name that is not there is said back to whoever asked for it, and to nobody else.
        """
        octets = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Authorization": f"Bearer {self.operator if key is None else key}"} if key != "" else {}
        fields |= {"Content-Type": "application/json"} if octets else {}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.relay.http}{path}"
        request = urllib.request.Request(url, octets, fields, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, said, head = answer.status, answer.read(), str(answer.headers)
        except urllib.error.HTTPError as refusal:
            with refusal:
                status, said, head = refusal.code, refusal.read(), str(refusal.headers)
        seen = said
        if status == 201 and re.fullmatch(r"/api/v1/keys(/[^/]+/rotate)?", path):
            shown = json.loads(said)
            if "key" in shown:
                self.evidence.secret(f"key {shown['id']}", part(shown["key"]))
                seen = json.dumps({**shown, "key": ""}).encode()
        if not is_name:
            self.evidence.note("answers", head.encode() + seen)
        self.evidence.note("statuses", f"{method} {status}")
        return json.loads(said) if said.startswith(b"{") else said

    def command(self, *arguments: str, shows: str = "") -> str:
        """A command, in this process: some hundred of them would take minutes. `shows`: the secret it is for."""
        out, old = io.StringIO(), sys.argv
        sys.argv = ["relay", *arguments]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.chdir(self.folder):
                main()
        except SystemExit:
            pass
        except Exception:
            out.write(traceback.format_exc())
        finally:
            sys.argv = old
        said = out.getvalue()
        if shows:
            self.evidence.secret(shows, part(said.strip().splitlines()[-1].strip()))
        else:
            self.evidence.note("commands", said)
        return said

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name


@pytest.fixture
def log_kept() -> Iterator[None]:
    """Commands set up the log of their process, which is ours here."""
    root, ours = logging.getLogger(), logging.getLogger("relay")
    kept = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    ours.setLevel(kept[2])


@pytest.fixture
def told(tmp_path: Path, log_kept: None) -> Iterator[Told]:
    evidence = Evidence()
    accounts_of = ("--account", "operator=shared.example", "--account", "customer=acme.example,byhttp.example")
    with processes.sandbox(*accounts_of, "--temporary", "customer") as sandbox, running_sts() as sts:
        smtp, http = processes.free_ports(2)
        (tmp_path / "filed.secret").write_text(evidence.secret("AWS secret in a file of its own"))
        declared = evidence.secret("key of the file")
        (tmp_path / "declared.secret").write_text(f"moved_here_since_{declared}")
        own = {"access_key_id": "operator", "secret_access_key": "file:filed.secret"}
        raw = {
            "log": {"level": "debug"},
            "hostname": "relay.test",
            "smtp": {"listeners": [{"address": f"127.0.0.1:{smtp}", "tls": "none", "auth_without_tls": True}]},
            "http": {"address": f"127.0.0.1:{http}"},
            "aws": {
                "credentials": {"access_key_id": "relay", "secret_access_key": evidence.secret("AWS secret for STS")},
                "sts_endpoint_url": sts.url,
            },
            "ses_accounts": {
                "filed": {"region": "eu-west-1", "endpoint_url": sandbox.url, "rate": 900, "credentials": own},
                "inline": {
                    "region": "eu-west-1",
                    "endpoint_url": sandbox.url,
                    "credentials": {
                        "access_key_id": "operator",
                        "secret_access_key": evidence.secret("AWS secret in the file"),
                    },
                },
            },
            "keys": [{"name": "declared", "permission": "full", "secret": "file:declared.secret"}],
            "domains": {"shared.example": {"mode": "shared", "account": "filed"}},
            "mx": {"policy": "off"},
            "dns": {"nameservers": []},
        }
        relay = Relay(tmp_path, smtp, 0, http)
        relay.config.write_text(json.dumps(raw))
        found = Told(relay, sandbox.url, sts, evidence)
        found.operator = found.command(
            "key", "create", "operator", "--permission", "admin", shows="key of the operator"
        )
        found.operator = found.operator.strip()
        relay.start()
        evidence.secret("master key", (tmp_path / "master.key").read_text().strip())
        try:
            yield found
        finally:
            relay.kill()


# -- what is done ----------------------------------------------------------------------------------------------------


def commands(told: Told) -> None:
    """Good ones and bad ones, as tables and as JSON."""
    evidence = told.evidence
    secret = told.file("by-command.secret", evidence.secret("AWS secret by command"))
    later = told.file("later.secret", evidence.secret("AWS secret changed by command"))
    moved = told.file("moved.secret", "sk_live_of_old_" + evidence.secret("imported key"))
    at = ("--region", "eu-west-1", "--endpoint-url", told.sandbox_url)
    run = told.command
    run("account", "add", "bycommand", *at, "--access-key-id", "customer", "--secret-file", secret)
    run("account", "add", "role", *at, "--role-arn", "arn:aws:iam::111122223333:role/relay")
    external = evidence.secret("lent secret", "lent-secret"), evidence.secret("lent token", "lent-token")
    assert external
    shown = json.loads(run("account", "show", "role", "--json"))
    told.sts.roles["arn:aws:iam::111122223333:role/relay"] = shown["credentials"]["external_id"]
    for name in ("bycommand", "role", "filed"):
        run("account", "show", name)
        run("account", "test", name)
        run("account", "test", name, "--json")
        run("account", "usage", name)
    run("account", "set", "bycommand", "--access-key-id", "customer", "--secret-file", later)
    run("account", "add", "bycommand", *at, "--access-key-id", "customer", "--secret-file", later)
    run("account", "add", "odd", *at, "--access-key-id", "not/an/id", "--secret-file", later)
    run("account", "add", "odd", *at, "--role-arn", "arn:odd", "--secret-file", later)
    run("tenant", "create", "acme", "--contact", "it@acme.test")
    run("domain", "add", "acme.example", "--mode", "byoc", "--tenant", "acme", "--account", "bycommand")
    made = run("key", "create", "acme", "--tenant", "acme", "--permission", "full", shows="key by command").strip()
    run("key", "import", "moved", "--tenant", "acme", "--secret-file", moved)
    run("key", "import", "moved", "--tenant", "acme", "--secret-file", moved)
    run("key", "import", "short", "--secret-file", told.file("short.secret", "tooshort"))
    run("key", "rotate", api_key_prefix(made), "--overlap", "1h", shows="key rotated by command")
    for verb in ("show", "rotate", "revoke"):
        run("key", verb, f"{made}x")  # a whole key where a name belongs
    for noun in ("account", "tenant", "domain", "key", "suppression", "block", "queue"):
        run(noun, "list")
        run(noun, "list", "--json")
    for noun, name in (("tenant", "acme"), ("domain", "acme.example"), ("key", api_key_prefix(made))):
        run(noun, "show", name)
        run(noun, "show", name, "--json")
    run("check", "--diff")
    run("check")
    run("audit")
    run("audit", "--json")


def bad_files(told: Told) -> None:
    """Secrets where they do not belong."""
    good = json.loads(told.relay.config.read_text())
    secret = told.evidence.secret("misplaced in the file")
    faulty = [
        good | {"ses_accounts": {"x": {"region": "eu-west-1", "secret_access_key": secret}}},
        good | {"ses_accounts": {"x": {"region": secret, "credentials": {"secret_access_key": secret}}}},
        good | {"ses_accounts": {"x": {"region": "eu-west-1", "credentials": secret}}},
        good | {"keys": [{"name": "k", "secret": secret}, {"name": "l", "secret": secret}, secret]},
        good | {"keys": [{"name": "k", "secret": [secret]}]},
        good | {"master_key": secret},
        good | {"database": f"postgresql://relay:{secret}@127.0.0.1:1/relay"},
        good | {"database": f"postgresql://relay:{secret}/{secret}@127.0.0.1:1/relay"},
        good | {"database": f"odd://relay:{secret}@127.0.0.1:1/relay"},
    ]
    texts = [json.dumps(each) for each in faulty] + [
        f"keys: [{{name: k, secret: {secret}",
        f"master_key: {secret}: {secret}",
    ]
    for text in texts:
        told.file("bad.yaml", text)
        told.command("check", "--config", "bad.yaml")
        told.command("check", "--diff", "--config", "bad.yaml")
        told.command("key", "list", "--config", "bad.yaml")


NAMED = {
    "tenants": "acme",
    "ses-accounts": "bycommand",
    "domains": "acme.example",
    "suppressions": "gone@one.test",
}
# An address or a domain that is none is said back to whoever gave it, as refusals of recipients do.
SAID_BACK = {"contact", "default_sender", "address", "domain", "domains"}


def management(told: Told) -> None:
    """Every route, well and badly asked, by every sort of key."""
    evidence, http = told.evidence, told.http
    http("POST", "/api/v1/suppressions", {"address": "gone@one.test"})
    credentials = {"access_key_id": "customer", "secret_access_key": evidence.secret("AWS secret by API")}
    body = {"name": "byhttp", "region": "eu-west-1", "endpoint_url": told.sandbox_url, "credentials": credentials}
    assert http("POST", "/api/v1/ses-accounts", body)["name"] == "byhttp"
    credentials = {"access_key_id": "customer", "secret_access_key": evidence.secret("AWS secret changed by API")}
    http("PATCH", "/api/v1/ses-accounts/byhttp", {"credentials": credentials})
    http("POST", "/api/v1/ses-accounts", body)
    brought = f"brought_along_{evidence.secret('key imported by API')}"
    assert http("POST", "/api/v1/keys", {"name": "brought", "secret": brought})["prefix"]
    http("POST", "/api/v1/keys", {"name": "brought", "secret": brought})
    made = http("POST", "/api/v1/keys", {"name": "made", "permission": "full"})
    http("POST", f"/api/v1/keys/{made['id']}/rotate", {"overlap": "1h"})
    wait_until(lambda: "error" not in http("GET", "/api/v1/stats", key=made["key"]), "the new key")
    wrong = f"{api_key_prefix(told.operator)}.{evidence.secret('wrong key')}"
    guess = evidence.secret("somebody's password")
    misplaced = evidence.secret("misplaced in a request")
    for rule in ROUTES:
        noun = rule.path.split("/")[1]
        name = made["id"] if noun == "keys" else NAMED.get(noun, "")
        path = "/api/v1" + re.sub(r"\{.*?\}", name, rule.path)
        is_last = rule.method == "DELETE"
        bodies: list[Any] = (
            []
            if rule.method in {"GET", "DELETE"}
            else [
                b'{"secret": "%s", ' % misplaced.encode(),
                {"name": {"secret": misplaced}, "unknown": misplaced},
                {name: {"access_key_id": misplaced, "x": [misplaced]} for name in rule.body.model_fields},
                dict.fromkeys(rule.body.model_fields.keys() - SAID_BACK, f"{misplaced}/+\n"),
            ]
        )
        for each in bodies:
            http(rule.method, path, each)
        http(rule.method, f"{path}?secret={misplaced}")
        for key in ("", wrong, guess, f"{made['key']}x", made["key"]):
            http(rule.method, path, key=key)
            http(rule.method, path, key="", X_API_Key=key)
        if "{" in rule.path:  # a secret where a name belongs
            for odd in (told.operator, made["key"], brought, misplaced):
                path_of_odd = "/api/v1" + re.sub(r"\{.*?\}", odd, rule.path)
                http(rule.method, path_of_odd, is_name=noun != "keys")
        if not is_last:
            http(rule.method, path, {"reason": "r", "note": "n"} if bodies else None)
    http("GET", f"/api/v1/emails/{misplaced}")
    http("GET", f"/api/v1/{misplaced}")
    for page in ("/metrics", "/readyz", "/healthz"):
        evidence.note("metrics" if page == "/metrics" else "readyz", http("GET", page, key=""))


def mail(told: Told) -> None:
    """Taken and refused, by both edges, to an account that takes it and through ones that are at fault."""
    evidence = told.evidence
    content, file = evidence.secret("content"), evidence.secret("attachment")
    attachment = {"filename": "a.bin", "content": base64.b64encode(file.encode()).decode()}
    message = {"from": "me@shared.example", "to": "ana@one.test", "subject": "Hi", "text": content, "html": content}
    message |= {"attachments": [attachment]}
    taken = told.http("POST", "/api/v1/emails", message)
    wait_until(lambda: told.http("GET", f"/api/v1/emails/{taken['id']}")["status"] == "sent", "the first message")
    for changes in (
        {"from": "me@nobodys.example"},
        {"subject": f"{content}\n"},
        {"text": {"x": content}},
        {"attachments": [{"filename": "a", "content": f"!{content}"}]},
        {"headers": {"X-Odd": f"{content}\r\n"}},
        {content: content},
    ):
        told.http("POST", "/api/v1/emails", message | changes)
    told.http("POST", "/api/v1/emails", json.dumps(message).encode()[:-1])
    told.http("POST", "/api/v1/emails", message, key="")
    with smtplib.SMTP("127.0.0.1", told.relay.smtp) as smtp:
        smtp.login("user", told.operator)
        head = "From: me@{}\r\nTo: ana@one.test\r\nSubject: Hi\r\n\r\n"
        smtp.sendmail("me@shared.example", ["bo@one.test"], head.format("shared.example") + content)
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail("me@shared.example", ["bo@one.test"], head.format("nobodys.example") + content)
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail("me@shared.example", ["bo@one.test"], f"Odd {content}\r\n\r\n{content}")
        evidence.note("replies", smtp.docmd(content))
    wrong = evidence.secret("wrong key by SMTP")
    for line in (
        f"AUTH PLAIN {base64.b64encode(f'{chr(0)}user{chr(0)}relay_abcdefgh.{wrong}'.encode()).decode()}",
        f"AUTH PLAIN {wrong}!",
        f"AUTH {wrong}",
        f"AUTH LOGIN {wrong}",
    ):
        with Wire(told.relay.smtp) as wire:
            wire.reply()
            wire.say(f"EHLO {'x'}.test")
            evidence.note("replies", wire.say(line))
    told.command("queue", "list", "--json")
    told.command("queue", "show", taken["id"])
    told.command("queue", "show", taken["id"], "--json")


FAULTY = ("messages", "audit", "keys", "ses_accounts")


def faults_of_ours(told: Told) -> None:
    """The database fails in the middle of everything: errors of a driver like to quote what they were given."""
    evidence = told.evidence
    content = evidence.secret("content in a fault")
    database = sqlite3.connect(told.folder / "relay.db", timeout=20)
    for table in FAULTY:
        with database:
            database.execute(
                f"create trigger faulty before insert on {table} begin select raise(abort, 'no room'); end"
            )
        message = {"from": "me@shared.example", "to": "ana@one.test", "subject": "Hi", "text": content}
        told.http("POST", "/api/v1/emails", message)
        secret = evidence.secret(f"AWS secret in a fault of {table}")
        credentials = {"access_key_id": "customer", "secret_access_key": secret}
        body = {"name": f"faulty-{table}".replace("_", "-"), "region": "eu-west-1", "credentials": credentials}
        told.http("POST", "/api/v1/ses-accounts", body)
        told.http("PATCH", "/api/v1/ses-accounts/byhttp", {"credentials": credentials})
        key = f"another_system_{evidence.secret(f'key in a fault of {table}')}"
        told.http("POST", "/api/v1/keys", {"name": "faulty", "secret": key})
        file, key_file = told.file("faulty.secret", secret), told.file("faulty.key", key)
        at = ("--region", "eu-west-1", "--access-key-id", "customer")
        told.command("account", "add", f"faulty-{table}".replace("_", "-"), *at, "--secret-file", file)
        told.command("key", "import", "faulty", "--secret-file", key_file)
        with database:
            database.execute("drop trigger faulty")
    database.close()


def what_rests(told: Told) -> None:
    """Stop, and read all that is on the disk: the log, the database as octets, and its rows as text."""
    assert told.relay.process is not None
    evidence, folder = told.evidence, told.folder
    for file in folder.glob("relay.db*"):  # while it runs, the write-ahead log is there
        evidence.note("files of the database", file.read_bytes())
    assert told.relay.stop() == 0
    evidence.note("log", told.relay.log.read_bytes())
    for file in folder.glob("relay.db*"):
        evidence.note("files of the database", file.read_bytes())
    with contextlib.closing(sqlite3.connect(folder / "relay.db")) as db:
        for (table,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
            for row in db.execute(f"select * from {table}"):
                evidence.note("audit" if table == "audit" else "rows", row)


def reprs(told: Told) -> None:
    """What a debugger, a traceback or a careless line in the log would show."""
    settings = config.load(told.relay.config)
    note = told.evidence.note
    for each in (settings, settings.model_dump(), settings.model_dump_json(), settings.aws, base_of(settings.aws)):
        note("reprs", repr(each))
    for account in settings.ses_accounts.values():
        note("reprs", (str(account), account.credentials, AccountFields.model_validate(account.model_dump())))
    for key in settings.keys:
        note("reprs", (str(key), KeyFields(name="k", secret=key.secret)))

    def read(db: Any, sealer: Any) -> None:
        for rows in (accounts.every(db), domains.every(db), keys.every(db), tenants.every(db), snapshot.read(db)):
            note("reprs", repr(rows))
        note("reprs", [sealer, *audit.entries(db, target=None, tenant_id=None, limit=10_000)])
        for account in accounts.every(db):
            note("reprs", access_of(account, sealer))

    with_database(settings, read)
    note("reprs", master_key(settings))
    content = told.evidence.secrets["content"]
    me = Address.parse("me@shared.example")
    note("reprs", Submission(me, (Addressee(me),), content.encode(), Trace("HTTP"), content))


def plant(told: Told) -> dict[str, str]:
    """Names that do show, each of them somewhere: who looks for secrets as thoroughly must see these."""
    words = {"account": f"planted{secrets.token_hex(12)}", "request": f"planted{secrets.token_hex(12)}"}
    body = {"name": words["account"], "region": "eu-west-1", "endpoint_url": told.sandbox_url}
    told.http("POST", "/api/v1/ses-accounts", body)
    told.http("POST", f"/api/v1/ses-accounts/{words['account']}/pause", {"reason": "to be seen"})
    told.http("GET", "/api/v1/tenants/nobody", X_Request_Id=words["request"])
    url = f"http://127.0.0.1:{told.relay.http}/readyz"
    wait_until(lambda: words["account"] in str(processes.get(url)), "the pause")
    told.command("account", "list")
    return words


# -- the test --------------------------------------------------------------------------------------------------------


def test_no_secret_is_anywhere(told: Told) -> None:
    planted = plant(told)
    commands(told)
    bad_files(told)
    management(told)
    mail(told)
    faults_of_ours(told)
    told.http("GET", "/metrics", key="")
    told.command("audit", "--json", "--limit", "100000")
    what_rests(told)
    reprs(told)

    evidence = told.evidence
    statuses = set(b"\n".join(evidence.places.pop("statuses")).decode().split())
    assert {"200", "201", "202", "204", "400", "401", "403", "404", "409", "422", "429", "500"} <= statuses
    # What is to be seen is seen in every place there is, so that a secret there would be, too.
    seen = {place for _, place in evidence.found(planted)}
    assert evidence.places.keys() - seen == {"replies"}
    assert evidence.found() == set(), b"\n\n".join(evidence.around()).decode("utf-8", "replace")


@pytest.mark.parametrize(
    "hidden",
    [
        "{}",
        "password={}&x=1",
        '"{}"',
        "b'\\x00{}'",
    ],
)
def test_a_secret_that_is_there_is_found(hidden: str) -> None:
    """In plain, in base64 behind anything, in hex; and nothing is found where nothing is."""
    evidence = Evidence()
    secret, other = evidence.secret("a key"), evidence.secret("another")
    evidence.note("elsewhere", f"nothing but {other[:8]}")
    assert evidence.found() == set()
    evidence.note("plain", hidden.format(secret))
    for behind in range(4):
        evidence.note(f"base64 {behind}", base64.b64encode(("x" * behind + hidden.format(secret)).encode()))
    evidence.note("hex", secret.encode().hex())
    assert evidence.found() == {("a key", place) for place in evidence.places.keys() - {"elsewhere"}}
