#!/usr/bin/env python3
"""mlx-lm as a peer to measure beside: its engine and its server.

    mlxlm.py bench CHECKPOINT [--prompt 512,2048,4096] [--generate 256] [--depth 128] [--repeat 3]
    mlxlm.py peer  CHECKPOINT
    mlxlm.py serve CHECKPOINT --port PORT

bench is the counterpart of `inferctl bench -m CHECKPOINT -p 512,2048,4096 -n 256
-d 128 -b 2048`: random tokens, greedy, nothing ends an answer, no text is made of
the tokens. A prompt's time runs to its first generated token; generation's from
the token that comes first after --depth others. Each test runs once to warm up
(reported as "first") and then --repeat times. Prints one JSON object, in tokens per
second.

peer is what `inferctl bench --compare mlx-lm` runs: for each line that it reads, a
test as JSON ({"n_prompt": 512, "n_gen": 0, "n_depth": 0, "parallel": 1}), it answers
with {"seconds": ...}, or with {"unsupported": true} for tests of more than one
sequence and for prompts after others.

serve is `mlx_lm.server` with its defaults, except that 128 connections may wait to
be accepted and not 5: with so few, some of 16 clients that connect at once are
turned away by the kernel and try again a second later, which would say nothing
about the engine. Measure it with `inferctl bench serve`, as ours is.

Needs mlx-lm and an MLX for this machine's device.
"""
import argparse
import importlib.metadata
import json
import socketserver
import statistics
import sys
import time

import mlx.core as mx
import mlx_lm.server
import numpy as np
from mlx_lm import load
from mlx_lm.generate import generate_step, wired_limit


def measure(repeat, run):
    first, *samples = [run() for _ in range(repeat + 1)]
    return {"first": first, "median": statistics.median(samples), "samples": samples}


class Engine:
    def __init__(self, checkpoint):
        self.model, _, config = load(checkpoint, return_config=True)
        mx.eval(self.model.parameters())
        self.vocab = config["vocab_size"]
        self.rng = np.random.default_rng(1)

    def tokens(self, n):
        ids = mx.array(self.rng.integers(0, self.vocab, n))
        mx.eval(ids)
        return ids

    def prompt(self, n):
        """Seconds to the token after a prompt of n."""
        ids = self.tokens(n)
        begin = time.perf_counter()
        steps = generate_step(ids, self.model, max_tokens=1)
        next(steps)
        took = time.perf_counter() - begin
        steps.close()
        mx.synchronize()  # it had started one step more
        return took

    def generate(self, depth, n):
        """Seconds for n tokens after the one that comes after depth others."""
        steps = generate_step(self.tokens(max(depth, 1)), self.model, max_tokens=n + 1)
        next(steps)
        begin = time.perf_counter()
        for _ in steps:
            pass
        took = time.perf_counter() - begin
        mx.synchronize()
        return took


def bench(a):
    begin = time.perf_counter()
    e = Engine(a.checkpoint)
    loaded = time.perf_counter() - begin
    with wired_limit(e.model):
        prompts = {n: measure(a.repeat, lambda: n / e.prompt(n)) for n in map(int, a.prompt.split(",")) if n > 0}
        generation = measure(a.repeat, lambda: a.generate / e.generate(a.depth, a.generate)) if a.generate > 0 else None
    print(json.dumps({
        "prompt": prompts, "generate": generation, "n_gen": a.generate, "n_depth": a.depth, "load_seconds": loaded,
        "peak_bytes": mx.get_peak_memory(), "device": mx.device_info().get("device_name"),
        "mlx": importlib.metadata.version("mlx"), "mlx_lm": importlib.metadata.version("mlx-lm"),
    }))


def peer(a):
    def say(x):
        print(json.dumps(x), flush=True)

    e = Engine(a.checkpoint)
    version = f"{importlib.metadata.version('mlx-lm')}, MLX {importlib.metadata.version('mlx')}, {mx.device_info().get('device_name', mx.default_device())}"
    say({"name": "mlx-lm", "version": version})
    with wired_limit(e.model):
        for line in sys.stdin:
            t = json.loads(line)
            if t["parallel"] > 1 or t["n_prompt"] and t["n_depth"]:
                say({"unsupported": True})
            elif t["n_prompt"]:
                say({"seconds": e.prompt(t["n_prompt"])})
            else:
                say({"seconds": e.generate(t["n_depth"], t["n_gen"])})


def serve(a):
    socketserver.TCPServer.request_queue_size = 128
    sys.argv = ["mlx_lm.server", "--model", a.checkpoint, "--host", "127.0.0.1", "--port", str(a.port), "--log-level", "WARNING"]
    mlx_lm.server.main()


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    b = sub.add_parser("bench")
    b.set_defaults(run=bench)
    b.add_argument("checkpoint")
    b.add_argument("--prompt", default="512,2048,4096", help="prompt lengths, with commas; 0 for none")
    b.add_argument("--generate", type=int, default=256)
    b.add_argument("--depth", type=int, default=128)
    b.add_argument("--repeat", type=int, default=3)
    q = sub.add_parser("peer")
    q.set_defaults(run=peer)
    q.add_argument("checkpoint")
    s = sub.add_parser("serve")
    s.set_defaults(run=serve)
    s.add_argument("checkpoint")
    s.add_argument("--port", type=int, required=True)
    a = p.parse_args()
    a.run(a)
