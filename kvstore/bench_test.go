package kvstore_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/inferflux/inferflux/kvstore"
)

// 46 MB are 2,000 tokens of SmolLM2-135M.
func BenchmarkStore(b *testing.B) {
	const size = 46 << 20
	data, buf := random(1, size), make([]byte, 256<<10)
	piecewise := func(w io.Writer) error {
		for i := 0; i < size; i += len(buf) {
			if _, err := w.Write(data[i : i+len(buf)]); err != nil {
				return err
			}
		}
		return nil
	}
	discard := func(r io.Reader) error {
		for {
			if _, err := r.Read(buf); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	for _, o := range []struct {
		name   string
		memory int64
		key    []byte
	}{{"memory", 1 << 30, nil}, {"disk", 0, nil}, {"encrypted", 0, keyA}} {
		s := open(b, kvstore.Options{Memory: o.memory, Disk: kvstore.Disk{Path: b.TempDir(), Limit: 1 << 30}, Key: o.key})
		b.Run("put/"+o.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				s.Clear(nil)
				if err := s.Put(ctx, scope, ids(1), size, piecewise); err != nil {
					b.Fatal(err)
				}
			}
		})
		e, _ := s.Lookup(scope, ids(1))
		b.Run("load/"+o.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if err := s.Load(ctx, e, discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n, " entries"), func(b *testing.B) {
			s := open(b, kvstore.Options{Memory: 1 << 20})
			prompt := make([]int32, 4000)
			for i := range n {
				prompt[2000] = int32(i)
				put(b, s, scope, prompt[:2100], []byte{1})
			}
			for b.Loop() {
				if e, ok := s.Lookup(scope, prompt); !ok || e.Matched != 2100 {
					b.Fatal(e)
				}
			}
		})
	}
}
