package roofline_test

import (
	"context"
	"testing"

	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/simd/roofline"
)

func TestPeaks(t *testing.T) {
	peaks := roofline.Peaks(t.Context(), 1, 2)
	if len(peaks) == 0 {
		t.Fatal("no unit was measured")
	}
	names := map[string]bool{}
	for _, p := range peaks {
		t.Logf("%+v", p)
		names[p.Name] = true
		if p.GOPS <= 0.01 || p.GOPS > 1e6 || p.Unit != "int8" && p.Unit != "float32" {
			t.Errorf("%+v", p)
		}
	}
	for _, tier := range simd.Tiers() {
		if name := roofline.UnitOf(tier, true); tier != "portable" && !names[name] {
			t.Errorf("%s: %s wasn't measured", tier, name)
		}
		if name := roofline.UnitOf(tier, false); tier != "portable" && !names[name] {
			t.Errorf("%s: %s wasn't measured", tier, name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if peaks := roofline.Peaks(ctx, 1); len(peaks) > 0 {
		t.Error("an ended context didn't stop it")
	}
}

func TestReader(t *testing.T) {
	for _, bytes := range []int{0, 3<<20 + 5} {
		r := roofline.NewReader(bytes)
		for _, threads := range []int{1, 3} {
			b := r.Measure(threads)
			t.Logf("%+v", b)
			if b.Threads != threads || b.Bytes < 1<<20 || b.GBps <= 0 {
				t.Errorf("%+v", b)
			}
		}
		r.Close()
	}
}
