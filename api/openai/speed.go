package openai

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/inferflux/inferflux/generate"
)

// speedFields change how fast an answer comes, or tell it.
var speedFields = []Field{
	{Name: "prediction", Chat: true, Type: "object: type \"content\", content a string or a list of text parts",
		Behaviour: "Text that the answer will probably repeat much of, such as a file that is to be edited. Where it does, several tokens are computed at once: the answer is the same, and comes sooner, if the model speculates (models[].speculation). usage.completion_tokens_details counts what was guessed rightly and wrongly.",
		decode:    (*request).decodePrediction},
	{Name: "timings", Chat: true, Completions: true, Type: "boolean", Default: "false",
		Behaviour: "The answer, or its last chunk before usage, has an object timings: milliseconds in the queue, until the first token, and for the rest; tokens of each kind, and tokens per second.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.timings, err = decodeBool(path, raw)
			return err
		}},
}

func (r *request) decodePrediction(path string, raw json.RawMessage) *Error {
	fields, err := decodeMap(path, raw)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		v, at := fields[name], path+"."+shorten(name)
		switch name {
		case "type":
			var kind string
			if kind, err = decodeString(at, v); err == nil && kind != "content" {
				err = unsupported(at, "%q can only be \"content\", not %q", at, shorten(kind))
			}
		case "content":
			r.prediction, err = decodeContent(at, v)
		default:
			err = badRequest(at, "unknown field %q", at)
			err.Code = "unknown_parameter"
		}
		if err != nil {
			return err
		}
	}
	if r.prediction == nil {
		return missing(path + ".content")
	}
	return nil
}

// timings say where the time of an answer went. The names are llama.cpp's server's, where
// it has them.
type timings struct {
	QueueMS            float64 `json:"queue_ms"`
	CacheN             int     `json:"cache_n"`  // tokens of the prompt that were held
	PromptN            int     `json:"prompt_n"` // and those that were computed
	PromptMS           float64 `json:"prompt_ms"`
	PromptPerSecond    float64 `json:"prompt_per_second"`
	PredictedN         int     `json:"predicted_n"`
	PredictedMS        float64 `json:"predicted_ms"` // after the first token
	PredictedPerSecond float64 `json:"predicted_per_second"`
	DraftN             int     `json:"draft_n"`
	DraftAccepted      int     `json:"draft_n_accepted"`
	Preempted          int     `json:"preempted_n"`
}

// newTimings sums up the sequences of a request, which run side by side: tokens are added,
// times are from the first to the last.
func newTimings(streams []*generate.Stream) *timings {
	var t timings
	var queued, started, first, last time.Time
	earliest := func(a *time.Time, b time.Time) {
		if !b.IsZero() && (a.IsZero() || b.Before(*a)) {
			*a = b
		}
	}
	for _, s := range streams {
		u := s.Timings()
		earliest(&queued, u.Queued)
		earliest(&started, u.Started)
		earliest(&first, u.FirstToken)
		if u.LastToken.After(last) {
			last = u.LastToken
		}
		t.CacheN += u.CachedTokens
		t.PromptN += u.PromptTokens - u.CachedTokens
		t.PredictedN += u.GeneratedTokens
		t.DraftN += u.GuessedTokens
		t.DraftAccepted += u.AcceptedTokens
		t.Preempted += u.Preempted
	}
	ms := func(from, to time.Time) float64 {
		if from.IsZero() || to.Before(from) {
			return 0
		}
		return float64(to.Sub(from).Microseconds()) / 1e3
	}
	rate := func(n int, ms float64) float64 {
		if n <= 0 || ms <= 0 {
			return 0
		}
		return 1e3 * float64(n) / ms
	}
	t.QueueMS, t.PromptMS, t.PredictedMS = ms(queued, started), ms(started, first), ms(first, last)
	t.PromptPerSecond = rate(t.PromptN, t.PromptMS)
	t.PredictedPerSecond = rate(t.PredictedN-len(streams), t.PredictedMS)
	return &t
}
