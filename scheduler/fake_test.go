package scheduler_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/model"
)

// fakeEngine computes the logits of a position from the tokens up to it, and
// checks that it is used as the contract says.
type fakeEngine struct {
	t                               testing.TB
	vocab, context, batch, capacity int
	caps                            backend.Capabilities
	// fill makes the logits after tokens; nil means countUp.
	fill func(row []float32, tokens []int32)
	// before, if set, is called at the start of each Run; its error fails the batch.
	before func(ctx context.Context, b *backend.Batch) error
	// freeError and reserveError, if set, are what Free and Reserve return.
	freeError     error
	reserveError  error
	truncateError error
	freePanics    bool
	reuse         bool // the numbers of freed sequences are given out again

	busy atomic.Bool // a call is under way: there must not be two
	dead bool        // it has failed for good: there must be no more calls
	seqs map[backend.SeqID]*fakeSequence
	next backend.SeqID
	free []backend.SeqID
	rows [][]float32
	runs int

	device *fakeDevice // that this is the inside of, or nil
}

type fakeSequence struct {
	tokens  []int32
	room    int
	drew    bool // in the batch started last, the token
	choice  int32
	spoiled bool // beyond the first good tokens there is nothing of use
	good    int
}

func newFakeEngine(t testing.TB) *fakeEngine {
	return &fakeEngine{
		t: t, vocab: 1000, context: 64, batch: 16, capacity: 256,
		caps: backend.Capabilities{MixedBatch: true}, seqs: map[backend.SeqID]*fakeSequence{},
	}
}

var (
	_ backend.Engine = (*fakeEngine)(nil)
	_ backend.KV     = (*fakeKV)(nil)
)

// countUp makes the token that is one larger than the last the likeliest.
func countUp(row []float32, tokens []int32) {
	clear(row)
	row[int(tokens[len(tokens)-1]+1)%len(row)] = 10
}

// scatter makes logits that depend on every token so far.
func scatter(row []float32, tokens []int32) {
	h := uint64(14695981039346656037)
	for _, t := range tokens {
		h = (h ^ uint64(t)) * 1099511628211
	}
	random := rand.New(rand.NewPCG(h, 1))
	for i := range row {
		row[i] = 3 * random.Float32()
	}
}

// repeat is scatter with a liking for what came after the last token once.
func repeat(row []float32, tokens []int32) {
	scatter(row, tokens)
	row[int(tokens[len(tokens)-1]+1)%len(row)%7] += 5
}

// enter and leave enclose a call of the engine: there must be one at a time.
func (e *fakeEngine) enter() {
	if !e.busy.CompareAndSwap(false, true) {
		e.t.Error("two calls of the engine at once")
	}
	if e.dead {
		e.t.Error("a call of an engine that has failed")
	}
}

func (e *fakeEngine) leave() { e.busy.Store(false) }

// engine is the device that this is the inside of, or else this.
func (e *fakeEngine) engine() backend.Engine {
	if e.device != nil {
		return e.device
	}
	return e
}

func (e *fakeEngine) Model() model.Config { return model.Config{Vocab: e.vocab} }
func (e *fakeEngine) Description() backend.Description {
	return backend.Description{Name: "fake", Ready: true}
}
func (e *fakeEngine) Capabilities() backend.Capabilities { return e.caps }
func (e *fakeEngine) Context() int                       { return e.context }
func (e *fakeEngine) MaxBatchTokens() int                { return e.batch }
func (e *fakeEngine) KV() backend.KV                     { return (*fakeKV)(e) }
func (e *fakeEngine) Close() error                       { return nil }

func (e *fakeEngine) Run(ctx context.Context, b *backend.Batch) error {
	e.enter()
	defer e.leave()
	e.runs++
	e.check(b)
	if e.before != nil {
		if err := e.before(ctx, b); err != nil {
			e.dead = errors.Is(err, backend.ErrEngineFailed)
			return err
		}
	}
	row := 0
	for i := range b.Spans {
		s := &b.Spans[i]
		q := e.seqs[s.Seq]
		q.tokens = append(q.tokens, s.Tokens...)
		s.Logits = s.Logits[:0]
		if s.Want == backend.NoLogits {
			continue
		}
		for n := firstRow(s, len(q.tokens)); n <= len(q.tokens); n++ {
			if row == len(e.rows) {
				e.rows = append(e.rows, make([]float32, e.vocab))
			}
			e.answer(e.rows[row], q.tokens[:n])
			s.Logits = append(s.Logits, e.rows[row])
			row++
		}
	}
	return nil
}

// firstRow is after how many tokens there is a row of logits first, if a sequence has
// grown to n.
func firstRow(s *backend.Span, n int) int {
	if s.Want == backend.AllLogits {
		return n - len(s.Tokens) + 1
	}
	return n
}

// answer makes the logits after tokens.
func (e *fakeEngine) answer(row []float32, tokens []int32) {
	if e.fill != nil {
		e.fill(row, tokens)
	} else {
		countUp(row, tokens)
	}
}

