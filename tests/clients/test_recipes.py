"""The recipes of docs/clients.md for programs, each run against a relay: what the page says is what is run."""

from __future__ import annotations

import os
import re
import smtplib
import ssl
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest

from bench.peers import postfix
from tests.clients.letters import Letter, arrivals
from tests.clients.page import ROOT, SECTIONS, recipe
from tests.clients.programs import NODE, call, needs, needs_file, needs_node
from tests.clients.server import TO, Server, clear, listeners, made_key, relaying, shell

ALIASES = "root: ops@example.org\n"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    command, rule = recipe("What every client needs", "sh", "yaml")
    smtp = {"listeners": [*listeners(rule), {"address": "127.0.0.1:0", "tls": "implicit"}, {"address": "127.0.0.1:0"}]}
    with relaying(tmp_path_factory.mktemp("world"), smtp) as world:
        yield Server(world, made_key(world, command), 587)


@pytest.fixture(params=[587, 465])
def server(first: Server, request: pytest.FixtureRequest) -> Server:
    """At either port, with nothing sent."""
    clear(first.world)
    return replace(first, port=request.param)


def body(message: EmailMessage) -> str:
    """Some libraries end it with an empty line of theirs."""
    return message.get_content().strip()  # type: ignore[no-any-return]


def written(folder: Path, name: str, text: str) -> Path:
    """A file with a key in it: msmtp wants that nobody else can read it."""
    file = folder / name
    file.write_text(text)
    file.chmod(0o600)
    return file


# -- programs that hand on mail --------------------------------------------------------------------------------------


