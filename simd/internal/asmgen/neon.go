package main

import (
	"fmt"
	"math"
)

// neon collects the text of one file of kernels for arm64. Vectors have 16 bytes:
// 16 lanes are four parts. Vector registers are numbers here, general registers
// those of Go's assembler, R7 being Arm's x7.
type neon struct {
	asm
	level int
}

// Levels of NEON, each including those before.
const (
	baseline = iota // Armv8.0
	dotProd         // FEAT_DotProd: sdot
	i8mm            // FEAT_I8MM: smmla
)

var neonTiers = []string{"neon", "neondot", "neoni8mm"}

const (
	partBytes = 16
	parts     = 64 / partBytes
)

// generateNEON adds the files of arm64. What has no integer products is the same
// at all levels, and what uses only sdot at the higher two.
func generateNEON(files map[string]string) {
	emit := func(part string, level int, f func(*neon)) []entry {
		a := &neon{asm: asm{width: partBytes, name: neonTiers[level]}, level: level}
		f(a)
		base := fmt.Sprintf("%s_%s_arm64", part, a.tier())
		files[base+".s"] = a.assembly()
		files[base+".go"] = a.declarations()
		return a.entries
	}
	var shared, fused []entry
	for _, p := range []struct {
		name string
		emit func(*neon)
	}{{"float", (*neon).emitFloats}, {"vector", (*neon).emitVectors}, {"attention", (*neon).emitAttention}} {
		shared = append(shared, emit(p.name, baseline, p.emit)...)
	}
	for level, name := range neonTiers {
		all := asm{name: name, records: "signed: true"}
		if level == i8mm {
			all.records += ", zipped: true"
		}
		all.entries = emit("product", level, (*neon).emitProducts)
		if level <= dotProd {
			fused = emit("fused", level, (*neon).emitFusedProducts)
		}
		all.entries = append(append(all.entries, fused...), shared...)
		files[fmt.Sprintf("kernels_%s_arm64.go", name)] = all.kernelSet()
	}
}

func (a *neon) emitProducts() {
	for _, f := range formats {
		a.emitDecode(f)
	}
	for _, k := range kinds {
		a.emitDot(neonDot{neon: a, affine: k.affine, halves: k.halves}, k.name)
	}
	a.emitDot(neonDot{neon: a, affine: true, large: true}, "AffineLarge")
}

func (a *neon) emitDot(k neonDot, name string) {
	if a.level == i8mm {
		k.emitPairs("dot " + name)
	} else {
		k.emit("dot " + name)
	}
}

func (a *neon) emitFusedProducts() {
	for _, rows := range []int{1, 2} {
		if rows == 2 && a.level == baseline {
			continue // too few registers
		}
		for _, f := range formats {
			a.emitFused(f, rows)
		}
	}
}

func (a *neon) emitFloats() {
	for _, t := range []string{"F32", "F16", "BF16", "MXFP8"} {
		a.emitDotFloat(t)
	}
	a.emitQuantize()
}

// ins writes a vector instruction, in Arm's syntax.
func (a *neon) ins(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	word, err := encode(text)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(&a.text, "\tWORD $0x%08x // %s\n", word, text)
}

func (a *neon) ret() { a.op("RET") }

// load moves parameters, in the order of the frame from offset 0, to registers;
// those without a register are skipped.
func (a *neon) load(params ...string) {
	for i := 0; i < len(params); i += 2 {
		if params[i+1] != "" {
			a.op("MOVD", argument(params[i], 4*i), params[i+1])
		}
	}
}

// constant puts a float32 in every lane; R25 is clobbered.
func (a *neon) constant(v int, f float32) { a.constantWord(v, math.Float32bits(f)) }

func (a *neon) constantWord(v int, w uint32) {
	a.op("MOVD", fmt.Sprintf("$0x%08x", w), "R25")
	a.ins("dup v%d.4s, w25", v)
}

func (a *neon) clear(v int) { a.ins("movi v%d.16b, #0", v) }

// loop emits a loop that a register counts down by a step, a number or register.
func (a *neon) loop(counter string, step any, body func()) {
	label := a.label("loop")
	a.at(label)
	body()
	a.op("SUBS", step, counter)
	a.op("BNE", label)
}

// eachRowCount emits the loop that takes as many of the rows left (a register) as
// a body can. The body moves the pointers along.
func (a *neon) eachRowCount(left string, counts []int, body func(rows int)) {
	next := a.label("next")
	a.at(next)
	for _, n := range counts {
		skip := a.label("fewer")
		a.op("CMP", n, left)
		a.op("BLT", skip)
		body(n)
		a.op("SUB", n, left)
		a.op("B", next)
		a.at(skip)
	}
}
