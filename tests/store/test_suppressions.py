"""The suppression lists: what is on them, how they are asked, changed, listed, read from CSV and written to it."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL

from relay.errors import Fault, Kind, Problem
from relay.sealing import MasterKey
from relay.store import database, importing, suppressions
from relay.store.clock import now_ms
from relay.store.directory import audit, installation
from relay.store.directory.audit import Actor
from relay.store.directory.paging import Asked
from relay.store.importing import BATCH, MAX_LINE, Imported, batches, csv_of, moment, read_csv
from relay.store.suppressions import (
    EVERYONE,
    Batch,
    Entry,
    HotSuppressions,
    Suppression,
    count,
    find,
    import_rows,
    listed,
    suppress,
    suppressed,
    unsuppress,
)

Answer = TypeVar("Answer")
ACTOR = Actor("test", "request-1")
TENANT, OTHER = 7, 8


class Database:
    """A migrated database; each `run` is a transaction."""

    def __init__(self, url: URL) -> None:
        self.url = url
        if database.is_sqlite(url):
            database.migrate_sqlite(url)
        else:
            asyncio.run(database.migrate_postgresql(url))
        self.run(lambda db: installation.establish(db, MasterKey(bytes(32))))

    def run(self, work: Callable[[Connection], Answer]) -> Answer:
        if database.is_sqlite(self.url):
            engine = database.writing_engine(self.url)
            try:
                with engine.begin() as db:
                    return work(db)
            finally:
                engine.dispose()
        return asyncio.run(self._over_asyncpg(work))

    async def _over_asyncpg(self, work: Callable[[Connection], Answer]) -> Answer:
        engine = database.listing_engine(self.url)
        try:
            async with engine.begin() as db:
                return await db.run_sync(work)
        finally:
            await engine.dispose()


@pytest.fixture
def store(url: URL) -> Database:
    return Database(url)


def addresses(found: Any) -> list[str]:
    return [each.address for each in found.items]


def put(db: Connection, tenant_id: int, *names: str, **fields: Any) -> None:
    entries = [Entry.parse(name, **fields) for name in names]
    import_rows(db, [Batch(ACTOR, tenant_id, entries)])


# -- one address -----------------------------------------------------------------------------------------------------


def test_what_is_listed_stays_as_it_is(store: Database) -> None:
    def story(db: Connection) -> None:
        assert suppress(db, ACTOR, TENANT, Entry.parse("Ana@DEST.example", "bounce", note="hard", created_at=5))
        assert not suppress(db, ACTOR, TENANT, Entry.parse("ana@dest.example", "complaint"))
        assert find(db, TENANT, "ANA@dest.example") == Suppression(
            TENANT, "ana@dest.example", "bounce", "manual", "hard", 5, None
        )
        with pytest.raises(Problem) as caught:
            find(db, OTHER, "ana@dest.example")
        assert caught.value.kind is Kind.NOT_FOUND

    store.run(story)


def test_what_has_expired_is_gone_and_is_replaced(store: Database) -> None:
    def story(db: Connection) -> None:
        past = Entry.parse("ana@dest.example", "soft", note="n", expires_at=now_ms() - 1)
        assert suppress(db, ACTOR, TENANT, past)
        assert suppressed(db, TENANT, ["ana@dest.example"]) == {}
        assert addresses(listed(db, Asked(), tenant_id=TENANT)) == []
        with pytest.raises(Problem):
            find(db, TENANT, "ana@dest.example")
        assert not unsuppress(db, ACTOR, TENANT, "ana@dest.example")
        assert suppress(db, ACTOR, TENANT, past)
        later = now_ms() + 60_000
        assert suppress(db, ACTOR, TENANT, Entry.parse("ana@dest.example", "hard", expires_at=later))
        found = find(db, TENANT, "ana@dest.example")
        assert (found.reason, found.note, found.expires_at) == ("hard", None, later)

    store.run(story)


def test_an_address_is_taken_off_one_list_alone(store: Database) -> None:
    def story(db: Connection) -> None:
        for tenant_id in (EVERYONE, TENANT, OTHER):
            assert suppress(db, ACTOR, tenant_id, Entry.parse("ana@dest.example"))
        assert unsuppress(db, ACTOR, TENANT, "ANA@Dest.example")
        assert not unsuppress(db, ACTOR, TENANT, "ana@dest.example")
        assert suppressed(db, TENANT, ["ana@dest.example"])["ana@dest.example"].tenant_id == EVERYONE
        assert unsuppress(db, ACTOR, EVERYONE, "ana@dest.example")
        assert suppressed(db, TENANT, ["ana@dest.example"]) == {}
        assert suppressed(db, OTHER, ["ana@dest.example"])["ana@dest.example"].tenant_id == OTHER

    store.run(story)


def test_every_change_is_in_the_audit_and_tells_no_server_to_look_again(store: Database) -> None:
    def story(db: Connection) -> None:
        before = installation.generation(db)
        suppress(db, ACTOR, TENANT, Entry.parse("ana@dest.example", "bounce"))
        suppress(db, ACTOR, TENANT, Entry.parse("ana@dest.example", "bounce"))
        suppress(db, ACTOR, EVERYONE, Entry.parse("bo@dest.example"))
        unsuppress(db, ACTOR, TENANT, "ana@dest.example")
        unsuppress(db, ACTOR, TENANT, "ana@dest.example")
        put(db, TENANT, "x@dest.example", "y@dest.example", source="import")
        put(db, TENANT, "x@dest.example", source="import")
        rows = audit.entries(db, target=None, tenant_id=None, limit=10)
        assert [(row.action, row.target, row.tenant_id) for row in reversed(rows)] == [
            ("suppression.add", "suppression ana@dest.example", TENANT),
            ("suppression.add", "suppression bo@dest.example", None),
            ("suppression.remove", "suppression ana@dest.example", TENANT),
            ("suppression.import", "suppression 2 addresses", TENANT),
        ]
        assert {(row.actor, row.request_id) for row in rows} == {("test", "request-1")}
        assert rows[-1].changes == {"reason": [None, "bounce"], "source": [None, "manual"]}
        assert installation.generation(db) == before

    store.run(story)


@pytest.mark.parametrize(
    "name", ["", "ana", "@dest.example", "ana@", "än@dest.example", "a\0b@dest.example", "a b@c.d"]
)
def test_what_is_no_address_is_on_no_list(store: Database, name: str) -> None:
    def story(db: Connection) -> None:
        with pytest.raises(Problem):
            Entry.parse(name)
        assert not unsuppress(db, ACTOR, TENANT, name)
        with pytest.raises(Problem):
            find(db, TENANT, name)

    store.run(story)


@pytest.mark.parametrize(
    "fields", [{"reason": ""}, {"reason": "x" * 201}, {"reason": "a\nb"}, {"source": "a\0"}, {"note": "a\tb"}]
)
def test_texts_are_one_short_line(fields: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        Entry.parse("ana@dest.example", **fields)  # type: ignore[arg-type]
    assert caught.value.kind is Kind.BAD_REQUEST


def test_no_repr_shows_an_address_or_a_note() -> None:
    entry = Entry.parse("ana@dest.example", note="personal")
    row = Suppression(1, "ana@dest.example", "bounce", "ses", "personal", 1, None)
    assert not {"ana@", "personal"} & {word for word in ("ana@", "personal") if word in f"{entry!r} {row!r}"}


# -- many ------------------------------------------------------------------------------------------------------------


def test_a_batch_counts_what_was_new(store: Database) -> None:
    def story(db: Connection) -> None:
        put(db, TENANT, "a@dest.example", reason="first")
        put(db, TENANT, "old@dest.example", expires_at=1)
        batch = [Entry.parse(name, "second") for name in ("a@dest.example", "B@dest.example", "b@DEST.example")]
        more = [Entry.parse("old@dest.example", "second"), Entry.parse("c@dest.example", "second")]
        answers = import_rows(db, [Batch(ACTOR, TENANT, batch + more), Batch(ACTOR, OTHER, batch), Batch(ACTOR, 9, [])])
        assert list(answers) == [3, 2, 0]
        reasons = {each.address[0]: each.reason for each in listed(db, Asked(), tenant_id=TENANT).items}
        assert reasons == {"a": "first", "b": "second", "o": "second", "c": "second"}
        assert (count(db, TENANT), count(db, OTHER)) == (4, 2)

    store.run(story)


def test_a_whole_batch_is_one_statement(store: Database) -> None:
    names = [f"u{number}@dest.example" for number in range(suppressions.PAGE)]
    assert store.run(lambda db: import_rows(db, [Batch(ACTOR, TENANT, [Entry.parse(n) for n in names])])) == [2000]
    assert store.run(lambda db: count(db, TENANT)) == 2000


# -- listing ---------------------------------------------------------------------------------------------------------


def test_a_list_is_paged_in_the_order_of_addresses(store: Database) -> None:
    names = sorted(f"{'ABCdef'[number % 6]}_{number}@d{number % 3}.example".lower() for number in range(50))

    def story(db: Connection) -> None:
        put(db, TENANT, *random.sample(names, len(names)))
        put(db, OTHER, "other@d0.example")
        put(db, EVERYONE, "all@d0.example")
        seen: list[str] = []
        page = listed(db, Asked(7), tenant_id=TENANT)
        while page.next_cursor is not None:
            seen += addresses(page)
            page = listed(db, Asked(7, page.next_cursor), tenant_id=TENANT)
        assert seen + addresses(page) == names
        assert addresses(listed(db, Asked(50), tenant_id=TENANT)) == names
        assert listed(db, Asked(50), tenant_id=TENANT).next_cursor is None

    store.run(story)


def test_a_list_is_filtered(store: Database) -> None:
    def story(db: Connection) -> None:
        put(db, TENANT, "ana@one.example", "an.na@one.example", reason="bounce")
        put(db, TENANT, "ana@two.example", "bo%@one.example", "bo_@xone.example", source="ses")

        def found(**which: str) -> list[str]:
            return addresses(listed(db, Asked(), tenant_id=TENANT, **which))

        assert found(prefix="AN") == ["an.na@one.example", "ana@one.example", "ana@two.example"]
        assert found(prefix="ana@") == ["ana@one.example", "ana@two.example"]
        assert found(prefix="ana@ONE.example") == ["ana@one.example"]
        assert found(prefix="bo%") == ["bo%@one.example"]
        assert found(prefix="c") == []
        assert found(domain="One.example") == ["an.na@one.example", "ana@one.example", "bo%@one.example"]
        assert found(reason="bounce", domain="one.example") == ["an.na@one.example", "ana@one.example"]
        assert found(source="ses", prefix="ana") == ["ana@two.example"]

    store.run(story)


@pytest.mark.parametrize(
    "which", [{"prefix": "a\0"}, {"reason": "\0"}, {"source": "\ud800"}, {"domain": "a b"}, {"prefix": "é"}]
)
def test_what_cannot_be_looked_for_is_refused(store: Database, which: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        store.run(lambda db: listed(db, Asked(), tenant_id=TENANT, **which))
    assert caught.value.kind in {Kind.BAD_REQUEST, Kind.BAD_ADDRESS}


@pytest.mark.parametrize("cursor", ["é", "*", "_w", "AAAA", ""])
def test_a_strange_cursor_is_refused_or_finds_something(store: Database, cursor: str) -> None:
    try:
        store.run(lambda db: listed(db, Asked(5, cursor), tenant_id=TENANT))
    except Problem as problem:
        assert problem.kind is Kind.BAD_REQUEST


# -- how the database finds them -------------------------------------------------------------------------------------


def filled(db: Connection) -> None:
    for tenant_id in (EVERYONE, TENANT):
        for start in range(0, 20_000, 2000):
            entries = [Entry(f"u{number}@dest.example") for number in range(start, start + 2000)]
            import_rows(db, [Batch(ACTOR, tenant_id, entries)])
    db.execute(text("ANALYZE"))


def plan(db: Connection, ask: Callable[[Connection], Any]) -> str:
    """How the database goes about the last statement of `ask`."""
    seen: list[tuple[str, Any]] = []

    def note(_db: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(db, "before_cursor_execute", note)
    ask(db)
    event.remove(db, "before_cursor_execute", note)
    statement, parameters = seen[-1]
    explain = "EXPLAIN QUERY PLAN" if db.dialect.name == "sqlite" else "EXPLAIN"
    return "\n".join(str(row[-1]) for row in db.exec_driver_sql(f"{explain} {statement}", parameters))


def test_a_lookup_is_a_search_of_the_primary_key(store: Database) -> None:
    def story(db: Connection) -> None:
        filled(db)
        for names in (["u1@dest.example"], ["u2@dest.example", "nobody@dest.example"]):
            found = plan(db, lambda db, names=names: suppressed(db, TENANT, names))
            if db.dialect.name == "sqlite":
                assert found == "SEARCH suppressions USING PRIMARY KEY (tenant_id=? AND address=?)"
            else:
                assert "pk_suppressions" in found
                assert "Seq Scan" not in found
                (condition,) = (line for line in found.splitlines() if "Index Cond" in line)
                assert "tenant_id = ANY" in condition
                assert "address = " in condition

    store.run(story)


def test_a_prefix_reads_a_range_of_the_primary_key(store: Database) -> None:
    def story(db: Connection) -> None:
        filled(db)
        found = plan(db, lambda db: listed(db, Asked(), tenant_id=TENANT, prefix="u12"))
        if db.dialect.name == "sqlite":
            assert found == "SEARCH suppressions USING PRIMARY KEY (tenant_id=? AND address>? AND address<?)"
        else:
            (condition,) = (line for line in found.splitlines() if "Index Cond" in line)
            assert "address >= 'u12'" in condition
            assert "address < 'u13'" in condition
            assert "Seq Scan" not in found

    store.run(story)


def test_hot_lookups_are_the_same_search(tmp_path: Any) -> None:
    store = Database(database.parse_url("relay.db", tmp_path))
    store.run(filled)
    store.run(lambda db: put(db, EVERYONE, "all@dest.example", reason="operator"))
    store.run(lambda db: put(db, TENANT, "past@dest.example", expires_at=1))
    engine = database.reading_engine(store.url)
    hot = HotSuppressions(engine)
    try:
        found = hot.find(TENANT, ["u1@dest.example", "nobody@dest.example", "all@dest.example", "past@dest.example"])
        assert {name: each.reason for name, each in found.items()} == {
            "u1@dest.example": "manual",
            "all@dest.example": "operator",
        }
        explained = hot._execute(f"EXPLAIN QUERY PLAN {hot._statement}", hot._values)
        assert [row[-1] for row in explained] == ["SEARCH suppressions USING PRIMARY KEY (tenant_id=? AND address=?)"]
    finally:
        hot.close()
        engine.dispose()


def test_addresses_are_in_the_order_of_octets_whatever_language_the_database_speaks(store: Database) -> None:
    if database.is_sqlite(store.url):
        return
    collation = "SELECT collation_name FROM information_schema.columns WHERE table_name = 'suppressions' AND column_name = 'address'"
    assert store.run(lambda db: db.execute(text(collation)).scalar_one()) == "C"


# -- CSV -------------------------------------------------------------------------------------------------------------


def read(octets: bytes) -> list[Entry | Fault]:
    return list(read_csv(io.BytesIO(octets)))


# fmt: off
READ = [
    (b"address\nA@X.example\n", [Entry("a@x.example", "imported", "import")]),
    (b"\xef\xbb\xbfaddress\r\na@x.example", [Entry("a@x.example", "imported", "import")]),
    (b"reason,address\nBOUNCE,a@x.example\n,b@x.example\n",
     [Entry("a@x.example", "bounce", "import"), Entry("b@x.example", "imported", "import")]),
    (b"address;note;created_at\n\n ; \na@x.example;\"one; two\";2025-01-01T00:00:00+01:00\n",
     [Entry("a@x.example", "imported", "import", "one; two", 1735686000000)]),
    (b"EmailAddress,SuppressionReason,Origin,CreatedAt\na@x.example,HardBounce,Recipient,2025-01-01T00:00:00Z\n",
     [Entry("a@x.example", "HardBounce", "Recipient", None, 1735689600000)]),
    (b"email\tcreated\textra\na@x.example\t1735689600\tx\n", [Entry("a@x.example", "imported", "import", None, 1735689600000)]),
    (b'address\n"""a b""@x.example"\n', [Entry('"a b"@x.example', "imported", "import")]),
    (b"address\na@m\xc3\xbcller.example\n", [Entry("a@xn--mller-kva.example", "imported", "import")]),
    (b"address\n'=a@x.example\n'a@x.example\n",
     [Entry("=a@x.example", "imported", "import"), Entry("'a@x.example", "imported", "import")]),
    (b"address,expires_at\na@x.example,9999-12-31T23:59:59Z\n",
     [Entry("a@x.example", "imported", "import", None, None, 253402300799000)]),
]
# fmt: on
@pytest.mark.parametrize(("octets", "rows"), READ)
def test_what_is_read(octets: bytes, rows: list[Entry]) -> None:
    assert read(octets) == rows


