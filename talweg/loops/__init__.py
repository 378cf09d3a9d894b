"""Loop nests: the kernel language that every op is lowered to. It knows no graph and no device."""
