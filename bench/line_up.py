"""The servers that are measured beside each other, in their order."""

from __future__ import annotations

from functools import partial

from bench.peers import aiosmtpd_null, haraka, limit, postfix, relay, starlette_bare
from bench.peers.target import Peer

RELAY = "relay"
ONLY_ACCEPTING = "relay, sending paced to a trickle"
POSTFIX = "postfix to smtp-sink"
DISCARD = "postfix, discard"
HOLD = "postfix, all mail held"
HARAKA = "haraka to smtp-sink"
LIMIT = "the limit"
SENDING_LIMIT = "the limit, sending"
AIOSMTPD = "aiosmtpd, null handler"
STARLETTE = "starlette, bare"

PEERS = (
    Peer(RELAY, relay.running, by_smtp_source=True),
    Peer(
        ONLY_ACCEPTING,
        partial(relay.running, rate=relay.TRICKLE, is_measured_to_ses=False),
        by_smtp_source=True,
    ),
    Peer(POSTFIX, postfix.relaying, postfix.missing, by_smtp_source=True),
    Peer(DISCARD, postfix.discarding, postfix.missing, by_smtp_source=True),
    Peer(HOLD, postfix.holding, postfix.missing, by_smtp_source=True),
    Peer(HARAKA, haraka.running, haraka.missing, by_smtp_source=True),
    Peer(LIMIT, limit.running, by_smtp_source=True),
    Peer(SENDING_LIMIT, limit.sending, by_smtp_source=True),
    Peer(AIOSMTPD, aiosmtpd_null.running),
    Peer(STARLETTE, starlette_bare.running),
)
