package tokenizer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tokenizer"
)

// benchmarkTexts are 0.5 MB of English prose (Newton's Opticks, which Go keeps
// for its own tests) and about as much code (net/http), both from Go's own source.
func benchmarkTexts(b *testing.B) map[string]string {
	b.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skip("no text to measure with: ", err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	prose, err := os.ReadFile(filepath.Join(src, "testdata", "Isaac.Newton-Opticks.txt"))
	if err != nil {
		b.Skip("no text to measure with: ", err)
	}
	files, _ := filepath.Glob(filepath.Join(src, "net", "http", "[a-r]*.go"))
	var code strings.Builder
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Skip("no text to measure with: ", err)
		}
		code.Write(data)
	}
	return map[string]string{"prose": string(prose), "code": code.String()[:min(code.Len(), 1<<19)]}
}

func BenchmarkEncode(b *testing.B) {
	all := benchmarkTexts(b)
	tok := smolLM2(b)
	for kind, text := range all {
		b.Run(kind, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var ids []int32
			for b.Loop() {
				ids = tok.Encode(ids[:0], text, tokenizer.EncodeOptions{})
			}
			b.ReportMetric(float64(len(text))/float64(len(ids)), "bytes/token")
		})
	}
}

// BenchmarkLongWord is a text without spaces, which is one word.
func BenchmarkLongWord(b *testing.B) {
	tok := smolLM2(b)
	var text strings.Builder
	for i := uint32(1); text.Len() < 1<<20; i = i*1664525 + 1013904223 {
		text.WriteByte('a' + byte(i>>24)%26)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	var ids []int32
	for b.Loop() {
		ids = tok.Encode(ids[:0], text.String(), tokenizer.EncodeOptions{})
	}
}

func BenchmarkFromGGUF(b *testing.B) {
	path := modelPath(b)
	f, err := gguf.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tokenizer.FromGGUF(f.Metadata()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	tok := smolLM2(b)
	text := benchmarkTexts(b)["prose"]
	ids := tok.Encode(nil, text, tokenizer.EncodeOptions{})
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tok.Decode(ids)
	}
}
