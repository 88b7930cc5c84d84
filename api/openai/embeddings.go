package openai

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/tokenizer"
)

// maxTexts is how many texts one request may have embedded, as in OpenAI's API.
const maxTexts = 2048

// embedRequest is a body of /v1/embeddings.
type embedRequest struct {
	texts      textsRequest
	input      []prompt
	base64     bool
	dimensions int // 0: all
	noSpecial  bool
}

// textsRequest is what the endpoints have in common that compute texts without answering
// them.
type textsRequest struct {
	model    string
	pooling  generate.Pooling // "": the model's own
	truncate int              // 0: not at all; -1: to the context
	priority int
}

// textsFields are those of a textsRequest, in an endpoint's T.
func textsFields[T any](of func(*T) *textsRequest) []fieldOf[T] {
	return []fieldOf[T]{
		{Field{Name: "model", Type: "string", Default: "the first configured model", Behaviour: "Id or alias of a served model."},
			func(r *T, path string, raw json.RawMessage) (err *Error) {
				of(r).model, err = decodeString(path, raw)
				return err
			}},
		{Field{Name: "pooling", Type: "string", Range: "\"last\" or \"mean\"", Default: "models[].pooling, or what the model's file says, else \"last\"",
			Behaviour: "How the hidden states of a text's tokens become one vector: that of the last, or their mean. Vectors have unit length."},
			func(r *T, path string, raw json.RawMessage) *Error {
				s, err := decodeString(path, raw)
				of(r).pooling = generate.Pooling(s)
				if err == nil && s != string(generate.PoolLast) && s != string(generate.PoolMean) {
					err = outOfRange(path, `"last" or "mean"`, fmt.Sprintf("%q", shorten(s)))
				}
				return err
			}},
		{Field{Name: "truncate_prompt_tokens", Type: "integer", Range: "at least 1; -1: the context", Default: "none",
			Behaviour: "Texts that are longer are cut off after so many tokens; the tokens that the model's texts end with stay. Without it, a text longer than the context is refused."},
			func(r *T, path string, raw json.RawMessage) *Error {
				n, err := decodeInt(path, raw, -1, math.MaxInt32)
				if err == nil && n == 0 {
					err = outOfRange(path, "-1 or at least 1", "0")
				}
				of(r).truncate = int(n)
				return err
			}},
		{Field{Name: "priority", Type: "integer", Range: "-1000 to 1000", Default: "0", Behaviour: "As in the endpoints that answer."},
			func(r *T, path string, raw json.RawMessage) *Error {
				n, err := decodeInt(path, raw, -1000, 1000)
				of(r).priority = int(n)
				return err
			}},
		{Field: Field{Name: "user", Type: "string", Treatment: Ignored, Behaviour: "Ignored: who the client's end user is."}},
	}
}

var embedFields = append([]fieldOf[embedRequest]{
	{Field{Name: "input", Type: "string, list of strings, list of token ids, or list of lists of token ids", Range: "at most 2048 texts", Default: "required",
		Behaviour: "The texts. None may be empty."},
		func(r *embedRequest, path string, raw json.RawMessage) (err *Error) {
			r.input, err = decodeTextsOrTokens(path, raw, maxTexts)
			return err
		}},
	{Field{Name: "encoding_format", Type: "string", Range: "\"float\" or \"base64\"", Default: "\"float\"",
		Behaviour: "base64: the vector is the base64 of its little-endian 32-bit floats."},
		func(r *embedRequest, path string, raw json.RawMessage) *Error {
			s, err := decodeString(path, raw)
			if err == nil && s != "float" && s != "base64" {
				err = outOfRange(path, `"float" or "base64"`, fmt.Sprintf("%q", shorten(s)))
			}
			r.base64 = s == "base64"
			return err
		}},
	{Field{Name: "dimensions", Type: "integer", Range: "1 to the model's width", Default: "the model's width",
		Behaviour: "Only the first so many elements of the vectors, brought to unit length again."},
		func(r *embedRequest, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 1, math.MaxInt32)
			r.dimensions = int(n)
			return err
		}},
	{Field{Name: "add_special_tokens", Type: "boolean", Default: "true", Behaviour: "Put the tokens at the beginning and the end of texts that the model's texts have there."},
		func(r *embedRequest, path string, raw json.RawMessage) *Error {
			add, err := decodeBool(path, raw)
			r.noSpecial = !add
			return err
		}},
}, textsFields(func(r *embedRequest) *textsRequest { return &r.texts })...)

type embeddingList struct {
	Object string      `json:"object"`
	Data   []embedding `json:"data"`
	Model  string      `json:"model"`
	Usage  textsUsage  `json:"usage"`
}

type embedding struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"` // numbers, or base64
}

