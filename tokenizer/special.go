package tokenizer

import "slices"

// answerEnds are the spellings of tokens that end an answer in the model
// families in use, whatever the file calls its end token.
var answerEnds = []string{
	"</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "[EOS]",
	"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|eot|>", "<|eom|>", "<end_of_turn>", "<|end_of_turn|>",
	"<|END_OF_TURN_TOKEN|>", "<turn|>", "<|end|>", "<|EOT|>", "<EOT>", "_<EOT>", "[EOT]", "<end_of_utterance>",
	"<|return|>", "<|call|>",
}

// findEnds collects the tokens that end an answer: those the file names and
// those known by their spelling. A spelling only counts for tokens that plain
// text doesn't give.
func (t *Tokenizer) findEnds(named ...int32) {
	v := t.merger.vocab
	ends := make([]int32, 0, 4)
	for _, id := range named {
		if v.has(id) {
			ends = append(ends, id)
		}
	}
	// In the harmony format <|end|> only ends a message: the answer goes on.
	_, harmony := v.named["<|return|>"]
	for _, text := range answerEnds {
		id, ok := v.named[text]
		if ok && (v.kinds[id] == Control || v.kinds[id] == UserDefined) && !(harmony && text == "<|end|>") {
			ends = append(ends, id)
		}
	}
	slices.Sort(ends)
	t.ends = slices.Compact(ends)
}
