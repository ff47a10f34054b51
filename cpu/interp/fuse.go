package interp

import "dfemu/cpu/x86"

// A comparison and the conditional jump after it are executed by one handler
// where both are of the commonest forms. The handler is that of the
// comparison followed by the jump: it can fault only in the comparison, as which it
// then counts, and sets the flags as ever.

// Forms of a comparison that may be fused, in Op.fuse: the form and the size.
const (
	fuseNone = iota
	fuseRR   // register, register
	fuseRI   // register, immediate
	fuseRM   // register, memory
	fuseMR   // memory, register
	fuseMI   // memory, immediate

	fuseTest = 8  // TEST; otherwise CMP
	fuseSize = 16 // times log2 of the size
)

// setFuse notes that o, a comparison of some form, may be fused.
func (o *Op) setFuse(form uint8) {
	switch o.aux {
	case aluCmp:
	case aluTest:
		form |= fuseTest
	default:
		return
	}
	o.fuse = form | uint8(log2(o.size))*fuseSize
}

// fuseWith makes prev, the op before o, do what o does too, if o is a
// conditional jump for which there is such a handler.
func (o *Op) fuseWith(prev *Op, op x86.Op) bool {
	if prev.fuse == fuseNone || op < x86.JO || op > x86.JG || o.fuse != fuseJump {
		return false
	}
	fn := fuseTable[prev.fuse&(4*fuseSize-1)][op-x86.JO]
	if fn == nil {
		return false
	}
	prev.fn = fn
	prev.next = o.next
	prev.jump = o.imm
	prev.fuse = fuseNone
	prev.width = 2
	return true
}

// fuseJump in Op.fuse marks a conditional jump whose target needs no check.
const fuseJump = 0xff

// jumpIf takes the branch of a fused op if the condition holds.
func (c *CPU) jumpIf(o *Op, cond bool) status {
	if cond {
		c.rip = (c.r[regRIP] + o.jump) & c.ipMask
		return stTaken
	}
	return stNext
}
