#!/usr/bin/env python3
"""The files that docs/benchmarks.md compares CPU engines on.

    models.py LIB_DIR SMOLLM2.gguf FOLDER [--only 135m|1b|moe]

For each weight type FOLDER gets 135m-TYPE.gguf, SmolLM2-135M-Instruct (any GGUF of
it will do: how fast it runs doesn't depend on what was lost) requantized by
llama.cpp's own quantizer, and 1b-TYPE.gguf, random weights in the shape of
Llama-3.2-1B; and 135m-mlx4 and 1b-mlx4, the same two as MLX's 4-bit in groups of 64.
With --only moe it gets moe-TYPE.gguf instead: random weights in the shape of a small
Qwen3 with mixtures of experts, 0.9 of its 2.2 billion parameters active.
LIB_DIR holds libllama, see scripts/peers/llamacpp.py. Needs numpy and gguf (both from
PyPI), 12 GB of disk, and some minutes. What is there already is kept.
"""
import argparse, ctypes as C, glob, json, os, pathlib, subprocess, sys

import gguf
import numpy as np

TYPES = {"f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q4_k_m": 15, "bf16": 32}  # llama_ftype
LLAMA_1B = dict(hidden=2048, layers=16, intermediate=8192, heads=32, kv_heads=8, vocab=128256)
MOE = dict(hidden=2048, layers=16, experts=16, used=4, intermediate=1024, heads=32, kv_heads=8, vocab=128256)
ROOT = pathlib.Path(__file__).parents[2]


class Params(C.Structure):
    """llama_model_quantize_params by offset; see peers/llamacpp.py."""
    _fields_ = [("bytes", C.c_uint8 * 512)]


def quantizer(lib_dir):
    ggml = C.CDLL(glob.glob(os.path.join(lib_dir, "libggml.*so*"))[0], mode=C.RTLD_GLOBAL)
    lib = C.CDLL(glob.glob(os.path.join(lib_dir, "libllama.*so*"))[0], mode=C.RTLD_GLOBAL)
    ggml.ggml_backend_load_all_from_path(C.c_char_p(lib_dir.encode()))
    quiet = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)(lambda level, text, _: None)
    lib.llama_log_set(quiet, None)
    lib.llama_model_quantize_default_params.restype = Params

    def run(source, target, ftype):
        p = lib.llama_model_quantize_default_params()
        C.c_int32.from_buffer(p, 4).value = ftype
        C.c_bool.from_buffer(p, 16).value = True  # allow_requantize
        if rc := lib.llama_model_quantize(source.encode(), (target + ".part").encode(), C.byref(p)):
            raise SystemExit(f"quantize {source} to {target}: {rc}")
        os.replace(target + ".part", target)

    run.keep = quiet
    return run


def write_random(path, arch, s):
    """Random weights in a shape, as F16; of mixtures of experts, if it has them."""
    head = s["hidden"] // s["heads"]
    w = gguf.GGUFWriter(path + ".part", arch)
    w.add_name("random weights")
    for add, v in [(w.add_context_length, 131072), (w.add_embedding_length, s["hidden"]), (w.add_block_count, s["layers"]),
                   (w.add_feed_forward_length, s["intermediate"]), (w.add_head_count, s["heads"]), (w.add_head_count_kv, s["kv_heads"]),
                   (w.add_layer_norm_rms_eps, 1e-5), (w.add_rope_freq_base, 500000.0), (w.add_rope_dimension_count, head),
                   (w.add_vocab_size, s["vocab"]), (w.add_file_type, 1)]:
        add(v)
    experts = s.get("experts", 0)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(s["used"])
        w.add_expert_feed_forward_length(s["intermediate"])
        w.add_key_length(head)
        w.add_value_length(head)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(c) for c in letters] + [chr(256 + i) for i in range(256 - len(letters))]
    w.add_token_list(letters + [f"w{i}" for i in range(s["vocab"] - 257)] + ["<|end|>"])
    w.add_token_types([1] * (s["vocab"] - 1) + [3])
    w.add_token_merges(["a b"])
    w.add_eos_token_id(s["vocab"] - 1)
    rng = np.random.Generator(np.random.SFC64(1))
    pool = (rng.standard_normal((1 << 26) + 7, np.float32) * 0.02).astype(np.float16)
    at = 0

    def matrix(name, *shape):
        nonlocal at
        n = int(np.prod(shape))
        at = (at + 7919) % len(pool)
        w.add_tensor(name, np.resize(np.roll(pool[:1 << 24], -at), n).reshape(shape) if n > len(pool) - at else pool[at:at + n].reshape(shape))

    matrix("token_embd.weight", s["vocab"], s["hidden"])
    ones = np.ones(s["hidden"], np.float32)
    for i in range(s["layers"]):
        p = f"blk.{i}."
        w.add_tensor(p + "attn_norm.weight", ones)
        w.add_tensor(p + "ffn_norm.weight", ones)
        matrix(p + "attn_q.weight", s["hidden"], s["hidden"])
        matrix(p + "attn_k.weight", s["kv_heads"] * head, s["hidden"])
        matrix(p + "attn_v.weight", s["kv_heads"] * head, s["hidden"])
        matrix(p + "attn_output.weight", s["hidden"], s["hidden"])
        if experts:
            w.add_tensor(p + "attn_q_norm.weight", ones[:head])
            w.add_tensor(p + "attn_k_norm.weight", ones[:head])
            w.add_tensor(p + "ffn_gate_inp.weight", pool[at:at + experts * s["hidden"]].astype(np.float32).reshape(experts, s["hidden"]))
            matrix(p + "ffn_gate_exps.weight", experts, s["intermediate"], s["hidden"])
            matrix(p + "ffn_up_exps.weight", experts, s["intermediate"], s["hidden"])
            matrix(p + "ffn_down_exps.weight", experts, s["hidden"], s["intermediate"])
            continue
        matrix(p + "ffn_gate.weight", s["intermediate"], s["hidden"])
        matrix(p + "ffn_up.weight", s["intermediate"], s["hidden"])
        matrix(p + "ffn_down.weight", s["hidden"], s["intermediate"])
    w.add_tensor("output_norm.weight", ones)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    os.replace(path + ".part", path)


