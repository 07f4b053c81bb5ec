"""People's secrets in the story: passwords, links, tokens, the second factor and its recovery codes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import httpx

from benchmarks.attack_secrets_story import Story

ACCOUNT = "/api/v1/account"
EMAIL = "owner@carts.example"


async def live_as_a_person(story: Story) -> None:
    """Be invited, come in, mistype, sign in, renew, and use a second factor. Raises `RuntimeError` when refused."""
    canaries = story.world.canaries
    password = canaries.word("password", "stairs ")
    link = await told(story, "/api/v1/invitations", {"email": EMAIL, "role": "owner"})
    code = canaries.add("code of an invitation", link.json()["url"].partition("#")[2])
    await told(story, f"{ACCOUNT}/join", {"code": code, "name": "Ada", "password": password})
    await story.ask("POST", f"{ACCOUNT}/join", json={"code": code, "name": "Ada", "password": password})
    for wrong in (canaries.word("mistyped password"), f"{password} "):
        await story.ask("POST", f"{ACCOUNT}/sign-in", json={"email": EMAIL, "password": wrong})
        await story.ask("POST", "/sign-in", data={"email": EMAIL, "password": wrong})
    tokens = (await told(story, f"{ACCOUNT}/sign-in", {"email": EMAIL, "password": password})).json()
    first = canaries.add("refresh token", tokens["refresh_token"])
    canaries.add("access token", tokens["access_token"])
    tokens = (await told(story, f"{ACCOUNT}/refresh", {"refresh_token": first})).json()
    canaries.add("second refresh token", tokens["refresh_token"])
    headers = {"Authorization": f"Bearer {canaries.add('second access token', tokens['access_token'])}"}
    await second_factor(story, password, headers)
    for path in ("", "/sessions"):
        await story.ask("GET", f"{ACCOUNT}{path}", headers=headers)
    # Twice at once is taken for a lost answer, and told the same again.
    await story.ask("POST", f"{ACCOUNT}/refresh", tells=False, json={"refresh_token": first})
    await story.ask("POST", f"{ACCOUNT}/refresh", json={"refresh_token": f"{first}x"})
    await story.ask("GET", ACCOUNT, headers=headers)


async def second_factor(story: Story, password: str, headers: dict[str, str]) -> None:
    """Enrol an authenticator, and sign in with it."""
    canaries, path = story.world.canaries, f"{ACCOUNT}/second-factor"
    secret = (await told(story, path, {"password": password}, headers)).json()["secret"]
    canaries.add("secret of a second factor", secret, raw=base64.b32decode(secret + "=" * (-len(secret) % 8)))
    confirmed = await told(story, f"{path}/confirm", {"code": code_now(secret)}, headers)
    for number, code in enumerate(confirmed.json()["recovery_codes"]):
        canaries.add(f"recovery code {number}", code)
    await story.ask("POST", f"{ACCOUNT}/sign-in", json={"email": EMAIL, "password": password, "code": "000000"})


async def told(story: Story, path: str, body: dict[str, str], headers: dict[str, str] | None = None) -> httpx.Response:
    """Ask for what tells a secret once. Raises `RuntimeError` when it is refused."""
    answer = await story.ask("POST", path, tells=False, json=body, headers=headers or {})
    if not answer.is_success:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
    return answer


def code_now(secret: str) -> str:
    """Return the code of an authenticator (RFC 6238) for now."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    mac = hmac.digest(key, int(time.time() // 30).to_bytes(8, "big"), hashlib.sha1)
    start = mac[-1] & 15
    return f"{(int.from_bytes(mac[start : start + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"
