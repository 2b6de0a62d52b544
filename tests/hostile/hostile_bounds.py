"""What the hostile tests share: how many examples they try, and children that are killed when they take too much.

`HOSTILE_EXAMPLES=5000 python -m pytest tests/hostile -s` is the long run: so many examples for each test, other ones
each time; `-p no:randomly --hypothesis-seed=N` repeats one. Without it the examples are few and always the same.
"""

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[2]
ASKED = int(os.environ.get("HOSTILE_EXAMPLES", "0"))
MIB = 1024 * 1024


def hostile(examples):
    """Give the settings of a test that tries so many examples in `make test`."""
    return settings(
        max_examples=ASKED or examples,
        derandomize=not ASKED,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def largest():
    """Give the largest size that this process had, in MiB: `getrusage` also counts that of the one that began it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) // 1024


def case(name, call, *arguments, **named):
    """In a child: call a function with its own share of processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))
    sys.stderr.write(f"{name[:100]!r}\n")
    sys.stderr.flush()
    call(*arguments, **named)


def in_child(script, *, seconds, memory):
    """Run a script of this folder in a child of `memory` MiB of addresses; give what it printed.

    A `case` of it that computes for more than `seconds` is a hang.
    """

    def limit():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory * MIB, memory * MIB))

    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / script), str(seconds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        preexec_fn=limit,
    )
    last = done.stderr.strip().splitlines()[-1:] or [""]
    assert done.returncode != -signal.SIGXCPU, f"{last[0]} took more than {seconds} s of the processor"
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
