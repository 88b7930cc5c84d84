package paging_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
)

// stateStorage forgets what is released.
type stateStorage struct{ slots []string }

func (*stateStorage) CopyRows(int32, int32, int) {}
func (*stateStorage) Release(int32)              {}
func (s *stateStorage) ReleaseState(i int32)     { s.slots[i] = "released" }

// stateOf is what a slot must hold after n positions of a text.
func stateOf(text, n int) string { return fmt.Sprint(text, ":", n) }

// TestStates plays random schedules over few slots: every step finds the state of what its
// sequence holds, and a slot for the next; going back to what is said to be restorable gives the
// state of that length, and anything else is refused.
func TestStates(t *testing.T) {
	for _, o := range []paging.StateOptions{{Slots: 8, Every: 64}, {Slots: 24, Every: 128, Back: 2}, {Slots: 40, Every: 64, Back: 1}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			restored := 0
			for seed := range 300 {
				restored += playStates(t, o, rand.New(rand.NewPCG(7, uint64(seed))))
			}
			if restored < 100 {
				t.Errorf("only %d times a sequence went back to a state that was kept", restored)
			}
		})
	}
}

type stateful struct {
	id        backend.SeqID
	text, len int
}

func playStates(t *testing.T, o paging.StateOptions, rng *rand.Rand) (restored int) {
	t.Helper()
	storage := &stateStorage{slots: make([]string, o.Slots)}
	table := paging.New(paging.Options{Pages: 64, Context: 1024, BytesPerToken: 1, Storage: storage, States: o})
	var live []stateful
	check := func(s stateful) {
		t.Helper()
		q, err := table.Sequence(s.id)
		if err != nil {
			t.Fatal(err)
		}
		if s.len == 0 && q.State() >= 0 || s.len > 0 && storage.slots[q.State()] != stateOf(s.text, s.len) {
			t.Fatalf("a sequence of %d positions has the state of slot %d", s.len, q.State())
		}
	}
	for range 200 {
		if len(live) == 0 || rng.IntN(6) == 0 {
			if id, err := table.Reserve(1 + rng.IntN(400)); err == nil {
				live = append(live, stateful{id: id, text: rng.IntN(1 << 30)})
			} else if !errors.Is(err, backend.ErrKVFull) {
				t.Fatal(err)
			}
			continue
		}
		i := rng.IntN(len(live))
		s := &live[i]
		q, _ := table.Sequence(s.id)
		switch rng.IntN(7) {
		case 0:
			if err := table.Free(s.id); err != nil {
				t.Fatal(err)
			}
			live = slices.Delete(live, i, i+1)
		case 1:
			n := rng.IntN(s.len + 1)
			at := table.Restorable(s.id, n)
			err := table.Truncate(s.id, n)
			switch {
			case at != n && !errors.Is(err, backend.ErrUnsupported):
				t.Fatalf("Truncate to %d, where %d is restorable: %v", n, at, err)
			case at == n && err != nil && !errors.Is(err, backend.ErrKVFull):
				t.Fatal(err)
			case err == nil:
				s.len = n
			}
		case 2:
			n := table.Restorable(s.id, rng.IntN(s.len+1))
			id, err := table.Fork(s.id, n, n+rng.IntN(2)*rng.IntN(200))
			if err == nil {
				live = append(live, stateful{id, s.text, n})
				if n > 0 {
					restored++
				}
				check(live[len(live)-1])
			} else if !errors.Is(err, backend.ErrKVFull) {
				t.Fatal(err)
			}
		case 3:
			_ = table.Resize(s.id, s.len+rng.IntN(2)*rng.IntN(300))
		default:
			n := min(1+rng.IntN(1+rng.IntN(150)), q.Room-s.len)
			if n < 1 {
				continue
			}
			var rows paging.Rows
			b := backend.Batch{Spans: []backend.Span{{Seq: s.id, Pos: s.len, Tokens: make([]int32, n)}}}
			if err := table.Lay(&rows, &b, paging.Limits{Vocab: 1, MaxBatch: 1 << 10}); err != nil {
				t.Fatal(err)
			}
			check(*s)
			table.Prepare(&rows)
			if q.Next() < 0 || q.Next() == q.State() {
				t.Fatalf("no slot for the next state: %d, the present one is %d", q.Next(), q.State())
			}
			check(*s)
			storage.slots[q.Next()] = stateOf(s.text, s.len+n)
			at := s.len
			for _, m := range q.Marks() {
				if m.Len <= at || m.Len >= s.len+n || m.Slot == q.Next() || m.Slot == q.State() {
					t.Fatalf("a mark %+v in a span from %d to %d", m, s.len, s.len+n)
				}
				at = m.Len
				storage.slots[m.Slot] = stateOf(s.text, m.Len)
			}
			if rng.IntN(8) == 0 {
				table.Undo(&rows)
			} else {
				table.Commit(&rows)
				s.len += n
			}
			if before := b.Spans[0].Pos; o.Back > 0 && s.len > before && table.Restorable(s.id, before) != before {
				t.Fatalf("a sequence can't go back by one step, from %d to %d", s.len, before)
			}
		}
		for _, s := range live {
			check(s)
		}
	}
	for _, s := range live {
		if err := table.Free(s.id); err != nil {
			t.Fatal(err)
		}
	}
	for i, what := range storage.slots {
		if what != "" && what != "released" {
			t.Fatalf("slot %d still holds %s", i, what)
		}
	}
	return restored
}
