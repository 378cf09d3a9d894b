"""Derivatives of Graphs, made as Nodes by the vjp rules."""
