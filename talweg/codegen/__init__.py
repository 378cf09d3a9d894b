"""LoopNest -> LLVM IR -> machine code. Nothing here runs anything: `runtime` loads the bytes."""
