package huggingface_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/huggingface"
	"github.com/inferflux/inferflux/tensor"
)

// array is what a test puts into a file: zeros unless it has data.
type array struct {
	dtype string
	shape []int
	data  string
}

// encode is a safetensors file.
func encode(t testing.TB, arrays map[string]array) string {
	t.Helper()
	header := map[string]any{}
	var data []byte
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		a := arrays[name]
		size := map[string]int{"F32": 4, "U32": 4, "F16": 2, "BF16": 2, "U8": 1}[a.dtype]
		for _, d := range a.shape {
			size *= d
		}
		bytes := make([]byte, size)
		copy(bytes, a.data)
		header[name] = map[string]any{"dtype": a.dtype, "shape": a.shape, "data_offsets": []int{len(data), len(data) + size}}
		data = append(data, bytes...)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(text)))) + string(text) + string(data)
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const config = `{"architectures": ["LlamaForCausalLM"], "hidden_size": 64}`

var plain = map[string]array{"a.weight": {"F32", []int{2, 3}, "aaaa"}, "b.bias": {"BF16", []int{4}, "bbbb"}}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"config.json": config, "model.safetensors": encode(t, plain)})
	for _, path := range []string{dir, filepath.Join(dir, "model.safetensors")} {
		c, err := checkpoint.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.Format() != checkpoint.HuggingFace || c.Path() != dir {
			t.Errorf("format %s, path %s", c.Format(), c.Path())
		}
		if v, ok := c.Metadata().Int("hidden_size"); !ok || v != 64 {
			t.Errorf("hidden_size is %d, %v", v, ok)
		}
		var names []string
		for _, e := range c.Tensors() {
			names = append(names, e.Name+" "+e.Encoding())
			x, ok := c.Tensor(e.Name)
			if !ok || x.Type != e.Type || !slices.Equal(x.Shape, e.Shape) || int64(len(x.Data)) != e.Bytes || x.Packed != nil {
				t.Errorf("%s: %v", e.Name, x)
			}
			if e.File != filepath.Join(dir, "model.safetensors") {
				t.Errorf("%s is in %s", e.Name, e.File)
			}
			c.(checkpoint.Releaser).Release(x)
			if x.Data[0] != e.Name[0] {
				t.Errorf("%s begins with %q", e.Name, x.Data[:1])
			}
		}
		if d := cmp.Diff([]string{"a.weight F32", "b.bias BF16"}, names); d != "" {
			t.Error(d)
		}
		if _, ok := c.Tensor("c"); ok {
			t.Error("there is a tensor c")
		}
		for range 2 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, ok := c.Tensor("a.weight"); ok {
			t.Error("a closed checkpoint gives out tensors")
		}
		c.(checkpoint.Releaser).Release(tensor.Tensor{Name: "a.weight"})
	}
}

