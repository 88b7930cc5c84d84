package paging_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/model"
)

// log is a storage that notes what it is told.
type log []string

func (l *log) CopyRows(dst, src int32, n int) {
	*l = append(*l, fmt.Sprintf("copy %d of %d to %d", n, src, dst))
}
func (l *log) Release(page int32) { *l = append(*l, fmt.Sprintf("release %d", page)) }

// run lays a batch of one span out, and grows the sequence by it.
func run(t *testing.T, table *paging.Table, id backend.SeqID, n int) *paging.Sequence {
	t.Helper()
	var r paging.Rows
	b := backend.Batch{Spans: []backend.Span{{Seq: id, Pos: table.Len(id), Tokens: make([]int32, n)}}}
	if err := table.Lay(&r, &b, paging.Limits{Vocab: 1, MaxBatch: 1000}); err != nil {
		t.Fatal(err)
	}
	table.Prepare(&r)
	table.Commit(&r)
	return r.Seqs[0]
}

func TestSharedPages(t *testing.T) {
	var l log
	table := paging.New(paging.Options{Pages: 8, Context: 300, BytesPerToken: 2, Warm: 1, Storage: &l})
	reserve := func() backend.SeqID {
		t.Helper()
		id, err := table.Reserve(130)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	a, b := reserve(), reserve()
	if _, err := table.Reserve(200); !errors.Is(err, backend.ErrKVFull) {
		t.Errorf("eight pages, six reserved, and four more: %v", err)
	}
	first := run(t, table, a, 100)
	if !slices.Equal(first.Pages, []int32{0, 1}) {
		t.Errorf("pages %v: the lowest should come first", first.Pages)
	}
	if err := table.Free(b); err != nil {
		t.Fatal(err)
	}
	b, err := table.Fork(a, 70, 130)
	if err != nil {
		t.Fatal(err)
	}
	// Each may need a third page, and one of them a copy of the second.
	if u := table.Usage(); u.Used != 128 || u.Reserved != 320 || u.Capacity != 512 || u.Sequences != 2 || u.BytesPerToken != 2 {
		t.Errorf("usage with a copy: %+v", u)
	}
	// Whoever writes to a shared page first gets one of its own.
	second := run(t, table, b, 1)
	if !slices.Equal(second.Pages, []int32{0, 2}) || !slices.Equal(l, log{"copy 6 of 1 to 2"}) {
		t.Errorf("pages %v; %q", second.Pages, l)
	}
	run(t, table, a, 1)
	for _, id := range []backend.SeqID{a, b} {
		if err := table.Free(id); err != nil {
			t.Fatal(err)
		}
	}
	// One free page stays warm, and is taken again first.
	if want := (log{"copy 6 of 1 to 2", "release 0", "release 2"}); !slices.Equal(l, want) {
		t.Errorf("%q, expected %q", l, want)
	}
	if s := run(t, table, reserve(), 1); s.Pages[0] != 1 {
		t.Errorf("page %d was taken, and 1 is warm", s.Pages[0])
	}
	table.Close()
	if _, err := table.Reserve(1); !errors.Is(err, backend.ErrEngineFailed) {
		t.Errorf("a closed table: %v", err)
	}
}

func TestLay(t *testing.T) {
	table := paging.New(paging.Options{Pages: 8, Context: 300, Storage: &log{}})
	id, err := table.Reserve(10)
	if err != nil {
		t.Fatal(err)
	}
	run(t, table, id, 4)
	draw := &backend.Draw{}
	span := func(change func(s *backend.Span)) []backend.Span {
		s := backend.Span{Seq: id, Pos: 4, Tokens: []int32{1, 2}, Want: backend.LastLogits}
		change(&s)
		return []backend.Span{s}
	}
	good := span(func(*backend.Span) {})
	for _, tt := range []struct {
		name  string
		spans []backend.Span
		drawn bool
		want  string // of the error; "": none
	}{
		{"good", good, false, ""},
		{"a draw", span(func(s *backend.Span) { s.Draw = draw }), false, ""},
		{"a drawn token", span(func(s *backend.Span) { s.Tokens = []int32{backend.Drawn} }), true, ""},
		{"a drawn token for Run", span(func(s *backend.Span) { s.Tokens = []int32{backend.Drawn} }), false, "not in the vocabulary"},
		{"a drawn token among others", span(func(s *backend.Span) { s.Tokens[1] = backend.Drawn }), true, "not in the vocabulary"},
		{"two spans", append(slices.Clone(good), good...), false, "two spans"},
		{"no tokens", span(func(s *backend.Span) { s.Tokens = nil }), false, "no tokens"},
		{"a gap", span(func(s *backend.Span) { s.Pos = 5 }), false, "position 5, expected 4"},
		{"no room", span(func(s *backend.Span) { s.Tokens = make([]int32, 7) }), false, "11 positions, but room for 10"},
		{"an unknown wish", span(func(s *backend.Span) { s.Want = 9 }), false, "unknown wish"},
		{"a draw without logits", span(func(s *backend.Span) { s.Draw, s.Want = draw, backend.NoLogits }), false, "the last logits aren't wanted"},
		{"another vocabulary", span(func(s *backend.Span) { s.Tokens[0] = 100 }), false, "token 100 at position 4"},
		{"nobody's sequence", span(func(s *backend.Span) { s.Seq = 77 }), false, "no sequence 77"},
		{"too much", span(func(s *backend.Span) { s.Tokens = make([]int32, 9) }), false, "more than 8"},
	} {
		var r paging.Rows
		err := table.Lay(&r, &backend.Batch{Spans: tt.spans}, paging.Limits{Vocab: 100, MaxBatch: 8, Drawn: tt.drawn})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, expected %q", tt.name, err, tt.want)
		}
		if err == nil && (!slices.Equal(r.Kept, []int32{int32(len(r.Tokens) - 1)}) || !slices.Equal(r.Logits, []int32{0}) || len(r.Hidden) != 0 || r.Positions[0] != 4 || !slices.Equal(r.First, []int{0, len(r.Tokens)})) {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
}

func TestSize(t *testing.T) {
	cfg := model.Config{Context: 8192}
	const gib = 1 << 30
	for _, tt := range []struct {
		name           string
		bytes          int // of a token
		memory         paging.Memory
		o              backend.LoadOptions
		tokens, length int // 0: an error
	}{
		{"much memory", 1 << 10, paging.Memory{Total: 64 * gib, Available: 32 * gib}, backend.LoadOptions{}, 16 * 8192, 8192},
		{"memory for some contexts", 1 << 16, paging.Memory{Total: 8 * gib, Available: 4 * gib}, backend.LoadOptions{}, 32768, 8192},
		{"memory for half a context", 1 << 19, paging.Memory{Total: 8 * gib, Available: 4 * gib}, backend.LoadOptions{}, 4096, 4096},
		{"no memory", 1 << 10, paging.Memory{Total: 8 * gib, Available: -1}, backend.LoadOptions{}, 2048, 2048},
		{"unknown memory", 1 << 10, paging.Memory{}, backend.LoadOptions{}, 8192, 8192},
		{"asked for", 1 << 10, paging.Memory{Total: gib, Available: gib}, backend.LoadOptions{Context: 100, KVTokens: 500}, 512, 100},
		{"few positions shrink the context", 1 << 10, paging.Memory{}, backend.LoadOptions{KVTokens: 4000}, 4032, 4032},
		{"a context that was asked for stays", 1 << 19, paging.Memory{Total: 8 * gib, Available: gib}, backend.LoadOptions{Context: 8192}, 8192, 8192},
		{"more than there is", 1 << 20, paging.Memory{Total: gib, Available: gib}, backend.LoadOptions{Context: 8192}, 0, 0},
		{"contradiction", 1 << 10, paging.Memory{}, backend.LoadOptions{Context: 600, KVTokens: 500}, 0, 0},
		{"longer than the model's", 1 << 10, paging.Memory{}, backend.LoadOptions{Context: 10000}, 0, 0},
		{"negative", 1 << 10, paging.Memory{}, backend.LoadOptions{KVTokens: -1}, 0, 0},
		{"an absurd model", 1 << 30, paging.Memory{}, backend.LoadOptions{}, 0, 0},
	} {
		pages, length, err := paging.Size(cfg, tt.bytes, tt.memory, tt.o)
		if (err == nil) != (tt.tokens > 0) || err == nil && (pages*paging.PageTokens != tt.tokens || length != tt.length) {
			t.Errorf("%s: %d positions, context %d, %v; expected %d and %d", tt.name, pages*paging.PageTokens, length, err, tt.tokens, tt.length)
		}
	}
}
