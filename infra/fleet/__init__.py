"""Cells and tenants: which cell takes which share, who lives where, and moving them under load."""
