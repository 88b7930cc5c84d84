#!/usr/bin/env python3
"""Makes the tiny checkpoints of mixtures of experts, and their logits.

As make_dense.py does for dense models, with one tensor for the matrices of all experts
in the GGUF files, as llama.cpp has them, and one for each in the folders, as
transformers saves them.

Run with:  pip install torch transformers tokenizers gguf numpy  &&  python3 make_moe.py [NAME...]
"""
import hashlib, json, math, sys
import numpy as np
import torch
import transformers as hf
from gguf import ExpertGatingFuncType, GGUFWriter, RopeScalingType
from make import BASE, HERE, MERGES, POSITIONS, SPECIAL, TEMPLATE, TOKENS, VOCAB, permute, rope, write_folder
from safetensors.torch import load_file, save_file

GQA = {**BASE, "num_key_value_heads": 2, "rope_parameters": rope(10000.0), "tie_word_embeddings": False}
GRANITE = {"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.3, "logits_scaling": 0.5}

MODELS = {
    # Softmax over all experts; the weights of those chosen sum to 1.
    "qwen3moe": dict(cls="Qwen3Moe", arch="qwen3moe", config={**GQA, "head_dim": 16, "num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32, "norm_topk_prob": True}),
    # One dense layer, and weights that don't sum to 1.
    "qwen3moe-dense": dict(cls="Qwen3Moe", config={**GQA, "head_dim": 16, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": False,
                                                   "mlp_only_layers": [0]}),
    "mixtral": dict(cls="Mixtral", arch="llama", permute=True, config={**GQA, "intermediate_size": 32, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    # Norms of all heads of q and k together; weights that don't sum to 1.
    "olmoe": dict(cls="Olmoe", arch="olmoe", config={**GQA, "num_key_value_heads": 4, "intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2, "norm_topk_prob": False}),
    # Chosen by sigmoids and a correction, beside a shared expert; a dense layer; half of each
    # head rotated; norms and biases of queries and keys.
    "glm4moe": dict(cls="Glm4Moe", arch="glm4moe", config={**GQA, "head_dim": 16, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3, "moe_intermediate_size": 32,
                                                          "first_k_dense_replace": 1, "routed_scaling_factor": 1.5, "norm_topk_prob": True, "use_qk_norm": True, "attention_bias": True,
                                                          "num_nextn_predict_layers": 0, "rope_parameters": rope(10000.0, partial_rotary_factor=0.5)}),
    # Sinks, biases everywhere, a cut activation, windows in every other layer, and YaRN whose bounds
    # aren't rounded.
    "gpt-oss": dict(cls="GptOss", arch="gpt-oss", config={**GQA, "num_hidden_layers": 2, "head_dim": 16, "intermediate_size": 32, "num_local_experts": 6, "num_experts_per_tok": 2,
                                                         "sliding_window": 12, "rope_parameters": rope(10000.0, rope_type="yarn", factor=4.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                                                                                                       original_max_position_embeddings=64)}),
    # A shared expert with a gate; biases of queries, keys and values.
    "qwen2moe": dict(cls="Qwen2Moe", arch="qwen2moe", config={**GQA, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 40,
                                                             "norm_topk_prob": False}),
    # One tensor for each expert's matrix in the GGUF file too, as llama.cpp had them until April 2024.
    "mixtral-split": dict(cls="Mixtral", arch="llama", permute=True, split=True, config={**GQA, "num_hidden_layers": 2, "intermediate_size": 32, "num_local_experts": 4,
                                                                                        "num_experts_per_tok": 2, "sliding_window": None}),
    # Granite 3's four factors, alone and beside a shared expert.
    "granitemoe": dict(cls="GraniteMoe", arch="granitemoe", permute=True, config={**GQA, **GRANITE, "intermediate_size": 24, "num_local_experts": 6, "num_experts_per_tok": 3}),
    "granitemoe-shared": dict(cls="GraniteMoeShared", arch="granitemoe", permute=True, config={**GQA, **GRANITE, "intermediate_size": 24, "num_local_experts": 6, "num_experts_per_tok": 2,
                                                                                              "shared_intermediate_size": 40}),
    # Experts in OpenAI's MXFP4, two groups in a row of down.
    "mlx/gpt-oss-openai": dict(cls="GptOss", blocks=True, config={**GQA, "num_hidden_layers": 2, "head_dim": 16, "intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2,
                                                              "sliding_window": 12, "rope_parameters": rope(10000.0)}),
}

NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
PARTS = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate": "ffn_gate_inp",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
         "mlp.shared_experts.up_proj": "ffn_up_shexp", "mlp.shared_experts.down_proj": "ffn_down_shexp",
         "mlp.router": "ffn_gate_inp", "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
         "mlp.shared_expert.down_proj": "ffn_down_shexp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp", "self_attn.sinks": "attn_sinks",
         "block_sparse_moe.router": "ffn_gate_inp", "shared_mlp.output_linear": "ffn_down_shexp"}


def write(path, arch, cfg, state, permuted, split):
    w = GGUFWriter(str(path), arch)
    head_dim = getattr(cfg, "head_dim", None) or cfg.hidden_size // cfg.num_attention_heads
    experts = getattr(cfg, "num_experts", None) or cfg.num_local_experts
    w.add_name(path.stem)
    w.add_context_length(cfg.max_position_embeddings)
    w.add_embedding_length(cfg.hidden_size)
    w.add_block_count(cfg.num_hidden_layers)
    w.add_feed_forward_length(cfg.intermediate_size)
    w.add_head_count(cfg.num_attention_heads)
    w.add_head_count_kv(cfg.num_key_value_heads)
    w.add_layer_norm_rms_eps(cfg.rms_norm_eps)
    w.add_rope_freq_base(cfg.rope_parameters["rope_theta"])
    w.add_rope_dimension_count(int(head_dim * cfg.rope_parameters.get("partial_rotary_factor", 1)))
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_vocab_size(cfg.vocab_size)
    w.add_file_type(1)
    w.add_expert_count(experts)
    w.add_expert_used_count(cfg.num_experts_per_tok)
    parts = PARTS
    if arch == "glm4moe":
        parts = {**PARTS, "post_attention_layernorm": "post_attention_norm"}
        w.add_expert_shared_count(cfg.n_shared_experts)
        w.add_expert_weights_scale(cfg.routed_scaling_factor)
        w.add_expert_weights_norm(cfg.norm_topk_prob)
        w.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
        w.add_leading_dense_block_count(cfg.first_k_dense_replace)
    if arch == "gpt-oss":
        parts = {**PARTS, "post_attention_layernorm": "post_attention_norm"}
        w.add_expert_feed_forward_length(cfg.intermediate_size)
        w.add_sliding_window(cfg.sliding_window)
        w.add_rope_scaling_type(RopeScalingType.YARN)
        w.add_rope_scaling_factor(cfg.rope_parameters["factor"])
        w.add_rope_scaling_orig_ctx_len(cfg.rope_parameters["original_max_position_embeddings"])
    if arch == "qwen2moe":
        w.add_expert_shared_feed_forward_length(cfg.shared_expert_intermediate_size)
    if arch == "granitemoe":
        w.add_embedding_scale(cfg.embedding_multiplier)
        w.add_residual_scale(cfg.residual_multiplier)
        w.add_attention_scale(cfg.attention_multiplier)
        w.add_logit_scale(cfg.logits_scaling)
        if getattr(cfg, "shared_intermediate_size", 0):
            w.add_expert_shared_feed_forward_length(cfg.shared_intermediate_size)
    if arch in ("qwen2moe", "qwen3moe", "glm4moe"):
        w.add_expert_feed_forward_length(cfg.moe_intermediate_size)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(TOKENS)
    w.add_token_types([3] * len(SPECIAL) + [1] * (VOCAB - len(SPECIAL)))
    w.add_token_merges(MERGES)
    w.add_bos_token_id(0)
    w.add_eos_token_id(2)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)

    def add(name, a, leaf=".weight"):
        # Routers stay in float32, as in llama.cpp's files.
        a = np.ascontiguousarray(a)
        w.add_tensor(name + leaf, a.astype(np.float16) if a.ndim > 1 and leaf == ".weight" and not name.endswith("gate_inp") else a)

    def experts_of(name, a):
        if not split:
            return add(name + "_exps", a)
        for e in range(len(a)):
            add(f"{name}.{e}", a[e])

    for name, t in state.items():
        a = t.numpy().astype(np.float32)
        stem = name.removesuffix(".weight").removesuffix(".bias")
        if stem in NAMES:
            add(NAMES[stem], a)
            continue
        _, _, layer, stem = stem.split(".", 3)
        block = f"blk.{layer}."
        if arch == "gpt-oss" and stem.startswith("mlp.experts."):
            # Transposed, and gate and up by turns.
            leaf, a = (".bias", a) if stem.endswith("_bias") else (".weight", a.transpose(0, 2, 1))
            if "gate_up" in stem:
                add(block + "ffn_gate_exps", a[:, ::2], leaf)
                add(block + "ffn_up_exps", a[:, 1::2], leaf)
            else:
                add(block + "ffn_down_exps", a, leaf)
        elif stem.endswith(".experts.gate_up_proj"):
            half = a.shape[1] // 2
            experts_of(block + "ffn_gate", a[:, :half])
            experts_of(block + "ffn_up", a[:, half:])
        elif stem == "shared_mlp.input_linear":
            half = a.shape[0] // 2
            add(block + "ffn_gate_shexp", a[:half])
            add(block + "ffn_up_shexp", a[half:])
        elif stem == "mlp.gate.e_score_correction_bias":
            add(block + "exp_probs_b", a, ".bias")
        elif stem.endswith(".experts.down_proj"):
            experts_of(block + "ffn_down", a)
        else:
            if permuted and stem in ("self_attn.q_proj", "self_attn.k_proj"):
                a = permute(a, cfg.num_attention_heads if stem == "self_attn.q_proj" else cfg.num_key_value_heads)
            add(block + parts[stem], a, ".bias" if name.endswith(".bias") else ".weight")
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def draw_blocks(p):
    """Random MXFP4 for p [experts, in, out], which becomes what it stands for."""
    experts, cols, rows = p.shape
    codes = torch.randint(0, 16, (experts, rows, cols // 32, 32))
    scales = torch.randint(122, 126, (experts, rows, cols // 32))
    p.copy_((E2M1[codes] * torch.exp2(scales.float() - 127)[..., None]).reshape(experts, rows, cols).transpose(1, 2))
    return (codes[..., ::2] | codes[..., 1::2] << 4).to(torch.uint8), scales.to(torch.uint8)


def write_blocks(folder, blocks):
    """Puts blocks and scales in the place of a folder's matrices of experts."""
    path, about = folder / "model.safetensors", folder / "config.json"
    state = {k: v for k, v in load_file(path).items() if k not in blocks}
    for name, (codes, scales) in blocks.items():
        state |= {name + "_blocks": codes, name + "_scales": scales}
    save_file(state, path, {"format": "pt"})
    config = json.loads(about.read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}
    about.write_text(json.dumps(config, indent=2) + "\n")


def main():
    wanted = sys.argv[1:] or MODELS
    for seed, (name, how) in enumerate(MODELS.items()):
        if name not in wanted:
            continue
        torch.manual_seed(5000 + seed)
        cls = how["cls"]
        cfg = getattr(hf, cls + "Config")(**how["config"])
        cfg._attn_implementation = "eager"
        cfg._experts_implementation = "eager"
        model = getattr(hf, cls + "ForCausalLM")(cfg).float().eval()
        blocks = {}
        with torch.no_grad():
            for key, p in model.named_parameters():
                if how.get("blocks") and key.endswith("_proj") and "experts" in key:
                    blocks[key] = draw_blocks(p)
                    continue
                if "norm" in key:
                    p.copy_(1 + 0.2 * torch.randn_like(p))
                elif key.endswith(("sinks", "_bias")):
                    p.copy_(torch.randn_like(p))
                elif cls == "GptOss" and "gate_up" in key:
                    p.copy_(torch.randn_like(p) * 5 / math.sqrt(p.shape[1]))  # some are cut off
                else:
                    p.copy_(torch.randn_like(p) * 1.3 / math.sqrt(p.shape[-1]))
                p.copy_(p.half())
            for key, b in model.named_buffers():
                if key.endswith("e_score_correction_bias"):
                    b.copy_((0.2 * torch.randn_like(b)).half())
            ids = torch.randint(0, VOCAB, (1, POSITIONS))
            logits = model(ids).logits[0].float().numpy()
        about = {"tokens": ids[0].tolist(), "vocab": VOCAB}
        if "arch" in how:
            path = HERE / f"{name}.gguf"
            write(path, how["arch"], cfg, model.state_dict(), how.get("permute", False), how.get("split", False))
            about["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        write_folder(HERE / name, model, torch.float16)
        if blocks:
            write_blocks(HERE / name, blocks)
        logits.astype("<f4").tofile(HERE / f"{name}.f32")
        (HERE / f"{name}.json").write_text(json.dumps(about) + "\n")
        print(f"{name}: logits in [{logits.min():.2f}, {logits.max():.2f}], {sum(f.stat().st_size for f in (HERE / name).iterdir())} bytes")


if __name__ == "__main__":
    main()
