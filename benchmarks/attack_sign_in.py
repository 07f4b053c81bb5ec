"""Can anybody but the local user be signed in by development mode?

Over real sockets, against the real server on IPv4, on IPv6 and on both: forged and doubled Hosts, whole URLs in the
first line, HTTP/1.0, traces of proxies, pages of other origins, from this machine's other address; through small real
proxies; and from pages of other origins and under a rebound name in a real Chromium (`--long`). Every one must get 401,
and nothing may have been changed.

The control asks in the same ways as the local user does, and must be let in.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.attack_pages import keep
from benchmarks.attack_sign_in_browser import browse, chromium, visit
from benchmarks.attack_sign_in_wire import PROXIES, TARGETS, UNTRACED, cases, plain, proxy, status
from benchmarks.pages import Check, Page, told
from benchmarks.servers import ROOT, die_with_parent

START_LIMIT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Found:
    """One request and its answer."""

    group: str
    case: str
    status: int


@contextmanager
def served(host: str) -> Iterator[int]:
    """Run the web app on an address, `::` for both kinds, while the block lasts; yields its port."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        tempfile.TemporaryDirectory(prefix="sign-in-") as folder,
        socket.create_server((host, 0), family=kind, dualstack_ipv6=host == "::") as listener,
        (Path(folder) / "web.log").open("wb") as log,
    ):
        settings = {"DATABASE_URL": f"sqlite:///{folder}/carts.db", "RUN_LOOPS": "false", "RATE_LIMIT_CALLER": "0"}
        settings["RATE_LIMIT_ANONYMOUS"] = "0"
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "backend.main:app", "--fd", str(listener.fileno())],
            cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log, pass_fds=[listener.fileno()],
            preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, which takes no lock
        )  # fmt: skip
        try:
            _until_it_answers(process, Path(log.name))
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.wait()


def _until_it_answers(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait. Raises `RuntimeError` when it ends or does not come about."""
    deadline = time.monotonic() + START_LIMIT
    while "running on " not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the web app did not start:\n{log.read_text()}")
        time.sleep(0.1)


def own_address() -> str | None:
    """Return an address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
        except OSError:
            return None
        found = str(asked.getsockname()[0])
    return None if found.startswith("127.") else found


async def wire(group: str, address: tuple[str, int]) -> list[Found]:
    """Send every case to every target."""
    found = []
    for case in cases():
        for method, path in TARGETS:
            answer = await status(address, case.head(method, path, address[1]))
            found.append(Found(group, f"{case.name}: {method} {path}", answer))
    return found


async def from_elsewhere(address: tuple[str, int]) -> list[Found]:
    """Ask over the machine's other address, under every local name."""
    found = []
    for host in ("localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}"):
        for method, path in TARGETS:
            answer = await status(address, plain(host=host)(method, path, address[1]))
            found.append(Found("this machine's other address", f"{host}: {method} {path}", answer))
    return found


async def through_proxies(port: int) -> tuple[list[Found], int]:
    """Ask through each proxy; return what came of it, and the answer through one that leaves no trace."""
    found = []
    for kind in PROXIES:
        async with proxy(kind, port) as before:
            for method, path in TARGETS:
                answer = await status(("127.0.0.1", before), plain(host="carts.example.com")(method, path, port))
                found.append(Found("proxies", f"{kind.name}: {method} {path}", answer))
    async with proxy(UNTRACED, port) as before:
        untraced = await status(("127.0.0.1", before), plain(host="carts.example.com")("GET", "/polling/status", port))
    return found, untraced


async def control(address: tuple[str, int]) -> list[int]:
    """Ask as the local user does, over this address."""
    port, names = address[1], ("localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LOCALHOST:{port}")
    answers = [await status(address, plain(host=name)("GET", "/polling/status", port)) for name in names]
    own = ("Origin: http://localhost:{port}", "Sec-Fetch-Site: same-origin")
    answers.append(await status(address, plain(*own)("GET", "/polling/status", port)))
    return answers


async def unchanged(port: int) -> bool:
    """Whether polling was not started and no company made, asked as the local user."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    for path in ("/polling/status", "/api/v1/companies"):
        writer.write(
            plain("Connection: keep-alive" if path == "/polling/status" else "Connection: close")("GET", path, port)
        )
    async with asyncio.timeout(15):
        said = await reader.read()
    writer.close()
    return b'"items":[]' in said and b'"running":false' in said


async def attack(options: argparse.Namespace) -> dict[str, Any]:
    """Run all; return what was found."""
    found: list[Found] = []
    let_in: list[int] = []
    with served("127.0.0.1") as port:
        found += await wire("IPv4", ("127.0.0.1", port))
        through, untraced = await through_proxies(port)
        found += through
        let_in += await control(("127.0.0.1", port))
        if options.long:
            seen, typed = await asyncio.to_thread(in_browser, port)
            found += seen
            let_in += typed
        is_unchanged = await unchanged(port)
    with served("::") as port:
        found += await wire("IPv4 written as IPv6", ("127.0.0.1", port))
        found += await wire("IPv6", ("::1", port))
        let_in += await control(("127.0.0.1", port)) + await control(("::1", port))
        other = own_address()
        if other is not None:
            found += await from_elsewhere((other, port))
    return {"found": found, "let_in": let_in, "untraced": untraced, "is_unchanged": is_unchanged}


def in_browser(port: int) -> tuple[list[Found], list[int]]:
    """Return what pages of other origins came to, and what the local user gets who types the address in."""
    with chromium() as browser:
        seen = [Found("browser", f"{each.page}: {each.trick}", each.status) for each in browse(browser, port)]
        return seen, [visit(browser, f"http://localhost:{port}/"), visit(browser, f"http://127.0.0.1:{port}/")]


def page(result: dict[str, Any]) -> Page:
    """Return the page."""
    found: list[Found] = result["found"]
    made = Page("attack-sign-in", "The development sign-in under attack", f"{len(found):,} requests", HEADINGS)
    for group in dict.fromkeys(each.group for each in found):
        answers = Counter(each.status for each in found if each.group == group)
        said = ", ".join(f"{status or 'closed'}: {count:,}" for status, count in sorted(answers.items()))
        made.rows.append([group, f"{answers.total():,}", said])
        made.raw.append({"group": group, "answers": {str(status): count for status, count in answers.items()}})
    wrong = [each for each in found if each.status != 401]
    let_in: list[int] = result["let_in"]
    made.checks = [
        Check("nobody is let in", f"{len(wrong)} of {len(found):,} were", not wrong),
        Check("nothing was changed", "asked as the local user", result["is_unchanged"]),
        Check("the control: the local user is let in", f"{let_in.count(200)} of {len(let_in)}", set(let_in) == {200}),
    ]
    made.notes = NOTES.format(untraced=result["untraced"]) + "".join(f"\n- {each}" for each in wrong[:40])
    return made


HEADINGS = ("from", "requests", "answers")
NOTES = (
    "A proxy on the same machine that adds no header, asks for a local name and speaks HTTP/1.1 cannot be told from "
    "the local user by anybody: it got {untraced} here. So does whoever sits behind a bare TCP forwarder and forges "
    "the Host. Development mode is for machines that forward nothing."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attack; return 1 when somebody was let in, or when the control failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack_sign_in", description=__doc__)
    parser.add_argument("--long", action="store_true", help="pages in a real Chromium too")
    options = parser.parse_args(arguments)
    result = asyncio.run(attack(options))
    for each in [each for each in result["found"] if each.status != 401][:20]:
        told(f"let in: {each}")
    return keep(page(result), is_long=options.long)


if __name__ == "__main__":
    sys.exit(main())
