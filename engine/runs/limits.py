"""How often a connection is called: a bucket of tokens for each connection with a `rate`.

Each performance of an effect, each look for one, each reading of a subject and each look-up takes a token before it
begins. Who finds none is told an instant at which its turn comes, and comes again then; nobody sleeps for it. Turns are
given in the order of asking. What the calls so far have used is kept in the database before they are made, so that a
restart does not fill the bucket; the turns are not, and are asked for anew.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from engine.config.rates import Rate
from engine.runs.hub import Hub
from engine.store.codec import instant, micros
from engine.store.journal import StorageUnavailable

#: What is used is written down so far ahead: at most one write in this time, and so much of a bucket lost in a crash.
AHEAD = timedelta(seconds=1)
#: A turn that nobody takes is forgotten after this.
PATIENCE = timedelta(hours=1)
#: Who cannot take a turn because the database cannot be written comes again after this.
AGAIN = timedelta(seconds=5)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Limited(Exception):
    """The connection is at its rate; `until` is when the turn comes."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"the connection is at its rate until {until.isoformat()}")
        self.until = until


@dataclass(slots=True)
class Bucket:
    """The tokens of one connection. In any time t at most `burst` and t / `interval` calls begin.

    `spent` is the instant until which the calls that began use the rate up, at one each interval; `promised` is the
    same with those counted in who were given a turn that has not come.
    """

    interval: timedelta
    burst: int
    spent: datetime = _LONG_AGO
    closed: datetime = _LONG_AGO  #: until when the service wants no calls
    promised: datetime = _LONG_AGO
    late: datetime = _LONG_AGO  #: the next turn for those who came later than theirs
    turns: dict[str, datetime] = field(default_factory=dict)
    kept: datetime = _LONG_AGO  #: how far `spent` is covered by what is written down

    def take(self, who: str, now: datetime) -> datetime | None:
        """Take a token; None where there is one, else when the turn of `who` comes."""
        self.spent = min(self.spent, max(now, self.closed) + self.burst * self.interval)  # a clock that was set back
        self._forget(now)
        turn = self.turns.pop(who, None)
        if turn is not None and turn > now:
            self.turns[who] = turn
            return turn
        depth = (self.burst - 1) * self.interval
        behind = turn is None and self.turns  # who comes new stands behind all who wait
        used = max(self.spent, self.promised) if behind else self.spent
        free = used - depth
        if free <= now:
            self.spent = max(self.spent, now) + self.interval
            self.promised = max(self.promised, self.spent)
            return None
        if turn is None:
            self.promised = used + self.interval
        else:
            free = self.late = max(free, self.late)
            self.late += self.interval
            self.promised += self.interval
        self.turns[who] = free
        return free

    def close(self, until: datetime) -> None:
        """Empty it until an instant, from which on it fills again."""
        self.closed = max(self.closed, until)
        self.spent = max(self.spent, self.closed + (self.burst - 1) * self.interval)
        self.promised = max(self.promised, self.spent)

    def _forget(self, now: datetime) -> None:
        for who, turn in list(islice(self.turns.items(), 2)):
            if turn < now - PATIENCE:
                del self.turns[who]


class Limits:
    """The buckets of all connections."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._buckets: dict[str, Bucket] = {}
        #: identities that were looked for in vain, and whose call has not begun since
        self.looked_for: set[str] = set()

    async def turn(self, connection: str | None, who: str) -> datetime | None:
        """Give when `who` may call a connection; None where it may now, and has taken its token."""
        bucket = self._bucket(connection)
        if bucket is None or connection is None:
            return None
        now = self.hub.clock.now()
        until = bucket.take(who, now)
        if until is None and not await self._keep(connection, bucket):
            return now + AGAIN
        return until

    async def close(self, connection: str | None, seconds: float) -> None:
        """Let nothing go out on a connection whose service says that it is asked too often."""
        bucket = self._bucket(connection)
        if bucket is None or connection is None:
            return
        bucket.close(self.hub.clock.now() + timedelta(seconds=seconds))
        await self._keep(connection, bucket)

    def why(self, connection: str | None) -> str:
        """Say why an effect has to wait."""
        return f"'{connection}' is called at most {self.hub.rates.get(connection or '')} times: its turn comes later"

    def _bucket(self, connection: str | None) -> Bucket | None:
        rate: Rate | None = self.hub.rates.get(connection or "")
        if connection is None or rate is None:
            return None
        if connection not in self._buckets:
            self._buckets[connection] = self._stored(connection, Bucket(rate.interval, rate.burst))
        return self._buckets[connection]

    def _stored(self, connection: str, bucket: Bucket) -> Bucket:
        """Fill a bucket as the calls before a restart left it."""
        row = self.hub.reader.execute("SELECT cursor FROM schedules WHERE id = ?", (_row(connection),)).fetchone()
        if row is not None:
            kept = json.loads(row["cursor"])
            bucket.spent, bucket.closed = instant(kept["spent"]), instant(kept["closed"])
            bucket.kept = bucket.spent
        return bucket

    async def _keep(self, connection: str, bucket: Bucket) -> bool:
        """Write down what is used, a little ahead; give whether it is written."""
        if bucket.spent <= bucket.kept:
            return True
        ahead, closed, now = bucket.spent + AHEAD, bucket.closed, micros(self.hub.clock.now())
        data = json.dumps({"spent": micros(ahead), "closed": micros(closed)})

        def write(cursor: sqlite3.Cursor) -> None:
            cursor.execute(
                "INSERT INTO schedules (id, first, cursor) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET cursor = excluded.cursor",
                (_row(connection), now, data),
            )

        try:
            await self.hub.journal.transact(write)
        except StorageUnavailable:
            return False
        bucket.kept = max(bucket.kept, ahead)
        return True


def _row(connection: str) -> str:
    return f"connection/{connection}/rate"
