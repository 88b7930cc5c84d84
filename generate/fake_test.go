package generate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"

	"go.uber.org/goleak"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/tokenizer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vocabulary is a byte-level vocabulary for tests: the 256 bytes, then any byte
// strings, then <s> and </s>.
type vocabulary struct {
	*tokenizer.Tokenizer
	ids      map[string]int32
	bos, eos int32
}

func newVocabulary(t testing.TB, pieces ...string) *vocabulary {
	t.Helper()
	// The characters that GPT-2's vocabulary writes bytes with.
	var alphabet [256]rune
	next := rune(256)
	for b := range alphabet {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			alphabet[b] = rune(b)
		} else {
			alphabet[b] = next
			next++
		}
	}
	v := &vocabulary{ids: map[string]int32{}}
	spelled := map[string]int32{}
	add := func(piece string) {
		if _, there := v.ids[piece]; there {
			return
		}
		var s []rune
		for _, b := range []byte(piece) {
			s = append(s, alphabet[b])
		}
		v.ids[piece] = int32(len(v.ids))
		spelled[string(s)] = v.ids[piece]
	}
	for b := range 256 {
		add(string([]byte{byte(b)}))
	}
	for _, p := range pieces {
		add(p)
	}
	v.bos, v.eos = int32(len(v.ids)), int32(len(v.ids))+1
	spelled["<s>"], spelled["</s>"] = v.bos, v.eos
	special := func(id int32, text string) map[string]any {
		return map[string]any{"id": id, "content": text, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}
	}
	description, err := json.Marshal(map[string]any{
		"version":       "1.0",
		"added_tokens":  []any{special(v.bos, "<s>"), special(v.eos, "</s>")},
		"normalizer":    nil,
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
		"post_processor": map[string]any{
			"type":           "TemplateProcessing",
			"single":         []any{map[string]any{"SpecialToken": map[string]any{"id": "<s>", "type_id": 0}}, map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}},
			"pair":           []any{map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}, map[string]any{"Sequence": map[string]any{"id": "B", "type_id": 1}}},
			"special_tokens": map[string]any{"<s>": map[string]any{"id": "<s>", "ids": []int32{v.bos}, "tokens": []string{"<s>"}}},
		},
		"decoder": map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
		"model":   map[string]any{"type": "BPE", "vocab": spelled, "merges": []string{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	v.Tokenizer, err = tokenizer.FromJSON(description, []byte(`{"bos_token":"<s>","eos_token":"</s>"}`))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// encode cuts text into the given pieces.
func (v *vocabulary) encode(t testing.TB, pieces ...string) []int32 {
	t.Helper()
	var ids []int32
	for _, p := range pieces {
		id, ok := v.ids[p]
		if !ok {
			t.Fatalf("no token %q", p)
		}
		ids = append(ids, id)
	}
	return ids
}

// parrot is an engine that says its prompt again, token by token, then </s> for
// ever.
type parrot struct {
	vocab   int
	eos     int32
	seqs    map[backend.SeqID]*parrotSequence
	last    backend.SeqID
	closed  int
	failing error         // what Run returns
	hold    chan struct{} // if set, Run waits for it, or for its context
}

type parrotSequence struct {
	tokens []int32
	prompt int
}

var _ backend.Engine = (*parrot)(nil)

func newParrot(v *vocabulary) *parrot {
	return &parrot{vocab: v.VocabSize(), eos: v.eos, seqs: map[backend.SeqID]*parrotSequence{}}
}

func (p *parrot) Model() model.Config { return model.Config{Vocab: p.vocab} }
func (p *parrot) Description() backend.Description {
	return backend.Description{Name: "parrot", Ready: true}
}
func (p *parrot) Capabilities() backend.Capabilities { return backend.Capabilities{MixedBatch: true} }
func (p *parrot) Context() int                       { return 200 }
func (p *parrot) MaxBatchTokens() int                { return 64 }
func (p *parrot) KV() backend.KV                     { return (*parrotKV)(p) }
func (p *parrot) Close() error {
	p.closed++
	return nil
}

func (p *parrot) Run(ctx context.Context, b *backend.Batch) error {
	if p.hold != nil {
		select {
		case <-p.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if p.failing != nil {
		return p.failing
	}
	for i := range b.Spans {
		s := &b.Spans[i]
		q := p.seqs[s.Seq]
		q.tokens = append(q.tokens, s.Tokens...)
		s.Logits = s.Logits[:0]
		if s.Want == backend.NoLogits {
			continue
		}
		if q.prompt == 0 {
			q.prompt = len(q.tokens)
		}
		row := make([]float32, p.vocab)
		if n := len(q.tokens) - q.prompt; n < q.prompt {
			row[q.tokens[n]] = 50
		} else {
			row[p.eos] = 50
		}
		s.Logits = append(s.Logits, row)
	}
	return nil
}

type parrotKV parrot

func (k *parrotKV) Reserve(int) (backend.SeqID, error) {
	k.last++
	k.seqs[k.last] = &parrotSequence{}
	return k.last, nil
}

func (k *parrotKV) Free(seq backend.SeqID) error {
	if k.seqs[seq] == nil {
		return errors.New("unknown sequence")
	}
	delete(k.seqs, seq)
	return nil
}

func (k *parrotKV) Usage() backend.KVUsage {
	return backend.KVUsage{Capacity: 3200, Sequences: len(k.seqs)}
}
func (k *parrotKV) Len(seq backend.SeqID) int         { return len(k.seqs[seq].tokens) }
func (k *parrotKV) Resize(backend.SeqID, int) error   { return nil }
func (k *parrotKV) Truncate(backend.SeqID, int) error { return backend.ErrUnsupported }
func (k *parrotKV) Fork(backend.SeqID, int, int) (backend.SeqID, error) {
	return 0, backend.ErrUnsupported
}
func (k *parrotKV) Export(backend.SeqID, io.Writer) error { return backend.ErrUnsupported }
func (k *parrotKV) Import(backend.SeqID, io.Reader) error { return backend.ErrUnsupported }

const testTemplate = `{{ bos_token }}{% for m in messages %}{% if m.role == 'narrator' %}{{ raise_exception('no narrators') }}{% endif %}{{ m.role }}: {{ m.content }}</s>{% endfor %}`

// newModel makes a model that says its prompt again.
func newModel(t testing.TB, v *vocabulary) *generate.Model {
	t.Helper()
	template, err := chat.Parse(testTemplate, chat.Options{BOS: "<s>", EOS: "</s>"})
	if err != nil {
		t.Fatal(err)
	}
	m := generate.New(generate.ModelOptions{ID: "parrot", Tokenizer: v.Tokenizer, Template: template, Engine: newParrot(v)})
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close the model: %s", err)
		}
	})
	return m
}

// request asks for the greedy answer to a prompt: the prompt.
func request(prompt []int32) generate.Request {
	r := generate.Request{Prompt: prompt, Sampling: sample.Defaults()}
	r.Sampling.Temperature = 0
	return r
}

// answer is a whole answer put together from its deltas.
type answer struct {
	text   string
	tokens []int32
	finish string
	stop   string
	usage  generate.Usage
}

// read reads a stream to its end.
func read(t testing.TB, s *generate.Stream) (a answer, deltas []generate.Delta) {
	t.Helper()
	for {
		d, err := s.Next()
		if errors.Is(err, io.EOF) {
			a.usage = s.Usage()
			return a, deltas
		}
		if err != nil {
			t.Fatalf("Next: %s", err)
		}
		if a.finish != "" {
			t.Fatalf("a delta after the last: %+v", d)
		}
		deltas = append(deltas, d)
		a.text += d.Text
		for _, token := range d.Tokens {
			a.tokens = append(a.tokens, token.Token)
		}
		a.finish, a.stop = string(d.Finish), d.StopString
	}
}

func generated(t testing.TB, m *generate.Model, r generate.Request) (answer, []generate.Delta) {
	t.Helper()
	s, err := m.Generate(t.Context(), r)
	if err != nil {
		t.Fatalf("Generate: %s", err)
	}
	return read(t, s)
}

func (a answer) String() string {
	return fmt.Sprintf("%q %v %s %q %+v", a.text, a.tokens, a.finish, a.stop, a.usage)
}
