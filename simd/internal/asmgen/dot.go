package main

import "strings"

// dotKernel emits the products of decoded blocks with several rows. Registers:
// BX records, SI codes of the activations, DI their scales, CX blocks left.
type dotKernel struct {
	*asm
	affine, halves bool
	large          bool // with affine: codes up to 255
}

// blockScales are operands with a block's scales.
type blockScales struct{ d0, d1, m0, m1, sum string }

// clear starts an integer sum of row r: at 0, or at minus what the offset of
// signed codes will add, or if they are taken from codes that aren't, at what they
// will lack. half is -1 for a whole block.
func (k *dotKernel) clear(acc string, r int, scales string, half int) {
	if k.large && !k.wide() {
		k.op("VPBROADCASTD", mem(r*actScaleSize+actZero, scales), k.v(0))
		k.logic("VPXOR", acc, acc, acc)
		k.op("VPSUBD", k.v(0), acc, acc)
		return
	}
	if k.affine || !k.wide() {
		k.logic("VPXOR", acc, acc, acc)
		return
	}
	at := actZero
	if k.halves {
		at = actHalf + 4*half
	}
	k.op("VPBROADCASTD", mem(r*actScaleSize+at, scales), acc)
}

// fmaBroadcast adds v times the float at m to acc; tmp is clobbered. v may be in
// memory.
func (k *dotKernel) fmaBroadcast(m, v, acc, tmp string) {
	if k.wide() && !strings.HasSuffix(v, ")") {
		k.op("VFMADD231PS.BCST", m, v, acc)
		return
	}
	k.op("VBROADCASTSS", m, tmp)
	k.op("VFMADD231PS", v, tmp, acc)
}

// finish adds a block's product to out. acc0 is the sum of the block as float,
// or with halves that of the first times d0, and acc1 the second's.
func (k *dotKernel) finish(r int, scales, acc0, acc1, out, tmp string, s blockScales) {
	at := func(field int) string { return mem(r*actScaleSize+field, scales) }
	if k.halves {
		k.op("VFMADD231PS", s.d1, acc1, acc0)
		if k.affine {
			for i, m := range []string{s.m0, s.m1} {
				if k.wide() {
					k.op("VCVTDQ2PS.BCST", at(actHalf+4*i), tmp)
				} else {
					k.op("VPBROADCASTD", at(actHalf+4*i), tmp)
					k.op("VCVTDQ2PS", tmp, tmp)
				}
				k.op("VMULPS", k.float(-1.0/128), tmp, tmp)
				k.op("VFMADD231PS", m, tmp, acc0)
			}
		}
		k.fmaBroadcast(at(actD), acc0, out, tmp)
	} else {
		if k.wide() && !strings.HasSuffix(s.d0, ")") {
			k.op("VMULPS.BCST", at(actD), s.d0, tmp)
		} else {
			k.op("VBROADCASTSS", at(actD), tmp)
			k.op("VMULPS", s.d0, tmp, tmp)
		}
		k.op("VFMADD231PS", tmp, acc0, out)
		if k.affine {
			k.fmaBroadcast(at(actSum), s.m0, out, tmp)
		}
	}
	k.fmaBroadcast(at(actZ), s.sum, out, tmp)
}

// rowCounts are the numbers of rows that are computed together.
func (k *dotKernel) rowCounts() []int {
	switch {
	case !k.wide():
		return []int{4, 2, 1}
	case k.halves:
		return []int{8, 4, 2, 1}
	default:
		return []int{12, 8, 4, 2, 1}
	}
}

func (k *dotKernel) emit(name string) {
	k.function(name, "is dotPortable for one kind.",
		"dst unsafe.Pointer, stride uintptr, recs unsafe.Pointer, n int, x, xScales unsafe.Pointer, step uintptr, rows, first int", "")
	k.op("MOVQ", "dst+0(FP)", "DX")
	k.op("MOVQ", "stride+8(FP)", "R8")
	k.op("MOVQ", "x+32(FP)", "R9")
	k.op("MOVQ", "xScales+40(FP)", "R10")
	k.op("MOVQ", "step+48(FP)", "R11")
	k.op("MOVQ", "rows+56(FP)", "R12")
	k.eachRowCount(k.rowCounts(), func(rows int) {
		for part := range k.parts() {
			k.rows(rows, part)
		}
		k.op("ADDQ", 32*rows, "R9")
		k.op("ADDQ", actScaleSize*rows, "R10")
	})
	k.ret()
}

// eachRowCount emits the loop that takes as many of the R12 rows left as a body
// can, and moves DX along by as many times R8.
func (a *asm) eachRowCount(counts []int, body func(rows int)) {
	next, done := a.label("next"), a.label("done")
	a.at(next)
	for _, n := range counts {
		skip := a.label("fewer")
		a.op("CMPQ", "R12", n)
		a.op("JLT", skip)
		body(n)
		for range n {
			a.op("ADDQ", "R8", "DX")
		}
		a.op("SUBQ", n, "R12")
		a.op("JMP", next)
		a.at(skip)
	}
	a.at(done)
}

