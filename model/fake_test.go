package model_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/tensor"
)

// fake is a checkpoint in memory: metadata, and tensors of zeros by shape.
type fake struct {
	format  checkpoint.Format
	meta    metadata
	tensors map[string][]int
	types   map[string]tensor.Type // F32 unless named here
	data    map[string][]byte      // zeros unless named here
}

func (f *fake) Close() error                  { return nil }
func (f *fake) Format() checkpoint.Format     { return f.format }
func (f *fake) Path() string                  { return "tiny" }
func (f *fake) Size() int64                   { return 1 }
func (f *fake) Fingerprint() string           { return "tiny" }
func (f *fake) Metadata() checkpoint.Metadata { return f.meta }

func (f *fake) Tensors() []checkpoint.Entry {
	var all []checkpoint.Entry
	for _, name := range slices.Sorted(maps.Keys(f.tensors)) {
		t, _ := f.Tensor(name)
		all = append(all, checkpoint.Entry{Name: name, Type: t.Type, Shape: t.Shape})
	}
	return all
}

func (f *fake) Tensor(name string) (tensor.Tensor, bool) {
	shape, ok := f.tensors[name]
	t := tensor.Tensor{Name: name, Type: tensor.F32, Shape: shape, Data: f.data[name]}
	if typ, named := f.types[name]; named {
		t.Type = typ
	}
	return t, ok
}

// metadata are key-value pairs of Go's plain types.
type metadata map[string]any

func (m metadata) Keys() []string               { return slices.Sorted(maps.Keys(m)) }
func (m metadata) Value(key string) (any, bool) { v, ok := m[key]; return v, ok }
func (m metadata) String(key string) (string, bool) {
	s, ok := m[key].(string)
	return s, ok
}
func (m metadata) Bool(key string) (bool, bool)        { v, ok := m[key].(bool); return v, ok }
func (m metadata) Int(key string) (int, bool)          { v, ok := m[key].(int); return v, ok }
func (m metadata) Strings(key string) ([]string, bool) { v, ok := m[key].([]string); return v, ok }
func (m metadata) Ints(key string) ([]int, bool)       { v, ok := m[key].([]int); return v, ok }
func (m metadata) Floats(key string) ([]float64, bool) { v, ok := m[key].([]float64); return v, ok }
func (m metadata) Float(key string) (float64, bool) {
	if i, ok := m[key].(int); ok {
		return float64(i), true
	}
	v, ok := m[key].(float64)
	return v, ok
}

// tinyGGUF is a llama of two layers: hidden 32, 4 heads of 8, 2 KV heads, an MLP
// of 64, a vocabulary of 100, in GGUF's names.
func tinyGGUF() *fake {
	f := &fake{format: checkpoint.GGUF, tensors: map[string][]int{}, types: map[string]tensor.Type{}, data: map[string][]byte{}, meta: metadata{
		"general.architecture": "llama", "general.name": "tiny", "llama.context_length": 256, "llama.embedding_length": 32,
		"llama.block_count": 2, "llama.feed_forward_length": 64, "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
		"llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 10000.0,
	}}
	f.tensors["token_embd.weight"] = []int{100, 32}
	f.tensors["output_norm.weight"] = []int{32}
	f.tensors["output.weight"] = []int{100, 32}
	for layer := range 2 {
		for name, shape := range map[string][]int{
			"attn_norm": {32}, "attn_q": {32, 32}, "attn_k": {16, 32}, "attn_v": {16, 32}, "attn_output": {32, 32},
			"ffn_norm": {32}, "ffn_gate": {64, 32}, "ffn_up": {64, 32}, "ffn_down": {32, 64},
		} {
			f.tensors[fmt.Sprintf("blk.%d.%s.weight", layer, name)] = shape
		}
	}
	return f
}

// tinyHF is the same model in Hugging Face's names.
func tinyHF() *fake {
	f := tinyGGUF()
	f.format = checkpoint.HuggingFace
	f.meta = metadata{
		"architectures": []string{"LlamaForCausalLM"}, "hidden_act": "silu", "max_position_embeddings": 256, "hidden_size": 32,
		"num_hidden_layers": 2, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
		"rope_theta": 10000.0, "sliding_window": nil,
	}
	names := strings.NewReplacer("token_embd", "model.embed_tokens", "output_norm", "model.norm", "output.weight", "lm_head.weight",
		"blk.", "model.layers.", "attn_norm", "input_layernorm", "attn_q", "self_attn.q_proj", "attn_k", "self_attn.k_proj",
		"attn_v", "self_attn.v_proj", "attn_output.weight", "self_attn.o_proj.weight", "ffn_norm", "post_attention_layernorm",
		"ffn_gate", "mlp.gate_proj", "ffn_up", "mlp.up_proj", "ffn_down", "mlp.down_proj")
	tensors := f.tensors
	f.tensors = map[string][]int{}
	for name, shape := range tensors {
		f.tensors[names.Replace(name)] = shape
	}
	return f
}

// recorder is a Loader and an Ops that write down what they are asked for, in a
// form that doesn't depend on the tensors' names, and check the shapes.
type recorder struct {
	log    []string
	shapes [][2]int // of weights
	ropes  []*nn.Rope
	wanted int
	rows   int
}

