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
// add_bos_token and add_eos_token. ends are further tokens that end an answer;
// those that the vocabulary lacks are left out.
func FromJSON(tokenizerJSON, config []byte, ends ...int32) (*Tokenizer, error) {
	t, err := fromJSON(tokenizerJSON, config, ends)
	if err != nil {
		return nil, fmt.Errorf("reading tokenizer.json: %w", err)
	}
	return t, nil
}

// jsonReader gathers what a tokenizer.json says.
type jsonReader struct {
	addedTokens   []jsonAdded
	normalizer    *jsonComponent
	preTokenizer  *jsonComponent
	postProcessor *jsonComponent
	decoder       *jsonComponent
	model         jsonModel
	config        jsonConfig
	ends          []int32 // named elsewhere

	tokens []string // of the model, by id; "" where there is none
	added  []addedToken
	kinds  map[int32]Kind // of added tokens
}

type jsonAdded struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type jsonModel struct {
	kind                                       string
	dropout                                    float64
	unknown, continuingPrefix, endOfWordSuffix string
	fuseUnknown, byteFallback, ignoreMerges    bool
	vocab                                      []jsonEntry
	merges                                     string // the JSON of the list
}

type jsonEntry struct {
	text string
	id   int64
}

func fromJSON(tokenizerJSON, config []byte, ends []int32) (*Tokenizer, error) {
	if len(tokenizerJSON) > maxBytes {
		return nil, fmt.Errorf("%d bytes, more than %d", len(tokenizerJSON), maxBytes)
	}
	r := jsonReader{ends: ends}
	if err := r.read(string(tokenizerJSON)); err != nil {
		return nil, err
	}
	if len(config) > 0 {
		if err := json.Unmarshal(config, &r.config); err != nil {
			return nil, fmt.Errorf("tokenizer_config.json: %w", err)
		}
	}
	switch m := &r.model; {
	case m.kind != "BPE" && !(m.kind == "" && len(m.merges) > 0):
		return nil, fmt.Errorf("model of type %q isn't supported, only BPE", m.kind)
	case m.dropout != 0:
		return nil, fmt.Errorf("model: dropout %v isn't supported", m.dropout)
	case m.continuingPrefix != "":
		return nil, fmt.Errorf("model: continuing_subword_prefix %q isn't supported", m.continuingPrefix)
	case m.endOfWordSuffix != "":
		return nil, fmt.Errorf("model: end_of_word_suffix %q isn't supported", m.endOfWordSuffix)
	}
	if err := r.listTokens(); err != nil {
		return nil, err
	}
	return r.build()
}