// check fails the test when a batch isn't as the contract wants it.
func (e *fakeEngine) check(b *backend.Batch) {
	seen := map[backend.SeqID]bool{}
	prompts, decodes := 0, 0
	for _, s := range b.Spans {
		q := e.seqs[s.Seq]
		switch {
		case q == nil:
			e.t.Fatalf("a span of the unknown sequence %d", s.Seq)
		case seen[s.Seq]:
			e.t.Errorf("two spans of sequence %d", s.Seq)
		case len(s.Tokens) == 0:
			e.t.Errorf("an empty span of sequence %d", s.Seq)
		case s.Pos != len(q.tokens):
			e.t.Errorf("a span of sequence %d at position %d, but it has %d", s.Seq, s.Pos, len(q.tokens))
		case q.spoiled:
			e.t.Errorf("a span of sequence %d, which wasn't truncated to %d after a failure", s.Seq, q.good)
		case s.Tokens[0] == backend.Drawn && (len(s.Tokens) > 1 || !q.drew):
			e.t.Errorf("a span of %d tokens of sequence %d starts with one that it didn't draw", len(s.Tokens), s.Seq)
		case s.Pos+len(s.Tokens) > q.room:
			e.t.Errorf("sequence %d grows to %d, but has room for %d", s.Seq, s.Pos+len(s.Tokens), q.room)
		}
		seen[s.Seq] = true
		if len(s.Tokens) > 1 || s.Want == backend.NoLogits {
			prompts++
		} else {
			decodes++
		}
	}
	if len(b.Spans) == 0 || b.Tokens() > e.batch {
		e.t.Errorf("a batch of %d spans and %d tokens, at most %d allowed", len(b.Spans), b.Tokens(), e.batch)
	}
	if !e.caps.MixedBatch && prompts > 0 && len(b.Spans) > 1 {
		e.t.Errorf("a mixed batch: %d prompts, %d generating", prompts, decodes)
	}
}

type fakeKV fakeEngine

func (k *fakeKV) enter() { (*fakeEngine)(k).enter() }
func (k *fakeKV) leave() { (*fakeEngine)(k).leave() }

func (k *fakeKV) Reserve(positions int) (backend.SeqID, error) {
	k.enter()
	defer k.leave()
	if k.reserveError != nil {
		k.dead = errors.Is(k.reserveError, backend.ErrEngineFailed)
		return 0, k.reserveError
	}
	if positions > k.capacity && k.capacity > 0 {
		return 0, fmt.Errorf("%d positions don't fit an empty memory of %d", positions, k.capacity)
	}
	if k.usage().Reserved+positions > k.capacity {
		return 0, backend.ErrKVFull
	}
	id := k.next + 1
	if n := len(k.free); k.reuse && n > 0 {
		id, k.free = k.free[n-1], k.free[:n-1]
	}
	k.next = max(k.next, id)
	k.seqs[id] = &fakeSequence{room: positions}
	return id, nil
}

func (k *fakeKV) Free(seq backend.SeqID) error {
	k.enter()
	defer k.leave()
	if k.freePanics {
		panic("boom")
	}
	if k.freeError != nil {
		k.dead = true
		return k.freeError
	}
	if k.seqs[seq] == nil {
		return errors.New("unknown sequence")
	}
	delete(k.seqs, seq)
	k.free = append(k.free, seq)
	return nil
}

func (k *fakeKV) Truncate(seq backend.SeqID, n int) error {
	k.enter()
	defer k.leave()
	q := k.seqs[seq]
	if k.truncateError != nil || q == nil || n > len(q.tokens) {
		k.dead = true
		return cmp.Or(k.truncateError, errors.New("unknown sequence or too long"))
	}
	if k.device == nil && !k.caps.SpeculativeDecoding {
		k.t.Errorf("sequence %d is truncated, though Run undoes what fails", seq)
	}
	q.tokens, q.drew = q.tokens[:n], false
	q.spoiled = q.spoiled && n > q.good
	return nil
}

func (k *fakeKV) Usage() backend.KVUsage {
	k.enter()
	defer k.leave()
	return k.usage()
}

func (k *fakeKV) usage() backend.KVUsage {
	u := backend.KVUsage{Capacity: k.capacity, Sequences: len(k.seqs)}
	for _, s := range k.seqs {
		u.Used += len(s.tokens)
		u.Reserved += s.room
	}
	return u
}

func (k *fakeKV) Len(seq backend.SeqID) int       { return len(k.seqs[seq].tokens) }
func (k *fakeKV) Resize(backend.SeqID, int) error { return backend.ErrUnsupported }
func (k *fakeKV) Fork(backend.SeqID, int, int) (backend.SeqID, error) {
	return 0, backend.ErrUnsupported
}
func (k *fakeKV) Export(backend.SeqID, io.Writer) error { return backend.ErrUnsupported }
func (k *fakeKV) Import(backend.SeqID, io.Reader) error { return backend.ErrUnsupported }
