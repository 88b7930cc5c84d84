package server_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
)

type embedded struct {
	Object string
	Model  string
	Data   []struct {
		Object    string
		Index     int
		Embedding json.RawMessage
	}
	Usage wireUsage
}

// vectors are those of an answer of /v1/embeddings, which must have succeeded.
func (a *answer) vectors() (all [][]float32, usage wireUsage) {
	a.t.Helper()
	var list embedded
	if err := json.Unmarshal(a.body, &list); err != nil || a.StatusCode != http.StatusOK || list.Object != "list" || list.Model != "fake" {
		a.t.Fatalf("status %d: %s", a.StatusCode, a.body)
	}
	for i, d := range list.Data {
		if d.Index != i || d.Object != "embedding" {
			a.t.Errorf("item %d is %+v", i, d)
		}
		var v []float32
		var coded string
		if json.Unmarshal(d.Embedding, &coded) == nil {
			raw, err := base64.StdEncoding.DecodeString(coded)
			if err != nil {
				a.t.Fatal(err)
			}
			for ; len(raw) > 0; raw = raw[4:] {
				v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
			}
		} else if err := json.Unmarshal(d.Embedding, &v); err != nil {
			a.t.Fatal(err)
		}
		all = append(all, v)
	}
	return all, list.Usage
}

func tinySite(t *testing.T) *site {
	return newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return tiny(t, o) }})
}

func length(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

func TestEmbeddings(t *testing.T) {
	s := tinySite(t)
	embed := func(body string) ([][]float32, wireUsage) {
		t.Helper()
		return s.post("/v1/embeddings", body).vectors()
	}
	texts, usage := embed(`{"input":["ba be","bi","ba be"]}`)
	if len(texts) != 3 || !slices.Equal(texts[0], texts[2]) || slices.Equal(texts[0], texts[1]) || usage.Prompt != 12 || usage.Total != 12 {
		t.Errorf("%d vectors, usage %+v", len(texts), usage)
	}
	for i, v := range texts {
		if len(v) != 32 || math.Abs(length(v)-1) > 1e-6 {
			t.Errorf("vector %d has %d elements and length %g", i, len(v), length(v))
		}
	}
	var tokens struct{ Tokens []int32 }
	if err := json.Unmarshal(s.post("/tokenize", `{"content":"ba be"}`).body, &tokens); err != nil {
		t.Fatal(err)
	}
	ids := strings.ReplaceAll(fmt.Sprint(tokens.Tokens), " ", ",")
	for name, body := range map[string]string{
		"a string":       `{"input":"ba be"}`,
		"token ids":      `{"input":` + ids + `}`,
		"lists of ids":   `{"input":[` + ids + `]}`,
		"base64":         `{"input":"ba be","encoding_format":"base64"}`,
		"last":           `{"input":"ba be","pooling":"last","user":"me","dimensions":32}`,
		"cut":            `{"input":"ba be bi bo","truncate_prompt_tokens":5}`,
		"without adding": `{"input":"ba be","add_special_tokens":false}`,
	} {
		if got, _ := embed(body); len(got) != 1 || !slices.Equal(got[0], texts[0]) {
			t.Errorf("%s gives another vector", name)
		}
	}
	short, _ := embed(`{"input":"ba be","dimensions":5}`)
	if len(short[0]) != 5 || math.Abs(length(short[0])-1) > 1e-6 || math.Abs(float64(short[0][0]/short[0][1]-texts[0][0]/texts[0][1])) > 1e-4 {
		t.Errorf("5 dimensions: %v of %v", short[0], texts[0])
	}
	if mean, _ := embed(`{"input":"ba be","pooling":"mean"}`); slices.Equal(mean[0], texts[0]) {
		t.Error("the mean is the last")
	}
	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprintf("%q", fmt.Sprint("text ", i%7))
	}
	all, _ := embed(`{"input":[` + strings.Join(many, ",") + `]}`)
	for i := range all {
		if !slices.Equal(all[i], all[i%7]) {
			t.Fatalf("text %d has the vector of another", i)
		}
	}
	if long, usage := embed(fmt.Sprintf(`{"input":%q,"truncate_prompt_tokens":-1}`, strings.Repeat("x", 1000))); len(long) != 1 || usage.Prompt != 256 {
		t.Errorf("cut to the context: usage %+v", usage)
	}
	client := openai.NewClient(option.WithBaseURL(s.url+"/v1"), option.WithAPIKey("none"))
	got, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: "fake", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"ba be"}}})
	if err != nil || len(got.Data) != 1 || math.Abs(got.Data[0].Embedding[3]-float64(texts[0][3])) > 1e-7 {
		t.Errorf("the official client: %v, %v", got, err)
	}
}

// TestEmbeddingsOnMLX: both engines make the same vectors of texts that are computed side by
// side.
func TestEmbeddingsOnMLX(t *testing.T) {
	b := mlxBackend(t)
	if b == nil {
		t.Skip("INFERFLUX_TEST_MLX_LIBRARY does not name a libmlxc")
	}
	open := func(b backend.Backend) *site {
		return newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return matrixModel(t, b, o) }})
	}
	onMLX, onCPU := open(b), open(cpu.Backend{})
	var texts []string
	for i := range 40 {
		texts = append(texts, fmt.Sprintf("%q", fmt.Sprint(i%5, strings.Repeat(" ba be", i))))
	}
	for _, pooling := range []string{"last", "mean"} {
		body := fmt.Sprintf(`{"input":[%s],"pooling":%q}`, strings.Join(texts, ","), pooling)
		got, _ := onMLX.post("/v1/embeddings", body).vectors()
		want, _ := onCPU.post("/v1/embeddings", body).vectors()
		for i := range want {
			for j := range want[i] {
				if d := math.Abs(float64(got[i][j] - want[i][j])); !(d < 1e-4) {
					t.Fatalf("%s of text %d: element %d differs by %g", pooling, i, j, d)
				}
			}
		}
	}
}

