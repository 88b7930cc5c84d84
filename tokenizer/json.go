package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FromJSON reads a Hugging Face tokenizer.json, with the tokenizer_config.json
// beside it or nil. Of the configuration it takes bos_token, eos_token,
// add_bos_token and add_eos_token.
func FromJSON(tokenizerJSON, config []byte) (*Tokenizer, error) {
	t, err := fromJSON(tokenizerJSON, config)
	if err != nil {
		return nil, fmt.Errorf("reading tokenizer.json: %w", err)
	}
	return t, nil
}

// The parts of tokenizer.json. Components are objects told apart by their type.
type (
	jsonFile struct {
		AddedTokens   []jsonAdded     `json:"added_tokens"`
		Normalizer    *jsonComponent  `json:"normalizer"`
		PreTokenizer  *jsonComponent  `json:"pre_tokenizer"`
		PostProcessor *jsonComponent  `json:"post_processor"`
		Decoder       *jsonComponent  `json:"decoder"`
		Model         json.RawMessage `json:"model"`
	}
	jsonAdded struct {
		ID         int64  `json:"id"`
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
		Special    bool   `json:"special"`
	}
	jsonModel struct {
		Type                    string          `json:"type"`
		Dropout                 *float64        `json:"dropout"`
		UnkToken                *string         `json:"unk_token"`
		ContinuingSubwordPrefix string          `json:"continuing_subword_prefix"`
		EndOfWordSuffix         string          `json:"end_of_word_suffix"`
		FuseUnk                 bool            `json:"fuse_unk"`
		ByteFallback            bool            `json:"byte_fallback"`
		IgnoreMerges            bool            `json:"ignore_merges"`
		Vocab                   json.RawMessage `json:"vocab"`
		Merges                  json.RawMessage `json:"merges"`
	}
)

// jsonReader gathers what the components of a tokenizer.json say.
type jsonReader struct {
	file   jsonFile
	model  jsonModel
	config jsonConfig

	tokens []string // by id; "" where there is none
	added  []addedToken
	kinds  map[int32]Kind // of added tokens
}

func fromJSON(tokenizerJSON, config []byte) (*Tokenizer, error) {
	var r jsonReader
	if err := json.Unmarshal(tokenizerJSON, &r.file); err != nil {
		return nil, err
	}
	if len(config) > 0 {
		if err := json.Unmarshal(config, &r.config); err != nil {
			return nil, fmt.Errorf("tokenizer_config.json: %w", err)
		}
	}
	if len(r.file.Model) == 0 {
		return nil, errors.New(`"model" is missing`)
	}
	if err := json.Unmarshal(r.file.Model, &r.model); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	switch m := &r.model; {
	case m.Type != "BPE" && !(m.Type == "" && len(m.Merges) > 0):
		return nil, fmt.Errorf("model of type %q isn't supported, only BPE", m.Type)
	case m.Dropout != nil && *m.Dropout != 0:
		return nil, fmt.Errorf("model: dropout %v isn't supported", *m.Dropout)
	case m.ContinuingSubwordPrefix != "":
		return nil, fmt.Errorf("model: continuing_subword_prefix %q isn't supported", m.ContinuingSubwordPrefix)
	case m.EndOfWordSuffix != "":
		return nil, fmt.Errorf("model: end_of_word_suffix %q isn't supported", m.EndOfWordSuffix)
	}
	if err := r.readTokens(); err != nil {
		return nil, err
	}
	return r.build()
}

