package tokenizer

import (
	"slices"
	"strings"
)

// The patterns of pre-tokenizers as tokenizer.json writes them (line breaks in
// a pattern may be written out there or as themselves).
const (
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen35 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternTekken = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*` +
		`|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternO200k = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?` +
		`|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	patternDigit      = `\p{N}`
	patternDigits3    = `\p{N}{1,3}`
	patternDigitRun   = `\p{N}+`
	patternHanKana    = `[一-龥぀-ゟ゠-ヿ]+`
	patternHanHangul  = `[一-龥ࠀ-一가-퟿]+`
	patternDeepSeekV3 = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+" +
		`|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternLine          = `[\r\n]`
	patternTrailingSpace = `\s+$`
	patternSpaceLetters  = `\s?\p{L}+`
	patternSpacePunct    = `\s?\p{P}+`
	patternDeepSeekWord  = `\s?[` + deepSeekLetterRanges + `]+`
	patternDeepSeekPunct = `\s?[!-/:-~！-／：-～‘-‟　-。]+`
)

// splitters are the patterns that there is a splitter for. covers says that a
// pattern matches every text from end to end, nothing left between matches.
var splitters = map[string]struct {
	split  splitter
	covers bool
}{
	patternGPT2:          {splitGPT2, true},
	patternLlama3:        {splitLlama3(3, false), true},
	patternQwen2:         {splitLlama3(1, false), true},
	patternQwen35:        {splitLlama3(1, true), true},
	patternTekken:        {splitO200k(1, false), true},
	patternO200k:         {splitO200k(3, true), true},
	patternDigit:         {splitDigits(1), false},
	patternDigits3:       {splitDigits(3), false},
	patternDigitRun:      {splitDigits(1 << 30), false},
	patternHanKana:       {splitRanges(hanKana), false},
	patternHanHangul:     {splitRanges(hanHangul), false},
	patternDeepSeekV3:    {splitDeepSeekV3, false},
	patternLine:          {splitLines, false},
	patternTrailingSpace: {splitTrailingSpace, false},
	patternSpaceLetters:  {spaceThen(isLetter), false},
	patternSpacePunct:    {spaceThen(isPunct), false},
	patternDeepSeekWord:  {spaceThen(isDeepSeekLetter), false},
	patternDeepSeekPunct: {spaceThen(isDeepSeekPunct), false},
}

// family is a pre-tokenizer as tokenizer.ggml.pre names it, with the rules that
// GGUF files leave to the name.
type family struct {
	name         string
	aliases      []string
	patterns     []string
	nfc          bool // the text is normalized to NFC
	ignoreMerges bool // a word in the vocabulary is taken without merging
	addBOS       bool // unless the file says otherwise
}

// families in the order in which a list of patterns is named.
var families = []family{
	{name: "gpt-2", patterns: []string{patternGPT2},
		aliases: []string{"phi-2", "mpt", "olmo", "jais", "gigachat", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "exaone4", "trillion", "granite-docling"}},
	{name: "llama-bpe", patterns: []string{patternLlama3}, ignoreMerges: true, addBOS: true,
		aliases: []string{"llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"}},
	{name: "dbrx", patterns: []string{patternLlama3},
		aliases: []string{"smaug-bpe", "glm4", "chatglm-bpe"}},
	{name: "qwen2", patterns: []string{patternQwen2}, nfc: true},
	{name: "stablelm2", patterns: []string{patternQwen2},
		aliases: []string{"deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "hunyuan", "solar-open", "grok-2"}},
	{name: "qwen35", patterns: []string{patternQwen35}, nfc: true},
	{name: "smollm", patterns: []string{patternDigit, patternGPT2},
		aliases: []string{"starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"}},
	{name: "command-r", patterns: []string{patternDigit, patternGPT2}, nfc: true},
	{name: "tekken", patterns: []string{patternTekken}, ignoreMerges: true, addBOS: true},
	{name: "gpt-4o", patterns: []string{patternO200k},
		aliases: []string{"llama4", "kanana2", "talkie", "minimax-m2"}},
	{name: "deepseek-llm", patterns: []string{patternLine, patternDeepSeekWord, patternDeepSeekPunct, patternTrailingSpace, patternHanHangul, patternDigit}},
	{name: "deepseek-coder", patterns: []string{patternLine, patternSpaceLetters, patternSpacePunct, patternHanHangul, patternDigit}},
	{name: "deepseek-v3", patterns: []string{patternDigits3, patternHanKana, patternDeepSeekV3},
		aliases: []string{"hunyuan-dense", "joyai-llm", "hy_v4"}},
}

// findFamily finds a family by a name of tokenizer.ggml.pre.
func findFamily(name string) (family, bool) {
	for _, f := range families {
		if f.name == name || slices.Contains(f.aliases, name) {
			return f, true
		}
	}
	return family{}, false
}

// nameOf names a list of patterns: the family that has them, or the patterns.
func nameOf(patterns []string) string {
	for _, f := range families {
		if slices.Equal(f.patterns, patterns) {
			return f.name
		}
	}
	return strings.Join(patterns, " then ")
}

// stagesOf are the splitters of patterns that are all known.
func stagesOf(patterns []string) []splitter {
	var stages []splitter
	for _, p := range patterns {
		stages = append(stages, splitters[p].split)
	}
	return stages
}
