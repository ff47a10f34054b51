package program

import (
	"encoding/binary"
	"fmt"

	"dfemu/cpu/x86"
)

// label is a place in the code, by index.
type label int

// fixup is a place that gets the address of a label.
type fixup struct {
	at  int // offset of the four bytes
	to  label
	rel bool // the distance from the end of the field, otherwise the address itself
	add int64
}

// asm assembles instructions of the opcode table at a linear address.
type asm struct {
	base   uint64
	out    []byte
	labels []int // offset, or -1
	fixups []fixup
	rows   map[x86.Op][]*x86.Enc
	words  []int // offsets of eight bytes that are not code
	err    error
}

func newAsm(base uint64, rows map[x86.Op][]*x86.Enc) *asm { return &asm{base: base, rows: rows} }

// table returns the rows of the opcode table by mnemonic.
func table() map[x86.Op][]*x86.Enc {
	all := x86.Encodings()
	rows := map[x86.Op][]*x86.Enc{}
	for i := range all {
		if e := &all[i]; e.ValidIn(x86.Mode64) {
			rows[e.Op] = append(rows[e.Op], e)
		}
	}
	return rows
}

// Operands.

func reg(n int) x86.Arg   { return x86.Arg{Kind: x86.KindReg, Reg: uint16(n)} }
func vec(n int) x86.Arg   { return x86.Arg{Kind: x86.KindVec, Reg: uint16(n)} }
func ctl(n int) x86.Arg   { return x86.Arg{Kind: x86.KindCR, Reg: uint16(n)} }
func imm(v int64) x86.Arg { return x86.Arg{Kind: x86.KindImm, Imm: v} }

// operand is a register, an immediate or memory.
type operand struct {
	x86.Arg
	mem x86.Mem
}

func r(n int) operand   { return operand{Arg: reg(n)} }
func v(n int) operand   { return operand{Arg: vec(n)} }
func i(n int64) operand { return operand{Arg: imm(n)} }

// at is memory at base + disp; abs at a 32-bit address.
func at(base int, disp int64) operand {
	return operand{Arg: x86.Arg{Kind: x86.KindMem}, mem: x86.Mem{Seg: segOf(uint8(base)), Base: uint8(base), Index: x86.NoReg, Disp: disp}}
}

func abs(va int64) operand {
	return operand{Arg: x86.Arg{Kind: x86.KindMem}, mem: x86.Mem{Seg: x86.DS, Base: x86.NoReg, Index: x86.NoReg, Disp: va}}
}

func indexed(base, index int, scale uint8, disp int64) operand {
	o := at(base, disp)
	o.mem.Index, o.mem.Scale = uint8(index), scale
	return o
}

// segOf is the default segment of a base register.
func segOf(base uint8) uint8 {
	if base == x86.RSP || base == x86.RBP {
		return x86.SS
	}
	return x86.DS
}

// pc is the address of the next instruction.
func (a *asm) pc() uint64 { return a.base + uint64(len(a.out)) }

// fail keeps the first error.
func (a *asm) fail(format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf(format, args...)
	}
}

// op appends an instruction: its operand size in bytes (0: any), then its operands.
func (a *asm) op(op x86.Op, size uint8, args ...operand) {
	code := a.encode(op, size, args...)
	if code == nil {
		a.fail("program: %v %v cannot be encoded", op, args)
	}
	a.out = append(a.out, code...)
}

// encode returns the shortest encoding of an instruction, or nil.
func (a *asm) encode(op x86.Op, size uint8, args ...operand) (best []byte) {
	c := x86.Choice{Mode: x86.Mode64, OpSize: size, Mem: x86.Mem{Seg: x86.DS, Base: x86.NoReg, Index: x86.NoReg}}
	for i, o := range args {
		c.Args[i] = o.Arg
		if o.Kind == x86.KindMem {
			c.Mem = o.mem
		}
	}
	for _, e := range a.rows[op] {
		if !fits(e, args) {
			continue
		}
		if code, err := x86.Encode(e, c); err == nil && (best == nil || len(code) < len(best)) {
			best = code
		}
	}
	return best
}

