//go:build linux || darwin

#include "textflag.h"

DATA ·byValueTrampoline(SB)/8, $byValue<>(SB)
GLOBL ·byValueTrampoline(SB), NOPTR|RODATA, $8

// byValue, itself called as a C function with a *frame in DI, makes the call. Its
// own frame holds the 80 words of frame.stack; its size keeps the stack aligned to
// 16 bytes at the call.
TEXT byValue<>(SB), NOSPLIT, $640-0
	MOVQ DI, R11
	XORL CX, CX

copy:
	MOVQ 80(R11)(CX*8), R10
	MOVQ R10, 0(SP)(CX*8)
	INCQ CX
	CMPQ CX, $80
	JNE  copy

	MOVQ 8(R11), DI
	MOVQ 16(R11), SI
	MOVQ 24(R11), DX
	MOVQ 32(R11), CX
	MOVQ 40(R11), R8
	MOVQ 48(R11), R9
	XORL AX, AX
	MOVQ 0(R11), R11
	CALL R11
	RET
