package daemon

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/inferflux/inferflux/config"
	"github.com/inferflux/inferflux/kvstore"
)

// memoryBeforeDisk is what is kept in memory in front of a disk if nothing else is said:
// it lets requests go on while files are written.
const memoryBeforeDisk = 1 << 30

// savingTime is what the store may take to write what it has in memory, at the end.
const savingTime = 10 * time.Second

// openStore opens what keeps KV below the engines' memory, nil if the configuration wants
// none.
func openStore(c config.KV, log *slog.Logger) (*kvstore.Store, error) {
	if !c.PrefixCache || c.HostMemory == 0 && c.Disk.Path == "" {
		return nil, nil
	}
	o := kvstore.Options{Memory: int64(c.HostMemory), Logger: log}
	if c.Disk.Path != "" {
		o.Disk = kvstore.Disk{Path: c.Disk.Path, Limit: int64(c.Disk.Limit)}
		if o.Memory == 0 {
			o.Memory = memoryBeforeDisk
		}
		if c.Disk.KeyFile != "" {
			key, err := kvstore.ReadKey(c.Disk.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("runtime.kv.disk.key_file: %w", err)
			}
			o.Key = key
		}
	}
	s, err := kvstore.Open(o)
	if err != nil {
		return nil, fmt.Errorf("runtime.kv: %w", err)
	}
	return s, nil
}
