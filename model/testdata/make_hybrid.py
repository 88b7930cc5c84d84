#!/usr/bin/env python3
"""Makes the tiny checkpoints of hybrids, and their logits.

As make_moe.py does for mixtures: models with layers of short convolutions or recurrences
beside attention. GGUF files list the heads of keys and values by layer, 0 for
those that don't attend, and keep what isn't a matrix product in float32.

Run with:  pip install torch transformers tokenizers gguf numpy  &&  python3 make_hybrid.py [NAME...]
"""
import hashlib, json, math, sys
import numpy as np
import torch
import transformers as hf
from gguf import GGUFWriter
from make import BASE, HERE, MERGES, POSITIONS, SPECIAL, TEMPLATE, TOKENS, VOCAB, permute, rope, write_folder

THREE = {**BASE, "num_key_value_heads": 2, "num_hidden_layers": 3}
FEW = {k: v for k, v in THREE.items() if k != "rms_norm_eps"}
CONV = dict(norm_eps=1e-5, rope_parameters=rope(1000000.0), layer_types=["conv", "full_attention", "conv"])
MAMBA = dict(layer_types=["linear_attention", "full_attention", "linear_attention"], mamba_n_heads=4, mamba_n_groups=1, mamba_d_state=16, mamba_d_conv=4, mamba_expand=2, mamba_d_head=16,
             shared_intermediate_size=64, embedding_multiplier=12.0, residual_multiplier=0.22, attention_multiplier=0.3, logits_scaling=0.5, rope_parameters=rope(10000.0),
             position_embedding_type="nope")
DELTA = dict(layer_types=["linear_attention", "full_attention", "linear_attention"], head_dim=16, linear_conv_kernel_dim=4, linear_key_head_dim=8, linear_value_head_dim=8,
             linear_num_key_heads=2, linear_num_value_heads=4, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=24,
             decoder_sparse_step=1, norm_topk_prob=True, tie_word_embeddings=False, rope_parameters=rope(10000.0, partial_rotary_factor=0.25))

MODELS = {
    # Gated short convolutions; norms of queries and keys.
    "lfm2": dict(cls="Lfm2", arch="lfm2", config={**FEW, **CONV, "conv_L_cache": 3, "block_auto_adjust_ff_dim": False, "tie_word_embeddings": True}),
    # With biases, wider convolutions, an output layer of its own, and an MLP whose width is computed.
    "lfm2-bias": dict(cls="Lfm2", config={**FEW, **CONV, "conv_L_cache": 4, "conv_bias": True, "intermediate_size": 90, "block_multiple_of": 16, "block_ffn_dim_multiplier": 0.9,
                                          "tie_word_embeddings": False}),
    # Mamba-2 and attention without positions, four factors, an MLP.
    "granitehybrid": dict(cls="GraniteMoeHybrid", arch="granitehybrid", config={**THREE, **MAMBA, "num_local_experts": 0, "num_experts_per_tok": 0, "tie_word_embeddings": True}),
    # The MLP beside experts.
    "granitehybrid-moe": dict(cls="GraniteMoeHybrid", arch="granitehybrid", config={**THREE, **MAMBA, "intermediate_size": 24, "num_local_experts": 6, "num_experts_per_tok": 2,
                                                                                    "tie_word_embeddings": False}),
    # With positions, and biases elsewhere.
    "granitehybrid-rope": dict(cls="GraniteMoeHybrid", config={**THREE, **MAMBA, "num_local_experts": 0, "num_experts_per_tok": 0, "mamba_conv_bias": False, "mamba_proj_bias": True,
                                                               "attention_bias": True, "position_embedding_type": "rope", "tie_word_embeddings": True}),
    # Delta nets whose heads of values share those of keys, gated attention of which a part is rotated, experts beside a gated one.
    "qwen3next": dict(cls="Qwen3Next", arch="qwen3next", config={**THREE, **DELTA, "mlp_only_layers": []}),
    # The first layer without experts; heads of values wider than those of keys.
    "qwen3next-dense": dict(cls="Qwen3Next", config={**THREE, **DELTA, "linear_num_value_heads": 2, "linear_value_head_dim": 16, "mlp_only_layers": [0], "norm_topk_prob": False}),
}

NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "model.embedding_norm": "token_embd_norm", "lm_head": "output"}
PARTS = {"operator_norm": "attn_norm", "ffn_norm": "ffn_norm", "feed_forward.w1": "ffn_gate", "feed_forward.w3": "ffn_up", "feed_forward.w2": "ffn_down",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.out_proj": "attn_output", "self_attn.o_proj": "attn_output",
         "self_attn.q_layernorm": "attn_q_norm", "self_attn.k_layernorm": "attn_k_norm",
         "conv.in_proj": "shortconv.in_proj", "conv.conv": "shortconv.conv", "conv.out_proj": "shortconv.out_proj",
         "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "mamba.in_proj": "ssm_in", "mamba.out_proj": "ssm_out", "mamba.conv1d": "ssm_conv1d",
         "mamba.norm": "ssm_norm", "mamba.A_log": "ssm_a", "mamba.D": "ssm_d", "mamba.dt_bias": "ssm_dt.bias", "block_sparse_moe.router": "ffn_gate_inp",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "linear_attn.in_proj_ba": "ssm_ba", "linear_attn.out_proj": "ssm_out", "linear_attn.conv1d": "ssm_conv1d",
         "linear_attn.norm": "ssm_norm", "mlp.gate": "ffn_gate_inp", "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
         "mlp.shared_expert.down_proj": "ffn_down_shexp"}


