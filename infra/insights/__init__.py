"""Counts over live predictions, off the delivery path: usage, out-of-scope share, drift, label shift, latency."""
