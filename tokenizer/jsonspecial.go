package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
)

// jsonConfig is what is read of tokenizer_config.json.
type jsonConfig struct {
	BOSToken    jsonToken `json:"bos_token"`
	EOSToken    jsonToken `json:"eos_token"`
	AddBOSToken *bool     `json:"add_bos_token"`
	AddEOSToken *bool     `json:"add_eos_token"`
}

// jsonToken is a token given as its text or as an object; "" for null.
type jsonToken string

func (t *jsonToken) UnmarshalJSON(data []byte) error {
	var object struct{ Content string }
	if data[0] == '{' {
		err := json.Unmarshal(data, &object)
		*t = jsonToken(object.Content)
		return err
	}
	return json.Unmarshal(data, (*string)(t))
}

// specials reads which tokens begin and end a text, and which of them encoding
// adds. An explicit add_bos_token or add_eos_token has the last word.
func (r *jsonReader) specials(t *Tokenizer) error {
	if err := r.readTemplate(t, r.postProcessor); err != nil {
		return err
	}
	v := t.merger.vocab
	for _, id := range slices.Concat(t.prefix, t.suffix) {
		if !v.has(id) {
			return fmt.Errorf("adds the token %d, which isn't in the vocabulary", id)
		}
	}
	if id, ok := t.ID(string(r.config.BOSToken)); ok && r.config.BOSToken != "" {
		t.bos = id
	} else if len(t.prefix) > 0 {
		t.bos = t.prefix[0]
	}
	if id, ok := t.ID(string(r.config.EOSToken)); ok && r.config.EOSToken != "" {
		t.eos = id
	} else if n := len(t.suffix); n > 0 {
		t.eos = t.suffix[n-1]
	}
	if add := r.config.AddBOSToken; add != nil && t.bos >= 0 {
		switch has := len(t.prefix) > 0 && t.prefix[0] == t.bos; {
		case *add && !has:
			t.prefix = slices.Insert(t.prefix, 0, t.bos)
		case !*add && has:
			t.prefix = t.prefix[1:]
		}
	}
	if add := r.config.AddEOSToken; add != nil && t.eos >= 0 {
		switch n := len(t.suffix); {
		case *add && (n == 0 || t.suffix[n-1] != t.eos):
			t.suffix = append(t.suffix, t.eos)
		case !*add && n > 0 && t.suffix[n-1] == t.eos:
			t.suffix = t.suffix[:n-1]
		}
	}
	t.findEnds(slices.Concat(r.ends, []int32{t.eos})...)
	return nil
}

// readTemplate reads the tokens put before and after a single text.
func (r *jsonReader) readTemplate(t *Tokenizer, c *jsonComponent) error {
	if c == nil {
		return nil
	}
	switch c.Type {
	case "ByteLevel": // only concerns offsets
	case "Sequence":
		for _, sub := range c.Processors {
			if err := r.readTemplate(t, sub); err != nil {
				return err
			}
		}
	case "TemplateProcessing":
		add := &t.prefix
		for _, piece := range c.Single {
			if piece.SpecialToken == nil {
				add = &t.suffix
				continue
			}
			special, ok := c.SpecialTokens[piece.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("TemplateProcessing: special token %q isn't defined", piece.SpecialToken.ID)
			}
			for _, id := range special.IDs {
				*add = append(*add, clampID(id))
			}
		}
	case "RobertaProcessing", "BertProcessing":
		for _, end := range []struct {
			add *[]int32
			raw json.RawMessage
		}{{&t.prefix, c.Cls}, {&t.suffix, c.Sep}} {
			var pair []any
			if err := json.Unmarshal(end.raw, &pair); err != nil || len(pair) != 2 {
				return fmt.Errorf("%s: cls and sep must be pairs of token and id", c.Type)
			}
			id, ok := pair[1].(float64)
			if !ok {
				return fmt.Errorf("%s: cls and sep must be pairs of token and id", c.Type)
			}
			*end.add = append(*end.add, clampID(int64(id)))
		}
	default:
		return fmt.Errorf("type %q isn't supported", c.Type)
	}
	return nil
}

// clampID makes ids that no vocabulary has -1.
func clampID(id int64) int32 {
	if id < 0 || id >= maxVocab {
		return -1
	}
	return int32(id)
}
