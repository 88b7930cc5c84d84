// Package simd computes what a transformer spends its time on, on a CPU:
// products with weight matrices, attention, and the element-wise steps between
// them. It knows nothing of models, files or threads.
//
// # Tiers
//
// The kernels come in tiers, one of which is chosen when the program starts:
//
//	amx         the same, and AMX-INT8 where Linux grants its use
//	avx512vnni  x86-64 with AVX-512 (F, BW, DQ, VL) and VNNI
//	avx2        x86-64 with AVX2, FMA and F16C
//	neoni8mm    arm64 with DotProd and I8MM
//	neondot     arm64 with DotProd
//	neon        arm64
//	portable    plain Go, for everything else
//
// The environment variable INFERFLUX_SIMD lowers the choice; see [Tier] and
// [TierError].
//
// # Products
//
// [Pack] turns a stored weight matrix W [rows, cols] into a [Matrix], [Activations]
// holds the vectors x to be multiplied, and [Matrix.Mul] computes W·x. A matrix
// is packed in panels of 16 rows, the unit in which a product is split among
// threads. Packing keeps every weight's exact value and about the size that it
// had in the file.
//
// Quantized weights are integers under a common form: in a block of 32 columns
// (or two groups of 16) a weight is d·q + m. Activations are quantized by the
// same idea: in each block of 32, x = d·q + z with q in -127..127, z the middle
// of the block's range and d its width over 254. That is twice as fine as a scale
// alone for blocks that don't straddle zero evenly. The product of a block is
// then
//
//	Σ w·x = dw·dx·Σ qw·qx + m·(dx·Σ qx) + z·(dw·Σ qw + 32·m)
//
// in which only the first sum needs all the columns, and it is exact in integers.
// Floating-point weights (F32, F16, BF16, and MLX's 8-bit floats with a scale for
// each 32) multiply float32 activations.
//
// # Same bits, whatever the company
//
// Within a tier, a row of a result has the same bits whatever other rows are
// computed in the same call and however the work is split: every output element
// goes through the same float operations in the same order in every kernel.
// The same holds for [Attention], whose sums are cut at positions that depend on
// the position alone. Between tiers results agree to rounding.
//
// A product with many rows first decodes a few blocks of a panel to records, a form
// common to all types, and multiplies those with every row; one with 1, 2, 4 or 8
// rows decodes in registers. Both do the same. So do tiles, the matrix registers of
// AMX: they only compute a block's integer sums, which are exact. That is why amx
// and avx512vnni don't differ by a bit.
//
// # Adding a weight type
//
// Write how the type's blocks become integer codes and scales (type_*.go), and
// name its code width, scale layout and levels in the table of formats. If it is a
// new combination of these, add it to the list in internal/asmgen too and run
// `go generate ./simd`. What kernels needn't be generated for, such as levels, or the
// size of the groups that share a scale and its type, they are given as parameters.
// Types without a format are multiplied as float32.
package simd

import (
	"fmt"
	"os"
	"strings"
)

// tier is one set of kernels. The lists of tiers are ordered from the slowest,
// which every machine has, to the fastest.
type tier struct {
	name string
	// decode unpacks n blocks of a panel, starting with block b0, to records of a
	// form that dot reads.
	records recordForm
	decode  func(s *segment, panel, b0, n int, dst []record)
	// dot adds, for rows act.row.. of a tile, the products of n decoded blocks
	// to dst; see dotPortable.
	dot func(kind kind, dst []float32, stride int, recs []record, act actTile, rows int, first bool)
	// dotFloat multiplies floating-point panels; see dotFloatPortable.
	dotFloat func(typ floatType, dst []float32, stride int, data []byte, panelBytes int, act floatTile, rows int)
	// mulFused, if set, multiplies panels p0 to p1, all of 16 rows, with rows r0 to
	// r1, if there are so few of them that decoded weights are best used once. It
	// reports whether it did.
	mulFused func(s *segment, dst []float32, stride int, a *Activations, r0, r1, p0, p1 int) bool
	// mulTiles, if set, multiplies panels p0 to p1 with rows r0 to r1 without
	// decode and dot. It reports false if these are better.
	mulTiles func(s *segment, dst []float32, stride int, a *Activations, r0, r1, p0, p1 int, sc *scratch) bool
	// tileRows is the number of rows that a tile of int8 activations has, if it is
	// more than the usual.
	tileRows int
	// quantize converts one row into the int8 form.
	quantize func(x []float32, act actTile)
	vector   vectorOps
	attend   attentionOps
}

var (
	tiers   = availableTiers() // of this machine
	active  *tier
	tierErr error
)

func init() { active, tierErr = chooseTier(os.Getenv("INFERFLUX_SIMD")) }

// chooseTier returns the tier of the given name, the fastest for "". When the
// machine has no such tier it returns the fastest and an error.
func chooseTier(name string) (*tier, error) {
	best := tiers[len(tiers)-1]
	if name == "" {
		return best, nil
	}
	for _, t := range tiers {
		if t.name == name {
			return t, nil
		}
	}
	return best, fmt.Errorf("INFERFLUX_SIMD: this machine has no kernels %q; choose one of %s", name, strings.Join(Tiers(), ", "))
}

// Tier is the name of the kernels in use: "avx512vnni", say, or "portable".
func Tier() string { return active.name }

// Tiers names the kernels that this machine has, from the slowest to the fastest.
func Tiers() []string {
	var names []string
	for _, t := range tiers {
		names = append(names, t.name)
	}
	return names
}

// TierError says why INFERFLUX_SIMD could not be obeyed, or is nil. The fastest
// kernels are used in that case.
func TierError() error { return tierErr }
