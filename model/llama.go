package model

import (
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

func init() {
	Register(Architecture{
		GGUF:        []string{"llama"},
		HuggingFace: []string{"LlamaForCausalLM", classMistral, classMinistral, classMixtral},
		Models:      "Llama 1 to 3.x, Mistral, Mistral Small, Ministral of 2024, Mixtral, SmolLM2 and many others",
		Define:      defineLlama,
	})
}

const (
	classMistral   = "MistralForCausalLM"
	classMinistral = "MinistralForCausalLM"
)

// defineLlama is the llama family: Llama 1 to 3.x, Mistral, Ministral of 2024,
// Mixtral, SmolLM2 and the many models built like them. Where config.json leaves a key out,
// transformers' default holds.
func defineLlama(p *Params) Definition {
	mixed := p.arch == classMixtral || p.Format() == checkpoint.GGUF && p.IntOr(keyExperts, 0, 0, maxExperts) > 0
	read, eps := newDecoder, 1e-6
	if mixed {
		read, eps = readDecoder, 1e-5
	}
	d := read(p)
	d.readEps(p, keyEps, eps)
	d.readAct(p, keyAct, "silu")
	d.rotate(readRope(p, d.config, nn.RopeInterleaved))
	window := 0
	switch {
	case p.Format() == checkpoint.GGUF:
		window = p.IntOr(keyWindow, 0, 0, maxContext)
	case (p.arch == classMistral || p.arch == classMinistral) && !p.Null(keyWindow):
		// Of the dense ones, only Mistral's classes have a window, and null means none.
		window = p.IntOr(keyWindow, 4096, 0, maxContext)
	case p.arch == classMixtral:
		window = p.IntOr(keyWindow, 0, 0, maxContext)
	}
	if window > 0 {
		d.slide(p, window, everyLayer)
	}
	if mixed {
		d.mixMixtral(p)
	}
	return d
}
