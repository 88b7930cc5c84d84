package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/tokenizer"
)

// tokenizeRequest is a body of /tokenize, as llama.cpp's server has it (content) or as
// vLLM does (prompt, or messages).
type tokenizeRequest struct {
	model                    string
	content, prompt          string
	addSpecial, addTokens    bool // under its two names
	parseSpecial             bool
	withPieces, tokenStrings bool
}

var tokenizeFields = []fieldOf[tokenizeRequest]{
	{Field{Name: "model", Type: "string", Default: "the first configured model", Behaviour: "Id or alias of a served model."},
		func(r *tokenizeRequest, path string, raw json.RawMessage) (err *Error) {
			r.model, err = decodeString(path, raw)
			return err
		}},
	{Field{Name: "content", Type: "string", Behaviour: "The text. One of content, prompt and messages is required."},
		func(r *tokenizeRequest, path string, raw json.RawMessage) (err *Error) {
			r.content, err = decodeString(path, raw)
			return err
		}},
	{Field{Name: "prompt", Type: "string", Behaviour: "The text, as vLLM calls it."},
		func(r *tokenizeRequest, path string, raw json.RawMessage) (err *Error) {
			r.prompt, err = decodeString(path, raw)
			return err
		}},
	{Field{Name: "add_special", Type: "boolean", Default: "false, but true with prompt", Behaviour: "Put the tokens at the beginning and the end that the model's texts have there."},
		func(r *tokenizeRequest, path string, raw json.RawMessage) (err *Error) {
			r.addSpecial, err = decodeBool(path, raw)
			return err
		}},
	{Field{Name: "add_special_tokens", Type: "boolean", Behaviour: "The same as add_special. If both are given they must be equal."},
		func(r *tokenizeRequest, path string, raw json.RawMessage) (err *Error) {
			r.addTokens, err = decodeBool(path, raw)
			return err
		}},
	{Field{Name: "parse_special", Type: "boolean", Default: "true", Behaviour: "Control tokens that are spelled out in the text count as such; false: they are text."},
		func(r *tokenizeRequest, path string, raw json.RawMessage) (err *Error) {
			r.parseSpecial, err = decodeBool(path, raw)
			return err
		}},
	{Field{Name: "with_pieces", Type: "boolean", Default: "false", Behaviour: "The tokens are objects with id and piece, a text, or a list of bytes where they are no whole characters."},
		func(r *tokenizeRequest, path string, raw json.RawMessage) (err *Error) {
			r.withPieces, err = decodeBool(path, raw)
			return err
		}},
	{Field{Name: "return_token_strs", Type: "boolean", Default: "false", Behaviour: "The answer has token_strs, the tokens as the vocabulary spells them."},
		func(r *tokenizeRequest, path string, raw json.RawMessage) (err *Error) {
			r.tokenStrings, err = decodeBool(path, raw)
			return err
		}},
}

// tokenized is the answer of /tokenize.
type tokenized struct {
	Tokens      any      `json:"tokens"` // ids, or pieces
	Count       int      `json:"count"`
	MaxModelLen int      `json:"max_model_len"`
	Strings     []string `json:"token_strs,omitempty"`
}

type tokenPiece struct {
	ID    int32 `json:"id"`
	Piece any   `json:"piece"` // a text or a byteList
}

