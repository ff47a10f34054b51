package interp

import "dfemu/cpu/x86"

// maxRuns bounds the blocks that are translated together, pathBytes their bytes.
const (
	maxRuns   = 8
	pathBytes = 512
)

// exit is a way out of a block: the offset behind the instruction by which control leaves it, times two, and one if that is a branch taken.
type exit uint16

// vote notes that control left b in a way. What most executions have in common has the votes in the end (Boyer and Moore's majority vote).
func (b *block) vote(e exit) {
	switch {
	case e == b.exit:
		b.votes = min(b.votes+1, 254)
	case b.votes == 0:
		b.exit, b.votes = e, 1
	default:
		b.votes--
	}
}

// path returns the bytes of b and those of the blocks that control mostly goes on in behind it: where a conditional branch, a jump or a call leads
// in the same page, or a return from such a call. They must have been executed before. It ends where it would come to a block again.
func (c *CPU) path(b *block) []Run {
	page := b.phys & pageMask
	runs := []Run{{uint16(b.phys & pageOffset), b.code}}
	if b.phys2 != 0 {
		return runs
	}
	var calls []uint64 // offsets to which calls on the path return
	total := len(b.code)
follow:
	for len(runs) < maxRuns {
		var to uint64
		in, size, ok := b.leaving(c.acc.heat)
		next := b.phys&pageOffset + uint64(size)
		if !ok {
			break
		}
		switch in.Ctl() {
		case x86.CtlJump, x86.CtlCond, x86.CtlCall:
			if in.Args[0].Kind != x86.KindRel {
				break follow
			}
			if to = next + uint64(in.Args[0].Imm); in.Ctl() == x86.CtlCall {
				calls = append(calls, next)
			}
		case x86.CtlRet:
			if len(calls) == 0 {
				break follow
			}
			to, calls = calls[len(calls)-1], calls[:len(calls)-1]
		default:
			break follow
		}
		if to >= pageSize {
			break
		}
		n := c.blocks.find(page|to, b.key)
		if n == nil || n.dead || n.phys2 != 0 || n.code == nil || !c.settled(n) || total+len(n.code) > pathBytes {
			break
		}
		for i := range runs {
			if runs[i].Start == uint16(to) {
				break follow
			}
		}
		last := &runs[len(runs)-1]
		total -= len(last.Code) - size
		last.Code = last.Code[:size]
		runs = append(runs, Run{uint16(to), n.code})
		total += len(n.code)
		b = n
	}
	return runs
}

// leaving decodes the instruction by which control mostly leaves b, and returns the size of the block up to there.
func (b *block) leaving(heat uint8) (in x86.Inst, size int, ok bool) {
	end := len(b.code)
	if b.exit&1 != 0 && b.votes > heat/2 {
		end = int(b.exit >> 1)
	}
	for at := 0; at < end; at += int(in.Len) {
		if x86.Decode(x86.Mode(b.key&keyMode), b.code[at:], &in) != nil {
			return in, 0, false
		}
	}
	return in, end, end > 0
}
