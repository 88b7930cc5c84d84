#!/usr/bin/env python3
"""Does the server keep its memory flat over many requests?

    soak.py --model MODEL [--backend mlx] [--requests 10000] [--parallel 16] [--tokens 8]

Starts `inferctl serve` with the model, sends the requests by `inferctl bench
--server` in ten blocks, each with prompts of its own, and reads the server's
resident size and the gauges of /metrics all the while, those of MLX's memory among
them where it has any. Prints the means of some blocks, and whether the last is
within --slack of the second (in the first, caches and pools still fill), what MLX
keeps for reuse left out. Exit code 1 if a request failed or something grew. Linux
only: it reads /proc.
"""
import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCKS = 10
# What must not grow, beside the resident size.
GAUGES = re.compile(r"^(go_goroutines|go_memstats_heap_inuse_bytes|process_open_fds|inferflux_kv_used_bytes|inferflux_kv_reserved_tokens|inferflux_\w*memory\w*)(\{[^}]*\})? (\S+)$", re.M)


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024


def gauges(url):
    with urllib.request.urlopen(url + "/metrics", timeout=10) as f:
        return {name + "".join(f" {v}" for v in re.findall(r'kind="(\w+)"', labels)): float(value)
                for name, labels, value in GAUGES.findall(f.read().decode())}


def less_cache(sizes):
    """Adds the resident size without what MLX keeps for reuse, which has a limit of its own and is long in reaching it."""
    cache = sizes.get("inferflux_device_memory_bytes cache")
    return sizes if cache is None else {**sizes, "resident_bytes less cache": sizes["resident_bytes"] - cache}


class Sampler(threading.Thread):
    """Reads the server's sizes until told to stop."""

    def __init__(self, pid, url, every):
        super().__init__(daemon=True)
        self.pid, self.url, self.every = pid, url, every
        self.block, self.samples, self.done = 0, [{} for _ in range(BLOCKS)], threading.Event()

    def run(self):
        while not self.done.wait(self.every):
            try:
                now = {"resident_bytes": resident(self.pid), **gauges(self.url)}
            except (OSError, AttributeError):
                continue  # it is going away
            for name, value in less_cache(now).items():
                self.samples[self.block].setdefault(name, []).append(value)


def serve(a, url, log):
    server = subprocess.Popen([a.inferctl, "serve", "--model", a.model, "--listen", url.removeprefix("http://"), "--log-level", "warn",
                               *(["--backend", a.backend] if a.backend else [])], stderr=log)
    for _ in range(600):
        if server.poll() is not None:
            sys.exit(f"soak.py: the server ended with exit code {server.returncode}, see {a.log}")
        try:
            with urllib.request.urlopen(url + "/readyz", timeout=2):
                return server
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    server.kill()
    sys.exit("soak.py: the server wasn't ready within 2 minutes")


def bench(a, url, block):
    out = subprocess.run([a.inferctl, "bench", "serve", "--server", url, "--requests", str(a.requests // BLOCKS), "--concurrency", str(a.parallel),
                          "-p", str(a.prompt), "-n", str(a.tokens), "--seed", str(block + 1), "--json"], stdout=subprocess.PIPE, check=False)
    if not out.stdout:
        sys.exit("soak.py: the client failed")
    return json.loads(out.stdout)[0]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--backend", default="")
    p.add_argument("--requests", type=int, default=10000)
    p.add_argument("--parallel", type=int, default=16)
    p.add_argument("--prompt", type=int, default=64, help="tokens of a prompt, about")
    p.add_argument("--tokens", type=int, default=8, help="tokens of an answer")
    p.add_argument("--slack", type=float, default=0.03, help="how much more the last block's mean may be than the second's")
    p.add_argument("--every", type=float, default=0.1, help="seconds between samples")
    p.add_argument("--inferctl", default=os.path.join(HERE, "..", "bin", "inferctl"))
    p.add_argument("--log", default="soak.log")
    a = p.parse_args()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}"
    with open(a.log, "w", encoding="utf-8") as log:
        server = serve(a, url, log)
        try:
            sampler = Sampler(server.pid, url, a.every)
            idle = resident(server.pid)
            sampler.start()
            blocks, rests = [], []
            for block in range(BLOCKS):
                sampler.block = block
                blocks.append(bench(a, url, block))
                time.sleep(0.2)
                rests.append(less_cache({"resident_bytes": resident(server.pid), **gauges(url)}))
                print(f"requests to {(block + 1) * (a.requests // BLOCKS)}: {blocks[-1]['requests_per_second']:.0f}/s, {blocks[-1]['failed']} failed, "
                      f"resident {resident(server.pid) / 1e6:.1f} MB", file=sys.stderr, flush=True)
            sampler.done.set()
            sampler.join()
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
    means = [{name: statistics.mean(v) for name, v in s.items()} for s in sampler.samples]
    grew = []
    size = "resident_bytes less cache" if "resident_bytes less cache" in means[-1] else "resident_bytes"
    print(f"{'mean of':40} {'first tenth':>14} {'second':>14} {'last':>14} {'at rest after':>14} {'the second':>14} {'the last':>14}")
    for name in sorted(means[-1]):
        first, second, last = (means[i].get(name, 0.0) for i in (0, 1, -1))
        rest, end = (rests[i].get(name, 0.0) for i in (1, -1))
        print(f"{name:40} {first:14.0f} {second:14.0f} {last:14.0f} {'':14} {rest:14.0f} {end:14.0f}")
        # The heap's size swings with the collector, what single requests take is
        # theirs, and one unusual step sets a peak. What MLX has in use swings with
        # every step, so it is compared at rest.
        if name in (size, "go_goroutines", "process_open_fds") and last > second * (1 + a.slack) + 1 or name.endswith(" active") and end > rest * (1 + a.slack):
            grew.append(name)
    failed = sum(b["failed"] for b in blocks)
    slope = statistics.linear_regression(range(1, BLOCKS), [m[size] for m in means[1:]]).slope / (a.requests // BLOCKS)
    print(f"{sum(b['requests'] for b in blocks)} requests, {failed} failed; resident {idle / 1e6:.1f} MB before, {rests[-1]['resident_bytes'] / 1e6:.1f} MB after, "
          f"{slope:+.0f} bytes a request from the second block on; " + ("flat" if not grew else "grew: " + ", ".join(grew)))
    sys.exit(1 if failed or grew or server.returncode else 0)


if __name__ == "__main__":
    main()
