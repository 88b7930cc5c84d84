// Package paging is the bookkeeping of a KV cache made of pages: which sequence
// holds which pages, how much room each was promised, and who shares what. It
// knows no memory: an engine keeps the pages' contents where it likes and tells
// [Table] how to copy rows and let go of a page through [Storage].
//
// Pages are shared by reference count: a fork copies nothing, and a sequence that
// is about to write into a page that another one holds gets its own copy first.
//
// Every sequence has room, which is promised to it: so many pages as it doesn't hold
// yet, and one to copy to where its last page isn't full and is shared. There are
// never fewer free pages than were promised in all, so that a sequence finds one
// whenever it needs one within its room. What several sequences share is used once,
// and a sequence whose room is its length is promised nothing: holding on to a
// prefix takes the pages that it alone holds.
package paging

import (
	"errors"
	"fmt"
	"slices"

	"github.com/inferflux/inferflux/backend"
)

// PageTokens is the number of positions in a page.
const PageTokens = 64

// Pages is the number of pages that hold the given number of positions.
func Pages(positions int) int { return (positions + PageTokens - 1) / PageTokens }

// Storage is an engine's memory of pages.
type Storage interface {
	// CopyRows copies the first n positions of a page to another.
	CopyRows(dst, src int32, n int)
	// Release gives a free page's memory back. What it held is of no use any more;
	// the page may be taken again.
	Release(page int32)
}

// Options describe a cache.
type Options struct {
	Pages         int // in all
	Context       int // most positions of one sequence
	BytesPerToken int
	// Warm is the number of free pages that keep their memory, for reuse.
	Warm    int
	Storage Storage
	States  StateOptions
}

// Table implements backend.KV, but for Export and Import.
type Table struct {
	o        Options
	closed   bool
	refs     []int32 // of each page
	writers  []int32 // of each page: sequences that will write on in it
	free     []int32 // pages without memory
	warm     []int32 // free pages with memory
	promised int     // pages, beside those in use
	seqs     map[backend.SeqID]*Sequence
	last     backend.SeqID
	states   states
}

// Sequence is what the table knows of one.
type Sequence struct {
	Len   int     // positions
	Room  int     // positions
	Pages []int32 // as many as Len needs; during a step, as it will need

	counted bool  // what it is promised is part of the table's
	partial int32 // the page that it counts as a writer of; -1: none

	states   []State // by length; the last is that of Len, unless Len is 0
	before   []int   // the lengths before the last steps
	next     int32   // see Next
	marks    []State // see Marks
	idle     bool    // its room was made its length: it is held, not written
	promised int     // slots of states
}

func newSequence() *Sequence { return &Sequence{next: -1} }

// ErrClosed is what a closed table answers.
var ErrClosed = fmt.Errorf("%w: it is closed", backend.ErrEngineFailed)

// New makes a table without sequences.
func New(o Options) *Table {
	t := &Table{o: o, refs: make([]int32, o.Pages), writers: make([]int32, o.Pages), free: make([]int32, 0, o.Pages), seqs: map[backend.SeqID]*Sequence{}, states: newStates(o)}
	for p := o.Pages - 1; p >= 0; p-- {
		t.free = append(t.free, int32(p))
	}
	return t
}

// Close forgets everything. The storage is the engine's to free.
func (t *Table) Close() {
	t.closed, t.refs, t.writers, t.free, t.warm, t.promised, t.seqs = true, nil, nil, nil, nil, 0, nil
	t.states = states{}
}

