package openai

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// request is a decoded body of either endpoint.
type request struct {
	endpoint endpoint
	model    string
	chat     chat.Input // of the chat endpoint
	prompts  []prompt   // of the completion endpoint
	echo     bool

	suffix string // "": none

	wantPrompt     bool // prompt_logprobs
	promptLogprobs int

	stream, includeUsage           bool
	n, bestOf                      int // bestOf 0: not given
	maxTokens, maxCompletionTokens int // 0: not given
	minTokens                      int
	stop                           []string
	stopTokens                     []int32
	ignoreEOS, includeStop         bool
	sampling                       sample.Params
	repeatPenalty                  float64 // 0: not given
	textBias                       []textBias
	badWords, breakers             []string
	wantLogprobs                   bool
	topLogprobs                    int

	tools       []tool
	toolChoice  toolChoice
	singleCall  bool   // parallel_tool_calls is false
	modernCalls bool   // there are tools
	legacyCalls bool   // there are functions instead
	effort      string // reasoning_effort

	constraint     *constraint
	thinkingBudget int // 0: none

	cacheSalt      string
	priority       int
	timeout        float64         // seconds; 0: none
	prediction     *string         // what the answer may be like
	timings        bool            // wanted
	client, tenant string          // who asks, as far as fairness and caches are concerned
	given          map[string]bool // fields that were sent and aren't null
}

// prompt is text or, if tokens isn't nil, token ids.
type prompt struct {
	text   string
	tokens []int32
}

// decodeRequest reads a body. What depends on the model (the vocabulary, its
// capabilities) is checked later by bind.
func decodeRequest(body []byte, e endpoint) (*request, *Error) {
	object, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	return decodeObject(object, e)
}

