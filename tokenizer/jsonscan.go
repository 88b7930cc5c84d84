package tokenizer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// jsonScanner walks a JSON text in one pass without building what it holds: a
// tokenizer.json is mostly a vocabulary and merges of some hundred thousand
// entries. Values that it skips aren't checked; whoever reads them does.
type jsonScanner struct {
	text string
	pos  int
}

func (s *jsonScanner) errorf(format string, args ...any) error {
	return fmt.Errorf("at byte %d: %s", s.pos, fmt.Sprintf(format, args...))
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *jsonScanner) peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

func (s *jsonScanner) expect(c byte) error {
	if got := s.peek(); got != c {
		if s.pos == len(s.text) {
			return s.errorf("the text ends where %q is expected", c)
		}
		return s.errorf("%q where %q is expected", got, c)
	}
	s.pos++
	return nil
}

// list walks an array or object, calling f at each element.
func (s *jsonScanner) list(open, end byte, f func() error) error {
	if err := s.expect(open); err != nil {
		return err
	}
	if s.peek() == end {
		s.pos++
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		if s.peek() == end {
			s.pos++
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// array walks an array; f must consume one value.
func (s *jsonScanner) array(f func() error) error { return s.list('[', ']', f) }

// object walks an object; f must consume the value of the key it gets.
func (s *jsonScanner) object(f func(key string) error) error {
	return s.list('{', '}', func() error {
		key, err := s.string()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		return f(key)
	})
}

func (s *jsonScanner) string() (string, error) {
	if err := s.expect('"'); err != nil {
		return "", err
	}
	start := s.pos
	for i := start; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.pos = i + 1
			return s.text[start:i], nil
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			s.pos = i
			return "", s.errorf("control character in a string")
		}
	}
	return "", s.errorf("the text ends in a string")
}

// escaped reads a string with escapes, which began at start.
func (s *jsonScanner) escaped(start int) (string, error) {
	for i := start; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case '"':
			var v string
			if err := json.Unmarshal([]byte(s.text[start-1:i+1]), &v); err != nil {
				return "", s.errorf("%v", err)
			}
			s.pos = i + 1
			return v, nil
		}
	}
	return "", s.errorf("the text ends in a string")
}

func (s *jsonScanner) integer() (int64, error) {
	s.peek()
	start := s.pos
	for s.pos < len(s.text) && strings.IndexByte("+-.0123456789eE", s.text[s.pos]) >= 0 {
		s.pos++
	}
	n, err := strconv.ParseInt(s.text[start:s.pos], 10, 64)
	if err != nil {
		s.pos = start
		return 0, s.errorf("expected an integer")
	}
	return n, nil
}

// skip passes over a value and returns its text.
func (s *jsonScanner) skip() (string, error) {
	s.peek()
	start, depth := s.pos, 0
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case '"':
			if _, err := s.string(); err != nil {
				return "", err
			}
			s.pos--
		case '{', '[':
			depth++
		case '}', ']', ',':
			if depth == 0 {
				return s.text[start:s.pos], nil
			}
			if s.text[s.pos] != ',' {
				depth--
			}
		}
		s.pos++
	}
	if depth > 0 {
		return "", s.errorf("the text ends in a value")
	}
	return s.text[start:s.pos], nil
}

// decode reads a value with encoding/json.
func (s *jsonScanner) decode(v any) error {
	raw, err := s.skip()
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(raw), v)
}
