package generate_test

import (
	"strings"
	"testing"

	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/generate"
)

func TestNamedDialect(t *testing.T) {
	template, err := chat.Parse("<tool_call><think>", chat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	detected := generate.DetectDialect(template, newVocabulary(t).Tokenizer)
	for _, tt := range []struct{ tools, reasoning, want string }{
		{"", "", "hermes think"},
		{"auto", "auto", "hermes think"},
		{"mistral", "auto", "mistral think"},
		{"auto", "none", "hermes none"},
		{"klingon", "", "no format"},
	} {
		d, err := generate.NamedDialect(tt.tools, tt.reasoning, detected)
		var got string
		if err != nil {
			got = err.Error()
		} else {
			got = d.ToolFormat() + " " + d.ReasoningFormat()
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q, %q: %s, want %s", tt.tools, tt.reasoning, got, tt.want)
		}
	}
	if d := generate.DetectDialect(nil, newVocabulary(t).Tokenizer); d.ToolFormat() != "json" || d.ReasoningFormat() != "none" {
		t.Errorf("without a template: %s, %s", d.ToolFormat(), d.ReasoningFormat())
	}
}
