package paging_test

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
)

// contents is a storage that remembers what was written: to each page, a number for
// each of its positions.
type contents struct {
	pages [][paging.PageTokens]int
	free  []bool // released
}

func (c *contents) CopyRows(dst, src int32, n int) {
	copy(c.pages[dst][:n], c.pages[src][:n])
	c.free[dst] = false
}

func (c *contents) Release(p int32) {
	c.pages[p] = [paging.PageTokens]int{}
	c.free[p] = true
}

// twin is what a sequence should hold.
type twin struct {
	values []int
	room   int
}

// TestModel does random things to a table and to plain lists of numbers. Whatever is
// shared, each sequence must keep its own contents; what is used and promised is
// counted anew from the sequences; and within its room none may ever lack a page.
func TestModel(t *testing.T) {
	const pages, most = 12, 400
	rapid.Check(t, func(r *rapid.T) {
		store := &contents{pages: make([][paging.PageTokens]int, pages), free: make([]bool, pages)}
		table := paging.New(paging.Options{Pages: pages, Context: most, Warm: rapid.IntRange(0, 3).Draw(r, "warm"), Storage: store})
		twins := map[backend.SeqID]*twin{}
		var ids []backend.SeqID
		next := 1
		pick := func() (backend.SeqID, *twin) {
			if len(ids) == 0 {
				r.Skip("no sequence")
			}
			id := ids[rapid.IntRange(0, len(ids)-1).Draw(r, "sequence")]
			return id, twins[id]
		}
		length := rapid.OneOf(rapid.IntRange(0, most), rapid.SampledFrom([]int{0, 63, 64, 65, 128, most + 1}))
		enter := func(id backend.SeqID, w *twin) {
			if twins[id] != nil {
				r.Fatalf("sequence %d is given out twice", id)
			}
			twins[id] = w
			ids = append(ids, id)
		}
		full := func(err error) bool {
			if err != nil && !errors.Is(err, backend.ErrKVFull) {
				r.Fatal(err)
			}
			return err != nil
		}
		write := func(id backend.SeqID, n int, commit bool) {
			w := twins[id]
			s, err := table.Sequence(id)
			if err != nil {
				r.Fatal(err)
			}
			table.Extend(s, s.Len+n)
			for i := s.Len; i < s.Len+n; i++ {
				store.pages[s.Pages[i/paging.PageTokens]][i%paging.PageTokens] = next
				if commit {
					w.values = append(w.values, next)
				}
				next++
			}
			if commit {
				table.Lengthen(s, s.Len+n)
			} else {
				table.Shorten(s, s.Len)
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"reserve": func(r *rapid.T) {
				room := min(most, length.Draw(r, "room"))
				if id, err := table.Reserve(room); !full(err) {
					enter(id, &twin{room: room})
				}
			},
			"fork": func(r *rapid.T) {
				src, w := pick()
				n := min(len(w.values), length.Draw(r, "n"))
				room := max(n, min(most, length.Draw(r, "room")))
				if id, err := table.Fork(src, n, room); !full(err) {
					enter(id, &twin{values: slices.Clone(w.values[:n]), room: room})
				}
			},
			"resize": func(r *rapid.T) {
				id, w := pick()
				room := max(len(w.values), min(most, length.Draw(r, "room")))
				if !full(table.Resize(id, room)) {
					w.room = room
				}
			},
			"write": func(r *rapid.T) {
				id, w := pick()
				write(id, rapid.IntRange(0, w.room-len(w.values)).Draw(r, "n"), rapid.IntRange(0, 5).Draw(r, "undo") > 0)
			},
			"truncate": func(r *rapid.T) {
				id, w := pick()
				n := rapid.IntRange(0, len(w.values)).Draw(r, "n")
				if !full(table.Truncate(id, n)) {
					w.values = w.values[:n:n]
				}
			},
			"free": func(r *rapid.T) {
				id, _ := pick()
				if err := table.Free(id); err != nil {
					r.Fatal(err)
				}
				delete(twins, id)
				ids = slices.DeleteFunc(ids, func(i backend.SeqID) bool { return i == id })
			},
			"": func(r *rapid.T) { checkModel(r, table, store, twins) },
		})
		// What was promised is there: everybody writes to the end of the room.
		for _, id := range ids {
			write(id, twins[id].room-len(twins[id].values), true)
			checkModel(r, table, store, twins)
		}
		for _, id := range ids {
			if err := table.Free(id); err != nil {
				r.Fatal(err)
			}
		}
		if u := table.Usage(); u.Used+u.Reserved+u.Sequences != 0 {
			r.Fatalf("after everything was freed: %+v", u)
		}
	})
}

func checkModel(r *rapid.T, table *paging.Table, store *contents, twins map[backend.SeqID]*twin) {
	holders, writers := map[int32]int{}, map[int32]int{}
	promised := 0
	for id, w := range twins {
		s, err := table.Sequence(id)
		if err != nil {
			r.Fatal(err)
		}
		if s.Len != len(w.values) || table.Len(id) != s.Len || s.Room != w.room || len(s.Pages) != paging.Pages(s.Len) {
			r.Fatalf("sequence %d: length %d and room %d, expected %d and %d; %d pages", id, s.Len, s.Room, len(w.values), w.room, len(s.Pages))
		}
		for i, v := range w.values {
			if got := store.pages[s.Pages[i/paging.PageTokens]][i%paging.PageTokens]; got != v {
				r.Fatalf("sequence %d: position %d holds %d, expected %d", id, i, got, v)
			}
		}
		for _, p := range s.Pages {
			holders[p]++
		}
		if s.Len%paging.PageTokens != 0 && s.Len < s.Room {
			writers[s.Pages[s.Len/paging.PageTokens]]++
		}
		promised += paging.Pages(s.Room) - len(s.Pages)
	}
	for p, n := range writers {
		promised += min(n, holders[p]-1)
	}
	u := table.Usage()
	if u.Used != len(holders)*paging.PageTokens || u.Reserved != (len(holders)+promised)*paging.PageTokens || u.Sequences != len(twins) {
		r.Fatalf("usage %+v; %d pages are held and %d promised", u, len(holders), promised)
	}
	if u.Reserved > u.Capacity {
		r.Fatalf("more is promised than there is: %+v", u)
	}
}
