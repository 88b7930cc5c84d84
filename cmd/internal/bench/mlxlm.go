package bench

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/inferflux/inferflux/scripts/peers"
)

// StartMLXLM runs mlx-lm beside this process, by the Python interpreter given, on the
// checkpoint in a folder.
func StartMLXLM(ctx context.Context, python, folder string) (*Peer, error) {
	path, err := exec.LookPath(python)
	if err != nil {
		return nil, fmt.Errorf("compare with mlx-lm: %w; install Python, or name one (--compare mlx-lm=PYTHON)", err)
	}
	if out, err := exec.CommandContext(ctx, path, "-c", "import mlx_lm").CombinedOutput(); err != nil {
		last := &tail{}
		_, _ = last.Write(out)
		return nil, fmt.Errorf("compare with mlx-lm: %s has none: %w: %s; install it (pip install mlx-lm), or name another Python (--compare mlx-lm=PYTHON)", path, err, last)
	}
	return StartPeer(ctx, path, "-c", peers.MLXLM, "peer", folder)
}
