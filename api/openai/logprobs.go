package openai

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/sample"
)

// chatLogprobs is choices[].logprobs of a conversation.
type chatLogprobs struct {
	Content []tokenLogprob `json:"content"`
	Refusal *string        `json:"refusal"` // always null
}

type tokenLogprob struct {
	topLogprob
	Top []topLogprob `json:"top_logprobs"`
}

type topLogprob struct {
	Token   string  `json:"token"`
	Logprob float32 `json:"logprob"`
	// Bytes are the token's own; where a character is made of several tokens,
	// only the bytes joined are text. Null for control tokens.
	Bytes byteList `json:"bytes"`
}

// byteList encodes as a list of numbers, where []byte would become base64.
type byteList []byte

// MarshalJSON implements json.Marshaler.
func (b byteList) MarshalJSON() ([]byte, error) {
	if b == nil {
		return []byte("null"), nil
	}
	numbers := make([]int, len(b))
	for i, c := range b {
		numbers[i] = int(c)
	}
	return json.Marshal(numbers)
}

// unlikely is what OpenAI's API reports for a token of no probability worth the
// name; JSON has no -Inf.
const unlikely = -9999.0

func finite(logprob float32) float32 {
	if logprob != logprob || logprob < unlikely { // NaN, or next to nothing
		return unlikely
	}
	return logprob
}

// spelling is a token as text: what it adds to the answer, or a control token's
// own name. Bytes that are no whole character are written \xNN.
func spelling(m *generate.Model, id int32) (string, []byte) {
	piece := m.Tokenizer().Piece(id)
	if piece == nil {
		return m.Tokenizer().Text(id), nil
	}
	if utf8.Valid(piece) {
		return string(piece), piece
	}
	var s strings.Builder
	for _, c := range piece {
		fmt.Fprintf(&s, `\x%02x`, c)
	}
	return "bytes:" + s.String(), piece
}

func newTopLogprob(m *generate.Model, t sample.TokenLogprob) topLogprob {
	text, piece := spelling(m, t.Token)
	return topLogprob{Token: text, Logprob: finite(t.Logprob), Bytes: piece}
}

func newChatLogprobs(m *generate.Model, tokens []generate.Token) *chatLogprobs {
	l := &chatLogprobs{Content: make([]tokenLogprob, len(tokens))}
	for i, t := range tokens {
		c := tokenLogprob{topLogprob: newTopLogprob(m, t.TokenLogprob), Top: make([]topLogprob, len(t.Top))}
		for j, top := range t.Top {
			c.Top[j] = newTopLogprob(m, top)
		}
		l.Content[i] = c
	}
	return l
}

// textLogprobs is choices[].logprobs of a completion: four lists in step.
type textLogprobs struct {
	Tokens        []string             `json:"tokens"`
	TokenLogprobs []*float32           `json:"token_logprobs"` // null for a text's first
	TopLogprobs   []map[string]float32 `json:"top_logprobs"`   // likewise
	// TextOffset counts characters (code points) from the start of the answer.
	TextOffset []int `json:"text_offset"`
}

// newTextLogprobs also returns the offset of what comes next.
func newTextLogprobs(m *generate.Model, tokens []generate.Token, offset int) (*textLogprobs, int) {
	n := len(tokens)
	l := &textLogprobs{
		Tokens:        make([]string, n),
		TokenLogprobs: make([]*float32, n),
		TopLogprobs:   make([]map[string]float32, n),
		TextOffset:    make([]int, n),
	}
	for i, t := range tokens {
		text, piece := spelling(m, t.Token)
		l.Tokens[i] = text
		logprob := finite(t.Logprob)
		l.TokenLogprobs[i] = &logprob
		l.TextOffset[i] = offset
		// The chosen token is among them even when it isn't one of the likeliest.
		l.TopLogprobs[i] = map[string]float32{text: logprob}
		for _, top := range t.Top {
			other, _ := spelling(m, top.Token)
			l.TopLogprobs[i][other] = finite(top.Logprob)
		}
		for _, c := range piece {
			if utf8.RuneStart(c) {
				offset++
			}
		}
	}
	return l, offset
}
