"""Runs Python in processes of its own, for tests that kill, fork, or need another owner."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap


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