func (r *recorder) add(out, in int) (nn.Weight, error) {
	r.shapes = append(r.shapes, [2]int{out, in})
	return nn.Weight{Ref: len(r.shapes), Out: out, In: in}, nil
}

func (r *recorder) Linear(parts ...tensor.Tensor) (nn.Weight, error) {
	out := 0
	for _, p := range parts {
		out += p.Rows()
	}
	return r.add(out, parts[0].Cols())
}

func (r *recorder) Experts(parts [][]tensor.Tensor) (nn.Weight, error) {
	w, err := r.Linear(parts[0]...)
	for _, p := range parts[1:] {
		rows := 0
		for _, t := range p {
			rows += t.Rows()
		}
		must(rows == w.Out, "experts of %d and %d rows", w.Out, rows)
	}
	return w, err
}

func (r *recorder) Embedding(t tensor.Tensor) (nn.Weight, error) { return r.add(t.Rows(), t.Cols()) }

func (r *recorder) Vector(parts ...tensor.Tensor) (nn.Weight, error) {
	n := 0
	for _, p := range parts {
		n += p.Elems()
	}
	return r.add(n, 0)
}

// ops is the recorder as nn.Ops.
type ops struct{ *recorder }

func (r *recorder) note(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func must(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}

func (o ops) Embed(w nn.Weight) nn.Tensor {
	o.note("embed %d", w.Ref)
	return nn.Tensor{Ref: 1, Rows: o.rows, Cols: w.In}
}

func (o ops) Linear(x nn.Tensor, w, b nn.Weight) nn.Tensor {
	must(x.Cols == w.In && (!b.Present() || b.Out == w.Out), "linear of %v by %v + %v", x, w, b)
	o.note("linear %d +%d: %d to %d", w.Ref, b.Ref, w.In, w.Out)
	return nn.Tensor{Ref: 1, Rows: x.Rows, Cols: w.Out}
}

func (o ops) RMSNorm(x nn.Tensor, w nn.Weight, eps float32) nn.Tensor {
	must(x.Cols%w.Out == 0, "norm of %v by %v", x, w)
	o.note("norm %d eps %g", w.Ref, eps)
	return x
}

func (o ops) LayerNorm(x nn.Tensor, w, b nn.Weight, eps float32) nn.Tensor {
	must(x.Cols == w.Out && (!b.Present() || b.Out == w.Out), "layer norm of %v by %v + %v", x, w, b)
	o.note("layer norm %d +%d eps %g", w.Ref, b.Ref, eps)
	return x
}

func (o ops) ScaleByPosition(x nn.Tensor, slope float32, length int) nn.Tensor {
	must(length > 0, "scale by %d positions", length)
	o.note("scale by position, %g per e-fold of %d", slope, length)
	return x
}

func (o ops) SoftCap(x nn.Tensor, bound float32) nn.Tensor {
	o.note("cap at %g", bound)
	return x
}

func (o ops) Activate(x nn.Tensor, act nn.Activation) nn.Tensor {
	o.note("activation %d", act)
	return x
}

func (o ops) Add(a, b nn.Tensor) nn.Tensor {
	must(a.Rows == b.Rows && a.Cols == b.Cols, "sum of %v and %v", a, b)
	return a
}

func (o ops) Scale(x nn.Tensor, s float32) nn.Tensor {
	o.note("scale by %g", s)
	return x
}

func (o ops) Gated(x nn.Tensor, act nn.Activation) nn.Tensor {
	x.Cols /= 2
	return x
}

func (o ops) Experts(x, logits nn.Tensor, m *nn.Experts) nn.Tensor {
	must(logits.Cols == m.Count && x.Cols == m.Up.In && m.Up.Out == 2*m.Down.In, "experts %+v of %v by %v", m, x, logits)
	o.note("experts %+v", *m)
	x.Cols = m.Down.Out
	return x
}

func (o ops) Slice(x nn.Tensor, from, to int) nn.Tensor {
	must(0 <= from && from <= to && to <= x.Cols, "columns %d to %d of %v", from, to, x)
	x.Cols = to - from
	return x
}

func (o ops) Rope(x nn.Tensor, headDim int, r *nn.Rope) nn.Tensor {
	must(x.Cols%headDim == 0 && len(r.InvFreq) == r.Dims/2, "rope %+v of %v", r, x)
	o.recorder.ropes = append(o.recorder.ropes, r)
	return x
}

func (o ops) Attend(q, k, v nn.Tensor, a nn.Attention) nn.Tensor {
	must(q.Cols == a.Heads*a.HeadDim && k.Cols == a.KVHeads*a.HeadDim && k.Cols == v.Cols, "attention %+v of %v, %v, %v", a, q, k, v)
	said := fmt.Sprintf("attend %+v", a)
	if !a.Sinks.Present() {
		said = strings.Replace(said, " Sinks:{Ref:0 Out:0 In:0}", "", 1)
	}
	o.note("%s", said)
	return q
}

func (o ops) Wanted(x nn.Tensor) nn.Tensor {
	x.Rows = o.wanted
	return x
}
