#!/usr/bin/env python3
"""InferFlux on MLX beside mlx-lm: the same machine, device and checkpoints, in turns.

    compare.py [NAME ...] [--inferctl bin/inferctl] [--out OUT] [--work DIR] [--budget SECONDS]

For each NAME of checkpoint.py (all, if none is given) it writes the checkpoint
into --work and measures ours and mlx-lm's, one after the other, as often as
--rounds says and the time allows:

  decode      256 tokens after 128, one sequence, in process
  prefill     prompts of 512, 2048 and 4096 tokens, in process
  server      16 chat requests at a time through the HTTP servers, both up, in
              turns: prompts of about 128 tokens, answers of 128; one client,
              `inferctl bench serve`, for both
  16 at once  ours only, in process: what a step costs the host

A part that fails or outlives its time is noted, and the rest goes on. OUT gets
compare.json (all results), compare.md (the table, also printed) and compare.log
(what the programs said). Needs numpy and mlx-lm in the Python that runs this, and
`inferctl backends` with mlx ready. --small and --backend cpu try it out anywhere.
"""
import argparse
import importlib.metadata
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

import checkpoint

HERE = os.path.dirname(os.path.abspath(__file__))
MLXLM = os.path.join(HERE, "..", "peers", "mlxlm.py")


class Failed(Exception):
    """A part came to nothing."""


class Programs:
    """Runs programs until a deadline; what they say of themselves goes to a log."""

    def __init__(self, log, deadline):
        self.log, self.deadline, self.share = log, deadline, deadline

    def left(self):
        return self.share - time.monotonic()

    def json(self, command, limit):
        limit = min(limit, self.left())
        if limit < 1:
            raise Failed("no time was left")
        self.note("$ " + " ".join(command))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, start_new_session=True)
        try:
            out, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise Failed(f"stopped after {limit:.0f} s") from None
        finally:
            if process.returncode is None:
                stop(process)
        if process.returncode:
            self.note(out)
            raise Failed(f"exit code {process.returncode}, see the log")
        try:
            return json.loads(out)
        except ValueError:
            self.note(out)
            raise Failed("printed no JSON, see the log") from None

    def serve(self, command, url, limit):
        """Starts a server and waits until url answers with 200."""
        self.note("$ " + " ".join(command) + " &")
        process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)
        end = time.monotonic() + min(limit, self.left())
        while True:
            if process.poll() is not None:
                raise Failed(f"the server ended with exit code {process.returncode}, see the log")
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return process
            except (urllib.error.URLError, OSError):
                pass
            if time.monotonic() > end:
                stop(process)
                raise Failed("the server wasn't ready in time")
            time.sleep(0.1)

    def note(self, text):
        print(text, file=self.log, flush=True)


