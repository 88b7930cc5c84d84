#!/usr/bin/env python3
"""Checkpoints with the shapes of real models and random weights, as mlx-lm writes them.

    checkpoint.py NAME FOLDER [--small]

NAME is one of qwen3-4b-4bit, qwen3-4b-bf16, llama3.2-1b-4bit, llama3.1-8b-4bit.
How fast a model runs doesn't depend on what its weights are, so these stand in
for the real ones where those can't be had; what they answer is noise. The same
NAME always gives the same bytes. --small keeps the architecture and shrinks every
dimension, for trying things out.

The tokenizer has the real one's size, pre-tokenizer and special tokens, a token
for each byte, and words of no meaning for the rest. The output rows of special
tokens, the ends of answers among them, are zero: greedy decoding never takes them,
so every answer is as long as it may be. Needs numpy.
"""
import argparse
import json
import math
import os
from dataclasses import dataclass, replace

import numpy as np

GROUP, BITS = 64, 4
SHARD_BYTES = 5 << 30  # as mlx-lm splits
STD = 0.02  # of all weights: logits of a normalized state stay within a few units


@dataclass(frozen=True)
class Shape:
    family: str  # "qwen3", "llama"
    hidden: int
    layers: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    words: int  # tokens that aren't special; from here on to vocab all are, or nothing
    tied: bool
    quantized: bool
    rope_factor: float = 0  # of Llama 3's scaling; 0: none

    def small(self):
        return replace(self, hidden=128, layers=2, intermediate=256, heads=4, kv_heads=2, head_dim=64, vocab=1024, words=768)


QWEN3_4B = Shape("qwen3", 2560, 36, 9728, 32, 8, 128, 151936, 151643, tied=True, quantized=True)
LLAMA_1B = Shape("llama", 2048, 16, 8192, 32, 8, 64, 128256, 128000, tied=True, quantized=True, rope_factor=32.0)
SHAPES = {
    "qwen3-4b-4bit": QWEN3_4B,
    "qwen3-4b-bf16": replace(QWEN3_4B, quantized=False),
    "llama3.2-1b-4bit": LLAMA_1B,
    "llama3.1-8b-4bit": replace(LLAMA_1B, hidden=4096, layers=32, intermediate=14336, head_dim=128, tied=False, rope_factor=8.0),
}

