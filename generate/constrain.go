package generate

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/bits"
	"sync"
	"time"

	"github.com/inferflux/inferflux/grammar"
	"github.com/inferflux/inferflux/tokenizer"
)

const (
	// compileTime is the most that a constraint may take to compile.
	compileTime = 10 * time.Second
	// compiledKept is how many compiled constraints a model keeps.
	compiledKept = 64
)

// grammars are a model's compiled constraints.
type grammars struct {
	vocabulary func() (*grammar.Vocabulary, error)

	mu    sync.Mutex
	made  map[string]*grammar.Compiled
	order []string             // of their use, the last at the end
	over  map[string][][]int32 // see overruns
}

func newGrammars(t *tokenizer.Tokenizer) *grammars {
	return &grammars{made: map[string]*grammar.Compiled{}, over: map[string][][]int32{}, vocabulary: sync.OnceValues(func() (*grammar.Vocabulary, error) {
		pieces := make([][]byte, t.VocabSize())
		var control []int32
		for id := range int32(len(pieces)) {
			if pieces[id] = t.Piece(id); pieces[id] == nil {
				control = append(control, id)
			}
		}
		return grammar.NewVocabulary(pieces, control, t.EndOfGeneration())
	})}
}

// Compile makes a constraint ready for this model's tokens, unless it has been already.
// The errors are those of [grammar.Compile].
func (m *Model) Compile(ctx context.Context, spec grammar.Spec) (*grammar.Compiled, error) {
	g := m.grammars
	key := fmt.Sprintf("%q %q %q", spec.Kind, spec.Source, spec.Choices) // no two specs have the same
	g.mu.Lock()
	c := g.made[key]
	g.use(key, c)
	g.mu.Unlock()
	if c != nil {
		return c, nil
	}
	v, err := g.vocabulary()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	if c, err = grammar.Compile(ctx, spec, v); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.made[key] = c
	g.use(key, c)
	return c, nil
}

// use marks one as used last, and lets go of the one that was used longest ago.
func (g *grammars) use(key string, c *grammar.Compiled) {
	if c == nil {
		return
	}
	for i, k := range g.order {
		if k == key {
			g.order = append(g.order[:i], g.order[i+1:]...)
			break
		}
	}
	g.order = append(g.order, key)
	if len(g.order) > compiledKept {
		delete(g.made, g.order[0])
		g.order = g.order[1:]
	}
}

// overruns are, for each n, the tokens that complete a marker of which n bytes have been
// written, and go on after it: what they would say there, no form could hold them to.
func (m *Model) overruns(marker string) [][]int32 {
	g := m.grammars
	g.mu.Lock()
	defer g.mu.Unlock()
	if all := g.over[marker]; all != nil {
		return all
	}
	all := make([][]int32, len(marker))
	for id := range int32(m.o.Tokenizer.VocabSize()) {
		piece := m.spelling(id)
		if i := bytes.Index(piece, []byte(marker)); i >= 0 && i+len(marker) < len(piece) {
			all[0] = append(all[0], id)
		}
		for n := 1; n < len(marker); n++ {
			if rest := marker[n:]; len(piece) > len(rest) && string(piece[:len(rest)]) == rest {
				all[n] = append(all[n], id)
			}
		}
	}
	if len(g.over) >= compiledKept {
		clear(g.over)
	}
	g.over[marker] = all
	return all
}

// fill sets the bits of n tokens.
func fill(mask []uint32, n int) {
	for i := range mask {
		switch left := n - 32*i; {
		case left >= 32:
			mask[i] = math.MaxUint32
		case left > 0:
			mask[i] = 1<<left - 1
		}
	}
}

func count(mask []uint32) (n int) {
	for _, word := range mask {
		n += bits.OnesCount32(word)
	}
	return n
}
