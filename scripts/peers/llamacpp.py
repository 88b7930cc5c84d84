#!/usr/bin/env python3
"""llama.cpp's library as a peer to check against, through ctypes.

    llamacpp.py logits LIB_DIR MODEL.gguf IDS.json OUT.f32 [--threads 2]
    llamacpp.py tokens LIB_DIR MODEL.gguf TEXT.txt OUT.json
    llamacpp.py greedy LIB_DIR MODEL.gguf TOKENS IDS.json OUT.json

LIB_DIR holds libllama and its libggml-cpu-* variants, of which ggml itself picks
the best for this CPU; npm's @node-llama-cpp/linux-x64 carries a prebuilt set
(node_modules/@node-llama-cpp/linux-x64/bins/linux-x64). logits writes [tokens, vocab] float32; tokens writes the
ids of a text; greedy continues each of several lists of ids by TOKENS likeliest ones.
"""
import argparse, ctypes as C, glob, json, os


class Blob(C.Structure):
    """A parameter struct by value whose fields we reach by offset: only its head
    differs from the library's own defaults, so its true size need not be known."""
    _fields_ = [("bytes", C.c_uint8 * 512)]

    def set_u32(self, offset, value, default=None):
        at = C.c_uint32.from_buffer(self, offset)
        if default is not None and at.value != default:
            raise SystemExit(f"unknown llama.cpp version: params+{offset} is {at.value}, expected the default {default}")
        at.value = value


class Batch(C.Structure):
    _fields_ = [("n_tokens", C.c_int32), ("token", C.POINTER(C.c_int32)), ("embd", C.c_void_p), ("pos", C.POINTER(C.c_int32)),
                ("n_seq_id", C.POINTER(C.c_int32)), ("seq_id", C.POINTER(C.POINTER(C.c_int32))), ("logits", C.POINTER(C.c_int8))]


class Llama:
    # Offsets in llama_context_params of llama.cpp v0.5.0.
    N_CTX, N_BATCH, N_UBATCH, N_SEQ, N_THREADS, N_THREADS_BATCH = 0, 4, 8, 12, 28, 32

    def __init__(self, lib_dir, model, threads, context=2048, sequences=1, ubatch=512):
        ggml = C.CDLL(glob.glob(os.path.join(lib_dir, "libggml.*so*"))[0], mode=C.RTLD_GLOBAL)
        ggml.ggml_backend_load_all_from_path.argtypes = [C.c_char_p]
        lib = self.lib = C.CDLL(glob.glob(os.path.join(lib_dir, "libllama.*so*"))[0], mode=C.RTLD_GLOBAL)
        self.quiet = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)(lambda level, text, _: None)
        lib.llama_log_set(self.quiet, None)
        ggml.ggml_backend_load_all_from_path(lib_dir.encode())
        for name, res, args in [
            ("llama_model_default_params", Blob, []), ("llama_context_default_params", Blob, []),
            ("llama_model_load_from_file", C.c_void_p, [C.c_char_p, Blob]), ("llama_init_from_model", C.c_void_p, [C.c_void_p, Blob]),
            ("llama_model_get_vocab", C.c_void_p, [C.c_void_p]), ("llama_vocab_n_tokens", C.c_int32, [C.c_void_p]),
            ("llama_batch_init", Batch, [C.c_int32] * 3), ("llama_decode", C.c_int32, [C.c_void_p, Batch]),
            ("llama_get_logits_ith", C.POINTER(C.c_float), [C.c_void_p, C.c_int32]), ("llama_get_memory", C.c_void_p, [C.c_void_p]),
            ("llama_memory_clear", None, [C.c_void_p, C.c_bool]), ("llama_synchronize", None, [C.c_void_p]),
            ("llama_print_system_info", C.c_char_p, []),
            ("llama_tokenize", C.c_int32, [C.c_void_p, C.c_char_p, C.c_int32, C.POINTER(C.c_int32), C.c_int32, C.c_bool, C.c_bool]),
        ]:
            f = getattr(lib, name)
            f.restype, f.argtypes = res, args
        self.model = lib.llama_model_load_from_file(model.encode(), lib.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp could not load {model}")
        p = lib.llama_context_default_params()
        p.set_u32(self.N_CTX, context * sequences)
        p.set_u32(self.N_BATCH, max(ubatch, 512))
        p.set_u32(self.N_UBATCH, ubatch)
        p.set_u32(self.N_SEQ, sequences)
        p.set_u32(self.N_THREADS, threads, default=4)
        p.set_u32(self.N_THREADS_BATCH, threads, default=4)
        self.ctx = lib.llama_init_from_model(self.model, p)
        if not self.ctx:
            raise SystemExit("llama.cpp could not make a context")
        self.vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        self.batch = lib.llama_batch_init(4096, 0, 1)

    def decode(self, rows, all_logits=False):
        """rows: (token, position, sequence, wants logits)."""
        b = self.batch
        b.n_tokens = len(rows)
        for i, (token, pos, seq, want) in enumerate(rows):
            b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = token, pos, 1, want or all_logits
            b.seq_id[i][0] = seq
        if rc := self.lib.llama_decode(self.ctx, b):
            raise SystemExit(f"llama_decode: {rc}")
        self.lib.llama_synchronize(self.ctx)

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.ctx), True)


def logits(a):
    import numpy as np
    m = Llama(a.lib_dir, a.model, a.threads)
    ids = json.load(open(a.ids))["tokens"]
    out = np.zeros((len(ids), m.vocab), np.float32)
    for at in range(0, len(ids), 512):
        part = ids[at:at + 512]
        m.decode([(t, at + i, 0, True) for i, t in enumerate(part)])
        for i in range(len(part)):
            out[at + i] = np.ctypeslib.as_array(m.lib.llama_get_logits_ith(m.ctx, i), (m.vocab,))
    out.tofile(a.out)


def tokens(a):
    m = Llama(a.lib_dir, a.model, a.threads)
    text = open(a.text, "rb").read()
    ids = (C.c_int32 * (len(text) + 8))()
    n = m.lib.llama_tokenize(m.lib.llama_model_get_vocab(m.model), text, len(text), ids, len(ids), True, False)
    json.dump({"tokens": list(ids[:n])}, open(a.out, "w"))


def greedy(a):
    import numpy as np
    m = Llama(a.lib_dir, a.model, a.threads)
    out = []
    for ids in json.load(open(a.ids)):
        m.clear()
        ids, new = list(ids), list(ids)
        for _ in range(a.count):
            m.decode([(t, len(ids) - len(new) + i, 0, i == len(new) - 1) for i, t in enumerate(new)])
            new = [int(np.ctypeslib.as_array(m.lib.llama_get_logits_ith(m.ctx, -1), (m.vocab,)).argmax())]
            ids += new
        out.append(ids)
    json.dump(out, open(a.out, "w"))


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    l = sub.add_parser("logits")
    l.set_defaults(run=logits)
    t = sub.add_parser("tokens")
    t.set_defaults(run=tokens)
    g = sub.add_parser("greedy")
    g.set_defaults(run=greedy)
    for q in (l, t, g):
        q.add_argument("lib_dir")
        q.add_argument("model")
        q.add_argument("--threads", type=int, default=2)
    l.add_argument("ids")
    t.add_argument("text")
    g.add_argument("count", type=int)
    g.add_argument("ids")
    for q in (l, t, g):
        q.add_argument("out")
    a = p.parse_args()
    a.run(a)