def write(path, arch, cfg, state):
    w = GGUFWriter(str(path), arch)
    attends = [t == "full_attention" for t in cfg.layer_types]
    w.add_name(path.stem)
    w.add_context_length(cfg.max_position_embeddings)
    w.add_embedding_length(cfg.hidden_size)
    w.add_block_count(cfg.num_hidden_layers)
    w.add_feed_forward_length(cfg.intermediate_size if getattr(cfg, "num_local_experts", 1) else cfg.shared_intermediate_size)
    w.add_head_count(cfg.num_attention_heads)
    w.add_head_count_kv(cfg.num_key_value_heads if arch == "qwen3next" else [cfg.num_key_value_heads if a else 0 for a in attends])
    w.add_vocab_size(cfg.vocab_size)
    w.add_file_type(1)
    w.add_layer_norm_rms_eps(cfg.norm_eps if arch == "lfm2" else cfg.rms_norm_eps)
    w.add_rope_freq_base(cfg.rope_parameters["rope_theta"])
    if arch == "lfm2":
        w.add_shortconv_l_cache(cfg.conv_L_cache)
    if arch == "granitehybrid":
        w.add_attention_scale(cfg.attention_multiplier)
        w.add_embedding_scale(cfg.embedding_multiplier)
        w.add_residual_scale(cfg.residual_multiplier)
        w.add_logit_scale(cfg.logits_scaling)
        w.add_expert_shared_feed_forward_length(cfg.shared_intermediate_size)
        if cfg.num_local_experts:
            w.add_expert_count(cfg.num_local_experts)
            w.add_expert_used_count(cfg.num_experts_per_tok)
        w.add_ssm_conv_kernel(cfg.mamba_d_conv)
        w.add_ssm_state_size(cfg.mamba_d_state)
        w.add_ssm_group_count(cfg.mamba_n_groups)
        w.add_ssm_inner_size(cfg.mamba_expand * cfg.hidden_size)
        w.add_ssm_time_step_rank(cfg.mamba_n_heads)
        w.add_rope_scaling_finetuned(False)
        w.add_rope_dimension_count(cfg.hidden_size // cfg.num_attention_heads)
    if arch == "qwen3next":
        w.add_key_length(cfg.head_dim)
        w.add_value_length(cfg.head_dim)
        w.add_rope_dimension_count(cfg.head_dim // 4)
        w.add_expert_count(cfg.num_experts)
        w.add_expert_used_count(cfg.num_experts_per_tok)
        w.add_expert_feed_forward_length(cfg.moe_intermediate_size)
        w.add_expert_shared_feed_forward_length(cfg.shared_expert_intermediate_size)
        w.add_ssm_conv_kernel(cfg.linear_conv_kernel_dim)
        w.add_ssm_state_size(cfg.linear_key_head_dim)
        w.add_ssm_group_count(cfg.linear_num_key_heads)
        w.add_ssm_time_step_rank(cfg.linear_num_value_heads)
        w.add_ssm_inner_size(cfg.linear_num_value_heads * cfg.linear_value_head_dim)
        w.add_full_attention_interval(2)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(TOKENS)
    w.add_token_types([3] * len(SPECIAL) + [1] * (VOCAB - len(SPECIAL)))
    w.add_token_merges(MERGES)
    w.add_bos_token_id(0)
    w.add_eos_token_id(2)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)

    def add(name, a):
        a = np.ascontiguousarray(a)
        half = a.ndim > 1 and "conv.conv" not in name and "ssm_" not in name.replace("ssm_in", "").replace("ssm_out", "") and "gate_inp" not in name
        w.add_tensor(name, a.astype(np.float16) if half else a)

    for name, t in state.items():
        if name == "lm_head.weight" and cfg.tie_word_embeddings:
            continue
        a = t.numpy().astype(np.float32)
        stem, leaf = name.rsplit(".", 1)
        if arch == "qwen3next" and stem.endswith("norm") and "linear_attn" not in stem:
            a = a + 1
        if stem in NAMES:
            add(f"{NAMES[stem]}.{leaf}", a)
            continue
        _, _, layer, stem = stem.split(".", 3)
        block = f"blk.{layer}."
        if stem in ("conv.conv", "mamba.conv1d", "linear_attn.conv1d") and leaf == "weight":
            a = a[:, 0]
        if stem in ("mamba", "block_sparse_moe.experts", "linear_attn", "mlp.experts"):  # parameters of the block itself
            stem, leaf = f"{stem}.{leaf}", ""
        half = a.shape[-2] // 2 if a.ndim > 1 else 0
        match stem:
            case "mamba.A_log":
                add(block + "ssm_a", -np.exp(a)[:, None])
            case "mamba.D":
                add(block + "ssm_d", a[:, None])
            case "mamba.dt_bias":
                add(block + "ssm_dt.bias", a)
            case "mamba.norm":
                add(block + "ssm_norm.weight", a[None])
            case "linear_attn.A_log":
                add(block + "ssm_a", -np.exp(a))
            case "linear_attn.dt_bias":
                add(block + "ssm_dt.bias", a)
            case "linear_attn.in_proj_qkvz":
                keys, share = cfg.linear_key_head_dim, cfg.linear_num_value_heads // cfg.linear_num_key_heads * cfg.linear_value_head_dim
                parts = np.split(a.reshape(cfg.linear_num_key_heads, -1, cfg.hidden_size), [keys, 2 * keys, 2 * keys + share], axis=1)
                add(block + "attn_qkv.weight", np.concatenate([x.reshape(-1, cfg.hidden_size) for x in parts[:3]]))
                add(block + "attn_gate.weight", parts[3].reshape(-1, cfg.hidden_size))
            case "mlp.shared_expert_gate":
                add(block + "ffn_gate_inp_shexp.weight", a[0])
            case "post_attention_layernorm" if arch == "qwen3next":
                add(block + "post_attention_norm.weight", a)
            case "block_sparse_moe.experts.gate_up_proj" | "mlp.experts.gate_up_proj":
                add(block + "ffn_gate_exps.weight", a[:, :half])
                add(block + "ffn_up_exps.weight", a[:, half:])
            case "block_sparse_moe.experts.down_proj" | "mlp.experts.down_proj":
                add(block + "ffn_down_exps.weight", a)
            case "shared_mlp.input_linear":
                end = "_shexp" if cfg.num_local_experts else ""
                add(f"{block}ffn_gate{end}.weight", a[:half])
                add(f"{block}ffn_up{end}.weight", a[half:])
            case "shared_mlp.output_linear":
                add(block + ("ffn_down_shexp.weight" if cfg.num_local_experts else "ffn_down.weight"), a)
            case "self_attn.q_proj" | "self_attn.k_proj" if arch == "granitehybrid":
                add(f"{block}{PARTS[stem]}.{leaf}", permute(a, cfg.num_attention_heads if "q_proj" in stem else cfg.num_key_value_heads))
            case _:
                add(f"{block}{PARTS[stem]}.{leaf}", a)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    wanted = sys.argv[1:] or MODELS
    for seed, (name, how) in enumerate(MODELS.items()):
        if name not in wanted:
            continue
        torch.manual_seed(7000 + seed)
        cls = how["cls"]
        cfg = getattr(hf, cls + "Config")(**how["config"])
        cfg._attn_implementation = "eager"
        cfg._experts_implementation = "eager"
        model = getattr(hf, cls + "ForCausalLM")(cfg).float().eval()
        with torch.no_grad():
            for key, p in model.named_parameters():
                if key.endswith("A_log"):
                    p.copy_(torch.log(1 + 15 * torch.rand_like(p)))
                elif "norm" in key:
                    p.copy_((0 if cls == "Qwen3Next" and "linear_attn" not in key else 1) + 0.2 * torch.randn_like(p))
                elif key.endswith("bias") or key.endswith(".D"):
                    p.copy_(0.5 * torch.randn_like(p))
                else:
                    p.copy_(torch.randn_like(p) * 1.3 / math.sqrt(p.shape[-1]))
                p.copy_(p.half())
            ids = torch.randint(0, VOCAB, (1, POSITIONS))
            logits = model(ids, use_cache=False).logits[0].float().numpy()
        about = {"tokens": ids[0].tolist(), "vocab": VOCAB}
        if "arch" in how:
            path = HERE / f"{name}.gguf"
            write(path, how["arch"], cfg, model.state_dict())
            about["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        write_folder(HERE / name, model, torch.float16)
        logits.astype("<f4").tofile(HERE / f"{name}.f32")
        (HERE / f"{name}.json").write_text(json.dumps(about) + "\n")
        print(f"{name}: logits in [{logits.min():.2f}, {logits.max():.2f}], {sum(f.stat().st_size for f in (HERE / name).iterdir())} bytes")


if __name__ == "__main__":
    main()
