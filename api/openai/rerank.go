package openai

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/inferflux/inferflux/generate"
)

// rerankRequest is a body of /v1/rerank, as Jina's and Cohere's APIs and vLLM have it.
type rerankRequest struct {
	texts     textsRequest
	query     string
	documents []string
	topN      int // 0: all
	bare      bool
}

var rerankFields = append([]fieldOf[rerankRequest]{
	{Field{Name: "query", Type: "string", Default: "required", Behaviour: "What is looked for."},
		func(r *rerankRequest, path string, raw json.RawMessage) (err *Error) {
			r.query, err = decodeText(path, raw)
			return err
		}},
	{Field{Name: "documents", Type: "list of strings or of {text}", Range: "1 to 2048", Default: "required", Behaviour: "Among what it is looked for."},
		func(r *rerankRequest, path string, raw json.RawMessage) *Error {
			list, err := decodeList(path, raw, maxTexts)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				return outOfRange(path, "a list of at least one document", "an empty list")
			}
			r.documents, err = decodeDocuments(path, list)
			return err
		}},
	{Field{Name: "top_n", Type: "integer", Range: "at least 1", Default: "all", Behaviour: "How many of the best documents are told."},
		func(r *rerankRequest, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 1, math.MaxInt32)
			r.topN = int(n)
			return err
		}},
	{Field{Name: "return_documents", Type: "boolean", Default: "true", Behaviour: "The results hold the documents' texts."},
		func(r *rerankRequest, path string, raw json.RawMessage) *Error {
			yes, err := decodeBool(path, raw)
			r.bare = !yes
			return err
		}},
}, textsFields(func(r *rerankRequest) *textsRequest { return &r.texts })...)

// scoreRequest is a body of /v1/score, as vLLM has it.
type scoreRequest struct {
	texts  textsRequest
	first  []string
	second []string
}

var scoreFields = append([]fieldOf[scoreRequest]{
	{Field{Name: "text_1", Type: "string or list of strings", Default: "required", Behaviour: "One text, which is compared with each of text_2, or as many as text_2 has."},
		func(r *scoreRequest, path string, raw json.RawMessage) (err *Error) {
			r.first, err = decodeTextOrTexts(path, raw)
			return err
		}},
	{Field{Name: "text_2", Type: "string or list of strings", Range: "at most 2048", Default: "required", Behaviour: "What it is compared with."},
		func(r *scoreRequest, path string, raw json.RawMessage) (err *Error) {
			r.second, err = decodeTextOrTexts(path, raw)
			return err
		}},
}, textsFields(func(r *scoreRequest) *textsRequest { return &r.texts })...)

// decodeText reads a text that isn't empty.
func decodeText(path string, raw json.RawMessage) (string, *Error) {
	s, err := decodeString(path, raw)
	if err == nil && s == "" {
		err = outOfRange(path, "a text of at least one token", "empty")
	}
	return s, err
}

func decodeTextOrTexts(path string, raw json.RawMessage) ([]string, *Error) {
	if kindOf(raw) == "a string" {
		s, err := decodeText(path, raw)
		return []string{s}, err
	}
	list, err := decodeList(path, raw, maxTexts)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, outOfRange(path, "a list of at least one text", "an empty list")
	}
	return decodeDocuments(path, list)
}

