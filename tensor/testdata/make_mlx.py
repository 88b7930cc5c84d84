#!/usr/bin/env python3
"""Makes the fixtures of MLX's quantizations with mlx.core.dequantize.

    pip install 'mlx[cpu]==0.32.4' numpy && python make_mlx.py

Each file mlx/<mode>-<bits>-<group>-<type of scales>.bin is a matrix [4, 256] of
random codes: the codes, scales, biases (affine only) and what MLX makes of them
computing in float32, all little-endian.

Affine scales are any finite numbers of their type. Those of the floating-point
modes are every byte, the reserved ones too; codes of mxfp8 also.
"""

import pathlib

import mlx.core as mx
import numpy as np

HERE = pathlib.Path(__file__).parent / "mlx"
ROWS, COLS = 4, 256
TYPES = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}


def numbers(rng, shape, name):
    """Random finite numbers of a type as MLX has it, and their bytes."""
    a = mx.array(rng.normal(size=shape).astype(np.float32) * 10.0 ** rng.integers(-6, 3, shape))
    a = a.astype(TYPES[name])
    raw = a if name == "F32" else mx.view(a, mx.uint16)
    return a, np.array(raw).tobytes()


def main():
    mx.set_default_device(mx.cpu)
    HERE.mkdir(exist_ok=True)
    rng = np.random.default_rng(2026)
    cases = [("affine", b, g, list(TYPES)[(i + j) % 3]) for i, b in enumerate([2, 3, 4, 5, 6, 8]) for j, g in enumerate([32, 64, 128])]
    cases += [("mxfp4", 4, 32, "U8"), ("mxfp8", 8, 32, "U8"), ("nvfp4", 4, 16, "U8")]
    for mode, bits, group, name in cases:
        words = rng.integers(0, 2**32, (ROWS, COLS * bits // 32), dtype=np.uint32)
        raw = words.tobytes()
        shape = (ROWS, COLS // group)
        if mode == "affine":
            scales, s = numbers(rng, shape, name)
            biases, b = numbers(rng, shape, name)
            raw += s + b
            out = mx.dequantize(mx.array(words), scales.astype(mx.float32), biases.astype(mx.float32), group, bits)
        else:
            s = rng.permutation(256).astype(np.uint8)[: shape[0] * shape[1]].reshape(shape)
            s.flat[:2] = 255, 0
            raw += s.tobytes()
            out = mx.dequantize(mx.array(words), mx.array(s), group_size=group, bits=bits, mode=mode, dtype=mx.float32)
        out = np.array(out)
        assert out.dtype == np.float32 and out.shape == (ROWS, COLS)
        (HERE / f"{mode}-{bits}-{group}-{name}.bin").write_bytes(raw + out.tobytes())


if __name__ == "__main__":
    main()
