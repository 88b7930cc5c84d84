package generate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/inferflux/inferflux/grammar"
	"github.com/inferflux/inferflux/tokenizer"
)

const (
	// compileTime is the most that a constraint may take to compile, once it is its turn.
	compileTime = 10 * time.Second
	// compiledKept is how many results of compilations a model keeps, and compiledBytes the memory
	// that they may take: what was used longest ago goes first.
	compiledKept  = 64
	compiledBytes = 512 << 20
	// compileMost bounds the compilations that run at once, for each may take hundreds of
	// megabytes. The others wait.
	compileMost = 2
)

// grammars are a model's compiled constraints.
type grammars struct {
	vocabulary func() (*grammar.Vocabulary, error)
	turns      chan struct{} // holds one for each compilation that runs

	mu    sync.Mutex
	made  map[specKey]*compilation // kept, or on the way
	order []specKey                // of the use of those kept, the last at the end
	over  map[string][][]int32     // see overruns
}

// specKey is a hash of a constraint.
type specKey [sha256.Size]byte

func keyOf(spec grammar.Spec) specKey {
	// Quoted, so that no two have the same text.
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %q", spec.Kind, spec.Source, spec.Choices))
}

// A compilation is one that runs, for all who want the same, or its result.
type compilation struct {
	done     chan struct{} // closed when the result is there
	compiled *grammar.Compiled
	err      error

	waiting int // who waits for it, guarded by grammars.mu
	cancel  context.CancelFunc
}

func newGrammars(t *tokenizer.Tokenizer) *grammars {
	return &grammars{
		made: map[specKey]*compilation{}, over: map[string][][]int32{}, turns: make(chan struct{}, compileMost),
		vocabulary: sync.OnceValues(func() (*grammar.Vocabulary, error) {
			pieces := make([][]byte, t.VocabSize())
			var control []int32
			for id := range int32(len(pieces)) {
				if pieces[id] = t.Piece(id); pieces[id] == nil {
					control = append(control, id)
				}
			}
			return grammar.NewVocabulary(pieces, control, t.EndOfGeneration())
		}),
	}
}

// Compile makes a constraint ready for this model's tokens, unless it has been already, or
// is about to be: whoever asks for the same meanwhile waits for the same result. It goes
// on until nobody waits for it any more. Refusals are remembered like constraints. The errors are
// those of [grammar.Compile].
func (m *Model) Compile(ctx context.Context, spec grammar.Spec) (*grammar.Compiled, error) {
	g := m.grammars
	key := keyOf(spec)
	g.mu.Lock()
	c := g.made[key]
	if c == nil {
		work, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c = &compilation{done: make(chan struct{}), cancel: cancel}
		g.made[key] = c
		go g.compile(work, key, c, spec)
	}
	c.waiting++
	g.mu.Unlock()
	var err error
	select {
	case <-c.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.waiting--; c.waiting == 0 && err != nil {
		c.cancel()
		if g.made[key] == c && !slices.Contains(g.order, key) {
			delete(g.made, key) // who comes now starts anew
		}
	}
	if err != nil {
		return nil, fmt.Errorf("waiting for a constraint to be compiled: %w", err)
	}
	g.use(key, c)
	return c.compiled, c.err
}

// compile finds the result of a compilation, when it is its turn.
func (g *grammars) compile(ctx context.Context, key specKey, c *compilation, spec grammar.Spec) {
	defer c.cancel()
	defer close(c.done)
	defer func() {
		if r := recover(); r != nil {
			c.err = fmt.Errorf("compiling a constraint: panic: %v\n%s", r, debug.Stack())
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.made[key] != c {
			return // nobody waits for it
		}
		if errors.Is(c.err, context.Canceled) || errors.Is(c.err, context.DeadlineExceeded) {
			delete(g.made, key) // it may go better another time
			return
		}
		g.order = append(g.order, key)
		g.evict()
	}()
	select {
	case g.turns <- struct{}{}:
		defer func() { <-g.turns }()
	case <-ctx.Done():
		c.err = ctx.Err()
		return
	}
	v, err := g.vocabulary()
	if err != nil {
		c.err = err
		return
	}
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	c.compiled, c.err = grammar.Compile(ctx, spec, v)
}

// use marks a result as used last.
func (g *grammars) use(key specKey, c *compilation) {
	if i := slices.Index(g.order, key); i >= 0 && g.made[key] == c {
		g.order = append(slices.Delete(g.order, i, i+1), key)
	}
}

// evict lets go of the results that were used longest ago. The last one always stays.
func (g *grammars) evict() {
	var bytes int64
	first := len(g.order)
	for first > 0 && len(g.order)-first < compiledKept {
		if c := g.made[g.order[first-1]].compiled; c != nil {
			bytes += c.Bytes()
		}
		if first < len(g.order) && bytes > compiledBytes {
			break
		}
		first--
	}
	for _, key := range g.order[:first] {
		delete(g.made, key)
	}
	g.order = slices.Delete(g.order, 0, first)
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
