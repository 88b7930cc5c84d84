package cpu_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/model/modeltest"
	"github.com/inferflux/inferflux/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sameBits(a, b [][]float32) bool {
	return slices.EqualFunc(a, b, func(x, y []float32) bool {
		return slices.EqualFunc(x, y, func(u, v float32) bool { return math.Float32bits(u) == math.Float32bits(v) })
	})
}

func someTokens(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32((7919*i + 13) % 264)
	}
	return out
}

// TestSameBits: the same tokens give the same bits on any number of threads, in
// chunks of any size, and whatever else is in the batch.
func TestSameBits(t *testing.T) {
	tokens := someTokens(150)
	var want [][]float32
	for _, threads := range []int{1, 2, 3} {
		e := loadEngine(t, openQuantized(t), backend.LoadOptions{Threads: threads})
		for _, chunk := range []int{1, 7, 64, len(tokens)} {
			got := runChunked(t, e, tokens, chunk)
			if want == nil {
				want = got
			}
			if !sameBits(got, want) {
				t.Errorf("%d threads, chunks of %d: not the bits of one thread and one token at a time", threads, chunk)
			}
		}
		if got := amongOthers(t, e, tokens); !sameBits(got, want) {
			t.Errorf("%d threads, among fifteen others: not the bits of one alone", threads)
		}
	}
}

