"""Bytes and launches: what runs compiled kernels, and knows nothing of how they were made."""
