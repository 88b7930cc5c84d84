package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// samplingFlags are the flags of commands that generate text. Those not given
// are left to the server.
type samplingFlags struct {
	model       string
	maxTokens   int
	temperature float64
	topP        float64
	seed        int64
	stop        []string
}

func (s *samplingFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&s.model, "model", "m", "", "model to ask (default the server's first)")
	f.IntVarP(&s.maxTokens, "max-tokens", "n", 0, "longest answer, in tokens (default the server's)")
	f.Float64VarP(&s.temperature, "temperature", "t", 0, "0 takes the likeliest token each time (default 1)")
	f.Float64Var(&s.topP, "top-p", 0, "sample from the likeliest tokens of this total probability (default 1)")
	f.Int64Var(&s.seed, "seed", 0, "same seed, same answer (default random)")
	f.StringArrayVar(&s.stop, "stop", nil, "end the answer before this text; may be repeated")
}

func (s *samplingFlags) request(cmd *cobra.Command) generateRequest {
	r := generateRequest{Model: s.model, Stop: s.stop}
	f := cmd.Flags()
	if f.Changed("max-tokens") {
		r.MaxTokens = &s.maxTokens
	}
	if f.Changed("temperature") {
		r.Temperature = &s.temperature
	}
	if f.Changed("top-p") {
		r.TopP = &s.topP
	}
	if f.Changed("seed") {
		r.Seed = &s.seed
	}
	return r
}

// printable keeps a model's answer from steering the terminal: control
// characters other than newlines and tabs are shown as replacement characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, s)
}