# fmt: off
BAD = [
    (b"nope", "not an address"),
    (b",bounce", "has no address"),
    (b"a\x00@x.example", "NUL"),
    (b"\xff@x.example", "UTF-8"),
    ("é@x.example".encode(), "non-ASCII"),
    (b'"a@x.example', "is not CSV"),
    (b'"a"@x.example', "is not CSV"),
    (b"b\r@x.example", "is not CSV"),
    (b"x" * MAX_LINE, f"over {MAX_LINE} octets"),
    (b'"' + b"x" * 10_000_000 + b'"', f"over {MAX_LINE} octets"),
    (b"a@x.example,r,2025-01-01", "is not a time"),
    (b"a@x.example,r,2025-01-01T00:00:00", "is not a time"),
    (b"a@x.example,r,99999999999999999999", "is not a time"),
    (b"a@x.example,r,1900-01-01T00:00:00Z", "is not a time"),
    (b"a@x.example,r,,2020-01-01T00:00:00Z", "over already"),
    (b"a@x.example," + b"r" * 201, "1 to 200 characters"),
    (b"a@x.example,a\x07b", "one line"),
]
# fmt: on
@pytest.mark.parametrize(("line", "said"), BAD)
def test_a_bad_row_is_named_and_spoils_no_other(line: bytes, said: str) -> None:
    found = read(b"address,reason,created_at,expires_at\nfirst@x.example\n" + line + b"\nlast@x.example\n")
    assert [row.address for row in found if isinstance(row, Entry)] == ["first@x.example", "last@x.example"]
    (fault,) = (row for row in found if isinstance(row, Fault))
    assert fault.path == "line 3"
    assert said in fault.message
    assert len(str(fault)) < 400


