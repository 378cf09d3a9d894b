"""What is done while the site is built: pictures are drawn, and the reference is written."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # a hook is a file, not a module of a package

import pictures  # noqa: E402
import reference  # noqa: E402

PICTURE = re.compile(r"<!-- picture: (\w+) -->")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)\)")


def on_config(config: Any) -> Any:
    """Enter the reference and the design notes, page by page, in what leads through the site."""
    notes = sorted(Path(config["docs_dir"], "notes").glob("[0-9]*.md"))
    listed = ["notes/README.md", *(f"notes/{path.name}" for path in notes)]
    names = list(reference.pages())
    config["nav"] = [*config["nav"], {"Reference": names}, {"Design notes": listed}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the reference."""
    for path, text in reference.pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Draw the pictures of a page; links to the sources become plain text."""
    folder = Path(config["docs_dir"])
    here = folder.joinpath(page.file.src_uri).parent

    def kept(link: re.Match[str]) -> str:
        inside = here.joinpath(link[2]).resolve().is_relative_to(folder.resolve())
        return link[0] if inside else link[1]

    return PICTURE.sub(lambda m: pictures.figure(m[1]), LINK.sub(kept, markdown))
