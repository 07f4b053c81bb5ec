"""Sealed values open in their own place with their own key, and nowhere else; the development key file."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from backend.config import ROOT, Settings
from backend.crypto import NONCE, TAG, VERSION, SealBroken, key_fingerprint, load_master_key, new_key, seal, unseal
from backend.errors import SetupProblem

KEY, PLACE = bytes(range(32)), "company/integrations/credentials_sealed/row/v1"


@given(plain=st.binary(max_size=200), place=st.text(max_size=40))
def test_what_was_sealed_opens(plain: bytes, place: str) -> None:
    assert unseal(KEY, seal(KEY, plain, place), place) == plain


def test_the_same_value_is_never_sealed_alike() -> None:
    assert len({seal(KEY, b"token", PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "place",
    [
        "other/integrations/credentials_sealed/row/v1",
        "company/destinations/credentials_sealed/row/v1",
        "company/integrations/settings/row/v1",
        "company/integrations/credentials_sealed/other/v1",
        "company/integrations/credentials_sealed/row/v2",
        "",
    ],
)
def test_a_value_moved_elsewhere_does_not_open(place: str) -> None:
    sealed = seal(KEY, b"token", PLACE)
    with pytest.raises(SealBroken):
        unseal(KEY, sealed, place)


@pytest.mark.parametrize("at", range(1 + 12 + 5 + 16))
def test_a_single_flipped_bit_is_noticed(at: int) -> None:
    sealed = bytearray(seal(KEY, b"token", PLACE))
    sealed[at] ^= 1
    with pytest.raises(SealBroken):
        unseal(KEY, bytes(sealed), PLACE)


@pytest.mark.parametrize("length", range(1 + 12 + 5 + 16))
def test_a_value_cut_short_is_noticed(length: int) -> None:
    sealed = seal(KEY, b"token", PLACE)[:length]
    with pytest.raises(SealBroken):
        unseal(KEY, sealed, PLACE)


def test_another_key_does_not_open_it() -> None:
    sealed = seal(KEY, b"token", PLACE)
    with pytest.raises(SealBroken):
        unseal(new_key(), sealed, PLACE)


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_only_keys_of_256_bits_seal_and_open(size: int) -> None:
    key, sealed = b"k" * size, seal(new_key(), b"x", "p")
    with pytest.raises(SealBroken, match="32 bytes"):
        seal(key, b"x", "p")
    with pytest.raises(SealBroken, match="32 bytes"):
        unseal(key, sealed, "p")


def test_a_sealed_value_is_a_version_a_nonce_and_what_aes_256_gcm_makes_of_it() -> None:
    key = new_key()
    sealed = seal(key, b"plain", "place")
    assert (sealed[:1], len(sealed)) == (VERSION, 1 + NONCE + len(b"plain") + TAG)
    assert AESGCM(key).decrypt(sealed[1 : 1 + NONCE], sealed[1 + NONCE :], b"place") == b"plain"


@pytest.mark.parametrize("version", [b"\x00", b"\x02", b""])
def test_a_version_that_nobody_knows_is_not_opened(version: bytes) -> None:
    key = new_key()
    with pytest.raises(SealBroken, match="version"):
        unseal(key, version + seal(key, b"x", "p")[1:], "p")


def test_a_fingerprint_names_the_key_and_shows_nothing_of_it() -> None:
    key = new_key()
    assert key_fingerprint(key) == key_fingerprint(key) != key_fingerprint(new_key())
    assert key_fingerprint(key) not in key.hex()


def settings(folder: Path, **fields: str) -> Settings:
    return Settings(_env_file=None, **{"database_url": f"sqlite:///{folder / 'carts.db'}", **fields})  # type: ignore[arg-type]


def test_the_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first, second = load_master_key(settings(tmp_path)), load_master_key(settings(tmp_path))
    (file,) = tmp_path.glob("*.key*")
    assert (first == second, len(first), file.stat().st_mode & 0o777) == (True, 32, 0o600)


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    program = (
        "from backend.config import Settings; from backend.crypto import load_master_key; import sys;"
        "print(load_master_key(Settings(_env_file=None, database_url=sys.argv[1])).hex())"
    )
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path / 'carts.db'}"]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    keys = {process.communicate(timeout=60)[0] for process in running}
    assert (len(keys), [process.returncode for process in running]) == (1, [0] * 4)


def test_a_key_that_is_set_is_used(tmp_path: Path) -> None:
    key = os.urandom(32)
    assert load_master_key(settings(tmp_path, master_key=base64.b64encode(key).decode())) == key
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("env", ["production", "development"])
def test_elsewhere_the_key_must_be_set(tmp_path: Path, env: str) -> None:
    with pytest.raises(SetupProblem, match="MASTER_KEY"):
        load_master_key(settings(tmp_path, env=env, database_url="postgresql://localhost/carts"))


@pytest.mark.parametrize("text", ["", "not base64!", "c2hvcnQ="])
def test_a_damaged_key_file_is_a_set_up_problem_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "carts.key").write_text(text)
    with pytest.raises(SetupProblem, match=r"carts\.key"):
        load_master_key(settings(tmp_path))
