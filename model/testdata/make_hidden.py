#!/usr/bin/env python3
"""Makes the hidden states that some of the checkpoints here must give.

For each folder NAME below, with the tokens of NAME.json, transformers in float32 gives the
states after the last norm, which the logits are made of:

    NAME.hidden.f32    [tokens, hidden], little-endian float32

Run with:  pip install torch transformers numpy  &&  python3 make_hidden.py
"""
import json, pathlib
import numpy as np
import torch
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
# Among them: a scale and a cap of logits, norms that subtract the mean, parallel layers,
# a mixture of experts.
NAMES = ["llama-gqa-tied", "qwen3", "gemma2", "granite", "cohere2", "starcoder2", "qwen3moe"]

for name in NAMES:
    tokens = json.loads((HERE / f"{name}.json").read_text())["tokens"]
    model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        states = model.model(torch.tensor([tokens])).last_hidden_state[0].numpy()
        logits = model(torch.tensor([tokens])).logits[0].numpy()
    want = np.fromfile(HERE / f"{name}.f32", dtype="<f4").reshape(logits.shape)
    assert np.abs(logits - want).max() < 1e-4, name  # the same model as that of the logits
    states.astype("<f4").tofile(HERE / f"{name}.hidden.f32")
    print(name, states.shape)
