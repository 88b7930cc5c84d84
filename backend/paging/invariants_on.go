//go:build invariants

package paging

import "fmt"

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
	if promised != t.promised || t.overdrawn() {
		panic(fmt.Sprintf("paging: %d pages are promised, %d are counted, %d are free", promised, t.promised, len(t.free)+len(t.warm)))
	}
}