// fits reports whether the operands are those of a row: implied registers must be the ones asked for.
func fits(e *x86.Enc, args []operand) bool {
	for i, s := range e.Args {
		if s == x86.NoArg {
			return i >= len(args)
		}
		if i >= len(args) {
			return false
		}
		f := s.Info()
		o := &args[i]
		switch s {
		case x86.AL, x86.AX, x86.Av:
			if o.Kind != x86.KindReg || o.Reg != x86.RAX {
				return false
			}
		case x86.CL:
			if o.Kind != x86.KindReg || o.Reg != x86.RCX {
				return false
			}
		case x86.DX:
			if o.Kind != x86.KindReg || o.Reg != x86.RDX {
				return false
			}
		case x86.One:
			if o.Kind != x86.KindImm || o.Imm != 1 {
				return false
			}
		default:
			if o.Kind == x86.KindMem && !f.Mem || o.Kind != x86.KindMem && f.Kind != o.Kind {
				return false
			}
		}
	}
	return true
}

// newLabel returns a label that is placed later; here places it.
func (a *asm) newLabel() label {
	a.labels = append(a.labels, -1)
	return label(len(a.labels) - 1)
}

func (a *asm) place(l label) { a.labels[l] = len(a.out) }

func (a *asm) here() label {
	l := a.newLabel()
	a.place(l)
	return l
}

// branch appends a jump, a conditional one or a call, with 32 bits of displacement.
func (a *asm) branch(op x86.Op, to label) {
	for _, e := range a.rows[op] {
		if e.Args[0] != x86.Jz {
			continue
		}
		code, err := x86.Encode(e, x86.Choice{Mode: x86.Mode64, Args: [4]x86.Arg{{Kind: x86.KindRel}}, Mem: noMem})
		if err != nil {
			continue
		}
		a.out = append(a.out, code...)
		a.fixups = append(a.fixups, fixup{at: len(a.out) - 4, to: to, rel: true})
		return
	}
	a.fail("program: %v has no form with 32 bits", op)
}

var noMem = x86.Mem{Seg: x86.DS, Base: x86.NoReg, Index: x86.NoReg}

// back appends a branch of 8 bits to a label that has been placed. It reports whether that is near enough.
func (a *asm) back(op x86.Op, to label) bool {
	for _, e := range a.rows[op] {
		if e.Args[0] != x86.Jb {
			continue
		}
		d := a.labels[to] - len(a.out) - 2
		if d < -128 {
			return false
		}
		code, err := x86.Encode(e, x86.Choice{Mode: x86.Mode64, Args: [4]x86.Arg{{Kind: x86.KindRel, Imm: int64(d)}}, Mem: noMem})
		if err == nil && len(code) == 2 {
			a.out = append(a.out, code...)
			return true
		}
	}
	return false
}

// address appends an instruction that ends with a 32-bit immediate, which becomes the address of a label.
func (a *asm) address(l label, op x86.Op, size uint8, args ...operand) {
	a.op(op, size, append(args, i(0x7fffffff))...)
	a.fixups = append(a.fixups, fixup{at: len(a.out) - 4, to: l})
}

// memory is an absolute memory operand at the address of a label plus add. The
// instruction that was appended last must end with its displacement, followed by tail bytes.
func (a *asm) memory(l label, add int64, tail int) {
	a.fixups = append(a.fixups, fixup{at: len(a.out) - tail - 4, to: l, add: add})
}

// word appends the address of a label as eight bytes.
func (a *asm) word(l label) {
	a.fixups = append(a.fixups, fixup{at: len(a.out), to: l})
	a.words = append(a.words, len(a.out))
	a.out = append(a.out, make([]byte, 8)...)
}

// bytes appends bytes.
func (a *asm) bytes(b ...byte) { a.out = append(a.out, b...) }

// finish fills in the labels and returns the code.
func (a *asm) finish() ([]byte, error) {
	for _, f := range a.fixups {
		off := a.labels[f.to]
		if off < 0 {
			a.fail("program: a label was never placed")
			break
		}
		to := uint32(a.base) + uint32(off) + uint32(f.add)
		if f.rel {
			to -= uint32(a.base) + uint32(f.at) + 4
		}
		binary.LittleEndian.PutUint32(a.out[f.at:], to)
	}
	return a.out, a.err
}
