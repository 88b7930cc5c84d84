// Package modeltest makes models for tests.
package modeltest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tensor"
)

// Random describes a GGUF model of the llama family with random weights.
type Random struct {
	Architecture                         string // "llama" if empty
	Layers                               int
	Hidden, FFN, Heads, KVHeads, HeadDim int
	Vocab, Context                       int
	Embedding                            tensor.Type
	// Weights are the types of the layers' matrices: the first seven (query, key,
	// value, output, gate, up, down) for the first layer, and so on, over again
	// when they end.
	Weights []tensor.Type
	// Dequantized stores the values of these types as F32: what an engine that
	// computes exactly makes of them.
	Dequantized bool
}

// Open writes the model to a temporary file and opens it.
func (m Random) Open(t testing.TB) checkpoint.Checkpoint {
	t.Helper()
	arch := m.Architecture
	if arch == "" {
		arch = "llama"
	}
	r := rand.New(rand.NewPCG(1, 2))
	w := gguf.NewWriter()
	add := func(name string, typ tensor.Type, shape ...int) {
		x := Tensor(r, name, typ, shape...)
		if m.Dequantized {
			x = dequantize(t, x)
		}
		w.Add(x)
	}
	w.Set("general.architecture", arch)
	w.Set("general.name", "random "+arch)
	for _, p := range []struct {
		key   string
		value int
	}{
		{"context_length", m.Context}, {"embedding_length", m.Hidden}, {"block_count", m.Layers}, {"feed_forward_length", m.FFN}, {"attention.head_count", m.Heads},
		{"attention.head_count_kv", m.KVHeads}, {"rope.dimension_count", m.HeadDim}, {"attention.key_length", m.HeadDim}, {"attention.value_length", m.HeadDim},
	} {
		w.Set(arch+"."+p.key, uint32(p.value))
	}
	w.Set(arch+".attention.layer_norm_rms_epsilon", float32(1e-5))
	add("token_embd.weight", m.Embedding, m.Vocab, m.Hidden)
	add("output_norm.weight", tensor.F32, m.Hidden)
	next := 0
	for layer := range m.Layers {
		q, kv := m.Heads*m.HeadDim, m.KVHeads*m.HeadDim
		for _, x := range []struct {
			name       string
			rows, cols int
		}{
			{"attn_q", q, m.Hidden}, {"attn_k", kv, m.Hidden}, {"attn_v", kv, m.Hidden}, {"attn_output", m.Hidden, q},
			{"ffn_gate", m.FFN, m.Hidden}, {"ffn_up", m.FFN, m.Hidden}, {"ffn_down", m.Hidden, m.FFN},
		} {
			add(fmt.Sprintf("blk.%d.%s.weight", layer, x.name), m.Weights[next%len(m.Weights)], x.rows, x.cols)
			next++
		}
		norms := map[string]int{"attn_norm": m.Hidden, "ffn_norm": m.Hidden}
		if arch == "qwen3" {
			norms["attn_q_norm"], norms["attn_k_norm"] = m.HeadDim, m.HeadDim
		}
		for _, name := range []string{"attn_norm", "ffn_norm", "attn_q_norm", "attn_k_norm"} {
			if norms[name] > 0 {
				add(fmt.Sprintf("blk.%d.%s.weight", layer, name), tensor.F32, norms[name])
			}
		}
	}
	path := filepath.Join(t.TempDir(), "random.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := w.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	c, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func dequantize(t testing.TB, x tensor.Tensor) tensor.Tensor {
	values := make([]float32, x.Elems())
	if err := x.Dequantize(values, 0, x.Rows()); err != nil {
		t.Fatal(err)
	}
	out := tensor.Tensor{Name: x.Name, Type: tensor.F32, Shape: x.Shape}
	for _, v := range values {
		out.Data = binary.LittleEndian.AppendUint32(out.Data, math.Float32bits(v))
	}
	return out
}

// scaleFields are the offsets, in a block, of its binary16 scales.
var scaleFields = map[tensor.Type][]int{
	tensor.F16: {0}, tensor.Q4_0: {0}, tensor.Q4_1: {0, 2}, tensor.Q5_1: {0, 2}, tensor.Q8_0: {0}, tensor.Q4_K: {0, 2}, tensor.Q6_K: {208},
}

// Tensor is a matrix of random blocks whose values are around 0.1, or an F32
// vector around 1.
func Tensor(r *rand.Rand, name string, t tensor.Type, shape ...int) tensor.Tensor {
	out := tensor.Tensor{Name: name, Type: t, Shape: shape}
	elems, size := t.Block()
	out.Data = make([]byte, out.Elems()/elems*size)
	for at := 0; at < len(out.Data); at += size {
		block := out.Data[at : at+size]
		if t == tensor.F32 {
			binary.LittleEndian.PutUint32(block, 0x3f800000|r.Uint32()>>10)
			continue
		}
		for i := range block {
			block[i] = byte(r.Uint32())
		}
		for _, f := range scaleFields[t] {
			scale := float32(r.NormFloat64()) / 100
			switch t {
			case tensor.F16:
				scale *= 10
			case tensor.Q4_K, tensor.Q6_K:
				scale /= 30
			}
			binary.LittleEndian.PutUint16(block[f:], tensor.F32ToF16(scale))
		}
	}
	return out
}