func TestFiles(t *testing.T) {
	a := encode(t, map[string]array{"a": plain["a.weight"]})
	b := encode(t, map[string]array{"b": plain["b.bias"]})
	both := encode(t, map[string]array{"a": plain["a.weight"], "b": plain["b.bias"]})
	index := func(pairs ...string) string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		text, err := json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 32}, "weight_map": m})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const first, second, indexName = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"
	tests := []struct {
		name  string
		files map[string]string // beside config.json
		open  string            // below the folder
		want  string            // the tensors, or what the error has
	}{
		{"single", map[string]string{"model.safetensors": both}, "", "a b"},
		{"single with index", map[string]string{"model.safetensors": both, indexName: index("a", "model.safetensors", "b", "model.safetensors")}, "", "a b"},
		{"shards", map[string]string{first: a, second: b, indexName: index("a", first, "b", second)}, "", "a b"},
		{"shards without index", map[string]string{first: a, second: b}, "", "a b"},
		{"other names", map[string]string{"x.safetensors": a, "y.safetensors": b, indexName: index("a", "x.safetensors", "b", "y.safetensors")}, "", "a b"},
		{"early MLX", map[string]string{"weights.00.safetensors": a, "weights.01.safetensors": b}, "", "a b"},
		{"the only one", map[string]string{"consolidated.safetensors": a}, "", "a"},
		{"the only one, by name", map[string]string{"consolidated.safetensors": a, "README.md": ""}, "consolidated.safetensors", "a"},
		{"beside an adapter", map[string]string{"model.safetensors": a, "adapters.safetensors": b}, "", "a"},
		{"beside a leftover index", map[string]string{"model.safetensors": both, indexName: index("a", first, "b", second)}, "", "a b"},
		{"beside a pickle", map[string]string{"model.safetensors": a, "pytorch_model.bin": "", "modeling_llama.py": "raise"}, "", "a"},

		{"one shard by name", map[string]string{first: a, second: b}, second, second + " is one of the 2 files of a model: open the folder"},
		{"not the model", map[string]string{"model.safetensors": a, "extra.safetensors": b}, "extra.safetensors", "extra.safetensors is not the model of its folder, which is model.safetensors"},
		{"missing shard", map[string]string{first: a, indexName: index("a", first, "b", second)}, "", "parts of the model are missing: " + second},
		{"missing shards without index", map[string]string{"model-00002-of-00003.safetensors": a}, "", "missing: model-00001-of-00003.safetensors, model-00003-of-00003.safetensors"},
		{"index names a tensor that isn't", map[string]string{"model.safetensors": a, indexName: index("a", "model.safetensors", "b", "model.safetensors")}, "", "b should be in model.safetensors and isn't"},
		{"index names another shard", map[string]string{first: a, second: b, indexName: index("a", second, "b", second, "a", first, "b", first)}, "", "b should be in " + first + " and is"},
		{"index leads out", map[string]string{"model.safetensors": a, indexName: index("a", "../model.safetensors")}, "", `"../model.safetensors" is not a file of tensors in the folder`},
		{"index names a pickle", map[string]string{"model.bin": a, indexName: index("a", "model.bin")}, "", `"model.bin" is not a file of tensors`},
		{"index is no JSON", map[string]string{"model.safetensors": a, indexName: "hello"}, "", "the index is damaged"},
		{"index is empty", map[string]string{"model.safetensors": a, indexName: "{}"}, "", "weight_map names no tensors"},
		{"a tensor twice", map[string]string{first: a, second: a}, "", `tensor "a" is both in ` + first + " and in " + second},
		{"ambiguous", map[string]string{"x.safetensors": a, "y.safetensors": b}, "", "which of x.safetensors, y.safetensors is the model?"},
		{"an adapter", map[string]string{"adapter_model.safetensors": a}, "", "an adapter, not a model"},
		{"a pickle", map[string]string{"pytorch_model.bin": "PK", "modeling_llama.py": "raise"}, "", "can run code"},
		{"nothing", nil, "", "it has no weights"},
		{"damaged", map[string]string{"model.safetensors": a[:len(a)-1]}, "", "the file is truncated"},
		{"a folder for a file", map[string]string{"model.safetensors/": ""}, "", "not a regular file"},
		{"no config", map[string]string{"model.safetensors": a, "config.json": "-"}, "", "it has no config.json"},
		{"config is a list", map[string]string{"model.safetensors": a, "config.json": "[]"}, "", "config.json is not a JSON object"},
		{"config is cut", map[string]string{"model.safetensors": a, "config.json": `{"a": {`}, "", "config.json"},
		{"config goes on", map[string]string{"model.safetensors": a, "config.json": `{} {}`}, "", "more text after the end"},
		{"config is deep", map[string]string{"model.safetensors": a, "config.json": strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)}, "", "nested more than 16 deep"},
		{"config's keys are long", map[string]string{"model.safetensors": a, "config.json": `{"` + strings.Repeat("k", 600) + `": 1}`}, "", "more than 512 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{"config.json": config}
			maps.Copy(files, tt.files)
			for name := range files {
				if sub, ok := strings.CutSuffix(name, "/"); ok {
					if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
						t.Fatal(err)
					}
					delete(files, name)
				}
			}
			if files["config.json"] == "-" {
				delete(files, "config.json")
			}
			write(t, dir, files)
			c, err := checkpoint.Open(filepath.Join(dir, tt.open))
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
					t.Errorf("error %q, want %q", err, tt.want)
				}
				if strings.Contains(tt.want, "missing:") && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%q isn't fs.ErrNotExist", err)
				}
				return
			}
			defer c.Close()
			var names []string
			for _, e := range c.Tensors() {
				names = append(names, e.Name)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("tensors %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := huggingface.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestMetadata(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"model.safetensors": encode(t, plain), "config.json": `{
		"text": "é", "yes": true, "int": -7, "big": 18446744073709551615, "float": 1e-5, "whole": 10000.0, "huge": 1e999, "null": null,
		"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "deep": {"er": [1, 2]}},
		"strings": ["a", "b"], "ints": [1, 2], "floats": [1, 2.5], "bools": [true], "mixed": [1, "a"], "empty": [], "lists": [[1], ["x"]],
		"objects": [{"a": 1}, {"b": {"c": 2}}], "twice": 1, "twice": 2}`})
	c, err := huggingface.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	md := c.Metadata()
	want := map[string]any{
		"text": "é", "yes": true, "int": int64(-7), "big": uint64(1<<64 - 1), "float": 1e-5, "whole": 10000.0, "huge": nil, "null": nil,
		"rope_scaling.rope_type": "llama3", "rope_scaling.factor": 8.0, "rope_scaling.deep.er": []int64{1, 2},
		"strings": []string{"a", "b"}, "ints": []int64{1, 2}, "floats": []float64{1, 2.5}, "bools": []bool{true}, "mixed": []any{int64(1), "a"},
		"empty": []int64{}, "lists": []any{[]int64{1}, []string{"x"}}, "objects": []any{nil, nil}, "twice": int64(2),
	}
	got := map[string]any{}
	for _, key := range md.Keys() {
		if got[key], _ = md.Value(key); got[key] == nil {
			if _, ok := md.Value(key); !ok {
				t.Errorf("%s is a key without a value", key)
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if md.Keys()[0] != "text" || md.Keys()[8] != "rope_scaling.rope_type" {
		t.Errorf("order of keys: %v", md.Keys())
	}
	// Every getter, with a key of its type and one that isn't.
	s, ok1 := md.String("text")
	_, no1 := md.String("int")
	b, ok2 := md.Bool("yes")
	_, no2 := md.Bool("text")
	i, ok3 := md.Int("int")
	_, no3 := md.Int("float")
	f, ok4 := md.Float("int")
	_, no4 := md.Float("text")
	ss, ok5 := md.Strings("strings")
	_, no5 := md.Strings("text")
	is, ok6 := md.Ints("ints")
	_, no6 := md.Ints("floats")
	fl, ok7 := md.Floats("ints")
	_, no7 := md.Floats("strings")
	_, no8 := md.Value("absent")
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7) || no1 || no2 || no3 || no4 || no5 || no6 || no7 || no8 {
		t.Errorf("found: %v, found by mistake: %v", []bool{ok1, ok2, ok3, ok4, ok5, ok6, ok7}, []bool{no1, no2, no3, no4, no5, no6, no7, no8})
	}
	if s != "é" || !b || i != -7 || f != -7 || !slices.Equal(ss, []string{"a", "b"}) || !slices.Equal(is, []int{1, 2}) || !slices.Equal(fl, []float64{1, 2}) {
		t.Error("wrong values")
	}
}

func TestFingerprint(t *testing.T) {
	long := func(at int) array {
		data := make([]byte, 4000)
		data[at] = 1
		return array{"F32", []int{1000}, string(data)}
	}
	base := map[string]string{"config.json": config, "model.safetensors": encode(t, map[string]array{"a": long(2000)})}
	fingerprint := func(files map[string]string) string {
		t.Helper()
		dir := t.TempDir()
		write(t, dir, files)
		c, err := huggingface.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		f := c.Fingerprint()
		c.Close()
		if len(f) != 64 || c.Fingerprint() != f {
			t.Errorf("fingerprint %q, closed %q", f, c.Fingerprint())
		}
		return f
	}
	want := fingerprint(base)
	if got := fingerprint(base); got != want {
		t.Error("it depends on where the folder lies")
	}
	for name, change := range map[string]map[string]string{
		"configuration": {"config.json": config + " "},
		"values":        {"model.safetensors": encode(t, map[string]array{"a": long(2001)})},
		"name":          {"model.safetensors": encode(t, map[string]array{"b": long(2000)})},
		"type":          {"model.safetensors": encode(t, map[string]array{"a": {"F16", []int{2000}, long(2000).data}})},
	} {
		files := maps.Clone(base)
		maps.Copy(files, change)
		if fingerprint(files) == want {
			t.Errorf("another %s gives the same fingerprint", name)
		}
	}
}

// FuzzConfig: whatever config.json says, the folder is refused, or its tensors can
// be read.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(config))
	f.Add([]byte(`{"quantization": {"group_size": 32, "bits": 4, "mode": "affine", "q": {"bits": 8, "group_size": 32}, "plain": false}, "a": [[{}], [1.5, null]]}`))
	f.Add([]byte(`{"quantization_config": {"quant_method": "gptq"}}`))
	dir := f.TempDir()
	arrays := map[string]array{"plain.weight": {"F32", []int{2, 3}, ""}, "q.weight": {"U32", []int{2, 16}, ""}, "q.scales": {"F16", []int{2, 4}, ""}, "q.biases": {"F16", []int{2, 4}, ""}}
	write(f, dir, map[string]string{"model.safetensors": encode(f, arrays)})
	f.Fuzz(func(t *testing.T, content []byte) {
		write(t, dir, map[string]string{"config.json": string(content)})
		c, err := huggingface.Open(dir)
		if err != nil {
			return
		}
		defer c.Close()
		for _, key := range c.Metadata().Keys() {
			if _, ok := c.Metadata().Value(key); !ok {
				t.Errorf("%q is a key without a value", key)
			}
		}
		for _, e := range c.Tensors() {
			x, _ := c.Tensor(e.Name)
			if err := x.Dequantize(make([]float32, x.Elems()), 0, x.Rows()); err != nil && x.CanDequantize() {
				t.Error(err)
			}
		}
	})
}
