package host_test

import (
	"runtime"
	"testing"

	"github.com/inferflux/inferflux/backend/host"
)

func TestHost(t *testing.T) {
	if host.Processor() == "" {
		t.Error("the processor has no name")
	}
	total, available := host.Memory()
	if available < 0 || available > total {
		t.Errorf("%d bytes available of %d", available, total)
	}
	if known := runtime.GOOS == "linux" || runtime.GOOS == "darwin"; known != (total > 0) || known != (host.PhysicalCores() > 0) {
		t.Errorf("%s: %d bytes of memory, %d cores", runtime.GOOS, total, host.PhysicalCores())
	}
}
