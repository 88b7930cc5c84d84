package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/inferflux/inferflux/checkpoint"
)

// FromCheckpoint reads the template that belongs to a model: a GGUF file's, or that
// of a Hugging Face folder. bos and eos are the texts of the model's tokens, for
// files that don't give them. The error is [ErrNoTemplate] when there is none.
func FromCheckpoint(c checkpoint.Checkpoint, bos, eos string) (*Template, error) {
	if c.Format() == checkpoint.HuggingFace {
		return FromFolder(c.Path())
	}
	return FromGGUF(c.Metadata(), bos, eos)
}

// FromGGUF reads the templates in a GGUF file's metadata:
// tokenizer.chat_template and, beside it, tokenizer.chat_template.tool_use. bos
// and eos are the texts of the model's tokens. The error is [ErrNoTemplate] when
// there is none.
func FromGGUF(md checkpoint.Metadata, bos, eos string) (*Template, error) {
	const key = "tokenizer.chat_template"
	toolUse, _ := md.String(key + ".tool_use")
	source, ok := md.String(key)
	if !ok {
		source, _ = md.String(key + ".default")
	}
	return fromNamed(source, toolUse, bos, eos)
}

// fromNamed parses the default template and that for tools, either of which may
// be missing.
func fromNamed(source, toolUse, bos, eos string) (*Template, error) {
	if source == "" {
		source, toolUse = toolUse, ""
	}
	if source == "" {
		return nil, ErrNoTemplate
	}
	return Parse(source, Options{BOS: bos, EOS: eos, ToolUse: toolUse})
}

// FromFolder reads the template of a Hugging Face model folder:
// chat_template.jinja (and additional_chat_templates/tool_use.jinja), else what
// tokenizer_config.json holds under chat_template; bos_token and eos_token are
// the latter's. The error is [ErrNoTemplate] when there is none.
func FromFolder(dir string) (*Template, error) {
	var config struct {
		BOS      tokenText      `json:"bos_token"`
		EOS      tokenText      `json:"eos_token"`
		Template namedTemplates `json:"chat_template"`
	}
	path := filepath.Join(dir, "tokenizer_config.json")
	data, err := readFile(path)
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the chat template of %s: %w", path, err)
	}
	source, err := readFile(filepath.Join(dir, "chat_template.jinja"))
	if errors.Is(err, fs.ErrNotExist) {
		return fromNamed(config.Template["default"], config.Template["tool_use"], string(config.BOS), string(config.EOS))
	}
	if err != nil {
		return nil, fmt.Errorf("read the chat template: %w", err)
	}
	toolUse, err := readFile(filepath.Join(dir, "additional_chat_templates", "tool_use.jinja"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the chat template for tool use: %w", err)
	}
	return fromNamed(string(source), string(toolUse), string(config.BOS), string(config.EOS))
}

// maxFile bounds what is read of a folder's files: tokenizer_config.json lists
// added tokens and may have a few megabytes.
const maxFile = 64 << 20

func readFile(path string) ([]byte, error) { return checkpoint.ReadFile(path, maxFile) }

// tokenText is a token in tokenizer_config.json: its text, or an object with it.
type tokenText string

func (t *tokenText) UnmarshalJSON(data []byte) error {
	var object struct{ Content string }
	if json.Unmarshal(data, (*string)(t)) == nil {
		return nil
	}
	err := json.Unmarshal(data, &object)
	*t = tokenText(object.Content)
	return err
}

// namedTemplates is chat_template in tokenizer_config.json: one source, or a list
// of named ones.
type namedTemplates map[string]string

func (n *namedTemplates) UnmarshalJSON(data []byte) error {
	*n = make(namedTemplates)
	var source *string
	if json.Unmarshal(data, &source) == nil {
		if source != nil {
			(*n)["default"] = *source
		}
		return nil
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("chat_template is neither a string nor a list of named templates: %w", err)
	}
	for _, t := range list {
		(*n)[t.Name] = t.Template
	}
	return nil
}
