// Package tokenizer turns text into a model's token ids and back.
//
// Byte-level BPE (GPT-2 and its descendants) and SentencePiece BPE (Llama 2,
// Gemma) are read from GGUF metadata ([FromGGUF]) or from a Hugging Face
// tokenizer.json ([FromJSON], [FromFolder]). Ids equal those of the Hugging Face
// tokenizers library; a file that asks for something not supported is refused
// with an error that names it, never read approximately.
//
// # From text to ids
//
// [Tokenizer.Encode] works in the order of Hugging Face's library:
//
//  1. Added tokens (control tokens among them) are cut out of the text.
//  2. The normalizer rewrites what lies between (NFC for Qwen, a leading space
//     for Llama 2), and added tokens that are matched in normalized text are
//     cut out.
//  3. The pre-tokenizer splits that into words. The regular expressions of the
//     model families are written out as Go functions.
//  4. Every word is merged by byte-pair encoding. The time is O(n log n) in the
//     length of a word, whatever it holds, and the memory O(n).
//
// Text typed by a user is encoded without [EncodeOptions].Special, and then no
// spelling of it gives a control token.
//
// # From ids to text
//
// [Tokenizer.Decode] reads a whole answer; a [Decoder] reads it token by token
// as it is generated, and never emits part of a UTF-8 character. Both give the
// same text.
//
// # Where the library is not followed
//
// Text without Special never gives a control token, even where a merge leads to
// one. Bytes that SentencePiece vocabularies fell back to are decoded as the
// UTF-8 they are; the library gives up a whole run of them when one is wrong.
// Normalization is that of Unicode 15, which orders a few combining marks that
// the library's older tables don't know. An added token is always decoded as it
// is spelled.
//
// A [Tokenizer] is immutable and safe for concurrent use. A [Decoder] belongs to
// one answer.
package tokenizer

import (
	"strings"
	"sync"
)

// Kind says what a vocabulary entry is.
type Kind uint8

// The kinds, as GGUF's tokenizer.ggml.token_type numbers them.
const (
	Undefined   Kind = iota
	Normal           // text
	Unknown          // stands for what can't be encoded
	Control          // special: bos, eos, <|im_start|>; not part of the answer's text
	UserDefined      // added token that is matched whole in text
	Unused
	Byte // one raw byte, <0x0A>
)

// isControl reports the kinds that aren't text.
func (k Kind) isControl() bool { return k == Control || k == Unknown }

// EncodeOptions says how text is read.
type EncodeOptions struct {
	// Special lets control tokens written out in the text (<|im_start|>) match.
	// True for rendered chat templates, false for text a user typed raw.
	Special bool
	// AddSpecial puts the beginning and end tokens in place that the model's
	// configuration asks for.
	AddSpecial bool
}

// metaspace is how SentencePiece vocabularies spell a space. Here their tokens
// hold the space itself, and this character in a text reads as one.
const metaspace = "▁"

// Tokenizer is a vocabulary with the rules for reading text by it.
type Tokenizer struct {
	merger  *merger
	scratch sync.Pool // of *longMerge

	raw, normalized *matcher // added tokens; nil for none
	normalizers     []normalizer
	leading         prefixRule
	stages          []splitter
	preTokenizer    string
	metaspace       bool // SentencePiece: spaces are spelled ▁
	stripSpace      bool // decoding takes off a leading space

	prefix, suffix []int32 // what AddSpecial adds
	bos, eos       int32   // -1 for none
	ends           []int32 // end of generation
	fillIn         *FillIn // that the file names
}

// VocabSize is the number of ids: every id is below it.
func (t *Tokenizer) VocabSize() int { return t.merger.vocab.size() }

// Piece is the bytes that a token adds to the text: " the", or part of a
// character. It is nil for control and unknown tokens and for ids outside the
// vocabulary. The caller must not change it.
func (t *Tokenizer) Piece(id int32) []byte {
	v := t.merger.vocab
	if !v.has(id) || v.kinds[id].isControl() {
		return nil
	}
	return v.piece(id)
}

// Text is a token as the vocabulary spells it: "Ġthe", "▁the", "<0x0A>",
// "<|im_start|>". It is empty for ids outside the vocabulary.
func (t *Tokenizer) Text(id int32) string {
	v := t.merger.vocab
	switch {
	case !v.has(id):
		return ""
	case v.kinds[id] == Byte:
		return byteSpelling(v.piece(id)[0])
	case v.literal[id]:
		return string(v.piece(id))
	case t.metaspace:
		return strings.ReplaceAll(string(v.piece(id)), " ", metaspace)
	}
	return spell(v.piece(id))
}

// Kind is what a token is; Undefined for ids outside the vocabulary.
func (t *Tokenizer) Kind(id int32) Kind {
	v := t.merger.vocab
	if !v.has(id) {
		return Undefined
	}
	return v.kinds[id]
}

// ID finds a token by its spelling, as [Tokenizer.Text] gives it.
func (t *Tokenizer) ID(text string) (int32, bool) {
	v := t.merger.vocab
	if id, ok := v.named[text]; ok {
		return id, true
	}
	if b, ok := parseByteSpelling(text); ok && t.metaspace && t.merger.bytes[b] >= 0 {
		return t.merger.bytes[b], true
	}
	piece := strings.ReplaceAll(text, metaspace, " ")
	if !t.metaspace {
		raw, ok := appendUnspelled(nil, text)
		if !ok {
			return 0, false
		}
		piece = string(raw)
	}
	if id := v.find(piece); id >= 0 && t.Text(id) == text {
		return id, true
	}
	return 0, false
}

// BOS is the token that begins a text; false when the model has none.
func (t *Tokenizer) BOS() (int32, bool) { return max(t.bos, 0), t.bos >= 0 }

// EOS is the token that ends a text; false when the model has none.
func (t *Tokenizer) EOS() (int32, bool) { return max(t.eos, 0), t.eos >= 0 }

// AddsBOS reports whether AddSpecial puts the beginning token first.
func (t *Tokenizer) AddsBOS() bool {
	return t.bos >= 0 && len(t.prefix) > 0 && t.prefix[0] == t.bos
}

// EndOfGeneration is every token that ends an answer: end of text, of turn, of
// message. The caller must not change it.
func (t *Tokenizer) EndOfGeneration() []int32 { return t.ends }

// PreTokenizer names how text is split into words, as tokenizer.ggml.pre does
// ("llama-bpe", "qwen2"), or "sentencepiece".
func (t *Tokenizer) PreTokenizer() string { return t.preTokenizer }

const hexDigits = "0123456789ABCDEF"

func byteSpelling(b byte) string {
	return string([]byte{'<', '0', 'x', hexDigits[b>>4], hexDigits[b&15], '>'})
}

func parseByteSpelling(s string) (byte, bool) {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	hi, lo := strings.IndexByte(hexDigits, s[3]), strings.IndexByte(hexDigits, s[4])
	return byte(hi<<4 | lo), hi >= 0 && lo >= 0
}
