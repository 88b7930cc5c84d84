package kvstore_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/kvstore"
)

// model is what a store does, told without a tree, lists, files or goroutines.
type model struct {
	memory, disk int64 // limits
	clock        int
	entries      map[string]*modelEntry
}

type modelEntry struct {
	scope          kvstore.Scope
	tokens         []int32
	data           []byte
	used           int
	inMem, onDisk  bool
	unsavable      bool
	superseded     bool
	fileSize, size int64
}

func modelKey(scope kvstore.Scope, tokens []int32) string {
	return fmt.Sprintf("%q %q %v", scope.Model, scope.Tenant, tokens)
}

// byUse is the least recently used first.
func (m *model) byUse(where func(*modelEntry) bool) []*modelEntry {
	var list []*modelEntry
	for e := range maps.Values(m.entries) {
		if where(e) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *modelEntry) int { return cmp.Compare(a.used, b.used) })
	return list
}

func (m *model) usage() (memory, disk, unsaved int64) {
	for _, e := range m.entries {
		if e.inMem {
			memory += e.size
		}
		if e.onDisk {
			disk += e.fileSize
		}
		if e.inMem && !e.onDisk {
			unsaved += e.size
		}
	}
	return memory, disk, unsaved
}

func (m *model) touch(e *modelEntry) { m.clock++; e.used = m.clock; e.unsavable = false }

func (m *model) sweep() {
	maps.DeleteFunc(m.entries, func(_ string, e *modelEntry) bool { return e.superseded || !e.inMem && !e.onDisk })
}

// match is the entry that Lookup must find.
func (m *model) match(scope kvstore.Scope, tokens []int32) (int, *modelEntry) {
	longest, best := 0, (*modelEntry)(nil)
	for _, e := range m.entries {
		if e.scope != scope {
			continue
		}
		n := 0
		for n < min(len(tokens), len(e.tokens)) && tokens[n] == e.tokens[n] {
			n++
		}
		if n == 0 || n < longest {
			continue
		}
		if n > longest || cmp.Or(cmp.Compare(e.size, best.size), slices.Compare(e.tokens, best.tokens)) < 0 {
			longest, best = n, e
		}
	}
	return longest, best
}

// toDisk makes room among files used before e, if that can be.
func (m *model) toDisk(e *modelEntry, before int) bool {
	_, used, _ := m.usage()
	var victims []*modelEntry
	for _, v := range m.byUse(func(v *modelEntry) bool { return v.onDisk && v.used < before }) {
		if used+e.fileSize <= m.disk {
			break
		}
		victims = append(victims, v)
		used -= v.fileSize
	}
	if used+e.fileSize > m.disk {
		return false
	}
	for _, v := range victims {
		v.onDisk = false
	}
	e.onDisk = true
	m.sweep()
	return true
}

func (m *model) save(keep int64, newest bool) {
	for {
		list := m.byUse(func(e *modelEntry) bool { return e.inMem && !e.onDisk && !e.unsavable })
		if _, _, unsaved := m.usage(); unsaved <= keep || len(list) == 0 {
			return
		}
		e := list[0]
		if newest {
			e = list[len(list)-1]
		}
		if !m.toDisk(e, e.used) {
			e.unsavable = true
		}
	}
}

// put reports whether the store must take the entry, or have one like it.
func (m *model) put(scope kvstore.Scope, tokens []int32, data []byte) bool {
	size := int64(len(data))
	fits := size <= m.memory
	n, old := m.match(scope, tokens)
	covered := n == len(tokens)
	if covered && (old.inMem || len(old.tokens) > n || !fits) {
		m.touch(old)
		return true
	}
	e := &modelEntry{scope: scope, tokens: tokens, data: data, size: size}
	e.fileSize = 52 + int64(2+len(scope.Model)+2+len(scope.Tenant)+4*len(tokens)+4) + size + 4
	if fits {
		used, _, _ := m.usage()
		for _, v := range m.byUse(func(v *modelEntry) bool { return v.inMem }) {
			if used+size > m.memory {
				v.inMem = false
				used -= v.size
			}
		}
		m.sweep()
		e.inMem = true
	} else if !m.toDisk(e, m.clock+1) {
		return false
	}
	// What was evicted for it may have been what it was about to replace.
	if n, old = m.match(scope, tokens); n == len(tokens) && old != nil && fits {
		m.touch(old)
		old.inMem = old.size == size
		return true
	}
	for _, v := range m.entries {
		if v.scope == scope && len(v.tokens) < len(tokens) && slices.Equal(v.tokens, tokens[:len(v.tokens)]) {
			v.superseded = true
		}
	}
	m.entries[modelKey(scope, tokens)] = e
	m.touch(e)
	m.sweep()
	return true
}

func TestStoreIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir := tempDir(t)
		m := &model{
			memory: rapid.Int64Range(0, 1000).Draw(t, "memory"), disk: rapid.Int64Range(0, 2000).Draw(t, "disk"),
			entries: map[string]*modelEntry{},
		}
		options := kvstore.Options{Memory: m.memory, Disk: kvstore.Disk{Path: dir, Limit: m.disk}}
		s, err := kvstore.Open(options)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close(ctx) }()
		scopes := []kvstore.Scope{{Model: "a"}, {Model: "a", Tenant: "x"}, {Model: "b", Tenant: "x"}}
		someScope := rapid.SampledFrom(scopes)
		someTokens := rapid.SliceOfN(rapid.Int32Range(-1, 1), 1, 7)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				scope, tokens := someScope.Draw(t, "scope"), someTokens.Draw(t, "tokens")
				n := rapid.IntRange(1, 300).Draw(t, "size")
				if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
					n *= 5
				}
				data := random(rapid.Uint64().Draw(t, "data"), n)
				want := m.put(scope, tokens, data)
				if err := s.Put(ctx, scope, tokens, int64(n), writes(data)); (err == nil) != want {
					t.Fatalf("put: %v, want success %t", err, want)
				}
			},
			"load": func(t *rapid.T) {
				scope, tokens := someScope.Draw(t, "scope"), someTokens.Draw(t, "tokens")
				n, want := m.match(scope, tokens)
				e, ok := s.Lookup(scope, tokens)
				if ok != (want != nil) || e.Matched != n {
					t.Fatalf("%v: %+v, want %+v", tokens, e, want)
				}
				if !ok {
					return
				}
				if !slices.Equal(e.TokenIDs(), want.tokens) || (e.Where == kvstore.InMemory) != want.inMem {
					t.Fatalf("%v: %v %+v, want %+v", tokens, e.TokenIDs(), e, want)
				}
				data, err := load(s, e)
				if err != nil || len(data) != len(want.data) || want.inMem != want.onDisk && !bytes.Equal(data, want.data) {
					t.Fatalf("%d bytes, %v, want %d", len(data), err, len(want.data))
				}
				m.touch(want)
			},
			"clear": func(t *rapid.T) {
				if rapid.IntRange(0, 5).Draw(t, "really") > 0 {
					return
				}
				scope := someScope.Draw(t, "scope")
				s.Clear(func(c kvstore.Scope) bool { return c == scope })
				maps.DeleteFunc(m.entries, func(_ string, e *modelEntry) bool { return e.scope == scope })
			},
			"restart": func(t *rapid.T) {
				if rapid.IntRange(0, 2).Draw(t, "really") > 0 {
					return
				}
				if err := s.Close(ctx); err != nil {
					t.Fatal(err)
				}
				for _, e := range m.entries {
					e.unsavable = false
				}
				m.save(0, true)
				for _, e := range m.entries {
					e.inMem, e.unsavable = false, false
				}
				m.sweep()
				if s, err = kvstore.Open(options); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				s.Settle()
				m.save(m.memory/2, false)
				memory, disk, unsaved := m.usage()
				u := s.Usage()
				if u.Memory.Bytes != memory || u.Disk.Bytes != disk || u.Unsaved != unsaved {
					t.Fatalf("usage %+v, want %d, %d, %d", u, memory, disk, unsaved)
				}
				var got, want []string
				for _, e := range s.List() {
					got = append(got, modelKey(e.Scope, e.TokenIDs()))
				}
				for _, e := range m.byUse(func(*modelEntry) bool { return true }) {
					want = append(want, modelKey(e.scope, e.tokens))
				}
				slices.Reverse(want)
				if !slices.Equal(got, want) {
					t.Fatalf("list\n%q, want\n%q", got, want)
				}
				if st := s.Stats(); st.Errors != 0 || len(st.Discarded) != 0 {
					t.Fatalf("stats %+v", st)
				}
			},
		})
	})
}
