"""Verify the lock files: every requirement pinned and hashed, no address or path in them, no known vulnerability.

Usage: python -m scripts.audit_requirements FILE... [--offline]

Vulnerabilities are asked from OSV, not from the package index, because a mirror of an index answers without them and
would make every package look sound. When OSV cannot be reached, that is said, and only the lock is verified.
Exit codes: 0 nothing found, 1 something found.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

PINNED = re.compile(r"^[a-z0-9][a-z0-9._-]*==[^\s;*]+(\s*;\s*[^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+$")
FOREIGN = re.compile(r"://|^-|\s--(?!hash=)|(^|\s)/|\s@\s")
UNREACHABLE = re.compile(r"ConnectionError|ConnectTimeout|ReadTimeout|NameResolutionError")


def requirements(text: str) -> list[str]:
    """Return one line per requirement: continuation lines joined, comments and blank lines gone."""
    joined = text.replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*", "", line) for line in joined.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


def lock_faults(text: str) -> list[str]:
    """Return what is wrong with a lock file, one sentence per fault."""
    lines = requirements(text)
    if not lines:
        return ["holds no requirement"]
    return [f"{reason}: {line[:80]}" for line in lines if (reason := _refusal(line))]


def _refusal(line: str) -> str:
    """Return why one requirement is refused, or nothing."""
    if FOREIGN.search(line):
        return "names an address, a path or an option"
    if not PINNED.match(line):
        return "is not pinned to one version with its hashes"
    return ""


def check_lock(path: Path) -> bool:
    """Check one lock file and say what was found; return whether it is sound."""
    text = path.read_text(encoding="utf-8")
    faults = lock_faults(text)
    for fault in faults:
        print(f"{path}: {fault}", file=sys.stderr)
    if not faults:
        print(f"{path}: {len(requirements(text))} requirements, each pinned and hashed")
    return not faults


def check_vulnerabilities(path: Path) -> bool | None:
    """Ask for the vulnerabilities of one lock file; return whether it has none, or None when nobody answered."""
    options = ["--require-hashes", "--disable-pip", "--vulnerability-service", "osv", "--timeout", "5"]
    command = [sys.executable, "-m", "pip_audit", "-r", str(path), *options, "--progress-spinner", "off", "-f", "json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if not answer.stdout.strip():
        if UNREACHABLE.search(answer.stderr):
            print(f"{path}: known vulnerabilities NOT checked, the vulnerability service (OSV) could not be reached")
            return None
        raise SystemExit(f"pip-audit failed on {path}:\n{answer.stderr}")
    vulnerable = vulnerabilities(answer.stdout)
    for line in vulnerable:
        print(f"{path}: {line}", file=sys.stderr)
    if not vulnerable:
        print(f"{path}: no known vulnerability")
    return not vulnerable


def vulnerabilities(report: str) -> list[str]:
    """Return one line per vulnerability in pip-audit's JSON report."""
    return [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
        for package in json.loads(report)["dependencies"]
        for found in package.get("vulns", [])
    ]


def main() -> int:
    """Check each file; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--offline", action="store_true", help="verify the locks only")
    arguments = parser.parse_args()
    sound = [check_lock(path) for path in arguments.files]
    for path in [] if arguments.offline else arguments.files:
        answer = check_vulnerabilities(path)
        if answer is None:
            break
        sound.append(answer)
    return 0 if all(sound) else 1


if __name__ == "__main__":
    sys.exit(main())
