package tokenizer_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/tokenizer"
)

// benchmarkTexts are 0.5 MB of English prose (Newton's Opticks, which Go keeps
// for its own tests) and about as much code (net/http), both from GOROOT.
func benchmarkTexts(b *testing.B) map[string]string {
	b.Helper()
	src := filepath.Join(runtime.GOROOT(), "src")
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
	vocabularies := map[string]*tokenizer.Tokenizer{"smollm2": smolLM2(b)}
	for name, tok := range vocabularies {
		for kind, text := range all {
			b.Run(name+"/"+kind, func(b *testing.B) {
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
}
