"""`relay account`: the SES accounts that mail leaves through, and what each of them may and can."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from relay.cli.desk import at_desk
from relay.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigFile,
    OfTenant,
    SecretFile,
    actor,
    every,
    line,
    moment,
    parsed,
    said,
    secret_from,
    settings_of,
    show,
    show_one,
    slug,
)
from relay.cli.policies import paste
from relay.declared import AccountChange, AccountFields, Via
from relay.errors import Kind, Problem
from relay.settings import Settings
from relay.store import stops
from relay.store.beside import with_database
from relay.store.directory import accounts, tenants
from relay.store.directory.accounts import SesAccount, Sort
from relay.store.stops import Stopped

app = typer.Typer(help="SES accounts: the ways out, each one AWS account in one region.", no_args_is_help=True)

AccountName = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]
Profile = Annotated[str | None, typer.Option(help="A profile of the AWS configuration files.")]
AccessKey = Annotated[
    str | None, typer.Option(help="A static key's id. Its secret comes by --secret-file or is asked.")
]
RoleArn = Annotated[str | None, typer.Option(help="A role to assume. Relay makes the ExternalId.")]
EndpointUrl = Annotated[str | None, typer.Option(help="Another server than Amazon's, such as a sandbox.")]
Proxy = Annotated[str | None, typer.Option(help="The HTTP proxy on the way to AWS.")]
CaBundle = Annotated[Path | None, typer.Option(help="A PEM file with the authorities to trust instead.")]
Rate = Annotated[float | None, typer.Option(help="Recipients a second, until SES says its own. Default: 1.")]
Concurrency = Annotated[int | None, typer.Option(help="Calls in flight at once, at most. Default: 200.")]
EventsVia = Annotated[Via | None, typer.Option("--via", help="How its events come here. Default: sqs.")]
Queue = Annotated[str | None, typer.Option(help="The SQS queue of its events. Default: relay-events.")]
OPTIONS = {"credentials": "--profile, --access-key-id, --role-arn", "credentials.secret_access_key": "the secret"}


@app.command("list")
def list_accounts(
    tenant: OfTenant = None,
    region: Annotated[str | None, typer.Option(help="Only in this AWS region.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List SES accounts by name."""
    found = with_database(
        settings_of(config),
        lambda db, _: every(
            lambda asked: accounts.listed(
                db, asked, tenant_id=tenants.find(db, tenant).id if tenant else None, region=region
            )
        ),
    )
    show(
        [
            {
                "name": each.name,
                "region": each.region,
                "tenant": each.tenant,
                "credentials": each.reach.sort.value,
                "status": _status(each),
                "rate": each.rate,
                "events": each.feedback.via.value,
                "created_at": moment(each.created_at),
            }
            for each in found
        ],
        as_json=as_json,
        nothing="There are no such SES accounts; `relay account add NAME --region REGION` registers one.",
    )