func TestRerank(t *testing.T) {
	s := tinySite(t)
	var list struct {
		ID, Object, Model string
		Usage             wireUsage
		Results           []struct {
			Index    int
			Score    float64 `json:"relevance_score"`
			Document *struct{ Text string }
		}
	}
	rerank := func(body string) {
		t.Helper()
		a := s.post("/v1/rerank", body)
		list.Results = nil
		if err := json.Unmarshal(a.body, &list); err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("status %d: %s", a.StatusCode, a.body)
		}
		if !slices.IsSortedFunc(list.Results, func(x, y struct {
			Index    int
			Score    float64 `json:"relevance_score"`
			Document *struct{ Text string }
		}) int {
			return int(math.Copysign(1, y.Score-x.Score))
		}) {
			t.Errorf("not the best first: %s", a.body)
		}
	}
	rerank(`{"query":"ba be","documents":["bo","ba be",{"text":"bi bi"}]}`)
	if len(list.Results) != 3 || list.Results[0].Index != 1 || math.Abs(list.Results[0].Score-1) > 1e-6 || list.Results[0].Document.Text != "ba be" || list.Usage.Prompt != 17 {
		t.Errorf("%+v", list)
	}
	rerank(`{"query":"ba be","documents":["bo","ba be","bi bi"],"top_n":1,"return_documents":false,"pooling":"mean"}`)
	if len(list.Results) != 1 || list.Results[0].Index != 1 || list.Results[0].Document != nil {
		t.Errorf("%+v", list)
	}

	var scores struct {
		Object string
		Data   []struct {
			Index  int
			Object string
			Score  float64
		}
	}
	a := s.post("/v1/score", `{"text_1":"ba be","text_2":["bo","ba be"]}`)
	if err := json.Unmarshal(a.body, &scores); err != nil || len(scores.Data) != 2 || math.Abs(scores.Data[1].Score-1) > 1e-6 || scores.Data[0].Score >= scores.Data[1].Score {
		t.Errorf("%s", a.body)
	}
	a = s.post("/v1/score", `{"text_1":["bo","bi"],"text_2":["bo","bi"]}`)
	if err := json.Unmarshal(a.body, &scores); err != nil || len(scores.Data) != 2 || math.Abs(scores.Data[0].Score-1) > 1e-6 || math.Abs(scores.Data[1].Score-1) > 1e-6 {
		t.Errorf("%s", a.body)
	}
}

func TestTextsRefused(t *testing.T) {
	s := tinySite(t)
	long := strings.Repeat("x", 257)
	for _, c := range []struct {
		path, body, param, message string
	}{
		{"/v1/embeddings", `{}`, "input", `is missing`},
		{"/v1/embeddings", `{"input":""}`, "input", `at least one token`},
		{"/v1/embeddings", `{"input":["a",""]}`, "input[1]", `at least one token`},
		{"/v1/embeddings", `{"input":[]}`, "input", `an empty list`},
		{"/v1/embeddings", `{"input":[[1],[]]}`, "input[1]", `an empty list`},
		{"/v1/embeddings", `{"input":[1,264]}`, "input", `below 264`},
		{"/v1/embeddings", `{"input":["a","` + long + `"]}`, "input[1]", `has 257 tokens, but the model's context is 256`},
		{"/v1/embeddings", `{"input":"a","dimensions":33}`, "dimensions", `at most 32`},
		{"/v1/embeddings", `{"input":"a","dimensions":0}`, "dimensions", `at least 1`},
		{"/v1/embeddings", `{"input":"a","encoding_format":"hex"}`, "encoding_format", `"float" or "base64"`},
		{"/v1/embeddings", `{"input":"a","pooling":"max"}`, "pooling", `"last" or "mean"`},
		{"/v1/embeddings", `{"input":"a","truncate_prompt_tokens":0}`, "truncate_prompt_tokens", `-1 or at least 1`},
		{"/v1/embeddings", `{"input":"a","priority":2}`, "priority", `not scheduled by priority`},
		{"/v1/embeddings", `{"input":"a","stream":true}`, "stream", `unknown field`},
		{"/v1/rerank", `{"query":"a"}`, "documents", `is missing`},
		{"/v1/rerank", `{"query":"a","documents":[]}`, "documents", `at least one`},
		{"/v1/rerank", `{"query":"a","documents":[{"text":"a","image":"b"}]}`, "documents[0].image", `unknown field`},
		{"/v1/rerank", `{"query":"a","documents":["` + long + `"]}`, "documents[0]", `the model's context is 256`},
		{"/v1/rerank", `{"query":"","documents":["a"]}`, "query", `at least one token`},
		{"/v1/score", `{"text_1":["a","b"],"text_2":"c"}`, "text_1", `has 2 texts`},
		{"/v1/score", `{"text_1":"a"}`, "text_2", `is missing`},
	} {
		a := s.post(c.path, c.body)
		if w := a.json(); a.StatusCode != http.StatusBadRequest || w.Error == nil || value(w.Error.Param) != c.param || !strings.Contains(w.Error.Message, c.message) {
			t.Errorf("%s %.60s: status %d, %s; want param %q, message with %q", c.path, c.body, a.StatusCode, a.body, c.param, c.message)
		}
	}
	// An engine that can't.
	for path, body := range map[string]string{"/v1/embeddings": `{"input":"a"}`, "/v1/rerank": `{"query":"a","documents":["a"]}`} {
		expect(t, newSite(t, siteOptions{}).post(path, body), http.StatusBadRequest, "unsupported_parameter", "model")
	}
}
