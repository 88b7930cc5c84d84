package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// jsonComponent is a normalizer, pre-tokenizer, post-processor or decoder.
type jsonComponent struct {
	Type string `json:"type"`

	// Sequence
	Normalizers   []*jsonComponent `json:"normalizers"`
	PreTokenizers []*jsonComponent `json:"pretokenizers"`
	Processors    []*jsonComponent `json:"processors"`
	Decoders      []*jsonComponent `json:"decoders"`

	// Replace, Split
	Pattern  *jsonPattern    `json:"pattern"`
	Content  json.RawMessage `json:"content"`
	Behavior string          `json:"behavior"`
	Invert   bool            `json:"invert"`

	// Prepend, Metaspace, ByteLevel, Digits, Strip
	Prepend          string `json:"prepend"`
	Replacement      string `json:"replacement"`
	PrependScheme    string `json:"prepend_scheme"`
	AddPrefixSpace   *bool  `json:"add_prefix_space"`
	Split            *bool  `json:"split"`
	UseRegex         *bool  `json:"use_regex"`
	IndividualDigits bool   `json:"individual_digits"`
	StripLeft        *bool  `json:"strip_left"`
	StripRight       *bool  `json:"strip_right"`
	Start            int    `json:"start"`
	Stop             int    `json:"stop"`

	// TemplateProcessing, and the older RobertaProcessing and BertProcessing
	Single        []jsonPiece            `json:"single"`
	SpecialTokens map[string]jsonSpecial `json:"special_tokens"`
	Cls           json.RawMessage        `json:"cls"`
	Sep           json.RawMessage        `json:"sep"`
}

type jsonPattern struct {
	String *string
	Regex  *string
}

type jsonPiece struct {
	Sequence     *struct{ ID string }
	SpecialToken *struct{ ID string }
}

type jsonSpecial struct {
	IDs []int64 `json:"ids"`
}

// content is the string that Replace or Strip has.
func (c *jsonComponent) content() (string, error) {
	var s string
	if err := json.Unmarshal(c.Content, &s); err != nil {
		return "", fmt.Errorf("%s: content isn't a string", c.Type)
	}
	return s, nil
}

// textRules is what normalizer and pre-tokenizer do to a text.
type textRules struct {
	normalizers []normalizer
	leading     prefixRule
	stages      []splitter
	patterns    []string // of the stages, for the name
	byteLevel   bool
	metaspace   bool
}

func (s *textRules) readNormalizer(c *jsonComponent) error {
	if c == nil {
		return nil
	}
	var n normalizer
	switch c.Type {
	case "Sequence":
		for _, sub := range c.Normalizers {
			if err := s.readNormalizer(sub); err != nil {
				return err
			}
		}
		return nil
	case "NFC":
		n = nfc
	case "NFD":
		n = nfd
	case "NFKC":
		n = nfkc
	case "NFKD":
		n = nfkd
	case "Lowercase":
		n = lowercase
	case "Strip":
		n = strip(c.StripLeft == nil || *c.StripLeft, c.StripRight == nil || *c.StripRight)
	case "Prepend":
		n = prepend(c.Prepend)
	case "Replace":
		text, err := c.content()
		if err != nil {
			return err
		}
		if c.Pattern == nil || c.Pattern.String == nil || *c.Pattern.String == "" {
			return errors.New("a Replace by a regular expression isn't supported")
		}
		n = replace(*c.Pattern.String, text)
		if *c.Pattern.String == " " && text == metaspace {
			s.metaspace = true
		}
	default:
		return fmt.Errorf("type %q isn't supported", c.Type)
	}
	s.normalizers = append(s.normalizers, n)
	return nil
}

func (s *textRules) readPreTokenizer(c *jsonComponent) error {
	if c == nil {
		return nil
	}
	switch c.Type {
	case "Sequence":
		for _, sub := range c.PreTokenizers {
			if err := s.readPreTokenizer(sub); err != nil {
				return err
			}
		}
		return nil
	case "Split":
		return s.readSplit(c)
	case "Digits":
		if c.IndividualDigits {
			return s.addStage(patternDigit, false)
		}
		return s.addStage(patternDigitRun, false)
	case "ByteLevel":
		s.byteLevel = true
		if c.AddPrefixSpace != nil && *c.AddPrefixSpace {
			if len(s.stages) > 0 {
				return errors.New("ByteLevel with add_prefix_space after another step isn't supported")
			}
			s.leading = eachPrefix
		}
		if c.UseRegex == nil || *c.UseRegex {
			return s.addStage(patternGPT2, false)
		}
		return nil
	case "Metaspace":
		return s.readMetaspace(c)
	}
	return fmt.Errorf("type %q isn't supported", c.Type)
}

func (s *textRules) readSplit(c *jsonComponent) error {
	switch {
	case c.Pattern == nil || c.Pattern.Regex == nil && c.Pattern.String == nil:
		return errors.New("the Split has no pattern")
	case c.Pattern.String != nil:
		if *c.Pattern.String == " " && s.metaspace && c.Behavior == "MergedWithPrevious" && !c.Invert {
			return nil // no space is left to split at: Gemma
		}
		return fmt.Errorf("a Split at %q, %s, isn't supported", *c.Pattern.String, c.Behavior)
	case c.Behavior == "Isolated" && !c.Invert:
		return s.addStage(*c.Pattern.Regex, false)
	case c.Behavior == "Removed" && c.Invert:
		return s.addStage(*c.Pattern.Regex, true)
	}
	return fmt.Errorf("a Split with behavior %s, invert %t, isn't supported", c.Behavior, c.Invert)
}

// addStage adds the splitter of a pattern. When only matches are kept, the
// pattern has to cover every text.
func (s *textRules) addStage(pattern string, onlyMatches bool) error {
	pattern = strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(pattern)
	known, ok := splitters[pattern]
	if !ok || onlyMatches && !known.covers {
		return fmt.Errorf("the pattern %q isn't supported", pattern)
	}
	s.patterns = append(s.patterns, pattern)
	s.stages = append(s.stages, known.split)
	return nil
}

func (s *textRules) readMetaspace(c *jsonComponent) error {
	if c.Replacement != metaspace {
		return fmt.Errorf("a Metaspace with replacement %q isn't supported", c.Replacement)
	}
	s.metaspace = true
	switch scheme := metaspaceScheme(c); scheme {
	case "always":
		s.leading = eachPrefix
	case "first":
		s.leading = firstPrefix
	case "never":
	default:
		return fmt.Errorf("a Metaspace with prepend_scheme %q isn't supported", scheme)
	}
	if c.Split == nil || *c.Split {
		s.stages = append(s.stages, splitBeforeSpaces)
	}
	return nil
}

// metaspaceScheme is when Metaspace puts a space first; older files have
// add_prefix_space.
func metaspaceScheme(c *jsonComponent) string {
	switch {
	case c.PrependScheme != "":
		return c.PrependScheme
	case c.AddPrefixSpace != nil && !*c.AddPrefixSpace:
		return "never"
	}
	return "always"
}

// stripsSpace reports whether a decoder takes a leading space off the text.
func stripsSpace(c *jsonComponent) bool {
	if c == nil {
		return false
	}
	for _, sub := range c.Decoders {
		if stripsSpace(sub) {
			return true
		}
	}
	switch c.Type {
	case "Strip":
		text, err := c.content()
		return err == nil && text == " " && c.Start > 0
	case "Metaspace":
		return metaspaceScheme(c) != "never"
	}
	return false
}
