package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/host"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/cmd/internal/bench"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/registry"
	"github.com/inferflux/inferflux/simd/roofline"
)

// engineResult is one row: a test of an engine, repeated.
type engineResult struct {
	Name string `json:"test"` // "pp512", "tg128", "tg128@d512×4"
	bench.Test
	bench.Series
	DeviceSampling bool   `json:"device_sampling"` // else tokens aren't sampled at all
	Model          string `json:"model"`
	File           string `json:"file"`
	Size           int64  `json:"file_bytes"`
	Parameters     int64  `json:"parameters"`
	Quant          string `json:"quantization"`
	Backend        string `json:"backend"`
	BackendVersion string `json:"backend_version"`
	Device         string `json:"device"`
	Threads        int    `json:"threads"` // 0: one per core
	Batch          int    `json:"batch_tokens"`
	KVType         string `json:"kv_type"`
	Repack         string `json:"repack"`
	Version        string `json:"version"`
	// Memory is for one sequence that generates on a CPU.
	Memory *memoryUse  `json:"memory,omitempty"`
	Peer   *peerResult `json:"peer,omitempty"`
}

// memoryUse is how fast weights were read, beside how fast memory can be, in GB/s.
type memoryUse struct {
	Weights int64   `json:"weight_bytes"` // that a token needs
	Read    float64 `json:"weights_gb_per_second"`
	Before  float64 `json:"bandwidth_before_gb_per_second"`
	After   float64 `json:"bandwidth_after_gb_per_second"`
}

// share is the part of the memory's speed that was used.
func (m *memoryUse) share() float64 { return m.Read / ((m.Before + m.After) / 2) }

// peerResult is the same test of another engine.
type peerResult struct {
	bench.About
	Model string `json:"model"`
	bench.Series
	Ratio float64 `json:"ratio"` // ours to theirs
}

func (a *app) benchEngine(ctx context.Context, m registry.Model, o benchOptions, w *benchWriter, note benchNote) error {
	c, err := checkpoint.Open(m.Path())
	if err != nil {
		return err
	}
	defer c.Close()
	manager, err := openManager()
	if err != nil {
		return err
	}
	tests := o.tests()
	longest, room := 0, 0
	for _, t := range tests {
		longest = max(longest, t.Positions())
		room = max(room, t.Parallel*t.Positions()+64*(t.Parallel+1))
	}
	choice, err := manager.Load(ctx, c, backend.LoadRequest{Backend: o.backend, Options: backend.LoadOptions{
		Context: longest, KVTokens: room, KVType: o.kvType, MaxBatchTokens: o.batch, Threads: o.threads, Repack: o.repack,
		Progress: func(f float64) { note("loading %3.0f%%", f*100) },
	}})
	if err != nil {
		return err
	}
	e := choice.Engine
	defer e.Close()
	ours := bench.NewEngine(e)
	defer ours.Close()
	runners := []bench.Runner{ours}
	var peer *bench.Peer
	if o.compare != "" {
		if peer, err = o.startPeer(ctx, m.Path(), choice.Backend, tests); err != nil {
			return err
		}
		defer peer.Close()
		runners = append(runners, peer)
	}
	shape, about := e.Model(), e.Description()
	row := engineResult{Model: m.Name, File: m.Path(), Size: c.Size(), Parameters: shape.Parameters, Quant: shape.Quantization,
		Backend: choice.Backend, BackendVersion: about.Version, Device: about.Device, DeviceSampling: ours.OnDevice(),
		Threads: o.threads, Batch: e.MaxBatchTokens(), KVType: o.kvType, Repack: o.repack, Version: a.version}
	var results []engineResult
	for _, t := range tests {
		r := row
		r.Name, r.Test = t.String(), t
		if choice.Backend == "cpu" && t.Prompt == 0 && t.Parallel == 1 && t.Depth == 0 {
			r.Memory = &memoryUse{Weights: weightsOfToken(c, shape), Before: o.bandwidth(c.Size())}
		}
		series, err := bench.Measure(ctx, t, o.repetition, func(round int) { note("%s %d/%d", t, round, o.repetition) }, runners...)
		if err != nil {
			return err
		}
		r.Series = series[0]
		if r.Memory != nil {
			r.Memory.After = o.bandwidth(c.Size())
			r.Memory.Read = float64(r.Memory.Weights) * r.Median / 1e9
		}
		if peer != nil && len(series[1].Samples) > 0 {
			r.Peer = &peerResult{About: peer.About, Model: o.peerModel(m.Path()), Series: series[1], Ratio: r.Median / series[1].Median}
		}
		results = append(results, r)
	}
	return w.write(engineReport(results, peer))
}

func (o *benchOptions) peerModel(ours string) string {
	if o.compareModel != "" {
		return o.compareModel
	}
	return ours
}

func (o *benchOptions) startPeer(ctx context.Context, model, backendName string, tests []bench.Test) (*bench.Peer, error) {
	name, path, _ := strings.Cut(o.compare, "=")
	model = o.peerModel(model)
	if name == "mlx-lm" {
		if path == "" {
			path = "python3"
		}
		return bench.StartMLXLM(ctx, path, model)
	}
	l := bench.Llama{Library: path, Model: model, Threads: cores(o.threads), Batch: o.batch, HostOnly: backendName == "cpu"}
	for _, t := range tests {
		l.Positions, l.Sequences = max(l.Positions, t.Positions()), max(l.Sequences, t.Parallel)
	}
	return bench.StartLlama(ctx, l)
}

