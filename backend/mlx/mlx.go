// Package mlx is the backend on Apple's MLX: Metal on Apple silicon, CUDA on
// NVIDIA GPUs, and a CPU device that proves correctness. It implements nn.Ops on
// the binding (package github.com/inferflux/inferflux/mlx), so every architecture
// of package model runs on it.
//
// # How a step runs
//
// The model builds MLX's lazy graph (ops.go). Norms of single heads
// and rotary positions are only noted at first (value.go): where a GPU has a
// kernel of ours for what surrounds attention (cuda.go), it takes them all at
// once; elsewhere MLX's own operations do it (attend.go). Tokens are drawn on the
// device (draw.go) and the graph is dispatched without waiting; the next step
// takes the drawn tokens from the device before the host has read them.
//
// # Memory
//
// Keys and values lie in two pools a layer, [positions, kv_heads, head_dim], that
// grow as pages of them are used, up to what was reserved for them at load
// (kv.go). Which page belongs to whom is the business of package paging.
//
// # Threads
//
// MLX keeps streams, encoders and caches by thread: everything that touches it
// runs on the binding's one thread.
package mlx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/mlx"
)

// Name is the backend's name in configuration.
const Name = "mlx"

func init() { backend.Register(Backend{}) }

// Backend implements backend.Backend. The zero value finds the library as
// mlx.Find does and runs on the GPU if there is one.
type Backend struct {
	config backend.Config
	// packed keeps weights quantized on a CPU too, where computing with them is
	// slower than with what they stand for: for tests.
	packed bool
	// dtype, if not 0 (which is no compute type), is computed in: for tests.
	dtype mlx.DType
}

var _ backend.Configurable = Backend{}

// Name implements backend.Backend.
func (Backend) Name() string { return Name }

// Configure implements backend.Configurable.
func (Backend) Configure(c backend.Config) (backend.Backend, error) {
	switch c.Device {
	case "", "auto", "gpu", "cpu":
		return Backend{config: c}, nil
	}
	return nil, fmt.Errorf("device %q: expected auto, gpu or cpu", c.Device)
}

// open finds and loads the library and chooses the device.
func (b Backend) open() (*mlx.Library, mlx.Device, error) {
	at, err := mlx.Find(mlx.FindOptions{Library: b.config.Library, Home: b.config.Home, Getenv: os.Getenv})
	if err != nil {
		return nil, mlx.Device{}, err
	}
	lib, err := mlx.Open(at)
	if err != nil {
		return nil, mlx.Device{}, err
	}
	switch {
	case b.config.Device == "cpu":
	case lib.HasGPU():
		return lib, lib.GPU(), nil
	case b.config.Device == "gpu":
		return nil, mlx.Device{}, fmt.Errorf("%s sees no GPU, and the configuration asks for one", at.Path)
	}
	return lib, lib.CPU(), nil
}

// Describe implements backend.Backend. It loads the library, but no model.
func (b Backend) Describe(context.Context) backend.Description {
	lib, device, err := b.open()
	if err != nil {
		d := backend.Description{Name: Name, Device: "Apple GPU (Metal), NVIDIA GPU (CUDA)", Reason: err.Error()}
		var help interface{ Remedy() string }
		if errors.As(err, &help) {
			d.Remedy = help.Remedy()
		}
		return d
	}
	return describe(lib, device)
}

func describe(lib *mlx.Library, device mlx.Device) backend.Description {
	d := backend.Description{Name: Name, Version: lib.Version(), Library: lib.Location().Path, Ready: true}
	switch {
	case device.Type == mlx.CPU:
		d.Device, d.ByNameOnly = "CPU (for checking, not for speed)", true
	case lib.Metal():
		d.Device = cmp.Or(device.Name, "Apple GPU") + " (Metal)"
	default:
		d.Device = cmp.Or(device.Name, "NVIDIA GPU") + " (CUDA)"
	}
	return d
}

// Load implements backend.Backend.
func (b Backend) Load(ctx context.Context, c checkpoint.Checkpoint, o backend.LoadOptions) (backend.Engine, error) {
	lib, device, err := b.open()
	if err != nil {
		return nil, err
	}
	e := &Engine{lib: lib, device: device, dtype: b.dtype, packed: b.packed || device.Type == mlx.GPU}
	if err := e.load(ctx, c, o, b.config); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}
