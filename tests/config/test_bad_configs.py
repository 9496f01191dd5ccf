"""Bad configuration files, each beside exactly what is said about it; and that nothing said holds a secret.

`tests/configs/bad/NAME.yaml` is the file, `NAME.txt` its faults; `{folder}` in them stands for the folder of the file.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from relay import config
from relay.config import ConfigError, MxPolicy, Settings

BAD = Path(__file__).parents[1] / "configs" / "bad"
FILES = sorted(BAD.glob("*.yaml"))
SECRET = "s3cret-Zx81"
GOOD = """
smtp: {listeners: [{address: "127.0.0.1:2525"}]}
ses_accounts: {acme: {region: eu-west-1}}
domains: {acme.example: {mode: byoc, account: acme}}
"""


def expected(file: Path) -> str:
    faults = file.with_suffix(".txt").read_text("utf-8").rstrip("\n").replace("{folder}", str(file.parent))
    return f"{file} cannot be used:\n{faults}"


def load(folder: Path, text: str, **environment: str) -> Settings:
    file = folder / "config.yaml"
    file.write_text(text)
    return config.load(file, environment)


def faults(folder: Path, text: str, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **environment)
    return str(caught.value)


def relay_check(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relay", "check", "-c", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# -- what is said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_bad_file(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(file, {})
    assert str(caught.value) == expected(file)


def test_every_message_has_its_file() -> None:
    assert {file.stem for file in BAD.glob("*.txt")} == {file.stem for file in FILES}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "none.yaml", {})
    assert [each.message for each in caught.value.faults] == ["cannot be read: No such file or directory"]


def test_check_prints_every_fault_and_exits_78() -> None:
    file = BAD / "several_faults.yaml"
    ended = relay_check(file)
    assert (ended.returncode, ended.stdout, ended.stderr) == (78, "", expected(file) + "\n")


def test_check_of_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    ended = relay_check(tmp_path / "config.yaml")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert (
        ended.stderr == f"{tmp_path / 'config.yaml'} cannot be used:\nthere is no such file; `relay init` writes one\n"
    )


def test_check_of_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(GOOD)
    ended = relay_check(file)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{file} is fine: 1 SES accounts, 1 domains, 0 tenants, 0 keys, 0 plans\n"


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_secrets_never_show_in_settings(tmp_path: Path) -> None:
    (tmp_path / "master").write_text(f"master-{SECRET}")
    settings = load(
        tmp_path,
        """
        database: postgresql://relay:${SECRET}@db.example/relay
        master_key: file:master
        http: {address: "127.0.0.1:8080"}
        ses_accounts:
          acme: {region: eu-west-1, credentials: {access_key_id: AKIA, secret_access_key: "${SECRET}"}}
        domains: {acme.example: {mode: byoc, account: acme}}
        """,
        SECRET=SECRET,
    )
    secret = settings.ses_accounts["acme"].credentials.secret_access_key
    assert secret is not None
    assert secret.get_secret_value() == SECRET
    assert SECRET in settings.database
    for shown in (repr(settings), str(settings), f"{settings}", repr(settings.ses_accounts), repr(secret)):
        assert SECRET not in shown


@pytest.mark.parametrize(
    "text",
    [
        "database: [postgresql://relay:${SECRET}@db/relay]",
        "database: {url: '${SECRET}'}",
        "master_key: ['${SECRET}']",
        "master_key: {is: '${SECRET}'}",
        "ses_accounts: {acme: {region: eu-west-1, credentials: {secret_access_key: '${SECRET}'}}}",
        "ses_accounts: {acme: {region: eu-west-1, credentials: {secret_access_key: {a: '${SECRET}'}}}}",
        "ses_accounts: {acme: {region: eu-west-1, credentials: {secret_key: '${SECRET}'}}}",
        "ses_accounts: {acme: {region: eu-west-1, credentials: '${SECRET}'}}",
        "ses_accounts: {acme: {region: '${SECRET}'}}",
        "password: ${SECRET}",
    ],
)
def test_faults_never_show_a_secret(tmp_path: Path, text: str) -> None:
    said = faults(tmp_path, text, SECRET=SECRET)
    assert said
    assert SECRET not in said


def test_a_secret_beside_a_fault_does_not_show(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    said = faults(tmp_path, f"{GOOD}\nmaster_key: file:secret\nlog: {{level: loud}}\n")
    assert said.splitlines()[1:] == ["log.level: Input should be 'debug', 'info', 'warning' or 'error'"]


# -- words and paths -------------------------------------------------------------------------------------------------


def test_off_is_a_word(tmp_path: Path) -> None:
    assert load(tmp_path, f"{GOOD}\nmx: {{policy: off}}\n").mx.policy is MxPolicy.OFF


def test_a_variable_may_be_a_part_of_a_text(tmp_path: Path) -> None:
    assert load(tmp_path, f"{GOOD}\nhostname: mx.${{NAME}}.example\n", NAME="acme").hostname == "mx.acme.example"


def test_what_a_variable_holds_is_text_and_not_expanded_again(tmp_path: Path) -> None:
    assert load(tmp_path, f"{GOOD}\ndatabase: ${{A}}\n", A="${B}", B="no").database == "${B}"


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "key").write_text("from the file's folder\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc" / "config.yaml").write_text(
        f"{GOOD}\nmaster_key: file:key\ncertificate: {{certificate: tls/a.crt, key: /run/a.key}}\n"
    )
    settings = config.load(Path("etc/config.yaml"), {})
    assert settings.folder == tmp_path / "etc"
    assert settings.master_key is not None
    assert settings.master_key.get_secret_value() == "from the file's folder"
    assert settings.certificate is not None
    assert settings.certificate.certificate == tmp_path / "etc" / "tls" / "a.crt"
    assert settings.certificate.key == Path("/run/a.key")


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD)
    assert (settings.database, settings.http, settings.certificate) == ("relay.db", None, None)
    assert settings.delivery.max_age == timedelta(hours=24)
    assert settings.mx.policy is MxPolicy.ENFORCE


def test_domains_are_equal_whatever_their_spelling(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD.replace("acme.example", "Bücher.EXAMPLE"))
    assert list(settings.domains) == ["xn--bcher-kva.example"]


@pytest.mark.parametrize(
    ("written", "octets"), [("65536", 65536), ("64KB", 65536), ("1 MB", 1 << 20), ("40MB", 40 << 20)]
)
def test_sizes(tmp_path: Path, written: str, octets: int) -> None:
    assert load(tmp_path, f"{GOOD}\nlimits: {{max_message_size: {written}}}\n").limits.max_message_size == octets


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("0", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("10 m", timedelta(minutes=10)),
        ("24h", timedelta(hours=24)),
        ("90d", timedelta(days=90)),
    ],
)
def test_spans(tmp_path: Path, written: str, span: timedelta) -> None:
    assert load(tmp_path, f"{GOOD}\nretention: {{content: {written}}}\n").retention.content == span