func (a *API) tokenize(_ context.Context, body []byte) (any, error) {
	r := tokenizeRequest{parseSpecial: true}
	given, others, bad := decodeFields(body, tokenizeFields, &r)
	if bad != nil {
		return nil, bad
	}
	texts := 0
	for _, name := range []string{"content", "prompt"} {
		if given[name] {
			texts++
		}
	}
	if others["messages"] != nil {
		texts++
	} else if bad := noOthers(others); bad != nil {
		return nil, bad
	}
	switch {
	case texts == 0:
		return nil, missing("content")
	case texts > 1:
		return nil, badRequest("content", `"content", "prompt" and "messages" are three ways to give a text: give one`)
	case given["add_special"] && given["add_special_tokens"] && r.addSpecial != r.addTokens:
		return nil, badRequest("add_special", `"add_special" and "add_special_tokens" mean the same and differ: give one`)
	}
	m, err := a.models.Get(r.model)
	if err != nil {
		return nil, err
	}
	text := r.content + r.prompt
	if others["messages"] != nil {
		if text, err = renderChat(m, others); err != nil {
			return nil, err
		}
	}
	add := r.addSpecial || r.addTokens
	if !given["add_special"] && !given["add_special_tokens"] {
		add = given["prompt"]
	}
	ids := m.Tokenizer().Encode([]int32{}, text, tokenizer.EncodeOptions{Special: r.parseSpecial, AddSpecial: add})
	if len(ids) > maxValues {
		return nil, badRequest("content", "the text has %d tokens, and no more than %d are told at once: cut it in parts", len(ids), maxValues)
	}
	answer := tokenized{Tokens: ids, Count: len(ids), MaxModelLen: m.Engine().Context()}
	if r.withPieces {
		pieces := make([]tokenPiece, len(ids))
		for i, id := range ids {
			pieces[i] = newTokenPiece(m, id)
		}
		answer.Tokens = pieces
	}
	if r.tokenStrings {
		answer.Strings = make([]string, len(ids))
		for i, id := range ids {
			answer.Strings[i] = m.Tokenizer().Text(id)
		}
	}
	return answer, nil
}

func newTokenPiece(m *generate.Model, id int32) tokenPiece {
	piece := m.Tokenizer().Piece(id)
	switch {
	case piece == nil:
		return tokenPiece{id, m.Tokenizer().Text(id)}
	case utf8.Valid(piece):
		return tokenPiece{id, string(piece)}
	}
	return tokenPiece{id, byteList(piece)}
}

// renderChat makes the prompt of a conversation of the fields of a chat request.
func renderChat(m *generate.Model, object map[string]json.RawMessage) (string, error) {
	req, bad := decodeObject(object, chatEndpoint)
	if bad == nil {
		bad = req.bind(m)
	}
	if bad != nil {
		return "", bad
	}
	text, _, err := m.RenderChat(req.conversation(m))
	return text, err
}

func (a *API) applyTemplate(_ context.Context, body []byte) (any, error) {
	object, bad := parseObject(body)
	if bad != nil {
		return nil, bad
	}
	var name string
	if raw := object["model"]; raw != nil && !isNull(raw) {
		if name, bad = decodeString("model", raw); bad != nil {
			return nil, bad
		}
	}
	m, err := a.models.Get(name)
	if err != nil {
		return nil, err
	}
	text, err := renderChat(m, object)
	return struct {
		Prompt string `json:"prompt"`
	}{text}, err
}

// detokenizeRequest is a body of /detokenize.
type detokenizeRequest struct {
	model  string
	tokens []int32
}

var detokenizeFields = []fieldOf[detokenizeRequest]{
	{Field{Name: "model", Type: "string", Default: "the first configured model", Behaviour: "Id or alias of a served model."},
		func(r *detokenizeRequest, path string, raw json.RawMessage) (err *Error) {
			r.model, err = decodeString(path, raw)
			return err
		}},
	{Field{Name: "tokens", Type: "list of token ids", Default: "required", Behaviour: "Control tokens among them appear as they are spelled."},
		func(r *detokenizeRequest, path string, raw json.RawMessage) *Error {
			list, err := decodeList(path, raw, maxValues)
			if err != nil {
				return err
			}
			r.tokens, err = decodeTokens(path, list)
			return err
		}},
}

func (a *API) detokenize(_ context.Context, body []byte) (any, error) {
	var r detokenizeRequest
	given, others, bad := decodeFields(body, detokenizeFields, &r)
	if bad == nil {
		bad = noOthers(others)
	}
	if bad == nil && !given["tokens"] {
		bad = missing("tokens")
	}
	if bad != nil {
		return nil, bad
	}
	m, err := a.models.Get(r.model)
	if err != nil {
		return nil, err
	}
	for i, id := range r.tokens {
		if bad := inVocabulary(m, fmt.Sprintf("tokens[%d]", i), id); bad != nil {
			return nil, bad
		}
	}
	d := m.Tokenizer().NewDecoder(false)
	var text []byte
	for _, id := range r.tokens {
		text = append(text, d.Push(id)...)
	}
	text = append(text, d.Flush()...)
	// llama.cpp's name for it, and vLLM's.
	return struct {
		Content string `json:"content"`
		Prompt  string `json:"prompt"`
	}{string(text), string(text)}, nil
}
