package prefix_test

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/scheduler/prefix"
)

// kv is a cache of pages without contents, and what each sequence holds.
type kv struct {
	*paging.Table
	tokens map[backend.SeqID][]int32
}

type nowhere struct{}

func (nowhere) CopyRows(int32, int32, int) {}
func (nowhere) Release(int32)              {}

func newKV(pages int) *kv {
	return &kv{paging.New(paging.Options{Pages: pages, Context: 2000, Storage: nowhere{}}), map[backend.SeqID][]int32{}}
}

func (k *kv) Export(backend.SeqID, io.Writer) error {
	return backend.ErrUnsupported
}

func (k *kv) Import(backend.SeqID, io.Reader) error {
	return backend.ErrUnsupported
}

func (k *kv) Fork(src backend.SeqID, n, positions int) (backend.SeqID, error) {
	id, err := k.Table.Fork(src, n, positions)
	if err == nil {
		k.tokens[id] = slices.Clone(k.tokens[src][:n])
	}
	return id, err
}

func (k *kv) Free(id backend.SeqID) error {
	delete(k.tokens, id)
	return k.Table.Free(id)
}

// compute makes a sequence of tokens, as much as possible of it from the cache.
func (k *kv) compute(c *prefix.Cache, tenant string, tokens []int32) (backend.SeqID, error) {
	src, n := c.Lookup(tenant, tokens)
	var id backend.SeqID
	var err error
	if n > 0 {
		id, err = k.Fork(src, n, len(tokens)+10)
	} else {
		id, err = k.Reserve(len(tokens) + 10)
	}
	if err != nil {
		return 0, err
	}
	s, err := k.Sequence(id)
	if err != nil {
		return 0, err
	}
	k.Extend(s, len(tokens))
	k.Lengthen(s, len(tokens))
	k.tokens[id] = append(k.tokens[id], tokens[n:]...)
	return id, nil
}

func text(from, to int32) (t []int32) {
	for i := from; i < to; i++ {
		t = append(t, i)
	}
	return t
}

