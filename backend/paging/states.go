package paging

import (
	"fmt"
	"slices"

	"github.com/inferflux/inferflux/backend"
)

// StateOptions describe the states of sequences: what layers of recurrences and
// convolutions keep beside the pages. A state is written once, in a slot of the
// engine's, and never changed: a step reads one and writes the next, so that whoever
// shares a state shares its slot.
type StateOptions struct {
	Slots int // in all; 0: sequences have no state
	// Every is about how many positions there are between the states that are kept to go
	// back to. Those at the ends of pages are, as long as nobody needs their slots.
	Every int
	// Back is how many steps a sequence can always go back.
	Back int
	// Warm: about as many free slots as sequences may soon need keep their memory.
	Warm bool
}

// State is a sequence's state after its first Len positions.
type State struct {
	Len  int
	Slot int32
}

// states is a table's slots.
type states struct {
	StateOptions
	release  func(slot int32)
	refs     []int32
	free     []int32 // slots without memory
	warm     []int32 // free slots with memory
	promised int
	kept     []kept // the oldest first; some are there no more
}

// kept is a state that may be given up, unless the sequence still needs it.
type kept struct {
	seq *Sequence
	len int
}

// StateStorage is implemented by a Storage whose sequences have states.
type StateStorage interface {
	// ReleaseState gives a free slot's memory back. The slot may be taken again.
	ReleaseState(slot int32)
}

func newStates(o Options) states {
	o.States.Every = max(o.States.Every, PageTokens)
	t := states{StateOptions: o.States, refs: make([]int32, o.States.Slots), release: func(int32) {}}
	if s, ok := o.Storage.(StateStorage); ok {
		t.release = s.ReleaseState
	}
	for i := o.States.Slots - 1; i >= 0; i-- {
		t.free = append(t.free, int32(i))
	}
	return t
}

// State is the slot of the sequence's present state, -1 while it is empty.
func (s *Sequence) State() int32 {
	if n := len(s.states); n > 0 {
		return s.states[n-1].Slot
	}
	return -1
}

// Next is the slot that the step under way writes the next state to.
func (s *Sequence) Next() int32 { return s.next }

// Marks are the states within the step under way that are to be written too, by length.
func (s *Sequence) Marks() []State { return s.marks }

// need is how many slots are promised to a sequence: for the state it has, those it may
// go back to, and the next.
func (t *states) need(s *Sequence) int {
	switch {
	case t.Slots == 0 || s.Room == 0:
		return 0
	case s.idle && s.Len == s.Room:
		return 1
	}
	return 2 + t.Back
}

// needs reports whether a sequence mustn't lose a state: it is the present one, or one from
// before the last steps.
func (t *states) needs(s *Sequence, x State) bool {
	return x.Len == s.Len || slices.Contains(s.before, x.Len) && !(s.idle && s.Len == s.Room)
}

// take finds a slot. There is one for a state that was promised; for others there may be
// none, -1.
func (t *states) take() int32 {
	for tries := len(t.kept); len(t.free)+len(t.warm) == 0 && tries > 0; tries-- {
		k := t.kept[0]
		t.kept = t.kept[1:]
		i := slices.IndexFunc(k.seq.states, func(x State) bool { return x.Len == k.len })
		switch {
		case i < 0:
		case t.needs(k.seq, k.seq.states[i]):
			t.kept = append(t.kept, k)
		default:
			t.forget(k.seq, i)
		}
	}
	from := &t.free
	if len(t.warm) > 0 {
		from = &t.warm
	}
	last := len(*from) - 1
	if last < 0 {
		return -1
	}
	slot := (*from)[last]
	*from = (*from)[:last]
	t.refs[slot] = 1
	return slot
}

// forget lets go of one of a sequence's states.
func (t *states) forget(s *Sequence, i int) {
	t.drop(s.states[i].Slot)
	s.states = slices.Delete(s.states, i, i+1)
}

