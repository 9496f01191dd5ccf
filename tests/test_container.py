"""Whether this is a container, and which gateways it has: read from copies of what Linux shows."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.container import gateways

IPV4 = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
ANY = "0" * 32
IPV6 = f"""fd000000000000000000000000000000 40 {ANY} 00 {ANY} 00000100 00000001 00000000 00000001     eth0
{ANY} 00 {ANY} 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
{ANY} 00 {ANY} 00 {ANY} ffffffff 00000001 00000000 00200200       lo
"""
BOTH = {"172.17.0.1", "fd00::1"}
ROUTES = {"proc/net/route": IPV4, "proc/net/ipv6_route": IPV6}
KUBERNETES = "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-4f2a.scope\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, set()),
        (ROUTES, set()),  # a machine of its own
        (ROUTES | {"proc/1/cgroup": "0::/init.scope\n"}, set()),
        (ROUTES | {".dockerenv": ""}, BOTH),
        (ROUTES | {"run/.containerenv": ""}, BOTH),
        (ROUTES | {"proc/1/cgroup": KUBERNETES}, BOTH),
        (ROUTES | {"proc/1/cgroup": "12:memory:/docker/4f2a\n"}, BOTH),
        ({".dockerenv": ""}, set()),  # without a network
        ({".dockerenv": "", "proc/net/route": ""}, set()),
        ({".dockerenv": "", "proc/net/route": IPV4}, {"172.17.0.1"}),
        ({".dockerenv": "", "proc/net/ipv6_route": IPV6}, {"fd00::1"}),
    ],
)
def test_gateways(tmp_path: Path, files: Mapping[str, str], expected: set[str]) -> None:
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert gateways(tmp_path) == {ip_address(each) for each in expected}
