package tokenizer

// FillIn is the tokens by which a model is asked for what stands between two texts
// (arXiv:2207.14255): Prefix before Suffix after Middle, and then comes the answer.
type FillIn struct {
	Prefix, Suffix, Middle int32
	// SuffixFirst models are given Suffix after Prefix before, without a Middle.
	SuffixFirst bool
}

// fillInNames are how families of models spell them.
var fillInNames = []struct{ prefix, suffix, middle string }{
	{"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},    // Qwen2.5-Coder, CodeGemma
	{"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},          // StarCoder
	{"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},          // SantaCoder
	{"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"}, // GLM, CodeGeeX
	{"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},          // DeepSeek
	{"▁<PRE>", "▁<SUF>", "▁<MID>"},                            // Code Llama
	{"[PREFIX]", "[SUFFIX]", ""},                              // Codestral
}

// FillIn finds the tokens; false when the model has none. What a GGUF file says of them
// goes before their spelling.
func (t *Tokenizer) FillIn() (FillIn, bool) {
	if t.fillIn != nil {
		return *t.fillIn, true
	}
	for _, n := range fillInNames {
		prefix, ok1 := t.ID(n.prefix)
		suffix, ok2 := t.ID(n.suffix)
		middle, ok3 := t.ID(n.middle)
		if ok1 && ok2 && (ok3 || n.middle == "") {
			return FillIn{Prefix: prefix, Suffix: suffix, Middle: middle, SuffixFirst: n.middle == ""}, true
		}
	}
	return FillIn{}, false
}

// Prompt asks for what stands between two texts.
func (f FillIn) Prompt(dst, before, after []int32) []int32 {
	if f.SuffixFirst {
		dst = append(append(dst, f.Suffix), after...)
		return append(append(dst, f.Prefix), before...)
	}
	dst = append(append(dst, f.Prefix), before...)
	dst = append(append(dst, f.Suffix), after...)
	return append(dst, f.Middle)
}

// Tokens are those that an answer never holds.
func (f FillIn) Tokens() []int32 {
	if f.SuffixFirst {
		return []int32{f.Prefix, f.Suffix}
	}
	return []int32{f.Prefix, f.Suffix, f.Middle}
}
