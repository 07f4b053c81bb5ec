"""Pages of other origins in a real Chromium that try to reach the service, and a name that is bound to it anew."""

from __future__ import annotations

import http.server
import re
import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, sync_playwright

SWITCHES = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--host-resolver-rules=MAP evil.example 127.0.0.1,MAP *.evil.example 127.0.0.1",
)  # fmt: skip
PATIENCE = 30  # tenths of a second for a request to arrive
EMPTY = b"<!doctype html><title>a page of somebody else</title><body></body>"
# What a page can do without anybody's help; each is a script with the service's address in `at`.
TRICKS = {
    "fetch": "fetch(at + '/polling/status').catch(() => 0)",
    "fetch without CORS": "fetch(at + '/polling/status', {mode: 'no-cors'}).catch(() => 0)",
    "fetch with cookies": "fetch(at + '/polling/status', {credentials: 'include', mode: 'no-cors'}).catch(() => 0)",
    "POST without CORS": "fetch(at + '/polling/start', {method: 'POST', mode: 'no-cors'}).catch(() => 0)",
    "POST of JSON": "fetch(at + '/api/v1/companies', {method: 'POST', headers: {'Content-Type': 'application/json'}, "
    "body: JSON.stringify({name: 'evil'})}).catch(() => 0)",
    "beacon": "navigator.sendBeacon(at + '/console/start')",
    "image": "document.body.append(Object.assign(new Image(), {src: at + '/polling/status'}))",
    "script": "document.body.append(Object.assign(document.createElement('script'), {src: at + '/openapi.json'}))",
    "style": "document.body.append(Object.assign(document.createElement('link'), "
    "{rel: 'stylesheet', href: at + '/console/live'}))",
    "frame": "document.body.append(Object.assign(document.createElement('iframe'), {src: at + '/'}))",
    "form": "(() => { const form = Object.assign(document.createElement('form'), {method: 'POST', target: '_blank', "
    "action: at + '/console/start'}); document.body.append(form); form.submit(); })()",
    "link": "(() => { const link = Object.assign(document.createElement('a'), {href: at + '/'}); "
    "document.body.append(link); link.click(); })()",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer of the service that the browser got to see: after which trick, from which page."""

    page: str
    trick: str
    status: int


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer with an empty page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(EMPTY)))
        self.end_headers()
        self.wfile.write(EMPTY)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it so
        """Say nothing."""


@contextmanager
def pages() -> Iterator[int]:
    """Serve the pages of somebody else while the block lasts; yields the port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class _Relay(socketserver.BaseRequestHandler):
    """Passes one request on as it is and notes the answer's status: what a page may not see is seen here."""

    server: Relay

    def handle(self) -> None:
        """Serve one connection, which carries one request."""
        head, _, body = self._head().partition(b"\r\n\r\n")
        if not head:
            return
        announced = re.search(rb"(?im)^content-length: *(\d+)", head)
        while announced and len(body) < int(announced[1]):
            body += self.request.recv(65536)
        head = re.sub(rb"(?im)^connection: [^\r]*\r\n", b"", head)
        with socket.create_connection(("127.0.0.1", self.server.to)) as there:
            there.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
            answer = b"".join(iter(lambda: there.recv(65536), b""))
        # After a link to the service the browser itself asks for this, of its own and for nobody's page.
        if not head.startswith(b"GET /favicon.ico "):
            self.server.statuses.append(int(answer.split(maxsplit=2)[1]))
        self.request.sendall(answer)

    def _head(self) -> bytes:
        read = b""
        while b"\r\n\r\n" not in read:
            part = self.request.recv(65536)
            if not part:
                return b""
            read += part
        return read


class Relay(socketserver.ThreadingTCPServer):
    """Stands before the service at port `to`; `statuses` are those of its answers since they were last cleared."""

    daemon_threads = True

    def __init__(self, to: int) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        self.to = to
        self.statuses: list[int] = []


@contextmanager
def relayed(to: int) -> Iterator[Relay]:
    """Run a relay while the block lasts."""
    with Relay(to) as relay:
        thread = threading.Thread(target=relay.serve_forever)
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium. Raises `RuntimeError` when there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise RuntimeError("no Chromium: run scripts/install_test_servers.sh")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(SWITCHES))
        try:
            yield browser
        finally:
            browser.close()


def browse(browser: Browser, port: int) -> list[Seen]:
    """Try every trick from pages of other origins, then the service itself under names that lead to it."""
    seen: list[Seen] = []
    with pages() as other, relayed(port) as relay:
        for page in (f"http://localhost:{other}", f"http://127.0.0.1:{other}", f"http://evil.example:{other}"):
            for name in ("localhost", "127.0.0.1"):
                for trick in TRICKS:
                    seen += _tried(browser, relay, page, (trick, name))
    for host in ("evil.example", "localhost.evil.example"):
        for path in ("/", "/polling/status", "/openapi.json"):
            seen.append(Seen("rebinding", f"{host} {path}", visit(browser, f"http://{host}:{port}{path}")))
    return seen


def visit(browser: Browser, url: str) -> int:
    """Type an address into the browser; return the answer's status."""
    context = browser.new_context()
    try:
        answer = context.new_page().goto(url)
        return answer.status if answer else 0
    finally:
        context.close()


def _tried(browser: Browser, relay: Relay, page: str, how: tuple[str, str]) -> list[Seen]:
    """Try a trick, under one of the service's names; return each answer that the service gave."""
    trick, name = how
    relay.statuses.clear()
    context = browser.new_context()
    try:
        tab = context.new_page()
        tab.goto(page)
        tab.evaluate(f"at => {{ {TRICKS[trick]}; }}", f"http://{name}:{relay.server_address[1]}")
        for _ in range(PATIENCE):
            tab.wait_for_timeout(100)
            if relay.statuses:
                break
        tab.wait_for_timeout(100)
    finally:
        context.close()
    return [Seen(page.rpartition(":")[0], f"{trick} to {name}", status) for status in relay.statuses]
