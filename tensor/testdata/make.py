#!/usr/bin/env python3
"""Makes the fixtures of package tensor with the gguf package (0.19).

    pip install gguf==0.19.0 && python make.py

types.txt    block sizes: name, elements, bytes
<TYPE>.bin   blocks of 2048 elements of random bits, then what gguf.quants makes
             of them as float32, both little-endian

Scales are any finite binary16 numbers: negative, subnormal and zero ones too.
"""

import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

HERE = pathlib.Path(__file__).parent
ELEMENTS = 2048

# Byte offsets of the binary16 scales in a block.
SCALES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0], T.F16: [0],
}
PLAIN = {T.F64: "<f8", T.I8: "i1", T.I16: "<i2", T.I32: "<i4", T.F32: "<f4"}


def reference(t, blocks):
    if t in PLAIN:
        with np.errstate(over="ignore", invalid="ignore"):
            return blocks.view(PLAIN[t]).astype(np.float32)
    if t == T.Q8_K:  # gguf.quants lacks it: float32 scale, 256 int8, 16 int16 sums
        scale = blocks[:, :4].copy().view("<f4")
        return scale * blocks[:, 4:260].view(np.int8).astype(np.float32)
    return dequantize(blocks, t)


def main():
    rng = np.random.default_rng(2026)
    with open(HERE / "types.txt", "w") as f:
        for t, (elements, size) in GGML_QUANT_SIZES.items():
            if t == T.Q8_1:
                size = 36  # ggml-common.h: two binary16 numbers since 2024, gguf still says float32
            print(t.name, elements, size, file=f)
    for t in [*SCALES, *PLAIN, T.BF16, T.Q8_K, T.MXFP4]:
        elements, size = GGML_QUANT_SIZES[t]
        blocks = rng.integers(0, 256, (ELEMENTS // elements, size), dtype=np.uint8)
        for at in SCALES.get(t, []):
            infinite = blocks[:, at + 1] & 0x7C == 0x7C
            blocks[infinite, at + 1] ^= 0x40
        if t == T.Q8_K:
            blocks[:, :4] = rng.normal(size=(len(blocks), 1)).astype("<f4").view(np.uint8)
        out = np.ascontiguousarray(reference(t, blocks), dtype="<f4")
        assert out.size == ELEMENTS, t
        (HERE / f"{t.name}.bin").write_bytes(blocks.tobytes() + out.tobytes())


if __name__ == "__main__":
    main()