// keep computes tokens and gives them to the cache.
func keep(t *testing.T, c *prefix.Cache, k *kv, tenant string, tokens []int32) {
	t.Helper()
	id, err := k.compute(c, tenant, tokens)
	if err == nil {
		err = c.Insert(tenant, tokens, id)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A conversation grows, another one branches off, tenants don't see each other.
func TestStory(t *testing.T) {
	k := newKV(64)
	c := prefix.New(prefix.Options{KV: k})
	held := func(tenant string, tokens []int32, want int) {
		t.Helper()
		if n := c.Held(tenant, tokens); n != want {
			t.Errorf("%d tokens are held, expected %d", n, want)
		}
	}
	system := text(0, 200)
	first := append(slices.Clone(system), text(1000, 1050)...)
	keep(t, c, k, "", first)
	held("", first, 250)
	held("", append(slices.Clone(first), 7), 250)
	held("", first[:30], 30)
	held("", text(5, 10), 0)
	held("x", first, 0)
	second := append(slices.Clone(system), text(2000, 2100)...)
	held("", second, 200)
	keep(t, c, k, "", second)
	held("", first, 250)
	held("", second, 300)
	// What they share is there once: 200 + 50 + 100 tokens in whole pages.
	if u := k.Usage(); u.Used != 64*(3+1+2) || u.Reserved != u.Used {
		t.Errorf("usage %+v", u)
	}
	if s := c.Stats(); s.Entries != 2 || s.Tokens != 350 {
		t.Errorf("%+v", s)
	}
	// The conversation goes on; its earlier state is part of the later.
	longer := append(slices.Clone(first), text(3000, 3020)...)
	keep(t, c, k, "", longer)
	keep(t, c, k, "", first)
	if s := c.Stats(); s.Entries != 2 || s.Tokens != 370 || s.Insertions != 3 {
		t.Errorf("%+v", s)
	}
	keep(t, c, k, "x", first)
	if n, err := c.Clear(false, ""); n != 2 || err != nil {
		t.Errorf("%d entries cleared, error %v", n, err)
	}
	held("", first, 0)
	held("x", first, 250)
	if n, err := c.Clear(true, ""); n != 1 || err != nil {
		t.Errorf("%d entries cleared, error %v", n, err)
	}
	if u, s := k.Usage(), c.Stats(); u.Used+u.Sequences+s.Tokens+s.Entries != 0 {
		t.Errorf("after all was cleared: %+v, %+v", u, s)
	}
}

// What many began with is forgotten last.
func TestEvictionKeepsTheSystemPrompt(t *testing.T) {
	k := newKV(64)
	var gone []string
	c := prefix.New(prefix.Options{KV: k, Now: func() time.Time { return time.Unix(0, 0) }, Evicted: func(e prefix.Entry, seq backend.SeqID) {
		if !slices.Equal(e.Tokens, k.tokens[seq]) {
			t.Errorf("told that %d tokens go, of a sequence of %d", len(e.Tokens), len(k.tokens[seq]))
		}
		gone = append(gone, fmt.Sprint(len(e.Tokens)))
	}})
	system := text(0, 128)
	for i := range int32(3) {
		keep(t, c, k, "", append(slices.Clone(system), text(1000*i+1000, 1000*i+1010+i)...))
	}
	keep(t, c, k, "", text(9000, 9100)) // last, but used by nobody else
	for range 3 {
		if ok, err := c.Evict(); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if n := c.Held("", system); n != 128 {
		t.Errorf("%d tokens of the system prompt are held after three evictions", n)
	}
	for range 2 {
		if ok, err := c.Evict(); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if ok, err := c.Evict(); ok || err != nil {
		t.Error("something was evicted from an empty cache", err)
	}
	if u := k.Usage(); u.Used+u.Sequences != 0 {
		t.Errorf("usage %+v; evicted %v", u, gone)
	}
}

func TestLimit(t *testing.T) {
	k := newKV(64)
	c := prefix.New(prefix.Options{KV: k, Limit: 300})
	for i := range int32(10) {
		keep(t, c, k, "", text(1000*i, 1000*i+90))
	}
	if s := c.Stats(); s.Tokens != 270 || s.Entries != 3 || s.Evictions != 7 || s.EvictedTokens != 630 {
		t.Errorf("%+v", s)
	}
	keep(t, c, k, "", text(50_000, 50_400)) // more than the limit by itself
	if s := c.Stats(); s.Tokens != 0 {
		t.Errorf("%+v", s)
	}
}

// TestModel does random things and compares with a list of what was put in: the longest
// common beginning with anything that wasn't evicted is found, and sequences hold what
// the tree says.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		k := newKV(rapid.SampledFrom([]int{20, 200}).Draw(r, "pages"))
		type line struct {
			tenant string
			tokens []int32
		}
		var list []line // what can be found
		c := prefix.New(prefix.Options{KV: k})
		tokens := rapid.Custom(func(r *rapid.T) []int32 {
			return slices.Repeat(rapid.SliceOfN(rapid.Int32Range(0, 2), 1, 6).Draw(r, "some"), rapid.IntRange(1, 40).Draw(r, "times"))
		})
		tenant := rapid.SampledFrom([]string{"", "a"})
		longest := func(name string, t []int32) int {
			best := 0
			for _, l := range list {
				if l.tenant != name {
					continue
				}
				n := 0
				for n < min(len(t), len(l.tokens)) && t[n] == l.tokens[n] {
					n++
				}
				best = max(best, n)
			}
			return best
		}
		relist := func() {
			list = nil
			c.All(func(e prefix.Entry, seq backend.SeqID) bool {
				if !slices.Equal(k.tokens[seq], e.Tokens) || k.Len(seq) != len(e.Tokens) {
					r.Fatalf("a sequence of %d tokens holds %d others", len(e.Tokens), k.Len(seq))
				}
				list = append(list, line{e.Tenant, e.Tokens})
				return true
			})
		}
		r.Repeat(map[string]func(*rapid.T){
			"insert": func(r *rapid.T) {
				name, t := tenant.Draw(r, "tenant"), tokens.Draw(r, "tokens")
				id, err := k.compute(c, name, t)
				for err != nil {
					ok, e := c.Evict()
					if e != nil {
						r.Fatal(e)
					}
					if !ok {
						r.Skip("it never fits")
					}
					id, err = k.compute(c, name, t)
				}
				relist()
				if err := c.Insert(name, t, id); err != nil {
					r.Fatal(err)
				}
				list = append(list, line{name, t})
			},
			"lookup": func(r *rapid.T) {
				name, t := tenant.Draw(r, "tenant"), tokens.Draw(r, "tokens")
				seq, n := c.Lookup(name, t)
				if want := longest(name, t); n != want || c.Held(name, t) != want {
					r.Fatalf("%d tokens are found, expected %d", n, want)
				}
				if n > 0 && !slices.Equal(k.tokens[seq][:n], t[:n]) {
					r.Fatal("another sequence was found")
				}
			},
			"evict": func(r *rapid.T) {
				before := c.Stats()
				ok, err := c.Evict()
				if err != nil || ok != (before.Entries > 0) {
					r.Fatal(ok, err)
				}
				if after := c.Stats(); ok && after.Tokens >= before.Tokens {
					r.Fatalf("nothing went: %+v, then %+v", before, after)
				}
				relist()
			},
			"clear": func(r *rapid.T) {
				if _, err := c.Clear(false, tenant.Draw(r, "tenant")); err != nil {
					r.Fatal(err)
				}
				relist()
			},
			"": func(r *rapid.T) {
				edges := map[string]bool{} // distinct beginnings
				for _, l := range list {
					for i := range l.tokens {
						edges[l.tenant+"|"+fmt.Sprint(l.tokens[:i+1])] = true
					}
				}
				s := c.Stats()
				if s.Tokens != len(edges) {
					r.Fatalf("%d tokens are counted, expected %d", s.Tokens, len(edges))
				}
				if u := k.Usage(); u.Sequences != s.Entries || u.Reserved != u.Used {
					r.Fatalf("%+v for %+v", u, s)
				}
			},
		})
		if _, err := c.Clear(true, ""); err != nil {
			r.Fatal(err)
		}
		if u := k.Usage(); u.Used+u.Sequences != 0 || c.Stats().Tokens != 0 {
			r.Fatalf("after all was cleared: %+v", u)
		}
	})
}
