package interp

import "dfemu/cpu/x86"

// maxRuns bounds the blocks that are translated together, pathBytes their bytes.
const (
	maxRuns   = 6
	pathBytes = 384
)

// path returns the bytes of b and those of the blocks that control goes on in behind it: where its last instruction is a jump or a call to a
// place in the same page, or returns from such a call. They must have been executed before. It stops where it would come to a block again.
func (c *CPU) path(b *block) []Run {
	page := b.phys & pageMask
	runs := []Run{{uint16(b.phys & pageOffset), b.code}}
	if b.phys2 != 0 {
		return runs
	}
	var calls []uint64 // offsets to which calls on the path return
	for total := len(b.code); len(runs) < maxRuns; {
		to := uint64(pageSize)
		in, next, ok := b.lastInst()
		if !ok {
			return runs
		}
		switch in.Ctl() {
		case x86.CtlJump:
			to = next + uint64(in.Args[0].Imm)
			if in.Args[0].Kind != x86.KindRel {
				return runs
			}
		case x86.CtlCall:
			to = next + uint64(in.Args[0].Imm)
			if in.Args[0].Kind != x86.KindRel {
				return runs
			}
			calls = append(calls, next)
		case x86.CtlRet:
			if len(calls) == 0 {
				return runs
			}
			to, calls = calls[len(calls)-1], calls[:len(calls)-1]
		}
		if to >= pageSize {
			return runs
		}
		b = c.blocks.find(page|to, b.key)
		if b == nil || b.dead || b.phys2 != 0 || b.code == nil || !c.settled(b) {
			return runs
		}
		for i := range runs {
			if runs[i].Start == uint16(to) {
				return runs
			}
		}
		if total += len(b.code); total > pathBytes {
			return runs
		}
		runs = append(runs, Run{uint16(to), b.code})
	}
	return runs
}

// lastInst decodes the last instruction of b, and returns the offset in the page of what is behind it.
func (b *block) lastInst() (in x86.Inst, next uint64, ok bool) {
	for at := int(b.last); at < len(b.code); at += int(in.Len) {
		if x86.Decode(x86.Mode(b.key&keyMode), b.code[at:], &in) != nil {
			return in, 0, false
		}
	}
	return in, b.phys&pageOffset + b.size, in.Len > 0
}
