package openai

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Limits of a request that are ours to choose.
const (
	maxChoices   = 128     // sequences of one request: prompts × n
	maxStops     = 16      // stop strings; OpenAI takes 4
	maxStopBytes = 1024    // length of one
	maxMessages  = 1 << 14 // turns of a conversation
	maxLogprobs  = 20
)

// defaultCompletionTokens is max_tokens of /v1/completions when left out, as in
// OpenAI's API.
const defaultCompletionTokens = 16

// fields is the one list that both the decoder and the reference page use.
var fields = slices.Concat(mainFields, samplingFields, constraintFields, speedFields, promptFields)

var mainFields = []Field{
	{Name: "messages", Chat: true, Type: "list of messages", Range: "1 to 16384", Default: "required",
		Behaviour: "The conversation. Roles: system, developer (treated as system), user, assistant, tool. Content is a string, or a list of parts of type text, which are joined; other parts (image_url, input_audio, file) are refused.",
		decode:    (*request).decodeMessages},
	{Name: "prompt", Completions: true, Type: "string, list of strings, list of token ids, or list of lists of token ids", Range: "at most 128 prompts × n", Default: "required",
		Behaviour: "Raw text to continue, without a chat template. Text gets the model's beginning-of-sequence token if it wants one, and control tokens spelled out in it count as such; token ids are used as they are.",
		decode:    (*request).decodePrompt},
	{Name: "model", Chat: true, Completions: true, Type: "string", Default: "the first configured model",
		Behaviour: "Id or alias of a served model.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.model, err = decodeString(path, raw)
			return err
		}},
	{Name: "stream", Chat: true, Completions: true, Type: "boolean", Default: "false",
		Behaviour: "Send the answer as server-sent events while it is generated.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.stream, err = decodeBool(path, raw)
			return err
		}},
	{Name: "stream_options", Chat: true, Completions: true, Type: "object",
		Behaviour: "Only with stream. include_usage: a last chunk with no choices carries the usage. include_obfuscation: only false.",
		decode:    (*request).decodeStreamOptions},
	{Name: "n", Chat: true, Completions: true, Type: "integer", Range: "1 to 128 (prompts × n at most 128)", Default: "1",
		Behaviour: "Number of answers to each prompt, generated side by side. With a seed, the i-th answer to a prompt (from 0) uses seed + i.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 1, maxChoices)
			r.n = int(n)
			return err
		}},
	{Name: "max_completion_tokens", Chat: true, Completions: true, Type: "integer", Range: "at least 1",
		Behaviour: "The same as max_tokens. If both are given they must be equal.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 1, math.MaxInt32)
			r.maxCompletionTokens = int(n)
			return err
		}},
	{Name: "max_tokens", Chat: true, Completions: true, Type: "integer", Range: "at least 1", Default: "chat: the server's limit; completions: 16",
		Behaviour: "Most tokens to generate for each answer. Prompt and max_tokens together must fit the context.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 1, math.MaxInt32)
			r.maxTokens = int(n)
			return err
		}},
	{Name: "min_tokens", Chat: true, Completions: true, Type: "integer", Range: "at least 0", Default: "0",
		Behaviour: "Tokens that end the answer can't be chosen before this many were generated. At most max_tokens.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 0, math.MaxInt32)
			r.minTokens = int(n)
			return err
		}},
	{Name: "stop", Chat: true, Completions: true, Type: "string or list of strings", Range: "up to 16, of 1 to 1024 bytes each",
		Behaviour: "The answer ends before the first of these; they are not part of it.",
		decode:    (*request).decodeStop},
	{Name: "stop_token_ids", Chat: true, Completions: true, Type: "list of token ids", Range: "up to 128",
		Behaviour: "Further tokens that end the answer, like the model's own.",
		decode:    (*request).decodeStopTokens},
	{Name: "ignore_eos", Chat: true, Completions: true, Type: "boolean", Default: "false",
		Behaviour: "Tokens that end the answer don't end it.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.ignoreEOS, err = decodeBool(path, raw)
			return err
		}},
	{Name: "include_stop_str_in_output", Chat: true, Completions: true, Type: "boolean", Default: "false",
		Behaviour: "The stop string that ended the answer is its last part.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.includeStop, err = decodeBool(path, raw)
			return err
		}},
	{Name: "seed", Chat: true, Completions: true, Type: "integer", Range: "64 bits, signed", Default: "random",
		Behaviour: "Same request, same seed, same answer, whatever else the server is doing.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, math.MinInt64, math.MaxInt64)
			seed := uint64(n)
			r.sampling.Seed = &seed
			return err
		}},
	{Name: "temperature", Chat: true, Completions: true, Type: "number", Range: "0 to 2", Default: "1",
		Behaviour: "0 always takes the most likely token.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.sampling.Temperature, err = decodeFloat(path, raw, 0, 2, false)
			return err
		}},
	{Name: "top_p", Chat: true, Completions: true, Type: "number", Range: "above 0, at most 1", Default: "1",
		Behaviour: "Only the most likely tokens that together have this probability.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.sampling.TopP, err = decodeFloat(path, raw, 0, 1, true)
			return err
		}},
	{Name: "top_k", Chat: true, Completions: true, Type: "integer", Range: "at least 0; -1 like 0", Default: "0 (off)",
		Behaviour: "Only the k most likely tokens.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, -1, math.MaxInt32)
			r.sampling.TopK = int(max(n, 0))
			return err
		}},
	{Name: "min_p", Chat: true, Completions: true, Type: "number", Range: "0 to 1", Default: "0 (off)",
		Behaviour: "Only tokens at least this likely relative to the most likely one.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.sampling.MinP, err = decodeFloat(path, raw, 0, 1, false)
			return err
		}},
	{Name: "repetition_penalty", Chat: true, Completions: true, Type: "number", Range: "above 0, at most 10", Default: "1 (off)",
		Behaviour: "Makes tokens of prompt and answer less likely (arXiv:1909.05858).",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.sampling.RepetitionPenalty, err = decodeFloat(path, raw, 0, 10, true)
			return err
		}},
	{Name: "presence_penalty", Chat: true, Completions: true, Type: "number", Range: "-2 to 2", Default: "0",
		Behaviour: "Taken from the logit of every token that the answer holds already.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.sampling.PresencePenalty, err = decodeFloat(path, raw, -2, 2, false)
			return err
		}},
	{Name: "frequency_penalty", Chat: true, Completions: true, Type: "number", Range: "-2 to 2", Default: "0",
		Behaviour: "Likewise, times the number of its occurrences.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.sampling.FrequencyPenalty, err = decodeFloat(path, raw, -2, 2, false)
			return err
		}},
	{Name: "logit_bias", Chat: true, Completions: true, Type: "object of token id to number, or list of pairs of a token id or a text and a number", Range: "-100 to 100; ids of the vocabulary",
		Behaviour: "Added to the tokens' logits. A text stands for each of its tokens; false as a number for a token that can't be chosen.",
		decode:    (*request).decodeLogitBias},
	{Name: "logprobs", Chat: true, Type: "boolean", Default: "false",
		Behaviour: "Report the log-probability of each token: of the model's own distribution, before temperature, penalties, bias and truncation.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.wantLogprobs, err = decodeBool(path, raw)
			return err
		}},
	{Name: "top_logprobs", Chat: true, Type: "integer", Range: "0 to 20, with logprobs", Default: "0",
		Behaviour: "Report the most likely tokens at each position too.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 0, maxLogprobs)
			r.topLogprobs = int(n)
			return err
		}},
	{Name: "logprobs", Completions: true, Type: "integer", Range: "0 to 20",
		Behaviour: "Report the log-probability of each token and of this many of the most likely ones.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 0, maxLogprobs)
			r.wantLogprobs, r.topLogprobs = true, int(n)
			return err
		}},
	{Name: "echo", Completions: true, Type: "boolean", Default: "false",
		Behaviour: "The answer begins with the prompt; with logprobs, the prompt's tokens have theirs, but for the first.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.echo, err = decodeBool(path, raw)
			return err
		}},
	{Name: "chat_template_kwargs", Chat: true, Type: "object",
		Behaviour: "Further variables for the model's chat template, such as enable_thinking.",
		decode:    (*request).decodeTemplateKwargs},
	{Name: "documents", Chat: true, Type: "list of objects",
		Behaviour: "Handed to the model's chat template, for templates that know documents.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			list, err := decodeList(path, raw, maxMessages)
			if err != nil {
				return err
			}
			for i, d := range list {
				if kindOf(d) != "an object" {
					return wrongType(fmt.Sprintf("%s[%d]", path, i), "an object", d)
				}
			}
			r.chat.Documents = raw
			return nil
		}},
	{Name: "tools", Chat: true, Type: "list of {\"type\": \"function\", \"function\": {…}}", Range: "up to 128",
		Behaviour: "Functions that the model may call: name, description, parameters (a JSON Schema) and strict. See docs/Tools.md.",
		decode:    (*request).decodeTools},
	{Name: "tool_choice", Chat: true, Type: "string or object", Range: "\"none\", \"auto\", or allowed_tools of mode auto", Default: "\"auto\"",
		Behaviour: "none: the model isn't shown the tools. auto: it calls some or answers in words. allowed_tools: it is shown only these. \"required\" and a named function are not supported yet.",
		decode:    (*request).decodeToolChoice},
	{Name: "parallel_tool_calls", Chat: true, Type: "boolean", Default: "true",
		Behaviour: "false: the answer ends with the first call.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			parallel, err := decodeBool(path, raw)
			r.singleCall = !parallel
			return err
		}},
	{Name: "functions", Chat: true, Type: "list of {name, description, parameters}", Range: "up to 128",
		Behaviour: "What tools has replaced. The answer has a function_call instead of tool_calls, at most one.",
		decode:    (*request).decodeFunctions},
	{Name: "function_call", Chat: true, Type: "string or {name}", Range: "\"none\" or \"auto\"", Default: "\"auto\"",
		Behaviour: "What tool_choice has replaced.",
		decode:    (*request).decodeFunctionCall},
	{Name: "reasoning_effort", Chat: true, Type: "string", Range: "\"none\", \"minimal\", \"low\", \"medium\", \"high\" or \"xhigh\"",
		Behaviour: "Sets what the model's chat template knows of reasoning_effort (minimal and none are low there, xhigh is high), enable_thinking and thinking (false for none), unless chat_template_kwargs does. A 400 if it knows none of them.",
		decode:    (*request).decodeEffort},
	{Name: "priority", Chat: true, Completions: true, Type: "integer", Range: "-1000 to 1000", Default: "0",
		Behaviour: "The lowest number is let in first, and others give way to it. Other than 0 only where the server's policy is priority.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, -1000, 1000)
			r.priority = int(n)
			return err
		}},
	{Name: "timeout", Chat: true, Completions: true, Type: "number", Range: "above 0, at most 86400", Default: "none",
		Behaviour: "Seconds after which the request is given up, in the queue or while it is answered: 504, or an error in the stream.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.timeout, err = decodeFloat(path, raw, 0, 86400, true)
			return err
		}},
	{Name: "cache_salt", Chat: true, Completions: true, Type: "string", Range: "1 to 1024 bytes",
		Behaviour: "Only what requests with the same salt have left in the cache of prefixes is used for this one.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			if r.cacheSalt, err = decodeString(path, raw); err == nil && (r.cacheSalt == "" || len(r.cacheSalt) > maxStopBytes) {
				err = outOfRange(path, fmt.Sprintf("1 to %d bytes long", maxStopBytes), fmt.Sprint(len(r.cacheSalt)))
			}
			return err
		}},
	{Name: "modalities", Chat: true, Type: "list of strings", Range: "[\"text\"]", Default: "[\"text\"]",
		Behaviour: "Answers are text.",
		decode: func(_ *request, path string, raw json.RawMessage) *Error {
			list, err := decodeList(path, raw, 16)
			for i := 0; i < len(list) && err == nil; i++ {
				var kind string
				kind, err = decodeString(fmt.Sprintf("%s[%d]", path, i), list[i])
				if err == nil && kind != "text" {
					err = unsupported(path, "%q can only hold \"text\", not %q", path, shorten(kind))
				}
			}
			return err
		}},
	{Name: "service_tier", Chat: true, Type: "string", Range: "\"auto\" or \"default\"",
		Behaviour: "There is one tier.",
		decode: func(_ *request, path string, raw json.RawMessage) *Error {
			tier, err := decodeString(path, raw)
			if err == nil && tier != "auto" && tier != "default" {
				err = unsupported(path, "%q can only be \"auto\" or \"default\", not %q", path, shorten(tier))
			}
			return err
		}},

	ignored("user", true, "string", "Who the client's end user is."),
	ignored("metadata", true, "object", "Notes for OpenAI's dashboard."),
	ignored("store", false, "boolean", "Nothing is ever stored."),
	ignored("safety_identifier", false, "string", "Who the client's end user is."),
	ignored("prompt_cache_key", false, "string", "A hint for OpenAI's cache."),
	ignored("prompt_cache_retention", false, "string", "A hint for OpenAI's cache."),
	ignored("prompt_cache_options", false, "object", "A hint for OpenAI's cache."),

	refused("audio", "answers are text"),
	refused("web_search_options", "the server doesn't search the web"),
	refused("verbosity", "no served model has such a switch"),
	refused("moderation", "answers are not moderated"),
	refused("n_predict", "use \"max_tokens\""),
	refused("chat_template", "the template is the model's own"),
	refused("use_beam_search", "only sampling is supported"),
	refused("length_penalty", "only sampling is supported"),
}

func ignored(name string, both bool, kind, why string) Field {
	return Field{Name: name, Chat: true, Completions: both, Type: kind, Treatment: Ignored, Behaviour: why}
}

func refused(name, why string) Field {
	return Field{Name: name, Chat: true, Completions: true, Type: "any", Range: "null, false, empty", Treatment: Refused, Behaviour: why,
		decode: func(_ *request, path string, raw json.RawMessage) *Error {
			switch string(raw) {
			case "null", "false", `""`, "[]", "{}", "0":
				return nil
			}
			return unsupported(path, "%q is not supported: %s", path, why)
		}}
}

// tokenID reads one token id; whether the vocabulary has it is known only when
// the model is.
func tokenID(path string, raw json.RawMessage) (int32, *Error) {
	n, err := decodeInt(path, raw, 0, math.MaxInt32)
	return int32(n), err
}

// parseTokenKey reads a token id that is an object's key.
func parseTokenKey(path, key string) (int32, *Error) {
	n, err := strconv.ParseInt(key, 10, 32)
	if err != nil || n < 0 {
		return 0, badRequest(path, "%q must have token ids as keys, not %q", path, shorten(key))
	}
	return int32(n), nil
}
