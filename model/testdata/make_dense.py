#!/usr/bin/env python3
"""Makes the tiny checkpoints of the dense architectures beside llama, and their logits.

As make.py does for the llama family: random models of 3 or 4 layers, made and run by
Hugging Face transformers in float32, are written as GGUF under llama.cpp's names and
conventions (NAME.gguf), as folders of save_pretrained (NAME/), or both, with token
ids (NAME.json) and logits (NAME.f32). Weights are stored in float16, which halves
the files; the logits are those of the rounded weights.

Run with:  pip install torch transformers tokenizers gguf numpy  &&  python3 make_dense.py [NAME...]
"""
import hashlib, json, math, sys
import numpy as np
import torch
import transformers as hf
from gguf import GGUFWriter, RopeScalingType
from make import BASE, HERE, MERGES, POSITIONS, SPECIAL, TEMPLATE, TOKENS, VOCAB, permute, rope, write_folder

GQA = {**BASE, "num_key_value_heads": 2}
FOUR = {**GQA, "num_hidden_layers": 4}
PLAIN = rope(10000.0)

# What the GGUF files need beside the parameters that all have: keys by writer method.
# "permute" are architectures whose q and k rows are stored for interleaved pairs.
MODELS = {
    # Biases on q, k and v.
    "qwen2": dict(cls="Qwen2", config={**GQA, "rope_parameters": rope(1000000.0), "tie_word_embeddings": True}),
    # Attention and logits capped, every other layer with a window, norms before and
    # after, scores scaled by something else than the width of heads.
    "gemma2": dict(cls="Gemma2", config={**GQA, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 12, "num_hidden_layers": 3, "rope_parameters": PLAIN,
                                         "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}),
    # As the class leaves them: query_pre_attn_scalar apart from the width of heads.
    "gemma2-scalar": dict(cls="Gemma2", gguf=False, config={**GQA, "head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 12, "num_hidden_layers": 2,
                                                            "rope_parameters": PLAIN}),
    # Windows in five layers of six, with a rotary embedding of their own.
    "gemma3": dict(cls="Gemma3", config={**GQA, "num_hidden_layers": 7, "intermediate_size": 48, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 12, "rope_parameters": {
        "full_attention": rope(1000000.0, rope_type="linear", factor=8.0), "sliding_attention": rope(10000.0)}}),
    "gemma": dict(cls="Gemma", config={**GQA, "head_dim": 16, "rope_parameters": PLAIN}),
    # Fused tensors; rotary factors for long contexts, of three quarters of each head.
    "phi3-longrope": dict(cls="Phi3", config={**GQA, "hidden_size": 64, "original_max_position_embeddings": 32, "tie_word_embeddings": True, "rope_parameters": rope(
        10000.0, rope_type="longrope", partial_rotary_factor=0.75, short_factor=[1.0, 1.1, 1.2, 1.3, 1.4, 1.5], long_factor=[1.0, 1.5, 2.5, 4.0, 6.0, 9.0],
        original_max_position_embeddings=32)}),
    # Phi-3-mini-4k has a window of half its context.
    "phi3-window": dict(cls="Phi3", config={**GQA, "sliding_window": 20, "rope_parameters": PLAIN, "tie_word_embeddings": False}),
    # Multipliers of embeddings, residuals, scores and logits.
    "granite": dict(cls="Granite", permute=True, config={**GQA, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.3, "logits_scaling": 0.5,
                                                         "rope_parameters": PLAIN, "tie_word_embeddings": True}),
    # Norms only after attention and MLP, and of all heads of q and k together.
    "olmo2": dict(cls="Olmo2", config={**GQA, "rope_parameters": rope(500000.0), "tie_word_embeddings": False}),
    # Windows in three layers of four, YaRN in the others.
    "olmo3": dict(cls="Olmo3", gguf=False, config={**FOUR, "sliding_window": 12, "tie_word_embeddings": False, "rope_parameters": {
        "full_attention": rope(500000.0, rope_type="yarn", factor=8.0, original_max_position_embeddings=32, attention_factor=1.2, beta_fast=32.0, beta_slow=1.0),
        "sliding_attention": rope(500000.0)}}),
    # Every fourth layer without positions.
    "smollm3": dict(cls="SmolLM3", permute=True, config={**FOUR, "rope_parameters": rope(5000000.0), "tie_word_embeddings": True}),
    # Layer norms, biases everywhere, an MLP without gate.
    "starcoder2": dict(cls="Starcoder2", config={**{k: v for k, v in GQA.items() if k != "rms_norm_eps"}, "norm_epsilon": 1e-5, "rope_parameters": PLAIN, "tie_word_embeddings": True}),
    # Attention and MLP side by side, layer norms without bias, scaled logits.
    "command-r": dict(cls="Cohere", config={**{k: v for k, v in GQA.items() if k != "rms_norm_eps"}, "layer_norm_eps": 1e-5, "logit_scale": 0.25, "rope_parameters": PLAIN,
                                            "tie_word_embeddings": True}),
    # The same with windows and rotation in three layers of four.
    "cohere2": dict(cls="Cohere2", config={**{k: v for k, v in FOUR.items() if k != "rms_norm_eps"}, "layer_norm_eps": 1e-5, "logit_scale": 0.25, "sliding_window": 12,
                                           "rope_parameters": PLAIN, "tie_word_embeddings": True}),
    # Half of each head rotated in interleaved pairs, four norms a layer, biases on q, k and v.
    "glm4": dict(cls="Glm4", config={**GQA, "head_dim": 16, "attention_bias": True, "tie_word_embeddings": False, "rope_parameters": rope(10000.0, partial_rotary_factor=0.5)}),
    # Windows in some layers.
    "ministral": dict(cls="Ministral", gguf=False, config={**FOUR, "head_dim": 8, "sliding_window": 12, "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
                                                           "rope_parameters": PLAIN, "tie_word_embeddings": False}),
    # YaRN, and queries that grow with their position.
    "ministral3": dict(cls="Ministral3", permute=True, config={**GQA, "head_dim": 16, "tie_word_embeddings": True, "rope_parameters": rope(
        1000000.0, rope_type="yarn", factor=8.0, original_max_position_embeddings=16, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.1)}),
    # YaRN as Qwen2.5's documentation sets it.
    "qwen2-yarn": dict(cls="Qwen2", config={**GQA, "rope_parameters": rope(1000000.0, rope_type="yarn", factor=4.0, original_max_position_embeddings=32), "tie_word_embeddings": True}),
    # Dynamic scaling, which changes nothing within the context, and windows in the upper layer.
    "qwen2-dynamic": dict(cls="Qwen2", gguf=False, config={**GQA, "rope_parameters": rope(10000.0, rope_type="dynamic", factor=4.0), "tie_word_embeddings": True,
                                                           "use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1}),
    # With an encoder of images beside it, as the larger Gemmas and Mistral Small have.
    "gemma3-vision": dict(cls="Gemma3", vision="Gemma3", gguf=False, config={**GQA, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"],
                                                                             "rope_parameters": {"full_attention": rope(1000000.0, rope_type="linear", factor=8.0), "sliding_attention": rope(10000.0)}}),
    "mistral3-vision": dict(cls="Mistral", vision="Mistral3", gguf=False, config={**GQA, "head_dim": 16, "sliding_window": None, "rope_parameters": PLAIN, "tie_word_embeddings": False}),
}

ARCH = {"Qwen2": "qwen2", "Gemma": "gemma", "Gemma2": "gemma2", "Gemma3": "gemma3", "Phi3": "phi3", "Granite": "granite", "Olmo2": "olmo2", "SmolLM3": "smollm3",
        "Starcoder2": "starcoder2", "Cohere": "command-r", "Cohere2": "cohere2", "Glm4": "glm4", "Ministral3": "mistral3"}
NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
PARTS = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.qkv_proj": "attn_qkv",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
         "post_self_attn_layernorm": "post_attention_norm", "post_mlp_layernorm": "post_ffw_norm", "post_feedforward_layernorm": "post_ffw_norm", "pre_feedforward_layernorm": "ffn_norm"}
POST = {"post_attention_layernorm": "post_attention_norm"}  # where it isn't the norm before the MLP


def write(path, cls, cfg, state, permuted):
    arch = ARCH[cls]
    gemma = cls.startswith("Gemma")
    w = GGUFWriter(str(path), arch)
    head_dim = getattr(cfg, "head_dim", None) or cfg.hidden_size // cfg.num_attention_heads
    w.add_name(path.stem.replace("phi3", "phi 3"))  # llama.cpp expects Phi-3's vocabulary under its name
    w.add_context_length(cfg.max_position_embeddings)
    w.add_embedding_length(cfg.hidden_size)
    w.add_block_count(cfg.num_hidden_layers)
    w.add_feed_forward_length(cfg.intermediate_size)
    w.add_head_count(cfg.num_attention_heads)
    w.add_head_count_kv(cfg.num_key_value_heads)
    w.add_vocab_size(cfg.vocab_size)
    w.add_file_type(1)
    if arch == "starcoder2":
        w.add_layer_norm_eps(cfg.norm_epsilon)
    elif arch in ("command-r", "cohere2"):
        w.add_layer_norm_eps(cfg.layer_norm_eps)
    else:
        w.add_layer_norm_rms_eps(cfg.rms_norm_eps)
    r = cfg.rope_parameters
    if "full_attention" in r:
        w.add_rope_freq_base_swa(r["sliding_attention"]["rope_theta"])
        r = r["full_attention"]
    w.add_rope_freq_base(r["rope_theta"])
    rotated = int(head_dim * (r.get("partial_rotary_factor") or 1))
    if arch in ("phi3", "glm4", "granite", "smollm3", "mistral3", "cohere2"):
        w.add_rope_dimension_count(rotated)
    if gemma or head_dim * cfg.num_attention_heads != cfg.hidden_size:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    if arch in ("gemma2", "gemma3", "phi3", "cohere2") and getattr(cfg, "sliding_window", None):
        w.add_sliding_window(cfg.sliding_window)
    if arch == "gemma2":
        w.add_attn_logit_softcapping(cfg.attn_logit_softcapping)
        w.add_final_logit_softcapping(cfg.final_logit_softcapping)
    if arch == "granite":
        w.add_attention_scale(cfg.attention_multiplier)
        w.add_embedding_scale(cfg.embedding_multiplier)
        w.add_residual_scale(cfg.residual_multiplier)
        w.add_logit_scale(cfg.logits_scaling)
    if arch in ("command-r", "cohere2"):
        w.add_logit_scale(cfg.logit_scale)
    kind = r["rope_type"]
    if arch == "command-r":
        w.add_rope_scaling_type(RopeScalingType.NONE)
    if kind == "linear":
        w.add_rope_scaling_type(RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(r["factor"])
    if kind == "yarn":
        w.add_rope_scaling_type(RopeScalingType.YARN)
        w.add_rope_scaling_factor(r["factor"])
        w.add_rope_scaling_orig_ctx_len(r["original_max_position_embeddings"])
    if arch == "mistral3":
        w.add_rope_scaling_yarn_beta_fast(r["beta_fast"])
        w.add_rope_scaling_yarn_beta_slow(r["beta_slow"])
        w.add_rope_scaling_yarn_log_mul(r["mscale_all_dim"])
        w.add_attn_temperature_scale(r["llama_4_scaling_beta"])
    if kind == "longrope":
        original = r["original_max_position_embeddings"]
        w.add_rope_scaling_orig_ctx_len(original)
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(cfg.max_position_embeddings / original) / math.log(original)))
        w.add_tensor("rope_factors_long.weight", np.array(r["long_factor"], np.float32))
        w.add_tensor("rope_factors_short.weight", np.array(r["short_factor"], np.float32))
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(TOKENS)
    w.add_token_types([3] * len(SPECIAL) + [1] * (VOCAB - len(SPECIAL)))
    w.add_token_merges(MERGES)
    w.add_bos_token_id(0)
    w.add_eos_token_id(2)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)
    parts = dict(PARTS, **POST) if cls in ("Gemma2", "Gemma3", "Olmo2") else PARTS
    for name, t in state.items():
        if name == "lm_head.weight" and cfg.tie_word_embeddings:
            continue
        a = t.numpy().astype(np.float32)
        stem, leaf = name.rsplit(".", 1)
        if gemma and stem.endswith("norm"):
            a = a + 1
        if stem not in NAMES:
            _, _, layer, stem = stem.split(".", 3)
            if permuted and stem == "self_attn.q_proj":
                a = permute(a, cfg.num_attention_heads)
            elif permuted and stem == "self_attn.k_proj":
                a = permute(a, cfg.num_key_value_heads)
            full = f"blk.{layer}.{parts[stem]}"
        else:
            full = NAMES[stem]
        a = np.ascontiguousarray(a)
        w.add_tensor(f"{full}.{leaf}", a.astype(np.float16) if a.ndim == 2 else a)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    wanted = sys.argv[1:] or MODELS
    for seed, (name, how) in enumerate(MODELS.items()):
        if name not in wanted:
            continue
        torch.manual_seed(3000 + seed)
        cls = how["cls"]
        cfg = getattr(hf, {"Gemma3": "Gemma3TextConfig"}.get(cls, cls + "Config"))(**how["config"])
        if "vision" in how:
            tiny = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
            parts = dict(vision_config={"model_type": "siglip_vision_model", **tiny}, mm_tokens_per_image=4, image_token_index=3) if cls == "Gemma3" else dict(
                vision_config={"model_type": "pixtral", "head_dim": 8, **tiny}, image_token_index=3, tie_word_embeddings=False)
            cfg = getattr(hf, how["vision"] + "Config")(text_config=cfg.to_dict(), **parts)
        cfg._attn_implementation = "eager"
        model = getattr(hf, how["vision"] + "ForConditionalGeneration" if "vision" in how else cls + "ForCausalLM")(cfg).float().eval()
        with torch.no_grad():
            for key, p in model.named_parameters():
                if "norm" in key and key.endswith("weight"):
                    p.copy_((0 if cls.startswith("Gemma") else 1) + 0.2 * torch.randn_like(p))
                elif key.endswith("bias"):
                    p.copy_(0.5 * torch.randn_like(p))
                else:
                    p.copy_(torch.randn_like(p) * 1.3 / math.sqrt(p.shape[-1]))
                p.copy_(p.half())
            ids = torch.randint(4 if "vision" in how else 0, VOCAB, (1, POSITIONS))
            logits = model(ids).logits[0].float().numpy()
        about = {"tokens": ids[0].tolist(), "vocab": VOCAB}
        if how.get("gguf", True):
            path = HERE / f"{name}.gguf"
            write(path, cls, cfg, model.state_dict(), how.get("permute", False))
            about["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        write_folder(HERE / name, model, torch.float16)
        logits.astype("<f4").tofile(HERE / f"{name}.f32")
        (HERE / f"{name}.json").write_text(json.dumps(about) + "\n")
        print(f"{name}: logits in [{logits.min():.2f}, {logits.max():.2f}], {sum(f.stat().st_size for f in (HERE / name).iterdir())} bytes")


if __name__ == "__main__":
    main()
