package program

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"dfemu/cpu/x86"
)

// Minimize leaves out of a program what can be left out while fails still says that it comes out
// different. Flags stay defined where they are tested, and loops, calls and branches stay.
// A program that does not end counts as one that does not fail: choose a short Rig.Timeout.
func (g *Generator) Minimize(p *Program, fails func(*Program) bool) (*Program, error) {
	without := map[int]bool{}
	for n := range p.without {
		without[n] = true
	}
	for chunk := max(p.Elements/2, 1); ; chunk /= 2 {
		for from := 0; from < p.Elements; from += chunk {
			try := map[int]bool{}
			for n := range without {
				try[n] = true
			}
			for n := from; n < min(from+chunk, p.Elements); n++ {
				try[n] = true
			}
			if len(try) == len(without) {
				continue
			}
			q, err := g.generate(p.Seed, try)
			if err != nil {
				return nil, err
			}
			if fails(q) {
				p, without = q, try
			}
		}
		if chunk == 1 {
			return p, nil
		}
	}
}

// Listing is the program's code for people, without fillers.
func (p *Program) Listing() string {
	var b strings.Builder
	list := func(base uint64, code []byte, words []int) {
		for off := 0; off < len(code); {
			if slices.Contains(words, off) {
				fmt.Fprintf(&b, "%#x  %#x\n", base+uint64(off), binary.LittleEndian.Uint64(code[off:]))
				off += 8
				continue
			}
			var in x86.Inst
			n := 1
			text := "?"
			if x86.Decode(x86.Mode64, code[off:], &in) == nil {
				n, text = int(in.Len), in.String()
			}
			if n > 1 || in.Op != x86.INT3 && in.Op != x86.NOP {
				fmt.Fprintf(&b, "%#x  %-30x  %s\n", base+uint64(off), code[off:off+n], text)
			}
			off += n
		}
	}
	list(codeBase, p.Code, p.words)
	for i := range p.swap {
		fmt.Fprintf(&b, "version %d:\n", i)
		list(swapBase, p.swap[i], nil)
	}
	return b.String()
}
