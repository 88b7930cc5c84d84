// Package cpu is the backend that always works: an engine of our own on the
// kernels of package simd, in Go and Go assembly.
//
// Weights are repacked once at load for the kernels, keeping their stored
// precision; the file's own pages are let go of. Activations are quantized to
// int8 where the weights are integers. The results of a row depend on nothing
// but its own sequence: they have the same bits whatever else is in the batch,
// however a prompt was cut into chunks, and on any number of threads.
//
// A step is written down first and computed afterwards ([nn.Ops] in ops.go, see
// step.go), by a fixed pool of threads (pool.go). The KV cache (kv.go) is made of
// pages of 64 positions shared by reference count.
package cpu

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/host"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/simd"
)

// Name is the backend's name in configuration.
const Name = "cpu"

func init() { backend.Register(Backend{}) }

// Backend implements backend.Backend.
type Backend struct{}

var _ backend.Backend = Backend{}

// Name implements backend.Backend.
func (Backend) Name() string { return Name }

// Describe implements backend.Backend.
func (Backend) Describe(context.Context) backend.Description { return describe(defaultThreads()) }

func describe(threads int) backend.Description {
	d := backend.Description{
		Name: Name, Version: version(), Ready: true,
		Device: fmt.Sprintf("%s, %d threads, %s", host.Processor(), threads, kernels()),
	}
	if threads == 1 {
		d.Device = fmt.Sprintf("%s, 1 thread, %s", host.Processor(), kernels())
	}
	if err := simd.TierError(); err != nil {
		d.Ready, d.Reason, d.Remedy = false, err.Error(), "unset INFERFLUX_SIMD to use the fastest"
	}
	return d
}

// Load implements backend.Backend.
func (Backend) Load(ctx context.Context, c checkpoint.Checkpoint, opts backend.LoadOptions) (backend.Engine, error) {
	if err := simd.TierError(); err != nil {
		return nil, err
	}
	return load(ctx, c, opts)
}

// kernels names the tier as people know it.
func kernels() string {
	switch t := simd.Tier(); t {
	case "amx":
		return "AVX-512 VNNI + AMX"
	case "avx512vnni":
		return "AVX-512 VNNI"
	case "avx2":
		return "AVX2"
	case "neoni8mm":
		return "NEON with I8MM"
	case "neondot":
		return "NEON with DotProd"
	case "neon":
		return "NEON"
	case "portable":
		return "portable kernels"
	default:
		return t
	}
}

// version is that of the program: the engine is part of it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// defaultThreads is one per physical core that the process may use: two hardware
// threads of a core share the units that the kernels keep busy. Go's own GOMAXPROCS
// knows the CPU quota of the process's control group, but not of those above, and is
// never less than 2 for it. A quota is rounded down: one thread more uses it up before
// its period is over, and then all stand still (with 1.5 cores SmolLM2-135M generates
// 180 tokens/s on one thread and 125 on two).
func defaultThreads() int {
	n := runtime.GOMAXPROCS(0)
	if cores := host.PhysicalCores(); cores > 0 {
		n = min(n, cores)
	}
	if limit := host.CPULimit(); limit > 0 {
		n = min(n, int(limit))
	}
	return max(n, 1)
}
