//go:build invariants

package paging

import (
	"fmt"

	"github.com/inferflux/inferflux/backend"
)

// verify panics unless the counts are what the sequences and the lists of free pages say.
func (t *Table) verify() {
	if t.closed {
		return
	}
	refs, writers := make([]int32, len(t.refs)), make([]int32, len(t.refs))
	promised := 0
	for id, s := range t.seqs {
		if !s.counted || s.Len > s.Room || len(s.Pages) < Pages(s.Len) {
			panic(fmt.Sprintf("paging: sequence %d: %+v", id, *s))
		}
		for _, p := range s.Pages {
			refs[p]++
		}
		promised += Pages(s.Room) - len(s.Pages)
		if s.partial >= 0 {
			writers[s.partial]++
		}
	}
	free := len(t.free) + len(t.warm)
	for p := range refs {
		if refs[p] != t.refs[p] || writers[p] != t.writers[p] {
			panic(fmt.Sprintf("paging: page %d is held by %d sequences and written by %d, but %d and %d are counted", p, refs[p], writers[p], t.refs[p], t.writers[p]))
		}
		if refs[p] > 0 {
			free++
		}
		promised += t.copies(int32(p))
	}
	if free != len(refs) {
		panic(fmt.Sprintf("paging: %d pages are free or held, of %d", free, len(refs)))
	}
	t.states.verify(t.seqs)
	if promised != t.promised || t.overdrawn() {
		panic(fmt.Sprintf("paging: %d pages are promised, %d are counted, %d are free", promised, t.promised, len(t.free)+len(t.warm)))
	}
}

// verify panics unless the slots' counts are what the sequences' states say.
func (t *states) verify(seqs map[backend.SeqID]*Sequence) {
	if t.Slots == 0 {
		return
	}
	refs, promised := make([]int32, t.Slots), 0
	for id, s := range seqs {
		for _, x := range s.states {
			refs[x.Slot]++
		}
		if n := len(s.states); s.Len > 0 && (n == 0 || s.states[n-1].Len != s.Len) {
			panic(fmt.Sprintf("paging: sequence %d of %d positions has the states %v", id, s.Len, s.states))
		}
		promised += s.promised
	}
	free := len(t.free) + len(t.warm)
	for i, n := range refs {
		if n != t.refs[i] {
			panic(fmt.Sprintf("paging: slot %d is held by %d sequences, but %d are counted", i, n, t.refs[i]))
		}
		if n > 0 {
			free++
		}
	}
	if free != t.Slots || promised != t.promised {
		panic(fmt.Sprintf("paging: %d slots are free or held of %d; %d are promised, %d are counted", free, t.Slots, promised, t.promised))
	}
}
