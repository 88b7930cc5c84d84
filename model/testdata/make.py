#!/usr/bin/env python3
"""Makes the tiny checkpoints and the logits they must give.

Each model is random, made and run by Hugging Face transformers in float32, and
written as GGUF under llama.cpp's names and conventions (the rows of q and k are
permuted for interleaved rotary pairs; Llama 3's rotary scaling is stored as
rope_freqs.weight). For NAME this leaves

    NAME.gguf    the model, with a byte-level tokenizer and a ChatML template
    NAME.json    the token ids that were run, 64 or fewer, and the sha256 of NAME.gguf
    NAME.f32     logits [tokens, vocab], little-endian float32

Some are also, or only, folders as save_pretrained writes them:

    NAME/        config.json and model.safetensors, or its shards and their index

Run with:  pip install torch transformers tokenizers gguf numpy  &&  python3 make.py
"""
import copy, hashlib, json, math, pathlib, shutil
import numpy as np
import torch
from gguf import GGUFWriter
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

HERE = pathlib.Path(__file__).parent
POSITIONS = 64
TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def byte_alphabet():
    """GPT-2's printable stand-in for each byte."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    out, extra = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in out:
            out[b] = chr(256 + extra)
            extra += 1
    return [out[b] for b in range(256)]


SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["t h", "th e", "a n", "an d", "i n"]
TOKENS = SPECIAL + byte_alphabet() + [m.replace(" ", "") for m in MERGES]
VOCAB = len(TOKENS)

BASE = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=2, pad_token_id=0)


def rope(theta, **scaling):
    return dict(rope_theta=theta, rope_type="default", **scaling) if "rope_type" not in scaling else dict(rope_theta=theta, **scaling)


MODELS = {
    # Llama 1: every head has its own keys, separate output layer.
    "llama-mha": (LlamaForCausalLM, LlamaConfig(**BASE, rope_parameters=rope(10000.0), tie_word_embeddings=False)),
    # SmolLM2: grouped heads, output tied to the embedding.
    "llama-gqa-tied": (LlamaForCausalLM, LlamaConfig(**{**BASE, "num_key_value_heads": 2}, rope_parameters=rope(100000.0), tie_word_embeddings=True)),
    # Llama 3.1: scaled rotary frequencies, and heads wider than hidden/heads.
    "llama3-rope": (LlamaForCausalLM, LlamaConfig(**{**BASE, "num_key_value_heads": 1}, head_dim=16, tie_word_embeddings=False, rope_parameters=rope(
        500000.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32))),
    # Position interpolation, with biases on the attention's projections.
    "llama-linear-bias": (LlamaForCausalLM, LlamaConfig(**{**BASE, "num_key_value_heads": 2}, attention_bias=True, tie_word_embeddings=False,
                                                        rope_parameters=rope(10000.0, rope_type="linear", factor=4.0))),
    # Mistral 7B v0.1: a token sees only the 16 before it, itself included.
    "mistral-window": (MistralForCausalLM, MistralConfig(**{**BASE, "num_key_value_heads": 2}, sliding_window=16, rope_parameters=rope(10000.0), tie_word_embeddings=False)),
}

# What is left of a model beside its GGUF file, or instead of it.
FOLDERS = {
    "llama-gqa-tied": dict(tokenizer=True),
    "llama3-rope": dict(max_shard_size="60KB"),
    "llama-bf16": dict(dtype=torch.bfloat16, gguf=False),
    "llama-f16": dict(dtype=torch.float16, gguf=False),
    "qwen3": dict(),
}
SHORT = 24  # positions of the models above that came later
MODELS |= {
    "llama-bf16": (LlamaForCausalLM, LlamaConfig(**{**BASE, "num_key_value_heads": 2}, rope_parameters=rope(10000.0), tie_word_embeddings=False)),
    "llama-f16": (LlamaForCausalLM, LlamaConfig(**{**BASE, "num_key_value_heads": 2}, rope_parameters=rope(10000.0), tie_word_embeddings=True)),
    # Qwen3: queries and keys normalized, heads wider than hidden/heads.
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**{**BASE, "num_key_value_heads": 2}, head_dim=16, rope_parameters=rope(1000000.0), tie_word_embeddings=True)),
}


def permute(w, heads):
    """Rows of one head from (half, half) to interleaved pairs."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def llama3_factors(cfg, dim):
    p = cfg.rope_parameters
    low, high = p["original_max_position_embeddings"] / p["low_freq_factor"], p["original_max_position_embeddings"] / p["high_freq_factor"]
    out = []
    for i in range(0, dim, 2):
        wave = 2 * math.pi * p["rope_theta"] ** (i / dim)
        if wave < high:
            out.append(1.0)
        elif wave > low:
            out.append(p["factor"])
        else:
            smooth = (p["original_max_position_embeddings"] / wave - p["low_freq_factor"]) / (p["high_freq_factor"] - p["low_freq_factor"])
            out.append(1.0 / ((1 - smooth) / p["factor"] + smooth))
    return np.array(out, np.float32)


