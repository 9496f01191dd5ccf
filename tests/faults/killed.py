"""Runs a relay that is killed, by SIGKILL, at the moment a message is durable: nobody has been told by then.

In front of the command that starts one, as `limits` of tests.processes.Relay.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from relay import log
from relay.cli.main import main

noted = log.event


def event(name: str, **fields: Any) -> None:
    if name == "message.accepted":
        os.kill(os.getpid(), signal.SIGKILL)
    noted(name, **fields)


if __name__ == "__main__":
    log.event = event
    sys.argv = sys.argv[sys.argv.index("relay") :]
    main()
