"""Replays: jobs over topics and files with bounds that are fixed once, resumed by their id, out of live traffic's way."""
