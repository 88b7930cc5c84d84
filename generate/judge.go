package generate

import (
	"context"
	"math"
	"path/filepath"
	"strings"

	"github.com/inferflux/inferflux/tokenizer"
)

// Judge is a model that was trained to say whether a text answers a query, by "yes" or
// "no", as Qwen3-Reranker is (arXiv:2506.05176).
type Judge struct {
	m             *Model
	before, after []int32
	yes, no       int32
}

// What Qwen3-Reranker is asked.
const (
	judgeBefore = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. " +
		"Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n"
	judgeAfter    = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
	judgeInstruct = "Given a web search query, retrieve relevant passages that answer the query"
)

// Judge finds out whether the model is one: by its name, since nothing else in a
// checkpoint says so, and by its vocabulary.
func (m *Model) Judge() (*Judge, bool) {
	config := m.o.Engine.Model()
	named := false
	for _, name := range []string{m.o.ID, config.Name, filepath.Base(m.o.File)} {
		named = named || strings.Contains(strings.ToLower(name), "reranker")
	}
	t := m.o.Tokenizer
	yes, ok1 := t.ID("yes")
	no, ok2 := t.ID("no")
	_, ok3 := t.ID("<|im_start|>")
	if !named || !strings.HasPrefix(config.Architecture, "qwen3") || !ok1 || !ok2 || !ok3 {
		return nil, false
	}
	encode := func(text string) []int32 { return t.Encode(nil, text, tokenizer.EncodeOptions{Special: true}) }
	return &Judge{m: m, before: encode(judgeBefore), after: encode(judgeAfter), yes: yes, no: no}, true
}

// Prompt asks about a document. Of its tokens the last so many aren't the document's.
func (j *Judge) Prompt(query, document string) (tokens []int32, after int) {
	tokens = append(tokens, j.before...)
	tokens = append(tokens, j.m.Tokenize("<Instruct>: "+judgeInstruct+"\n<Query>: "+query+"\n<Document>: "+document)...)
	return append(tokens, j.after...), len(j.after)
}

// Scores is the probability of yes, of yes and no, after each prompt.
func (j *Judge) Scores(ctx context.Context, by Caller, prompts [][]int32) ([]float32, error) {
	logits, err := j.m.NextLogits(ctx, by, prompts, []int32{j.yes, j.no})
	if err != nil {
		return nil, err
	}
	scores := make([]float32, len(logits))
	for i, l := range logits {
		scores[i] = float32(1 / (1 + math.Exp(float64(l[1])-float64(l[0]))))
	}
	return scores, nil
}
