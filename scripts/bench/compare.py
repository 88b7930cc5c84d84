#!/usr/bin/env python3
"""InferFlux's CPU engine beside llama.cpp, in turns, as a table of ratios.

    compare.py LIB_DIR FOLDER [--files 135m-q4_0.gguf,...] [--rounds 3] [--threads 2] [--inferctl bin/inferctl]

FOLDER is what models.py wrote, LIB_DIR holds libllama (see scripts/peers/llamacpp.py). For
each file and round: ours reads a prompt of 512 tokens, generates 128, and generates for 8
sequences at once; then theirs does, on the same file (an MLX folder beside llama.cpp's
Q4_0 of the same model). A cell is the median of the rounds' medians, ours / theirs =
ratio, in tokens/s. INFERFLUX_SIMD chooses our kernels. Writes Markdown to standard output
and progress to standard error.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys

ROOT = pathlib.Path(__file__).parents[2]
TYPES = ["q4_0.gguf", "q4_1.gguf", "q4_k_m.gguf", "q8_0.gguf", "f16.gguf", "bf16.gguf", "mlx4"]
PEER = ROOT / "scripts/peers/llamacpp.py"


def output(*command):
    p = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit status {p.returncode}\n{p.stderr}")
    return json.loads(p.stdout)


def ours(a, model):
    def medians(*flags):
        tests = output(a.inferctl, "bench", "-m", model, "--backend", "cpu", "-t", a.threads, "-r", a.repeat, "--json", *flags)
        return [t["median_tokens_per_second"] for t in tests]
    return medians("-p", 512, "-n", 128) + medians("-p", 0, "-n", 32, "--parallel", 8)


def theirs(a, model):
    t = output(sys.executable, PEER, "bench", a.lib_dir, model, "--threads", a.threads, "--repeat", a.repeat, "--sequences", 8)
    return [t["prompt"], t["generate"], t["batched"]]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("lib_dir")
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--files", default=",".join(f"{size}-{t}" for size in ["135m", "1b"] for t in TYPES))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--inferctl", default=ROOT / "bin/inferctl")
    a = p.parse_args()
    print("| file | prompt, 512 | generation, 128 | 8 sequences |\n|---|---|---|---|", flush=True)
    for name in a.files.split(","):
        model = a.folder / name
        peer = model if name.endswith(".gguf") else a.folder / (name.split("-")[0] + "-q4_0.gguf")
        rounds = []
        for i in range(a.rounds):
            print(f"{name}: round {i + 1} of {a.rounds}", file=sys.stderr, flush=True)
            rounds.append((ours(a, model), theirs(a, peer)))
        cells = []
        for test in range(3):
            us, them = (statistics.median(r[side][test] for r in rounds) for side in (0, 1))
            cells.append(f"{us:,.0f} / {them:,.0f} = {us / them:.2f}" if min(us, them) >= 100 else f"{us:.1f} / {them:.1f} = {us / them:.2f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
