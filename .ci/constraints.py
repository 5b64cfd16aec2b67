"""Rewrites constraints.txt from a real installation on every supported Python.

Run `python .ci/constraints.py python3.11 python3.12 python3.13`, then the tests on each of them: a
version that no test has met does not belong in the file.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
HEADER = """\
# The versions that `make test` is known to pass with: what CI and every developer installs.
# Written by .ci/constraints.py from real installations; do not edit by hand.
"""


def installed(python: str) -> tuple[str, dict[str, str]]:
    """Install everything for one interpreter; return its "3.x" and the versions by package name."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        own = Path(folder) / "bin" / "python"
        pip = [str(own), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", "--upgrade", "pip"], check=True)
        subprocess.run([*pip, "install", "-q", "-e", f"{CHECKOUT}[dev,bench]"], check=True)
        frozen = subprocess.run(
            [*pip, "freeze", "--exclude-editable"], check=True, capture_output=True, text=True
        )
        minor = subprocess.run(
            [str(own), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            check=True,
            capture_output=True,
            text=True,
        )
    pairs = (line.split("==") for line in frozen.stdout.splitlines())
    return minor.stdout.strip(), dict(pairs)


def merged(by_python: dict[str, dict[str, str]]) -> str:
    """Return the file's text: one line a version, with a marker where the Pythons differ."""
    lines = []
    names = sorted({name for versions in by_python.values() for name in versions}, key=str.lower)
    for name in names:
        pythons: dict[str, list[str]] = {}
        for minor, versions in by_python.items():
            if name in versions:
                pythons.setdefault(versions[name], []).append(minor)
        for version, minors in sorted(pythons.items()):
            if len(minors) == len(by_python):
                lines.append(f"{name}=={version}")
                continue
            marker = " or ".join(f'python_version == "{minor}"' for minor in minors)
            lines.append(f"{name}=={version} ; {marker}")
    return HEADER + "\n".join(lines) + "\n"


def main(pythons: list[str]) -> None:
    """Install on every interpreter named and write the file."""
    if not pythons:
        raise SystemExit("name the interpreters: python3.11 python3.12 python3.13")
    text = merged(dict(installed(python) for python in pythons))
    (CHECKOUT / "constraints.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
