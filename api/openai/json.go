package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"unicode/utf8"
)

// Bounds of a request's JSON. They are far above what a real request holds and
// keep a hostile one from taking much more memory than its own size.
const (
	maxDepth  = 64
	maxValues = 1 << 20 // values in the whole document
	maxKeys   = 1 << 14 // keys of one object
)

// parseObject reads a request body: one JSON object, and nothing that
// encoding/json would let pass: no key twice, no bytes that are not UTF-8, no
// nesting deeper than maxDepth.
func parseObject(body []byte) (map[string]json.RawMessage, *Error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, badRequest("", "the request body is empty: a JSON object is expected")
	}
	if !utf8.Valid(body) {
		return nil, badRequest("", "the request body is not valid UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		return nil, malformed(body, err)
	}
	if k := kindOf(whole); k != "an object" {
		return nil, badRequest("", "the request body must be a JSON object, not %s", k)
	}
	if err := checkShape(whole); err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(whole, &fields); err != nil {
		return nil, malformed(body, err)
	}
	return fields, nil
}

func malformed(body []byte, err error) *Error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return badRequest("", "the request body is not valid JSON: %s", err)
	}
	// Offset counts the bytes read, the offending one included.
	before := body[:min(max(syntax.Offset-1, 0), int64(len(body)))]
	line := 1 + bytes.Count(before, []byte{'\n'})
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return badRequest("", "the request body is not valid JSON: line %d, column %d: %s", line, column, err)
}

// checkShape walks valid JSON and refuses what is too deep, too big or has a key
// twice in one object.
func checkShape(data []byte) *Error {
	type frame struct {
		keys   map[string]struct{} // nil in an array
		wantsK bool                // the next string is a key
	}
	var stack []frame
	values := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if len(stack) == maxDepth {
				return badRequest("", "the request body nests deeper than %d levels", maxDepth)
			}
			f := frame{}
			if data[i] == '{' {
				f = frame{keys: map[string]struct{}{}, wantsK: true}
			}
			stack = append(stack, f)
		case '}', ']':
			stack = stack[:len(stack)-1]
		case ',':
			if values++; values > maxValues {
				return badRequest("", "the request body holds more than %d values", maxValues)
			}
			top := &stack[len(stack)-1]
			top.wantsK = top.keys != nil
		case ':':
			stack[len(stack)-1].wantsK = false
		case '"':
			start := i
			for i++; data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			if len(stack) == 0 || !stack[len(stack)-1].wantsK {
				continue
			}
			keys := stack[len(stack)-1].keys
			var key string
			if err := json.Unmarshal(data[start:i+1], &key); err != nil {
				return badRequest("", "the request body is not valid JSON: %s", err)
			}
			if _, ok := keys[key]; ok {
				return badRequest(key, "the key %q is given twice in one object", key)
			}
			if len(keys) == maxKeys {
				return badRequest("", "the request body holds an object of more than %d keys", maxKeys)
			}
			keys[key] = struct{}{}
		}
	}
	return nil
}

// kindOf names the type of a JSON value as error messages do.
func kindOf(raw json.RawMessage) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

func isNull(raw json.RawMessage) bool { return kindOf(raw) == "null" }

func wrongType(path, want string, raw json.RawMessage) *Error {
	e := badRequest(path, "%q must be %s, not %s", path, want, kindOf(raw))
	e.Code = "invalid_type"
	return e
}

func outOfRange(path, want, got string) *Error {
	e := badRequest(path, "%q must be %s, not %s", path, want, got)
	e.Code = "invalid_value"
	return e
}

func decodeString(path string, raw json.RawMessage) (string, *Error) {
	var s string
	if kindOf(raw) != "a string" || json.Unmarshal(raw, &s) != nil {
		return "", wrongType(path, "a string", raw)
	}
	return s, nil
}

func decodeBool(path string, raw json.RawMessage) (bool, *Error) {
	var b bool
	if kindOf(raw) != "a boolean" || json.Unmarshal(raw, &b) != nil {
		return false, wrongType(path, "a boolean", raw)
	}
	return b, nil
}

// decodeInt accepts whole numbers however they are written (3, 3.0, 3e0).
func decodeInt(path string, raw json.RawMessage, lo, hi int64) (int64, *Error) {
	if kindOf(raw) != "a number" {
		return 0, wrongType(path, "an integer", raw)
	}
	text := string(bytes.TrimSpace(raw))
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(text, 64)
		// Beyond 2⁵³ a float no longer says which integer was meant.
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return 0, outOfRange(path, intRange(lo, hi), shorten(text))
		}
		n = int64(f)
	}
	if n < lo || n > hi {
		return 0, outOfRange(path, intRange(lo, hi), shorten(text))
	}
	return n, nil
}

func intRange(lo, hi int64) string {
	switch {
	case lo == math.MinInt64 && hi == math.MaxInt64:
		return "a 64-bit integer"
	case hi >= math.MaxInt32:
		return fmt.Sprintf("an integer of at least %d", lo)
	}
	return fmt.Sprintf("an integer from %d to %d", lo, hi)
}

// decodeFloat accepts a number x with lo <= x <= hi; above says that lo itself
// is too small.
func decodeFloat(path string, raw json.RawMessage, lo, hi float64, above bool) (float64, *Error) {
	if kindOf(raw) != "a number" {
		return 0, wrongType(path, "a number", raw)
	}
	text := string(bytes.TrimSpace(raw))
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < lo || f > hi || above && f == lo {
		want := fmt.Sprintf("a number from %v to %v", lo, hi)
		if above {
			want = fmt.Sprintf("a number above %v and at most %v", lo, hi)
		}
		return 0, outOfRange(path, want, shorten(text))
	}
	return f, nil
}

func decodeList(path string, raw json.RawMessage, limit int) ([]json.RawMessage, *Error) {
	var list []json.RawMessage
	if kindOf(raw) != "a list" || json.Unmarshal(raw, &list) != nil {
		return nil, wrongType(path, "a list", raw)
	}
	if len(list) > limit {
		return nil, outOfRange(path, fmt.Sprintf("a list of at most %d", limit), strconv.Itoa(len(list)))
	}
	return list, nil
}

func decodeMap(path string, raw json.RawMessage) (map[string]json.RawMessage, *Error) {
	var m map[string]json.RawMessage
	if kindOf(raw) != "an object" || json.Unmarshal(raw, &m) != nil {
		return nil, wrongType(path, "an object", raw)
	}
	return m, nil
}

// shorten keeps a client's value from filling an error message.
func shorten(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// writeJSON sends v as a whole answer.
func writeJSON(w http.ResponseWriter, status int, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// The wire types hold no value that JSON lacks, except a non-finite
		// log-probability, and those are replaced before they come here.
		http.Error(w, `{"error":{"message":"the answer could not be encoded","type":"server_error","param":null,"code":null}}`,
			http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	// A client that is gone can't be told so.
	_, _ = w.Write(buf.Bytes())
}
