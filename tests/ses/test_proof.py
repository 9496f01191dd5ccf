"""What `account test` finds out: stories against stand-ins, and the tables of what is wrong and how to mend it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from relay.errors import Kind
from relay.sandbox.accounts import Account
from relay.sandbox.faults import read_script
from relay.sandbox.server import running as running_sandbox
from relay.ses.access import Access, Base, Chain, Credentials, Profile, Role, StaticKeys
from relay.ses.clients import Accounts
from relay.ses.errors import Answer, Scope, SesProblem, classify
from relay.ses.proof import Proof, prove, read_quota, remedy_of
from relay.ses.wire import Quota
from tests.ses.sts_server import ACCOUNT, Sts
from tests.ses.sts_server import running as running_sts

ROLE = Role("arn:aws:iam::444455556666:role/relay", "5e" * 24, "relay-1")
KEYS = StaticKeys("customer", "the-secret")


@pytest.fixture
def sts() -> Iterator[Sts]:
    with running_sts() as server:
        server.roles[ROLE.role_arn] = ROLE.external_id
        yield server


def proof_of(
    sts_url: str, credentials: Credentials, fault: str | None = None, *, url: str | None = None, production: bool = True
) -> Proof:
    async def story() -> Proof:
        account = Account("customer", (), rate=14.0, daily_quota=50_000.0, production=production)
        base = Base(StaticKeys("relay", "base-secret"), sts_endpoint_url=sts_url)
        async with running_sandbox([account]) as sandbox, Accounts(base) as accounts:
            if fault is not None:
                script = f'{{"operation": "GetAccount", "fault": {fault}}}'.encode()
                sandbox.state.faults.scripts.append(read_script(script, {"customer"}))
            return await prove(accounts, Access("acme", "eu-west-1", credentials, url or sandbox.url))

    return asyncio.run(story())


def faults(proof: Proof) -> dict[str, tuple[str, str]]:
    for finding in proof.findings:
        assert finding.is_ok is (finding.remedy == "")
    return {finding.check: (finding.said, finding.remedy) for finding in proof.findings if not finding.is_ok}


@pytest.mark.parametrize("credentials", [KEYS, ROLE])
def test_all_is_well(sts: Sts, credentials: Credentials) -> None:
    proof = proof_of(sts.url, credentials)
    assert proof.is_ok
    assert [(each.check, each.said) for each in proof.findings] == [
        ("identity", f"AWS account {ACCOUNT}, as arn:aws:iam::{ACCOUNT}:user/customer"),
        ("production", "production access in eu-west-1"),
        ("sending", "sending is enabled"),
        ("enforcement", "the account's standing is healthy"),
        ("quota", "14 recipients a second; 50,000 in 24 hours, 0 used"),
    ]
    assert proof.quota is not None
    assert proof.caller is not None


def test_the_ses_sandbox_is_named(sts: Sts) -> None:
    [(check, (_, remedy))] = faults(proof_of(sts.url, KEYS, production=False)).items()
    assert check == "production"
    assert "ask AWS for production access in eu-west-1" in remedy


def test_a_role_that_may_not_be_assumed_is_one_fault(sts: Sts) -> None:
    proof = proof_of(sts.url, replace(ROLE, external_id="other"))
    assert not proof.is_ok
    assert faults(proof) == {
        "identity": (
            f"AWS does not let arn:aws:iam::{ACCOUNT}:user/relay assume {ROLE.role_arn}",
            "check its trust policy and ExternalId",
        )
    }


def test_a_missing_permission_is_named_beside_the_identity(sts: Sts) -> None:
    text = "User: arn:aws:iam::1:user/r is not authorized to perform: ses:GetAccount"
    proof = proof_of(sts.url, KEYS, f'{{"error": "AccessDeniedException", "message": "{text}"}}')
    assert proof.caller is not None
    assert proof.quota is None
    [(said, remedy)] = faults(proof).values()
    assert text in said
    assert remedy == "allow ses:GetAccount in a policy of the user or role that the credentials are of"


def test_a_wrong_secret_shows_neither_secret_nor_key(sts: Sts) -> None:
    sts.refusal = (403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
    proof = proof_of(sts.url, KEYS)
    [(_, remedy)] = faults(proof).values()
    assert "the secret access key does not belong to the access key id" in remedy
    assert "the-secret" not in repr(proof)


def test_an_sts_out_of_reach_is_no_fault_while_ses_takes_the_keys() -> None:
    proof = proof_of("http://127.0.0.1:9", KEYS)
    assert proof.is_ok
    assert "AWS STS cannot be asked" in proof.findings[0].said


def test_nothing_in_reach() -> None:
    found = faults(proof_of("http://127.0.0.1:9", KEYS, url="http://127.0.0.1:9"))
    assert found.keys() == {"identity", "account"}
    assert "let this machine reach http://127.0.0.1:9 by HTTPS" in found["account"][1]


QUOTA = Quota(14.0, 50_000.0, 0.0, True, True)


# fmt: off
LIMITS = [
    (QUOTA,                                     "quota",       True,  "14 recipients a second; 50,000 in 24 hours, 0 used", ""),
    (replace(QUOTA, daily=None),                "quota",       True,  "no daily limit",         ""),
    (replace(QUOTA, sent_today=50_000.0),       "quota",       False, "50,000 used",            "higher quota"),
    (replace(QUOTA, is_production=False),       "production",  False, "SES sandbox in eu-west-1", "production access in eu-west-1"),
    (replace(QUOTA, is_sending_enabled=False),  "sending",     False, "switched off",           "Account dashboard"),
    (replace(QUOTA, enforcement="PROBATION"),   "enforcement", False, "under review",           "answer AWS's case"),
    (replace(QUOTA, enforcement="SHUTDOWN"),    "enforcement", False, "stopped",                "ask for a new review"),
    (replace(QUOTA, enforcement="NEW_WORD"),    "enforcement", True,  "NEW_WORD",               ""),
]
REMEDIES = [
    # code                          text                                                credentials        remedy
    ("SignatureDoesNotMatch",       "The request signature we calculated",              KEYS,              "the secret access key does not belong"),
    ("InvalidSignatureException",   "",                                                 Profile("acme"),   "mend profile acme"),
    ("SignatureDoesNotMatch",       "Signature expired: 1 is now earlier than 2",       KEYS,              "set this machine's clock"),
    ("InvalidSignatureException",   "Signature not yet current",                        KEYS,              "set this machine's clock"),
    ("UnrecognizedClientException", "The security token is invalid",                    KEYS,              "deleted or deactivated"),
    ("InvalidClientTokenId",        "",                                                 Chain(),           "the default chain"),
    ("ExpiredTokenException",       "",                                                 KEYS,              "temporary credentials have ended"),
    ("AccessDeniedException",       "not authorized to perform `ses:GetAccount' on",    ROLE,              "allow ses:GetAccount in a policy of arn:aws:iam::444455556666:role/relay"),
    ("AccessDeniedException",       "",                                                 KEYS,              "allow ses:GetAccount"),
    ("OptInRequired",               "",                                                 KEYS,              "sign the AWS account up for SES"),
    ("IncompleteSignature",         "",                                                 KEYS,              "mend the account's access key"),
    ("TooManyRequestsException",    "",                                                 KEYS,              "wait a minute"),
    ("AccountSuspendedException",   "",                                                 KEYS,              "Account dashboard"),
    ("InternalFailure",             "",                                                 KEYS,              "test again later"),
]
# fmt: on


@pytest.mark.parametrize(("quota", "check", "is_ok", "said", "remedy"), LIMITS)
def test_what_the_limits_mean(quota: Quota, check: str, is_ok: bool, said: str, remedy: str) -> None:
    findings = {finding.check: finding for finding in read_quota(quota, "eu-west-1")}
    assert findings[check].is_ok is is_ok
    assert said in findings[check].said
    assert (remedy in findings[check].remedy) if remedy else findings[check].remedy == ""
    assert [each for each in findings.values() if not each.is_ok] == ([] if is_ok else [findings[check]])


@pytest.mark.parametrize(("code", "text", "credentials", "remedy"), REMEDIES)
def test_how_to_mend_what_aws_answers(code: str, text: str, credentials: Credentials, remedy: str) -> None:
    access = Access("acme", "eu-west-1", credentials)
    assert remedy in remedy_of(classify(Answer(code, 403, text), ""), access)


def test_how_to_mend_silence() -> None:
    silence = SesProblem(Kind.SES_UNAVAILABLE, Scope.ACCOUNT, "no answer: ReadTimeoutError")
    plain = Access("acme", "eu-west-1", KEYS)
    assert "reach email.eu-west-1.amazonaws.com by HTTPS: check the firewall" in remedy_of(silence, plain)
    assert "reach sts.eu-west-1.amazonaws.com by HTTPS" in remedy_of(silence, plain, "sts")
    behind = replace(plain, proxy="http://user:word@proxy:1", ca_bundle="/etc/ca.pem")
    assert "check the egress proxy, and the ca_bundle" in remedy_of(silence, behind)
    assert "word" not in remedy_of(silence, behind)
