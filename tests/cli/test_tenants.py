"""`relay tenant` and `relay audit`, from the first command to suspension."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import configure, found, refused, relay

PLANS = {
    "small": {"monthly": 100},
    "large": {"monthly": 1_000_000, "needs": ["approval", "contact"]},
}
APPLICATION = ["--use-case", "receipts", "--company", "Acme [/] Ltd", "--website", "https://acme.example"]


def installation(folder: Path, database: str = "relay.db", **sections: object) -> Path:
    configure(folder, database=database, plans=PLANS, **sections)
    relay(folder, "migrate")
    return folder


def test_the_life_of_a_tenant(tmp_path: Path, database: str) -> None:
    folder = installation(tmp_path, database)
    assert [each["name"] for each in found(folder, "tenant", "list")] == ["default"]

    options = ["--plan", "small", "--tier", "gold", "--contact", "ops@Acme.example", "--mx-policy", "warn"]
    made = relay(folder, "tenant", "create", "acme", *options, "--retention-content", "30d", "--no-store-content")
    assert "relay domain add" in made
    shown = found(folder, "tenant", "show", "acme")
    wanted = {
        "plan": "small",
        "tier": "gold",
        "contact": "ops@acme.example",
        "mx_policy": "warn",
        "store_content": False,
    }
    assert shown | wanted == shown
    assert "already" in refused(folder, "tenant", "create", "acme")

    relay(folder, "tenant", "set", "acme", "--tier", "", "--retention-content", "", "--track-opens")
    changed = found(folder, "tenant", "show", "acme")
    same = {name: shown[name] for name in ("plan", "contact", "mx_policy", "store_content", "track_clicks")}
    assert changed | same | {"tier": None, "retention_content": None, "track_opens": True} == changed

    relay(folder, "tenant", "request-approval", "acme", *APPLICATION, "--expected-volume", "5000")
    assert [each["name"] for each in found(folder, "tenant", "list", "--approval", "requested")] == ["acme"]
    assert "Acme [/] Ltd" in relay(folder, "tenant", "show", "acme")
    assert "needs a tenant that is approved" in refused(folder, "tenant", "set", "acme", "--plan", "large")
    relay(folder, "tenant", "decline", "acme", "--note", "which receipts?")
    assert found(folder, "tenant", "show", "acme")["approval_note"] == "which receipts?"
    relay(folder, "tenant", "approve", "acme")
    relay(folder, "tenant", "set", "acme", "--plan", "large")
    assert "needs a tenant with a contact" in refused(folder, "tenant", "set", "acme", "--contact", "")
    assert found(folder, "tenant", "show", "acme")["contact"] == "ops@acme.example"

    told = relay(folder, "tenant", "suspend", "acme", "--reason", "bounces")
    assert "no `notices`" in told
    assert "relay tenant resume acme" in told
    suspended = found(folder, "tenant", "show", "acme")
    assert (suspended["status"], suspended["status_reason"]) == ("suspended", "bounces")
    assert suspended["status_by"].startswith("command ")
    assert "suspended already: bounces" in refused(folder, "tenant", "suspend", "acme", "--reason", "again")
    assert [each["name"] for each in found(folder, "tenant", "list", "--status", "suspended")] == ["acme"]
    assert suspended["standing"]["shared"]["level"] == "good"  # it was done by hand
    relay(folder, "tenant", "appeal", "acme", "--note", "the list was ours")
    assert found(folder, "tenant", "show", "acme")["appeal"]["note"] == "the list was ours"
    assert "the list was ours" in relay(folder, "tenant", "show", "acme")
    assert [bool(each["appealed_at"]) for each in found(folder, "tenant", "list")] == [True, False]
    assert "appealed already" in refused(folder, "tenant", "appeal", "acme", "--note", "hello?")
    relay(folder, "tenant", "resume", "acme", "--note", "mended")
    assert found(folder, "tenant", "show", "acme")["appeal"] is None
    assert "not suspended" in refused(folder, "tenant", "appeal", "acme", "--note", "why?")
    assert "not suspended" in refused(folder, "tenant", "resume", "acme")

    usage = found(folder, "tenant", "usage", "acme")
    assert (usage["recipients_this_month"], usage["left_this_month"], usage["days"]) == (0, 1_000_000, [])
    assert "sent nothing" in relay(folder, "tenant", "usage", "acme")

    told_by = found(folder, "audit", "--target", "tenant acme", "--limit", "3")
    assert [each["action"] for each in told_by] == ["tenant.resume", "tenant.appeal", "tenant.suspend"]
    assert told_by[2]["changes"]["status"] == ["active", "suspended"]
    assert {each["tenant"] for each in found(folder, "audit", "--tenant", "acme")} == {"acme"}
    assert "status: suspended -> active" in relay(folder, "audit")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "No Good"], ["NAME: does not have the form"]),
        (
            ["create", "b", "--contact", "x", "--retention-content", "soon"],
            ["--contact: x is not", "--retention-content:"],
        ),
        (["create", "b", "--plan", "huge"], ["there is no plan 'huge'; there is large, small"]),
        (["create", "b", "--plan", "large"], ["large needs a tenant that is approved", "with a contact address"]),
        (["show", "nobody"], ["there is no tenant 'nobody'"]),
        (["suspend", "default", "--reason", "two\nlines"], ["--reason: must be one line"]),
        (["decline", "default", "--note", "no"], ["always approved"]),
        (["set", "filed", "--tier", "gold"], ["declared in the configuration file: change it there"]),
        (["request-approval", "default", *APPLICATION, "--expected-volume", "0"], ["--expected-volume:"]),
    ],
)
def test_refusals_name_what_to_mend(filed: Path, arguments: list[str], words: list[str]) -> None:
    said = refused(filed, "tenant", *arguments)
    assert [word for word in words if word not in said] == []


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = installation(tmp_path_factory.mktemp("filed"), tenants={"filed": {"plan": "small"}})
    relay(folder, "reload")
    return folder


def test_a_refused_tenant_is_not_made(tmp_path: Path) -> None:
    installation(tmp_path)
    refused(tmp_path, "tenant", "create", "b", "--plan", "large", "--contact", "b@b.example")
    assert [each["name"] for each in found(tmp_path, "tenant", "list")] == ["default"]
    relay(tmp_path, "tenant", "create", "b", "--plan", "large", "--contact", "b@b.example", "--approved")


def test_people_who_are_told_are_named(tmp_path: Path) -> None:
    account = {"region": "eu-west-1", "credentials": {"profile": "none"}}
    notices = {"from": "relay@ops.example", "account": "main", "to": "ops@ops.example"}
    installation(tmp_path, ses_accounts={"main": account}, notices=notices)
    relay(tmp_path, "tenant", "create", "acme", "--contact", "it@acme.example")
    told = relay(tmp_path, "tenant", "suspend", "acme", "--reason", "bounces")
    assert "told by mail: it@acme.example, ops@ops.example" in told
