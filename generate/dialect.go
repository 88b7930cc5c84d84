package generate

import (
	"fmt"

	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/chat/dialect"
	"github.com/inferflux/inferflux/tokenizer"
)

// DetectDialect finds out what a model's answers mean from its template, which may
// be nil, and its tokens.
func DetectDialect(template *chat.Template, t *tokenizer.Tokenizer) *dialect.Dialect {
	source := ""
	if template != nil {
		source = template.Source() + template.ToolSource()
	}
	return dialect.Detect(source, func(token string) bool { return isControl(t, token) })
}

// NamedDialect is the dialect of the named formats, where "auto" or nothing means
// that which detected has.
func NamedDialect(tools, reasoning string, detected *dialect.Dialect) (*dialect.Dialect, error) {
	if tools == "" || tools == "auto" {
		tools = detected.ToolFormat()
	}
	if reasoning == "" || reasoning == "auto" {
		reasoning = detected.ReasoningFormat()
	}
	d, ok := dialect.Named(tools, reasoning)
	if !ok {
		return nil, fmt.Errorf("no format of tools %q or of reasoning %q: the formats are %q and %q",
			tools, reasoning, dialect.ToolFormats(), dialect.ReasoningFormats())
	}
	return d, nil
}

// markerTokens are the control tokens among a dialect's markers.
func markerTokens(d *dialect.Dialect, t *tokenizer.Tokenizer) []int32 {
	var ids []int32
	for _, marker := range d.Markers() {
		if isControl(t, marker) {
			id, _ := t.ID(marker)
			ids = append(ids, id)
		}
	}
	return ids
}

// isControl reports whether a text is the spelling of a control token.
func isControl(t *tokenizer.Tokenizer, text string) bool {
	id, ok := t.ID(text)
	return ok && t.Piece(id) == nil
}
