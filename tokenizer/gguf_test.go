package tokenizer_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tokenizer"
)

// modelPath is the GGUF file that INFERFLUX_TEST_MODEL names.
func modelPath(t testing.TB) string {
	t.Helper()
	path := os.Getenv("INFERFLUX_TEST_MODEL")
	if path == "" {
		t.Skip("INFERFLUX_TEST_MODEL does not name a GGUF file of SmolLM2-135M-Instruct")
	}
	return path
}

// smolLM2 is the tokenizer of SmolLM2-135M-Instruct.
func smolLM2(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	path := modelPath(t)
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := tokenizer.FromGGUF(f.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	if tok.PreTokenizer() != "smollm" || tok.VocabSize() != 49152 {
		t.Skipf("%s isn't SmolLM2: %s, %d tokens", path, tok.PreTokenizer(), tok.VocabSize())
	}
	return tok
}

func TestSmolLM2(t *testing.T) {
	tok := smolLM2(t)
	all, refs := texts(t, "smollm2")
	compare(t, tok, all, refs)
	if tok.AddsBOS() {
		t.Error("adds a bos token, the file says no")
	}
	if eos, ok := tok.EOS(); !ok || tok.Text(eos) != "<|im_end|>" {
		t.Errorf("eos is %d, %t", eos, ok)
	}
	if ends := tok.EndOfGeneration(); !slices.Equal(ends, []int32{0, 2}) {
		t.Errorf("answers end with %v, want <|endoftext|> and <|im_end|>", ends)
	}
}

// metadata is GGUF metadata held in a map.
type metadata map[string]any

func get[T any](m metadata, key string) (T, bool) {
	v, ok := m[key].(T)
	return v, ok
}

func (m metadata) Keys() []string                      { return slices.Collect(maps.Keys(m)) }
func (m metadata) Value(key string) (any, bool)        { v, ok := m[key]; return v, ok }
func (m metadata) String(key string) (string, bool)    { return get[string](m, key) }
func (m metadata) Bool(key string) (bool, bool)        { return get[bool](m, key) }
func (m metadata) Int(key string) (int, bool)          { return get[int](m, key) }
func (m metadata) Float(key string) (float64, bool)    { return get[float64](m, key) }
func (m metadata) Strings(key string) ([]string, bool) { return get[[]string](m, key) }
func (m metadata) Ints(key string) ([]int, bool)       { return get[[]int](m, key) }
func (m metadata) Floats(key string) ([]float64, bool) { return get[[]float64](m, key) }
func (m metadata) with(key string, value any) metadata {
	m = maps.Clone(m)
	if m[key] = value; value == nil {
		delete(m, key)
	}
	return m
}

// convert writes a fixture as a converter to GGUF would.
func convert(t testing.TB, fixture string) metadata {
	t.Helper()
	var file struct {
		Model struct {
			Vocab  map[string]int
			Merges [][]string
		}
		Added []struct {
			ID      int
			Content string
			Special bool
		} `json:"added_tokens"`
	}
	readJSON(t, fixture+".json", &file)
	size := 0
	for _, id := range file.Model.Vocab {
		size = max(size, id+1)
	}
	for _, a := range file.Added {
		size = max(size, a.ID+1)
	}
	tokens, types, scores := make([]string, size), make([]int, size), make([]float64, size)
	for text, id := range file.Model.Vocab {
		tokens[id], types[id] = text, int(tokenizer.Normal)
		if len(text) == 6 && text[:3] == "<0x" {
			types[id] = int(tokenizer.Byte)
		}
	}
	for _, a := range file.Added {
		tokens[a.ID], types[a.ID] = a.Content, int(tokenizer.UserDefined)
		if a.Special {
			types[a.ID] = int(tokenizer.Control)
		}
		if a.Content == "<unk>" {
			types[a.ID] = int(tokenizer.Unknown)
		}
	}
	for id := range scores {
		scores[id] = -float64(id)
	}
	md := metadata{"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}
	switch fixture {
	case "llama-2", "gemma":
		md["tokenizer.ggml.model"] = "llama"
		md["tokenizer.ggml.scores"] = scores
		md["tokenizer.ggml.bos_token_id"] = slices.Index(tokens, map[string]string{"llama-2": "<s>", "gemma": "<bos>"}[fixture])
		md["tokenizer.ggml.add_space_prefix"] = fixture == "llama-2"
		md["tokenizer.ggml.unknown_token_id"] = slices.Index(tokens, "<unk>")
	default:
		var merges []string
		for _, pair := range file.Model.Merges {
			merges = append(merges, pair[0]+" "+pair[1])
		}
		md["tokenizer.ggml.model"] = "gpt2"
		md["tokenizer.ggml.pre"] = fixture
		md["tokenizer.ggml.merges"] = merges
		md["tokenizer.ggml.bos_token_id"] = 1
		md["tokenizer.ggml.eos_token_id"] = 2
	}
	return md
}

func TestGGUFEqualsHuggingFace(t *testing.T) {
	for _, name := range fixtures {
		if name == "mistral" || name == "options" {
			continue // rules that GGUF has no keys for
		}
		t.Run(name, func(t *testing.T) {
			tok, err := tokenizer.FromGGUF(convert(t, name))
			if err != nil {
				t.Fatal(err)
			}
			all, refs := texts(t, name)
			compare(t, tok, all, refs)
		})
	}
}

func TestGGUFSpecialTokens(t *testing.T) {
	for _, c := range []struct {
		name, fixture, key string
		value              any
		addsBOS            bool
		ends               []int32
	}{
		{"llama-bpe adds bos by default", "llama-bpe", "", nil, true, []int32{0, 2}},
		{"the file's word counts", "llama-bpe", "tokenizer.ggml.add_bos_token", false, false, []int32{0, 2}},
		{"gpt-2 doesn't", "gpt-2", "", nil, false, []int32{0, 2}},
		{"unless the file says so", "gpt-2", "tokenizer.ggml.add_bos_token", true, true, []int32{0, 2}},
		{"no bos token", "llama-bpe", "tokenizer.ggml.bos_token_id", -1, false, []int32{0, 2}},
		{"bos outside the vocabulary", "llama-bpe", "tokenizer.ggml.bos_token_id", 1 << 30, false, []int32{0, 2}},
		{"another end of turn", "gpt-2", "tokenizer.ggml.eot_token_id", 7, false, []int32{0, 2, 7}},
		{"sentencepiece defaults", "llama-2", "tokenizer.ggml.bos_token_id", nil, true, []int32{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			md := convert(t, c.fixture)
			if c.key != "" {
				md = md.with(c.key, c.value)
			}
			tok, err := tokenizer.FromGGUF(md)
			if err != nil {
				t.Fatal(err)
			}
			if got := tok.AddsBOS(); got != c.addsBOS {
				t.Errorf("AddsBOS is %t", got)
			}
			ids := tok.Encode(nil, "x", tokenizer.EncodeOptions{AddSpecial: true})
			bos, ok := tok.BOS()
			if got := ok && ids[0] == bos; got != c.addsBOS {
				t.Errorf("encoding gives %v, bos is %d", ids, bos)
			}
			if got := tok.EndOfGeneration(); !slices.Equal(got, c.ends) {
				t.Errorf("answers end with %v, want %v", got, c.ends)
			}
		})
	}
}

func TestGGUFErrors(t *testing.T) {
	bpe, spm := convert(t, "gpt-2"), convert(t, "llama-2")
	for _, c := range []struct {
		name  string
		from  metadata
		key   string
		value any
		want  string
	}{
		{"no tokenizer", bpe, "model", nil, "tokenizer.ggml.model is missing"},
		{"unigram", bpe, "model", "t5", `tokenizer.ggml.model "t5" isn't supported`},
		{"no tokens", bpe, "tokens", nil, "tokenizer.ggml.tokens is missing"},
		{"tokens of another type", bpe, "tokens", []int{1}, "tokenizer.ggml.tokens is missing, empty or no list of strings"},
		{"types of another length", bpe, "token_type", []int{1, 2}, "token_type has 2 entries for 642 tokens"},
		{"no pre-tokenizer", bpe, "pre", nil, "tokenizer.ggml.pre is missing"},
		{"unknown pre-tokenizer", bpe, "pre", "viking", `tokenizer.ggml.pre "viking" isn't supported`},
		{"no merges", bpe, "merges", nil, "tokenizer.ggml.merges is missing"},
		{"a merge of one token", bpe, "merges", []string{"a b", "ab"}, `merge 1, "ab"`},
		{"an empty merge", bpe, "merges", []string{""}, `merge 0, ""`},
		{"no scores", spm, "scores", nil, "scores has 0 entries"},
		{"a byte that is none", spm, "token_type", slices.Repeat([]int{6}, len(spm["tokenizer.ggml.tokens"].([]string))), `token 0, "<unk>", is of type byte`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := tokenizer.FromGGUF(c.from.with("tokenizer.ggml."+c.key, c.value))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}
