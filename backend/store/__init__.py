"""All SQL. A store is made with a transaction and a company; only `work.py` looks across companies."""
