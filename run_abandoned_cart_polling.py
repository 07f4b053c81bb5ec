"""Poll stores for abandoned carts and hand them to partners, without the web server. No logic lives here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from scripts.needs import need_packages

need_packages()

import typer

from backend.services.poller import LEAST_INTERVAL, MOST_INTERVAL
from scripts.polling_run import Order, run

HELP = """Poll every active store for abandoned carts and hand each one to its partners.

Runs until Ctrl-C or SIGTERM, which let work in flight end first (10 s at most). Polling is set to running at the start;
a stop over the API or the console is obeyed, and so is a later start. Settings come from the environment, .env.local
and .env; .env.example lists them.

Exit codes: 0 ended in order, or the one cycle went well; 1 a store or a delivery of the one cycle failed; 2 a setting,
a file or the database is at fault, or another process already runs the loops of this SQLite database.
"""


def main(
    interval: Annotated[
        int | None,
        typer.Option(
            min=LEAST_INTERVAL,
            max=MOST_INTERVAL,
            metavar="S",
            help="Seconds between two beats of polling. Left out: what was set last, POLLING_INTERVAL at first.",
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Run one cycle and end. Works beside a running worker and leaves it alone.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print each cycle's report as JSON (docs/cycle-report.schema.json); logs go to standard error.",
        ),
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Poll simulated stores and a simulated partner on this machine.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Apply this configuration first, as scripts/apply_config.py would."),
    ] = None,
) -> None:
    raise typer.Exit(run(Order(interval, once, as_json, demo, config)))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(help=HELP)(main)
    sys.exit(app())
