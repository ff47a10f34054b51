//go:build amd64 && linux

package jit

import (
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

const allFlags = uint32(x86.ArithFlags)

// flagState is where the guest's arithmetic flags are at the present place: in the host's flags, in memory (where
// they always are between units), in both, or, while nothing but a fault would see them, nowhere: then recipe computes them.
type flagState struct {
	host, mem bool
	producer  int // the instruction that set them last, -1: none in this unit
	recipe    interp.Recipe
	before    interp.Recipe // how to find those before the present instruction
}

// liveness finds out which flags are needed after each instruction.
func (b *builder) liveness() {
	live, liveAll := allFlags, allFlags
	for i := len(b.insts) - 1; i >= 0; i-- {
		n := &b.insts[i]
		n.live, n.liveAll = live, liveAll
		f := &n.flags
		kills := (f.Written | f.Undefined) & allFlags
		if f.Cond {
			kills = 0
		}
		live = live&^kills | f.Tested&allFlags
		liveAll = liveAll&^kills | f.Tested&allFlags
		if n.class >= clJump || n.EndsBlock() && n.class != clNothing {
			live, liveAll = allFlags, allFlags
		}
		if n.observer {
			liveAll = allFlags
		}
	}
}

// saveFlags puts the flags into memory. It leaves the host's as they are.
func (b *builder) saveFlags() {
	if b.mem {
		return
	}
	b.storeFlags()
	b.mem = true
}

func (b *builder) storeFlags() {
	b.lahf()
	b.store32(field(layout.Flags), rAX)
}

// lahf puts the host's flags into rAX.
func (b *builder) lahf() {
	b.byte(0x9f)             // lahf
	b.byte(0x0f, 0x90, 0xc0) // seto al
}

// deadFlags reports whether the unit sets all flags before anything could see those at its start.
func (b *builder) deadFlags() bool {
	killed := uint32(0)
	for i := range b.insts {
		n := &b.insts[i]
		if n.observer || n.class >= clJump || n.class == clExit || n.flags.Tested&allFlags&^killed != 0 {
			return false
		}
		if killed |= b.kills(n); killed == allFlags {
			return true
		}
	}
	return false
}

// loadFlags makes the host's flags those in memory.
func (b *builder) loadFlags() {
	b.load32(rAX, field(layout.Flags))
	b.byte(0x04, 0x7f) // add al, 0x7f: overflows if al is 1
	b.byte(0x9e)       // sahf
}

// needFlags makes sure that the host's flags are the guest's.
func (b *builder) needFlags() {
	if !b.host {
		b.loadFlags()
		b.host = true
	}
}

// observe is called before the code of an instruction that may fault, which destroys the host's flags before it
// has done anything.
func (b *builder) observe(n *inst) {
	b.before = interp.Recipe{}
	switch {
	case b.mem:
	case !b.host || b.spare(n) || b.spill(n):
		b.before = b.recipe
	default:
		b.saveFlags()
	}
	b.host = false
}

// spare reports whether nothing but a fault would see the host's flags from n on, and the recipe serves that.
func (b *builder) spare(n *inst) bool {
	needed := n.live&^b.kills(n) | n.flags.Tested&allFlags
	return needed == 0 && n.class < clJump && n.class != clPushFlags && b.covered()
}

func (b *builder) kills(n *inst) uint32 {
	if n.flags.Cond {
		return 0
	}
	return (n.flags.Written | n.flags.Undefined) & allFlags
}

// covered reports whether the recipe for the flags serves every instruction from the present one on that may
// fault, until the flags are set again.
func (b *builder) covered() bool {
	if b.recipe.Kind == interp.FlagsStored {
		return false
	}
	var changed uint16
	for i := b.producer + 1; i < len(b.insts); i++ {
		n := &b.insts[i]
		if i < b.i {
			changed |= n.written
			continue
		}
		if n.observer && changed&b.operands() != 0 {
			return false
		}
		if b.kills(n) == allFlags {
			return true
		}
		if n.flags.Tested|n.flags.Written|n.flags.Undefined != 0 || n.class >= clJump || n.class == clExit {
			return false
		}
		changed |= n.written
	}
	return false
}

// operands are the registers that the recipe reads.
func (b *builder) operands() uint16 {
	return bit(b.recipe.Dst) | bit(b.recipe.Src)
}

// bit returns the bit of one of the sixteen registers, 0 for another.
func bit(g uint8) uint16 { return 1 << g }

// spill keeps those operands of the recipe apart that change while it is needed, so that it serves.
func (b *builder) spill(n *inst) bool {
	var changed uint16
	for i := b.producer + 1; i < b.i; i++ {
		changed |= b.insts[i].written
	}
	was := b.recipe
	if was.Kind == interp.FlagsStored || changed&b.operands() != 0 {
		return false
	}
	for _, apart := range [...]struct{ dst, src bool }{{true, false}, {false, true}, {true, true}} {
		if apart.dst {
			b.recipe.Dst = interp.RegDst
		}
		if apart.src && was.Src != 0xff {
			b.recipe.Src = interp.RegSrc
		}
		if b.spare(n) {
			if apart.dst && was.Dst < 16 {
				b.store64(slot(interp.RegDst), b.value(uint16(was.Dst), r14))
			}
			if apart.src && was.Src < 16 {
				b.store64(slot(interp.RegSrc), b.value(uint16(was.Src), r14))
			}
			return true
		}
		b.recipe = was
	}
	return false
}

// done notes what n has done to the flags.
func (b *builder) done(n *inst) {
	if n.class == clExit {
		b.recipe, b.producer = interp.Recipe{}, b.i
		return
	}
	if (n.flags.Written|n.flags.Undefined)&allFlags == 0 {
		return
	}
	if n.lazy {
		b.recipe, b.producer = lazyRecipe(n), b.i
		b.host, b.mem = false, false
		return
	}
	b.host, b.mem = true, false
	b.producer = b.i
	if n.result {
		b.recipe = resultRecipe(n)
		return
	}
	b.recipe = recipeOf(n)
}

// setsLazily decides whether the flags that n, an INC or DEC, sets are left to a recipe, with CF staying in memory: only a
// fault would see them.
func (b *builder) setsLazily(n *inst) bool {
	if n.Args[0].Kind != x86.KindReg || n.Args[0].High || n.live&allFlags != 0 {
		return false
	}
	was, producer := b.recipe, b.producer
	b.recipe, b.producer = lazyRecipe(n), b.i
	b.i++
	n.lazy = b.covered()
	b.i--
	b.recipe, b.producer = was, producer
	return n.lazy
}

// keepsResult decides whether n, a comparison with memory, leaves its result where a recipe finds it: it does where only a fault would see
// its flags after others are needed in their place.
func (b *builder) keepsResult(n *inst) bool {
	if n.Op != x86.CMP && n.Op != x86.TEST || scratches(n) > 0 {
		return false
	}
	recipe, producer, at := b.recipe, b.producer, b.i
	b.recipe, b.producer = resultRecipe(n), b.i
	for b.i++; b.i < len(b.insts); b.i++ {
		m := &b.insts[b.i]
		if m.observer {
			n.result = m.class != clExit && b.spare(m)
			break
		}
		if m.class >= clJump && m.class != clBranch || (m.flags.Written|m.flags.Undefined)&allFlags != 0 {
			break
		}
	}
	b.recipe, b.producer, b.i = recipe, producer, at
	return n.result
}

// resultRecipe is that of a comparison with memory that keeps its result.
func resultRecipe(n *inst) interp.Recipe {
	d, s := &n.Args[0], &n.Args[1]
	r := interp.Recipe{Kind: interp.FlagsLogic, Size: d.Size, Dst: interp.RegResult, Src: 0xff}
	switch {
	case n.Op == x86.TEST:
	case s.Kind == x86.KindImm:
		r.Kind, r.Imm = interp.FlagsSub, uint64(s.Imm)
	case s.Kind == x86.KindReg:
		r.Kind, r.Src = interp.FlagsSub, uint8(s.Reg)
	default:
		r.Kind, r.Src = interp.FlagsFrom, uint8(d.Reg)
	}
	return r
}

func lazyRecipe(n *inst) interp.Recipe {
	r := interp.Recipe{Kind: interp.FlagsInc, Size: n.Args[0].Size, Dst: uint8(n.Args[0].Reg), Src: 0xff}
	if n.Op == x86.DEC {
		r.Kind = interp.FlagsDec
	}
	return r
}

// recipeOf returns how to compute the flags that n has set, if they follow from registers.
func recipeOf(n *inst) (r interp.Recipe) {
	if n.NArgs != 2 || n.Args[0].Kind != x86.KindReg || n.Args[0].High || n.Args[1].High || n.class == clExit {
		return r
	}
	d, s := &n.Args[0], &n.Args[1]
	switch n.Op {
	case x86.ADD:
		r.Kind = interp.FlagsAdd
	case x86.SUB:
		r.Kind = interp.FlagsSub
	case x86.CMP:
		r.Kind = interp.FlagsCmp
	case x86.TEST:
		r.Kind = interp.FlagsTest
	case x86.AND, x86.OR, x86.XOR:
		r.Kind = interp.FlagsLogic
	default:
		return r
	}
	r.Size, r.Dst, r.Src = d.Size, uint8(d.Reg), 0xff
	if r.Kind == interp.FlagsLogic {
		return r
	}
	switch s.Kind {
	case x86.KindReg:
		r.Src = uint8(s.Reg)
		if r.Src == r.Dst && r.Kind != interp.FlagsCmp && r.Kind != interp.FlagsTest {
			return interp.Recipe{}
		}
	case x86.KindImm:
		r.Imm = uint64(s.Imm)
	default:
		return interp.Recipe{}
	}
	return r
}
