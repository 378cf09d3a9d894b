"""`tw.compile`: functions that run their Python code once and are replayed afterwards."""
