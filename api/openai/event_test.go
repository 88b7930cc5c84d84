package openai

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/chat/dialect"
	"unicode/utf8"
)

func FuzzAppendString(f *testing.F) {
	f.Add("plain")
	f.Add("quote \" backslash \\ newline \n tab \t bell \x07 delete \x7f nul \x00")
	f.Add("é 日本 🙂 \u2028 <b>&</b>")
	f.Add("broken \xff\xf0\x9f end\xe2")
	f.Fuzz(func(t *testing.T, s string) {
		encoded := appendString(nil, s)
		var got string
		if err := json.Unmarshal(encoded, &got); err != nil {
			t.Fatalf("%q becomes %s: %s", s, encoded, err)
		}
		// As encoding/json does, every byte that is no UTF-8 becomes U+FFFD.
		want := string([]rune(s))
		if got != want || !utf8.Valid(encoded) {
			t.Fatalf("%q becomes %s", s, encoded)
		}
		if strings.ContainsAny(string(encoded), "\n\r") {
			t.Fatalf("%q breaks the event's line: %s", s, encoded)
		}
	})
}

type nullResponse struct{ io.Writer }

func (nullResponse) Header() http.Header { return nil }
func (nullResponse) WriteHeader(int)     {}
func (nullResponse) Flush()              {}

func TestChunksDontAllocate(t *testing.T) {
	events := newEventWriter(nullResponse{io.Discard}, head{ID: "chatcmpl-1", Object: "chat.completion.chunk", Model: "m"}, true)
	add := func(dst []byte) []byte {
		return appendChatDelta(dst, 0, &reply{}, dialect.Event{Text: " a \"word\"\n"}, nil)
	}
	allocs := testing.AllocsPerRun(100, func() {
		if events.choice(add) != nil || events.flush() != nil {
			t.Fatal("the write failed")
		}
	})
	if allocs > 0 {
		t.Errorf("a chunk takes %v allocations", allocs)
	}
}

func BenchmarkChunk(b *testing.B) {
	events := newEventWriter(nullResponse{io.Discard}, head{ID: "chatcmpl-1", Object: "chat.completion.chunk", Model: "m"}, false)
	add := func(dst []byte) []byte { return appendChatDelta(dst, 0, &reply{}, dialect.Event{Text: " word"}, nil) }
	for b.Loop() {
		if events.choice(add) != nil {
			b.Fatal("the write failed")
		}
	}
}
