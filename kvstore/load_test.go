package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/kvstore"
)

// What is being loaded stays until it was, whatever happens meanwhile.
func TestLoadPins(t *testing.T) {
	for _, memory := range []int64{0, 100} {
		dir := t.TempDir()
		s := open(t, kvstore.Options{Memory: memory, Disk: kvstore.Disk{Path: dir, Limit: 260}})
		want := random(1, 90)
		put(t, s, scope, ids(1), want)
		e, _ := s.Lookup(scope, ids(1))
		err := s.Load(ctx, e, func(r io.Reader) error {
			if err := s.Put(ctx, scope, ids(2), 99, writes(random(2, 99))); !errors.Is(err, kvstore.ErrNoRoom) && memory > 0 {
				t.Errorf("put: %v", err)
			}
			s.Clear(nil)
			if err := s.Put(ctx, scope, ids(2), 99, writes(random(2, 99))); !errors.Is(err, kvstore.ErrNoRoom) {
				t.Errorf("put after clear: %v", err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%q, %v", got, err)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		s.Settle()
		if u := s.Usage(); u.Memory.Bytes != 0 || u.Disk.Bytes != 0 {
			t.Errorf("memory %d: usage %+v", memory, u)
		}
	}
}

func TestLoadEndsWithItsReader(t *testing.T) {
	s := open(t, kvstore.Options{Memory: 100})
	put(t, s, scope, ids(1), random(1, 90))
	e, _ := s.Lookup(scope, ids(1))
	var kept io.Reader
	if err := s.Load(ctx, e, func(r io.Reader) error { kept = r; return nil }); err != nil {
		t.Fatal(err)
	}
	s.Clear(nil)
	if n, err := kept.Read(make([]byte, 10)); n != 0 || err == nil {
		t.Errorf("read %d bytes after Load", n)
	}
	put(t, s, scope, ids(1), random(1, 90))
	e, _ = s.Lookup(scope, ids(1))
	stop, cancel := context.WithCancelCause(ctx)
	gone := errors.New("client is gone")
	err := s.Load(stop, e, func(r io.Reader) error {
		cancel(gone)
		_, err := r.Read(make([]byte, 10))
		return err
	})
	if !errors.Is(err, gone) {
		t.Error(err)
	}
}

// export writes a sequence in the backends' common format.
func export(t testing.TB, fingerprint string, seq int) []byte {
	t.Helper()
	var b bytes.Buffer
	h := backend.KVHeader{Fingerprint: fingerprint, DType: backend.KVF16, Layers: 2, KVHeads: 2, Seq: seq, HeadDim: 8}
	w, err := backend.NewKVWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	n, err := h.PayloadBytes()
	if err != nil {
		t.Fatal(err)
	}
	w.Write(random(uint64(seq), int(n)))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// importer checks as an engine does.
func importer(want backend.KVHeader) func(io.Reader) error {
	return func(r io.Reader) error {
		kr, err := backend.NewKVReader(r)
		if err != nil {
			return err
		}
		if err := kr.Header.Fits(want); err != nil {
			return err
		}
		n, err := kr.Header.PayloadBytes()
		if err != nil {
			return err
		}
		if err := kr.ReadFull(make([]byte, n)); err != nil {
			return err
		}
		return kr.Verify()
	}
}

func TestImporterRejects(t *testing.T) {
	mine := backend.KVHeader{Fingerprint: "mine", DType: backend.KVF16, Layers: 2, KVHeads: 2, HeadDim: 8}
	for _, memory := range []int64{0, 1 << 20} {
		s := open(t, kvstore.Options{Memory: memory, Disk: kvstore.Disk{Path: t.TempDir(), Limit: 1 << 20}})
		put(t, s, scope, ids(1, 2, 3), export(t, "mine", 3))
		put(t, s, scope, ids(4, 5, 6), export(t, "another", 3))
		e, _ := s.Lookup(scope, ids(1, 2))
		if err := s.Load(ctx, e, importer(mine)); err != nil {
			t.Error(err)
		}
		full := func(io.Reader) error { return backend.ErrKVFull }
		if err := s.Load(ctx, e, full); !errors.Is(err, backend.ErrKVFull) {
			t.Error(err)
		}
		e, _ = s.Lookup(scope, ids(4))
		if err := s.Load(ctx, e, importer(mine)); !errors.Is(err, backend.ErrKVFormat) {
			t.Error(err)
		}
		if list := s.List(); len(list) != 1 || list[0].TokenIDs()[0] != 1 || s.Stats().Discarded[kvstore.Rejected] != 1 {
			t.Errorf("%+v, %+v", list, s.Stats())
		}
	}
}

func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	const memory, disk = 20_000, 60_000
	s := open(t, kvstore.Options{Memory: memory, Disk: kvstore.Disk{Path: dir, Limit: disk}, Key: keyA})
	data := func(tokens []int32) []byte {
		return random(uint64(tokens[0])<<8|uint64(len(tokens)), 500+700*len(tokens))
	}
	var group sync.WaitGroup
	for g := range 6 {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 2))
			for range 150 {
				tokens := slices.Repeat(ids(r.Int32N(8)), 1+r.IntN(6))
				switch op := r.IntN(20); {
				case op == 0:
					s.Clear(func(kvstore.Scope) bool { return r.IntN(2) == 0 })
				case op == 1:
					_ = s.Flush(ctx)
				case op < 10:
					size := int64(len(data(tokens)))
					if r.IntN(5) == 0 {
						size = memory + 1 // straight to the disk
					}
					if err := s.Put(ctx, scope, tokens, size, writes(data(tokens))); err != nil && !errors.Is(err, kvstore.ErrNoRoom) {
						t.Error(err)
					}
				default:
					e, ok := s.Lookup(scope, tokens)
					if !ok {
						continue
					}
					got, err := load(s, e)
					if err != nil && !errors.Is(err, kvstore.ErrGone) || err == nil && !bytes.Equal(got, data(e.TokenIDs())) {
						t.Errorf("%v: %d bytes, %v", tokens, len(got), err)
					}
				}
				if u := s.Usage(); u.Memory.Bytes > memory || u.Disk.Bytes > disk || u.DiskError != nil {
					t.Errorf("usage %+v", u)
				}
				s.List()
				s.Cheaper(kvstore.Entry{Scope: scope})
				s.ObservePrefill("model", 1, 1)
			}
		})
	}
	group.Wait()
	s.Settle()
	if _, size := files(t, dir); size != s.Usage().Disk.Bytes {
		t.Errorf("%d bytes on disk, usage %+v", size, s.Usage())
	}
	if st := s.Stats(); st.Errors != 0 || len(st.Discarded) != 0 {
		t.Errorf("stats %+v", st)
	}
}
