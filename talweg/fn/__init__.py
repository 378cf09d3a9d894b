"""Composites: plain functions that promote, broadcast and call ops. Node in, Node out.

Each function reads `f(b, x, ...)`, with PyTorch's signature after the Builder `b`. Modules end with
`PUBLIC` (functions that users see as `talweg.<name>`), `METHODS` (names that are Tensor methods
too) and `INPLACE` (methods that also exist with a trailing underscore).
"""