@pytest.mark.parametrize(
    "octets",
    [b"", b"\n", b"a@x.example\n", b"reason\n", b"address,email\n", b"\xff\xfea\0d\0", b"x" * 20_000, b'"address\n'],
)
def test_a_first_line_that_names_no_address_is_refused(octets: bytes) -> None:
    with pytest.raises(Problem, match="line 1") as caught:
        read(octets)
    assert caught.value.kind is Kind.BAD_REQUEST


@given(st.binary(max_size=2000))
def test_nothing_breaks_the_reader(octets: bytes) -> None:
    for row in read(b"address,reason,note,created_at,expires_at\n" + octets):
        assert isinstance(row, Entry | Fault)
        if isinstance(row, Entry):
            assert Entry.parse(row.address, row.reason, row.source, row.note, row.created_at, row.expires_at) == row


LOCAL = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True)
LINE = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=50)
MOMENT = st.integers(0, 4_000_000_000_000)


@example("0", "0", "0", None, 1_073_574_951, None)  # by way of a float it lost a millisecond
@given(LOCAL, LINE, LINE, st.none() | LINE, MOMENT, st.none() | MOMENT.map(lambda at: now_ms() + 1000 + at))
def test_what_is_written_is_read_again(
    local: str, reason: str, source: str, note: str | None, created_at: int, expires_at: int | None
) -> None:
    reason = reason.lower() if reason.isupper() else reason
    entry = Entry.parse(f"{local}@x.example", reason, source, note, created_at, expires_at)
    row = Suppression(1, entry.address, reason, source, note, created_at, expires_at)
    written = csv_of([row], with_header=True)
    assert read(written.encode()) == [entry]
    cells = written.splitlines()[1].split(",")
    assert not any(cell.strip('"').startswith(("=", "+", "-", "@")) for cell in cells)


def test_a_moment() -> None:
    assert moment("2025-01-01T00:00:00Z") == moment("1735689600") == 1735689600000
    assert moment("2025-01-01T00:00:00.250Z") == 1735689600250


def test_rows_come_in_sorted_batches_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "RUN", 2500)
    rows: list[Entry | Fault] = [Entry(f"{number:x}@x.example") for number in random.sample(range(10_000), 3000)]
    rows += [Fault(f"line {number}", "is bad") for number in range(30)]
    found = Imported()
    made = list(batches(rows, found))
    assert [len(batch) for batch in made] == [BATCH, BATCH, 500, 500]
    assert [entry.address for batch in made[:3] for entry in batch] == sorted(
        r.address for r in rows[:2500] if isinstance(r, Entry)
    )
    assert (found.rows, found.bad, len(found.faults), found.known) == (3030, 30, importing.NAMED, 3000)
    with pytest.raises(Problem, match="line 0: is bad"):
        list(batches(rows, Imported(), is_strict=True))