// rows emits the product of one part of the records with a number of rows.
func (k *dotKernel) rows(n, part int) {
	at := part * k.width
	const acc = 3 // registers: 0 to 2 temporary, then sums, then halves, then results
	mid := acc + n
	out := mid
	if k.halves || k.shortSums() {
		out += n
	}
	ones := ""
	if !k.wide() {
		ones = k.v(15)
		k.loadInt(k.word(0x00010001), ones)
	}
	start, loop := k.label("start"), k.label("block")
	for r := range n {
		k.logic("VPXOR", k.v(out+r), k.v(out+r), k.v(out+r))
	}
	k.op("CMPQ", "first+64(FP)", 0)
	k.op("JNE", start)
	k.rowPointer(n, func(r int) { k.op("VMOVUPS", mem(at, "AX"), k.v(out+r)) })
	k.at(start)
	k.op("MOVQ", "recs+16(FP)", "BX")
	k.op("MOVQ", "n+24(FP)", "CX")
	k.op("MOVQ", "R9", "SI")
	k.op("MOVQ", "R10", "DI")
	k.at(loop)
	s := blockScales{d0: mem(recordD+at, "BX"), d1: mem(recordD+64+at, "BX"),
		m0: mem(recordM+at, "BX"), m1: mem(recordM+64+at, "BX"), sum: mem(recordSum+at, "BX")}
	if k.wide() {
		free := out + n
		for _, p := range []*string{&s.d0, &s.sum, &s.m0, &s.d1, &s.m1} {
			if free > 31 || p == &s.m0 && !k.affine || p == &s.d1 && !k.halves || p == &s.m1 && !(k.affine && k.halves) {
				continue
			}
			k.op("VMOVUPS", *p, k.v(free))
			*p = k.v(free)
			free++
		}
	}
	for half := range 2 {
		if half == 0 || k.halves || k.shortSums() {
			for r := range n {
				k.clear(k.v(acc+r), r, "DI", half)
			}
		}
		k.groups(4*half, n, acc, at, ones)
		for r := range n {
			sum, first := k.v(acc+r), k.v(mid+r)
			if k.shortSums() {
				k.op("VPMADDWD", ones, sum, sum)
			}
			switch {
			case k.halves:
				k.op("VCVTDQ2PS", sum, sum)
				if half == 0 {
					k.op("VMULPS", s.d0, sum, first)
				}
			case half == 1:
				if k.shortSums() {
					k.op("VPADDD", first, sum, sum)
				}
				k.op("VCVTDQ2PS", sum, sum)
			case k.shortSums():
				k.op("VMOVDQA", sum, first)
			}
		}
	}
	for r := range n {
		if k.halves {
			k.finish(r, "DI", k.v(mid+r), k.v(acc+r), k.v(out+r), k.v(1), s)
		} else {
			k.finish(r, "DI", k.v(acc+r), "", k.v(out+r), k.v(1), s)
		}
	}
	k.op("ADDQ", recordBytes, "BX")
	k.op("ADDQ", "R11", "SI")
	k.op("ADDQ", "R11", "DI")
	k.op("DECQ", "CX")
	k.op("JNZ", loop)
	k.rowPointer(n, func(r int) { k.op("VMOVUPS", k.v(out+r), mem(at, "AX")) })
}

// rowPointer walks AX over the n rows from DX on.
func (a *asm) rowPointer(n int, use func(r int)) {
	a.op("MOVQ", "DX", "AX")
	for r := range n {
		use(r)
		if r < n-1 {
			a.op("ADDQ", "R8", "AX")
		}
	}
}

// shortSums tells that integer sums are 16-bit until half a block is done. AVX2
// lacks a product of bytes that sums into 32 bits: it takes two steps, of which
// the first must not overflow 16 bits. Affine codes are at most 31, so four
// groups (4·2·31·127) can be added between the steps; signed ones take both
// steps for each group. So do larger codes, less 128.
func (k *dotKernel) shortSums() bool { return !k.wide() && !k.signedCodes() }

// signedCodes tells that codes are multiplied less 128.
func (k *dotKernel) signedCodes() bool { return !k.affine || k.large }

// groups adds four groups to the integer sums.
func (k *dotKernel) groups(g0, n, acc, at int, ones string) {
	for g := g0; g < g0+4; g++ {
		w, x, sign := k.v(0), k.v(1), k.v(2)
		if k.wide() {
			w = k.v(g % 2)
			k.loadInt(mem(64*g+at, "BX"), w)
			for r := range n {
				k.op("VPDPBUSD.BCST", mem(32*r+4*g, "SI"), w, k.v(acc+r))
			}
			continue
		}
		k.loadInt(mem(64*g+at, "BX"), w)
		if k.signedCodes() {
			k.op("VPXOR", k.bytes(0x80), w, sign)
			k.op("VPABSB", sign, w)
		}
		for r := range n {
			k.op("VPBROADCASTD", mem(32*r+4*g, "SI"), x)
			if k.signedCodes() {
				k.op("VPSIGNB", sign, x, x)
			}
			k.op("VPMADDUBSW", x, w, x)
			if k.signedCodes() {
				k.op("VPMADDWD", ones, x, x)
				k.op("VPADDD", x, k.v(acc+r), k.v(acc+r))
				continue
			}
			k.op("VPADDW", x, k.v(acc+r), k.v(acc+r))
		}
	}
}
