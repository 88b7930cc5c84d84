//go:build (linux || darwin) && !nonative

#include "textflag.h"

// The addresses of the two trampolines, for Go code to hand to purego.
DATA ·mixedTrampoline(SB)/8, $mixed<>(SB)
GLOBL ·mixedTrampoline(SB), NOPTR|RODATA, $8

DATA ·eachTrampoline(SB)/8, $each<>(SB)
GLOBL ·eachTrampoline(SB), NOPTR|RODATA, $8

// mixed, itself called as a C function with a *mixedCall in DI, calls
// mixedCall.fn with integers and floats where the System V ABI wants them. The
// frame holds the six integers that find no register; its size keeps the stack
// aligned to 16 bytes at the call.
TEXT mixed<>(SB), NOSPLIT, $48-0
	MOVQ DI, R11
	MOVQ 56(R11), R10
	MOVQ R10, 0(SP)
	MOVQ 64(R11), R10
	MOVQ R10, 8(SP)
	MOVQ 72(R11), R10
	MOVQ R10, 16(SP)
	MOVQ 80(R11), R10
	MOVQ R10, 24(SP)
	MOVQ 88(R11), R10
	MOVQ R10, 32(SP)
	MOVQ 96(R11), R10
	MOVQ R10, 40(SP)

	MOVSD 104(R11), X0
	MOVSD 112(R11), X1
	MOVSD 120(R11), X2
	MOVSD 128(R11), X3

	MOVQ 8(R11), DI
	MOVQ 16(R11), SI
	MOVQ 24(R11), DX
	MOVQ 32(R11), CX
	MOVQ 40(R11), R8
	MOVQ 48(R11), R9

	MOVQ 0(R11), R11
	CALL R11
	RET

// each, itself called as a C function with an *eachCall in DI, calls
// eachCall.fn once with each of its handles.
TEXT each<>(SB), NOSPLIT, $32-0
	MOVQ BX, 0(SP)
	MOVQ R12, 8(SP)
	MOVQ R13, 16(SP)
	MOVQ 0(DI), R13
	MOVQ 8(DI), BX
	MOVQ 16(DI), R12

loop:
	TESTQ R12, R12
	JZ    done
	MOVQ  0(BX), DI
	CALL  R13
	ADDQ  $8, BX
	DECQ  R12
	JMP   loop

done:
	MOVQ 0(SP), BX
	MOVQ 8(SP), R12
	MOVQ 16(SP), R13
	XORL AX, AX
	RET
