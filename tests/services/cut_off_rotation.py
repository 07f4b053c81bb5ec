"""A process that rotates a company's data key and stands still after a commit, to be killed there.

`python -m tests.services.cut_off_rotation DATABASE_URL MASTER_KEY COMPANY NTH` says `reached` at the nth commit.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
from datetime import timedelta

from backend.config import Settings
from backend.db import Database
from backend.services import data_keys
from backend.services.data_keys import DataKeyRotation
from backend.services.keyring import Keyring
from tests.services.line import SetClock


async def main(url: str, master_key: str, company: str, nth: int) -> None:
    """Rotate, a value a commit, and stop for good."""
    done = 0

    async def stop() -> None:
        nonlocal done
        done += 1
        if done == nth:
            sys.stdout.write("reached\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGSTOP)

    data_keys.AT_ONCE = 1
    database = Database(Settings(_env_file=None, database_url=url))
    rotation = DataKeyRotation(database, SetClock(), Keyring(base64.b64decode(master_key)), stop)
    await rotation.rotate(company, timedelta(0))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
