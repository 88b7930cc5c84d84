package grammar_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/inferflux/inferflux/grammar"
)

// TestCorpus reports what real schemas cost: it reads the folder that INFERFLUX_TEST_SCHEMAS
// names, whose .json files are schemas, or have one as "schema" with instances as
// "tests" (a list of {"data": …, "valid": …}, as JSONSchemaBench has them), and prints
// percentiles of compilation and of masks, what is refused and why, and where we disagree with an
// instance. INFERFLUX_TEST_VOCABULARY may name the tokens to use: lines of a token's bytes in
// base64 and its number (a .tiktoken file); otherwise they are made up. An invalid instance that
// is accepted is an error.
func TestCorpus(t *testing.T) {
	folder := os.Getenv("INFERFLUX_TEST_SCHEMAS")
	if folder == "" {
		t.Skip("needs a folder of schemas (INFERFLUX_TEST_SCHEMAS)")
	}
	tokens, v := largeVocabulary(t)
	// Every n-th schema, to see the whole of a large folder in a short time.
	every := 1
	if s := os.Getenv("INFERFLUX_TEST_SCHEMAS_EVERY"); s != "" {
		var err error
		if every, err = strconv.Atoi(s); err != nil || every < 1 {
			t.Fatalf("INFERFLUX_TEST_SCHEMAS_EVERY is %q: it must be a number above 0", s)
		}
	}
	report := corpusReport{tokens: tokens, vocabulary: v, words: longestFirst(tokens), refused: map[string][]string{}}
	seen := 0
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		if seen++; seen%every != 0 {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		report.file(t, name, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	report.print(t)
}

// largeVocabulary is the one that INFERFLUX_TEST_VOCABULARY names, or one made up.
func largeVocabulary(t testing.TB) ([][]byte, *grammar.Vocabulary) {
	t.Helper()
	path := os.Getenv("INFERFLUX_TEST_VOCABULARY")
	if path == "" {
		return syntheticVocabulary(t)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tokens [][]byte
	for lines := bufio.NewScanner(f); lines.Scan(); {
		piece, number, _ := strings.Cut(lines.Text(), " ")
		b, err := base64.StdEncoding.DecodeString(piece)
		if n, nerr := strconv.Atoi(number); err != nil || nerr != nil || n != len(tokens) {
			t.Fatalf("%s: line %q isn't token %d", path, lines.Text(), len(tokens))
		}
		tokens = append(tokens, b)
	}
	tokens = append(tokens, nil)
	start := time.Now()
	v, err := grammar.NewVocabulary(tokens, nil, []int32{int32(len(tokens) - 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("vocabulary of %d tokens made in %v", v.Size(), time.Since(start).Round(time.Millisecond))
	return tokens, v
}

type timed struct {
	time time.Duration
	of   string
}

type corpusReport struct {
	tokens     [][]byte
	vocabulary *grammar.Vocabulary
	words      map[string]int32

	compiles, masks    []timed
	refused            map[string][]string // names of files by reason
	limits             []string
	valid, notAccepted int
	invalid            int
	disagreed          []string
}

type instance struct {
	Data  json.RawMessage
	Valid bool
}

func (r *corpusReport) file(t *testing.T, name string, data []byte) {
	schema := data
	var file struct {
		Schema json.RawMessage
		Tests  []instance
	}
	if json.Unmarshal(data, &file) == nil && file.Schema != nil && file.Tests != nil {
		schema = file.Schema
	}
	spec := grammar.Spec{Kind: grammar.JSONSchema, Source: string(schema)}
	start := time.Now()
	c, err := grammar.Compile(context.Background(), spec, r.vocabulary)
	r.compiles = append(r.compiles, timed{time.Since(start), name})
	var refusal *grammar.SchemaError
	switch {
	case errors.As(err, &refusal):
		reason := refusal.Keyword + ": " + refusal.Reason
		if i := strings.Index(reason, "\""); i >= 0 && refusal.Keyword != "format" {
			reason = reason[:i]
		}
		r.refused[reason] = append(r.refused[reason], name)
		return
	case err != nil:
		r.limits = append(r.limits, fmt.Sprintf("%s: %v", name, err))
		return
	}
	bytewise, err := grammar.Compile(context.Background(), spec, byteVocabulary(t))
	if err != nil {
		t.Fatal(err)
	}
	walked := false
	for _, i := range file.Tests {
		text, tries := anyOrder(t, bytewise, i)
		if tries == 0 {
			continue
		}
		switch {
		case i.Valid:
			r.valid++
			if text == "" {
				r.notAccepted++
				r.disagreed = append(r.disagreed, fmt.Sprintf("%s refuses %.300s", name, i.Data))
			}
		default:
			r.invalid++
			if text != "" {
				t.Errorf("%s accepts %.300s", name, text)
			}
		}
		if text != "" {
			r.walk(t, name, c, text)
			walked = true
		}
	}
	if !walked {
		r.stroll(t, name, c)
	}
}

// walk measures the masks along a text, cut into the longest tokens.
func (r *corpusReport) walk(t *testing.T, name string, c *grammar.Compiled, text string) {
	s := c.Start()
	for len(text) > 0 {
		n := min(len(text), 32)
		for n > 1 {
			if _, ok := r.words[text[:n]]; ok {
				break
			}
			n--
		}
		if !r.step(t, name, s, func([]uint32) int32 { return r.words[text[:n]] }) {
			return
		}
		text = text[n:]
	}
	r.step(t, name, s, func([]uint32) int32 { return int32(len(r.tokens) - 1) })
}

// stroll measures the masks along a text made up.
func (r *corpusReport) stroll(t *testing.T, name string, c *grammar.Compiled) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := c.Start()
	for i := range 60 {
		if !r.step(t, name, s, func(mask []uint32) int32 { return int32(draw(rng, mask, r.tokens, i > 30)) }) || s.Ended() {
			return
		}
	}
}

func (r *corpusReport) step(t *testing.T, name string, s *grammar.State, choose func(mask []uint32) int32) bool {
	mask := make([]uint32, r.vocabulary.MaskWords())
	start := time.Now()
	_, err := s.Mask(mask)
	r.masks = append(r.masks, timed{time.Since(start), name})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return false
	}
	token := choose(mask)
	if !isSet(mask, int(token)) {
		t.Errorf("%s: token %q isn't allowed where its bytes are", name, r.tokens[token])
		return false
	}
	if err := s.Accept(token); err != nil {
		t.Errorf("%s: %v", name, err)
		return false
	}
	return true
}

func longestFirst(tokens [][]byte) map[string]int32 {
	words := make(map[string]int32, len(tokens))
	for i, t := range tokens {
		words[string(t)] = int32(i)
	}
	return words
}

func (r *corpusReport) print(t *testing.T) {
	runtime.GC()
	percentiles := func(what string, all []timed) {
		slices.SortFunc(all, func(a, b timed) int { return cmp.Compare(a.time, b.time) })
		if len(all) == 0 {
			return
		}
		at := func(p float64) timed { return all[int(p*float64(len(all)-1))] }
		t.Logf("%s: %d, p50 %v, p95 %v, p99 %v, most %v", what, len(all), at(.5).time, at(.95).time, at(.99).time, at(1).time)
		for i := len(all) - 1; i >= max(0, len(all)-12); i-- {
			t.Logf("    %v %s", all[i].time, all[i].of)
		}
	}
	percentiles("compilations", r.compiles)
	percentiles("masks", r.masks)
	refusals := 0
	for _, names := range r.refused {
		refusals += len(names)
	}
	t.Logf("%d schemas are refused, %d are too large or can't be met", refusals, len(r.limits))
	for _, reason := range slices.SortedFunc(maps.Keys(r.refused), func(a, b string) int { return cmp.Compare(len(r.refused[b]), len(r.refused[a])) }) {
		names := r.refused[reason]
		t.Logf("%6d %s (%s)", len(names), reason, strings.Join(names[:min(3, len(names))], ", "))
	}
	for _, l := range r.limits {
		t.Logf("    %s", l)
	}
	t.Logf("%d valid instances, of which %d are not accepted; %d invalid ones", r.valid, r.notAccepted, r.invalid)
	for _, d := range r.disagreed {
		t.Logf("    %s", d)
	}
}

// anyOrder looks for a way of writing an instance that c accepts: with its members in any
// order. It gives up, with no tries, on those that can't be followed. Numbers of an invalid one are
// as they were written: in draft 4, 1.0 is no integer.
func anyOrder(t *testing.T, c *grammar.Compiled, i instance) (text string, tries int) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(i.Data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	w := orderWriter{asWritten: !i.Valid}
	if !w.value(c.Start(), v, func(s *grammar.State) bool { return s.AcceptsEnd() }) {
		w.text = nil
	}
	if w.tries > maxTries {
		return "", 0
	}
	return string(w.text), w.tries + 1
}

const maxTries = 20_000

// An orderWriter writes a JSON value, trying one order after the other.
type orderWriter struct {
	text      []byte
	tries     int
	asWritten bool // numbers
}

// put writes text, goes on with rest, and takes it back if that fails.
func (w *orderWriter) put(s *grammar.State, text string, rest func(*grammar.State) bool) bool {
	if w.tries++; w.tries > maxTries {
		return false
	}
	s = s.Clone()
	for i := range len(text) {
		if s.Accept(int32(text[i])) != nil {
			return false
		}
	}
	n := len(w.text)
	w.text = append(w.text, text...)
	if rest(s) {
		return true
	}
	w.text = w.text[:n]
	return false
}

func (w *orderWriter) value(s *grammar.State, v any, rest func(*grammar.State) bool) bool {
	switch v := v.(type) {
	case []any:
		return w.put(s, "[", func(s *grammar.State) bool { return w.items(s, v, 0, rest) })
	case map[string]any:
		return w.put(s, "{", func(s *grammar.State) bool { return w.members(s, v, slices.Sorted(maps.Keys(v)), true, rest) })
	case json.Number:
		texts := spellings(v)
		if w.asWritten {
			texts = texts[:1]
		}
		return slices.ContainsFunc(texts, func(text string) bool { return w.put(s, text, rest) })
	default:
		return w.put(s, text(v), rest)
	}
}

func (w *orderWriter) items(s *grammar.State, list []any, at int, rest func(*grammar.State) bool) bool {
	if at == len(list) {
		return w.put(s, "]", rest)
	}
	comma := ","
	if at == 0 {
		comma = ""
	}
	return w.put(s, comma, func(s *grammar.State) bool {
		return w.value(s, list[at], func(s *grammar.State) bool { return w.items(s, list, at+1, rest) })
	})
}

func (w *orderWriter) members(s *grammar.State, v map[string]any, left []string, first bool, rest func(*grammar.State) bool) bool {
	if len(left) == 0 {
		return w.put(s, "}", rest)
	}
	comma := ","
	if first {
		comma = ""
	}
	for i, k := range left {
		others := slices.Delete(slices.Clone(left), i, i+1)
		if w.put(s, comma+text(k)+":", func(s *grammar.State) bool {
			return w.value(s, v[k], func(s *grammar.State) bool { return w.members(s, v, others, false, rest) })
		}) {
			return true
		}
	}
	return false
}
