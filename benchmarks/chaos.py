"""Processes are killed, the database and Redis go away, and account is taken; run with `make chaos`.

The short form takes minutes and runs in CI, `--long` takes hours; `--only` names one experiment, `--seed` repeats what
chance chose. Each experiment keeps its table and what is raw in `benchmarks/results/`; the exit code is 1 when one of
them did not pass.

The work itself is in `chaos_runs`: processes that are started import this module anew, so it stays empty.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from benchmarks.chaos_runs import main

    sys.exit(main())
