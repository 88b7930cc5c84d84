package tokenizer

import "unicode/utf8"

// prefixRule says when a space is put before a text that is to be split.
type prefixRule uint8

const (
	noPrefix    prefixRule = iota
	eachPrefix             // before every stretch of text between added tokens
	firstPrefix            // only at the very beginning
)

// Encode appends the token ids of text to dst. Bytes that aren't valid UTF-8
// are encoded as bytes where the vocabulary has tokens for them.
func (t *Tokenizer) Encode(dst []int32, text string, o EncodeOptions) []int32 {
	if o.AddSpecial {
		dst = append(dst, t.prefix...)
	}
	heap := t.scratch.Get().(*longMerge)
	e := encoder{t: t, dst: dst, heap: heap, special: o.Special}
	e.text(text)
	t.scratch.Put(heap)
	dst = e.dst
	if o.AddSpecial {
		dst = append(dst, t.suffix...)
	}
	return dst
}

// encoder is the state of one call of Encode.
type encoder struct {
	t       *Tokenizer
	dst     []int32
	heap    *longMerge
	special bool
	begin   int // where in dst the current stretch of text begins
}

// text cuts out the added tokens, first those matched in the text as given,
// then those matched in what the normalizer makes of the rest.
func (e *encoder) text(text string) {
	for from := 0; from < len(text); {
		tok, start, end, ok := e.t.raw.next(text, from, e.special)
		if !ok {
			start, end = len(text), len(text)
		}
		if start > from {
			e.normalize(text[from:start], from == 0)
		}
		if ok {
			e.dst = append(e.dst, tok.id)
		}
		from = end
	}
}

func (e *encoder) normalize(text string, first bool) {
	text = e.t.normalize(text)
	for from := 0; from < len(text); {
		tok, start, end, ok := e.t.normalized.next(text, from, e.special)
		if !ok {
			start, end = len(text), len(text)
		}
		if start > from {
			e.words(text[from:start], first && from == 0)
		}
		if ok {
			e.dst = append(e.dst, tok.id)
		}
		from = end
	}
}

// words puts the leading space where one is due and splits the text.
func (e *encoder) words(text string, first bool) {
	due := e.t.leading == eachPrefix || e.t.leading == firstPrefix && first
	if due && text[0] != ' ' {
		text = " " + text
	}
	e.begin = len(e.dst)
	e.split(text, 0)
}

// split runs the pre-tokenizer's stages from the given one on and merges the
// words that come out of the last.
func (e *encoder) split(text string, stage int) {
	if stage == len(e.t.stages) {
		e.dst = e.t.merger.encode(e.dst, text, e.begin, e.heap)
		return
	}
	for text != "" {
		n := e.t.stages[stage](text)
		e.split(text[:n], stage+1)
		text = text[n:]
	}
}

// splitUnmergeable cuts between two characters wherever no token that text
// merges into has the last byte of the one next to the first byte of the other:
// no merge can reach across, so the ids stay the same, and a text without
// pre-tokenizer falls into words (before each space, as a rule).
func splitUnmergeable(v *vocab) splitter {
	adjacent := new([1 << 16]bool)
	for id := range int32(v.size()) {
		piece := v.piece(id)
		for i := 1; i < len(piece); i++ {
			adjacent[int(piece[i-1])<<8|int(piece[i])] = true
		}
	}
	return func(s string) int {
		for i := 1; i < len(s); i++ {
			if !adjacent[int(s[i-1])<<8|int(s[i])] && utf8.RuneStart(s[i]) {
				return i
			}
		}
		return len(s)
	}
}
