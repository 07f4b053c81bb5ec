"""People in the system's Chromium: come in with a link, sign in, look after the account, sign out."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_console import address, browser, page

__all__ = ["address", "browser", "page"]

pytestmark = pytest.mark.browser

PASSWORD = "copper lantern under nine stairs"


@pytest.fixture(scope="module")
def ada(browser: Browser, address: str) -> str:
    """Return the e-mail address of an owner who came in with a link, as a person would."""
    body = {"email": "ada@example.com", "role": "owner"}
    url = httpx.post(f"{address}/api/v1/invitations", json=body).json()["url"]
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(f"{address}/join#{url.partition('#')[2]}")
    assert "#" not in opened.url
    opened.get_by_label("Your name").fill("Ada Lovelace")
    opened.locator("input[name=password]").fill(PASSWORD)
    opened.get_by_role("button", name="Come in").click()
    expect(opened.get_by_role("status")).to_contain_text("Welcome")
    context.close()
    return body["email"]


def sign_in(page: Page, address: str, email: str, *, place: str = "/") -> None:
    page.goto(f"{address}/sign-in?next={place}")
    page.get_by_label("E-mail address").fill(email)
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Ada Lovelace")).to_be_visible()


def test_whoever_signs_in_may_press_the_buttons(page: Page, address: str, ada: str) -> None:
    sign_in(page, address, ada)
    page.get_by_label("Every").fill("3600")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#said")).to_contain_text("Polling")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#said")).to_contain_text("Polling")


def test_whoever_signs_out_is_out(page: Page, address: str, ada: str) -> None:
    sign_in(page, address, ada)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_contain_text("signed out")
    assert page.context.cookies() == []


def test_no_script_sees_the_session(page: Page, address: str, ada: str) -> None:
    sign_in(page, address, ada)
    assert (len(page.context.cookies()), page.evaluate("document.cookie")) == (2, "")


def test_the_second_factor_is_shown_as_a_picture(page: Page, address: str, ada: str) -> None:
    sign_in(page, address, ada, place="/account")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Set up").click()
    assert page.locator(".qr").evaluate("picture => picture.naturalWidth") > 0


@pytest.mark.parametrize("path", ["/sign-in", "/join", "/account", "/people"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(page: Page, address: str, ada: str, path: str, scheme: str) -> None:
    sign_in(page, address, ada)
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(address + path)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
