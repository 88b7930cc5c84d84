package main

// emitPairs emits a dot kernel with smmla, which multiplies two rows of eight
// bytes with two others. Records have codes zipped for it: of each two groups,
// eight columns of lane 0, then of lane 1, in the first vector of a part and of
// lanes 2 and 3 in the second. The rows' codes are zipped likewise for each block
// and stay in registers while the parts pass; results wait in memory.
// Registers: R0 results, R2 activations and R3 their scales, of the next rows; R7
// record, R8 blocks left, R9 and R10 activations and scales, R6 part, R11 results
// of the part, R12 parts left.
func (k *neonDot) emitPairs(name string) {
	k.function(name, "is dotPortable for one kind.", dotParams, "")
	k.loadDot()
	k.eachRowCount("R5", []int{6, 4, 2, 1}, func(rows int) {
		k.clearFirst(rows)
		k.op("MOVD", argument("recs", 16), "R7")
		k.op("MOVD", argument("n", 24), "R8")
		k.op("MOVD", "R2", "R9")
		k.op("MOVD", "R3", "R10")
		k.loop("R8", 1, func() { k.pairsBlock(rows) })
		k.nextRows(rows)
	})
	k.ret()
}

// clearFirst clears the results if these are a panel's first blocks.
func (k *neonDot) clearFirst(rows int) {
	skip := k.label("add")
	k.op("MOVD", argument("first", 64), "R12")
	k.op("CBZ", "R12", skip)
	k.clear(0)
	k.op("MOVD", "R0", "R11")
	for r := range rows {
		for part := range parts {
			k.ins("str q0, [x11, #%d]", partBytes*part)
		}
		if r < rows-1 {
			k.op("ADD", "R1", "R11")
		}
	}
	k.at(skip)
}

// pairsBlock adds the products of a block. Vector registers: 0 to 7 a part's
// codes, 8 to 19 the rows', 20 to 23 sums, 24 to 28 the part's scales, 29 and 30
// a row's, 31 its result.
func (k *neonDot) pairsBlock(rows int) {
	const w, x = 0, 8
	scales := neonScales{d0: 24, d1: 25, m0: 26, m1: 27, sum: 28}
	pairs := (rows + 1) / 2
	for p := range pairs {
		for half := range 2 {
			even, odd := 20, 21
			k.ins("ldr q%d, [x9, #%d]", even, 64*p+16*half)
			if 2*p+1 < rows {
				k.ins("ldr q%d, [x9, #%d]", odd, 64*p+32+16*half)
			} else {
				k.clear(odd)
			}
			for i := range 2 {
				k.ins("zip%d v%d.2d, v%d.2d, v%d.2d", i+1, x+4*p+2*half+i, even, odd)
			}
		}
	}
	k.op("MOVD", "R7", "R6")
	k.op("MOVD", "R0", "R13")
	k.op("MOVD", "$4", "R12")
	k.loop("R12", 1, func() {
		for i := range 8 {
			k.ins("ldr q%d, [x6, #%d]", w+i, 64*i)
		}
		k.loadRecordScales(6, scales)
		k.op("MOVD", "R13", "R11")
		for p := range pairs {
			k.pair(p, min(2, rows-2*p), scales, p == pairs-1)
		}
		k.op("ADD", partBytes, "R6")
		k.op("ADD", partBytes, "R13")
	})
	k.op("ADD", recordBytes, "R7")
	k.op("ADD", "R4", "R9")
	k.op("ADD", "R4", "R10")
}

// pair adds the products of rows 2p and, if n is 2, 2p+1 with a part's codes to
// the results at R11, which it moves to the next row but the last.
func (k *neonDot) pair(p, n int, scales neonScales, last bool) {
	const w, x, acc, out = 0, 8, 20, 31
	k.clear(acc)
	k.clear(acc + 1)
	if k.halves {
		k.clear(acc + 2)
		k.clear(acc + 3)
	}
	for c := range 4 { // of eight columns
		sums := acc
		if k.halves && c >= 2 {
			sums += 2
		}
		for lanes := range 2 {
			k.ins("smmla v%d.4s, v%d.16b, v%d.16b", sums+lanes, x+4*p+c, w+2*c+lanes)
		}
	}
	// Each sum has two lanes of two rows: make it four lanes of one.
	zip := func(i, dst, src int) { k.ins("zip%d v%d.2d, v%d.2d, v%d.2d", i, dst, src, src+1) }
	rowSums := [2][2]int{{22}, {23}}
	t := neonScratch{s: 29, h: 30, tmp: 30}
	if k.halves {
		rowSums = [2][2]int{{29, 20}, {21, 23}}
		t.s = 22
		zip(1, 29, acc)
		zip(2, 21, acc)
		zip(1, 20, acc+2)
		zip(2, 23, acc+2)
	} else {
		zip(1, 22, acc)
		zip(2, 23, acc)
	}
	for i := range n {
		k.ins("ldr q%d, [x11]", out)
		k.finish(rowSums[i][0], rowSums[i][1], out, 10, actScaleSize*(2*p+i), scales, t)
		k.ins("str q%d, [x11]", out)
		if i < n-1 || !last {
			k.op("ADD", "R1", "R11")
		}
	}
}
