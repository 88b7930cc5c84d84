package openai

import (
	"encoding/json"
	"slices"

	"github.com/inferflux/inferflux/generate"
)

// promptFields are the fields that say how a prompt is made and what is told of it.
var promptFields = []Field{
	{Name: "add_generation_prompt", Chat: true, Type: "boolean", Default: "true, or false with continue_final_message",
		Behaviour: "false: the prompt ends with the last message, without the beginning of an answer.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.chat.AddGenerationPrompt, err = decodeBool(path, raw)
			return err
		}},
	{Name: "continue_final_message", Chat: true, Type: "boolean", Default: "false",
		Behaviour: "The answer goes on with the text of the last message, which must be one of the assistant's, instead of being a message of its own. It holds only what is new.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.chat.ContinueFinal, err = decodeBool(path, raw)
			return err
		}},
	{Name: "prompt_logprobs", Chat: true, Completions: true, Type: "integer", Range: "0 to 20",
		Behaviour: "Report the log-probability of each token of the prompt but the first, and of this many of the most likely ones, as vLLM does: a list, in the answer or, of completions, in each choice, with an object from token ids to logprob, rank and decoded_token. Not with stream.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 0, maxLogprobs)
			r.wantPrompt, r.promptLogprobs = true, int(n)
			return err
		}},
	{Name: "best_of", Completions: true, Type: "integer", Range: "n to 128 (prompts × best_of at most 128)", Default: "n",
		Behaviour: "So many answers are generated, and those n are returned whose tokens are the likeliest on average. All of them count in usage. More than n not with stream.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 1, maxChoices)
			r.bestOf = int(n)
			return err
		}},
	{Name: "suffix", Completions: true, Type: "string",
		Behaviour: "Text that comes after the answer, for models that were trained to fill in the middle; with others it is a 400. Neither it nor the prompt is read for control tokens, and echo gives only the prompt.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.suffix, err = decodeString(path, raw)
			return err
		}},
	chatOnly(refused("suffix", "messages have no place for it: use /v1/completions")),
}

func chatOnly(f Field) Field {
	f.Completions = false
	return f
}

// candidates is how many answers to a prompt are generated.
func (r *request) candidates() int { return max(r.n, r.bestOf) }

// bindPrompt checks what only the model can say of these fields.
func (r *request) bindPrompt(m *generate.Model) *Error {
	switch fill, ok := m.Tokenizer().FillIn(); {
	case r.suffix == "":
	case !ok:
		return unsupported("suffix", "model %q has no tokens for filling in the middle", m.ID())
	default:
		r.stopTokens = slices.Concat(r.stopTokens, fill.Tokens())
	}
	can := m.Engine().Capabilities().Logprobs
	if r.wantPrompt && !can {
		return unsupported("prompt_logprobs", "the backend of model %q can't report log-probabilities", m.ID())
	}
	if r.bestOf > r.n && !can {
		return unsupported("best_of", "the backend of model %q can't report log-probabilities, by which the best are found", m.ID())
	}
	return nil
}

// countField is the field that says how many answers there are.
func (r *request) countField() string {
	if r.bestOf > r.n {
		return "best_of"
	}
	return "n"
}

// checkPrompt holds the rules that tie these fields to others.
func (r *request) checkPrompt() *Error {
	switch {
	case r.wantPrompt && r.stream:
		return badRequest("prompt_logprobs", `"prompt_logprobs" and "stream" can't be combined: they are known before the first token, and no chunk has a place for them`)
	case r.suffix != "" && r.echo && r.wantLogprobs:
		return badRequest("echo", `"echo" with "logprobs" and "suffix" can't be combined: the prompt's tokens are not those of the echoed text`)
	case r.bestOf > 0 && r.bestOf < r.n:
		return badRequest("best_of", `"best_of" (%d) must be at least "n" (%d)`, r.bestOf, r.n)
	case r.bestOf > r.n && r.stream:
		return badRequest("best_of", `"best_of" greater than "n" and "stream" can't be combined: which answers are the best is known only at the end`)
	case len(r.prompts)*r.candidates() > maxChoices:
		return badRequest(r.countField(), "%d prompts × %q of %d are more than %d answers in one request", len(r.prompts), r.countField(), r.candidates(), maxChoices)
	}
	if r.bestOf > r.n {
		r.sampling.Logprobs = max(r.sampling.Logprobs, 0)
	}
	if !r.chat.ContinueFinal {
		return nil
	}
	if r.given["add_generation_prompt"] && r.chat.AddGenerationPrompt {
		return badRequest("continue_final_message", `"continue_final_message" and "add_generation_prompt" can't both be true: an answer either goes on with the last message or begins a new one`)
	}
	r.chat.AddGenerationPrompt = false
	last := r.chat.Messages[len(r.chat.Messages)-1]
	if last.Role != "assistant" || last.Content == nil || last.ToolCalls != nil {
		return badRequest("continue_final_message", `"continue_final_message" needs a last message of role "assistant" that has a text and no calls`)
	}
	return nil
}
