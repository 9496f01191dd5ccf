"""`relay account setup`: makes what an account's events need at AWS, and mends it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.accounts import AccountName, find
from relay.cli.desk import at_desk
from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, actor, settings_of
from relay.cli.policies import paste
from relay.ses.errors import SesProblem
from relay.store.directory.accounts import SesAccount

if TYPE_CHECKING:
    from relay.management.desk import Desk, Policies
    from relay.management.setting_up import Setup, Step


def setup(
    name: AccountName,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan, and the policies to paste.")] = False,
    push: Annotated[
        str | None, typer.Option(metavar="URL", help="Let SNS post events to this public https:// URL of Relay.")
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="STREAM=opens,clicks", help="Track all mail of a stream; STREAM=none ends that."),
    ] = None,
    stop_feedback_mail: Annotated[
        bool, typer.Option("--stop-feedback-mail", help="Let SES mail bounces and complaints to nobody any more.")
    ] = False,
    with_policies: Annotated[bool, typer.Option("--policies", help="Print the policies to paste as well.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Make what an account's events need at AWS, or mend it: configuration sets, topic, queue, and what ties them.

    A second time, it changes nothing. Takes up to half a minute. Exit code 69: something is left to mend.
    """
    settings = settings_of(config)
    account = find(settings, name)
    shown = _Shown(account, is_dry=dry_run, as_json=as_json, with_policies=with_policies or dry_run)

    async def work(desk: Desk) -> tuple[Setup, Policies]:
        # Here, because it loads the AWS libraries.
        from relay.management.setting_up import Asked, tracked

        asked = Asked(push, tracked(track or []), stop_feedback_mail)
        found = await desk.set_up(actor(), account, asked, is_dry=dry_run, told=shown.step)
        return found, await desk.policies(account)

    try:
        found, policies = at_desk(settings, work)
    except SesProblem as problem:
        shown.trouble(problem)
        raise typer.Exit(os.EX_UNAVAILABLE) from None
    shown.whole(found, policies)
    if not dry_run and not found.is_whole:
        raise typer.Exit(os.EX_UNAVAILABLE)


class _Shown:
    """What is printed of it, as it goes on and in the end."""

    def __init__(self, account: SesAccount, *, is_dry: bool, as_json: bool, with_policies: bool) -> None:
        self._account = account
        self._is_dry = is_dry
        self._as_json = as_json
        self._with_policies = with_policies

    def step(self, step: Step) -> None:
        if not self._as_json:
            typer.echo(f"{'done':>8}  {step.said}")

    def trouble(self, problem: SesProblem) -> None:
        """AWS could not be asked at all."""
        if self._as_json:
            typer.echo(json.dumps({"name": self._account.name, "ok": False, "said": problem.detail}, indent=2))
        else:
            typer.echo(problem.detail, err=True)
            typer.echo(f"`relay account test {self._account.name}` says what lacks", err=True)

    def whole(self, found: Setup, policies: Policies) -> None:
        if self._as_json:
            more = {"policies": policies.as_json()} if self._with_policies else {}
            typer.echo(json.dumps(found.as_json() | more, indent=2))
            return
        if self._is_dry:
            for step in found.steps:
                typer.echo(f"{'to do':>8}  {step.said} ({step.doing.action})")
        self._refusal(found)
        for each in found.left:
            typer.echo(f"{each.state.value.replace('_', ' '):>8}  {each.check}: {each.said}")
            typer.echo(f"{'':>8}  to mend it: {each.remedy}")
        if found.lines:
            typer.echo(f"\nlines for the configuration file:\n\n{_yaml(found.lines)}")
        self._end(found)
        denied = found.refused is not None or any(each.state.value == "unseen" for each in found.left)
        if self._with_policies:
            typer.echo("")
            paste(self._account, policies)
        elif denied:
            typer.echo(f"\nthe policy that setting up needs:\n\n{json.dumps(policies.setup, indent=2)}")

    def _refusal(self, found: Setup) -> None:
        refused = found.refused
        if refused is None:
            return
        typer.echo(f"{'REFUSED':>8}  {refused.step.said}: {refused.said} ({refused.action})")
        if refused.remedy:
            typer.echo(f"{'':>8}  to mend it: {refused.remedy}")
        for step in found.steps[found.done + 1 :]:
            typer.echo(f"{'not done':>8}  {step.said}")

    def _end(self, found: Setup) -> None:
        name = self._account.name
        where = f"account {name} in {found.region}"
        if not found.steps and not found.left:
            typer.echo(f"{where} is set up: there is nothing to do")
        elif self._is_dry:
            typer.echo(f"{where}: {_changes(len(found.steps))} to make; `relay account setup {name}` does")
        elif found.is_whole:
            typer.echo(f"{where} is set up: {_changes(found.done)}")
            if any(step.doing.action == "domain.change" for step in found.steps):
                # SES asks for leave to use a set as it does for the identity: what was pasted before lacks these.
                typer.echo(
                    f"see that its sending policy allows these configuration sets: `relay account policies {name}`"
                )
        else:
            typer.echo(f"{where} is not set up yet: {found.done} of {_changes(len(found.steps))} made")


def _changes(count: int) -> str:
    return "1 change" if count == 1 else f"{count} changes"


def _yaml(lines: Mapping[str, Any], depth: int = 0) -> str:
    """Mappings of names and texts; texts and lists in the form that JSON and YAML share."""
    found = []
    for name, value in lines.items():
        if isinstance(value, Mapping):
            found.append(f"{'  ' * depth}{name}:\n{_yaml(value, depth + 1)}")
        else:
            found.append(f"{'  ' * depth}{name}: {value if isinstance(value, str) else json.dumps(value)}")
    return "\n".join(found)