// decodeObject reads the fields of a body.
func decodeObject(object map[string]json.RawMessage, e endpoint) (*request, *Error) {
	r := &request{endpoint: e, n: 1, sampling: sample.Defaults(), given: make(map[string]bool, len(object))}
	r.chat.AddGenerationPrompt = true
	// In order, so that a body with two faults always gets the same answer.
	for _, name := range slices.Sorted(maps.Keys(object)) {
		raw := object[name]
		f := fieldFor(name, e)
		if f == nil {
			return nil, unknownField(name, e)
		}
		if isNull(raw) || f.Treatment == Ignored {
			continue
		}
		r.given[name] = true
		if err := f.decode(r, name, raw); err != nil {
			return nil, err
		}
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

func unknownField(name string, e endpoint) *Error {
	param := shorten(name)
	var err *Error
	if other := fieldFor(name, 1-e); other != nil && other.Treatment != Refused {
		path := "/v1/chat/completions"
		if e == chatEndpoint {
			path = "/v1/completions"
		}
		err = badRequest(param, "%q is a field of %s, not of this endpoint", param, path)
	} else {
		err = badRequest(param, "unknown field %q: see docs/API.md for the fields that are honoured or ignored", param)
	}
	err.Code = "unknown_parameter"
	return err
}

// check holds the rules that tie fields together.
func (r *request) check() *Error {
	switch {
	case r.endpoint == chatEndpoint && !r.given["messages"]:
		return missing("messages")
	case r.endpoint == completionEndpoint && !r.given["prompt"]:
		return missing("prompt")
	case r.given["stream_options"] && !r.stream:
		return badRequest("stream_options", `"stream_options" needs "stream": true`)
	case r.topLogprobs > 0 && !r.wantLogprobs:
		return badRequest("top_logprobs", `"top_logprobs" needs "logprobs": true`)
	case r.maxTokens > 0 && r.maxCompletionTokens > 0 && r.maxTokens != r.maxCompletionTokens:
		return badRequest("max_completion_tokens", `"max_tokens" (%d) and "max_completion_tokens" (%d) mean the same and differ: give one`,
			r.maxTokens, r.maxCompletionTokens)
	}
	if err := r.checkTools(); err != nil {
		return err
	}
	if err := r.checkSampling(); err != nil {
		return err
	}
	r.maxTokens = max(r.maxTokens, r.maxCompletionTokens)
	if r.maxTokens == 0 && r.endpoint == completionEndpoint {
		r.maxTokens = defaultCompletionTokens
	}
	if r.maxTokens > 0 && r.minTokens > r.maxTokens {
		return outOfRange("min_tokens", fmt.Sprintf("at most \"max_tokens\" (%d)", r.maxTokens), fmt.Sprint(r.minTokens))
	}
	if r.wantLogprobs {
		r.sampling.Logprobs = r.topLogprobs
	}
	return r.checkPrompt()
}

func missing(name string) *Error {
	e := badRequest(name, "the field %q is missing", name)
	e.Code = "missing_required_parameter"
	return e
}

// bind checks what only the model can say.
func (r *request) bind(m *generate.Model) *Error {
	if r.wantLogprobs && !m.Engine().Capabilities().Logprobs {
		return unsupported("logprobs", "the backend of model %q can't report log-probabilities", m.ID())
	}
	if err := r.bindEffort(m); err != nil {
		return err
	}
	if err := r.bindPrompt(m); err != nil {
		return err
	}
	for i, id := range r.stopTokens {
		if err := inVocabulary(m, fmt.Sprintf("stop_token_ids[%d]", i), id); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.sampling.LogitBias)) {
		if err := inVocabulary(m, "logit_bias", id); err != nil {
			return err
		}
	}
	for _, p := range r.prompts {
		for _, id := range p.tokens {
			if err := inVocabulary(m, "prompt", id); err != nil {
				return err
			}
		}
	}
	if r.priority != 0 && m.Policy() != scheduler.ByPriority {
		return noPriority(m)
	}
	r.bindSampling(m)
	return nil
}

func noPriority(m *generate.Model) *Error {
	return unsupported("priority", `model %q is not scheduled by priority: leave "priority" out, or set runtime.scheduler.policy to priority on the server`, m.ID())
}

// inVocabulary refuses a token id that the model doesn't have.
func inVocabulary(m *generate.Model, path string, id int32) *Error {
	vocab := m.Engine().Model().Vocab
	if int(id) < vocab {
		return nil
	}
	return outOfRange(path, fmt.Sprintf("a token id below %d, the size of the vocabulary of %q", vocab, m.ID()), fmt.Sprint(id))
}

// generation is the request of answer number i to a prompt.
func (r *request) generation(prompt []int32, i int) generate.Request {
	g := generate.Request{
		Prompt:      prompt,
		Sampling:    r.sampling,
		MaxTokens:   r.maxTokens,
		MinTokens:   r.minTokens,
		Stop:        r.stop,
		StopTokens:  r.stopTokens,
		IgnoreEOS:   r.ignoreEOS,
		IncludeStop: r.includeStop,
		Tenant:      r.tenant,
		Client:      r.client,
		Priority:    r.priority,
	}
	if g.Sampling.Seed != nil {
		seed := *g.Sampling.Seed + uint64(i)
		g.Sampling.Seed = &seed
	}
	return g
}

func (r *request) decodeStreamOptions(path string, raw json.RawMessage) *Error {
	options, err := decodeMap(path, raw)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		v := options[name]
		at := path + "." + shorten(name)
		if isNull(v) {
			continue
		}
		switch name {
		case "include_usage":
			r.includeUsage, err = decodeBool(at, v)
		case "include_obfuscation":
			var on bool
			if on, err = decodeBool(at, v); err == nil && on {
				err = unsupported(at, "%q can only be false", at)
			}
		default:
			err = badRequest(at, "unknown field %q", at)
			err.Code = "unknown_parameter"
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *request) decodeStop(path string, raw json.RawMessage) *Error {
	list := []json.RawMessage{raw}
	switch kindOf(raw) {
	case "a string":
	case "a list":
		var err *Error
		if list, err = decodeList(path, raw, maxStops); err != nil {
			return err
		}
	default:
		return wrongType(path, "a string or a list of strings", raw)
	}
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if kindOf(raw) == "a string" {
			at = path
		}
		s, err := decodeString(at, v)
		if err != nil {
			return err
		}
		if len(s) == 0 || len(s) > maxStopBytes {
			return outOfRange(at, fmt.Sprintf("1 to %d bytes long", maxStopBytes), fmt.Sprint(len(s)))
		}
		r.stop = append(r.stop, s)
	}
	return nil
}

func (r *request) decodeStopTokens(path string, raw json.RawMessage) *Error {
	list, err := decodeList(path, raw, 128)
	if err != nil {
		return err
	}
	r.stopTokens, err = decodeTokens(path, list)
	return err
}

func (r *request) decodeLogitBias(path string, raw json.RawMessage) *Error {
	if kindOf(raw) == "a list" {
		return r.decodeBiasPairs(path, raw)
	}
	m, err := decodeMap(path, raw)
	if err != nil {
		return err
	}
	if len(m) == 0 {
		return nil
	}
	r.sampling.LogitBias = make(map[int32]float64, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		id, err := parseTokenKey(path, key)
		if err != nil {
			return err
		}
		bias, err := decodeFloat(path+"."+key, m[key], -100, 100, false)
		if err != nil {
			return err
		}
		if _, twice := r.sampling.LogitBias[id]; twice {
			return badRequest(path, "%q names token %d twice", path, id)
		}
		r.sampling.LogitBias[id] = bias
	}
	return nil
}

// decodePrompt reads the prompts of a request.
func (r *request) decodePrompt(path string, raw json.RawMessage) (err *Error) {
	r.prompts, err = decodeTextsOrTokens(path, raw, maxChoices)
	return err
}

// decodeTextsOrTokens reads the four shapes in which texts are given.
func decodeTextsOrTokens(path string, raw json.RawMessage, most int) ([]prompt, *Error) {
	const want = "a string, a list of strings, a list of token ids or a list of lists of token ids"
	switch kindOf(raw) {
	case "a string":
		text, err := decodeString(path, raw)
		return []prompt{{text: text}}, err
	case "a list":
	default:
		return nil, wrongType(path, want, raw)
	}
	list, err := decodeList(path, raw, maxValues)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, outOfRange(path, want, "an empty list")
	}
	kind := kindOf(list[0])
	if kind == "a number" {
		tokens, err := decodeTokens(path, list)
		return []prompt{{tokens: tokens}}, err
	}
	if len(list) > most {
		return nil, outOfRange(path, fmt.Sprintf("a list of at most %d texts", most), fmt.Sprint(len(list)))
	}
	var prompts []prompt
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		var p prompt
		switch kind {
		case "a string":
			p.text, err = decodeString(at, v)
		case "a list":
			var ids []json.RawMessage
			if ids, err = decodeList(at, v, maxValues); err != nil {
				break
			}
			if len(ids) == 0 {
				return nil, outOfRange(at, "a list of token ids", "an empty list")
			}
			p.tokens, err = decodeTokens(at, ids)
		default:
			return nil, wrongType(at, "a string, a token id or a list of token ids", v)
		}
		if err != nil {
			return nil, err
		}
		prompts = append(prompts, p)
	}
	return prompts, nil
}

func decodeTokens(path string, list []json.RawMessage) ([]int32, *Error) {
	tokens := make([]int32, len(list))
	for i, v := range list {
		var err *Error
		if tokens[i], err = tokenID(path, v); err != nil {
			// The index is worth its cost only once something is wrong.
			_, err = tokenID(fmt.Sprintf("%s[%d]", path, i), v)
			return nil, err
		}
	}
	return tokens, nil
}
