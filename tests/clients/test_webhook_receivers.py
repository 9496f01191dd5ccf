"""Receivers that are not ours: those of docs/webhooks.md, one by the library of Standard Webhooks, one in JavaScript."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from relay.store.directory.installation import shown
from relay.store.journal import event_id
from relay.store.webhooks import rows
from relay.store.webhooks.log import PostState
from relay.telling import Dialect
from tests import databases
from tests.clients.programs import needs
from tests.contracts.happenings import RECIPES, by_standard
from tests.feedback.webhook_scene import ACTOR, Scene, ids, staged
from tests.processes import free_ports
from tests.support import wait_for

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"^```(python|js)\n(.*?)^```$", PAGE, re.M | re.S))


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def receiving(folder: Path, language: str, secret: str) -> Iterator[tuple[str, Path]]:
    """The URL of the page's receiver, and the file that it prints to."""
    command = [sys.executable] if language == "python" else [needs("node", "nodejs")]
    [port] = free_ports(1)
    program = folder / {"python": "receiver.py", "js": "receiver.mjs"}[language]
    program.write_text(BLOCKS[language].replace("8090", str(port)))
    printed = folder / "printed"
    with printed.open("wb") as out, (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [*command, program], env={"WEBHOOK_SECRET": secret}, stdout=out, stderr=errors, cwd=folder
        )
        try:
            wait_for(lambda: answers(port))
            yield f"http://127.0.0.1:{port}/hooks", printed
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("language", ["python", "js"])
def test_receivers_of_the_page(tmp_path: Path, language: str) -> None:
    async def story(scene: Scene) -> None:
        store = scene.store
        hook = await scene.hook(events=["*"])
        [secret] = hook.secrets(store.sealer, 0)
        with receiving(tmp_path, language, secret) as (url, printed):
            await scene.change(hook, url=url)
            await scene.happen("email.bounced", message_id=ids.next())
            await scene.happen("account.held")
            await scene.post_all()
            first, second = await scene.posts(hook, PostState.DELIVERED)
            assert [attempt.status for attempt in first.attempts] == [204]
            assert sorted(printed.read_text().splitlines()) == sorted(
                [f"{event_id(first.event_id)} email.bounced a@b.example", f"{event_id(second.event_id)} account.held"]
            )
            await store.change(lambda db: rows.rotate(db, store.sealer, ACTOR, shown(hook.id), timedelta(hours=1)))
            await scene.reload()
            await scene.happen("email.delivered", message_id=ids.next())
            await scene.post_all()
            assert len(await scene.posts(hook, PostState.DELIVERED)) == 3, "the old secret signs, too"
            await store.change(lambda db: rows.rotate(db, store.sealer, ACTOR, shown(hook.id), timedelta(0)))
            await scene.reload()
            await scene.happen("email.delivered", message_id=ids.next())
            await scene.post_all()
            [last] = await scene.posts(hook, PostState.WAITING)
            assert [attempt.status for attempt in last.attempts] == [401], "and signs no more"

    staged(databases.sqlite(tmp_path), story)


@pytest.mark.parametrize("dialect", Dialect, ids=[each.value for each in Dialect])
def test_what_is_signed_is_what_is_sent(tmp_path: Path, dialect: Dialect) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook(dialect=dialect.value)
        older = hook.secrets(scene.store.sealer, 0)[0]
        _, newer = await scene.store.change(
            lambda db: rows.rotate(db, scene.store.sealer, ACTOR, shown(hook.id), timedelta(hours=1))
        )
        await scene.reload()
        await scene.happen("email.bounced", message_id=ids.next(), diagnostic="Grüße \u2028 <\\/>")
        await scene.post_all()
        [got] = scene.receiver.got
        assert by_standard(got.headers, got.body, older)
        assert by_standard(got.headers, got.body, newer)
        assert RECIPES[dialect](got.headers, got.body, newer)
        assert int(got.headers["content-length"]) == len(got.body)
        assert got.headers["content-type"] == "application/json"
        assert not got.headers.keys() & {"transfer-encoding", "content-encoding"}

    staged(databases.sqlite(tmp_path), story)