# Special tokens by their distance from the first one's id, which is Shape.words.
SPECIAL = {
    "qwen3": {0: "<|endoftext|>", 1: "<|im_start|>", 2: "<|im_end|>"},
    "llama": {0: "<|begin_of_text|>", 1: "<|end_of_text|>", 6: "<|start_header_id|>", 7: "<|end_header_id|>", 8: "<|eom_id|>", 9: "<|eot_id|>"},
}
SPLIT = {
    "qwen3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "llama": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
TEMPLATE = {
    "qwen3": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "llama": "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] + '<|eot_id|>' }}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
}


def config(s):
    special = {text: s.words + at for at, text in SPECIAL[s.family].items()}
    c = {
        "architectures": ["Qwen3ForCausalLM" if s.family == "qwen3" else "LlamaForCausalLM"],
        "model_type": s.family, "hidden_size": s.hidden, "num_hidden_layers": s.layers, "intermediate_size": s.intermediate,
        "num_attention_heads": s.heads, "num_key_value_heads": s.kv_heads, "head_dim": s.head_dim, "vocab_size": s.vocab,
        "tie_word_embeddings": s.tied, "hidden_act": "silu", "attention_bias": False, "attention_dropout": 0.0,
        "torch_dtype": "bfloat16", "use_cache": True, "initializer_range": STD,
    }
    if s.family == "qwen3":
        c |= {"rms_norm_eps": 1e-6, "rope_theta": 1000000, "rope_scaling": None, "max_position_embeddings": 40960, "use_sliding_window": False,
              "sliding_window": None, "max_window_layers": s.layers, "bos_token_id": special["<|endoftext|>"], "eos_token_id": special["<|im_end|>"]}
    else:
        c |= {"rms_norm_eps": 1e-5, "rope_theta": 500000.0, "max_position_embeddings": 131072, "mlp_bias": False, "pretraining_tp": 1,
              "rope_scaling": {"factor": s.rope_factor, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"},
              "bos_token_id": special["<|begin_of_text|>"], "eos_token_id": [special["<|end_of_text|>"], special["<|eom_id|>"], special["<|eot_id|>"]]}
    if s.quantized:
        c["quantization"] = c["quantization_config"] = {"group_size": GROUP, "bits": BITS, "mode": "affine"}
    return c


def byte_letters():
    """GPT-2's letter for each byte: itself where that prints, else one from U+0100 on."""
    prints = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in prints]
    return [chr(b) for b in prints] + [chr(256 + i) for i in range(len(others))]


def tokenizer(s):
    """tokenizer.json and tokenizer_config.json."""
    words = byte_letters()
    for i in range(s.words - len(words)):
        word = ""
        for _ in range(4):
            i, letter = divmod(i, 26)
            word = chr(ord("A") + letter) + word
        words.append("Ġ" + word)  # a blank and four capitals
    special = [SPECIAL[s.family].get(at, f"<|reserved_special_token_{at}|>") for at in range(26 if s.family == "qwen3" else s.vocab - s.words)]
    added = [{"id": s.words + i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for i, t in enumerate(special)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    t = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "NFC"} if s.family == "qwen3" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": SPLIT[s.family]}, "behavior": "Isolated", "invert": False}, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False, "ignore_merges": s.family == "llama", "vocab": {w: i for i, w in enumerate(words)}, "merges": []},
    }
    c = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "chat_template": TEMPLATE[s.family],
         "model_max_length": config(s)["max_position_embeddings"], "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
         "added_tokens_decoder": {str(a["id"]): {k: v for k, v in a.items() if k != "id"} for a in added}}
    if s.family == "llama":
        c |= {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": None}
    return t, c


def bf16(x):
    """float32 to bfloat16's bits, rounded to the nearest."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class Pools:
    """Random values to cut tensors from, again and again. Their lengths are prime,
    so that no two rows of a tensor are cut at the same place."""

    def __init__(self, s):
        rng = np.random.Generator(np.random.SFC64(20251122))
        n, groups = ((1 << 25) + 35, (1 << 22) + 15) if s.vocab > 100_000 else ((1 << 16) + 1, (1 << 13) + 17)
        self.at = 0
        self.ones = bf16(np.ones(max(s.hidden, s.head_dim)))
        if s.quantized:
            # Quants are uniform over 0..15, whose deviation is 4.61; a bias of -7.5
            # scales puts their mean at 0.
            scales = rng.uniform(0.8, 1.2, groups).astype(np.float32) * np.float32(STD / math.sqrt((4**BITS - 1) / 12))
            self.pools = {"weight": rng.integers(0, 1 << 32, n, np.uint32), "scales": bf16(scales), "biases": bf16(scales * np.float32(-(2**BITS - 1) / 2))}
        else:
            self.pools = {"weight": bf16(rng.standard_normal(n, np.float32) * np.float32(STD))}

    def write(self, f, kind, n):
        if kind == "ones":
            f.write(self.ones[:n].data)
            return
        if kind == "weight":
            self.at += 1  # scales and biases of the same tensor begin at the same place
        pool = self.pools[kind]
        begin = self.at * 7919 % len(pool)
        while n > 0:
            part = pool[begin:begin + n]
            f.write(part.data)
            n -= len(part)
            begin = 0


def tensors(s):
    """(name, kind, dtype, shape, whether it gives logits)."""
    def matrix(name, rows, cols, logits=False):
        if not s.quantized:
            return [(name + ".weight", "weight", "BF16", [rows, cols], logits)]
        groups = [rows, cols // GROUP]
        return [(name + ".weight", "weight", "U32", [rows, cols * BITS // 32], False),
                (name + ".scales", "scales", "BF16", groups, logits), (name + ".biases", "biases", "BF16", groups, logits)]

    def norm(name, n):
        return [(name + ".weight", "ones", "BF16", [n], False)]

    out = matrix("model.embed_tokens", s.vocab, s.hidden, s.tied)
    for i in range(s.layers):
        p = f"model.layers.{i}."
        out += norm(p + "input_layernorm", s.hidden) + norm(p + "post_attention_layernorm", s.hidden)
        out += matrix(p + "self_attn.q_proj", s.heads * s.head_dim, s.hidden)
        out += matrix(p + "self_attn.k_proj", s.kv_heads * s.head_dim, s.hidden)
        out += matrix(p + "self_attn.v_proj", s.kv_heads * s.head_dim, s.hidden)
        out += matrix(p + "self_attn.o_proj", s.hidden, s.heads * s.head_dim)
        if s.family == "qwen3":
            out += norm(p + "self_attn.q_norm", s.head_dim) + norm(p + "self_attn.k_norm", s.head_dim)
        out += matrix(p + "mlp.gate_proj", s.intermediate, s.hidden) + matrix(p + "mlp.up_proj", s.intermediate, s.hidden)
        out += matrix(p + "mlp.down_proj", s.hidden, s.intermediate)
    out += norm("model.norm", s.hidden)
    if not s.tied:
        out += matrix("lm_head", s.vocab, s.hidden, True)
    return out


SIZE = {"BF16": 2, "U32": 4}


def nbytes(t):
    return math.prod(t[3]) * SIZE[t[2]]


def write_shard(path, shard, pools, s):
    header, at = {"__metadata__": {"format": "mlx"}}, 0
    for t in shard:
        header[t[0]] = {"dtype": t[2], "shape": t[3], "data_offsets": [at, at + nbytes(t)]}
        at += nbytes(t)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for name, kind, dtype, shape, logits in shard:
            pools.write(f, kind, math.prod(shape))
            if logits:
                row = math.prod(shape[1:]) * SIZE[dtype]
                f.seek(-row * (s.vocab - s.words), os.SEEK_CUR)
                f.write(bytes(row * (s.vocab - s.words)))


def write(s, folder):
    os.makedirs(folder, exist_ok=True)
    shards, size = [[]], 0
    for t in tensors(s):
        if size + nbytes(t) > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(t)
        size += nbytes(t)
    pools, index = Pools(s), {}
    for i, shard in enumerate(shards):
        name = "model.safetensors" if len(shards) == 1 else f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        write_shard(os.path.join(folder, name), shard, pools, s)
        index |= {t[0]: name for t in shard}
    total = sum(nbytes(t) for shard in shards for t in shard)
    vocabulary, about = tokenizer(s)
    for name, value, indent in [
        ("config.json", config(s), 4), ("tokenizer.json", vocabulary, None), ("tokenizer_config.json", about, 2),
        ("model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))}, 4),
    ]:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            json.dump(value, f, indent=indent, ensure_ascii=False)
    return total


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", choices=SHAPES, metavar="NAME")
    p.add_argument("folder", metavar="FOLDER")
    p.add_argument("--small", action="store_true")
    a = p.parse_args()
    shape = SHAPES[a.name].small() if a.small else SHAPES[a.name]
    print(f"{a.folder}: {write(shape, a.folder) / 1e9:.2f} GB")
