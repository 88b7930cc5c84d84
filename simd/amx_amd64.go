package simd

import "unsafe"

// Geometry of products by tiles.
const (
	tilesRows   = 16 // rows of activations in a tile register
	tilesBlocks = 8  // blocks whose sums are kept before they are scaled
	tilesPanels = 4  // panels that pass by a tile of activations while it is in the first-level cache
	tilesSums   = tilesBlocks * tilesRows * panelRows * 4
)

// tierAMX has the kernels of AVX-512, except that products of many rows with
// weights that have one scale per block go through tiles. The sums of a block are
// exact and are scaled by the same operations, so both tiers give the same bits.
func tierAMX() *tier {
	t := kernelsAVX512.tier("amx")
	t.tileRows = tilesRows
	t.mulTiles = kernelsAMX.mulTiles
	return t
}

// tileConfig is what LDTILECFG reads: which part of each tile register is used.
type tileConfig struct {
	palette, startRow uint8
	_                 [14]uint8
	rowBytes          [16]uint16
	rows              [16]uint8
}

// blockTiles is the shape of tiles for the product of a block and 16 rows:
// registers 0 to 3 have sums, 4 and 5 activations, 6 and 7 weights.
var blockTiles = tileConfig{
	palette:  1,
	rowBytes: [16]uint16{64, 64, 64, 64, blockCols, blockCols, 64, 64},
	rows:     [16]uint8{tilesRows, tilesRows, tilesRows, tilesRows, tilesRows, tilesRows, groups, groups},
}

// mulTiles is tier.mulTiles. With fewer rows than a tile has, and with weights
// whose blocks have two scales, vectors are as fast.
func (k *kernelSet) mulTiles(s *segment, dst []float32, stride int, a *Activations, r0, r1, p0, p1 int, sc *scratch) bool {
	if r1-r0 < tilesRows || s.format.kind&halves != 0 {
		return false
	}
	if sc.sums == nil {
		sc.sums = alignedBytes(tilesSums)
	}
	whole := max(p0, min(p1, s.rows/panelRows))
	for p := p0; p < whole; p += tilesPanels {
		n := min(tilesPanels, whole-p)
		out := dst[r0*stride+s.row0+p*panelRows:]
		_ = out[(r1-r0-1)*stride+n*panelRows-1] // the kernel doesn't check
		k.mulPanels(s, out, stride, a, r0, r1, p, n, sc)
	}
	for r := r0; r < r1 && whole < p1; {
		rows := min(r1-r, a.intRows-r%a.intRows)
		k.mulPanels(s, sc.out[:], panelRows, a, r, r+rows, whole, 1, sc)
		s.finish(dst, stride, r, rows, whole, sc)
		r += rows
	}
	return true
}

// mulPanels multiplies n panels from p on with rows r0 to r1. dst is where the
// results start.
func (k *kernelSet) mulPanels(s *segment, dst []float32, stride int, a *Activations, r0, r1, p, n int, sc *scratch) {
	tileStep := uintptr(a.blocks * a.intRows * actBytes)
	for b := 0; b < a.blocks; b += tilesBlocks {
		blocks := min(tilesBlocks, a.blocks-b)
		for i := range n {
			k.decodeBlocks(s, p+i, b, blocks, sc.recs[i*blocks:])
		}
		first := 0
		if b == 0 {
			first = 1
		}
		x := a.intTile(r0-r0%a.intRows, b)
		k.tiles[s.format.kind&^large](unsafe.Pointer(&dst[0]), uintptr(4*stride), unsafe.Pointer(&sc.recs[0]), n, blocks, x.codes, x.step, tileStep,
			a.intRows, r0%a.intRows, r1-r0, first, unsafe.Pointer(&sc.sums[0]), unsafe.Pointer(&blockTiles))
	}
}
