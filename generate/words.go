package generate

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/inferflux/inferflux/tokenizer"
)

// Tokenize encodes a text as it is, for a client that wants its tokens: control tokens
// that are spelled out in it are text.
func (m *Model) Tokenize(text string) []int32 {
	return m.o.Tokenizer.Encode(nil, text, tokenizer.EncodeOptions{})
}

// Spellings are the ways in which a text becomes tokens inside an answer: as it is, and
// after a space.
func (m *Model) Spellings(text string) [][]int32 {
	var all [][]int32
	for _, t := range []string{text, " " + strings.TrimLeft(text, " ")} {
		ids := m.Tokenize(t)
		if len(ids) > 0 && !slices.ContainsFunc(all, func(have []int32) bool { return slices.Equal(have, ids) }) {
			all = append(all, ids)
		}
	}
	return all
}

// tokensWith remembers the answer to the question asked last, which is most often that
// of the defaults.
type tokensWith struct {
	mu    sync.Mutex
	texts []string
	found map[int32]bool
}

// TokensWith are the tokens that have one of some texts in them. The map is shared: it
// must not be changed.
func (m *Model) TokensWith(texts []string) map[int32]bool {
	c := &m.breakers
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found != nil && slices.Equal(c.texts, texts) {
		return c.found
	}
	found := map[int32]bool{}
	for id := range int32(m.o.Tokenizer.VocabSize()) {
		piece := m.o.Tokenizer.Piece(id)
		if slices.ContainsFunc(texts, func(t string) bool { return bytes.Contains(piece, []byte(t)) }) {
			found[id] = true
		}
	}
	c.texts, c.found = slices.Clone(texts), found
	return found
}
