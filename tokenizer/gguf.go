package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/inferflux/inferflux/checkpoint"
)

// FromGGUF reads the tokenizer of a GGUF file: tokenizer.ggml.model "gpt2"
// (byte-level BPE, split as tokenizer.ggml.pre says) or "llama" (SentencePiece
// BPE by scores).
func FromGGUF(md checkpoint.Metadata) (*Tokenizer, error) {
	t, err := fromGGUF(md)
	if err != nil {
		return nil, fmt.Errorf("reading the tokenizer from gguf metadata: %w", err)
	}
	return t, nil
}

func fromGGUF(md checkpoint.Metadata) (*Tokenizer, error) {
	model, ok := md.String(ggml("model"))
	if !ok {
		return nil, errors.New("key tokenizer.ggml.model is missing: the file holds no tokenizer")
	}
	f := ggufVocab{md: md}
	if err := f.read(); err != nil {
		return nil, err
	}
	switch model {
	case "gpt2":
		return f.byteLevel()
	case "llama":
		return f.sentencePiece()
	}
	return nil, fmt.Errorf("tokenizer.ggml.model %q isn't supported, only gpt2 (byte-level BPE) and llama (SentencePiece BPE)", model)
}

func ggml(name string) string { return "tokenizer.ggml." + name }

// ggufVocab is the token list of a GGUF file.
type ggufVocab struct {
	md     checkpoint.Metadata
	tokens []string
	types  []int // empty when the file has none
	bytes  int   // of all tokens
	added  []addedToken
}

func (f *ggufVocab) read() error {
	tokens, ok := f.md.Strings(ggml("tokens"))
	if !ok || len(tokens) == 0 {
		return errors.New("key tokenizer.ggml.tokens is missing, empty or no list of strings")
	}
	if len(tokens) > maxVocab {
		return fmt.Errorf("tokenizer.ggml.tokens has %d entries, more than %d", len(tokens), maxVocab)
	}
	f.tokens = tokens
	for _, s := range tokens {
		f.bytes += len(s)
	}
	if f.bytes > maxBytes {
		return fmt.Errorf("tokenizer.ggml.tokens take %d bytes, more than %d", f.bytes, maxBytes)
	}
	if f.types, ok = f.md.Ints(ggml("token_type")); ok && len(f.types) != len(tokens) {
		return fmt.Errorf("tokenizer.ggml.token_type has %d entries for %d tokens", len(f.types), len(tokens))
	}
	return nil
}

// kind is the type of a token; Normal when the file doesn't say.
func (f *ggufVocab) kind(id int) Kind {
	if f.types == nil {
		return Normal
	}
	if k := f.types[id]; k >= int(Undefined) && k <= int(Byte) {
		return Kind(k)
	}
	return Undefined
}

// add notes the tokens that are matched whole in text.
func (f *ggufVocab) add(id int, text string, k Kind) {
	if k.isControl() || k == UserDefined {
		// A copy: the file's strings may go with the file.
		f.added = append(f.added, addedToken{text: strings.Clone(text), id: int32(id), control: k.isControl()})
	}
}

// byteLevel builds a tokenizer from a list of merges.
func (f *ggufVocab) byteLevel() (*Tokenizer, error) {
	pre, ok := f.md.String(ggml("pre"))
	if !ok {
		return nil, errors.New("key tokenizer.ggml.pre is missing: the file doesn't say how text is split; convert the model again with a current converter")
	}
	fam, ok := findFamily(pre)
	if !ok {
		return nil, fmt.Errorf("tokenizer.ggml.pre %q isn't supported", pre)
	}
	merges, ok := f.md.Strings(ggml("merges"))
	if !ok {
		return nil, errors.New("key tokenizer.ggml.merges is missing or no list of strings")
	}
	v := newVocab(len(f.tokens), f.bytes)
	var raw []byte
	for id, text := range f.tokens {
		k := f.kind(id)
		f.add(id, text, k)
		literal := k.isControl() || k == UserDefined
		if !literal {
			var spelled bool
			if raw, spelled = appendUnspelled(raw[:0], text); spelled {
				v.add(string(raw), k, false, true)
				continue
			}
		}
		// Spelled as it is. A merge may still lead to a user-defined token.
		v.add(text, k, true, k == UserDefined)
	}
	b := tableMerger{merger: merger{vocab: v, byteLevel: true, unknown: -1, pairs: newPairTable(len(merges))}}
	b.findLetters()
	for rank, merge := range merges {
		left, right, ok := cutMerge(merge)
		if !ok {
			return nil, fmt.Errorf("merge %d, %q, isn't two tokens with a space between", rank, merge)
		}
		// Converters rewrite the spelling of some added tokens, so a merge may
		// name one that isn't there; it can't apply then.
		b.addMerge(left, right, uint32(rank))
	}
	b.trust = fam.ignoreMerges
	t := newTokenizer(&b.merger, f.added)
	t.preTokenizer, t.stages = pre, stagesOf(fam.patterns)
	if fam.nfc {
		t.normalizers = []normalizer{nfc}
	}
	f.specials(t, -1, -1, fam.addBOS)
	return t, nil
}

