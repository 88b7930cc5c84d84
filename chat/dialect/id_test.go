package dialect_test

import (
	"testing"

	"github.com/inferflux/inferflux/chat/dialect"
)

func TestCallID(t *testing.T) {
	for _, tt := range []struct {
		format, given string
		length        int // of a new id; 0: the given one stays
	}{
		{"hermes", "", 29},
		{"hermes", "0", 29},
		{"kimi", "functions.f:0", 0},
		{"kimi", "", 29},
		{"mistral", "abcdefgh1", 0},
		{"mistral", "", 9},
		{"mistral", "x", 9},
	} {
		d, _ := dialect.Named(tt.format, "none")
		e := dialect.Event{Kind: dialect.ToolStart, ID: tt.given}
		got, again := d.CallID(e), d.CallID(e)
		if tt.length == 0 && got != tt.given || tt.length > 0 && (len(got) != tt.length || got == again) {
			t.Errorf("%s, %q: %q and %q", tt.format, tt.given, got, again)
		}
	}
}
