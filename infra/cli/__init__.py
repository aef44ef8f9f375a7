"""The `headrace` command: one file a group of commands, `main` puts them together.

Imports stand inside the functions that run a command wherever they need more than the contract (`topology/*.py`): a
machine that only asks installs no torch, and `--help` answers at once. Nothing else in Headrace hides an import.
"""