// bandwidth is how fast memory of a model's size is read now.
func (o *benchOptions) bandwidth(size int64) float64 {
	r := roofline.NewReader(probeBytes(min(int(size), 1<<30)))
	defer r.Close()
	return r.Measure(cores(o.threads)).GBps
}

// probeBytes lowers a size to what the machine can spare.
func probeBytes(n int) int {
	if _, available := host.Memory(); available > 0 {
		n = min(n, available/4)
	}
	return n
}

// expertTensor is what the matrices of routed experts are called: of all of a layer together
// or each on its own, in any kind of checkpoint.
var expertTensor = regexp.MustCompile(`_exps\.|\.experts\.|\.switch_mlp\.`)

// weightsOfToken is how many bytes of weights a token needs: all but the embedding's,
// of which it is one row, unless that is the output matrix too, and but those of the experts
// that it doesn't use.
func weightsOfToken(c checkpoint.Checkpoint, shape model.Config) int64 {
	var all, embedding int64
	output := false
	for _, t := range c.Tensors() {
		size := t.Bytes
		if shape.Experts > 0 && expertTensor.MatchString(t.Name) {
			size = size * int64(shape.ExpertsUsed) / int64(shape.Experts)
		}
		all += size
		switch t.Name {
		case "token_embd.weight", "model.embed_tokens.weight":
			embedding = t.Bytes
		case "output.weight", "lm_head.weight":
			output = true
		}
	}
	if output {
		all -= embedding
	}
	return all
}

func engineReport(results []engineResult, peer *bench.Peer) benchReport {
	first := results[0]
	report := benchReport{json: results, above: []string{
		fmt.Sprintf("%s, %s, %s parameters, %s", oneLine(first.Model), registry.FormatBytes(first.Size), countParameters(first.Parameters), first.Quant),
		fmt.Sprintf("%s: %s", first.Backend, first.Device),
	}}
	head := []string{"TEST", ">TOKENS/S", "", ">RUNS"}
	timed := slices.ContainsFunc(results, func(r engineResult) bool { return r.HostStep != nil })
	if timed {
		head = append(head, ">HOST/STEP")
	}
	if peer != nil {
		report.above = append(report.above, fmt.Sprintf("%s: %s", peer.Name, oneLine(peer.Version)))
		head = append(head, ">"+strings.ToUpper(peer.Name), "", ">RATIO")
	}
	read := slices.ContainsFunc(results, func(r engineResult) bool { return r.Memory != nil })
	if read {
		head = append(head, "READING WEIGHTS")
	}
	report.table = newTable(head...)
	report.numbers = [][]string{{"test", "n_prompt", "n_gen", "n_depth", "parallel", "median_tokens_per_second", "stddev_tokens_per_second", "runs",
		"model", "quantization", "backend", "device", "peer", "peer_median_tokens_per_second", "peer_stddev_tokens_per_second", "ratio", "weights_gb_per_second", "bandwidth_gb_per_second"}}
	for _, r := range results {
		cells := []string{r.Name, fmt.Sprintf("%.2f", r.Median), fmt.Sprintf("± %.2f", r.StdDev), fmt.Sprint(len(r.Samples))}
		if timed {
			cell := ""
			if r.HostStep != nil {
				cell = fmt.Sprintf("%.0f µs", r.HostStep.Median)
			}
			cells = append(cells, cell)
		}
		numbers := []string{r.Name, fmt.Sprint(r.Prompt), fmt.Sprint(r.Generated), fmt.Sprint(r.Depth), fmt.Sprint(r.Parallel),
			fmt.Sprint(r.Median), fmt.Sprint(r.StdDev), fmt.Sprint(len(r.Samples)), r.Model, r.Quant, r.Backend, r.Device}
		switch {
		case r.Peer != nil:
			cells = append(cells, fmt.Sprintf("%.2f", r.Peer.Median), fmt.Sprintf("± %.2f", r.Peer.StdDev), fmt.Sprintf("%.2f", r.Peer.Ratio))
			numbers = append(numbers, r.Peer.Name, fmt.Sprint(r.Peer.Median), fmt.Sprint(r.Peer.StdDev), fmt.Sprint(r.Peer.Ratio))
		case peer != nil:
			cells = append(cells, "", "", "") // not measured
			numbers = append(numbers, peer.Name, "", "", "")
		default:
			numbers = append(numbers, "", "", "", "")
		}
		if r.Memory != nil {
			cells = append(cells, fmt.Sprintf("%.1f GB/s, %.0f%% of %.1f to %.1f", r.Memory.Read, 100*r.Memory.share(),
				min(r.Memory.Before, r.Memory.After), max(r.Memory.Before, r.Memory.After)))
			numbers = append(numbers, fmt.Sprint(r.Memory.Read), fmt.Sprint((r.Memory.Before+r.Memory.After)/2))
		} else {
			numbers = append(numbers, "", "")
		}
		report.table.add(cells...)
		report.numbers = append(report.numbers, numbers)
	}
	return report
}
