package llamacpp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/llamacpp"
)

// TestModel needs a libllama: LLAMA_CPP_LIB or one of the places where Find looks.
func TestModel(t *testing.T) {
	path := llamacpp.Find()
	if path == "" {
		t.Skip("no libllama was found: set LLAMA_CPP_LIB to the folder of one")
	}
	file := filepath.Join("..", "model", "testdata", "llama-gqa-tied.gguf")
	o := llamacpp.Options{Threads: 2, Positions: 64, Sequences: 2, Batch: 32, HostOnly: true}
	if _, err := llamacpp.Open(path, filepath.Join(t.TempDir(), "none.gguf"), o); err == nil || !strings.Contains(err.Error(), "none.gguf") {
		t.Errorf("a file that isn't there: %v", err)
	}
	m, err := llamacpp.Open(path, file, o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	t.Logf("%d tokens, %s", m.Vocab(), m.About())
	var prompt []llamacpp.Token
	for i := range int32(32) {
		prompt = append(prompt, llamacpp.Token{ID: 3 + i%8, Position: i, Logits: i == 31})
	}
	for range 2 {
		if err := m.Decode(prompt); err != nil {
			t.Fatal(err)
		}
		if err := m.Decode([]llamacpp.Token{{ID: 5, Position: 32, Logits: true}, {ID: 6, Sequence: 1, Logits: true}}); err != nil {
			t.Fatal(err)
		}
		for s := range int32(2) {
			if err := m.Truncate(s, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := m.Decode(make([]llamacpp.Token, 33)); err == nil {
		t.Error("a batch that is too large was taken")
	}
}

func TestNoLibrary(t *testing.T) {
	empty := t.TempDir()
	for _, path := range []string{empty, filepath.Join(empty, "nowhere")} {
		if _, err := llamacpp.Open(path, "model.gguf", llamacpp.Options{}); err == nil || !strings.Contains(err.Error(), empty) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, name := range []string{"libllama.so", "libggml.so", "model.gguf"} {
		if err := os.WriteFile(filepath.Join(empty, name), []byte("not a library"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := llamacpp.Open(empty, filepath.Join(empty, "model.gguf"), llamacpp.Options{}); err == nil || !strings.Contains(err.Error(), "can't be loaded") {
		t.Errorf("files that are no libraries: %v", err)
	}
}
