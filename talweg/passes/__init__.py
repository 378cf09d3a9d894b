"""From a Graph to a Plan of loop nests. `pipeline` is the page to read."""
