package simd

var portable = tier{
	name:     "portable",
	records:  func(kind) recordForm { return recordForm{} },
	decode:   decodePortable,
	dot:      dotPortable,
	dotFloat: dotFloatPortable,
	quantize: quantizePortable,
	vector:   portableVector,
	attend:   portableAttention,
}
