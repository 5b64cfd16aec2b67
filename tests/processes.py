"""Runs Python in processes of its own, for tests that kill, fork, or need another owner."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager


def python(code: str, *arguments: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run code in another process, to its end."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def killed(code: str, *arguments: object) -> str:
    """Run code that kills itself, and return what it had printed."""
    finished = python(code, *arguments)
    assert finished.returncode == -signal.SIGKILL, finished.stderr
    return finished.stdout


@contextmanager
def ready(code: str, *arguments: object) -> Iterator[int]:
    """Run code that prints ``ready`` and waits; give its process id, and kill it in the end."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.kill()
