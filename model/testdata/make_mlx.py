#!/usr/bin/env python3
"""Makes the tiny checkpoints of MLX's quantizations and the logits they must give.

Each is a random model of 2 layers that mlx-lm's converter quantized, in the folder
mlx/NAME, without tokenizer. Beside it:

    mlx/NAME.json   the 24 token ids that were run
    mlx/NAME.f32    mlx-lm's logits [24, vocab] in float32 on the CPU, little-endian

Run with:  pip install 'mlx[cpu]==0.32.4' mlx-lm==0.32.2 transformers tokenizers gguf numpy torch
           python3 make.py && python3 make_mlx.py [NAME...]
(make.py leaves llama-gqa-tied/, whose tokenizer the converter asks for)
"""
import json, math, pathlib, shutil, sys, tempfile
import mlx.core as mx
import numpy as np
import torch
import transformers
from mlx_lm.convert import convert
from mlx_lm.utils import load_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

HERE = pathlib.Path(__file__).parent
OUT = HERE / "mlx"
TOKENIZER = HERE / "llama-gqa-tied"
POSITIONS, VOCAB = 24, 264


def affine(bits, group, dtype, qwen=False, **more):
    return dict(q_bits=bits, q_group_size=group, dtype=dtype, qwen=qwen, **more)


def mixed(path, module):
    """Widths, groups and modes of single layers; one is left alone."""
    if path.endswith("v_proj"):
        return dict(bits=8, group_size=32)
    if path.endswith("down_proj"):
        return dict(mode="mxfp4", bits=4, group_size=32)
    return not path.endswith("layers.1.self_attn.o_proj")


MODELS = {
    "affine-2-32": affine(2, 32, "float32"),
    "affine-2-128": affine(2, 128, "float16"),
    "affine-3-64": affine(3, 64, "bfloat16"),
    "affine-3-128": affine(3, 128, "float32", qwen=True),
    "affine-4-32": affine(4, 32, "bfloat16", qwen=True),
    "affine-4-64": affine(4, 64, "float16"),
    "affine-4-128": affine(4, 128, "float32"),
    "affine-5-32": affine(5, 32, "float16", qwen=True),
    "affine-5-64": affine(5, 64, "float32"),
    "affine-6-64": affine(6, 64, "bfloat16", qwen=True),
    "affine-8-64": affine(8, 64, "float16"),
    "affine-8-128": affine(8, 128, "bfloat16"),
    "mxfp4": dict(q_mode="mxfp4", dtype="bfloat16", qwen=True),
    "mxfp8": dict(q_mode="mxfp8", dtype="float16"),
    "nvfp4": dict(q_mode="nvfp4", dtype="float32"),
    "mixed": affine(4, 64, "bfloat16", qwen=True, quant_predicate=mixed),
    "npz": affine(4, 64, "float16"),
    "gemma3": affine(4, 64, "bfloat16", arch="Gemma3"),
    "phi3": affine(4, 64, "float16", arch="Phi3"),
    "olmo2": affine(8, 32, "float32", arch="Olmo2"),
    "starcoder2": affine(4, 32, "float32", arch="Starcoder2"),
    "command-r": affine(6, 64, "float32", arch="Cohere"),
    "granite": affine(5, 64, "bfloat16", arch="Granite"),
    "qwen3moe": affine(4, 64, "float32", arch="Qwen3Moe"),
}


def random_model(group, qwen, arch):
    """Rows are as narrow as the group allows."""
    width, layers = (128, 1) if group == 128 else (64, 2)
    base = dict(vocab_size=VOCAB, hidden_size=width, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
                head_dim=width // 4, max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=True,
                bos_token_id=0, eos_token_id=2, rope_parameters=dict(rope_theta=10000.0, rope_type="default"))
    if arch:
        base.update(intermediate_size=64, pad_token_id=0)
        if arch == "Gemma3":
            base.update(head_dim=32, query_pre_attn_scalar=32, sliding_window=12, layer_types=["sliding_attention", "full_attention"],
                        rope_parameters={"full_attention": dict(rope_theta=1000000.0, rope_type="default"), "sliding_attention": dict(rope_theta=10000.0, rope_type="default")})
        elif arch == "Cohere":
            base.update(logit_scale=0.25, layer_norm_eps=1e-5)
        elif arch == "Qwen3Moe":
            base.update(head_dim=32, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=64, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[])
        elif arch == "Granite":
            base.update(embedding_multiplier=12.0, residual_multiplier=0.22, attention_multiplier=0.3, logits_scaling=4.0)
        cfg = getattr(transformers, {"Gemma3": "Gemma3TextConfig"}.get(arch, arch + "Config"))(**base)
        return getattr(transformers, arch + "ForCausalLM")(cfg).eval()
    if qwen:
        base["head_dim"] = 32
        return Qwen3ForCausalLM(Qwen3Config(**base)).eval()
    return LlamaForCausalLM(LlamaConfig(**base)).eval()


def to_npz(folder):
    """The form of early mlx-examples: weights.npz, and no mode in the configuration."""
    weights = mx.load(str(folder / "model.safetensors"))
    mx.savez(str(folder / "weights.npz"), **weights)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"], config["quantization"]["mode"]
    (folder / "config.json").write_text(json.dumps(config, indent=4))


def main():
    mx.set_default_device(mx.cpu)
    OUT.mkdir(exist_ok=True)
    for seed, (name, how) in enumerate(MODELS.items()):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        shutil.rmtree(OUT / name, ignore_errors=True)
        torch.manual_seed(2000 + seed)
        arch = how.pop("arch", None)
        model = random_model(how.get("q_group_size"), how.pop("qwen", False), arch)
        with torch.no_grad():
            for key, p in model.named_parameters():
                p.copy_((0 if arch == "Gemma3" else 1) + 0.2 * torch.randn_like(p) if "norm" in key else 0.5 * torch.randn_like(p) if p.dim() == 1 else torch.randn_like(p) * 1.3 / math.sqrt(p.shape[-1]))
        folder = OUT / name
        with tempfile.TemporaryDirectory() as source:
            model.save_pretrained(source)
            if arch:  # mlx-lm reads the older names of these
                config = json.loads((pathlib.Path(source) / "config.json").read_text())
                config.update(rope_theta=1000000.0 if arch == "Gemma3" else 10000.0, rope_local_base_freq=10000.0, sliding_window_pattern=2)
                if "num_local_experts" in config:
                    config["num_experts"] = config.pop("num_local_experts")
                (pathlib.Path(source) / "config.json").write_text(json.dumps(config))
            for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]:
                shutil.copy(TOKENIZER / file, source)
            convert(source, folder, quantize=True, **how)
        for file in folder.iterdir():
            if file.name not in ("config.json", "model.safetensors", "model.safetensors.index.json"):
                file.unlink()
        # In float32 on the stored codes, scales and biases.
        loaded, _ = load_model(folder)
        loaded.set_dtype(mx.float32)
        ids = torch.randint(0, VOCAB, (1, POSITIONS))
        logits = np.array(loaded(mx.array(ids.numpy()))[0])
        assert logits.dtype == np.float32
        if name == "npz":
            to_npz(folder)
        logits.astype("<f4").tofile(OUT / f"{name}.f32")
        (OUT / f"{name}.json").write_text(json.dumps({"tokens": ids[0].tolist(), "vocab": VOCAB}) + "\n")
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(f"{name}: logits in [{logits.min():.2f}, {logits.max():.2f}], {size} bytes")


if __name__ == "__main__":
    main()