// readTokens lists the vocabulary and the added tokens by id.
func (r *jsonReader) readTokens() error {
	last, count, bytes := int64(-1), 0, 0
	err := eachEntry(r.model.Vocab, func(text string, id int64) error {
		if id < 0 || id >= maxVocab {
			return fmt.Errorf("model: vocab gives %q the id %d, outside 0 to %d", text, id, maxVocab-1)
		}
		last, count, bytes = max(last, id), count+1, bytes+len(text)
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range r.file.AddedTokens {
		if a.ID < 0 || a.ID >= maxVocab {
			return fmt.Errorf("added token %q has the id %d, outside 0 to %d", a.Content, a.ID, maxVocab-1)
		}
		last, count = max(last, a.ID), count+1
	}
	if count == 0 {
		return errors.New("model: vocab is empty")
	}
	// Some vocabularies have gaps; one that is mostly gaps is a broken file.
	if last >= int64(16*count+1<<16) {
		return fmt.Errorf("the largest token id is %d but there are only %d tokens", last, count)
	}
	r.tokens = make([]string, last+1)
	_ = eachEntry(r.model.Vocab, func(text string, id int64) error {
		r.tokens[id] = text
		return nil
	})
	r.kinds = make(map[int32]Kind, len(r.file.AddedTokens))
	for _, a := range r.file.AddedTokens {
		k := UserDefined
		if a.Special {
			k = Control
		}
		r.kinds[int32(a.ID)] = k
		r.added = append(r.added, addedToken{text: a.Content, id: int32(a.ID), control: a.Special,
			normalized: a.Normalized, lstrip: a.LStrip, rstrip: a.RStrip, singleWord: a.SingleWord})
	}
	return nil
}

func (r *jsonReader) build() (*Tokenizer, error) {
	var s textRules
	if err := s.readNormalizer(r.file.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if err := s.readPreTokenizer(r.file.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if !s.byteLevel && !s.metaspace {
		return nil, errors.New("pre_tokenizer: neither a byte-level nor a SentencePiece tokenizer: it has no ByteLevel and no rule that writes spaces as ▁")
	}
	if s.byteLevel && s.metaspace {
		return nil, errors.New("pre_tokenizer: ByteLevel together with spaces written as ▁ isn't supported")
	}
	m, err := r.merger(s.metaspace)
	if err != nil {
		return nil, err
	}
	if s.metaspace {
		s.stages = append(s.stages, splitUnmergeable(m.vocab))
	}
	t := newTokenizer(m, r.added)
	t.normalizers, t.leading, t.stages = s.normalizers, s.leading, s.stages
	t.metaspace, t.stripSpace = s.metaspace, stripsSpace(r.file.Decoder)
	t.preTokenizer = "sentencepiece"
	if s.byteLevel {
		t.preTokenizer = nameOf(s.patterns)
	}
	t.matchNormalized(r.added)
	if err := r.specials(t); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	return t, nil
}

// merger builds the vocabulary and the table of merges.
func (r *jsonReader) merger(metaspaced bool) (*merger, error) {
	bytes := 0
	for _, text := range r.tokens {
		bytes += len(text)
	}
	v := newVocab(len(r.tokens), bytes)
	content := make(map[int32]string, len(r.added))
	for _, a := range r.added {
		content[a.id] = a.text
	}
	b := tableMerger{merger: merger{vocab: v, unknown: -1, byteLevel: !metaspaced, fuse: r.model.FuseUnk}}
	b.noBytes()
	var raw []byte
	for id, text := range r.tokens {
		k, isAdded := r.kinds[int32(id)]
		inModel := text != ""
		switch {
		case isAdded && (k == Control || !inModel):
			v.add(content[int32(id)], k, true, false)
		case !inModel:
			v.add("", Undefined, true, false)
		case metaspaced:
			if c, ok := parseByteSpelling(text); ok && r.model.ByteFallback && !isAdded {
				b.bytes[c] = int32(id)
				v.add(string([]byte{c}), Byte, false, false)
				continue
			}
			if !isAdded {
				k = Normal
			}
			// A space as itself never comes out of the normalizer.
			literal := strings.Contains(text, " ")
			v.add(strings.ReplaceAll(text, metaspace, " "), k, literal, !literal)
		default:
			if !isAdded {
				k = Normal
			}
			var spelled bool
			if raw, spelled = appendUnspelled(raw[:0], text); spelled {
				v.add(string(raw), k, false, true)
			} else {
				v.add(text, k, true, false)
			}
		}
	}
	if metaspaced {
		b.findFallback()
	} else {
		b.findLetters()
	}
	if u := r.model.UnkToken; u != nil {
		if id := slices.Index(r.tokens, *u); id >= 0 {
			b.unknown = int32(id)
		}
	}
	if err := r.addMerges(&b); err != nil {
		return nil, err
	}
	b.findWhole(r.model.IgnoreMerges)
	return &b.merger, nil
}

func (r *jsonReader) addMerges(b *tableMerger) error {
	var list []json.RawMessage
	if err := json.Unmarshal(r.model.Merges, &list); err != nil {
		return fmt.Errorf("model: merges: %w", err)
	}
	b.pairs = newPairTable(len(list))
	for rank, raw := range list {
		left, right, err := readMerge(raw)
		if err != nil {
			return fmt.Errorf("model: merge %d, %s: %w", rank, raw, err)
		}
		// A merge into a control token is left out on purpose: text that spells
		// one must not become one.
		if !b.addMerge(left, right, uint32(rank)) && !r.control(left+right) {
			return fmt.Errorf("model: merge %d, %q with %q, has a token that isn't in the vocabulary", rank, left, right)
		}
	}
	return nil
}

// control reports whether a text is a control token.
func (r *jsonReader) control(text string) bool {
	return slices.ContainsFunc(r.added, func(a addedToken) bool { return a.control && a.text == text })
}

// readMerge reads "a b" or ["a", "b"].
func readMerge(raw json.RawMessage) (left, right string, err error) {
	if raw[0] == '[' {
		var pair []string
		if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
			return "", "", errors.New("isn't a pair of strings")
		}
		return pair[0], pair[1], nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", "", err
	}
	left, right, ok := strings.Cut(s, " ")
	if !ok {
		return "", "", errors.New("isn't two tokens with a space between")
	}
	return left, right, nil
}

// eachEntry calls f for every entry of an object of ids by text.
func eachEntry(object json.RawMessage, f func(text string, id int64) error) error {
	var m map[string]int64
	if err := json.Unmarshal(object, &m); err != nil {
		return fmt.Errorf("model: vocab: %w", err)
	}
	for text, id := range m {
		if err := f(text, id); err != nil {
			return err
		}
	}
	return nil
}