@pytest.fixture
def postfix_folder() -> Iterator[Path]:
    """Where a daemon that gives up root can go, unlike in pytest's own."""
    if why := postfix.missing():
        pytest.skip(f"{why} (package postfix)")
    with tempfile.TemporaryDirectory(prefix="relay-clients-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_postfix(server: Server, postfix_folder: Path, tmp_path: Path) -> None:
    settings, password = recipe("Postfix as a smarthost", "ini", "text")
    if not list(Path("/usr/lib").glob("*/sasl2/liblogin.so")):
        pytest.skip("Postfix cannot log in here (package libsasl2-modules)")
    files = {"/etc/postfix/relay_password": written(tmp_path, "relay_password", server.put_in(password))}
    letter = Letter("Hello-by-Postfix", "me@example.com", (TO,))
    with postfix.instance(
        postfix_folder, server.put_in(settings, files, at_465=("", "smtp_tls_wrappermode = yes\n"))
    ) as (port, _):
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            smtp.sendmail(letter.sender, letter.recipients, letter.raw)
        server.got(letter.subject, letter.sender)
    (found,) = arrivals(server.world, letter.subject)
    assert found["raw"].endswith(b"\r\n" + letter.raw), "after a Received field of ours, and one of Postfix"


def msmtprc(server: Server, folder: Path, more: str = "") -> Path:
    settings, _ = recipe("msmtp", "text", "sh")
    text = server.put_in(settings, at_465=("\naccount default", "tls_starttls off\n\naccount default"))
    return written(folder, "msmtprc", text.replace("\naccount default", f"{more}\naccount default"))


def test_msmtp(server: Server, tmp_path: Path) -> None:
    needs("msmtp")
    _, command = recipe("msmtp", "text", "sh")
    rc = msmtprc(server, tmp_path)
    shell(command.replace("msmtp -t", f"msmtp -C {rc} -t"), os.environ)
    assert body(server.got("Hello by msmtp", "noreply@example.com")) == "Hi Ana"


def cron(settings: Path, mailto: str, subject: str) -> None:
    """What Debian's cron runs after a job that printed something, and what it writes to it."""
    mail = (
        f"From: root (Cron Daemon)\nTo: {mailto}\nSubject: {subject}\nMIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\nX-Cron-Env: <SHELL=/bin/sh>\n\nGrüße\n"
    )
    options = ["-i", "-FCronDaemon", "-B8BITMIME", "-oem"]
    call(needs("msmtp"), "-C", str(settings), *options, mailto, given=mail.encode())


def test_cron(server: Server, tmp_path: Path) -> None:
    more, crontab = recipe("cron", "text", "sh")
    aliases = written(tmp_path, "aliases", ALIASES)
    settings = msmtprc(server, tmp_path, more.replace("/etc/aliases", str(aliases)))
    (to,) = re.findall(r"^MAILTO=(.+)$", crontab, re.M)
    for mailto, subject in ((to, "Cron <root@web1> one"), ("root", "Cron <root@web1> two")):
        cron(settings, mailto, subject)
        assert body(server.got(subject, "noreply@example.com", "ops@example.org")) == "Grüße"


def test_cron_under_a_sender_rule(first: Server, tmp_path: Path) -> None:
    clear(first.world)
    cron(msmtprc(first, tmp_path), "ops@example.org", "Cron <root@web1> three")
    first.got("Cron <root@web1> three", "noreply@example.com", "ops@example.org")


# -- PHP -------------------------------------------------------------------------------------------------------------


def php(server: Server, folder: Path, ini: str = "") -> list[str]:
    text = f"{ini}\nopenssl.cafile = {server.certificate}\ndisplay_errors = stderr\n"
    return [needs("php", "php-cli"), "-c", str(written(folder, "php.ini", text))]


def test_php_mail(server: Server, tmp_path: Path) -> None:
    needs("msmtp")
    ini, script = recipe("PHP: mail()", "ini", "php")
    rc = msmtprc(server, tmp_path)
    command = php(server, tmp_path, ini.replace("msmtp -t", f"msmtp -C {rc} -t"))
    call(*command, str(written(tmp_path, "hello.php", script)))
    assert body(server.got("Hello by mail()", "shop@example.com")) == "Hi Ana"


def test_php_mailer(server: Server, tmp_path: Path) -> None:
    (script,) = recipe("PHP: PHPMailer", "php")
    command = php(server, tmp_path)
    autoload = needs_file("/usr/share/php/libphp-phpmailer/autoload.php", "libphp-phpmailer")
    script = server.put_in(script, {"vendor/autoload.php": Path(autoload)}, at_465=("'tls'", "'ssl'"))
    call(*command, str(written(tmp_path, "hello.php", script)))
    assert body(server.got("Hello by PHPMailer", "shop@example.com")) == "Hi Ana"


def test_wordpress(server: Server, tmp_path: Path) -> None:
    plugin, config = recipe("WordPress", "php", "php")
    places = [Path("/usr/share/wordpress"), ROOT / "build" / "wordpress" / "usr" / "share" / "wordpress"]
    wordpress = next((place for place in places if place.exists()), None)
    if wordpress is None:
        pytest.skip("WordPress is not there (package wordpress; .ci/run unpacks it into build/)")
    constants = written(tmp_path, "wp-config.php", "<?php\n" + server.put_in(config))
    relay = written(tmp_path, "relay.php", server.put_in(plugin, at_465=("'tls'", "'ssl'")))
    loader = Path(__file__).with_name("wordpress.php")
    call(*php(server, tmp_path), str(loader), str(wordpress), str(constants), str(relay))
    assert body(server.got("Hello by WordPress", "blog@example.com")) == "Hi Ana"


# -- libraries -------------------------------------------------------------------------------------------------------


def test_django(server: Server, tmp_path: Path) -> None:
    settings, script = recipe("Django", "python", "python")
    written(tmp_path, "settings.py", server.put_in(settings, at_465=("EMAIL_USE_TLS", "EMAIL_USE_SSL")))
    environment = server.environment(DJANGO_SETTINGS_MODULE="settings")
    call(sys.executable, "-c", script, environment=environment, folder=tmp_path)
    assert body(server.got("Hello by Django", "shop@example.com")) == "Hi Ana"


@pytest.mark.npm
def test_nodemailer(server: Server, tmp_path: Path) -> None:
    node = needs_node("nodemailer")
    (script,) = recipe("nodemailer", "js")
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    call(
        node,
        str(written(tmp_path, "hello.mjs", server.put_in(script, at_465=("requireTLS: true", "secure: true")))),
        environment=server.environment(),
    )
    assert body(server.got("Hello by nodemailer", "shop@example.com")) == "Hi Ana"


def test_java(server: Server, tmp_path: Path) -> None:
    (program,) = recipe("Java", "java")
    jars = [
        needs_file(f"/usr/share/java/jakarta-{each}.jar", "libjakarta-mail-java") for each in ("mail", "activation")
    ]
    java, keytool = needs("java", "default-jdk-headless"), needs("keytool", "default-jdk-headless")
    needs("javac", "default-jdk-headless")  # whose module `java` needs to run a source file
    store = tmp_path / "trusted"
    call(
        keytool,
        "-importcert",
        "-noprompt",
        "-file",
        server.certificate,
        "-keystore",
        str(store),
        "-storepass",
        "any-one",
    )
    source = written(
        tmp_path, "Hello.java", server.put_in(program, at_465=("mail.smtp.starttls.enable", "mail.smtp.ssl.enable"))
    )
    call(
        java,
        f"-Djavax.net.ssl.trustStore={store}",
        "-Djavax.net.ssl.trustStorePassword=any-one",
        "-cp",
        os.pathsep.join(jars),
        str(source),
    )
    assert body(server.got("Hello by Java", "shop@example.com")) == "Hi Ana"


# -- senders that are not yours --------------------------------------------------------------------------------------


def test_the_sender_rule(first: Server) -> None:
    clear(first.world)
    with smtplib.SMTP("localhost", first.world.starttls) as smtp:
        smtp.starttls(context=ssl.create_default_context(cafile=first.certificate))
        smtp.login("test", first.key)
        smtp.sendmail(
            "root@web1.localdomain", TO, b"From: Root <root@web1.localdomain>\r\nSubject: a rule\r\n\r\nx\r\n"
        )
        message = first.got("a rule", "noreply@example.com")
        assert message["Reply-To"] == "Root <root@web1.localdomain>"
        smtp.sendmail("me@example.com", TO, b"Subject: no From\r\n\r\nx\r\n")
        first.got("no From", "noreply@example.com")
        with pytest.raises(smtplib.SMTPDataError, match=r"foreign\.example"):
            smtp.sendmail("me@example.com", TO, b"From: me@foreign.example\r\nSubject: no\r\n\r\nx\r\n")


# -- the page --------------------------------------------------------------------------------------------------------


def test_every_block_of_the_page_is_run() -> None:
    tests = "".join(file.read_text("utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    run = set(re.findall(r'recipe\("([^"]+)"', tests))
    assert run == {title for title, blocks in SECTIONS.items() if blocks}
