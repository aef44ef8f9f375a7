"""Files as a source: JSON lines, CSV and Parquet, on this machine or at any URL that fsspec knows."""
