package daemon

// The backends of this build register themselves.
import (
	_ "github.com/inferflux/inferflux/backend/cpu"
	_ "github.com/inferflux/inferflux/backend/mlx"
)
