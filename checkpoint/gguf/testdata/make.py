#!/usr/bin/env python3
"""Makes the fixtures of package gguf with llama.cpp's own writer.

    pip install gguf==0.19.0 && python make.py

all.gguf        every metadata type, tensors of every type that there is
all.json        what is in it: metadata, and each tensor's type, shape and SHA-256
split-*.gguf    the same kind of model in three parts
"""

import hashlib
import json
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGUFReader, GGUFValueType as V, GGUFWriter
from gguf import GGMLQuantizationType as T

HERE = pathlib.Path(__file__).parent


def write(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def every_type(rng):
    w = GGUFWriter(HERE / "all.gguf", "llama")
    w.add_custom_alignment(64)
    values = {
        "u8": (255, V.UINT8), "i8": (-128, V.INT8), "u16": (65535, V.UINT16), "i16": (-32768, V.INT16),
        "u32": (2**32 - 1, V.UINT32), "i32": (-(2**31), V.INT32),
        "u64": (2**64 - 1, V.UINT64), "i64": (-(2**63), V.INT64),
        "f32": (0.5, V.FLOAT32), "f64": (0.1, V.FLOAT64),
        "yes": (True, V.BOOL), "no": (False, V.BOOL),
        "text": ("naïve 🦙\0\n", V.STRING),
        "ints": ([1, -2, 3], V.ARRAY), "floats": ([0.5, -1.25], V.ARRAY), "bools": ([True, False], V.ARRAY),
        "strings": (["", "a", "né", "<0x0A>"], V.ARRAY),
    }
    for key, (value, t) in values.items():
        w.add_key_value(key, value, t)
    tensors = {}
    for t, (elements, size) in GGML_QUANT_SIZES.items():
        if t == T.Q8_1:
            continue  # the package has its size wrong
        rows = rng.integers(0, 256, (3, 2 * size), dtype=np.uint8)
        if t in (T.F32, T.F16, T.F64, T.I8, T.I16, T.I32, T.I64):
            rows = rows.view(np.dtype({T.F32: "<f4", T.F16: "<f2", T.F64: "<f8", T.I8: "i1",
                                       T.I16: "<i2", T.I32: "<i4", T.I64: "<i8"}[t]))
        w.add_tensor(t.name, rows, raw_dtype=t)
        tensors[t.name] = {"type": t.name, "shape": [3, 2 * elements], "sha256": hashlib.sha256(rows.tobytes()).hexdigest()}
    for name, shape in {"scalar": (), "vector": (5,), "cube": (2, 3, 4), "four": (2, 1, 3, 4)}.items():
        x = rng.normal(size=shape).astype("<f4").reshape(shape)
        w.add_tensor(name, x)
        tensors[name] = {"type": "F32", "shape": list(shape), "sha256": hashlib.sha256(x.tobytes()).hexdigest()}
    write(w)
    for t in GGUFReader(HERE / "all.gguf").tensors:
        tensors[t.name]["offset"] = int(t.data_offset)
    metadata = {"general.architecture": "llama", "general.alignment": 64}
    metadata |= {key: value for key, (value, _) in values.items()}
    (HERE / "all.json").write_text(json.dumps({"metadata": metadata, "tensors": tensors}, indent=1, ensure_ascii=False) + "\n")


def split():
    w = GGUFWriter(HERE / "split.gguf", "llama", split_max_tensors=2)
    w.add_name("split model")
    for i in range(5):
        w.add_tensor(f"t{i}", np.full((2, 8), i, dtype=np.float32))
    write(w)


if __name__ == "__main__":
    every_type(np.random.default_rng(2026))
    split()