def stop(process):
    """Ends a program and what it started."""
    for s, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, s)
        except ProcessLookupError:
            pass
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Comparison:
    def __init__(self, a, programs):
        self.a, self.programs = a, programs
        self.machine = machine(a, programs)
        self.results = []

    def part(self, result, name, run):
        """Runs a part and keeps what it returns, or why there is nothing."""
        begin = time.monotonic()
        try:
            result.setdefault(name, []).append(run())
        except Failed as e:
            result["failures"].append(f"{name}: {e}")
        print(f"{result['name']}: {name}, {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
        self.save()

    def compare(self, name, share_ends):
        a, p = self.a, self.programs
        p.share = min(share_ends, p.deadline)
        share = p.left()
        result = {"name": name, "failures": []}
        self.results.append(result)
        folder = os.path.join(a.work, name)
        self.part(result, "write", lambda: self.write(name, folder))
        if not result.get("write"):
            return
        engine = [a.inferctl, "bench", "-m", folder, "--backend", a.backend, "-b", "2048", "--json"]
        prompts, generate, depth = ("16,40", "16", "8") if a.small else ("512,2048,4096", "256", "128")
        for again in range(a.rounds if "engine" in a.parts else 0):
            if again and p.left() < share / 2:
                break  # what is left is for the servers
            self.part(result, "ours", lambda: alike(p.json([*engine, "-p", prompts, "-n", generate, "-d", f"0,{depth}", "-r", "3"], 90)))
            self.part(result, "theirs", lambda: p.json([sys.executable, MLXLM, "bench", folder, "--prompt", prompts, "--generate", generate, "--depth", depth, "--repeat", "3"], 90))
        if "server" in a.parts:
            self.servers(result, folder)
        if "16" in a.parts:
            self.part(result, "ours_16", lambda: p.json([*engine, "-p", "0", "-n", "16" if a.small else "128", "-d", depth, "--parallel", "16", "-r", "2"], 60))

    def write(self, name, folder):
        shape = checkpoint.SHAPES[name]
        return checkpoint.write(shape.small() if self.a.small else shape, folder)

    def servers(self, result, folder):
        a, p = self.a, self.programs
        ports = free_port(), free_port()
        commands = {
            "ours_server": [a.inferctl, "serve", "--model", folder, "--backend", a.backend, "--listen", f"127.0.0.1:{ports[0]}", "--log-level", "warn"],
            "theirs_server": [sys.executable, MLXLM, "serve", folder, "--port", str(ports[1])],
        }
        ready = {"ours_server": f"http://127.0.0.1:{ports[0]}/readyz", "theirs_server": f"http://127.0.0.1:{ports[1]}/health"}
        up = {}
        try:
            for name, command in commands.items():
                try:
                    up[name] = p.serve(command, ready[name], 60)
                except Failed as e:
                    result["failures"].append(f"{name}: {e}")
            prompt, generate, requests = ("64", "16", "32") if a.small else ("128", "128", "64")
            for again in range(a.rounds):
                for name in up:
                    url = ready[name].rsplit("/", 1)[0]
                    # Nothing ends these models' answers, so both get the same request.
                    self.part(result, name, lambda: p.json([
                        a.inferctl, "bench", "serve", "--server", url, "-p", prompt, "-n", generate, "--concurrency", "16", "--requests", requests,
                        "--seed", str(again + 1), "--ignore-eos=false", "--json"], 60)[0])
        finally:
            for process in up.values():
                stop(process)

    def save(self):
        table = self.table()
        with open(os.path.join(self.a.out, "compare.md"), "w", encoding="utf-8") as f:
            f.write(table)
        with open(os.path.join(self.a.out, "compare.json"), "w", encoding="utf-8") as f:
            json.dump({"machine": self.machine, "command": sys.argv, "results": self.results}, f, indent=1)

    def table(self):
        m = self.machine
        lines = [f"{m['device']}, driver {m['driver']}; InferFlux {m['inferflux']} on {m['backend']['name']} {m['backend']['version']}, "
                 f"mlx-lm {m['mlx_lm']} on MLX {m['mlx']}; {m['python']}, {m['cores']} cores", "",
                 "| checkpoint | | InferFlux | mlx-lm | ratio |", "|---|---|---:|---:|---:|"]
        for r in self.results:
            for what, ours, theirs, higher in rows(r):
                if ours is None and theirs is None:
                    continue
                ratio = "" if not ours or not theirs else f"{ours / theirs if higher else theirs / ours:.2f}"
                lines.append(f"| {r['name']} | {what} | {number(ours)} | {number(theirs)} | {ratio} |")
            for failure in r["failures"]:
                lines.append(f"| {r['name']} | {failure} | | | |")
        lines += ["", "Medians over rounds. Ratios above 1 are in favour of InferFlux, for times too."]
        return "\n".join(lines) + "\n"


def alike(tests):
    """Those that mlx-lm is put to as well: prompts that begin a context, and generation that goes on with one."""
    return [t for t in tests if (t["n_depth"] > 0) == (t["n_gen"] > 0)]


def number(x):
    return "" if x is None else f"{x:.1f}" if x < 1000 else f"{x:.0f}"


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def rows(r):
    """(what, ours, theirs, whether more is better) of one checkpoint."""
    ours, theirs = r.get("ours", []), r.get("theirs", [])

    def of_ours(kind, key):
        return lambda n: median([t[key] for run in ours for t in run if t[kind] == n])

    generated = sorted({t["n_gen"] for run in ours for t in run if t["n_gen"]} | {run["n_gen"] for run in theirs})
    for n in generated:
        yield f"decode, {n} tokens/s", of_ours("n_gen", "median_tokens_per_second")(n), median([run["generate"]["median"] for run in theirs]), True
    prompts = sorted({t["n_prompt"] for run in ours for t in run if t["n_prompt"]} | {int(n) for run in theirs for n in run["prompt"]})
    for key, mine, label in (("median", "median_tokens_per_second", ""), ("first", "first_tokens_per_second", " (first)")):
        for n in prompts:
            yield f"prefill {n}{label}, tokens/s", of_ours("n_prompt", mine)(n), median([run["prompt"][str(n)][key] for run in theirs]), True
    us, them = r.get("ours_server", []), r.get("theirs_server", [])
    yield "16 at once, tokens/s", median([s["tokens_per_second"] for s in us]), median([s["tokens_per_second"] for s in them]), True
    for label, key in (("first token", "time_to_first_token_ms"), ("between tokens", "inter_token_latency_ms"), ("per token", "time_per_output_token_ms")):
        for q in ("p50", "p99"):
            yield f"16 at once, {label} {q}, ms", median([s[key][q] for s in us]), median([s[key][q] for s in them]), False
    for label, runs in (("1", ours), ("16", r.get("ours_16", []))):
        steps = [t["host_step"] for run in runs for t in run if t.get("host_step")]
        for q, key in (("median", "median_us"), ("p99", "p99_us")):
            yield f"host time per decode step of {label}, {q}, µs", median([s[key] for s in steps]), None, False
    yield "16 in process, tokens/s", median([t["median_tokens_per_second"] for run in r.get("ours_16", []) for t in run]), None, True


def machine(a, p):
    """What the figures depend on."""
    def said(command):
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return ""

    def version(package):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return ""

    gpu = said(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]).split("\n")[0].split(", ")
    backends = p.json([a.inferctl, "backends", "--json"], 60)
    backend = next((b for b in backends["backends"] if b["name"] == a.backend), {})
    if not backend.get("ready"):
        raise Failed(f"backend {a.backend} can't run: {backend.get('reason', 'unknown')}; {backend.get('remedy', '')}")
    return {
        "device": gpu[0] or backend.get("device", ""), "driver": gpu[1] if len(gpu) > 1 else "none", "memory": gpu[2] if len(gpu) > 2 else "",
        "backend": backend, "inferflux": p.json([a.inferctl, "version", "--json"], 30)["version"],
        "mlx": version("mlx"), "mlx_lm": version("mlx-lm"), "transformers": version("transformers"), "python": f"Python {platform.python_version()}",
        "cores": os.cpu_count(), "kernel": platform.release(),
        "environment": {k: v for k, v in os.environ.items() if k.startswith(("INFERFLUX_", "MLX_", "ENABLE_", "CUDA_")) and "KEY" not in k},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(checkpoint.SHAPES))
    parser.add_argument("--inferctl", default=os.path.join(HERE, "..", "..", "bin", "inferctl"))
    parser.add_argument("--backend", default="mlx")
    parser.add_argument("--out", default="out")
    parser.add_argument("--work", default="checkpoints", help="the four take 16 GB; a memory file system is quickest")
    parser.add_argument("--budget", type=float, default=480, help="seconds for everything")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--parts", default="engine,server,16", help="of these, in that order; the second is 16 at once through the servers, the third in process")
    parser.add_argument("--small", action="store_true")
    a = parser.parse_args()
    names = a.names or list(checkpoint.SHAPES)
    for n in names:
        if n not in checkpoint.SHAPES:
            parser.error(f"there is no checkpoint {n}: choose from {', '.join(checkpoint.SHAPES)}")
    os.makedirs(a.out, exist_ok=True)
    begin = time.monotonic()
    with open(os.path.join(a.out, "compare.log"), "w", encoding="utf-8") as log:
        try:
            c = Comparison(a, Programs(log, begin + a.budget))
        except Failed as e:
            sys.exit(f"compare.py: {e}")
        for i, name in enumerate(names):
            now = time.monotonic()
            c.compare(name, now + (begin + a.budget - now) / (len(names) - i))
    c.save()
    print(c.table())


if __name__ == "__main__":
    main()
