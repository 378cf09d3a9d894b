"""How a loop nest is cut into work for threads and vectors: moves on nests, and their choice."""
