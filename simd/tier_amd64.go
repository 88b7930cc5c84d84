package simd

func availableTiers() []*tier { return []*tier{&portable} }
