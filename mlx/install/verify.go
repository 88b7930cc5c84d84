package install

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/inferflux/inferflux/subprocess"
)

// Facts are what a library says of itself when it is verified.
type Facts struct {
	Version string `json:"version"`
	Device  string `json:"device"` // what it computed on: "NVIDIA H100 80GB HBM3", "CPU"
	GPU     bool   `json:"gpu"`
}

// verifyTimeout is ample: the first use of a GPU compiles kernels.
const verifyTimeout = 3 * time.Minute

// verifyElsewhere has the verifier load a library and compute with it, in a
// process of its own: a library that doesn't fit may end the process that loads
// it.
func (r *run) verifyElsewhere(ctx context.Context, l Library, d Device) (*Facts, error) {
	if len(r.Verifier) == 0 {
		return nil, errors.New("verify MLX: no verifier was given")
	}
	limited, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	args := slices.Concat(r.Verifier[1:], []string{"--library", l.C, "--mlx-library", l.MLX, "--device", string(d)})
	cmd := subprocess.Command(limited, r.Verifier[0], args...)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	said := strings.TrimPrefix(strings.TrimSpace(messages.String()), "inferctl: ")
	var exit *exec.ExitError
	switch {
	case limited.Err() != nil:
		return nil, fmt.Errorf("MLX (%s) did not finish a small computation within %s: %s", l.C, verifyTimeout, said)
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		return nil, fmt.Errorf("MLX (%s) crashed when it was tried (%w): %s", l.C, err, cmp.Or(subprocess.LastLines(said, 4), "without a message"))
	case errors.As(err, &exit):
		return nil, errors.New(cmp.Or(subprocess.LastLines(said, 6), "MLX ("+l.C+") can't be used, without a message"))
	case err != nil:
		return nil, fmt.Errorf("verify MLX: %w", err)
	}
	var f Facts
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		return nil, fmt.Errorf("verify MLX: read %q: %w", subprocess.LastLines(out.String(), 2), err)
	}
	return &f, nil
}

// verified is verifyElsewhere as a step, or nothing under NoVerify.
func (r *run) verified(ctx context.Context, l Library, d Device) (*Facts, error) {
	start := time.Now()
	if r.NoVerify {
		r.Step("verify", "left out", 0)
		return nil, nil
	}
	f, err := r.verifyElsewhere(ctx, l, d)
	if err != nil {
		return nil, err
	}
	r.Step("verify", fmt.Sprintf("MLX %s multiplied matrices, plain and quantized, on %s", f.Version, f.Device), time.Since(start))
	return f, nil
}
