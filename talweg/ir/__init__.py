"""The one graph: types, Ops, Nodes, Graphs, their text form, verifier and interpreter."""
