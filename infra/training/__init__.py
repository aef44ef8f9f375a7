"""Trains a tenant's head on the frozen encoder's own serving output."""
