"""What the hostile tests share: how many examples they try, and children that are killed when they take too much.

`HOSTILE_EXAMPLES=5000 python -m pytest tests/hostile -s` is the long run: so many examples for each test, other ones
each time; `-p no:randomly --hypothesis-seed=N` repeats one. Without it the examples are few and always the same.
"""

import os
import resource
import signal
import subprocess
import sys
import textwrap
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


#: Runs in a child: each case has its own share of processor time, all together the memory.
_PRELUDE = """
import resource, sys

def case(name, call, *arguments, seconds={seconds}):
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, resource.RLIM_INFINITY))
    print(name, file=sys.stderr, flush=True)
    call(*arguments)

resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
"""


def in_child(code, *, seconds=10, memory=700):
    """Run code in a child of `memory` MiB of addresses; give what it printed.

    The code calls `case(NAME, FUNCTION, *ARGUMENTS)`; a case that computes for more than `seconds` is a hang.
    """
    prelude = _PRELUDE.format(seconds=seconds, memory=memory * MIB)
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    last = done.stderr.strip().splitlines()[-1:] or [""]
    assert done.returncode != -signal.SIGXCPU, f"'{last[0]}' took more than {seconds} s of the processor"
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
