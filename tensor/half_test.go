package tensor_test

import (
	"math"
	"testing"

	"github.com/inferflux/inferflux/tensor"
)

// valueOf computes a number from its fields as IEEE 754 defines them.
func valueOf(h uint16, exponentBits, mantissaBits int) float64 {
	bias := 1<<(exponentBits-1) - 1
	exponent := int(h>>mantissaBits) & (1<<exponentBits - 1)
	mantissa := float64(h & (1<<mantissaBits - 1))
	sign := 1.0
	if h>>15 == 1 {
		sign = -1
	}
	switch {
	case exponent == 1<<exponentBits-1 && mantissa != 0:
		return math.NaN()
	case exponent == 1<<exponentBits-1:
		return sign * math.Inf(1)
	case exponent == 0:
		return sign * math.Ldexp(mantissa, 1-bias-mantissaBits)
	}
	return sign * math.Ldexp(mantissa+float64(int(1)<<mantissaBits), exponent-bias-mantissaBits)
}

func TestHalfFloats(t *testing.T) {
	tests := []struct {
		name                       string
		exponentBits, mantissaBits int
		widen                      func(uint16) float32
		narrow                     func(float32) uint16
	}{
		{"f16", 5, 10, tensor.F16ToF32, tensor.F32ToF16},
		{"bf16", 8, 7, tensor.BF16ToF32, tensor.F32ToBF16},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			infinity := uint16(1<<tt.exponentBits-1) << tt.mantissaBits
			for i := range 1 << 16 {
				h := uint16(i)
				want := valueOf(h, tt.exponentBits, tt.mantissaBits)
				got := tt.widen(h)
				if math.IsNaN(want) {
					if !math.IsNaN(float64(got)) || math.Signbit(float64(got)) != (h>>15 == 1) {
						t.Fatalf("%#04x widens to %g, want a NaN of its sign", h, got)
					}
					if back := tt.narrow(got); back&^(1<<15) <= infinity || back>>15 != h>>15 {
						t.Fatalf("NaN %#04x comes back as %#04x", h, back)
					}
					continue
				}
				if float64(got) != want || math.Signbit(float64(got)) != (h>>15 == 1) {
					t.Fatalf("%#04x widens to %g, want %g", h, got, want)
				}
				if back := tt.narrow(got); back != h {
					t.Fatalf("%#04x comes back as %#04x", h, back)
				}
			}
			// Between neighbours lo and lo+1: the midpoint goes to the even one,
			// what is next to it to the nearer one. Past the largest finite
			// number the next one is what the format would hold if it went on.
			for i := range int(infinity) {
				lo := uint16(i)
				a, b := float64(tt.widen(lo)), float64(tt.widen(lo+1))
				if lo+1 == infinity {
					b = a + (a - float64(tt.widen(lo-1)))
				}
				mid := float32((a + b) / 2)
				if float64(mid) != (a+b)/2 {
					continue // subnormal bf16: float32 has nothing in between
				}
				for _, c := range []struct {
					f    float32
					want uint16
				}{
					{mid, lo + lo&1},
					{math.Nextafter32(mid, 0), lo},
					{math.Nextafter32(mid, float32(math.Inf(1))), lo + 1},
				} {
					if got := tt.narrow(c.f); got != c.want {
						t.Fatalf("%g narrows to %#04x, want %#04x", c.f, got, c.want)
					}
					if got := tt.narrow(-c.f); got != c.want|1<<15 {
						t.Fatalf("%g narrows to %#04x, want %#04x", -c.f, got, c.want|1<<15)
					}
				}
			}
			for _, f := range []float32{math.MaxFloat32, float32(math.Inf(1))} {
				if got := tt.narrow(f); got != infinity {
					t.Errorf("%g narrows to %#04x, want infinity", f, got)
				}
			}
			if got := tt.narrow(math.SmallestNonzeroFloat32); got != 0 {
				t.Errorf("the smallest float32 narrows to %#04x, want 0", got)
			}
			// A NaN whose payload is all in the bits that are cut off.
			if got := tt.narrow(math.Float32frombits(0x7f800001)); got <= infinity || got >= 1<<15 {
				t.Errorf("a NaN narrows to %#04x, not a NaN", got)
			}
		})
	}
}