def write_mlx(source, folder):
    """The GGUF file's weights as an MLX folder, 4-bit in groups of 64."""
    r = gguf.GGUFReader(source)
    field = lambda k: r.fields[k].contents()
    heads, kv = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    hidden = field("llama.embedding_length")
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    bf16 = lambda x: ((x.astype(np.float32).view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
    out = {}
    for t in r.tensors:
        x = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32).reshape(t.shape[::-1])
        part = t.name.split(".")
        if part[0] == "blk":
            name = f"model.layers.{part[1]}.{names[part[2]]}"
        else:
            name = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}[part[0]]
        if part[-2] in ("attn_q", "attn_k"):  # llama.cpp's converter interleaves the halves of each head
            n = heads if part[-2] == "attn_q" else kv
            x = x.reshape(n, x.shape[0] // n // 2, 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
        if x.ndim == 1:
            out[name + ".weight"] = ("BF16", bf16(x))
            continue
        g = x.reshape(x.shape[0], -1, 64)
        lo, hi = g.min(-1, keepdims=True), g.max(-1, keepdims=True)
        scale = np.maximum((hi - lo) / 15, 1e-8)
        q = np.clip(np.round((g - lo) / scale), 0, 15).astype(np.uint32).reshape(x.shape[0], -1, 8)
        out[name + ".weight"] = ("U32", (q << (4 * np.arange(8, dtype=np.uint32))).sum(-1, dtype=np.uint32))
        out[name + ".scales"], out[name + ".biases"] = ("BF16", bf16(scale[..., 0])), ("BF16", bf16(lo[..., 0]))
    os.makedirs(folder + ".part", exist_ok=True)
    header, at = {}, 0
    for n, (dtype, a) in out.items():
        header[n] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(folder + ".part/model.safetensors", "wb") as f:
        f.write(len(head).to_bytes(8, "little") + head)
        for _, a in out.values():
            f.write(np.ascontiguousarray(a).data)
    q = {"group_size": 64, "bits": 4}
    json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": field("llama.block_count"),
               "intermediate_size": field("llama.feed_forward_length"), "num_attention_heads": heads, "num_key_value_heads": kv,
               "vocab_size": int(out["model.embed_tokens.weight"][1].shape[0]), "tie_word_embeddings": "lm_head.weight" not in out,
               "hidden_act": "silu", "rms_norm_eps": field("llama.attention.layer_norm_rms_epsilon"), "rope_theta": field("llama.rope.freq_base"),
               "max_position_embeddings": field("llama.context_length"), "quantization": q, "quantization_config": q},
              open(folder + ".part/config.json", "w"), indent=1)
    tokens, merges = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.merges")
    kinds = field("tokenizer.ggml.token_type")
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
               for i, (t, k) in enumerate(zip(tokens, kinds)) if k == 3]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    json.dump({"version": "1.0", "added_tokens": special, "normalizer": None, "decoder": level, "post_processor": None,
               "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]},
               "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}}, open(folder + ".part/tokenizer.json", "w"))
    json.dump({"eos_token": tokens[field("tokenizer.ggml.eos_token_id")]}, open(folder + ".part/tokenizer_config.json", "w"))
    os.replace(folder + ".part", folder)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("lib_dir")
    p.add_argument("smollm2")
    p.add_argument("folder")
    p.add_argument("--only", choices=["135m", "1b", "moe"])
    a = p.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    quantize = quantizer(a.lib_dir)

    def make(path, how):
        if not os.path.exists(path):
            print("writing", path, flush=True)
            how()

    for size in ["135m", "1b"] if not a.only else [a.only]:
        name = lambda kind: os.path.join(a.folder, f"{size}-{kind}.gguf")
        base = name("f16")
        if size == "135m":
            make(base, lambda: quantize(a.smollm2, base, TYPES["f16"]))
        else:
            make(base, lambda: write_random(base, *{"1b": ("llama", LLAMA_1B), "moe": ("qwen3moe", MOE)}[size]))
        for kind, ftype in TYPES.items():
            make(name(kind), lambda: quantize(base, name(kind), ftype))
        if size == "moe":
            continue
        folder = os.path.join(a.folder, size + "-mlx4")
        make(folder, lambda: write_mlx(base, folder))


if __name__ == "__main__":
    main()
