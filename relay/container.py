"""Tells whether this process runs in a container, and behind which gateway: the outside may seem to come from there."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

Gateways = frozenset[IPv4Address | IPv6Address]

MARKS = (".dockerenv", "run/.containerenv")  # of Docker and of Podman
RUNTIMES = ("docker", "containerd", "kubepods", "libpod", "lxc")  # in the names of control groups
IS_GATEWAY = 0x2  # RTF_GATEWAY of linux/route.h


def gateways(root: Path = Path("/")) -> Gateways:
    """The default gateways of a container; nothing where this is none. `root`: of the file system.

    A published port may be served by a proxy of the container engine: then whoever comes from outside seems to be the
    gateway.
    """
    if not _is_container(root):
        return frozenset()
    return frozenset([*_ipv4(root / "proc/net/route"), *_ipv6(root / "proc/net/ipv6_route")])


def _is_container(root: Path) -> bool:
    if any((root / mark).exists() for mark in MARKS):
        return True
    return any(runtime in line for line in _lines(root / "proc/1/cgroup") for runtime in RUNTIMES)


def _ipv4(file: Path) -> list[IPv4Address]:
    """Columns: interface, destination, gateway, flags (hexadecimal, in the octet order of the machine)."""
    routes = [line.split() for line in _lines(file)[1:]]
    return [
        IPv4Address(socket.htonl(int(gateway, 16)))
        for _, destination, gateway, flags, *_ in routes
        if int(destination, 16) == 0 and int(flags, 16) & IS_GATEWAY
    ]


def _ipv6(file: Path) -> list[IPv6Address]:
    """Columns: destination, its prefix length, source, its prefix length, next hop, metric, two counts, flags."""
    routes = [line.split() for line in _lines(file)]
    return [
        IPv6Address(bytes.fromhex(columns[4]))
        for columns in routes
        if columns[1] == "00" and int(columns[0], 16) == 0 and int(columns[8], 16) & IS_GATEWAY
    ]


def _lines(file: Path) -> list[str]:
    """Of a file that need not be there."""
    try:
        return file.read_text("ascii", "replace").splitlines()
    except OSError:
        return []