// read walks the file.
func (r *jsonReader) read(text string) error {
	s := jsonScanner{text: text}
	targets := map[string]any{
		"added_tokens": &r.addedTokens, "normalizer": &r.normalizer, "pre_tokenizer": &r.preTokenizer,
		"post_processor": &r.postProcessor, "decoder": &r.decoder,
	}
	err := s.object(func(key string) error {
		var err error
		if v, ok := targets[key]; ok {
			err = s.decode(v)
		} else if key == "model" {
			err = r.readModel(&s)
		} else {
			_, err = s.skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.peek() != 0 || s.pos < len(text) {
		return s.errorf("more text after the end")
	}
	return nil
}

func (r *jsonReader) readModel(s *jsonScanner) error {
	m := &r.model
	targets := map[string]any{
		"type": &m.kind, "dropout": &m.dropout, "unk_token": &m.unknown, "continuing_subword_prefix": &m.continuingPrefix,
		"end_of_word_suffix": &m.endOfWordSuffix, "fuse_unk": &m.fuseUnknown, "byte_fallback": &m.byteFallback,
		"ignore_merges": &m.ignoreMerges,
	}
	return s.object(func(key string) error {
		var err error
		target, known := targets[key]
		switch {
		case known:
			err = s.decode(target)
		case key == "vocab" && s.peek() == '{':
			err = m.readVocab(s)
		case key == "merges":
			m.merges, err = s.skip()
		default:
			_, err = s.skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
}

// readVocab reads ids by token.
func (m *jsonModel) readVocab(s *jsonScanner) error {
	return s.object(func(text string) error {
		id, err := s.integer()
		if err == nil && (id < 0 || id >= maxVocab) {
			err = fmt.Errorf("token %q has the id %d, outside 0 to %d", text, id, maxVocab-1)
		}
		m.vocab = append(m.vocab, jsonEntry{text, id})
		return err
	})
}

// eachMerge walks the merges, each "a b" or ["a", "b"].
func (m *jsonModel) eachMerge(f func(left, right string) error) error {
	s := jsonScanner{text: m.merges}
	return s.array(func() error {
		if s.peek() != '[' {
			merge, err := s.string()
			if err != nil {
				return err
			}
			left, right, ok := cutMerge(merge)
			if !ok {
				return fmt.Errorf("%q isn't two tokens with a space between", merge)
			}
			return f(left, right)
		}
		var pair [2]string
		n := 0
		err := s.array(func() error {
			text, err := s.string()
			pair[min(n, 1)] = text
			n++
			return err
		})
		if err == nil && n != 2 {
			err = fmt.Errorf("a merge of %d tokens, not two", n)
		}
		if err != nil {
			return err
		}
		return f(pair[0], pair[1])
	})
}

// listTokens lists the vocabulary and the added tokens by id.
func (r *jsonReader) listTokens() error {
	last, count := int64(-1), len(r.model.vocab)+len(r.addedTokens)
	for _, e := range r.model.vocab {
		last = max(last, e.id)
	}
	for _, a := range r.addedTokens {
		if a.ID < 0 || a.ID >= maxVocab {
			return fmt.Errorf("added token %q has the id %d, outside 0 to %d", a.Content, a.ID, maxVocab-1)
		}
		last = max(last, a.ID)
	}
	if count == 0 {
		return errors.New("model: vocab is missing or empty")
	}
	// Some vocabularies have gaps; one that is mostly gaps is a broken file.
	if last >= int64(2*count+1<<16) {
		return fmt.Errorf("the largest token id is %d but there are only %d tokens", last, count)
	}
	r.tokens = make([]string, last+1)
	for _, e := range r.model.vocab {
		r.tokens[e.id] = e.text
	}
	r.kinds = make(map[int32]Kind, len(r.addedTokens))
	for _, a := range r.addedTokens {
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
	if err := s.readNormalizer(r.normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if err := s.readPreTokenizer(r.preTokenizer); err != nil {
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
	t.metaspace, t.stripSpace = s.metaspace, stripsSpace(r.decoder)
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
	b := tableMerger{merger: merger{vocab: v, unknown: -1, byteLevel: !metaspaced, fuse: r.model.fuseUnknown}}
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
			if c, ok := parseByteSpelling(text); ok && r.model.byteFallback && !isAdded {
				b.bytes[c] = int32(id)
				v.add(string([]byte{c}), Byte, false, false)
				continue
			}
			if !isAdded {
				k = Normal
			}
			// A space as itself never comes out of the normalizer.
			literal := strings.Contains(text, " ")
			raw = appendSpaced(raw[:0], text)
			v.add(string(raw), k, literal, !literal)
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
	if u := r.model.unknown; u != "" {
		b.unknown = int32(slices.Index(r.tokens, u))
	}
	if err := r.addMerges(&b); err != nil {
		return nil, err
	}
	b.trust = r.model.ignoreMerges
	return &b.merger, nil
}

func (r *jsonReader) addMerges(b *tableMerger) error {
	list := r.model.merges
	quotes := 2 // of each merge
	if first := strings.IndexByte(list, '"'); first > 0 && strings.Count(list[:first], "[") == 2 {
		quotes = 4
	}
	b.pairs = newPairTable(strings.Count(list, `"`) / quotes)
	rank := uint32(0)
	err := r.model.eachMerge(func(left, right string) error {
		// A merge into a control token is left out on purpose: text that spells
		// one must not become one.
		if !b.addMerge(left, right, rank) && !b.vocab.isControl(left+right) {
			return fmt.Errorf("%q with %q has a token that isn't in the vocabulary", left, right)
		}
		rank++
		return nil
	})
	if err != nil {
		return fmt.Errorf("model: merge %d: %w", rank, err)
	}
	return nil
}
