//go:build (linux || darwin) && !nonative

#include "textflag.h"

// The addresses of the two trampolines, for Go code to hand to purego.
DATA ·mixedTrampoline(SB)/8, $mixed<>(SB)
GLOBL ·mixedTrampoline(SB), NOPTR|RODATA, $8

DATA ·eachTrampoline(SB)/8, $each<>(SB)
GLOBL ·eachTrampoline(SB), NOPTR|RODATA, $8

// mixed, itself called as a C function with a *mixedCall in R0, calls
// mixedCall.fn with integers and floats where AAPCS64 wants them. The lower
// half of the frame holds the four integers that find no register.
TEXT mixed<>(SB), NOSPLIT|NOFRAME, $0
	SUB $64, RSP
	STP (R29, R30), 48(RSP)
	ADD $48, RSP, R29
	MOVD R0, R9

	MOVD 72(R9), R10
	MOVD R10, 0(RSP)
	MOVD 80(R9), R10
	MOVD R10, 8(RSP)
	MOVD 88(R9), R10
	MOVD R10, 16(RSP)
	MOVD 96(R9), R10
	MOVD R10, 24(RSP)

	FMOVD 104(R9), F0
	FMOVD 112(R9), F1
	FMOVD 120(R9), F2
	FMOVD 128(R9), F3

	MOVD 8(R9), R0
	MOVD 16(R9), R1
	MOVD 24(R9), R2
	MOVD 32(R9), R3
	MOVD 40(R9), R4
	MOVD 48(R9), R5
	MOVD 56(R9), R6
	MOVD 64(R9), R7

	MOVD 0(R9), R9
	CALL (R9)
	LDP  48(RSP), (R29, R30)
	ADD  $64, RSP
	RET

// each, itself called as a C function with an *eachCall in R0, calls
// eachCall.fn once with each of its handles.
TEXT each<>(SB), NOSPLIT|NOFRAME, $0
	SUB  $48, RSP
	STP  (R19, R20), 0(RSP)
	MOVD R21, 16(RSP)
	STP  (R29, R30), 32(RSP)
	ADD  $32, RSP, R29
	MOVD 0(R0), R21
	MOVD 8(R0), R19
	MOVD 16(R0), R20

loop:
	CBZ  R20, done
	MOVD 0(R19), R0
	CALL (R21)
	ADD  $8, R19
	SUB  $1, R20
	B    loop

done:
	MOVD ZR, R0
	LDP  0(RSP), (R19, R20)
	MOVD 16(RSP), R21
	LDP  32(RSP), (R29, R30)
	ADD  $48, RSP
	RET
