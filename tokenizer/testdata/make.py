#!/usr/bin/env python3
"""Writes the fixtures of package tokenizer.

Needs the Python packages tokenizers (0.23 was used) and, for the ids of a real
model, gguf:

    python make.py                     # the small tokenizers of every family
    python make.py SmolLM2.gguf        # and smollm2.ids.json from its vocabulary

For every family a small tokenizer is trained over the texts of texts.py, with
exactly the normalizer, pre-tokenizer, decoder and post-processor that the
family's tokenizer.json has, and saved as NAME.json; NAME.ids.json holds the ids
that the Hugging Face library gives for each of texts.json, and what it decodes
them to.
"""

import json
import os
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from texts import CODE, PROSE, TEXTS

HERE = os.path.dirname(os.path.abspath(__file__))

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UP, LOW = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def cased(suffix, digits):
    return (
        rf"[^\r\n\p{{L}}\p{{N}}]?{UP}*{LOW}+{suffix}|[^\r\n\p{{L}}\p{{N}}]?{UP}+{LOW}*{suffix}"
        rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


TEKKEN = cased("", r"\p{N}")
O200K = cased(CONTRACTION + "?", r"\p{N}{1,3}")
DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5À-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅ"
    "ὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄ"
    "Ⰰ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
DEEPSEEK_LLM = [
    "[\r\n]",
    r"\s?[" + DEEPSEEK_LETTERS + "]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    "[一-龥ࠀ-一가-퟿]+",
]
DEEPSEEK_CODER = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"]
DEEPSEEK_V3 = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def plain():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def digits():
    return pre_tokenizers.Digits(individual_digits=True)


BYTE_LEVEL = {
    # name: (pre-tokenizer steps, normalizer, ignore_merges, begins with bos)
    "gpt-2": ([pre_tokenizers.ByteLevel(add_prefix_space=False)], None, False, False),
    "llama-bpe": ([split(LLAMA3), plain()], None, True, True),
    "qwen2": ([split(QWEN2), plain()], normalizers.NFC(), False, False),
    "qwen35": ([split(QWEN35), plain()], normalizers.NFC(), False, False),
    "smollm": ([digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)], None, False, False),
    "tekken": ([split(TEKKEN), plain()], None, True, True),
    "gpt-4o": ([split(O200K), plain()], None, False, False),
    "deepseek-llm": ([split(p) for p in DEEPSEEK_LLM] + [digits(), plain()], None, False, False),
    "deepseek-coder": ([split(p) for p in DEEPSEEK_CODER] + [digits(), plain()], None, False, False),
    "deepseek-v3": ([split(p) for p in DEEPSEEK_V3] + [plain()], None, False, False),
}

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_level(name, vocab=640):
    steps, normalizer, ignore_merges, bos = BYTE_LEVEL[name]
    t = Tokenizer(models.BPE())
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(c, special=True, normalized=False) for c in CONTROL],
        show_progress=False,
    )
    t.train_from_iterator(PROSE + CODE, trainer)
    if ignore_merges:
        # Some tokens that no merge leads to, as real vocabularies of this kind have.
        j = json.loads(t.to_str())
        for word in ["Ġbrown", "Ġspaces", "XMLHttp", "Ġ12"]:
            j["model"]["vocab"].setdefault(word, len(j["model"]["vocab"]))
        j["model"]["ignore_merges"] = True
        t = Tokenizer.from_str(json.dumps(j))
    t.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("[INST]", normalized=True)])
    byte_level_post = processors.ByteLevel(trim_offsets=False)
    if bos:
        template = processors.TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", t.token_to_id("<|im_start|>"))]
        )
        t.post_processor = processors.Sequence([byte_level_post, template])
    else:
        t.post_processor = byte_level_post
    return t


def all_splits(vocab):
    """The merges that SentencePiece's scores stand for: every way to cut a token into two tokens."""
    merges = []
    for token, rank in vocab.items():
        if token.startswith("<") and token.endswith(">"):
            continue
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        cuts = [(a, b) for a, b in cuts if a in vocab and b in vocab]
        merges += [(rank, vocab[a], vocab[b], a, b) for a, b in cuts]
    return [(a, b) for _, _, _, a, b in sorted(merges)]


