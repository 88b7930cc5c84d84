package openai

import (
	"context"
	"slices"
	"strconv"

	"github.com/inferflux/inferflux/generate"
)

// maxScores is how many log-probabilities of prompts are told at once: each takes some
// hundred bytes.
const maxScores = 1 << 19

// promptScore is vLLM's entry for a token in prompt_logprobs.
type promptScore struct {
	Logprob float32 `json:"logprob"`
	Rank    int     `json:"rank"` // 1 is the likeliest
	Token   string  `json:"decoded_token"`
}

// promptScores are the entries of a prompt: for each token but the first, which has none,
// itself and the likeliest in its place, by id.
type promptScores []map[string]promptScore

// score asks for the log-probabilities of the prompts' tokens, if they are wanted.
func (b *batch) score(ctx context.Context) error {
	r, most, field := b.req, -1, "logprobs"
	if r.echo && r.wantLogprobs {
		most = r.topLogprobs
	}
	if r.wantPrompt && r.promptLogprobs > most {
		most, field = r.promptLogprobs, "prompt_logprobs"
	}
	if most < 0 {
		return nil
	}
	tokens := 0
	for _, ids := range b.prompts {
		tokens += len(ids)
	}
	if n := tokens * (1 + most); n > maxScores {
		return badRequest(field, "%q of %d for %d tokens of prompts are %d log-probabilities, more than %d", field, most, tokens, n, maxScores)
	}
	by := generate.Caller{Client: r.client, Tenant: r.tenant, Priority: r.priority}
	var err error
	b.scored, err = b.model.PromptLogprobs(ctx, by, b.prompts, most)
	return err
}

// promptLogprobs are those of prompt_logprobs.
func (b *batch) promptLogprobs(prompt int) promptScores {
	if !b.req.wantPrompt {
		return nil
	}
	all := make(promptScores, 1+len(b.scored[prompt]))
	for i, t := range b.scored[prompt] {
		entry := map[string]promptScore{}
		for rank, top := range t.Top[:min(b.req.promptLogprobs, len(t.Top))] {
			entry[strconv.Itoa(int(top.Token))] = promptScore{finite(top.Logprob), rank + 1, decoded(b.model, top.Token)}
		}
		entry[strconv.Itoa(int(t.Token))] = promptScore{finite(t.Logprob), t.Rank, decoded(b.model, t.Token)}
		all[i+1] = entry
	}
	return all
}

func decoded(m *generate.Model, id int32) string {
	text, _ := spelling(m, id)
	return text
}

// echoed are the log-probabilities of an echoed prompt.
func (b *batch) echoed(prompt int) *textLogprobs {
	tokens := make([]generate.Token, len(b.prompts[prompt]))
	for i, id := range b.prompts[prompt] {
		tokens[i].Token = id
		if i > 0 {
			choice := b.scored[prompt][i-1].Choice
			tokens[i].TokenLogprob = choice.TokenLogprob
			tokens[i].Top = choice.Top[:min(b.req.topLogprobs, len(choice.Top))]
		}
	}
	l, _ := newTextLogprobs(b.model, tokens, 0)
	l.TokenLogprobs[0], l.TopLogprobs[0] = nil, nil // nothing comes before it
	return l
}

// append adds what comes after.
func (l *textLogprobs) append(more *textLogprobs) {
	l.Tokens = append(l.Tokens, more.Tokens...)
	l.TokenLogprobs = append(l.TokenLogprobs, more.TokenLogprobs...)
	l.TopLogprobs = append(l.TopLogprobs, more.TopLogprobs...)
	l.TextOffset = append(l.TextOffset, more.TextOffset...)
}

// best orders the answers to a prompt by their tokens' mean log-probability.
func best(answers []answer) {
	mean := func(a *answer) float64 {
		sum := 0.0
		for _, t := range a.tokens {
			sum += float64(finite(t.Logprob))
		}
		return sum / float64(max(len(a.tokens), 1))
	}
	slices.SortStableFunc(answers, func(x, y answer) int {
		switch a, b := mean(&x), mean(&y); {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
}
