package openai

import (
	"encoding/json"
	"net/http"
	"unicode/utf8"
)

// eventWriter sends chunks as server-sent events. Everything about a chunk that
// doesn't change is encoded once.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	before  []byte // `data: {"id":…,"choices":[`
	usage   bool   // chunks have it
	after   []byte // `]}` or `],"usage":null}`, and the end of the event
	buf     []byte
}

func newEventWriter(w http.ResponseWriter, h head, withUsage bool) *eventWriter {
	encoded, err := json.Marshal(h)
	if err != nil {
		panic(err) // strings and an integer always encode
	}
	e := &eventWriter{w: w, control: http.NewResponseController(w), usage: withUsage}
	e.before = append([]byte("data: "), encoded[:len(encoded)-1]...)
	e.before = append(e.before, `,"choices":[`...)
	e.after = []byte("]}\n\n")
	if withUsage {
		// As OpenAI does: null in every chunk but the last.
		e.after = []byte("],\"usage\":null}\n\n")
	}
	return e
}

// begin sends the headers.
func (e *eventWriter) begin() {
	h := e.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx would collect the whole answer
	e.w.WriteHeader(http.StatusOK)
}

// choice sends a chunk of one choice, which add appends as JSON.
func (e *eventWriter) choice(add func(dst []byte) []byte) error {
	e.buf = append(e.buf[:0], e.before...)
	e.buf = add(e.buf)
	e.buf = append(e.buf, e.after...)
	_, err := e.w.Write(e.buf)
	return err
}

// counts sends the chunk that carries the usage, if chunks have it, the timings, if there
// are any, and no choices.
func (e *eventWriter) counts(u usage, t *timings) error {
	e.buf = append(append(e.buf[:0], e.before...), ']')
	if e.usage {
		e.buf = appendJSON(append(e.buf, `,"usage":`...), u)
	}
	if t != nil {
		e.buf = appendJSON(append(e.buf, `,"timings":`...), t)
	}
	e.buf = append(e.buf, "}\n\n"...)
	_, err := e.w.Write(e.buf)
	return err
}

// fail sends an error in the middle of a stream.
func (e *eventWriter) fail(err *Error) error {
	encoded, jerr := json.Marshal(err)
	if jerr != nil {
		return jerr
	}
	e.buf = append(e.buf[:0], "data: "...)
	e.buf = append(e.buf, encoded...)
	e.buf = append(e.buf, "\n\n"...)
	if _, err := e.w.Write(e.buf); err != nil {
		return err
	}
	return e.flush()
}

func (e *eventWriter) done() error {
	if _, err := e.w.Write([]byte("data: [DONE]\n\n")); err != nil {
		return err
	}
	return e.flush()
}

func (e *eventWriter) flush() error { return e.control.Flush() }

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string, without the HTML escapes that
// encoding/json adds. Bytes that are not UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0 // of what is not copied yet
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
