package modeltest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/checkpoint"
	_ "github.com/inferflux/inferflux/checkpoint/gguf"        // registers the format
	_ "github.com/inferflux/inferflux/checkpoint/huggingface" // registers the format
)

// Fixtures lists the tiny models in model/testdata for which logits are known:
// GGUF files ("llama-mha.gguf"), Hugging Face folders ("qwen3") and folders that
// MLX quantized ("mlx/affine-4-64").
func Fixtures(t testing.TB) []string {
	t.Helper()
	root := fixtures(t)
	var names []string
	for _, pattern := range []string{"*.gguf", "*/config.json", "mlx/*/config.json"} {
		paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			name, err := filepath.Rel(root, strings.TrimSuffix(path, string(filepath.Separator)+"config.json"))
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, filepath.ToSlash(name))
		}
	}
	const some = 20
	if len(names) < some {
		t.Fatalf("only %d models in %s", len(names), root)
	}
	return names
}

// Path is where one of the Fixtures lies.
func Path(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(fixtures(t), filepath.FromSlash(name))
}

// Open opens one of the Fixtures until the test ends.
func Open(t testing.TB, name string) checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Reference is token ids, and the logits that transformers, or mlx-lm for the
// models that MLX quantized, computes for each of them in float32.
func Reference(t testing.TB, name string) (tokens []int32, logits [][]float32) {
	t.Helper()
	stem := strings.TrimSuffix(Path(t, name), ".gguf")
	var about struct {
		Tokens []int32
		Vocab  int
	}
	text, err := os.ReadFile(stem + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &about); err != nil {
		t.Fatalf("%s.json: %v", stem, err)
	}
	raw, err := os.ReadFile(stem + ".f32")
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) != 4*len(about.Tokens)*about.Vocab {
		t.Fatalf("%s.f32: %d bytes of logits for %d tokens", stem, len(raw), len(about.Tokens))
	}
	for range about.Tokens {
		row := make([]float32, about.Vocab)
		for i := range row {
			row[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw))
			raw = raw[4:]
		}
		logits = append(logits, row)
	}
	return about.Tokens, logits
}

// fixtures is model/testdata, found from the folder that a test runs in.
func fixtures(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return filepath.Join(dir, "model", "testdata")
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			t.Fatal("the module's root was not found")
		}
		dir = parent
	}
}
