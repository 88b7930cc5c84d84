"""The texts that the tokenizers of make.py are trained on and compared over."""

import random

PROSE = [
    "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs!",
    "It's what they'd said: we'll see, you've won, I'm sure, she DON'T CARE, WE'LL SEE, THEY'RE here, don'T.",
    "In 2026 there were 365 days, 12 months and 52 weeks; 1234567890 is a number, so are 3.14159 and ½ and Ⅷ and ٣٤٥.",
    "A newline\nand another\n\nand three\n\n\nCRLF\r\nand \r alone.\n",
    "  leading spaces, trailing spaces   \n   \n\t\ttabs\t and  double  spaces   inside.  \n\n  ",
    "Die Straße nach Köln führt über die Brücke; größer als äußerst möglich. L'été où naïf garçon mange des œufs.",
    "Быстрая коричневая лиса перепрыгивает через ленивую собаку. Съешь же ещё этих мягких французских булок.",
    "Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί. ΟΔΟΣ Ἀθηναίων.",
    "敏捷的棕色狐狸跳过了懒狗。今天天气很好，我们去公园散步吧！一二三四五六七八九十。",
    "素早い茶色の狐がのろまな犬を飛び越える。カタカナとひらがなと漢字、ー、「引用」。",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다. 안녕하세요 여러분, 반갑습니다.",
    "الثعلب البني السريع يقفز فوق الكلب الكسول. مَرْحَبًا بِالْعَالَمِ ١٢٣",
    "השועל החום המהיר קופץ מעל הכלב העצלן. שָׁלוֹם עוֹלָם",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। नमस्ते दुनिया १२३",
    "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ ๑๒๓",
    "Nhanh như chớp, con cáo nâu nhảy qua con chó lười. Tiếng Việt có dấu.",
    "Türkçe İstanbul'da ıspanak yiyen şişman çocuk. ǅ ǈ ǋ ǲ titlecase, ʰʲ modifiers.",
]

CODE = [
    "def fib(n):\n    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)\n\n\nprint([fib(i) for i in range(10)])\n",
    "func main() {\n\tfor i := 0; i < 10; i++ {\n\t\tfmt.Printf(\"%d\\n\", i)\n\t}\n}\n",
    "SELECT id, name FROM users WHERE age >= 18 AND email LIKE '%@example.com' ORDER BY name DESC;",
    "#include <stdio.h>\nint main(void) { char *s = \"hi\"; return s[0] == 'h' ? 0x1F : ~0; } // done\n/* comment */\n",
    "{\"key\": [1, 2.5e-3, true, null], \"camelCase\": \"snake_case\", \"PascalCaseXMLHttp\": {}}",
    "<div class=\"a b\" id='x'>text &amp; more</div>\n<!-- comment --><br/>\n</s><s><unk><pad>",
    "https://example.com/path/to/page?query=1&other=two#fragment user@mail.org C:\\Windows\\System32\n",
    "x=1;y+=2;z**=3;a&&b||!c;$var;@decorator;#hash;%mod;^xor;`tick`;~tilde;|pipe|;[0];{1};<T>;->;=>;::;...;/;//;///\n/\n",
]

ODD = [
    "",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "a",
    "'",
    "'s",
    "' s",
    "'S 'T 'RE 'Ll 'ſ 'ſt",
    "🙂👍🏽👩‍👩‍👧‍👦🏳️‍🌈🇩🇪🇯🇵 emoji🎉party 🤖",
    "e\u0301 cafe\u0301 n\u0303 \u0301alone A\u0301B\u0301c \u1e9b\u0323 \u212b \u2126 \ufb01 ﬀ ㎏ Å",
    "zero\u200bwidth\u200djoin\ufeffbom\u00adhyphen\u2060",
    "\u00a0nbsp\u00a0\u00a0two\u3000ideographic\u2003em\u2028line\u2029para\u0085nel\u000bvt\u000cff\u1680ogham\u180emvs",
    "control\x00nul\x01soh\x07bel\x08bs\x1besc\x7fdel\x80pad\x9fapc",
    "\ufffd\ufffe\uffff\ufdd0\U0010ffff\U000e0001 private \ue000\uf8ff",
    "▁metaspace ▁▁two Ġalphabet Ċnewline Â©",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|><|eot_id|><s>[INST] x [/INST]</s><bos><end_of_turn>",
    "<0x0A><0xFF><0x0a> <0x20>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "----------------------------------------------------------------------------------------------------================",
    " " * 100 + "x" + " " * 33 + "\n" * 40 + "\t" * 35,
    # Longer runs of combining characters than stream-safe text has, out of canonical order.
    "a" + "\u0301" * 40 + "\u0316" * 3 + " e\u0327" + "\u0301\u0316" * 20 + "\u0302x \u1100\u1161\u11a8" + "\u0300" * 35,
    "ABCdef ABC def AbCdEf abcDEF aBC ABc  ABC's abc'S ABC'LLx XMLHttpRequest iPhone İI",
    "12 345 6789 12345678 1a2b3c4 ¼½¾ ²³ ①② 一二三123四五",
    "word\u0301\u0302\u0303s \u0301\u0302 \u0301A\u0301 \u0903x",
    "!!! ??? ...\n\n;; /\n// \n/\n \n. \r\n,\r\r\n\n \t\n x",
    "$100 €50 £20 ¥3 + − × ÷ = ≠ ≤ ∞ √ ∑ ∫ © ® ™ ° ¬ ¦ § ¶",
    "\u0e4c\u0e4d\u0300 \u20e3 1\u20e3 #\ufe0f\u20e3",
]

ALPHABET = (
    [" "] * 12
    + list("aabcdeesttxyzABCSTX") * 2
    + list("'''\"..,!?/-_<>|()[]{}@#$%^&*+=~`\\:;")
    + ["\n", "\n", "\r\n", "\r", "\t", "'s", "'LL", "'re", "'ſ", " '"]
    + list("0123456789½Ⅷ²٣१")
    + list("éÉßñÑøØığİſǅǈʰµªº")
    + list("жЖяαΩσς") + list("中文字一龥鿿ㄅ") + list("かなカー゠・") + list("한글ㄱ")
    + list("שلअनที") + ["\u0301", "\u0303", "\u0e49", "\u093e", "\u20dd", "\ufe0f", "\u064b"]
    + ["\u00a0", "\u2003", "\u3000", "\u2028", "\u0085", "\x0b", "\u180e", "\u200b", "\u200d"]
    + ["\x00", "\x7f", "\x1b", "\u0080", "\ufeff", "\ue000", "\U000e0001", "\u0378"]
    + list("€£+<=>|~°©…“”‘’！～、。，") + list("🙂👍🏽🇩🇪𐐀𝒜𝟘𓀀ꭰᲐℵ")
    + ["▁", "Ġ", "<|im_end|>", "<s>", "</s>", "<0x41>"]
)


def noise(seed, count, alphabet=ALPHABET, most=24):
    """Random strings in which every class of character meets every other."""
    r = random.Random(seed)
    return ["".join(r.choices(alphabet, k=r.randint(1, most))) for _ in range(count)]


# Words beyond 64 characters are merged another way than short ones.
LONG = noise(2, 8, list("abcdeinorst"), 400) + noise(3, 4, list("中文字漢かな"), 200) + noise(4, 4, list("=-_*#"), 300)

TEXTS = PROSE + CODE + ODD + LONG + noise(1, 240)