func (t *states) drop(slot int32) {
	if t.refs[slot]--; t.refs[slot] > 0 {
		return
	}
	t.warm = append(t.warm, slot)
	most := 0
	if t.Warm {
		most = 1 + t.promised/2
	}
	for len(t.warm) > most {
		t.release(t.warm[0])
		t.free = append(t.free, t.warm[0])
		t.warm = t.warm[1:]
	}
}

// cut forgets the states past n positions.
func (t *states) cut(s *Sequence, n int) {
	t.undo(s)
	for i := len(s.states) - 1; i >= 0 && s.states[i].Len > n; i-- {
		t.forget(s, i)
	}
	s.before = slices.DeleteFunc(s.before, func(at int) bool { return at >= n })
}

// undo lets go of what a step was to write.
func (t *states) undo(s *Sequence) {
	for _, m := range s.marks {
		t.drop(m.Slot)
	}
	if s.next >= 0 {
		t.drop(s.next)
	}
	s.next, s.marks = -1, s.marks[:0]
}

// share gives a sequence the states that another has of its first n positions.
func (t *states) share(s, from *Sequence, n int) {
	for _, x := range from.states {
		if x.Len <= n {
			t.refs[x.Slot]++
			s.states = append(s.states, x)
			t.kept = append(t.kept, kept{s, x.Len})
		}
	}
}

// prepare finds a slot for the state of every sequence of a batch, and then, as far as there are
// some to spare, for those at the ends of pages that its span fills: of the last one, and before it as
// far apart as states are to be.
func (t *states) prepare(r *Rows) {
	if t.Slots == 0 {
		return
	}
	for _, s := range r.Seqs {
		s.next = t.take()
	}
	for i, s := range r.Seqs {
		end := s.Len + r.First[i+1] - r.First[i]
		last := (end - 1) / PageTokens * PageTokens
		for at := (s.Len/PageTokens + 1) * PageTokens; at <= last; at += PageTokens {
			if at < last && at%t.Every != 0 {
				continue
			}
			slot := t.take()
			if slot < 0 {
				break
			}
			s.marks = append(s.marks, State{at, slot})
		}
	}
}

// commit makes what a step has written the state of a sequence with n positions.
func (t *states) commit(s *Sequence, n int) {
	if t.Slots == 0 || s.next < 0 {
		return
	}
	if last := len(s.states) - 1; t.Back > 0 && last >= 0 {
		if s.before = append(s.before, s.states[last].Len); len(s.before) > t.Back {
			s.before = slices.Delete(s.before, 0, 1)
		}
	}
	for _, x := range append(s.marks, State{n, s.next}) {
		s.states = append(s.states, x)
		t.kept = append(t.kept, kept{s, x.Len})
	}
	s.next, s.marks = -1, s.marks[:0]
	t.thin(s)
	if len(t.kept) > 4*t.Slots {
		t.kept = slices.DeleteFunc(t.kept, func(k kept) bool {
			return !slices.ContainsFunc(k.seq.states, func(x State) bool { return x.Len == k.len })
		})
	}
}

// thin forgets states that aren't at the end of a page, or near to others.
func (t *states) thin(s *Sequence) {
	from := 0 // of the state before
	for i := 0; i+1 < len(s.states); {
		x, next := s.states[i], s.states[i+1]
		if !t.needs(s, x) && (x.Len%PageTokens != 0 || next.Len%PageTokens == 0 && next.Len-from <= t.Every) {
			t.forget(s, i)
			continue
		}
		from = x.Len
		i++
	}
}

// Restorable implements backend.Rewinder.
func (t *Table) Restorable(id backend.SeqID, n int) int {
	s := t.seqs[id]
	switch {
	case s == nil || n < 0:
		return 0
	case t.states.Slots == 0:
		return min(n, s.Len)
	}
	for _, x := range slices.Backward(s.states) {
		if x.Len <= n {
			return x.Len
		}
	}
	return 0
}

// restorable is an error if there is no state of a sequence's first n positions.
func (t *Table) restorable(id backend.SeqID, n int) error {
	if at := t.Restorable(id, n); at != n {
		return fmt.Errorf("%w: a layer's state can't be shortened, and was kept of %d positions, not of %d", backend.ErrUnsupported, at, n)
	}
	return nil
}
