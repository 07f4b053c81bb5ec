"""kill -9 at every named moment of the work, again and again, on SQLite and PostgreSQL; run with `make chaos`.

Each run is a scene of its own: two simulated stores, a partner that verifies and dedupes, a fresh database, a worker
process that is killed by SIGKILL from outside, and another one that finishes. Afterwards the partner's effects must
equal the stores' carts. The nth coming of the moment is drawn anew for each run; `--seed` repeats a whole series.

The work itself is in `chaos_runs`: processes that are started import this module anew, so it stays empty.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from benchmarks.chaos_runs import main

    sys.exit(main())
