"""The eager engine: Tensors over the graph, the tape, evaluation."""
