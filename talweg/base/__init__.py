"""Dtypes, shapes, errors, configuration and the user's line: nothing here knows a graph."""
