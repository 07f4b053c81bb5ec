"""The console in the system's Chromium: buttons work in place, nothing breaks, and a phone shows it whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from backend.config import ROOT

pytestmark = pytest.mark.browser

SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
PAGES = ["/", "/docs", "/carts", "/deliveries"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a real server with one made-up store and a partner that never answers."""
    folder = tmp_path_factory.mktemp("console")
    log = folder / "server.log"
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{folder}/carts.db", "OUTBOUND_ALLOW_LOOPBACK": "true"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "backend.main:app", "--port", "0"],
            cwd=ROOT, stdout=output, stderr=output, env=environment,
        )  # fmt: skip
    try:
        found = _address(process, log)
        _fill(found)
        yield found
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    while process.poll() is None:
        said = log.read_text()
        if "running on " in said:
            return said.partition("running on ")[2].split()[0]
    raise AssertionError(log.read_text())


def _fill(address: str) -> None:
    with httpx.Client(base_url=f"{address}/api/v1", timeout=30) as client:
        company = client.post("/companies", json={"name": "Acme with quite a long name for a company"}).json()["id"]
        agent = client.post(f"/companies/{company}/agents", json={"name": "Recovery agent"}).json()["id"]
        store = {"agent_id": agent, "name": "a-store-with-a-rather-long-name-without-spaces", "platform": "mock"}
        partner = {"agent_id": agent, "name": "closed", "url": "http://127.0.0.1:1/hook", "max_carts_per_payload": 10}
        assert client.post(f"/companies/{company}/integrations", json=store).status_code == 201
        assert client.post(f"/companies/{company}/destinations", json=partner).status_code == 201


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return the system's Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "no Chromium: run scripts/install_test_servers.sh"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=SWITCHES)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a fresh page that fails its test when the console of the browser shows an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    troubles: list[str] = []
    opened.on(
        "console", lambda message: troubles.append(message.text) if message.type in {"error", "warning"} else None
    )
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    yield opened
    context.close()
    assert troubles == []


def test_start_and_stop_work_without_leaving_the_page(page: Page, address: str) -> None:
    page.goto(address)
    page.evaluate("window.stayed = true")
    page.get_by_label("Every").fill("3600")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#said")).to_contain_text("Polling is wanted")
    expect(page.locator("#live .state")).to_contain_text("running")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#live .state")).to_contain_text("stopped")
    assert page.evaluate("window.stayed") is True


def test_test_once_shows_what_it_did(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Test once").click()
    expect(page.locator("#said")).to_contain_text("Polled 1 store", timeout=30_000)
    expect(page.locator("#cycles + .plots svg")).to_have_count(2)


def test_the_page_freshens_itself(page: Page, address: str) -> None:
    page.goto(address)
    before = page.locator("#live .state .label + .pill").text_content()
    httpx.post(f"{address}/polling/{'stop' if before == 'running' else 'start?interval=3600'}")
    expect(page.locator("#live .state .label + .pill")).not_to_have_text(str(before), timeout=10_000)
    httpx.post(f"{address}/polling/stop")


def test_the_buttons_work_without_scripts(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    opened.get_by_role("button", name="Stop").click()
    opened.get_by_label("Every").fill("3600")
    opened.get_by_role("button", name="Start").click()
    expect(opened.locator("#said")).to_contain_text("Polling is wanted")
    opened.get_by_role("button", name="Stop").click()
    expect(opened.locator("#live .state")).to_contain_text("stopped")
    context.close()


def test_a_lost_service_is_told_and_found_again(browser: Browser, address: str) -> None:
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(address)
    context.set_offline(offline=True)
    expect(opened.locator("#offline")).to_be_visible(timeout=10_000)
    context.set_offline(offline=False)
    expect(opened.locator("#offline")).to_be_hidden(timeout=10_000)
    context.close()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(page: Page, address: str, path: str, scheme: str) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(address + path)
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_the_reference_opens_an_operation(page: Page, address: str) -> None:
    page.goto(f"{address}/docs#group-polling")
    page.locator("#group-polling details summary").first.click()
    expect(page.locator("#group-polling details").first).to_contain_text("curl")


def test_every_group_of_the_api_is_a_click_away(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="deliveries", exact=True).click()
    expect(page.locator("#group-deliveries")).to_be_in_viewport()