// textsUsage counts the tokens of all texts.
type textsUsage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

func countTexts(texts [][]int32) textsUsage {
	n := 0
	for _, t := range texts {
		n += len(t)
	}
	return textsUsage{n, n}
}

func (a *API) embeddings(ctx context.Context, body []byte) (any, error) {
	var r embedRequest
	given, others, bad := decodeFields(body, embedFields, &r)
	if bad == nil {
		bad = noOthers(others)
	}
	if bad == nil && !given["input"] {
		bad = missing("input")
	}
	if bad != nil {
		return nil, bad
	}
	m, by, err := a.textsModel(ctx, &r.texts)
	if err != nil {
		return nil, err
	}
	width := m.Engine().Model().Hidden
	if r.dimensions > width {
		return nil, outOfRange("dimensions", fmt.Sprintf("at most %d, the width of %q", width, m.ID()), fmt.Sprint(r.dimensions))
	}
	texts := make([][]int32, len(r.input))
	for i, in := range r.input {
		path := "input"
		if len(r.input) > 1 {
			path = fmt.Sprintf("input[%d]", i)
		}
		for _, id := range in.tokens {
			if bad := inVocabulary(m, path, id); bad != nil {
				return nil, bad
			}
		}
		if in.tokens == nil && in.text == "" {
			return nil, outOfRange(path, "a text of at least one token", "empty")
		}
		if texts[i], bad = r.texts.tokens(m, path, in, !r.noSpecial); bad != nil {
			return nil, bad
		}
	}
	vectors, err := r.texts.embed(ctx, m, by, texts)
	if err != nil {
		return nil, err
	}
	list := embeddingList{Object: "list", Data: make([]embedding, len(vectors)), Model: m.ID(), Usage: countTexts(texts)}
	for i, v := range vectors {
		if r.dimensions > 0 {
			v = v[:r.dimensions]
			generate.Normalize(v)
		}
		list.Data[i] = embedding{Object: "embedding", Index: i, Embedding: v}
		if r.base64 {
			list.Data[i].Embedding = encodeFloats(v)
		}
	}
	return list, nil
}

// textsModel finds the model of a request, and says who asks.
func (a *API) textsModel(ctx context.Context, r *textsRequest) (*generate.Model, generate.Caller, error) {
	m, err := a.models.Get(r.model)
	if err != nil {
		return nil, generate.Caller{}, err
	}
	if r.priority != 0 && m.Policy() != scheduler.ByPriority {
		return nil, generate.Caller{}, noPriority(m)
	}
	who := callerOf(ctx)
	return m, generate.Caller{Client: who.client, Tenant: who.tenant, Priority: r.priority}, nil
}

// embed gives the vectors of texts.
func (r *textsRequest) embed(ctx context.Context, m *generate.Model, by generate.Caller, texts [][]int32) ([][]float32, error) {
	pooling := r.pooling
	if pooling == "" {
		pooling = m.Pooling()
	}
	vectors, err := m.Embed(ctx, by, texts, pooling)
	if errors.Is(err, generate.ErrNoEmbeddings) {
		return nil, unsupported("model", "the backend of model %q can't give embeddings", m.ID())
	}
	return vectors, err
}

// tokens makes token ids of a text and holds it to the context.
func (r *textsRequest) tokens(m *generate.Model, path string, p prompt, special bool) ([]int32, *Error) {
	ids, after := p.tokens, 0 // after: tokens at the end that stay
	if ids == nil {
		t := m.Tokenizer()
		ids = t.Encode(nil, p.text, tokenizer.EncodeOptions{Special: true, AddSpecial: special})
		if special {
			after = len(t.Encode(nil, "", tokenizer.EncodeOptions{AddSpecial: true}))
			if t.AddsBOS() {
				after--
			}
		}
	}
	return r.cut(m, path, ids, after)
}

// cut shortens a text as the request asks for, and refuses it if it is too long. The last
// so many tokens stay.
func (r *textsRequest) cut(m *generate.Model, path string, ids []int32, after int) ([]int32, *Error) {
	context := m.Engine().Context()
	limit := context
	if r.truncate > 0 {
		limit = r.truncate
	}
	if r.truncate != 0 && len(ids) > limit {
		after = min(after, limit-1)
		end := ids[len(ids)-after:]
		ids = append(ids[:limit-after:limit-after], end...)
	}
	if len(ids) == 0 {
		return nil, outOfRange(path, "a text of at least one token", "empty")
	}
	if len(ids) > context {
		e := badRequest(path, "%q has %d tokens, but the model's context is %d: shorten it, or set \"truncate_prompt_tokens\"", path, len(ids), context)
		e.Code = "context_length_exceeded"
		return nil, e
	}
	return ids, nil
}

func encodeFloats(v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
