"""`python -m talweg`: the `talweg` command."""

from __future__ import annotations

from talweg.tools.cli import main

if __name__ == "__main__":
    main()
