"""Target: what a schedule and the code generator must know of a machine."""

from __future__ import annotations

import functools

from talweg.base.frozen import frozen


@frozen
class Target:
    """A CPU as LLVM names it.

    Args:
        triple: for example `x86_64-unknown-linux-gnu`.
        cpu: LLVM's name of the processor.
        features: as LLVM writes them, `+avx2,-avx512f,…`, sorted.
        level: code generation effort, 0 to 3.
        width: bytes of the vectors to be used; 0 for those of the CPU.
    """

    triple: str
    cpu: str
    features: str
    level: int = 1
    width: int = 0

    def has(self, feature: str) -> bool:
        """Whether a feature is switched on."""
        return f"+{feature}" in self.features.split(",")

    @functools.cached_property
    def is_x86(self) -> bool:
        """Whether this is an x86 processor, of 32 or 64 bits."""
        return self.triple.startswith(("x86_64", "i386", "i486", "i586", "i686"))

    @functools.cached_property
    def is_aarch64(self) -> bool:
        """Whether this is a 64-bit Arm processor."""
        return self.triple.startswith(("aarch64", "arm64"))

    @functools.cached_property
    def vector_bytes(self) -> int:
        """The width of a vector."""
        if self.width:
            return self.width
        if self.is_x86:
            return 64 if self.has("avx512f") else 32 if self.has("avx2") else 16
        return 16

    @functools.cached_property
    def fma(self) -> bool:
        """Whether a fused multiply-add is one instruction."""
        return self.is_aarch64 or (self.is_x86 and self.has("fma"))

    @functools.cached_property
    def streams(self) -> bool:
        """Whether vectors can be written past the caches."""
        return self.is_x86

    @functools.cached_property
    def rounding(self) -> bool:
        """Whether rounding to a whole number is one instruction."""
        return self.is_aarch64 or (self.is_x86 and self.has("sse4.1"))

    @functools.cached_property
    def half(self) -> bool:
        """Whether float16 converts to and from float32 in one instruction."""
        return self.is_aarch64 or (self.is_x86 and self.has("f16c"))

    def scales(self, bits: int) -> bool:
        """Whether vectors of that many bits are multiplied by powers of 2 in one instruction."""
        short = self.has("avx512vl") and bits in (128, 256)
        return self.is_x86 and self.has("avx512f") and (short or bits == 512)

    @functools.cached_property
    def pairs(self) -> bool:
        """Whether pairs of 16-bit integers are multiplied and added in one instruction."""
        wide = {64: "avx512bw", 32: "avx2", 16: "sse2"}.get(self.vector_bytes)
        return self.is_x86 and wide is not None and (wide == "sse2" or self.has(wide))

    @functools.cached_property
    def matrices(self) -> bool:
        """Whether matrices of bfloat16 are multiplied in one instruction, and may be."""
        tiles = self.has("amx-tile") and self.has("amx-bf16")
        return self.is_x86 and tiles and self.vector_bytes == 64 and self.has("avx512bw")

    def masks(self, bits: int) -> bool:
        """Whether loads and stores of chosen lanes of that many bits are instructions."""
        if not self.is_x86:
            return False
        return (self.has("avx512bw") and self.has("avx512vl")) or (self.has("avx2") and bits >= 32)

    @functools.cached_property
    def key(self) -> str:
        """All of the target that shapes code."""
        return f"{self.triple} {self.cpu} O{self.level} w{self.width} {self.features}"
