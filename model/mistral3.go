package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"mistral3"}, HuggingFace: []string{"Ministral3ForCausalLM", "Mistral3ForConditionalGeneration"}, Define: defineMistral3,
		Models: "Ministral 3: YaRN, queries that grow with their position; the text part of Mistral Small 3.1 and later",
	})
}

var (
	keyTemperature = Key{"%s.attention.temperature_scale", "rope_parameters.llama_4_scaling_beta"}
	keyOriginal    = Key{"%s.rope.scaling.original_context_length", "rope_parameters.original_max_position_embeddings"}
)

// defineMistral3 is Ministral 3: the llama family with YaRN, and queries that grow
// with the logarithm of their position. Without either it is also the text part of Mistral
// Small 3.1 and 3.2, whose folders are of the same class.
func defineMistral3(p *Params) Definition {
	d := newDecoder(p)
	d.readEps(p, keyEps, 1e-5)
	d.readAct(p, keyAct, "silu")
	d.rotate(readRope(p, d.config, nn.RopeInterleaved))
	if d.querySlope = readScale(p, keyTemperature, 0); d.querySlope != 0 {
		d.queryLength = p.Int(keyOriginal, 1, maxContext)
	}
	if window := p.IntOr(keyWindow, 0, 0, maxContext); window > 0 {
		d.slide(p, window, everyLayer)
	}
	return d
}
