package simd

var portable = tier{
	name:     "portable",
	decode:   decodePortable,
	dot:      dotPortable,
	dotFloat: dotFloatPortable,
	quantize: quantizePortable,
	vector:   portableVector,
	attend:   portableAttention,
}