def write(path, cfg, state):
    qwen = cfg.model_type == "qwen3"
    w = GGUFWriter(str(path), "qwen3" if qwen else "llama")
    head_dim = getattr(cfg, "head_dim", None) or cfg.hidden_size // cfg.num_attention_heads
    w.add_name(path.stem)
    w.add_context_length(cfg.max_position_embeddings)
    w.add_embedding_length(cfg.hidden_size)
    w.add_block_count(cfg.num_hidden_layers)
    w.add_feed_forward_length(cfg.intermediate_size)
    w.add_head_count(cfg.num_attention_heads)
    w.add_head_count_kv(cfg.num_key_value_heads)
    w.add_layer_norm_rms_eps(cfg.rms_norm_eps)
    w.add_rope_freq_base(cfg.rope_parameters["rope_theta"])
    w.add_rope_dimension_count(head_dim)
    w.add_vocab_size(cfg.vocab_size)
    w.add_file_type(0)
    if head_dim * cfg.num_attention_heads != cfg.hidden_size:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    if getattr(cfg, "sliding_window", None):
        w.add_sliding_window(cfg.sliding_window)
    kind = cfg.rope_parameters["rope_type"]
    if kind == "linear":
        from gguf import RopeScalingType
        w.add_rope_scaling_type(RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(cfg.rope_parameters["factor"])
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(TOKENS)
    w.add_token_types([3] * len(SPECIAL) + [1] * (VOCAB - len(SPECIAL)))
    w.add_token_merges(MERGES)
    w.add_bos_token_id(0)
    w.add_eos_token_id(2)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    parts = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
    if kind == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_factors(cfg, head_dim))
    for name, t in state.items():
        a = t.numpy().astype(np.float32)
        if name in names:
            if name == "lm_head.weight" and cfg.tie_word_embeddings:
                continue
            w.add_tensor(names[name], a)
            continue
        _, _, layer, rest = name.split(".", 3)
        stem, leaf = rest.rsplit(".", 1)
        if qwen:
            pass  # its rotary pairs are halves in GGUF files too
        elif stem == "self_attn.q_proj":
            a = permute(a, cfg.num_attention_heads)
        elif stem == "self_attn.k_proj":
            a = permute(a, cfg.num_key_value_heads)
        w.add_tensor(f"blk.{layer}.{parts[stem]}.{leaf}", np.ascontiguousarray(a))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def tokenizer():
    """The tokenizer of the GGUF files, as transformers has it."""
    t = Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(TOKENS)}, merges=[tuple(m.split(" ")) for m in MERGES]))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=t, bos_token=SPECIAL[0], eos_token=SPECIAL[0], pad_token=SPECIAL[0], chat_template=TEMPLATE)


def write_folder(folder, model, dtype=None, tokenizer_too=False, **save):
    shutil.rmtree(folder, ignore_errors=True)
    if dtype is not None:
        model = copy.deepcopy(model).to(dtype)
    model.generation_config.eos_token_id = [0, 2]  # a list, as many models have it
    model.save_pretrained(folder, **save)
    if tokenizer_too:
        tokenizer().save_pretrained(folder)
    else:
        (folder / "generation_config.json").unlink()


def main():
    for seed, (name, (cls, cfg)) in enumerate(MODELS.items()):
        torch.manual_seed(1000 + seed)
        cfg._attn_implementation = "eager"
        folder = FOLDERS.get(name)
        short = folder is not None and (folder.get("gguf") is False or name == "qwen3")
        model = cls(cfg).float().eval()
        with torch.no_grad():
            for key, p in model.named_parameters():
                if "norm" in key:
                    p.copy_(1 + 0.2 * torch.randn_like(p))
                elif key.endswith("bias"):
                    p.copy_(0.5 * torch.randn_like(p))
                else:
                    p.copy_(torch.randn_like(p) * 1.3 / math.sqrt(p.shape[-1]))
                if folder and "dtype" in folder:
                    p.copy_(p.to(folder["dtype"]))
            ids = torch.randint(0, VOCAB, (1, SHORT if short else POSITIONS))
            logits = model(ids).logits[0].float().numpy()
        about = {"tokens": ids[0].tolist(), "vocab": VOCAB}
        if folder is None or folder.pop("gguf", True):
            write(HERE / f"{name}.gguf", cfg, model.state_dict())
            about["sha256"] = hashlib.sha256((HERE / f"{name}.gguf").read_bytes()).hexdigest()
        if folder is not None:
            write_folder(HERE / name, model, folder.pop("dtype", None), folder.pop("tokenizer", False), **folder)
        logits.astype("<f4").tofile(HERE / f"{name}.f32")
        (HERE / f"{name}.json").write_text(json.dumps(about) + "\n")
        print(f"{name}: logits in [{logits.min():.2f}, {logits.max():.2f}]")


if __name__ == "__main__":
    main()