// decodeDocuments reads texts, each a string or an object that holds one.
func decodeDocuments(path string, list []json.RawMessage) ([]string, *Error) {
	texts := make([]string, len(list))
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if kindOf(v) == "an object" {
			object, err := decodeMap(at, v)
			if err != nil {
				return nil, err
			}
			for name := range object {
				if name != "text" {
					err := badRequest(at+"."+shorten(name), "unknown field %q: documents are texts", at+"."+shorten(name))
					err.Code = "unknown_parameter"
					return nil, err
				}
			}
			if object["text"] == nil {
				return nil, missing(at + ".text")
			}
			at, v = at+".text", object["text"]
		}
		var err *Error
		if texts[i], err = decodeText(at, v); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

type rerankList struct {
	ID      string         `json:"id"`
	Object  string         `json:"object"`
	Model   string         `json:"model"`
	Results []rerankResult `json:"results"` // the best first
	Usage   textsUsage     `json:"usage"`
}

type rerankResult struct {
	Index    int             `json:"index"` // in documents
	Score    float32         `json:"relevance_score"`
	Document *rerankDocument `json:"document,omitempty"`
}

type rerankDocument struct {
	Text string `json:"text"`
}

type scoreList struct {
	ID      string     `json:"id"`
	Object  string     `json:"object"`
	Created int64      `json:"created"`
	Model   string     `json:"model"`
	Data    []score    `json:"data"`
	Usage   textsUsage `json:"usage"`
}

type score struct {
	Index  int     `json:"index"`
	Object string  `json:"object"`
	Score  float32 `json:"score"`
}

func (a *API) rerank(ctx context.Context, body []byte) (any, error) {
	var r rerankRequest
	given, others, bad := decodeFields(body, rerankFields, &r)
	if bad == nil {
		bad = noOthers(others)
	}
	for _, name := range []string{"query", "documents"} {
		if bad == nil && !given[name] {
			bad = missing(name)
		}
	}
	if bad != nil {
		return nil, bad
	}
	m, by, err := a.textsModel(ctx, &r.texts)
	if err != nil {
		return nil, err
	}
	scores, usage, err := r.texts.compare(ctx, m, by, side{"query", []string{r.query}}, side{"documents", r.documents})
	if err != nil {
		return nil, err
	}
	list := rerankList{ID: "rerank-" + rand.Text(), Object: "list", Model: m.ID(), Usage: usage, Results: make([]rerankResult, len(scores))}
	for i, s := range scores {
		list.Results[i] = rerankResult{Index: i, Score: s}
		if !r.bare {
			list.Results[i].Document = &rerankDocument{r.documents[i]}
		}
	}
	slices.SortStableFunc(list.Results, func(x, y rerankResult) int {
		switch {
		case x.Score > y.Score:
			return -1
		case x.Score < y.Score:
			return 1
		}
		return 0
	})
	if r.topN > 0 {
		list.Results = list.Results[:min(r.topN, len(list.Results))]
	}
	return list, nil
}

func (a *API) score(ctx context.Context, body []byte) (any, error) {
	var r scoreRequest
	given, others, bad := decodeFields(body, scoreFields, &r)
	if bad == nil {
		bad = noOthers(others)
	}
	for _, name := range []string{"text_1", "text_2"} {
		if bad == nil && !given[name] {
			bad = missing(name)
		}
	}
	if bad == nil && len(r.first) != 1 && len(r.first) != len(r.second) {
		bad = badRequest("text_1", `"text_1" has %d texts and "text_2" has %d: give one text, or as many as "text_2" has`, len(r.first), len(r.second))
	}
	if bad != nil {
		return nil, bad
	}
	m, by, err := a.textsModel(ctx, &r.texts)
	if err != nil {
		return nil, err
	}
	scores, usage, err := r.texts.compare(ctx, m, by, side{"text_1", r.first}, side{"text_2", r.second})
	if err != nil {
		return nil, err
	}
	list := scoreList{ID: "score-" + rand.Text(), Object: "list", Created: time.Now().Unix(), Model: m.ID(), Usage: usage, Data: make([]score, len(scores))}
	for i, s := range scores {
		list.Data[i] = score{Index: i, Object: "score", Score: s}
	}
	return list, nil
}

// side is the texts of one side of a comparison, and the field that they came in.
type side struct {
	field string
	texts []string
}

// compare scores each of the second texts against the first of the same place, or the
// only one: by what a reranker says, or else by the cosine of their vectors.
func (r *textsRequest) compare(ctx context.Context, m *generate.Model, by generate.Caller, first, second side) ([]float32, textsUsage, error) {
	if j, ok := m.Judge(); ok {
		return r.judge(ctx, m, by, j, first, second)
	}
	var all [][]int32
	for _, s := range []side{first, second} {
		for i, text := range s.texts {
			ids, bad := r.tokens(m, s.path(i), prompt{text: text}, true)
			if bad != nil {
				return nil, textsUsage{}, bad
			}
			all = append(all, ids)
		}
	}
	vectors, err := r.embed(ctx, m, by, all)
	if err != nil {
		return nil, textsUsage{}, err
	}
	scores := make([]float32, len(second.texts))
	for i := range scores {
		a := vectors[min(i, len(first.texts)-1)]
		dot := 0.0
		for j, x := range vectors[len(first.texts)+i] {
			dot += float64(x) * float64(a[j])
		}
		scores[i] = float32(dot)
	}
	return scores, countTexts(all), nil
}

// judge asks a reranker about each pair.
func (r *textsRequest) judge(ctx context.Context, m *generate.Model, by generate.Caller, j *generate.Judge, first, second side) ([]float32, textsUsage, error) {
	if r.pooling != "" {
		return nil, textsUsage{}, unsupported("pooling", "model %q is a reranker: it judges each pair of texts, and \"pooling\" has no meaning", m.ID())
	}
	prompts := make([][]int32, len(second.texts))
	for i, document := range second.texts {
		ids, after := j.Prompt(first.texts[min(i, len(first.texts)-1)], document)
		var bad *Error
		if prompts[i], bad = r.cut(m, second.path(i), ids, after); bad != nil {
			return nil, textsUsage{}, bad
		}
	}
	scores, err := j.Scores(ctx, by, prompts)
	return scores, countTexts(prompts), err
}

func (s side) path(i int) string {
	if len(s.texts) == 1 && s.field != "documents" {
		return s.field
	}
	return fmt.Sprintf("%s[%d]", s.field, i)
}
