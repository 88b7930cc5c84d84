package tokenizer

import (
	"slices"
	"strings"
	"sync/atomic"
)

// newTokenizer makes a tokenizer that cuts out the added tokens that are
// matched in the text as given.
func newTokenizer(m *merger, added []addedToken) *Tokenizer {
	m.whole = make([]atomic.Uint32, m.vocab.size()/16+1)
	t := &Tokenizer{merger: m, bos: -1, eos: -1}
	t.scratch.New = func() any { return new(longMerge) }
	t.raw = newMatcher(slices.DeleteFunc(slices.Clone(added), func(a addedToken) bool { return a.normalized }))
	return t
}

// matchNormalized adds the matching of tokens in normalized text. The tokens go
// through the same normalizers.
func (t *Tokenizer) matchNormalized(added []addedToken) {
	var tokens []addedToken
	for _, a := range added {
		if a.normalized {
			a.text = t.normalize(a.text)
			tokens = append(tokens, a)
		}
	}
	t.normalized = newMatcher(tokens)
}

// normalize runs the normalizers.
func (t *Tokenizer) normalize(text string) string {
	for _, n := range t.normalizers {
		text = n(text)
	}
	if t.metaspace && strings.Contains(text, metaspace) {
		text = strings.ReplaceAll(text, metaspace, " ")
	}
	return text
}

// tableMerger builds a merger from merges given as spellings.
type tableMerger struct {
	merger
	joined []byte
}

// addMerge is false when one of the three tokens isn't one that text can merge
// into.
func (b *tableMerger) addMerge(left, right string, rank uint32) bool {
	b.joined = b.appendToken(b.joined[:0], left)
	n := len(b.joined)
	b.joined = b.appendToken(b.joined, right)
	v := b.vocab
	l, r, id := v.find(string(b.joined[:n])), v.find(string(b.joined[n:])), v.find(string(b.joined))
	if l < 0 || r < 0 || id < 0 {
		return false
	}
	b.pairs.add(l, r, rank, id)
	return true
}

// appendToken appends the bytes that a token stands for: of its spelling, or
// the spelling itself where it isn't in the byte-level alphabet.
func (b *tableMerger) appendToken(dst []byte, spelling string) []byte {
	if !b.byteLevel {
		return appendSpaced(dst, spelling)
	}
	dst, ok := appendUnspelled(dst, spelling)
	if !ok {
		dst = append(dst, spelling...)
	}
	return dst
}

// appendSpaced appends a SentencePiece spelling with its spaces as spaces.
func appendSpaced(dst []byte, spelling string) []byte {
	for {
		text, rest, more := strings.Cut(spelling, metaspace)
		dst = append(dst, text...)
		if !more {
			return dst
		}
		dst = append(dst, ' ')
		spelling = rest
	}
}

// noBytes marks all bytes as having no token.
func (m *merger) noBytes() {
	for i := range m.bytes {
		m.bytes[i] = -1
	}
}

// findLetters finds the tokens of single bytes in a byte-level vocabulary.
func (m *merger) findLetters() {
	for i := range m.bytes {
		m.bytes[i] = m.vocab.find(string([]byte{byte(i)}))
	}
}

// findFallback notes whether every byte has a token.
func (m *merger) findFallback() {
	m.fallback = !slices.Contains(m.bytes[:], -1)
}
