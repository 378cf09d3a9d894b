"""The version of talweg."""

VERSION = "0.1.0"