// Sequence finds a sequence.
func (t *Table) Sequence(id backend.SeqID) (*Sequence, error) {
	if s := t.seqs[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("there is no sequence %d", id)
}

// Reserve implements backend.KV.
func (t *Table) Reserve(positions int) (backend.SeqID, error) {
	defer t.verify()
	s := newSequence()
	if err := t.resize(s, positions); err != nil {
		return 0, fmt.Errorf("reserve kv for %d positions: %w", positions, err)
	}
	return t.enter(s), nil
}

// enter gives a sequence a number.
func (t *Table) enter(s *Sequence) backend.SeqID {
	for {
		if t.last++; t.last < 0 {
			t.last = 1
		}
		if t.seqs[t.last] == nil {
			break
		}
	}
	t.seqs[t.last] = s
	return t.last
}

// Resize implements backend.KV.
func (t *Table) Resize(id backend.SeqID, positions int) error {
	defer t.verify()
	s, err := t.Sequence(id)
	if err == nil {
		err = t.resize(s, positions)
	}
	if err != nil {
		return fmt.Errorf("resize kv of sequence %d to %d positions: %w", id, positions, err)
	}
	return nil
}

func (t *Table) resize(s *Sequence, positions int) error {
	if t.closed {
		return ErrClosed
	}
	if positions < s.Len || positions > t.o.Context {
		return fmt.Errorf("it can have %d to %d positions", s.Len, t.o.Context)
	}
	if Pages(positions) > len(t.refs) {
		return fmt.Errorf("the engine has %d positions in all", len(t.refs)*PageTokens)
	}
	room, idle := s.Room, s.idle
	t.uncount(s)
	s.Room, s.idle = positions, positions == s.Len
	if t.count(s); t.overdrawn() {
		t.uncount(s)
		s.Room, s.idle = room, idle
		t.count(s)
		return backend.ErrKVFull
	}
	s.Pages = slices.Grow(s.Pages, Pages(positions)-len(s.Pages))
	return nil
}

// count adds what a sequence is promised, and uncount takes it off: whatever changes a
// sequence stands between the two.
func (t *Table) count(s *Sequence) {
	s.counted, s.partial = true, -1
	t.promised += Pages(s.Room) - len(s.Pages)
	s.promised = t.states.need(s)
	t.states.promised += s.promised
	if s.Len%PageTokens != 0 && s.Len < s.Room {
		s.partial = s.Pages[s.Len/PageTokens]
		t.share(s.partial, 0, 1)
	}
}

func (t *Table) uncount(s *Sequence) {
	if !s.counted {
		return // it is new
	}
	s.counted = false
	t.promised -= Pages(s.Room) - len(s.Pages)
	t.states.promised -= s.promised
	if s.partial >= 0 {
		t.share(s.partial, 0, -1)
	}
}

// share changes how many sequences hold a page and how many of them will write on in
// it, and with that how many copies of it may be needed: one for each writer but, if
// nobody else holds it, the last.
func (t *Table) share(p int32, holders, writers int32) {
	t.promised -= t.copies(p)
	t.refs[p] += holders
	t.writers[p] += writers
	t.promised += t.copies(p)
}

func (t *Table) copies(p int32) int { return max(0, int(min(t.writers[p], t.refs[p]-1))) }

// overdrawn reports whether more is promised than there is.
func (t *Table) overdrawn() bool {
	return t.promised > len(t.free)+len(t.warm) || t.states.promised > t.states.Slots
}

// Free implements backend.KV.
func (t *Table) Free(id backend.SeqID) error {
	defer t.verify()
	s, err := t.Sequence(id)
	if err != nil {
		return fmt.Errorf("free kv: %w", err)
	}
	t.uncount(s)
	t.cut(s, 0)
	delete(t.seqs, id)
	return nil
}

// Len implements backend.KV. It is 0 for an unknown sequence.
func (t *Table) Len(id backend.SeqID) int {
	if s := t.seqs[id]; s != nil {
		return s.Len
	}
	return 0
}

// Truncate implements backend.KV.
func (t *Table) Truncate(id backend.SeqID, n int) error {
	defer t.verify()
	s, err := t.Sequence(id)
	if err == nil && (n < 0 || n > s.Len) {
		err = fmt.Errorf("it has %d positions", s.Len)
	}
	if err == nil {
		err = t.restorable(id, n)
	}
	if err == nil && !t.mayShorten(s, n) {
		err = fmt.Errorf("%w: no memory is left to write anew what it shares", backend.ErrKVFull)
	}
	if err != nil {
		return fmt.Errorf("truncate sequence %d to %d positions: %w", id, n, err)
	}
	t.Shorten(s, n)
	return nil
}

// mayShorten reports whether the room past n can still be promised: pages that are
// given up but not freed, as others hold them, may be missing.
func (t *Table) mayShorten(s *Sequence, n int) bool {
	if s.idle && n < s.Len && t.states.Slots > 0 && t.states.promised+1+t.states.Back > t.states.Slots {
		return false // it could be written to again, which takes slots for its states
	}
	freed, more := 0, 0
	for _, p := range s.Pages[Pages(n):] {
		more++
		if t.refs[p] == 1 {
			freed++
		}
	}
	if n < s.Len && n%PageTokens != 0 && t.refs[s.Pages[n/PageTokens]] > 1 {
		more++
	}
	return t.promised+more <= len(t.free)+len(t.warm)+freed
}

// Fork implements backend.KV.
func (t *Table) Fork(src backend.SeqID, n, positions int) (backend.SeqID, error) {
	if t.closed {
		return 0, ErrClosed
	}
	defer t.verify()
	from, err := t.Sequence(src)
	switch {
	case err != nil:
	case n < 0 || n > from.Len:
		err = fmt.Errorf("it has %d positions", from.Len)
	case positions < n || positions > t.o.Context:
		err = fmt.Errorf("the new sequence can have %d to %d", n, t.o.Context)
	case Pages(positions) > len(t.refs):
		err = fmt.Errorf("the engine has %d in all", len(t.refs)*PageTokens)
	default:
		err = t.restorable(src, n)
	}
	if err != nil {
		return 0, fmt.Errorf("fork %d positions of sequence %d into room for %d: %w", n, src, positions, err)
	}
	s := newSequence()
	s.Len, s.Room, s.Pages, s.idle = n, positions, make([]int32, Pages(n), Pages(positions)), n == positions
	copy(s.Pages, from.Pages)
	t.states.share(s, from, n)
	for _, p := range s.Pages {
		t.share(p, 1, 0)
	}
	if t.count(s); t.overdrawn() {
		t.uncount(s)
		t.cut(s, 0)
		return 0, fmt.Errorf("fork %d positions of sequence %d into room for %d: %w", n, src, positions, backend.ErrKVFull)
	}
	return t.enter(s), nil
}

// Empty finds a sequence that is to receive n positions.
func (t *Table) Empty(id backend.SeqID, n int) (*Sequence, error) {
	s, err := t.Sequence(id)
	switch {
	case err != nil:
		return nil, err
	case s.Len != 0:
		return nil, fmt.Errorf("it is not empty but has %d positions", s.Len)
	case n < 0 || n > s.Room:
		return nil, fmt.Errorf("it has room for %d", s.Room)
	}
	return s, nil
}

// Usage implements backend.KV. It counts whole pages.
func (t *Table) Usage() backend.KVUsage {
	used := len(t.refs) - len(t.free) - len(t.warm)
	return backend.KVUsage{
		Capacity: len(t.refs) * PageTokens, Reserved: (used + t.promised) * PageTokens, Used: used * PageTokens,
		Sequences: len(t.seqs), BytesPerToken: t.o.BytesPerToken,
	}
}

// Extend gives a sequence private pages for the positions Len to n, which are
// about to be written and lie within its room.
func (t *Table) Extend(s *Sequence, n int) {
	t.uncount(s)
	if last := s.Len / PageTokens; n > s.Len && s.Len%PageTokens != 0 && t.refs[s.Pages[last]] > 1 {
		shared := s.Pages[last]
		own := t.take()
		t.o.Storage.CopyRows(own, shared, s.Len%PageTokens)
		t.drop(shared)
		s.Pages[last] = own
	}
	for len(s.Pages) < Pages(n) {
		s.Pages = append(s.Pages, t.take())
	}
	t.count(s)
}

// Shorten makes n the length and lets go of pages past it.
func (t *Table) Shorten(s *Sequence, n int) {
	t.uncount(s)
	t.cut(s, n)
	t.count(s)
}

// cut is Shorten for a sequence that isn't counted.
func (t *Table) cut(s *Sequence, n int) {
	keep := Pages(n)
	for _, p := range s.Pages[keep:] {
		t.drop(p)
	}
	s.idle = s.idle && n == s.Len
	s.Pages, s.Len = s.Pages[:keep], n
	t.states.cut(s, n)
}

// Lengthen makes n the length, for which the sequence has pages.
func (t *Table) Lengthen(s *Sequence, n int) {
	t.uncount(s)
	s.Len = n
	t.states.commit(s, n)
	t.count(s)
}

// take finds a free page; the reservations guarantee that there is one.
func (t *Table) take() int32 {
	from := &t.free
	if len(t.warm) > 0 {
		from = &t.warm
	}
	p := (*from)[len(*from)-1]
	*from = (*from)[:len(*from)-1]
	t.refs[p] = 1
	return p
}

// drop lets go of a page, and of its memory if nobody else holds it.
func (t *Table) drop(p int32) {
	if t.share(p, -1, 0); t.refs[p] > 0 {
		return
	}
	if len(t.warm) < t.o.Warm {
		t.warm = append(t.warm, p)
		return
	}
	t.o.Storage.Release(p)
	t.free = append(t.free, p)
}

// Rows is a batch laid out as the rows of one step.
type Rows struct {
	Tokens    []int32
	Positions []int32
	Owner     []int32 // the index of each row's span
	Kept      []int32 // the rows that nn.Ops.Wanted keeps: something is wanted of them
	Logits    []int32 // those of Kept whose logits are, by their places in it
	Hidden    []int32 // those whose hidden states are, likewise
	Seqs      []*Sequence
	First     []int // of each span's rows; and, last, the number of rows
}

// Limits are what a batch must keep.
type Limits struct {
	Vocab, MaxBatch int
	// Drawn: backend.Drawn may stand for a span's only token.
	Drawn bool
}

// Lay checks a batch against the table and lays it out. It reuses r's memory.
func (t *Table) Lay(r *Rows, b *backend.Batch, l Limits) error {
	if t.closed {
		return ErrClosed
	}
	*r = Rows{Tokens: r.Tokens[:0], Positions: r.Positions[:0], Owner: r.Owner[:0], Kept: r.Kept[:0], Logits: r.Logits[:0], Hidden: r.Hidden[:0], Seqs: r.Seqs[:0], First: r.First[:0]}
	if n := b.Tokens(); n > l.MaxBatch {
		return fmt.Errorf("%d tokens, more than %d", n, l.MaxBatch)
	}
	for i := range b.Spans {
		sp := &b.Spans[i]
		seq, err := t.Sequence(sp.Seq)
		if err != nil {
			return err
		}
		if err := r.add(sp, int32(i), seq, l); err != nil {
			return fmt.Errorf("sequence %d: %w", sp.Seq, err)
		}
	}
	r.First = append(r.First, len(r.Tokens))
	return nil
}

func (r *Rows) add(sp *backend.Span, owner int32, seq *Sequence, l Limits) error {
	end := sp.Pos + len(sp.Tokens)
	switch {
	case len(sp.Tokens) == 0:
		return errors.New("no tokens")
	case slices.Contains(r.Seqs, seq):
		return errors.New("two spans")
	case sp.Pos != seq.Len:
		return fmt.Errorf("position %d, expected %d", sp.Pos, seq.Len)
	case end > seq.Room:
		return fmt.Errorf("%d positions, but room for %d", end, seq.Room)
	case sp.Want > backend.AllHidden:
		return fmt.Errorf("unknown wish %d for logits", sp.Want)
	case sp.Draw != nil && sp.Want != backend.LastLogits:
		return errors.New("a token is to be drawn, but the last logits aren't wanted")
	}
	r.First = append(r.First, len(r.Tokens))
	for j, token := range sp.Tokens {
		drawn := l.Drawn && token == backend.Drawn && len(sp.Tokens) == 1
		if !drawn && (token < 0 || int(token) >= l.Vocab) {
			return fmt.Errorf("token %d at position %d is not in the vocabulary of %d", token, sp.Pos+j, l.Vocab)
		}
		last, at := j == len(sp.Tokens)-1, int32(len(r.Kept))
		switch want := sp.Want; {
		case want == backend.AllLogits, want == backend.LastLogits && last:
			r.Logits = append(r.Logits, at)
		case want == backend.AllHidden, want == backend.LastHidden && last:
			r.Hidden = append(r.Hidden, at)
		}
		if len(r.Logits)+len(r.Hidden) > len(r.Kept) {
			r.Kept = append(r.Kept, int32(len(r.Tokens)))
		}
		r.Tokens = append(r.Tokens, token)
		r.Positions = append(r.Positions, int32(sp.Pos+j))
		r.Owner = append(r.Owner, owner)
	}
	r.Seqs = append(r.Seqs, seq)
	return nil
}

// Prepare gives every sequence pages for its span.
func (t *Table) Prepare(r *Rows) {
	for i, s := range r.Seqs {
		t.Extend(s, s.Len+r.First[i+1]-r.First[i])
	}
	t.states.prepare(r)
}

// Commit makes the sequences longer by their spans.
func (t *Table) Commit(r *Rows) {
	defer t.verify()
	for i, s := range r.Seqs {
		t.Lengthen(s, s.Len+r.First[i+1]-r.First[i])
	}
}

// Undo takes back what Prepare gave.
func (t *Table) Undo(r *Rows) {
	defer t.verify()
	for _, s := range r.Seqs {
		t.Shorten(s, s.Len)
	}
}
