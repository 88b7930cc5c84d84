package main

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
)

// Encodings agree with GNU as for every form of instruction; see
// testdata/neon_encodings.sh.
func TestEncode(t *testing.T) {
	table, err := os.ReadFile("testdata/neon_encodings.txt")
	if err != nil {
		t.Fatal(err)
	}
	missing := maps.Clone(forms)
	for line := range strings.Lines(string(table)) {
		want, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		word, err := encode(text)
		if err != nil {
			t.Error(err)
		} else if got := fmt.Sprintf("%08x", word); got != want {
			t.Errorf("%s: %s, GNU as has %s", text, got, want)
		}
		key, _, _, _ := parse(text)
		delete(missing, key)
	}
	for key := range missing {
		t.Errorf("the table has no %q: run testdata/neon_encodings.sh", key)
	}
}

func TestEncodeErrors(t *testing.T) {
	for _, text := range []string{
		"", "fmla", "fmla v0.4s, v1.4s", "fmla v0.4s, v1.4s, v32.4s", "fmla v0.8h, v1.8h, v2.8h",
		"fmla v0.4s, v1.4s, v2.s[4]", "ldr q0, [x1, #8]", "ldr q0, [x1, #65536]", "ldr q0, [x1, #-16]",
		"ldur q0, [x1, #256]", "ushr v0.16b, v0.16b, #9", "shl v0.16b, v0.16b, #8", "ldr q0, (x1)", "movi v0.16b, #256",
		"movi v0.16b, #x", "movi v0.4s, #1, lsl #16",
	} {
		if word, err := encode(text); err == nil {
			t.Errorf("%q became %08x", text, word)
		}
	}
}
