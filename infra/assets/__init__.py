"""Encoders and data sets from Python packages."""
