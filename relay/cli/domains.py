"""`relay domain`: who may send as which domain, what to publish for it, and whether it was verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from relay.cli.desk import at_desk
from relay.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigFile,
    OfTenant,
    actor,
    every,
    moment,
    parsed,
    said,
    settings_of,
    show,
    show_one,
)
from relay.cli.publishing import publish, show_checks
from relay.declared import DEFAULT_TENANT, DomainChange, DomainFields, DomainStatus
from relay.errors import Kind, Problem
from relay.message import Mode, Stream, canonical_domain
from relay.settings import Settings
from relay.store.beside import with_database
from relay.store.directory import domains, tenants
from relay.store.directory.domains import SenderDomain

app = typer.Typer(help="Sender domains: who may send as which, and through which account.", no_args_is_help=True)

DomainName = Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain, for example example.com.")]
Subdomains = Annotated[
    bool | None,
    typer.Option("--include-subdomains/--no-include-subdomains", help="Its subdomains may be sent as, too."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--configuration-set",
        help="The SES configuration set: NAME for every stream, or STREAM=NAME; may be given several times.",
    ),
]
Streams = Annotated[
    list[Stream] | None,
    typer.Option("--stream", help="A stream it may send; may be given several times. Default: all."),
]
DefaultSender = Annotated[str | None, typer.Option(help="The From address of mail that names none.")]
PerCall = Annotated[
    int | None,
    typer.Option("--recipients-per-call", min=0, help="Of one message, at most; 0: as many as SES takes, 50."),
]
SesTenant = Annotated[str | None, typer.Option("--ses-tenant", help="The TenantName that SES is told.")]
OPTIONS = {
    "configuration_sets.*": "--configuration-set",
    "streams": "--stream",
    "streams.*": "--stream",
}


@app.command("list")
def list_domains(
    tenant: OfTenant = None,
    status: Annotated[DomainStatus | None, typer.Option(help="Only of this status.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Only of this mode.")] = None,
    account: Annotated[str | None, typer.Option(help="Only those that send through this SES account.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List sender domains by name."""
    found = with_database(
        settings_of(config),
        lambda db, _: every(
            lambda asked: domains.listed(
                db,
                asked,
                tenant_id=tenants.find(db, tenant).id if tenant else None,
                status=status,
                mode=mode,
                account=account,
            )
        ),
    )
    show(
        [
            {
                "name": each.name,
                "tenant": each.tenant,
                "mode": each.mode.value,
                "account": each.account,
                "status": _status(each),
                "warnings": len(each.warnings),
                "checked_at": moment(each.checked_at),
            }
            for each in found
        ],
        as_json=as_json,
        nothing="There are no such domains; `relay domain add DOMAIN --mode MODE` registers one.",
    )


