#!/usr/bin/env python3
"""Makes the fixtures of package npz: archives as MLX and NumPy write them.

    pip install 'mlx[cpu]==0.32.4' numpy && python make.py

mlx.npz, mlx-compressed.npz, numpy.npz, numpy-compressed.npz
    the arrays of arrays.json that the library can hold
arrays.json
    name: [type, shape, the elements' bytes in hexadecimal]
"""
import json, pathlib
import mlx.core as mx
import numpy as np

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(7)
ARRAYS = {
    "f32": rng.normal(size=(3, 5)).astype("<f4"),
    "f16": rng.normal(size=(4,)).astype("<f2"),
    "u32": rng.integers(0, 2**32, (2, 8), dtype=np.uint32),
    "u8": rng.integers(0, 256, (2, 3, 4), dtype=np.uint8),
    "i64": rng.integers(-9, 9, (2,)),
    "row": rng.normal(size=(1, 6)).astype("<f4"),
    "scalar": np.float32(2.5),
    "empty": np.zeros((0, 3), "<f4"),
    "zeros": np.zeros((64, 64), "<f4"),
    "model.layers.0.mlp.weight": rng.normal(size=(2, 2)).astype("<f4"),
}
NAMES = {"float32": "F32", "float16": "F16", "uint32": "U32", "uint8": "U8", "int64": "I64"}

about = {name: [NAMES[str(a.dtype)], list(a.shape), a.tobytes().hex()] for name, a in ARRAYS.items()}
np.savez(HERE / "numpy.npz", **ARRAYS)
np.savez_compressed(HERE / "numpy-compressed.npz", **ARRAYS)
arrays = {name: mx.array(a) for name, a in ARRAYS.items()}
bf16 = mx.array(rng.normal(size=(2, 4)).astype("<f4")).astype(mx.bfloat16)
about["bf16"] = ["BF16", [2, 4], np.array(mx.view(bf16, mx.uint16)).tobytes().hex()]
mx.savez(str(HERE / "mlx.npz"), bf16=bf16, **arrays)
mx.savez_compressed(str(HERE / "mlx-compressed.npz"), bf16=bf16, **arrays)
(HERE / "arrays.json").write_text(json.dumps(about) + "\n")
