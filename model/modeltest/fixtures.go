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
	logits = readRows(t, stem+".f32", len(about.Tokens))
	if len(logits[0]) != about.Vocab {
		t.Fatalf("%s.f32: rows of %d logits for a vocabulary of %d", stem, len(logits[0]), about.Vocab)
	}
	return about.Tokens, logits
}

// Hidden are the hidden states after the last norm that transformers computes in float32
// for the tokens of Reference; nil for a model for which they aren't known.
func Hidden(t testing.TB, name string) [][]float32 {
	t.Helper()
	path := strings.TrimSuffix(Path(t, name), ".gguf") + ".hidden.f32"
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	tokens, _ := Reference(t, name)
	return readRows(t, path, len(tokens))
}

// readRows reads a file of so many equal rows of little-endian float32.
func readRows(t testing.TB, path string, n int) [][]float32 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 || len(raw) == 0 || len(raw)%(4*n) != 0 {
		t.Fatalf("%s: %d bytes for %d tokens", path, len(raw), n)
	}
	rows := make([][]float32, n)
	for i := range rows {
		rows[i] = make([]float32, len(raw)/4/n)
		for j := range rows[i] {
			rows[i][j] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*(i*len(rows[i])+j):]))
		}
	}
	return rows
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
