"""Postfix as an instance of its own: private configuration, queue and data, loopback only. Needs root.

The machine's own Postfix, its configuration in /etc and its queue are not touched.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.peers.sink import sinking
from bench.peers.target import Target
from bench.processes import START_WITHIN, STOP_WITHIN, free_port, listens, output, started, wait_for

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
meta_directory = {meta}
myhostname = postfix.bench.example
myorigin = postfix.bench.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtp_dns_support_level = disabled
smtp_host_lookup = native
alias_maps =
alias_database =
local_recipient_maps =
smtputf8_enable = no
maillog_file = {folder}/log/maillog
maillog_file_prefixes = {folder}/log
in_flow_delay = 0
{transport}
"""
# smtpd and its like are not in a chroot: the private queue has none of the files that would need.
MASTER = """\
{port}    inet  n  -  n  -    -  smtpd
cleanup   unix  n  -  n  -    0  cleanup
qmgr      unix  n  -  n  300  1  qmgr
rewrite   unix  -  -  n  -    -  trivial-rewrite
bounce    unix  -  -  n  -    0  bounce
defer     unix  -  -  n  -    0  bounce
trace     unix  -  -  n  -    0  bounce
flush     unix  n  -  n  1000? 0  flush
proxymap  unix  -  -  n  -    -  proxymap
smtp      unix  -  -  n  -    -  smtp
showq     unix  n  -  n  -    -  showq
error     unix  -  -  n  -    -  error
retry     unix  -  -  n  -    -  error
discard   unix  -  -  n  -    -  discard
anvil     unix  -  -  n  -    1  anvil
scache    unix  -  -  n  -    1  scache
tlsmgr    unix  -  -  n  1000? 1  tlsmgr
postlog   unix-dgram n - n  -    1  postlogd
"""
DISCARD = "default_transport = discard:"
HOLD = "smtpd_recipient_restrictions = check_client_access static:HOLD"


def missing() -> str:
    """Why this machine cannot run it; empty if it can."""
    if shutil.which("postfix") is None or shutil.which("smtp-sink") is None:
        return "Postfix is not installed"
    return "" if os.geteuid() == 0 else "running an instance of Postfix needs root"


@contextlib.contextmanager
def relaying(folder: Path) -> Iterator[Target]:
    """Postfix that passes all mail on to an smtp-sink."""
    with (
        sinking(folder) as sink,
        instance(folder, f"relayhost = [127.0.0.1]:{sink.port}") as (smtp_port, queue),
    ):
        yield Target(smtp_port=smtp_port, far_end=sink, settle=lambda: _drain(queue))


@contextlib.contextmanager
def discarding(folder: Path) -> Iterator[Target]:
    """Postfix that queues mail durably, then throws it away: accepting, and the least delivery there is."""
    with instance(folder, DISCARD) as (smtp_port, queue):
        yield Target(smtp_port=smtp_port, settle=lambda: _drain(queue))


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[Target]:
    """Postfix that queues mail durably and leaves it there: nothing but accepting."""
    with instance(folder, HOLD) as (smtp_port, _):
        yield Target(smtp_port=smtp_port)


@contextlib.contextmanager
def instance(folder: Path, transport: str) -> Iterator[tuple[int, Path]]:
    """Its port and its queue. `transport`: lines of main.cf that say where mail goes."""
    port = free_port()
    _write(folder, port, transport)
    postfix = [shutil.which("postfix") or "", "-c", str(folder / "etc")]
    with started([*postfix, "start-fg"], folder / "postfix.log") as process:
        try:
            wait_for("Postfix listens", lambda: listens(port), START_WITHIN, process)
            yield port, folder / "queue"
        finally:
            _stop(postfix, folder / "queue", process)


def _write(folder: Path, port: int, transport: str) -> None:
    daemons, meta = output(["postconf", "-d", "-h", "daemon_directory", "meta_directory"], START_WITHIN).split()
    for name in ("etc", "queue", "data", "log"):
        (folder / name).mkdir()
    owner = pwd.getpwnam("postfix")
    os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
    main = MAIN.format(folder=folder, daemons=daemons, meta=meta, transport=transport)
    (folder / "etc" / "main.cf").write_text(main)
    (folder / "etc" / "master.cf").write_text(MASTER.format(port=f"127.0.0.1:{port}"))


def _stop(postfix: list[str], queue: Path, process: subprocess.Popen[bytes]) -> None:
    """Ask the master, which knows its children; what stays after that, or when we are interrupted, is killed."""
    try:
        if process.poll() is None:
            output([*postfix, "stop"], STOP_WITHIN)
            process.wait(STOP_WITHIN)
    finally:
        if process.poll() is None:
            # The master leads a group of its own. Its pid is good: our child is the shell that waits for it.
            with contextlib.suppress(OSError, ValueError):
                os.killpg(int((queue / "pid" / "master.pid").read_text("ascii")), signal.SIGKILL)


def _drain(queue: Path) -> None:
    """Wait until nothing is queued."""
    wait_for("Postfix's queue is empty", lambda: not _holds_mail(queue), 60.0)


def _holds_mail(queue: Path) -> bool:
    return any(
        files for name in ("maildrop", "incoming", "active", "deferred") for _, _, files in os.walk(queue / name)
    )
