package main

import (
	"fmt"
	"strings"
	"testing"
)

// The bytes are those that GNU as makes of the instruction; offsets always take
// four bytes here.
func TestTileEncodings(t *testing.T) {
	for name, c := range map[string]struct {
		emit func(a *asm)
		want string
	}{
		"tileloadd 0x340(%rbx,%r13,2),%tmm7":   {func(a *asm) { a.loadTile(7, "BX", "R13", 2, 0x340) }, "c4 a2 7b 4b bc 6b 40 03 00 00"},
		"tileloadd 0(%rsi,%r13,1),%tmm4":       {func(a *asm) { a.loadTile(4, "SI", "R13", 1, 0) }, "c4 a2 7b 4b a4 2e 00 00 00 00"},
		"tileloadd -64(%r9,%rax,8),%tmm3":      {func(a *asm) { a.loadTile(3, "R9", "AX", 8, -64) }, "c4 c2 7b 4b 9c c1 c0 ff ff ff"},
		"tilestored %tmm2,0x1800(%r15,%r13,2)": {func(a *asm) { a.storeTile(2, "R15", "R13", 0x1800) }, "c4 82 7a 4b 94 6f 00 18 00 00"},
		"tilezero %tmm5":                       {func(a *asm) { a.zeroTile(5) }, "c4 e2 7b 49 e8"},
		"tdpbssd %tmm7,%tmm5,%tmm1":            {func(a *asm) { a.dotTile(1, 5, 7, true) }, "c4 e2 43 5e cd"},
		"tdpbsud %tmm6,%tmm4,%tmm3":            {func(a *asm) { a.dotTile(3, 4, 6, false) }, "c4 e2 4a 5e dc"},
		"ldtilecfg (%rax)":                     {func(a *asm) { a.loadConfig("AX") }, "c4 e2 78 49 00"},
		"tilerelease":                          {func(a *asm) { a.release() }, "c4 e2 78 49 c0"},
	} {
		a := &asm{width: 64}
		c.emit(a)
		text, _, _ := strings.Cut(a.text.String(), " //")
		var got []string
		for b := range strings.SplitSeq(strings.TrimSpace(text), "; ") {
			var v byte
			if _, err := fmt.Sscanf(b, "BYTE $0x%x", &v); err != nil {
				t.Fatalf("%s: %q: %v", name, b, err)
			}
			got = append(got, fmt.Sprintf("%02x", v))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s is %v, want %s", name, got, c.want)
		}
	}
}
