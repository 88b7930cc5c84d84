package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/inferflux/inferflux/backend/host"
	"github.com/inferflux/inferflux/cmd/internal/bench"
	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/simd/roofline"
)

// benchKernels measures products with matrices of each type.
func (o *benchOptions) benchKernels(ctx context.Context, w *benchWriter, note benchNote) error {
	for _, c := range []struct {
		flag  string
		given *[]string
		all   []string
	}{{"types", &o.types, bench.KernelTypes()}, {"tiers", &o.tiers, simd.Tiers()}} {
		for _, name := range *c.given {
			if !slices.Contains(c.all, name) {
				return usagef("--%s: there is no %q here; choose from %v", c.flag, name, c.all)
			}
		}
		if len(*c.given) == 0 {
			*c.given = c.all
		}
	}
	if o.megabytes == 0 {
		o.megabytes = 128
	}
	if err := errors.Join(checkRange("rows", 1, o.rows...), checkRange("threads", 0, o.threads), checkRange("size", 1, o.megabytes)); err != nil {
		return err
	}
	if slices.Max(append(o.rows, 0)) > 4096 {
		return usagef("--rows must be 4096 at most")
	}
	results, err := bench.Kernels(ctx, bench.KernelOptions{
		Tiers: o.tiers, Types: o.types, Rows: o.rows, Threads: o.cores(), Bytes: probeBytes(o.megabytes << 20),
	}, func(what string) { note("%s", what) })
	if err != nil {
		return err
	}
	report := benchReport{json: results, table: newTable("TIER", "TYPE", ">ROWS", ">GOP/S", ">GB/S", ">OF THE PEAK", "BOUND BY"),
		above: []string{fmt.Sprintf("%s, %d threads; matrices %d columns wide", host.Processor(), o.cores(), 4096)}}
	report.numbers = [][]string{{"tier", "type", "rows", "threads", "gop_per_second", "gb_per_second", "instruction", "peak_gop_per_second", "peak_gb_per_second", "share_of_peak", "bound"}}
	for _, r := range results {
		bound := fmt.Sprintf("memory, %.1f GB/s", r.PeakGBps)
		if r.Bound == "arithmetic" {
			bound = fmt.Sprintf("%s, %.0f GOP/s", r.Unit, r.PeakGOPS)
		}
		report.table.add(r.Tier, r.Type, fmt.Sprint(r.Rows), fmt.Sprintf("%.1f", r.GOPS), fmt.Sprintf("%.1f", r.GBps), fmt.Sprintf("%.0f%%", 100*r.Share), bound)
		report.numbers = append(report.numbers, []string{r.Tier, r.Type, fmt.Sprint(r.Rows), fmt.Sprint(r.Threads), fmt.Sprint(r.GOPS), fmt.Sprint(r.GBps),
			r.Unit, fmt.Sprint(r.PeakGOPS), fmt.Sprint(r.PeakGBps), fmt.Sprint(r.Share), r.Bound})
	}
	return w.write(report)
}

// machineResult is the roofline of this machine.
type machineResult struct {
	Processor string               `json:"processor"`
	Kernels   string               `json:"kernels"` // the tier in use
	Threads   int                  `json:"threads"`
	Reading   []roofline.Bandwidth `json:"reading"`
	Peaks     []roofline.Peak      `json:"peaks"`
}

// benchMachine measures the machine: one thread and as many as there are cores, a
// buffer that caches may hold and one that they may not.
func (o *benchOptions) benchMachine(ctx context.Context, w *benchWriter) error {
	if o.megabytes == 0 {
		o.megabytes = 512
	}
	if err := errors.Join(checkRange("threads", 0, o.threads), checkRange("size", 1, o.megabytes)); err != nil {
		return err
	}
	r := machineResult{Processor: host.Processor(), Kernels: simd.Tier(), Threads: o.cores()}
	threads := slices.Compact([]int{1, r.Threads})
	for _, bytes := range []int{64 << 20, probeBytes(o.megabytes << 20)} {
		reader := roofline.NewReader(bytes)
		for _, n := range threads {
			r.Reading = append(r.Reading, reader.Measure(n))
		}
		reader.Close()
	}
	r.Peaks = roofline.Peaks(ctx, threads...)
	if err := ctx.Err(); err != nil {
		return err
	}
	report := benchReport{json: r, table: newTable("WHAT", ">THREADS", ">AT MOST"), above: []string{r.Processor + ", kernels " + r.Kernels}}
	report.numbers = [][]string{{"what", "unit", "threads", "most"}}
	for _, b := range r.Reading {
		what := fmt.Sprintf("reading %d MB", b.Bytes>>20)
		report.table.add(what, fmt.Sprint(b.Threads), fmt.Sprintf("%.1f GB/s", b.GBps))
		report.numbers = append(report.numbers, []string{what, "GB/s", fmt.Sprint(b.Threads), fmt.Sprint(b.GBps)})
	}
	for _, p := range r.Peaks {
		what := p.Unit + ", " + p.Name
		report.table.add(what, fmt.Sprint(p.Threads), fmt.Sprintf("%.0f GOP/s", p.GOPS))
		report.numbers = append(report.numbers, []string{what, "GOP/s", fmt.Sprint(p.Threads), fmt.Sprint(p.GOPS)})
	}
	return w.write(report)
}
