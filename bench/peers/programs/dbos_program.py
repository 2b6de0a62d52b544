# It runs in the peer's environment, whose packages ours does not have.
# mypy: ignore-errors
"""Three durable steps with DBOS: `python dbos_program.py FOLDER`.

Takes lines of JSON on stdin (`in_flight`, `seconds`) and answers each with how many workflows ended in how long.
"""

import asyncio
import json
import sqlite3
import sys
import uuid
from pathlib import Path
from time import perf_counter

from dbos import DBOS, SetWorkflowID


@DBOS.step()
async def nothing(number: int) -> int:
    return number


@DBOS.workflow()
async def three(title: str) -> int:
    return await nothing(1) + await nothing(2) + await nothing(3)


async def measure(in_flight: int, seconds: float) -> dict:
    start, counts = perf_counter(), []

    async def client() -> None:
        count = 0
        while perf_counter() - start < seconds:
            with SetWorkflowID(str(uuid.uuid4())):
                await three("Incident")
            count += 1
        counts.append(count)

    await asyncio.gather(*(client() for _ in range(in_flight)))
    return {"count": sum(counts), "seconds": perf_counter() - start}


async def serve(settings: dict) -> None:
    print(json.dumps(settings), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        print(json.dumps(await measure(asked["in_flight"], asked["seconds"])), flush=True)


def main() -> None:
    path = Path(sys.argv[1]) / "dbos.sqlite"
    with sqlite3.connect(path) as connection:  # the mode stays with the file; synchronous is FULL by default
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{path}",
            "run_admin_server": False,
            "log_level": "WARNING",
            "console_log_level": "WARNING",
        }
    )
    DBOS.launch()
    asyncio.run(serve({"journal_mode": mode, "synchronous": synchronous}))


if __name__ == "__main__":
    main()
