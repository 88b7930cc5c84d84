package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/tokenizer"
)

// recital is what the fake engine says when it is greedy: each token makes the
// next one likely, from the newline at the end of a prompt to the end of turn. The
// emoji is made of four byte tokens.
var recital = []string{"\n", "one", " two", " three", " four", " five", "\xf0", "\x9f", "\x99", "\x82", " six", " seven", " eight", " nine", " ten", "<|im_end|>"}

const recited = "one two three four five🙂 six seven eight nine ten"

// words are the tokens of recital that are more than a byte.
var words = []string{"one", " two", " three", " four", " five", " six", " seven", " eight", " nine", " ten"}

// The fake vocabulary: 256 bytes, the words, and the control tokens.
const (
	firstWord    = 256
	firstControl = firstWord + 10
	fakeVocab    = firstControl + 3
)

var controls = []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}

// fakeTokenizer is a real byte-level BPE tokenizer over the fake vocabulary.
func fakeTokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	// The characters that GPT-2's vocabulary writes bytes with.
	alphabet := make([]rune, 256)
	next := rune(256)
	for b := range 256 {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			alphabet[b] = rune(b)
		} else {
			alphabet[b] = next
			next++
		}
	}
	vocab := map[string]int{}
	for b, r := range alphabet {
		vocab[string(r)] = b
	}
	for i, w := range words {
		var s []rune
		for _, b := range []byte(w) {
			s = append(s, alphabet[b])
		}
		vocab[string(s)] = firstWord + i
	}
	var added []map[string]any
	for i, c := range controls {
		vocab[c] = firstControl + i
		added = append(added, map[string]any{
			"id": firstControl + i, "content": c, "special": true,
			"single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
		})
	}
	description, err := json.Marshal(map[string]any{
		"version":       "1.0",
		"added_tokens":  added,
		"normalizer":    nil,
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
		"decoder":       map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
		"model":         map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromJSON(description, []byte(`{"eos_token":"<|im_end|>"}`))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// fakeEngine computes logits from a sequence's tokens alone: the recital's next
// token gets a high one, all others a pseudo-random one.
type fakeEngine struct {
	context, capacity int
	capabilities      backend.Capabilities
	// step, if set, is called at the start of each Run; an error fails the batch.
	step func(b *backend.Batch) error
	// script, if set, is what is said instead of the recital, after a prompt of so
	// many turns: the answer's own is one of them.
	script func(turns int) string
	// confused makes Description panic, which no engine should.
	confused atomic.Bool

	mu   sync.Mutex
	seqs map[backend.SeqID]*fakeSequence
	last backend.SeqID
	rows [][]float32
}

type fakeSequence struct {
	tokens []int32
	room   int
}

var _ backend.Engine = (*fakeEngine)(nil)

func newFakeEngine() *fakeEngine {
	return &fakeEngine{
		context: 512, capacity: 16 * 512,
		capabilities: backend.Capabilities{Logprobs: true, MixedBatch: true},
		seqs:         map[backend.SeqID]*fakeSequence{},
	}
}

func (e *fakeEngine) Model() model.Config {
	return model.Config{Architecture: "fake", Name: "Fake", Vocab: fakeVocab, Context: e.context, Layers: 1, Parameters: 1234, Quantization: "Q4_1"}
}

func (e *fakeEngine) Description() backend.Description {
	if e.confused.Load() {
		panic("confused")
	}
	return backend.Description{Name: "fake", Device: "no device", Version: "1", Ready: true}
}

func (e *fakeEngine) Capabilities() backend.Capabilities { return e.capabilities }
func (e *fakeEngine) Context() int                       { return e.context }
func (e *fakeEngine) MaxBatchTokens() int                { return 64 }
func (e *fakeEngine) KV() backend.KV                     { return (*fakeKV)(e) }
func (e *fakeEngine) Close() error                       { return nil }

func (e *fakeEngine) Run(ctx context.Context, b *backend.Batch) error {
	if e.step != nil {
		if err := e.step(b); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	row := 0
	for i := range b.Spans {
		s := &b.Spans[i]
		seq := e.seqs[s.Seq]
		if seq == nil || len(seq.tokens) != s.Pos || s.Pos+len(s.Tokens) > seq.room {
			return fmt.Errorf("span of sequence %d at %d doesn't fit", s.Seq, s.Pos)
		}
		seq.tokens = append(seq.tokens, s.Tokens...)
		s.Logits = s.Logits[:0]
		if s.Want == backend.NoLogits {
			continue
		}
		from := len(seq.tokens)
		if s.Want == backend.AllLogits {
			from = s.Pos + 1
		}
		for n := from; n <= len(seq.tokens); n++ {
			if row == len(e.rows) {
				e.rows = append(e.rows, make([]float32, fakeVocab))
			}
			fill(e.rows[row], seq.tokens[:n])
			if e.script != nil {
				e.follow(e.rows[row], seq.tokens[:n])
			}
			s.Logits = append(s.Logits, e.rows[row])
			row++
		}
	}
	return nil
}

var successor = sync.OnceValue(func() map[int32]int32 {
	id := func(piece string) int32 {
		if i := slices.Index(words, piece); i >= 0 {
			return int32(firstWord + i)
		}
		if i := slices.Index(controls, piece); i >= 0 {
			return int32(firstControl + i)
		}
		return int32(piece[0])
	}
	m := map[int32]int32{}
	for i := range len(recital) - 1 {
		m[id(recital[i])] = id(recital[i+1])
	}
	return m
})

func fill(row []float32, tokens []int32) {
	h := fnv.New64a()
	for _, t := range tokens {
		_, _ = h.Write([]byte{byte(t), byte(t >> 8)})
	}
	random := rand.New(rand.NewPCG(h.Sum64(), 0))
	for i := range row {
		row[i] = 2*random.Float32() - 1
	}
	// Printable text, so that the answers read well: other bytes are unlikely.
	for i := range row[:firstWord] {
		if i < ' ' || i > '~' {
			row[i] -= 20
		}
	}
	if next, ok := successor()[tokens[len(tokens)-1]]; ok {
		row[next] = 8
	}
}

// follow makes the script's next byte the likeliest, after the turn that the
// prompt of fakeTemplate opens.
func (e *fakeEngine) follow(row []float32, tokens []int32) {
	start, turns := 0, 0
	for i, t := range tokens {
		if t == firstControl+1 { // <|im_start|>
			start = i + 1 + len("assistant\n")
			turns++
		}
	}
	said := e.script(turns)
	next := int32(firstControl + 2) // <|im_end|>
	if n := len(tokens) - start; n < len(said) {
		next = int32(said[n])
	}
	row[next] = 1000
}

// fakeKV is the engine's memory.
type fakeKV fakeEngine

func (k *fakeKV) reserved() int {
	n := 0
	for _, s := range k.seqs {
		n += s.room
	}
	return n
}

func (k *fakeKV) Reserve(positions int) (backend.SeqID, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if positions > k.capacity {
		return 0, fmt.Errorf("%d positions never fit", positions)
	}
	if k.reserved()+positions > k.capacity {
		return 0, backend.ErrKVFull
	}
	k.last++
	k.seqs[k.last] = &fakeSequence{room: positions}
	return k.last, nil
}

func (k *fakeKV) Resize(seq backend.SeqID, positions int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.seqs[seq]
	if s == nil {
		return errors.New("unknown sequence")
	}
	if k.reserved()-s.room+positions > k.capacity {
		return backend.ErrKVFull
	}
	s.room = max(s.room, positions)
	return nil
}

func (k *fakeKV) Free(seq backend.SeqID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seqs[seq] == nil {
		return errors.New("unknown sequence")
	}
	delete(k.seqs, seq)
	return nil
}

func (k *fakeKV) Len(seq backend.SeqID) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.seqs[seq].tokens)
}

func (k *fakeKV) Truncate(backend.SeqID, int) error { return backend.ErrUnsupported }
func (k *fakeKV) Fork(backend.SeqID, int, int) (backend.SeqID, error) {
	return 0, backend.ErrUnsupported
}
func (k *fakeKV) Export(backend.SeqID, io.Writer) error { return backend.ErrUnsupported }
func (k *fakeKV) Import(backend.SeqID, io.Reader) error { return backend.ErrUnsupported }
func (k *fakeKV) Usage() backend.KVUsage {
	k.mu.Lock()
	defer k.mu.Unlock()
	used := 0
	for _, s := range k.seqs {
		used += len(s.tokens)
	}
	return backend.KVUsage{Capacity: k.capacity, Reserved: k.reserved(), Used: used, Sequences: len(k.seqs), BytesPerToken: 8}
}
