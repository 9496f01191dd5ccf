"""config.example.yaml: it loads, it names every setting, and its values are the defaults it says they are."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from relay import config
from relay.config import (
    Bounces,
    Delivery,
    Dns,
    Limits,
    Log,
    Logins,
    Mx,
    Plan,
    Retention,
    Settings,
    Smtp,
    SmtpListener,
    Tls,
)
from relay.message import Mode, Stream

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
NOT_IN_A_FILE = {"folder", "master_key_file"}  # where the file is, and its key
WRITTEN_ELSEWHERE = {"aws.credentials"}  # only one of its sorts at a time; the accounts have them all
CHOSEN = {"account", "credentials"}  # among what the file has: no default can stand in the example


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The example, loaded where all its secrets are."""
    file = tmp_path / "config.yaml"
    shutil.copy(EXAMPLE, file)
    text = EXAMPLE.read_text("utf-8")
    for path in re.findall(r"^[^#\n]*\bfile:(\S+)", text, re.M):
        secret = tmp_path / path
        secret.parent.mkdir(exist_ok=True)
        secret.write_text(f"what {path} holds\n")
    return config.load(file, {name: f"the-{name}" for name in re.findall(r"\$\{([A-Z_]+)\}", text)})


def test_it_loads_with_secrets_from_files_and_from_the_environment(settings: Settings) -> None:
    main = settings.ses_accounts["main"].credentials
    assert main.access_key_id == "the-RELAY_MAIN_KEY_ID"
    assert main.secret_access_key is not None
    assert main.secret_access_key.get_secret_value() == "what secrets/main holds"
    assert settings.master_key is not None
    assert settings.master_key.get_secret_value() == "what master.key holds"
    acme = settings.domains["acme.example"]
    assert acme.mode is Mode.BYOC
    assert acme.sets == {Stream.TRANSACTIONAL: "the-SES_CONFIG_SET", Stream.SHARED: "the-SES_CONFIG_SET"} | {
        Stream.BROADCAST: "newsletters"
    }
    assert settings.keys[0].secret.get_secret_value() == "what secrets/shop holds"


def test_it_says_the_defaults(settings: Settings) -> None:
    assert (settings.dns, settings.mx, settings.delivery) == (Dns(), Mx(), Delivery())
    assert (settings.retention, settings.limits, settings.log) == (Retention(), Limits(), Log())
    assert settings.bounces == Bounces()
    assert (settings.logins, settings.plans["default"]) == (Logins(), Plan())
    assert settings.smtp.model_copy(update={"listeners": ()}) == Smtp()
    assert settings.smtp.listeners[0] == SmtpListener(address=settings.smtp.listeners[0].address)
    assert [each.tls for each in settings.smtp.listeners] == [Tls.STARTTLS, Tls.IMPLICIT, Tls.NONE]
    for name, field in config.Http.model_fields.items():
        assert field.is_required() or getattr(settings.http, name) == field.default, name
    first_account, first_domain = settings.ses_accounts["main"], settings.domains["example.com"]
    for section in (first_account, first_domain):
        for name, field in type(section).model_fields.items():
            if name not in CHOSEN:
                assert field.is_required() or getattr(section, name) == field.default, name
    assert settings.database == Settings.model_fields["database"].default


def test_it_names_every_setting() -> None:
    raw = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    assert list(missing(Settings, [raw])) == []


def test_a_setting_that_is_left_out_is_noticed() -> None:
    raw = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    del raw["dns"]["timeout"], raw["log"]
    for account in raw["ses_accounts"].values():
        account["credentials"].pop("profile", None)
    del raw["keys"][0]["expires_at"], raw["tenants"]["acme"]["settings"]["mx_policy"], raw["notices"]["from"]
    assert list(missing(Settings, [raw])) == [
        "ses_accounts.credentials.profile",
        "tenants.settings.mx_policy",
        "keys.expires_at",
        "notices.from",
        "dns.timeout",
        "log",
    ]


def missing(model: type[BaseModel], written: Sequence[Mapping[str, Any]], above: str = "") -> Iterator[str]:
    """The settings of `model` that stand in none of the places where it is written out."""
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        path = f"{above}{name}"
        values = [each[name] for each in written if name in each]
        if path in NOT_IN_A_FILE | WRITTEN_ELSEWHERE:
            continue
        if not values:
            yield path
            continue
        for section in sections(field.annotation):
            inner = [each for value in values for each in mappings(value, get_origin(field.annotation))]
            # A short form or a null stands beside others that are written out.
            yield from missing(section, [each for each in inner if isinstance(each, Mapping)], f"{path}.")


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type such as `dict[str, AccountFields]` or `Http | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from sections(argument)


def mappings(value: Any, container: Any) -> Iterable[Mapping[str, Any]]:
    """Where a section is written out in a value: itself, or each member of a list or of a mapping of names."""
    if container is dict:
        return list(value.values())
    return value if container is tuple else [value]
