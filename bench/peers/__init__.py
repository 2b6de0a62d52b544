"""What others do with the same work: each peer is installed in an environment of its own, and started on loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from bench.processes import ROOT, Child, Memory, Unavailable

FOLDER = ROOT / "bench" / ".peers"
PROGRAMS = Path(__file__).resolve().parent / "programs"
#: Peers that are installed in seconds, and those that take minutes.
QUICK, SLOW = ("dbos", "restate"), ("node-red", "n8n")
#: No step of an installation may take longer than this, in seconds.
LONGEST = 1200
_STAMP = ".installed"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Served:
    """A peer that answers HTTP requests on a port of this machine."""

    port: int
    children: tuple[Child, ...]

    def memory(self) -> Memory:
        found = [child.memory() for child in self.children]
        return Memory(sum(one.now for one in found), sum(one.most for one in found))


def chosen(peers: str) -> tuple[str, ...]:
    """Give the peers that PEERS names: nothing is the quick ones, then `all`, `none`, or names with commas.

    Raises:
        ValueError: one of them is not known.
    """
    known = {"": QUICK, "all": QUICK + SLOW, "none": ()}
    if peers in known:
        return known[peers]
    names = tuple(peers.split(","))
    for name in names:
        if name not in QUICK + SLOW:
            raise ValueError(f"there is no peer '{name}'; there are {', '.join(QUICK + SLOW)}, all and none")
    return names


def environment(name: str, steps: Sequence[Sequence[str]], tell: Tell) -> Path:
    """Give the folder that a peer is installed in; what is there from an earlier run is used again.

    Args:
        name: the folder's name.
        steps: commands that install into the folder they are run in; the stamp of a finished one holds their text.
        tell: is told how long it took.

    Raises:
        Unavailable: a step failed, in one line.
    """
    folder = FOLDER / name
    wanted = "\n".join(" ".join(step) for step in steps)
    stamp = folder / _STAMP
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = perf_counter()
    for step in steps:
        _install(name, step, folder)
    stamp.write_text(wanted)
    tell(f"{name} was installed in {perf_counter() - start:.0f} s")
    return folder


def node(tell: Tell) -> Path:
    """Give a Node.js that is new enough for the peers that need one."""
    return environment("node", from_npm("node@24"), tell) / "node_modules" / "node" / "bin" / "node"


def _install(name: str, step: Sequence[str], folder: Path) -> None:
    program = shutil.which(folder / step[0] if "/" in step[0] else step[0])
    if program is None:
        raise Unavailable(f"{name} is left out: there is no {step[0]} here")
    with open(folder / "install.log", "ab") as log:
        try:
            command = [program, *step[1:]]
            code = subprocess.run(
                command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=LONGEST
            ).returncode
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{name} is left out: it was not installed within {LONGEST} s") from None
    if code != 0:
        raise Unavailable(f"{name} is left out: '{' '.join(step)[:80]}' ended with {code} ({folder / 'install.log'})")


def from_pypi(*packages: str) -> list[list[str]]:
    """Give the steps that install packages in a virtual environment, which is the folder itself."""
    pip = ["bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    return [[sys.executable, "-m", "venv", "."], [*pip, *packages]]


def from_npm(*packages: str, rebuild: Sequence[str] = ()) -> list[list[str]]:
    """Give the steps that install packages; `rebuild` leaves their scripts out, but for those of the named ones."""
    npm = ["npm", "install", "--no-audit", "--no-fund", "--no-save", *(["--ignore-scripts"] if rebuild else [])]
    steps = [["npm", "init", "--yes"], [*npm, *packages]]
    return [*steps, ["npm", "rebuild", *rebuild]] if rebuild else steps
