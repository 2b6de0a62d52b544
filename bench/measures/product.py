"""The whole product: a signed webhook in, a condition, three HTTP requests to a sink on this machine, a finished run.

A client sends its next webhook when the sink was called three times for its last one and that one was answered. What
was sent counts until no run goes on. Peers get the same body, and no signature to check.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from time import perf_counter
from typing import Any

from bench import messages, project
from bench.measures import Bench, Product, run_product
from bench.peers import Served, n8n, node_red, restate
from bench.processes import MIB, Memory, Unavailable, Worker
from bench.report import Rounds, Row

CLIENTS = (20, 64)
#: What must be reached against a peer. Node-RED keeps nothing: it is to be passed.
TIMES = {"n8n": 10.0, "restate": 3.0, "node-red": 1.0}
MOST_MEMORY = 120  #: MiB
#: How each peer is started, and what is posted to.
PEERS = {
    "restate": (restate.started, "/Bench/product"),
    "node-red": (node_red.started, "/incident"),
    "n8n": (n8n.started, "/webhook/incident"),
}

WORKFLOW = """\
on: incident.declared
if: incident.severity == "sev2"
steps:
  - uses: http.request
    with:
      method: POST
      path: /${{ incident.title }}/1
      body: {title: "${{ incident.title }}"}
  - uses: http.request
    with:
      method: POST
      path: /${{ incident.title }}/2
      body: {title: "${{ incident.title }}"}
  - uses: http.request
    with:
      method: POST
      path: /${{ incident.title }}/3
      body: {title: "${{ incident.title }}"}
"""


def settings(sink: int) -> str:
    """Give what hotwash.yaml says of the pager and the sink."""
    http = f'  sink: {{provider: http, base_url: "http://127.0.0.1:{sink}"}}\n'
    return f"connections:\n{messages.CONNECTION}{http}use: {{http: sink}}\n"


#: Posts with so many clients, and gives what was counted.
Side = tuple[Callable[[int], dict[str, Any]], Callable[[], Memory]]


def measure(bench: Bench) -> None:
    with ExitStack() as stack:
        load = bench.load(stack)
        folder = project.write(
            bench.folder / "product", {"calls": WORKFLOW}, settings(load.hello["sink"]), plugin=False
        )
        product, _ = run_product(stack, folder)
        start = project.size(product.database)
        sides: dict[str, Side] = {"hotwash": (lambda n: _ours(bench, load, product, n), product.child.memory)}
        sides |= _peers(bench, stack, load)
        found = {(name, n): Rounds() for name in sides for n in CLIENTS}
        for _ in range(bench.rounds):
            for n in CLIENTS:
                for name, (post, _) in sides.items():
                    _count(found[name, n], post(n), name)
        memory = {name: held().most / MIB for name, (_, held) in sides.items()}
        runs = project.scalar(product.database, "SELECT count(*) FROM runs WHERE state = 'finished'")
        grown = project.size(product.database) - start
    _report(bench, found, memory)
    body = len(messages.incident())
    bench.add(Row(f"journal, a three-step run with its {body:,}-byte event", grown / runs, "bytes", count=runs))


def _ours(bench: Bench, load: Worker, product: Product, clients: int) -> dict[str, Any]:
    """Post, and count the time until every run has ended."""
    answer = load.ask(
        head=messages.head(product.port, "/hooks/pager"),
        body=messages.incident(),
        signature=messages.SIGNATURE,
        port=product.port,
        clients=clients,
        seconds=bench.seconds,
        calls=3,
    )
    start = perf_counter()
    product.all_ended()
    return {**answer, "seconds": answer["seconds"] + perf_counter() - start}


def _peers(bench: Bench, stack: ExitStack, load: Worker) -> dict[str, Side]:
    """Start the peers that are asked for; one that cannot be had is said, and left out."""
    sides: dict[str, Side] = {}
    for name, (started, path) in PEERS.items():
        if name not in bench.peers:
            continue
        try:
            served = stack.enter_context(started(bench.folder / f"{name}-product", load.hello["sink"], bench.tell))
            post = partial(_post, bench, load, served, path)
            answer = post(1, seconds=0.5)
            if not answer["count"] or answer["refused"]:
                raise Unavailable(f"{name} is left out: it answers, but does not do the work ({answer['statuses']})")
            sides[name] = (post, served.memory)
        except Unavailable as why:
            bench.tell(str(why))
    return sides


def _post(
    bench: Bench, load: Worker, served: Served, path: str, clients: int, seconds: float | None = None
) -> dict[str, Any]:
    return load.ask(
        head=messages.head(served.port, path),
        body=messages.incident(),
        port=served.port,
        clients=clients,
        seconds=bench.seconds if seconds is None else seconds,
        calls=3,
    )


def _count(rounds: Rounds, answer: dict[str, Any], name: str) -> None:
    if answer["refused"] or answer["unfinished"]:
        raise Unavailable(f"{name} did not finish what it was given: {answer}")
    rounds.add(answer["count"], answer["seconds"])


def _report(bench: Bench, found: dict[tuple[str, int], Rounds], memory: dict[str, float]) -> None:
    for n in CLIENTS:
        ours = found["hotwash", n]
        bench.add(ours.row(f"webhook, if, three HTTP requests, finished run, {n} clients"))
        for name, times in TIMES.items():
            if (name, n) in found:
                bench.add(ours.against(found[name, n], name, f"the same, {n} clients", times))
    held = memory["hotwash"]
    bench.add(Row("memory meanwhile, at most", held, "MiB", must=f"{MOST_MEMORY} MiB", reached=held < MOST_MEMORY))
    for name in TIMES:
        if name in memory:
            ratio = held / memory[name]
            bench.add(Row(f"  {name}: memory", memory[name], "MiB", ratio=ratio, against=f"ours / {name}"))
