// Package paging is the bookkeeping of a KV cache made of pages: which sequence
// holds which pages, how much room each was promised, and who shares what. It
// knows no memory: an engine keeps the pages' contents where it likes and tells
// [Table] how to copy rows and let go of a page through [Storage].
//
// Pages are shared by reference count: copying a prefix copies nothing, and a
// sequence that is about to write into a page that another one holds gets its
// own copy first.
//
// Every sequence reserves whole pages for its room, and the reservations
// together never exceed the capacity. Sequences hold at most what they reserved,
// shared pages counted once each, so that a page is always free when a sequence
// needs one within its room.
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
}

// Table implements backend.KV, but for Export and Import.
type Table struct {
	o        Options
	closed   bool
	refs     []int32 // of each page
	free     []int32 // pages without memory
	warm     []int32 // free pages with memory
	reserved int     // pages
	seqs     map[backend.SeqID]*Sequence
	last     backend.SeqID
}

// Sequence is what the table knows of one.
type Sequence struct {
	Len   int     // positions
	Room  int     // positions
	Pages []int32 // as many as Len needs; during a step, as it will need
}

// ErrClosed is what a closed table answers.
var ErrClosed = fmt.Errorf("%w: it is closed", backend.ErrEngineFailed)

// New makes a table without sequences.
func New(o Options) *Table {
	t := &Table{o: o, refs: make([]int32, o.Pages), free: make([]int32, 0, o.Pages), seqs: map[backend.SeqID]*Sequence{}}
	for p := o.Pages - 1; p >= 0; p-- {
		t.free = append(t.free, int32(p))
	}
	return t
}

// Close forgets everything. The storage is the engine's to free.
func (t *Table) Close() {
	t.closed, t.refs, t.free, t.warm, t.reserved, t.seqs = true, nil, nil, nil, 0, nil
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
	s := &Sequence{}
	if err := t.grow(s, positions); err != nil {
		return 0, fmt.Errorf("reserve kv for %d positions: %w", positions, err)
	}
	for {
		if t.last++; t.last < 0 {
			t.last = 1
		}
		if t.seqs[t.last] == nil {
			break
		}
	}
	t.seqs[t.last] = s
	return t.last, nil
}

// Grow implements backend.KV.
func (t *Table) Grow(id backend.SeqID, positions int) error {
	s, err := t.Sequence(id)
	if err == nil {
		err = t.grow(s, positions)
	}
	if err != nil {
		return fmt.Errorf("grow kv of sequence %d to %d positions: %w", id, positions, err)
	}
	return nil
}

func (t *Table) grow(s *Sequence, positions int) error {
	if t.closed {
		return ErrClosed
	}
	if positions < 0 || positions > t.o.Context {
		return fmt.Errorf("a sequence has 0 to %d positions", t.o.Context)
	}
	if positions <= s.Room {
		return nil
	}
	if Pages(positions) > len(t.refs) {
		return fmt.Errorf("the engine has %d positions in all", len(t.refs)*PageTokens)
	}
	more := Pages(positions) - Pages(s.Room)
	if t.reserved+more > len(t.refs) {
		return backend.ErrKVFull
	}
	t.reserved += more
	s.Room = positions
	s.Pages = slices.Grow(s.Pages, Pages(positions)-len(s.Pages))
	return nil
}

// Free implements backend.KV.
func (t *Table) Free(id backend.SeqID) error {
	s, err := t.Sequence(id)
	if err != nil {
		return fmt.Errorf("free kv: %w", err)
	}
	t.Shorten(s, 0)
	t.reserved -= Pages(s.Room)
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
	s, err := t.Sequence(id)
	if err == nil && (n < 0 || n > s.Len) {
		err = fmt.Errorf("it has %d positions", s.Len)
	}
	if err != nil {
		return fmt.Errorf("truncate sequence %d to %d positions: %w", id, n, err)
	}
	t.Shorten(s, n)
	return nil
}

// CopyPrefix implements backend.KV.
func (t *Table) CopyPrefix(dst, src backend.SeqID, n int) error {
	d, err := t.Empty(dst, n)
	if err != nil {
		return fmt.Errorf("copy a prefix of %d positions to sequence %d: %w", n, dst, err)
	}
	s, err := t.Sequence(src)
	if err == nil && n > s.Len {
		err = fmt.Errorf("it has %d positions", s.Len)
	}
	if err != nil {
		return fmt.Errorf("copy a prefix of %d positions from sequence %d: %w", n, src, err)
	}
	d.Pages = append(d.Pages, s.Pages[:Pages(n)]...)
	for _, p := range d.Pages {
		t.refs[p]++
	}
	d.Len = n
	return nil
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
	return backend.KVUsage{
		Capacity: len(t.refs) * PageTokens, Reserved: t.reserved * PageTokens,
		Used:      (len(t.refs) - len(t.free) - len(t.warm)) * PageTokens,
		Sequences: len(t.seqs), BytesPerToken: t.o.BytesPerToken,
	}
}

// Extend gives a sequence private pages for the positions Len to n, which are
// about to be written and lie within its room.
func (t *Table) Extend(s *Sequence, n int) {
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
}

// Shorten makes n the length and lets go of pages past it.
func (t *Table) Shorten(s *Sequence, n int) {
	keep := Pages(n)
	for _, p := range s.Pages[keep:] {
		t.drop(p)
	}
	s.Pages, s.Len = s.Pages[:keep], n
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
	if t.refs[p]--; t.refs[p] > 0 {
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
	Logits    []int32 // the rows whose logits are wanted
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
	*r = Rows{Tokens: r.Tokens[:0], Positions: r.Positions[:0], Owner: r.Owner[:0], Logits: r.Logits[:0], Seqs: r.Seqs[:0], First: r.First[:0]}
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
	case sp.Want > backend.AllLogits:
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
		if sp.Want == backend.AllLogits || sp.Want == backend.LastLogits && j == len(sp.Tokens)-1 {
			r.Logits = append(r.Logits, int32(len(r.Tokens)))
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
}

// Commit makes the sequences longer by their spans.
func (t *Table) Commit(r *Rows) {
	for i, s := range r.Seqs {
		s.Len += r.First[i+1] - r.First[i]
	}
}

// Undo takes back what Prepare gave.
func (t *Table) Undo(r *Rows) {
	for _, s := range r.Seqs {
		t.Shorten(s, s.Len)
	}
}
