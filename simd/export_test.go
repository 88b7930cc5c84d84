package simd

// Tiers are the names of this machine's tiers.
func Tiers() []string {
	var names []string
	for _, t := range tiers {
		names = append(names, t.name)
	}
	return names
}

// ForceTier makes a tier the one in use until restore is called.
func ForceTier(name string) (restore func()) {
	old := active
	t, err := chooseTier(name)
	if err != nil {
		panic(err)
	}
	active = t
	return func() { active = old }
}

// ChooseTier is what INFERFLUX_SIMD=name would choose.
func ChooseTier(name string) (string, error) {
	t, err := chooseTier(name)
	return t.name, err
}

// Quantized is what the int8 form of row r stands for, and the step d of each of
// its blocks.
func (a *Activations) Quantized(r int) (x, steps []float32) {
	for b := range a.blocks {
		q, s := a.intTile(r, b).block(0, 0)
		for _, v := range q {
			x = append(x, s.d*float32(v)+s.z)
		}
		steps = append(steps, s.d)
	}
	return x, steps
}

// Decoded is the codes of the blocks of panel p as the tier's records have them,
// decoded by the tier and in Go.
func (m *Matrix) Decoded(p int) (tier, portable []byte) {
	s := &m.segments[0]
	recs := alignedRecords(s.cols / blockCols)
	codes := func() (all []byte) {
		for i := range recs {
			for g := range recs[i].codes {
				all = append(all, recs[i].codes[g][:]...)
			}
		}
		return all
	}
	active.decode(s, p, 0, len(recs), recs)
	tier = codes()
	active.records(s.format.kind).decode(s, p, 0, len(recs), recs)
	return tier, codes()
}
