package openai

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/sample"
)

const (
	maxBadWords = 128
	maxBreakers = 32
)

// samplingFields are the fields of llama.cpp's and vLLM's servers beyond OpenAI's that
// change how tokens are chosen. Package sample says what each does.
var samplingFields = []Field{
	number("typical_p", "above 0, at most 1", "1 (off)", "Only the tokens whose surprise is nearest to what is expected, that together have this probability (locally typical sampling).", 0, 1, true,
		func(p *sample.Params) *float64 { return &p.TypicalP }),
	number("top_n_sigma", "at least 0; -1 like 0", "0 (off)", "Only tokens whose logit is at most so many standard deviations below the largest.", -1, 1e6, false,
		func(p *sample.Params) *float64 { return &p.TopNSigma }),
	number("xtc_probability", "0 to 1", "0 (off)", "How likely it is that for a token all likely choices but the least likely of them are left out.", 0, 1, false,
		func(p *sample.Params) *float64 { return &p.XTCProbability }),
	number("xtc_threshold", "above 0, at most 1", "0.1", "From which probability on a choice is likely for xtc_probability.", 0, 1, true,
		func(p *sample.Params) *float64 { return &p.XTCThreshold }),
	number("dynatemp_range", "at least 0", "0 (off)", "The temperature moves by so much around \"temperature\", up with the entropy of what is left after truncation.", 0, 100, false,
		func(p *sample.Params) *float64 { return &p.DynamicRange }),
	number("dynatemp_exponent", "above 0, at most 100", "1", "How the entropy becomes a temperature for dynatemp_range.", 0, 100, true,
		func(p *sample.Params) *float64 { return &p.DynamicExponent }),
	whole("mirostat", "0, 1 or 2", "0 (off)", "Mirostat, which keeps the surprise of tokens at mirostat_tau, in place of all truncation.", 0, 2,
		func(p *sample.Params) *int { return &p.Mirostat }),
	number("mirostat_tau", "above 0, at most 100", "5", "The surprise, in bits, that Mirostat aims at.", 0, 100, true,
		func(p *sample.Params) *float64 { return &p.MirostatTau }),
	number("mirostat_eta", "above 0, at most 1", "0.1", "How fast Mirostat gets there.", 0, 1, true,
		func(p *sample.Params) *float64 { return &p.MirostatEta }),
	whole("repeat_last_n", "at least 0; -1 like 0", "0 (all)", "How many tokens back the repetition, presence and frequency penalties look.", -1, math.MaxInt32,
		func(p *sample.Params) *int { return &p.PenaltyWindow }),
	number("dry_multiplier", "0 to 100", "0 (off)", "DRY: makes a token that would go on with a repetition of a sequence less likely, by dry_multiplier · dry_base^(length - dry_allowed_length).", 0, 100, false,
		func(p *sample.Params) *float64 { return &p.DRYMultiplier }),
	number("dry_base", "1 to 100", "1.75", "See dry_multiplier.", 1, 100, false,
		func(p *sample.Params) *float64 { return &p.DRYBase }),
	whole("dry_allowed_length", "at least 1", "2", "See dry_multiplier: the longest repetition that costs nothing is shorter than this.", 1, math.MaxInt32,
		func(p *sample.Params) *int { return &p.DRYAllowedLength }),
	whole("dry_penalty_last_n", "at least 0; -1 like 0", "0 (the last 8192)", "How many tokens back DRY looks; 8192 at most.", -1, math.MaxInt32,
		func(p *sample.Params) *int { return &p.DRYWindow }),
	{Name: "dry_sequence_breakers", Chat: true, Completions: true, Type: "list of strings", Range: "up to 32", Default: `["\n", ":", "\"", "*"]`,
		Behaviour: "DRY's repetitions don't reach over a token with one of these in its text.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.breakers, err = decodeTexts(path, raw, maxBreakers)
			return err
		}},
	{Name: "bad_words", Chat: true, Completions: true, Type: "list of strings", Range: "up to 128, of 1 to 1024 bytes each",
		Behaviour: "Texts that the answer can't hold, as the tokenizer splits them, at the beginning of a word or inside one.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.badWords, err = decodeTexts(path, raw, maxBadWords)
			return err
		}},
	{Name: "repeat_penalty", Chat: true, Completions: true, Type: "number", Range: "above 0, at most 10", Default: "1 (off)",
		Behaviour: "The same as repetition_penalty. If both are given they must be equal.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.repeatPenalty, err = decodeFloat(path, raw, 0, 10, true)
			return err
		}},
}

// number is a field that is a parameter of sampling. A value of -1, where there may be
// one, stands for 0.
func number(name, span, normal, behaviour string, lo, hi float64, above bool, into func(*sample.Params) *float64) Field {
	return Field{Name: name, Chat: true, Completions: true, Type: "number", Range: span, Default: normal, Behaviour: behaviour,
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			v, err := decodeFloat(path, raw, lo, hi, above)
			*into(&r.sampling) = max(v, 0)
			return err
		}}
}

