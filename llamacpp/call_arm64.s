//go:build linux || darwin

#include "textflag.h"

DATA ·byValueTrampoline(SB)/8, $byValue<>(SB)
GLOBL ·byValueTrampoline(SB), NOPTR|RODATA, $8

// byValue, itself called as a C function with a *frame in R0, makes the call.
TEXT byValue<>(SB), NOSPLIT, $16-0
	MOVD R0, R9
	MOVD 8(R9), R0
	MOVD 16(R9), R1
	MOVD 24(R9), R2
	MOVD 32(R9), R3
	MOVD 40(R9), R4
	MOVD 48(R9), R5
	MOVD 56(R9), R6
	MOVD 64(R9), R7
	MOVD 72(R9), R8
	MOVD 0(R9), R9
	CALL (R9)
	RET
