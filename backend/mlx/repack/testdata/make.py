#!/usr/bin/env python3
"""Makes the fixtures of package repack.

    pip install numpy 'mlx[cpu]==0.32.4' && python make.py PATH/libggml-base.so

libggml-base.so is llama.cpp's; the npm package @node-llama-cpp/linux-x64 has one.

<mode><bits>.bin  weights [4, 64] in groups of 32 as MLX has them, of random bits:
                  packed words, scales, biases (or exponents), and then what
                  mlx.core.dequantize makes of them in float32
normal.bin        8192 normal random numbers, float32
<TYPE>.bin        the same as ggml quantizes them, in rows of 512

Everything is little-endian.
"""

import ctypes
import pathlib
import sys

import mlx.core as mx
import numpy as np

HERE = pathlib.Path(__file__).parent
TYPES = {"Q2_K": (10, 84), "Q3_K": (11, 110), "Q6_K": (14, 210)}  # ggml_type, bytes of a block


def layouts(rng):
    rows, cols = 4, 64
    for bits in 4, 5, 8:
        packed = rng.integers(0, 2**32, (rows, cols * bits // 32), dtype=np.uint32)
        scales, biases = rng.normal(size=(2, rows, cols // 32)).astype("<f4")
        out = mx.dequantize(mx.array(packed), mx.array(scales), mx.array(biases), group_size=32, bits=bits)
        yield f"affine{bits}", [packed, scales, biases, np.array(out)]
    packed = rng.integers(0, 2**32, (rows, cols * 4 // 32), dtype=np.uint32)
    exponents = np.array([[0, 1], [2, 100], [127, 128], [200, 254]], np.uint8)
    out = mx.dequantize(mx.array(packed), mx.array(exponents), group_size=32, bits=4, mode="mxfp4", dtype=mx.float32)
    yield "mxfp44", [packed, exponents, np.array(out)]


def main():
    rng = np.random.default_rng(2026)
    for name, arrays in layouts(rng):
        (HERE / f"{name}.bin").write_bytes(b"".join(a.tobytes() for a in arrays))

    ggml = ctypes.CDLL(sys.argv[1])
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    x = rng.normal(size=(16, 512)).astype("<f4")
    (HERE / "normal.bin").write_bytes(x.tobytes())
    for name, (number, size) in TYPES.items():
        out = np.zeros(x.size // 256 * size, np.uint8)
        written = ggml.ggml_quantize_chunk(number, x.ctypes.data, out.ctypes.data, 0, *x.shape, None)
        assert written == out.size, name
        (HERE / f"{name}.bin").write_bytes(out.tobytes())


main()
