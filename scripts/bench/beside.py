#!/usr/bin/env python3
"""How evenly answers flow while a server reads somebody else's long prompt.

    beside.py [--server http://127.0.0.1:8080] [--clients 7] [--prompt 6000] [--rounds 3]

So many clients stream answers without end; then one more sends a prompt of so many tokens.
Prints the percentiles of the time between two tokens of theirs, in the seconds before and
while the prompt is read. Needs nothing but Python.
"""
import argparse, json, threading, time, urllib.request

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--server", default="http://127.0.0.1:8080")
p.add_argument("--clients", type=int, default=7)
p.add_argument("--prompt", type=int, default=6000)
p.add_argument("--rounds", type=int, default=3)
a = p.parse_args()


def complete(**body):
    data = json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(a.server + "/v1/completions", data, {"Content-Type": "application/json"}))


gaps, lock, over = [], threading.Lock(), False


def client(i):
    turn = 0
    while not over:
        turn += 1
        last = None
        for line in complete(prompt=f"Tale {i} {turn} of a fox and a crow in the wood:", max_tokens=600, temperature=0.8, seed=i, stream=True, ignore_eos=True):
            if over:
                return
            if not line.startswith(b"data: {"):
                continue
            now = time.time()
            if last:
                with lock:
                    gaps.append((now, 1e3 * (now - last)))
            last = now


def percentiles(begin, end):
    with lock:
        part = sorted(g for at, g in gaps if begin < at < end)
    return [part[min(len(part) - 1, int(len(part) * q))] for q in (0.5, 0.99)]


for i in range(a.clients):
    threading.Thread(target=client, args=(i,), daemon=True).start()
time.sleep(4)
for n in range(a.rounds):
    begin = time.time()
    time.sleep(6)
    middle = time.time()
    complete(prompt=[(j * 7919 + n * 131 + int(begin)) % 40000 + 100 for j in range(a.prompt)], max_tokens=1, temperature=0).read()
    end = time.time()
    (b50, b99), (d50, d99) = percentiles(begin, middle), percentiles(middle, end)
    print(f"before: p50 {b50:.1f} p99 {b99:.1f} ms; for the {end - middle:.1f} s of the prompt: p50 {d50:.1f} p99 {d99:.1f} ms; p99 {d99 / b99:.2f} times")
over = True