@app.command("show")
def show_account(name: AccountName, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show an SES account: how it is reached, never its secret; and for a role, the policies to paste."""
    settings = settings_of(config)
    account = find(settings, name)
    stopped = with_database(settings, lambda db, _: stops.of_account(db, account.name))
    fields = {
        "name": account.name,
        "region": account.region,
        "tenant": account.tenant,
        "status": _status(account),
        "paused_at": moment(account.paused_at),
        "paused_by": account.paused_by,
        "paused_reason": account.paused_reason,
        "stopped": [_stop(each) for each in stopped],
        "credentials": account.reach.as_json(),
        "endpoint_url": account.endpoint_url,
        "proxy": account.proxy,
        "ca_bundle": account.ca_bundle,
        "rate": account.rate,
        "concurrency": account.concurrency,
        "feedback": account.feedback.model_dump(mode="json"),
        "declared_in_file": account.is_declared,
        "created_at": moment(account.created_at),
        "updated_at": moment(account.updated_at),
    }
    if account.reach.sort is not Sort.ROLE:
        show_one(fields, as_json=as_json)
        return
    found = at_desk(settings, lambda desk: desk.policies(account))
    if as_json:
        show_one(fields | {"policies": found.as_json()}, as_json=True)
        return
    show_one(fields, as_json=False)
    paste(account, found)


def _stop(stop: Stopped) -> dict[str, str | None]:
    """What SES keeps from being sent, and what to do about it. Without a domain, it is everything."""
    return {
        "domain": stop.domain or None,
        "reason": stop.kind,
        "since": moment(stop.since),
        "said": stop.said,
        "remedy": stop.remedy,
    }


def _status(account: SesAccount) -> str:
    if account.disabled_at is not None:
        return "disabled"
    return "paused" if account.paused_at is not None else "active"


def find(settings: Settings, name: str) -> SesAccount:
    """Raises Problem(NOT_FOUND)."""
    return with_database(settings, lambda db, _: accounts.find(db, name))


# -- changing --------------------------------------------------------------------------------------------------------


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, - and _; it stays.")],
    region: Annotated[str, typer.Option(help="Its AWS region, such as eu-west-1.")],
    tenant: Annotated[str | None, typer.Option(help="Whose it is. Default: the operator's own.")] = None,
    profile: Profile = None,
    access_key_id: AccessKey = None,
    secret_file: SecretFile = None,
    role_arn: RoleArn = None,
    endpoint_url: EndpointUrl = None,
    proxy: Proxy = None,
    ca_bundle: CaBundle = None,
    rate: Rate = None,
    concurrency: Concurrency = None,
    via: EventsVia = None,
    queue: Queue = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Register an SES account. Without credentials, those of AWS's default chain are used."""
    settings, new = settings_of(config), slug(name)
    given = said(region=region, tenant=tenant, endpoint_url=endpoint_url, rate=rate, concurrency=concurrency)
    given |= said(egress=said(proxy=proxy, ca_bundle=_absolute(ca_bundle)) or None)
    given |= said(credentials=_credentials(profile, access_key_id, secret_file, role_arn) or None)
    given |= said(feedback=said(via=via, queue=queue) or None)
    fields = parsed(AccountFields, given, OPTIONS)
    account = with_database(settings, lambda db, sealer: accounts.add(db, sealer, actor(), new, fields))
    typer.echo(f"the SES account {account.name} is registered")
    if account.reach.sort is Sort.ROLE:
        paste(account, at_desk(settings, lambda desk: desk.policies(account)))
    typer.echo(
        f"next: `relay account test {account.name}` proves it, then `relay domain add DOMAIN --mode ...`, and "
        f"`relay account setup {account.name}`, so that you hear what becomes of its mail"
    )


@app.command("set")
def change(
    name: AccountName,
    profile: Profile = None,
    access_key_id: AccessKey = None,
    secret_file: SecretFile = None,
    role_arn: RoleArn = None,
    default_chain: Annotated[bool, typer.Option("--default-chain", help="AWS's default chain from now on.")] = False,
    endpoint_url: EndpointUrl = None,
    proxy: Proxy = None,
    ca_bundle: CaBundle = None,
    rate: Rate = None,
    concurrency: Concurrency = None,
    via: EventsVia = None,
    queue: Queue = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Change what is named of an SES account; '' takes a value back. Its region and its owner stay."""
    settings = settings_of(config)
    account = find(settings, name)
    given = said(endpoint_url=endpoint_url, rate=rate, concurrency="" if concurrency == 0 else concurrency)
    if proxy is not None or ca_bundle is not None:
        egress = said(proxy=account.proxy, ca_bundle=account.ca_bundle)  # both are written together
        given["egress"] = egress | said(proxy=proxy, ca_bundle=_absolute(ca_bundle))
    given |= said(feedback=said(via=via, queue=queue) or None)
    credentials = _credentials(profile, access_key_id, secret_file, role_arn)
    if default_chain and credentials:
        raise Problem(Kind.BAD_REQUEST, "--default-chain: give it alone, or other credentials instead")
    if credentials or default_chain:
        given["credentials"] = credentials
    fields = parsed(AccountChange, given, OPTIONS)
    changed = with_database(settings, lambda db, sealer: accounts.change(db, sealer, actor(), name, fields))
    typer.echo(f"{name} is changed; a running server goes by it within 2 seconds")
    if role_arn is not None:
        paste(changed, at_desk(settings, lambda desk: desk.policies(changed)))
    typer.echo(f"next: `relay account test {name}` proves it")


@app.command()
def remove(name: AccountName, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Forget an SES account that no domain sends through. In AWS, nothing changes."""
    with_database(settings_of(config), lambda db, _: accounts.remove(db, actor(), name))
    typer.echo(f"{name} is removed; what AWS has for it, such as a role for Relay, is yours to remove there")


@app.command()
def pause(
    name: AccountName,
    reason: Annotated[str, typer.Option(help="Why; it shows wherever its mail is seen to wait.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Send nothing through an SES account until it is resumed. Mail waits, for `delivery.max_age` at most."""
    why = line(reason, "--reason")
    with_database(settings_of(config), lambda db, _: accounts.pause(db, actor(), name, why))
    typer.echo(f"{name} is paused: its mail waits, for as long as `delivery.max_age` allows")
    typer.echo(f"next: `relay account resume {name}`, when it may leave")


@app.command()
def resume(name: AccountName, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Send through an SES account again."""
    with_database(settings_of(config), lambda db, _: accounts.resume(db, actor(), name))
    typer.echo(f"{name} sends again")


def _credentials(
    profile: str | None, access_key_id: str | None, secret_file: Path | None, role_arn: str | None
) -> dict[str, Any]:
    given = said(profile=profile, access_key_id=access_key_id, role_arn=role_arn)
    if access_key_id is not None or secret_file is not None:
        given["secret_access_key"] = secret_from(secret_file, "secret access key")
    return given


def _absolute(path: Path | None) -> str | None:
    """A path that holds wherever the server runs; '' as it is."""
    return None if path is None else "" if path == Path() else str(path.absolute())
