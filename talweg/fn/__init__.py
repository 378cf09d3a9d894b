"""Composites: plain functions that promote, broadcast and call ops. Node in, Node out.

Each function reads `f(b, x, ...)`, with PyTorch's signature after the Builder `b`. Modules end with

- `PUBLIC`: the functions that users see as `talweg.<name>`, and `ALIASES`: their other names,
- `FUNCTIONAL`: where there is one, the functions that users see as `talweg.nn.functional.<name>`,
- `METHODS`: names of functions of the module that are Tensor methods,
- `INPLACE`: those methods that also exist with a trailing underscore,
- `VIEWS` and `PROPERTIES` (in `views`): functions whose result shares memory; names of properties.
"""