// amongOthers runs tokens, in pieces of 1 to 20, beside fifteen other sequences
// of other lengths, of which it is neither the first nor the last.
func amongOthers(t *testing.T, e backend.Engine, tokens []int32) [][]float32 {
	t.Helper()
	var ids []backend.SeqID
	for range 16 {
		id, err := e.KV().Reserve(len(tokens))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	var rows [][]float32
	for step := 0; e.KV().Len(ids[9]) < len(tokens); step++ {
		var b backend.Batch
		for i, id := range ids {
			at := e.KV().Len(id)
			n := min((step*7+i*5)%20+1, len(tokens)-at)
			if i != 9 && n > 0 {
				part := slices.Clone(tokens[at : at+n])
				part[0] = int32(i)
				b.Spans = append(b.Spans, backend.Span{Seq: id, Pos: at, Tokens: part, Want: backend.LogitsWanted(step % 3)})
			} else if n > 0 {
				b.Spans = append(b.Spans, backend.Span{Seq: id, Pos: at, Tokens: tokens[at : at+n], Want: backend.AllLogits})
			}
		}
		run(t, e, &b)
		for _, sp := range b.Spans {
			if sp.Seq == ids[9] {
				for _, row := range sp.Logits {
					rows = append(rows, slices.Clone(row))
				}
			}
		}
	}
	for _, id := range ids {
		if err := e.KV().Free(id); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

func TestContractQuantized(t *testing.T) {
	testContract(t, openQuantized, backend.LoadOptions{Threads: 2, MaxBatchTokens: 300, KVTokens: 2048})
}

// TestNoAllocation: generating tokens allocates nothing.
func TestNoAllocation(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	e := loadEngine(t, openQuantized(t), backend.LoadOptions{Threads: 2})
	var b backend.Batch
	for range 4 {
		id, err := e.KV().Reserve(500)
		if err != nil {
			t.Fatal(err)
		}
		b.Spans = append(b.Spans, backend.Span{Seq: id, Tokens: []int32{1, 2, 3}, Want: backend.LastLogits})
	}
	step := func() {
		run(t, e, &b)
		for i := range b.Spans {
			b.Spans[i].Pos += len(b.Spans[i].Tokens)
			b.Spans[i].Tokens = b.Spans[i].Tokens[:1]
		}
	}
	step()
	step()
	if n := testing.AllocsPerRun(200, step); n != 0 {
		t.Errorf("%v allocations per step", n)
	}
}

func TestLoadOptions(t *testing.T) {
	c := openQuantized(t)
	for _, o := range []backend.LoadOptions{
		{Threads: -1}, {Threads: 1 << 20}, {MaxBatchTokens: -1}, {MaxBatchTokens: 1 << 30}, {KVType: "q8"}, {Repack: "always"},
		{Context: -1}, {Context: 513}, {KVTokens: -1}, {KVTokens: 100, Context: 200}, {KVTokens: 1 << 40},
	} {
		if e, err := (cpu.Backend{}).Load(t.Context(), c, o); err == nil {
			e.Close()
			t.Errorf("Load with %+v succeeded", o)
		}
	}
	var progress []float64
	e := loadEngine(t, c, backend.LoadOptions{Context: 100, KVTokens: 130, MaxBatchTokens: 9, KVType: "f32", Threads: 1,
		Progress: func(f float64) { progress = append(progress, f) }})
	if e.Context() != 100 || e.MaxBatchTokens() != 9 || e.KV().Usage().Capacity != 192 || e.KV().Usage().BytesPerToken != 2*2*2*32*4 {
		t.Errorf("context %d, batch %d, kv %+v", e.Context(), e.MaxBatchTokens(), e.KV().Usage())
	}
	if !slices.IsSorted(progress) || len(progress) < 10 || progress[len(progress)-1] != 1 {
		t.Errorf("progress %v", progress)
	}
	if d := e.Description(); !strings.Contains(d.Device, "1 thread,") {
		t.Errorf("device %q", d.Device)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (cpu.Backend{}).Load(ctx, c, backend.LoadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled Load: %v", err)
	}
}

// TestImportOtherType: what an engine with one type of KV exports, one with any
// other imports, and goes on as if it had computed it. What it exported itself it
// keeps bit for bit.
func TestImportOtherType(t *testing.T) {
	tokens := someTokens(100)
	types := []string{"f32", "f16", "q8_0"}
	engines, exports, want := make([]backend.Engine, len(types)), make([][]byte, len(types)), make([][][]float32, len(types))
	for i, kv := range types {
		e := loadEngine(t, modeltest.Open(t, "llama-gqa-tied.gguf"), backend.LoadOptions{KVType: kv})
		want[i] = runChunked(t, e, tokens, len(tokens))
		id, err := e.KV().Reserve(100)
		if err != nil {
			t.Fatal(err)
		}
		run(t, e, &backend.Batch{Spans: []backend.Span{{Seq: id, Tokens: tokens[:70]}}})
		engines[i], exports[i] = e, export(t, e, id)
	}
	for i, e := range engines {
		for from, data := range exports {
			id, err := e.KV().Reserve(100)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.KV().Import(id, bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			if i == from && !bytes.Equal(export(t, e, id), data) {
				t.Errorf("%s: not the same bits after export and import", types[i])
			}
			bound := 2e-2
			if types[i] == "q8_0" || types[from] == "q8_0" {
				bound = 0.3
			}
			b := backend.Batch{Spans: []backend.Span{{Seq: id, Pos: 70, Tokens: tokens[70:], Want: backend.AllLogits}}}
			run(t, e, &b)
			for j, row := range b.Spans[0].Logits {
				for k, v := range row {
					if d := math.Abs(float64(v - want[i][70+j][k])); !(d <= bound) || i == from && d != 0 {
						t.Fatalf("%s imported into %s: logit %d at %d is off by %g", types[from], types[i], k, 70+j, d)
					}
				}
			}
		}
	}
}

func export(t *testing.T, e backend.Engine, id backend.SeqID) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.KV().Export(id, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLongContext: at 8,000 positions, where attention is split by position too,
// tokens give the same bits one by one, together, and on any number of threads.
func TestLongContext(t *testing.T) {
	const depth = 8000
	c := modeltest.Random{
		Layers: 2, Hidden: 192, FFN: 64, Heads: 6, KVHeads: 2, HeadDim: 32, Vocab: 264, Context: 8192,
		Embedding: tensor.Q8_0, Weights: []tensor.Type{tensor.Q4_0},
	}.Open(t)
	h := backend.KVHeader{Fingerprint: c.Fingerprint(), DType: backend.KVF32, Layers: 2, KVHeads: 2, Seq: depth, HeadDim: 32}
	var kv bytes.Buffer
	w, err := backend.NewKVWriter(&kv, h)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(60, 0))
	size, err := h.PayloadBytes()
	if err != nil {
		t.Fatal(err)
	}
	var row []byte
	for range size / 4 {
		row = binary.LittleEndian.AppendUint32(row, math.Float32bits(float32(rng.NormFloat64())))
	}
	if _, err := w.Write(row); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tokens := someTokens(45)
	for _, typ := range []string{"f32", "f16", "q8_0"} {
		var want [][]float32
		for _, threads := range []int{1, 2, 3} {
			e := loadEngine(t, c, backend.LoadOptions{Threads: threads, KVType: typ, KVTokens: 8192})
			id, err := e.KV().Reserve(depth + len(tokens))
			if err != nil {
				t.Fatal(err)
			}
			if err := e.KV().Import(id, bytes.NewReader(kv.Bytes())); err != nil {
				t.Fatal(err)
			}
			for _, chunk := range []int{1, 7, len(tokens)} {
				var got [][]float32
				for at := 0; at < len(tokens); at += chunk {
					b := backend.Batch{Spans: []backend.Span{{Seq: id, Pos: depth + at, Tokens: tokens[at:min(at+chunk, len(tokens))], Want: backend.AllLogits}}}
					run(t, e, &b)
					for _, row := range b.Spans[0].Logits {
						got = append(got, slices.Clone(row))
					}
				}
				if want == nil {
					want = got
				}
				if !sameBits(got, want) {
					t.Errorf("kv %s, %d threads, chunks of %d: not the bits of one thread and one token at a time", typ, threads, chunk)
				}
				if err := e.KV().Truncate(id, depth); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestFileCutShort: a file that loses its end after it was opened gives an
// error, not a crash.
func TestFileCutShort(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("mapped files can't be cut short everywhere")
	}
	c := openQuantized(t)
	path := c.Path()
	if err := os.Truncate(path, c.Size()/2); err != nil {
		t.Fatal(err)
	}
	if e, err := (cpu.Backend{}).Load(t.Context(), c, backend.LoadOptions{Threads: 2}); err == nil {
		e.Close()
		t.Error("half a file was loaded")
	} else if !strings.Contains(err.Error(), path) {
		t.Errorf("%v doesn't name the file", err)
	}
}
