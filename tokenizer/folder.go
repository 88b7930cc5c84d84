package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/inferflux/inferflux/checkpoint"
)

// FromCheckpoint reads the tokenizer that belongs to a model: a GGUF file's
// metadata, or the files in a Hugging Face folder.
func FromCheckpoint(c checkpoint.Checkpoint) (*Tokenizer, error) {
	if c.Format() == checkpoint.HuggingFace {
		return FromFolder(c.Path())
	}
	return FromGGUF(c.Metadata())
}

// FromFolder reads tokenizer.json and tokenizer_config.json of a Hugging Face
// model's folder ([FromJSON]). The tokens that end an answer are also those of
// eos_token_id, one or a list, in generation_config.json, or else in config.json.
func FromFolder(dir string) (*Tokenizer, error) {
	tokens, err := readFile(dir, "tokenizer.json")
	if err != nil {
		return nil, fmt.Errorf("read the tokenizer: %w", err)
	}
	if tokens == nil {
		return nil, fmt.Errorf("%s has no tokenizer.json: download it too, or have transformers write it (AutoTokenizer.from_pretrained(…).save_pretrained(…) does, from tokenizer.model or vocab.json)", dir)
	}
	config, err := readFile(dir, "tokenizer_config.json")
	if err != nil {
		return nil, fmt.Errorf("read the tokenizer: %w", err)
	}
	ends, err := readEnds(dir)
	if err != nil {
		return nil, fmt.Errorf("read the tokens that end an answer: %w", err)
	}
	t, err := FromJSON(tokens, config, ends...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return t, nil
}

// readEnds reads eos_token_id.
func readEnds(dir string) ([]int32, error) {
	for _, name := range []string{"generation_config.json", "config.json"} {
		data, err := readFile(dir, name)
		if err != nil {
			return nil, err
		}
		var config struct {
			EOS jsonIDs `json:"eos_token_id"`
		}
		if len(data) > 0 {
			if err := json.Unmarshal(data, &config); err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
			}
		}
		if len(config.EOS) > 0 {
			return config.EOS, nil
		}
	}
	return nil, nil
}

// jsonIDs is one token id, a list of them, or null. Those that can't be ids are -1.
type jsonIDs []int32

func (ids *jsonIDs) UnmarshalJSON(data []byte) error {
	var list []int64
	if data[0] != '[' && data[0] != 'n' {
		data = slices.Concat([]byte("["), data, []byte("]"))
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("eos_token_id is neither a token id nor a list of them: %w", err)
	}
	for _, id := range list {
		*ids = append(*ids, clampID(id))
	}
	return nil
}

// readFile reads one of a folder's files; nil if it isn't there.
func readFile(dir, name string) ([]byte, error) {
	data, err := checkpoint.ReadFile(filepath.Join(dir, name), maxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}