// cutMerge splits "a b" at the first space after its first byte, which in odd
// vocabularies is itself a space.
func cutMerge(merge string) (left, right string, ok bool) {
	if merge == "" {
		return "", "", false
	}
	i := strings.IndexByte(merge[1:], ' ')
	if i < 0 {
		return "", "", false
	}
	return merge[:i+1], merge[i+2:], true
}

// sentencePiece builds a tokenizer from scores.
func (f *ggufVocab) sentencePiece() (*Tokenizer, error) {
	scores, ok := f.md.Floats(ggml("scores"))
	if !ok || len(scores) != len(f.tokens) {
		return nil, fmt.Errorf("tokenizer.ggml.scores has %d entries for %d tokens", len(scores), len(f.tokens))
	}
	v := newVocab(len(f.tokens), f.bytes)
	m := &merger{vocab: v, unknown: -1, fuse: true, ranks: make([]uint32, len(scores))}
	m.noBytes()
	for id, text := range f.tokens {
		k := f.kind(id)
		m.ranks[id] = none
		if s := scores[id]; !math.IsNaN(s) {
			m.ranks[id] = scoreRank(float32(s))
		}
		if k == Byte {
			b, ok := parseByteSpelling(text)
			if !ok {
				return nil, fmt.Errorf("token %d, %q, is of type byte but isn't spelled <0x00> to <0xFF>", id, text)
			}
			m.bytes[b] = int32(id)
			v.add(string([]byte{b}), Byte, false, false)
			continue
		}
		piece := text
		if !k.isControl() {
			piece = strings.ReplaceAll(text, metaspace, " ")
		}
		f.add(id, piece, k)
		literal := k.isControl() || k == UserDefined
		v.add(piece, k, literal, !k.isControl())
	}
	m.findFallback()
	unknown := 0
	if id, ok := f.md.Int(ggml("unknown_token_id")); ok {
		unknown = id
	}
	if unknown >= 0 && unknown < v.size() {
		m.unknown = int32(unknown)
	}
	t := newTokenizer(m, f.added)
	t.metaspace = true
	t.preTokenizer, t.stages = "sentencepiece", []splitter{splitUnmergeable(v)}
	space, ok := f.md.Bool(ggml("add_space_prefix"))
	if space || !ok {
		t.normalizers = []normalizer{prepend(" ")}
		t.stripSpace = true
	}
	f.specials(t, 1, 2, true)
	return t, nil
}

// specials reads which tokens begin and end a text, given what holds when the
// file doesn't say.
func (f *ggufVocab) specials(t *Tokenizer, bos, eos int32, addBOS bool) {
	id := func(key string, missing int32) int32 {
		if n, ok := f.md.Int(ggml(key)); ok {
			missing = -1
			if n >= 0 && n < len(f.tokens) {
				return int32(n)
			}
		}
		if !t.merger.vocab.has(missing) {
			return -1
		}
		return missing
	}
	flag := func(key string, missing bool) bool {
		if b, ok := f.md.Bool(ggml(key)); ok {
			return b
		}
		return missing
	}
	t.bos, t.eos = id("bos_token_id", bos), id("eos_token_id", eos)
	if t.bos >= 0 && flag("add_bos_token", addBOS) {
		t.prefix = []int32{t.bos}
	}
	if t.eos >= 0 && flag("add_eos_token", false) {
		t.suffix = []int32{t.eos}
	}
	// Their older names are those without fim.
	fill := FillIn{
		Prefix: id("fim_pre_token_id", id("prefix_token_id", -1)), Suffix: id("fim_suf_token_id", id("suffix_token_id", -1)),
		Middle: id("fim_mid_token_id", id("middle_token_id", -1)),
	}
	if fill.Prefix >= 0 && fill.Suffix >= 0 && fill.Middle >= 0 {
		t.fillIn = &fill
	}
	t.findEnds(t.eos, id("eot_token_id", -1), id("eom_token_id", -1))
}
