package cpu_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tensor"
)

// scaleFields are the offsets, in a block, of its binary16 scales.
var scaleFields = map[tensor.Type][]int{
	tensor.F16: {0}, tensor.Q4_0: {0}, tensor.Q4_1: {0, 2}, tensor.Q5_1: {0, 2}, tensor.Q8_0: {0}, tensor.Q4_K: {0, 2}, tensor.Q6_K: {208},
}

// randomTensor is a matrix of random blocks whose values are around 0.1.
func randomTensor(r *rand.Rand, name string, t tensor.Type, shape ...int) tensor.Tensor {
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
			if t == tensor.F16 {
				scale *= 10
			}
			if t == tensor.Q4_K || t == tensor.Q6_K {
				scale /= 30
			}
			binary.LittleEndian.PutUint16(block[f:], tensor.F32ToF16(scale))
		}
	}
	return out
}

// writeQuantized writes a llama of two layers whose weights are of many types.
func writeQuantized(t testing.TB) string {
	t.Helper()
	const hidden, ffn, heads, kvHeads, headDim, vocab = 256, 256, 4, 2, 32, 264
	r := rand.New(rand.NewPCG(1, 2))
	w := gguf.NewWriter()
	w.Set("general.architecture", "llama")
	w.Set("general.name", "random quantized llama")
	for key, v := range map[string]uint32{"context_length": 512, "embedding_length": hidden, "block_count": 2, "feed_forward_length": ffn,
		"attention.head_count": heads, "attention.head_count_kv": kvHeads, "rope.dimension_count": headDim, "attention.key_length": headDim, "attention.value_length": headDim} {
		w.Set("llama."+key, v)
	}
	w.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	w.Add(randomTensor(r, "token_embd.weight", tensor.Q8_0, vocab, hidden))
	w.Add(randomTensor(r, "output_norm.weight", tensor.F32, hidden))
	types := [2][7]tensor.Type{
		{tensor.Q4_1, tensor.Q4_1, tensor.Q6_K, tensor.Q4_0, tensor.Q4_K, tensor.Q4_K, tensor.Q6_K},
		{tensor.Q8_0, tensor.F16, tensor.F32, tensor.Q5_1, tensor.Q4_1, tensor.Q4_1, tensor.Q4_1},
	}
	for layer, ts := range types {
		for i, m := range []struct {
			name      string
			rows, col int
		}{
			{"attn_q", heads * headDim, hidden}, {"attn_k", kvHeads * headDim, hidden}, {"attn_v", kvHeads * headDim, hidden},
			{"attn_output", hidden, heads * headDim}, {"ffn_gate", ffn, hidden}, {"ffn_up", ffn, hidden}, {"ffn_down", hidden, ffn},
		} {
			w.Add(randomTensor(r, fmt.Sprintf("blk.%d.%s.weight", layer, m.name), ts[i], m.rows, m.col))
		}
		for _, name := range []string{"attn_norm", "ffn_norm"} {
			w.Add(randomTensor(r, fmt.Sprintf("blk.%d.%s.weight", layer, name), tensor.F32, hidden))
		}
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "quantized.gguf")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func openQuantized(t testing.TB) checkpoint.Checkpoint {
	t.Helper()
	c, err := gguf.Open(writeQuantized(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
