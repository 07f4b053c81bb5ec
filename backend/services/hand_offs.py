"""What the audit log says of carts handed to a partner: one record a message, people as keyed pseudonyms only."""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime

from backend.db import Transaction
from backend.domain.audit import Deed, pseudonym
from backend.domain.work import DestinationTurn
from backend.services.audit import note_all
from backend.services.keyring import Keyring

ACTION = "delivery.handed_off"
PURPOSE = b"audit people"


async def note_hand_offs(
    tx: Transaction, keyring: Keyring, turn: DestinationTurn, handed: Mapping[str, Set[str]], now: datetime
) -> None:
    """Record the messages that a partner accepted: `handed` says whose carts (customers' ids) each delivery holds.

    Call it last in the transaction that settles them. `key_version` says which data key the pseudonyms come from:
    under the next one a person has another.
    """
    if not handed:
        return
    company_id = turn.company_id
    version = await keyring.newest_version(tx, company_id, now)
    key = await keyring.derived(tx, company_id, version, PURPOSE)
    about = {"destination_id": turn.destination_id, "key_version": version}
    deeds = [
        Deed(ACTION, delivery_id, {**about, "people": sorted(pseudonym(key, person) for person in people)})
        for delivery_id, people in sorted(handed.items())
    ]
    await note_all(tx, company_id, now, deeds)
