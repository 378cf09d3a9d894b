"""Programs that stand on talweg: the command line and the demonstrations."""
