package model

import (
	"slices"
	"strings"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/tensor"
)

// textPart is the language model of a folder that holds an encoder of images beside it:
// its hyper-parameters are those of text_config, or else those of the whole, its
// tensors those under one of a few prefixes. Or it is the folder of a model without its
// output layer, as models that embed texts are stored, whose tensors have no prefix.
type textPart struct {
	checkpoint.Checkpoint
	stored  map[string]string // names of tensors, by what they would be called alone
	entries []checkpoint.Entry
}

const textConfig = "text_config."

// textPrefixes are what precedes the names of tensors, and what is put in their place.
// Newer folders of transformers have the first, older ones and MLX's the others.
var textPrefixes = [][2]string{{"model.language_model.", "model."}, {"language_model.model.", "model."}, {"language_model.lm_head.", "lm_head."}, {"lm_head.", "lm_head."}}

// otherParts begin the names of the tensors that aren't the language model's.
var otherParts = []string{"vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."}

// textOf is the checkpoint's language model: all of it, if it isn't one of several parts.
func textOf(c checkpoint.Checkpoint) checkpoint.Checkpoint {
	if c.Format() != checkpoint.HuggingFace {
		return c
	}
	const prefix, first = "model.", "embed_tokens."
	entries := c.Tensors()
	bare := slices.ContainsFunc(entries, func(e checkpoint.Entry) bool { return strings.HasPrefix(e.Name, first) })
	if _, ok := c.Metadata().String(textConfig + "model_type"); !ok && !bare {
		return c
	}
	t := &textPart{Checkpoint: c, stored: map[string]string{}}
	for _, e := range entries {
		name := e.Name
		if bare {
			name = prefix + name
		}
		for _, p := range textPrefixes {
			if rest, ok := strings.CutPrefix(e.Name, p[0]); ok {
				name = p[1] + rest
				break
			}
		}
		if !hasAnyPrefix(e.Name, otherParts) {
			t.stored[name] = e.Name
			e.Name = name
			t.entries = append(t.entries, e)
		}
	}
	return t
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// Tensors implements checkpoint.Checkpoint.
func (t *textPart) Tensors() []checkpoint.Entry { return t.entries }

// Tensor implements checkpoint.Checkpoint. The tensor keeps its own name.
func (t *textPart) Tensor(name string) (tensor.Tensor, bool) {
	stored, ok := t.stored[name]
	if !ok {
		return tensor.Tensor{}, false
	}
	return t.Checkpoint.Tensor(stored)
}

// Metadata implements checkpoint.Checkpoint.
func (t *textPart) Metadata() checkpoint.Metadata { return textMetadata{t.Checkpoint.Metadata()} }

// textMetadata are the values of text_config, and where it has none, those outside of it.
type textMetadata struct{ checkpoint.Metadata }

func (m textMetadata) key(k string) string {
	if _, ok := m.Metadata.Value(textConfig + k); ok {
		return textConfig + k
	}
	return k
}

// The methods of checkpoint.Metadata.
func (m textMetadata) Value(k string) (any, bool)        { return m.Metadata.Value(m.key(k)) }
func (m textMetadata) String(k string) (string, bool)    { return m.Metadata.String(m.key(k)) }
func (m textMetadata) Bool(k string) (bool, bool)        { return m.Metadata.Bool(m.key(k)) }
func (m textMetadata) Int(k string) (int, bool)          { return m.Metadata.Int(m.key(k)) }
func (m textMetadata) Float(k string) (float64, bool)    { return m.Metadata.Float(m.key(k)) }
func (m textMetadata) Strings(k string) ([]string, bool) { return m.Metadata.Strings(m.key(k)) }
func (m textMetadata) Ints(k string) ([]int, bool)       { return m.Metadata.Ints(m.key(k)) }
func (m textMetadata) Floats(k string) ([]float64, bool) { return m.Metadata.Floats(m.key(k)) }