func whole(name, span, normal, behaviour string, lo, hi int64, into func(*sample.Params) *int) Field {
	return Field{Name: name, Chat: true, Completions: true, Type: "integer", Range: span, Default: normal, Behaviour: behaviour,
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			v, err := decodeInt(path, raw, lo, hi)
			*into(&r.sampling) = int(max(v, 0))
			return err
		}}
}

// decodeTexts reads a list of texts of 1 to maxStopBytes bytes.
func decodeTexts(path string, raw json.RawMessage, most int) ([]string, *Error) {
	list, err := decodeList(path, raw, most)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(list))
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if texts[i], err = decodeString(at, v); err != nil {
			return nil, err
		}
		if n := len(texts[i]); n == 0 || n > maxStopBytes {
			return nil, outOfRange(at, fmt.Sprintf("1 to %d bytes long", maxStopBytes), fmt.Sprint(n))
		}
	}
	return texts, nil
}

// textBias is a bias of the tokens of a text, or says that they can't be chosen.
type textBias struct {
	text   string
	bias   float64
	banned bool
}

// decodeBiasPairs reads biases as llama.cpp's server takes them: [[id or text, number
// or false], …].
func (r *request) decodeBiasPairs(path string, raw json.RawMessage) *Error {
	list, err := decodeList(path, raw, maxValues)
	if err != nil {
		return err
	}
	r.sampling.LogitBias = make(map[int32]float64, len(list))
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		pair, err := decodeList(at, v, 2)
		if err != nil {
			return err
		}
		if len(pair) != 2 {
			return outOfRange(at, "a pair of a token id or text and a number", fmt.Sprintf("a list of %d", len(pair)))
		}
		bias, banned := 0.0, string(pair[1]) == "false"
		if !banned {
			if bias, err = decodeFloat(at+"[1]", pair[1], -100, 100, false); err != nil {
				return err
			}
		}
		if kindOf(pair[0]) == "a string" {
			text, err := decodeString(at+"[0]", pair[0])
			if err != nil {
				return err
			}
			r.textBias = append(r.textBias, textBias{text, bias, banned})
			continue
		}
		id, err := tokenID(at+"[0]", pair[0])
		if err != nil {
			return err
		}
		if banned {
			r.sampling.BadWords = append(r.sampling.BadWords, []int32{id})
		} else {
			r.sampling.LogitBias[id] = bias
		}
	}
	return nil
}

// checkSampling holds the rules that tie the fields of sampling together.
func (r *request) checkSampling() *Error {
	p := &r.sampling
	if r.repeatPenalty > 0 {
		if r.given["repetition_penalty"] && p.RepetitionPenalty != r.repeatPenalty {
			return badRequest("repeat_penalty", `"repetition_penalty" (%g) and "repeat_penalty" (%g) mean the same and differ: give one`, p.RepetitionPenalty, r.repeatPenalty)
		}
		p.RepetitionPenalty = r.repeatPenalty
	}
	if p.Mirostat == 0 {
		return nil
	}
	for _, name := range []string{"top_k", "top_p", "min_p", "typical_p", "top_n_sigma", "xtc_probability", "dynatemp_range"} {
		off := map[string]bool{"top_k": p.TopK == 0, "top_p": p.TopP == 1, "min_p": p.MinP == 0, "typical_p": p.TypicalP == 1, "top_n_sigma": p.TopNSigma == 0,
			"xtc_probability": p.XTCProbability == 0, "dynatemp_range": p.DynamicRange == 0}
		if !off[name] {
			return badRequest(name, `%q and "mirostat" can't be combined: Mirostat takes the place of all truncation`, name)
		}
	}
	return nil
}

// bindSampling turns texts into what only the model's tokenizer knows: biases, words
// and breakers in tokens.
func (r *request) bindSampling(m *generate.Model) {
	for _, b := range r.textBias {
		for _, id := range m.Tokenize(b.text) {
			if b.banned {
				r.sampling.BadWords = append(r.sampling.BadWords, []int32{id})
				continue
			}
			if r.sampling.LogitBias == nil {
				r.sampling.LogitBias = map[int32]float64{}
			}
			r.sampling.LogitBias[id] = b.bias
		}
	}
	for _, w := range r.badWords {
		r.sampling.BadWords = append(r.sampling.BadWords, m.Spellings(w)...)
	}
	if r.sampling.DRYMultiplier > 0 {
		breakers := r.breakers
		if !r.given["dry_sequence_breakers"] {
			breakers = []string{"\n", ":", "\"", "*"}
		}
		r.sampling.DRYBreakers = m.TokensWith(breakers)
	}
}
