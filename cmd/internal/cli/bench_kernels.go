package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/backend/host"
	"github.com/inferflux/inferflux/cmd/internal/bench"
	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/simd/roofline"
)

// kernelOptions are the flags of bench kernels and bench machine.
type kernelOptions struct {
	types, tiers       []string
	rows               []int
	threads, megabytes int
}

func (a *app) benchKernels() *cobra.Command {
	var o kernelOptions
	var out benchOutput
	cmd := &cobra.Command{
		Use:   "kernels",
		Short: "Measure the CPU engine's matrix products",
		Long: `Measure the CPU engine's matrix products.

A matrix of each type of weights is multiplied with 1, 8 and 512 rows of activations, by
each tier of kernels that this processor has: in GOP/s and in GB/s of weights, and as a
part of what bounds them, the memory or the instruction that products are made of, both
measured at the same time.`,
		Example: `  inferctl bench kernels --types q4_0,q8_0
  inferctl bench kernels --tiers avx2 --rows 1 -o csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkKernels(); err != nil {
				return err
			}
			return out.run(cmd, o.runKernels)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.types, "types", bench.KernelTypes(), "types of weights")
	f.StringSliceVar(&o.tiers, "tiers", nil, "tiers of kernels (default all that this processor has)")
	f.IntSliceVar(&o.rows, "rows", []int{1, 8, 512}, "rows of activations to multiply with")
	f.IntVar(&o.megabytes, "size", 128, "MB of weights")
	threadsFlag(f, &o.threads)
	out.flags(f)
	return cmd
}

func (o *kernelOptions) checkKernels() error {
	if len(o.tiers) == 0 {
		o.tiers = simd.Tiers()
	}
	for _, c := range []struct {
		flag       string
		given, all []string
	}{{"types", o.types, bench.KernelTypes()}, {"tiers", o.tiers, simd.Tiers()}} {
		for _, name := range c.given {
			if !slices.Contains(c.all, name) {
				return usagef("--%s: there is no %q here; choose from %s", c.flag, name, strings.Join(c.all, ", "))
			}
		}
	}
	if slices.Max(append(o.rows, 0)) > 4096 {
		return usagef("--rows must be 4096 at most")
	}
	return errors.Join(checkRange("rows", 1, o.rows...), checkRange("threads", 0, o.threads), checkRange("size", 1, o.megabytes))
}

func (o *kernelOptions) runKernels(ctx context.Context, w *benchWriter, note benchNote) error {
	results, err := bench.Kernels(ctx, bench.KernelOptions{
		Tiers: o.tiers, Types: o.types, Rows: o.rows, Threads: cores(o.threads), Bytes: probeBytes(o.megabytes << 20),
	}, func(what string) { note("%s", what) })
	if err != nil {
		return err
	}
	report := benchReport{json: results, table: newTable("TIER", "TYPE", ">ROWS", ">GOP/S", ">GB/S", ">OF THE PEAK", "BOUND BY"),
		above: []string{fmt.Sprintf("%s, %d threads; matrices %d columns wide", host.Processor(), cores(o.threads), 4096)}}
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

func (a *app) benchMachine() *cobra.Command {
	var o kernelOptions
	var out benchOutput
	cmd := &cobra.Command{
		Use:   "machine",
		Short: "Measure how fast memory is read, and the processor's arithmetic",
		Long: `Measure how fast memory is read, and the processor's arithmetic: what bounds every
kernel. Memory is read by one thread and by as many as there are cores, from a buffer
that caches may hold and from one that they may not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(checkRange("threads", 0, o.threads), checkRange("size", 1, o.megabytes)); err != nil {
				return err
			}
			return out.run(cmd, func(ctx context.Context, w *benchWriter, _ benchNote) error { return o.runMachine(ctx, w) })
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.megabytes, "size", 512, "MB of the larger buffer")
	threadsFlag(f, &o.threads)
	out.flags(f)
	return cmd
}

func (o *kernelOptions) runMachine(ctx context.Context, w *benchWriter) error {
	r := machineResult{Processor: host.Processor(), Kernels: simd.Tier(), Threads: cores(o.threads)}
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
