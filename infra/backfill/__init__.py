"""Replays: jobs over topics and files, with bounds fixed once, resumed by id, out of live traffic's way."""