def sentencepiece(name):
    """llama-2 and gemma as their tokenizer.json has them; mistral is the newer way of writing llama-2."""
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        limit_alphabet=150,
        show_progress=False,
    )
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if name == "gemma" else "always")
    words.train_from_iterator(PROSE + CODE, trainer)
    learned = sorted(words.get_vocab(), key=words.get_vocab().get)
    if name == "gemma":
        control, user = ["<pad>", "<eos>", "<bos>", "<unk>"], ["<h1>", "\n", "\n\n", "\t"]
        learned += ["<h", "1>", ">▁", "><", "▁▁", "▁▁▁", "▁▁▁▁"]
    else:
        control, user = ["<unk>", "<s>", "</s>"], []
    tokens = control + user + [f"<0x{b:02X}>" for b in range(256)]
    tokens += [t for t in dict.fromkeys(learned) if t not in tokens]
    vocab = {t: i for i, t in enumerate(tokens)}
    if name == "gemma":  # its scores are the merges' order, of which user-defined tokens take part
        vocab_for_merges = dict(vocab)
    else:
        vocab_for_merges = vocab
    t = Tokenizer(
        models.BPE(vocab=vocab, merges=all_splits(vocab_for_merges), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    bos = "<bos>" if name == "gemma" else "<s>"
    fallback = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if name == "gemma":
        t.normalizer = normalizers.Replace(" ", "▁")
        t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        t.decoder = decoders.Sequence(fallback)
    elif name == "llama-2":
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        t.decoder = decoders.Sequence(fallback + [decoders.Strip(" ", 1, 0)])
    else:
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        t.decoder = decoders.Sequence(fallback + [decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single=bos + " $A", special_tokens=[(bos, vocab[bos])])
    t.add_special_tokens([AddedToken(c, special=True, normalized=False) for c in control])
    t.add_tokens([AddedToken(c, normalized=False) for c in user])
    return t


def options():
    """A byte-level tokenizer whose added tokens use every option, with the rarer normalizers."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace("ł", "l")])
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, special_tokens=["<s>", "</s>"]
    )
    t.train_from_iterator(PROSE + CODE, trainer)
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    t.add_tokens(
        [
            AddedToken("<both>", lstrip=True, rstrip=True, normalized=False),
            AddedToken("lone", single_word=True, normalized=False),
            AddedToken("xyz", normalized=True),
            AddedToken("ab", normalized=False),
            AddedToken("abc", normalized=False),
        ]
    )
    t.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return t


OPTION_TEXTS = [
    "a <mask> b", "a  <mask><mask>", "x <both> y", "x\n <both> \t y<both>", "lone", "a lone b", "alone loner lone.", "é lone_",
    "Xyz xyz XYZ aXyzb", "abcd ab abcabc a b", "ﬁ ㎏ Å ŁÓDŹ łódź İI ΑΣ", "<s>a</s> <MASK>", " ab", "<both>", "  ", "lone<mask>lone",
]


def ids_of(t, texts):
    out = []
    for i, text in enumerate(texts):
        t.encode_special_tokens = False
        special = t.encode(text).ids
        raw = t.encode(text, add_special_tokens=False).ids
        t.encode_special_tokens = True
        typed = t.encode(text, add_special_tokens=False).ids
        t.encode_special_tokens = False
        out.append(
            {
                "ids": raw,
                # With the tokens that begin and end a text; some texts are enough.
                **({"added": special} if i < 30 else {}),
                # Control tokens in the text not matched; only where different.
                **({"typed": typed} if typed != raw else {}),
                "text": t.decode(raw),
            }
        )
    return out


def broken(t, count=150):
    """Random tokens, most of which cut characters apart or aren't UTF-8 at all, with what they decode to."""
    r = random.Random(5)
    high = [t.token_to_id(c) for c in pre_tokenizers.ByteLevel.alphabet() if ord(c) >= 0x80]
    out = []
    for _ in range(count):
        ids = [r.choice(high) if r.random() < 0.8 else r.randrange(t.get_vocab_size()) for _ in range(r.randint(1, 12))]
        out.append({"ids": ids, "text": t.decode(ids)})
    return out


def write(name, value):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as f:
        if isinstance(value, list):  # one entry a line
            f.write("[\n" + ",\n".join(json.dumps(v, separators=(",", ":")) for v in value) + "\n]\n")
        else:
            f.write(value + "\n")


def smollm2(path):
    """SmolLM2's own tokenizer from the vocabulary and merges in a GGUF file."""
    import gguf

    field = gguf.GGUFReader(path).get_field
    tokens = field("tokenizer.ggml.tokens").contents()
    types = field("tokenizer.ggml.token_type").contents()
    merges = [tuple(m.split(" ")) for m in field("tokenizer.ggml.merges").contents()]
    t = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(tokens)}, merges=merges))
    t.pre_tokenizer = pre_tokenizers.Sequence(BYTE_LEVEL["smollm"][0])
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.add_special_tokens(
        [AddedToken(s, special=True, normalized=False) for s, k in zip(tokens, types) if k == gguf.TokenType.CONTROL]
    )
    return t


def main():
    write("texts.json", TEXTS)
    for name in BYTE_LEVEL:
        t = byte_level(name)
        write(name + ".json", t.to_str())
        write(name + ".ids.json", ids_of(t, TEXTS))
    write("broken.json", broken(byte_level("gpt-2")))
    for name in ["llama-2", "mistral", "gemma"]:
        t = sentencepiece(name)
        write(name + ".json", t.to_str())
        write(name + ".ids.json", ids_of(t, TEXTS))
    t = options()
    write("options.json", t.to_str())
    write("options.ids.json", ids_of(t, OPTION_TEXTS + TEXTS))
    write("options.texts.json", OPTION_TEXTS)
    if len(sys.argv) > 1:
        write("smollm2.ids.json", ids_of(smollm2(sys.argv[1]), TEXTS))


if __name__ == "__main__":
    main()
