"""Sender domains from their registration to their end, against a sandbox for SES and a real DNS server."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from relay import config
from relay.declared import DomainFields, DomainStatus
from relay.errors import Kind, Problem
from relay.management.desk import Desk
from relay.management.findings import TO_BE_SURE
from relay.management.reaching import access_of, session_name
from relay.message import Mode
from relay.routing.standing import missing
from relay.ses import suppression
from relay.ses.errors import SesProblem
from relay.store.beside import open_beside
from relay.store.clock import now_ms
from relay.store.directory import accounts, audit, domains
from relay.store.directory.accounts import SesAccount
from relay.store.directory.domains import SenderDomain
from tests import databases
from tests.dns_server import REFUSED, SERVFAIL, records
from tests.management.scene import ACTOR, OWNED, Scene, check, play, statuses
from tests.ses.sts_server import Sts
from tests.ses.sts_server import running as running_sts

PENDING, VERIFIED, FAILED = DomainStatus
NAME = "mail.acme.example"


@pytest.fixture
def url(tmp_path: Path) -> URL:
    return databases.sqlite(tmp_path)


def seconds_until_next(domain: SenderDomain) -> float:
    assert domain.checked_at is not None
    return (domain.check_at - domain.checked_at) / 1000


async def verified(scene: Scene, name: str = NAME, tenant: str = "acme") -> SenderDomain:
    made = await scene.add(name, tenant)
    scene.publish(made.records)
    found = await scene.verify(name)
    assert found.status is VERIFIED
    return found


async def second_look(scene: Scene, name: str = NAME) -> SenderDomain:
    await scene.age(name, TO_BE_SURE)
    return await scene.verify(name)


# -- the way to verified ---------------------------------------------------------------------------------------------


def test_a_shared_domain_from_its_registration_to_verified(url: URL) -> None:
    async def story(scene: Scene) -> None:
        made = await scene.add(NAME)
        assert made.status is PENDING
        assert not made.is_claimed
        identity = scene.identity(NAME)
        assert identity.mail_from.domain == f"send.{NAME}"
        listed = [(each["purpose"], each["type"], each["name"], each["value"]) for each in made.records]
        assert listed == [
            ("claim", "TXT", f"_relay-challenge.{NAME}", made.challenge),
            *(
                ("dkim", "CNAME", f"{token}._domainkey.{NAME}", f"{token}.dkim.amazonses.com")
                for token in identity.tokens
            ),
            ("mail_from", "MX", f"send.{NAME}", "10 feedback-smtp.eu-west-1.amazonses.com"),
            ("mail_from", "TXT", f"send.{NAME}", "v=spf1 include:amazonses.com ~all"),
            ("spf", "TXT", NAME, "v=spf1 include:amazonses.com ~all"),
            ("dmarc", "TXT", f"_dmarc.{NAME}", "v=DMARC1; p=none;"),
        ]
        assert statuses(made) == dict.fromkeys(("claim", "dkim", "ownership", "spf", "mail_from", "dmarc"), "missing")
        assert [each["purpose"] for each in made.checks if each["is_required"]] == ["claim", "dkim", "ownership"]
        assert missing(made)[1] == f"publish {made.challenge} at _relay-challenge.{NAME}"
        assert len(made.warnings) == 3

        scene.publish(made.records, "claim")
        claimed = await scene.verify(NAME)
        assert claimed.is_claimed
        assert claimed.status is PENDING
        assert claimed.records[0]["purpose"] == "claim"  # this look needed it
        scene.publish(made.records, "dkim")
        ready = await scene.verify(NAME)
        assert ready.status is VERIFIED
        assert ready.verified_at is not None
        assert statuses(ready) == {
            "dkim": "found",
            "ownership": "found",
            "spf": "missing",
            "mail_from": "missing",
            "dmarc": "missing",
        }
        assert [each.split(":")[0] for each in ready.warnings] == ["SPF missing", "MAIL FROM missing", "DMARC missing"]
        assert "publish v=spf1 include:amazonses.com ~all at mail.acme.example" in ready.warnings[0]
        assert "publish MX 10 feedback-smtp.eu-west-1.amazonses.com at send.mail.acme.example" in ready.warnings[1]
        assert "publish v=DMARC1; p=none; at _dmarc.mail.acme.example" in ready.warnings[2]

        scene.publish(made.records)
        whole = await scene.verify(NAME)
        assert set(statuses(whole).values()) == {"found"}
        assert whole.warnings == ()
        assert all(each["said"] == "" for each in whole.checks)
        assert seconds_until_next(whole) == 24 * 3600
        trail = await scene.store.read(lambda db: audit.entries(db, target=f"domain {NAME}", tenant_id=None, limit=9))
        assert [each.action for each in trail][-1] == "domain.add"
        assert {each.actor for each in trail} == {ACTOR.name}

    play(url, story)


def test_a_customers_own_domain_needs_no_claim_and_warns_nobody(url: URL) -> None:
    async def story(scene: Scene) -> None:
        await scene.account("customer", "acme")
        made = await scene.add(NAME, mode=Mode.BYOC)
        assert made.is_claimed
        assert made.challenge is None
        assert scene.identity(NAME, "customer")
        assert made.warnings == ()
        scene.publish(made.records, "dkim")
        ready = await scene.verify(NAME)
        assert ready.status is VERIFIED
        assert ready.warnings == ()
        assert statuses(ready)["spf"] == "missing"

    play(url, story)


def test_an_identity_that_is_there_keeps_its_mail_from_domain(url: URL) -> None:
    async def story(scene: Scene) -> None:
        made = await scene.add(OWNED, "default", mail_from="bounce")
        assert scene.identity(OWNED).mail_from.domain == f"send.{OWNED}"
        assert made.status is VERIFIED  # the operator's own tenant has nothing to prove
        assert {each["name"] for each in made.records if each["purpose"] == "mail_from"} == {f"send.{OWNED}"}
        assert statuses(made)["mail_from"] == "found"

    play(url, story)


def test_a_mail_from_domain_by_choice(url: URL) -> None:
    async def story(scene: Scene) -> None:
        made = await scene.add(NAME, mail_from=None)
        assert scene.identity(NAME).mail_from is None
        assert "mail_from" not in statuses(made)
        other = await scene.add("other.example", mail_from="bounce")
        assert scene.identity("other.example").mail_from.domain == "bounce.other.example"
        assert statuses(other)["mail_from"] == "missing"

    play(url, story)


def test_records_that_are_there_wait_for_ses(url: URL) -> None:
    async def story(scene: Scene) -> None:
        made = await scene.add(NAME, is_vouched=True)
        scene.publish(made.records)
        scene.sandbox.state.lookups = None  # SES has not looked yet
        waiting = await scene.verify(NAME)
        assert waiting.status is PENDING
        assert "SES has not seen them yet (PENDING)" in check(waiting, "dkim")["said"]
        assert "SES has not seen them yet (PENDING)" in check(waiting, "mail_from")["said"]
        assert waiting.warnings == (f"MAIL FROM missing: {check(waiting, 'mail_from')['said']}",)

    play(url, story)


# -- hijacks ---------------------------------------------------------------------------------------------------------


def test_an_identity_that_the_operator_has_proves_nothing_about_a_tenant(url: URL) -> None:
    async def story(scene: Scene) -> None:
        await scene.tenant("mallory")
        theirs = await scene.add(OWNED, "mallory")
        assert statuses(theirs)["ownership"] == "found"
        assert statuses(theirs)["dkim"] == "found"
        assert theirs.status is PENDING
        for wrong in (
            theirs.challenge.replace("mallory", "acme"),  # type: ignore[union-attr]
            f"{theirs.challenge}0",
            "relay-tenant=mallory token=" + "0" * 32,
            "relay-tenant=mallory",
        ):
            scene.dns.zone[f"_relay-challenge.{OWNED}", "TXT"] = records(f'TXT "{wrong}"')
            still = await scene.verify(OWNED)
            assert (still.status, still.is_claimed) == (PENDING, False)
            assert check(still, "claim")["status"] == "wrong"
            assert check(still, "claim")["found"] == [wrong]
        scene.dns.zone[f"_relay-challenge.{OWNED}", "TXT"] = SERVFAIL
        assert not (await scene.verify(OWNED)).is_claimed
        with pytest.raises(Problem) as refused:
            await scene.add(OWNED, "acme")
        assert refused.value.kind is Kind.CONFLICT

        # Nobody proves it: the name is free again after seven days, and the next claim has another token.
        await scene.age(OWNED, timedelta(days=7))
        assert await scene.store.change(domains.expire_claims) == [OWNED]
        ours = await scene.add(OWNED, "acme")
        assert ours.challenge != theirs.challenge
        scene.dns.zone[f"_relay-challenge.{OWNED}", "TXT"] = records(f'TXT "{theirs.challenge}"')
        assert not (await scene.verify(OWNED)).is_claimed
        scene.publish(ours.records)
        assert (await scene.verify(OWNED)).status is VERIFIED

    play(url, story)


def test_a_mere_claim_changes_nothing_about_an_identity_in_use(url: URL) -> None:
    async def story(scene: Scene) -> None:
        vouched = await scene.add(NAME, is_vouched=True, mail_from=None)
        scene.publish(vouched.records)
        assert (await scene.verify(NAME)).status is VERIFIED
        await scene.store.change(lambda db: domains.remove(db, ACTOR, NAME))
        await scene.tenant("mallory")
        theirs = await scene.add(NAME, "mallory")
        assert scene.identity(NAME).mail_from is None
        assert statuses(theirs)["mail_from"] == "missing"
        scene.publish(theirs.records, "claim")
        await scene.verify(NAME)  # which finds the claim
        await scene.verify(NAME)
        assert scene.identity(NAME).mail_from.domain == f"send.{NAME}"

    play(url, story)


def test_a_verified_domain_is_nobody_elses_to_claim(url: URL) -> None:
    async def story(scene: Scene) -> None:
        ready = await verified(scene)
        scene.withdraw(ready.records, "claim")
        await scene.age(NAME, timedelta(days=30))
        assert await scene.store.change(domains.expire_claims) == []
        await scene.tenant("mallory")
        with pytest.raises(Problem, match="elsewhere in this installation"):
            await scene.add(NAME, "mallory")
        assert (await scene.verify(NAME)).status is VERIFIED  # seen once, the TXT record may go

    play(url, story)


def test_a_domain_that_failed_has_to_show_its_claim_again(url: URL) -> None:
    """It may have changed hands meanwhile, and the operator may have the identity for another reason."""

    async def story(scene: Scene) -> None:
        made = await scene.add(NAME)
        scene.publish(made.records)
        await scene.verify(NAME)
        scene.withdraw(made.records, "dkim", "claim")
        await scene.verify(NAME)
        assert (await second_look(scene)).status is FAILED
        scene.publish(made.records, "dkim")
        again = await scene.verify(NAME)
        assert again.status is FAILED
        assert (statuses(again)["claim"], statuses(again)["ownership"]) == ("missing", "found")
        assert again.records[0]["value"] == made.challenge
        scene.publish(made.records, "claim")
        assert (await scene.verify(NAME)).status is VERIFIED

    play(url, story)


# -- trouble ---------------------------------------------------------------------------------------------------------


def test_what_ses_refuses_does_not_undo_a_registration(url: URL) -> None:
    async def story(scene: Scene) -> None:
        text = "User: arn:aws:iam::1:user/r is not authorized to perform: ses:CreateEmailIdentity on resource: x"
        scene.fail("CreateEmailIdentity", "AccessDeniedException", text)
        made = await scene.add(NAME)
        assert made.status is PENDING
        assert check(made, "ownership")["status"] == "unknown"
        assert check(made, "ownership")["said"].startswith("Amazon SES cannot be asked through the account operator: ")
        assert "allow ses:CreateEmailIdentity in a policy of" in check(made, "ownership")["said"]
        assert [each["purpose"] for each in made.records] == ["claim", "mail_from", "mail_from", "spf", "dmarc"]
        assert seconds_until_next(made) == 300
        assert not any(each.startswith("MAIL FROM") for each in made.warnings)  # nobody knows
        again = await scene.verify(NAME)
        assert [each["purpose"] for each in again.records].count("dkim") == 3
        assert scene.identity(NAME).mail_from.domain == f"send.{NAME}"

    play(url, story)


def test_a_mail_from_domain_that_ses_does_not_take_stops_nothing(url: URL) -> None:
    async def story(scene: Scene) -> None:
        text = "User: u is not authorized to perform: ses:PutEmailIdentityMailFromAttributes"
        scene.fail("PutEmailIdentityMailFromAttributes", "AccessDeniedException", text, times=None)
        made = await scene.add(NAME, is_vouched=True)
        assert "allow ses:PutEmailIdentityMailFromAttributes" in check(made, "mail_from")["said"]
        scene.publish(made.records)
        assert (await scene.verify(NAME)).status is VERIFIED
        scene.mend()
        await scene.verify(NAME)
        assert statuses(await scene.verify(NAME))["mail_from"] == "found"

    play(url, story)


@pytest.mark.parametrize("code", ["TooManyRequestsException", "ServiceUnavailable", "AccessDeniedException"])
def test_while_ses_cannot_be_asked_nothing_changes(url: URL, code: str) -> None:
    async def story(scene: Scene) -> None:
        ready = await verified(scene)
        scene.fail("GetEmailIdentity", code, times=None)
        for _ in range(3):
            still = await second_look(scene)
            assert (still.status, still.misses) == (VERIFIED, 0)
            assert still.records == ready.records
            assert still.warnings == ready.warnings
            assert statuses(still)["ownership"] == "unknown"
            assert seconds_until_next(still) == 300

    play(url, story)


def test_while_the_dns_cannot_be_asked_nothing_changes(url: URL) -> None:
    async def story(scene: Scene) -> None:
        made = await scene.add(NAME)
        told = made.warnings
        scene.publish(made.records, "dkim")
        for trouble in (SERVFAIL, REFUSED):
            scene.dns.zone[f"_relay-challenge.{NAME}"] = trouble
            scene.dns.zone[NAME] = trouble
            scene.dns.zone[f"_dmarc.{NAME}"] = trouble
            still = await scene.verify(NAME)
            assert (still.status, still.is_claimed) == (PENDING, False)
            assert check(still, "claim")["said"] == "the DNS cannot be asked now"
            assert still.warnings[0] == told[0]
            assert seconds_until_next(still) == 300

    play(url, story)


def test_ses_in_doubt_keeps_a_verified_domain(url: URL) -> None:
    async def story(scene: Scene) -> None:
        ready = await verified(scene)
        for each in ready.records:
            if each["purpose"] == "dkim":
                scene.dns.zone[each["name"]] = SERVFAIL
                scene.withdraw([each], "dkim")
        for _ in range(3):
            still = await second_look(scene)
            assert scene.identity(NAME).status.value == "TEMPORARY_FAILURE"
            assert still.status is VERIFIED
            assert statuses(still)["dkim"] == "unknown"

    play(url, story)


def test_a_verified_domain_is_stopped_by_two_looks_a_minute_apart(url: URL, caplog: pytest.LogCaptureFixture) -> None:
    async def story(scene: Scene) -> None:
        ready = await verified(scene)
        scene.withdraw(ready.records, "dkim")
        first = await scene.verify(NAME)
        assert (first.status, first.misses, seconds_until_next(first)) == (VERIFIED, 1, 60)
        at_once = await scene.verify(NAME)
        assert (at_once.status, at_once.misses) == (VERIFIED, 1)
        failed = await second_look(scene)
        assert failed.status is FAILED
        assert "_domainkey.mail.acme.example" in missing(failed)[1]
        assert seconds_until_next(failed) == 30
        scene.publish(ready.records)
        assert (await scene.verify(NAME)).status is VERIFIED

    with caplog.at_level("INFO", "relay"):
        play(url, story)
    words = [each.getMessage() for each in caplog.records if each.getMessage().startswith("domain.")]
    assert words == ["domain.verified", "domain.failed", "domain.verified"]


def test_an_account_whose_secret_cannot_be_opened_says_so(url: URL) -> None:
    async def story(scene: Scene) -> None:
        await scene.store.change(lambda db: db.exec_driver_sql("UPDATE ses_accounts SET sealed_secret = zeroblob(60)"))
        made = await scene.add(NAME)
        assert (
            "was not sealed by this installation: give the account its secret again" in check(made, "ownership")["said"]
        )
        account = await scene.store.read(lambda db: accounts.find(db, "operator"))
        proof = await scene.desk.prove_account(account)
        assert not proof.is_ok
        assert proof.findings[0].remedy == "give the account its secret again"

    play(url, story)


# -- domains of the file ---------------------------------------------------------------------------------------------


def test_a_domain_of_the_file_is_only_looked_at(url: URL) -> None:
    async def story(scene: Scene) -> None:
        await scene.declare(NAME, mail_from="bounce")
        for _ in range(2):
            seen = await second_look(scene)
            assert seen.status is VERIFIED
            assert "the SES account operator has no identity for mail.acme.example" in check(seen, "ownership")["said"]
            assert "create-email-identity --email-identity mail.acme.example" in check(seen, "ownership")["said"]
        with pytest.raises(Exception, match="does not exist"):
            scene.identity(NAME)

        await scene.declare(OWNED, mail_from="bounce")
        seen = await scene.verify(OWNED)
        assert seen.status is VERIFIED
        assert scene.identity(OWNED).mail_from.domain == f"send.{OWNED}"

    play(url, story)


def test_a_domain_of_the_file_may_be_carried_by_its_parent(url: URL) -> None:
    async def story(scene: Scene) -> None:
        name = f"app.{OWNED}"
        await scene.declare(name)
        seen = await scene.verify(name)
        assert (statuses(seen)["ownership"], statuses(seen)["dkim"]) == ("found", "found")
        assert seen.status is VERIFIED
        assert {each["purpose"] for each in seen.records} == {"mail_from", "spf", "dmarc"}

    play(url, story)


def test_a_policy_that_only_sends_makes_no_noise_for_a_domain_of_the_file(
    url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(scene: Scene) -> None:
        await scene.declare(OWNED)
        scene.publish((await scene.verify(OWNED)).records)
        scene.fail("GetEmailIdentity", "AccessDeniedException", times=None)
        for _ in range(3):
            seen = await second_look(scene, OWNED)
            assert (seen.status, seen.warnings) == (VERIFIED, ())
            assert seconds_until_next(seen) == 24 * 3600

    with caplog.at_level("INFO", "relay"):
        play(url, story)
    assert [each.getMessage() for each in caplog.records if "domain" in each.getMessage()] == []


def test_a_domain_of_the_file_fails_when_ses_says_so_twice(url: URL) -> None:
    async def story(scene: Scene) -> None:
        await scene.add(NAME, "default")  # so that the identity is there, and waits for its records
        await scene.store.change(lambda db: domains.remove(db, ACTOR, NAME))
        await scene.declare(NAME)
        assert (await scene.verify(NAME)).status is VERIFIED
        assert (await second_look(scene)).status is FAILED

    play(url, story)


# -- two looks at once -----------------------------------------------------------------------------------------------


def test_of_two_looks_at_once_the_faster_one_stands(url: URL) -> None:
    async def story(scene: Scene) -> None:
        made = await scene.add(NAME, is_vouched=True)
        slow = await scene.desk.look_at(await scene.find(NAME))
        scene.publish(made.records)
        fast = await scene.verify(NAME)
        assert fast.status is VERIFIED
        late = await scene.desk.settle(ACTOR, made, slow)
        assert late == fast

    play(url, story)


def test_a_domain_that_went_meanwhile_is_gone(url: URL) -> None:
    async def story(scene: Scene) -> None:
        made = await scene.add(NAME)
        await scene.store.change(lambda db: domains.remove(db, ACTOR, NAME))
        with pytest.raises(Problem) as refused:
            await scene.desk.verify_domain(ACTOR, made)
        assert refused.value.kind is Kind.NOT_FOUND
        again = await scene.add(NAME)
        assert again.id != made.id
        with pytest.raises(Problem):
            await scene.desk.verify_domain(ACTOR, made)
        assert (await scene.find(NAME)).updated_at <= now_ms()

    play(url, story)


# -- SES accounts ----------------------------------------------------------------------------------------------------

ROLE = "arn:aws:iam::444455556666:role/relay"


@pytest.fixture
def sts() -> Iterator[Sts]:
    with running_sts() as server:
        yield server


async def customer_by_role(scene: Scene, sts: Sts) -> SesAccount:
    await scene.account("customer", "acme", credentials={"role_arn": ROLE})
    account = await scene.store.read(lambda db: accounts.find(db, "customer"))
    assert account.reach.external_id is not None
    sts.roles[ROLE] = account.reach.external_id
    return account


def test_a_customers_account_by_a_role(url: URL, sts: Sts) -> None:
    async def story(scene: Scene) -> None:
        account = await customer_by_role(scene, sts)
        made = await scene.add(NAME, mode=Mode.BYOC)
        assert scene.identity(NAME, "customer")
        assert {call["RoleSessionName"] for call in sts.calls} == {session_name(scene.store.sealer)}
        scene.publish(made.records)
        assert (await scene.verify(NAME)).status is VERIFIED

        proof = await scene.desk.prove_account(account)
        assert proof.is_ok, proof.findings
        assert (await scene.desk.account_usage(account)).rate == 1000.0

    play(url, story, sts_url=sts.url)


def test_a_role_that_may_not_be_assumed_is_a_check_of_the_domain(url: URL, sts: Sts) -> None:
    async def story(scene: Scene) -> None:
        account = await customer_by_role(scene, sts)
        sts.roles.clear()
        made = await scene.add(NAME, mode=Mode.BYOC)
        assert made.status is PENDING
        assert "check its trust policy and ExternalId" in check(made, "ownership")["said"]
        assert not (await scene.desk.prove_account(account)).is_ok
        with pytest.raises(SesProblem):
            await scene.desk.account_usage(account)

    play(url, story, sts_url=sts.url)


def test_the_policies_of_an_account(url: URL, sts: Sts) -> None:
    async def story(scene: Scene) -> None:
        account = await customer_by_role(scene, sts)
        await scene.add(NAME, mode=Mode.BYOC, configuration_set="main")
        found = await scene.desk.policies(account)
        relay = "arn:aws:iam::111122223333:user/relay"
        assert found.principal == relay
        assert found.trust is not None
        assert found.trust["Statement"][0]["Principal"] == {"AWS": relay}
        assert found.external_id == account.reach.external_id
        assert found.send["Statement"][0]["Resource"] == [
            f"arn:aws:ses:eu-west-1:444455556666:identity/{NAME}",
            "arn:aws:ses:eu-west-1:444455556666:configuration-set/main",
        ]
        operator = await scene.store.read(lambda db: accounts.find(db, "operator"))
        theirs = await scene.desk.policies(operator)
        assert (theirs.trust, theirs.principal, theirs.external_id) == (None, None, None)
        number = scene.sandbox.state.accounts["operator"].number  # it is STS to its own keys
        assert theirs.setup["Statement"][0]["Resource"] == f"arn:aws:ses:eu-west-1:{number}:identity/*"

        sts.refusal = (403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        unknown = await scene.desk.policies(account)
        assert (unknown.trust, unknown.principal) == (None, None)
        assert "InvalidClientTokenId" in unknown.said

    play(url, story, sts_url=sts.url)


def test_the_suppressions_of_an_account_are_mirrored(url: URL) -> None:
    async def story(scene: Scene) -> None:
        account = await scene.store.read(lambda db: accounts.find(db, "operator"))
        ses = scene.clients.open(access_of(account, scene.store.sealer))
        await suppression.put(ses, "gone@dest.example", "BOUNCE")
        told: list[int] = []
        mirrored = await scene.desk.mirror(ACTOR, account, is_pushing=False, progress=told.append)
        assert (mirrored.pulled, told) == (1, [1])

    play(url, story)


def test_a_command_works_beside_a_server(url: URL, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        file = tmp_path / "config.yaml"
        file.write_text('{"master_key": "' + b64encode(bytes(32)).decode() + '", "http": {"address": "127.0.0.1:0"}}')
        async with open_beside(config.load(file)) as store:
            desk = Desk(store, scene.clients, scene.resolver)
            made = await desk.add_domain(ACTOR, NAME, DomainFields(mode=Mode.SHARED, tenant="acme"), is_vouched=False)
            scene.publish(made.records)
            assert (await desk.verify_domain(ACTOR, made)).status is VERIFIED
            with pytest.raises(Problem):
                await desk.add_domain(ACTOR, NAME, DomainFields(mode=Mode.SHARED, tenant="acme"), is_vouched=False)
        assert (await scene.find(NAME)).status is VERIFIED

    play(url, story)
