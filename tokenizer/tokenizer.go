// Package tokenizer turns text into a model's token ids and back.
//
// Byte-level BPE (GPT-2 and its descendants) and SentencePiece BPE (Llama 2,
// Gemma) are read from GGUF metadata ([FromGGUF]) or from a Hugging Face
// tokenizer.json ([FromJSON]). Ids equal those of the Hugging Face tokenizers
// library.
//
// A [Tokenizer] is immutable and safe for concurrent use. A [Decoder] belongs to
// one answer: it is fed ids as they are generated and never emits part of a
// UTF-8 character.
package tokenizer

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

// EncodeOptions says how text is read.
type EncodeOptions struct {
	// Special lets control tokens written out in the text (<|im_start|>) match.
	// True for rendered chat templates, false for text a user typed raw.
	Special bool
	// AddSpecial puts the beginning and end tokens in place that the model's
	// configuration asks for.
	AddSpecial bool
}