@app.command("show")
def show_domain(name: DomainName, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show a sender domain: its account, what it may send, and what was seen of it last."""
    domain = find(settings_of(config), name)
    show_one(_fields(domain) | {"checks": list(domain.checks)} if as_json else _fields(domain), as_json=as_json)
    if not as_json:
        show_checks(domain)


def find(settings: Settings, name: str) -> SenderDomain:
    """Raises Problem(NOT_FOUND | BAD_ADDRESS)."""
    canonical = canonical_domain(name)
    return with_database(settings, lambda db, _: domains.find(db, canonical))


def _status(domain: SenderDomain) -> str:
    return "disabled" if domain.disabled_at is not None else domain.status.value


def _fields(domain: SenderDomain) -> dict[str, Any]:
    return {
        "name": domain.name,
        "tenant": domain.tenant,
        "mode": domain.mode.value,
        "account": domain.account,
        "status": _status(domain),
        "verified_at": moment(domain.verified_at),
        "claim_expires_at": moment(domain.claim_expires_at),
        "include_subdomains": domain.include_subdomains,
        "configuration_sets": {stream.value: name for stream, name in domain.configuration_sets.items()},
        "streams": [stream.value for stream in Stream if stream in domain.streams],
        "default_sender": domain.default_sender,
        "ses_tenant": domain.ses_tenant,
        "recipients_per_call": domain.recipients_per_call,
        "mail_from": domain.mail_from_domain,
        "warnings": list(domain.warnings),
        "declared_in_file": domain.is_declared,
        "created_at": moment(domain.created_at),
        "updated_at": moment(domain.updated_at),
        "checked_at": moment(domain.checked_at),
    }


# -- changing --------------------------------------------------------------------------------------------------------


@app.command()
def add(
    name: DomainName,
    mode: Annotated[Mode, typer.Option(help="byoc: the tenant's own SES account. shared: the operator's. It stays.")],
    tenant: Annotated[str, typer.Option(help="Whose it is.")] = DEFAULT_TENANT,
    account: Annotated[str | None, typer.Option(help="The SES account. Default: the only one that fits.")] = None,
    include_subdomains: Subdomains = None,
    configuration_set: Sets = None,
    stream: Streams = None,
    default_sender: DefaultSender = None,
    ses_tenant: SesTenant = None,
    recipients_per_call: PerCall = None,
    mail_from: Annotated[
        str, typer.Option(help="The label of its MAIL FROM domain: send for send.example.com; '' for that of SES.")
    ] = "send",
    vouched: Annotated[
        bool | None,
        typer.Option(
            "--vouched/--no-vouched",
            help="You know that it is the tenant's; else a shared one proves it by a TXT record. "
            "Default: vouched for the default tenant and for byoc.",
        ),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Register a sender domain, and print the DNS records to publish. It may send when it is verified."""
    settings, domain_name = settings_of(config), canonical_domain(name)
    given = _options(include_subdomains, configuration_set, stream, default_sender, ses_tenant, recipients_per_call)
    given |= said(mode=mode, tenant=tenant, account=account, mail_from=mail_from)
    fields = parsed(DomainFields, given, OPTIONS)
    is_vouched = tenant == DEFAULT_TENANT if vouched is None else vouched
    made = at_desk(settings, lambda desk: desk.add_domain(actor(), domain_name, fields, is_vouched=is_vouched))
    typer.echo(f"{made.name} is registered for the tenant {made.tenant}, through the SES account {made.account}")
    if made.claim_expires_at is not None:
        typer.echo(f"the claim lapses at {moment(made.claim_expires_at)} unless its TXT record is seen before")
    publish(made)


@app.command("set")
def change(
    name: DomainName,
    mode: Annotated[Mode | None, typer.Option(help="It cannot change: this says why.")] = None,
    account: Annotated[str | None, typer.Option(help="Another SES account; it has to be verified there, too.")] = None,
    include_subdomains: Subdomains = None,
    configuration_set: Sets = None,
    stream: Streams = None,
    default_sender: DefaultSender = None,
    ses_tenant: SesTenant = None,
    recipients_per_call: PerCall = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Change what is named of a sender domain; '' takes a value back. What is given several times is given all anew."""
    settings, domain_name = settings_of(config), canonical_domain(name)
    given = _options(include_subdomains, configuration_set, stream, default_sender, ses_tenant, recipients_per_call)
    fields = parsed(DomainChange, given | said(mode=mode, account=account), OPTIONS)
    changed = with_database(settings, lambda db, _: domains.change(db, actor(), domain_name, fields))
    typer.echo(f"{changed.name} is changed; a running server goes by it within 2 seconds")
    if changed.status is not DomainStatus.VERIFIED:
        typer.echo(f"next: `relay domain verify {changed.name}` registers it there and lists what to publish")


def _options(
    include_subdomains: bool | None,
    configuration_set: Sequence[str] | None,
    stream: Sequence[Stream] | None,
    default_sender: str | None,
    ses_tenant: str | None,
    recipients_per_call: int | None,
) -> dict[str, Any]:
    given = said(
        include_subdomains=include_subdomains,
        streams=stream,
        default_sender=default_sender,
        ses_tenant=ses_tenant,
        recipients_per_call="" if recipients_per_call == 0 else recipients_per_call,
    )
    if configuration_set:
        by_stream = [text.partition("=") for text in configuration_set if "=" in text]
        for_all = [text for text in configuration_set if "=" not in text]
        if len(for_all) > 1:
            raise Problem(Kind.BAD_REQUEST, "--configuration-set: one for every stream, not several")
        given["configuration_sets"] = {stream_name: name for stream_name, _, name in by_stream}
        given["configuration_set"] = for_all[0] or None if for_all else None
    return given


@app.command()
def remove(name: DomainName, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Forget a sender domain: its mail is refused. Its identity in SES, and its DNS records, stay."""
    domain_name = canonical_domain(name)
    with_database(settings_of(config), lambda db, _: domains.remove(db, actor(), domain_name))
    typer.echo(f"{domain_name} is removed; its identity in SES and its DNS records are yours to remove")
