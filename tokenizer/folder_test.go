package tokenizer_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/model/modeltest"
	"github.com/inferflux/inferflux/tokenizer"
)

// TestFromCheckpoint: the tokenizer of a folder is that of the same model's GGUF
// file.
func TestFromCheckpoint(t *testing.T) {
	file, err := tokenizer.FromCheckpoint(modeltest.Open(t, "llama-gqa-tied.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := tokenizer.FromCheckpoint(modeltest.Open(t, "llama-gqa-tied"))
	if err != nil {
		t.Fatal(err)
	}
	if file.VocabSize() != folder.VocabSize() || file.PreTokenizer() != folder.PreTokenizer() {
		t.Errorf("%d tokens split by %s, the file has %d by %s", folder.VocabSize(), folder.PreTokenizer(), file.VocabSize(), file.PreTokenizer())
	}
	if a, b := file.EndOfGeneration(), folder.EndOfGeneration(); !slices.Equal(a, b) {
		t.Errorf("an answer ends with %v, the file says %v", b, a)
	}
	o := tokenizer.EncodeOptions{Special: true, AddSpecial: true}
	for _, text := range []string{"", "the thing and then 1234", "<|im_start|>user\nGrüße 🙂<|im_end|>"} {
		if a, b := file.Encode(nil, text, o), folder.Encode(nil, text, o); !slices.Equal(a, b) {
			t.Errorf("%q is %v, the file gives %v", text, b, a)
		}
	}
}

func TestFromFolder(t *testing.T) {
	tokens, err := os.ReadFile(filepath.Join(modeltest.Path(t, "llama-gqa-tied"), "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	// Of its own the vocabulary ends answers with 0 and 2, by their spelling.
	base := map[string]string{"tokenizer.json": string(tokens)}
	tests := []struct {
		name  string
		files map[string]string
		ends  []int32
		want  string // error
	}{
		{"tokenizer.json alone", nil, []int32{0, 2}, ""},
		{"one id", map[string]string{"config.json": `{"eos_token_id": 7}`}, []int32{0, 2, 7}, ""},
		{"a list", map[string]string{"config.json": `{"eos_token_id": [7, 9]}`}, []int32{0, 2, 7, 9}, ""},
		{"null", map[string]string{"config.json": `{"eos_token_id": null}`}, []int32{0, 2}, ""},
		{"generation before model", map[string]string{"config.json": `{"eos_token_id": 7}`, "generation_config.json": `{"eos_token_id": [9]}`}, []int32{0, 2, 9}, ""},
		{"generation without", map[string]string{"config.json": `{"eos_token_id": 7}`, "generation_config.json": `{"top_p": 1}`}, []int32{0, 2, 7}, ""},
		{"outside the vocabulary", map[string]string{"config.json": `{"eos_token_id": [7, 5000, -1, 99999999999]}`}, []int32{0, 2, 7}, ""},
		{"tokenizer_config.json", map[string]string{"tokenizer_config.json": `{"eos_token": "A"}`}, []int32{0, 2, 68}, ""},
		{"no id", map[string]string{"config.json": `{"eos_token_id": "end"}`}, nil, "neither a token id nor a list"},
		{"broken", map[string]string{"generation_config.json": `{`}, nil, "generation_config.json"},
		{"SentencePiece only", map[string]string{"tokenizer.json": "", "tokenizer.model": "x"}, nil, "has no tokenizer.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			files := maps.Clone(base)
			maps.Copy(files, tt.files)
			for name, text := range files {
				if text == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := tokenizer.FromFolder(dir)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.EndOfGeneration(), tt.ends) {
				t.Errorf("an answer ends with %v, want %v", got.EndOfGeneration(), tt.ends)
			}
		})
	}
}
