package x86

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

var allModes = []Mode{Mode16, Mode32, Mode64}

func pick[T any](r *rand.Rand, s []T) T { return s[r.IntN(len(s))] }

// randomMem returns a memory operand that mode and address size allow.
func randomMem(r *rand.Rand, mode Mode, asize uint8, vsib bool) Mem {
	m := Mem{Seg: DS, Base: NoReg, Index: NoReg}
	disp := pick(r, []int64{0, 0, 1, -1, 127, -128, 128, -129, 0x1234, -0x4321})
	if asize == 2 {
		if i := r.IntN(9); i < 8 {
			m.Base, m.Index = mem16[i][0], mem16[i][1]
		}
	} else {
		regs := 8
		if mode == Mode64 {
			regs = 16
		}
		if r.IntN(2) == 0 {
			disp = pick(r, []int64{0x12345678, -0x12345678, 0x7fffffff, -0x80000000})
		}
		switch {
		case mode == Mode64 && !vsib && r.IntN(6) == 0:
			m.Base = RIPBase
		case r.IntN(5) > 0:
			m.Base = uint8(r.IntN(regs))
		}
		if m.Base != RIPBase && (vsib || r.IntN(2) == 0) {
			m.Index = uint8(r.IntN(regs))
			m.Scale = uint8(r.IntN(4))
			if m.Index == RSP && !vsib {
				m.Index, m.Scale = NoReg, 0
			}
		}
		m.VSIB = vsib
	}
	m.Disp = disp
	if m.Base == RSP || m.Base == RBP {
		m.Seg = SS
	}
	if r.IntN(4) == 0 {
		if m.Seg = FS + uint8(r.IntN(2)); mode != Mode64 {
			m.Seg = uint8(r.IntN(6))
		}
	}
	return m
}

// randomImm returns a value for an immediate of n bytes.
func randomImm(r *rand.Rand, n uint8, signed bool) int64 {
	v := r.Uint64()
	if n < 8 {
		v &= 1<<(8*n) - 1
	}
	if signed {
		s := 64 - 8*n
		return int64(v) << s >> s
	}
	return int64(v)
}

// randomChoice returns a choice for row e in mode. It may be one that cannot
// be encoded, for the reasons that encodable lists.
func randomChoice(r *rand.Rand, e *Enc, mode Mode) Choice {
	c := Choice{Mode: mode, OpSize: pick(r, e.OpSizes(mode)), AddrSize: addrSize(mode, r.IntN(4) == 0)}
	for a, s := range map[Attr32]uint8{OnlyAS16: 2, OnlyAS32: 4, OnlyAS64: 8} {
		if e.Attr&a != 0 {
			c.AddrSize = s
		}
	}
	if e.Attr&Gather != 0 && c.AddrSize == 2 {
		c.AddrSize = 4
	}
	if l := pick(r, e.VecLens()); l >= 16 {
		c.VecLen = l
	}
	c.VEX3 = r.IntN(2) == 0
	c.L = r.IntN(2) == 0
	c.W = e.Map.IsVEX() && r.IntN(2) == 0
	c.REX = mode == Mode64 && !e.Map.IsVEX() && r.IntN(4) == 0
	c.DispSize = pick(r, []uint8{0, 1, 4})
	c.Spare = uint8(r.IntN(8))
	if e.Op == NOP { // with other values of ModRM.reg, some are prefetches
		c.Spare = 7
	}
	if e.Attr&(Rep|RepZ) != 0 {
		c.Rep = r.IntN(3) == 0
		c.Repne = !c.Rep && r.IntN(2) == 0
	}
	c.Mem = Mem{Base: NoReg, Index: NoReg}
	for i, s := range e.Args {
		f := s.Info()
		a := Arg{Kind: f.Kind, Size: f.RegSize.Bytes(c.OpSize, c.VecLen, mode)}
		if s == NoArg {
			break
		}
		if f.Mem && (f.Kind == KindNone || r.IntN(2) == 0 && e.ModRM&RegOnly == 0) || e.ModRM&MemOnly != 0 && f.Where == InRM {
			c.Args[i].Kind = KindMem
			switch {
			case f.Where == InRM:
				c.Mem = randomMem(r, mode, c.AddrSize, e.Attr&Gather != 0)
				c.Lock = e.Attr&Lockable != 0 && i == 0 && r.IntN(2) == 0
			case f.Where == InImm:
				c.Mem.Seg = DS
				c.Mem.Disp = randomImm(r, c.AddrSize, false)
			default:
				c.Mem = Mem{Seg: DS, Base: f.Fixed, Index: NoReg}
				if s == Yv {
					c.Mem.Seg = ES
				} else if r.IntN(3) == 0 {
					c.Mem.Seg = FS
				}
			}
			continue
		}
		regs := 8
		if mode == Mode64 {
			regs = 16
		}
		switch f.Kind {
		case KindImm, KindRel:
			a.Imm = randomImm(r, a.Size, s != Ib && s != Iw)
		case KindFar:
			a.Imm = randomImm(r, a.Size-2, false)
			a.Reg = uint16(r.Uint32())
		case KindSeg:
			a.Reg = pick(r, []uint16{ES, SS, DS, FS, GS})
		case KindCR:
			a.Reg = pick(r, []uint16{0, 2, 3, 4})
		case KindMMX, KindX87, KindDR:
			a.Reg = uint16(r.IntN(8))
		case KindReg, KindVec:
			a.Reg = uint16(r.IntN(regs))
			if a.Kind == KindReg && a.Size == 1 {
				if a.High = r.IntN(4) == 0; a.High || mode != Mode64 {
					a.Reg &= 3
				}
			}
		}
		if f.Where == InNothing {
			a.High = false
			if a.Reg = uint16(f.Fixed); f.Kind == KindImm {
				a.Reg, a.Imm = 0, int64(f.Fixed)
			}
		}
		c.Args[i] = a
	}
	return c
}

// encodable reports whether a random choice is one that the row can encode.
func encodable(e *Enc, c Choice) bool {
	high, rex := false, c.REX || c.OpSize == 8 && c.Mode == Mode64
	for _, a := range c.Args {
		high = high || a.High
		rex = rex || a.Kind == KindReg && !a.High && (a.Reg > 7 || a.Size == 1 && a.Reg > 3)
		if a.Kind == KindMem {
			rex = rex || c.Mem.Base > 7 && c.Mem.Base < 16 || c.Mem.Index > 7 && c.Mem.Index < 16
		}
	}
	if high && rex || e.Op == XCHG && e.Code == 0x90 && c.Args[0].Reg == RAX {
		return false // no REX with AH; 90 is NOP
	}
	if e.Attr&Gather != 0 {
		d, x, m := c.Args[0].Reg, uint16(c.Mem.Index), c.Args[2].Reg
		return d != x && d != m && m != x
	}
	return true
}

// eachChoice calls f with n encodable random choices for every row and mode.
func eachChoice(n int, f func(e *Enc, c Choice, code []byte, err error)) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, e := range Encodings() {
		for _, mode := range allModes {
			if !e.ValidIn(mode) || len(e.OpSizes(mode)) == 0 {
				continue
			}
			for range n {
				c := randomChoice(r, &e, mode)
				code, err := Encode(&e, c)
				if err != nil && !encodable(&e, c) {
					continue
				}
				f(&e, c, code, err)
			}
		}
	}
}

func TestEncodeDecode(t *testing.T) {
	count := 0
	eachChoice(25, func(e *Enc, c Choice, code []byte, err error) {
		count++
		if err != nil {
			t.Errorf("%v %+v: %v", e.Op, c, err)
			return
		}
		var in Inst
		if err := Decode(c.Mode, code, &in); err != nil {
			t.Fatalf("%v % x: %v", e.Op, code, err)
		}
		hasMem := false
		for i, want := range c.Args {
			got := in.Args[i]
			if want.Kind == KindMem {
				hasMem = true
				if got.Kind != KindMem {
					t.Errorf("%v % x: operand %d is %+v, want memory", e.Op, code, i, got)
				}
				continue
			}
			if c.VecLen == 0 && in.VecLen != 0 && want.Size != got.Size {
				want.Size = got.Size // legacy: the vector length is implied
			}
			if got != want {
				t.Errorf("%v % x: operand %d is %+v, want %+v", e.Op, code, i, got, want)
			}
		}
		if hasMem && in.Mem != c.Mem {
			t.Errorf("%v % x: memory is %+v, want %+v", e.Op, code, in.Mem, c.Mem)
		}
		if *in.Enc != *e || in.Op != e.Op || int(in.Len) != len(code) || in.OpSize != c.OpSize || in.AddrSize != c.AddrSize ||
			in.Lock != c.Lock || in.Rep != c.Rep || in.Repne != c.Repne || in.VEX != e.Map.IsVEX() || c.VecLen != 0 && in.VecLen != c.VecLen {
			t.Errorf("% x: %+v for %+v", code, in, c)
		}
		// Every part of it is too short.
		for n := range code {
			if err := Decode(c.Mode, code[:n], &in); err != ErrTruncated {
				t.Errorf("%v % x cut to %d bytes: %v", e.Op, code, n, err)
			}
		}
	})
	if count < 100000 {
		t.Errorf("only %d instructions were encoded", count)
	}
}

func TestEncodeErrors(t *testing.T) {
	row := func(op Op) *Enc {
		all := Encodings()
		return &all[slices.IndexFunc(all, func(e Enc) bool { return e.Op == op })]
	}
	ax, mem := Arg{Kind: KindReg}, Arg{Kind: KindMem}
	for _, tt := range []struct {
		name string
		op   Op
		c    Choice
	}{
		{"operand size", MOVZX, Choice{Mode: Mode32, OpSize: 8}},
		{"address size", INVLPG, Choice{Mode: Mode64, AddrSize: 2, Args: [4]Arg{mem}}},
		{"not in 64-bit mode", DAA, Choice{Mode: Mode64}},
		{"only in 64-bit mode", SWAPGS, Choice{Mode: Mode32}},
		{"register", INC, Choice{Mode: Mode32, Args: [4]Arg{{Kind: KindReg, Reg: 8}}}},
		{"high byte with REX", ADD, Choice{Mode: Mode64, Args: [4]Arg{{Kind: KindReg, High: true}, {Kind: KindReg, Reg: 9}}}},
		{"LOCK with a register", ADD, Choice{Mode: Mode64, Lock: true, Args: [4]Arg{ax, ax}}},
		{"LOCK on MOV", MOV, Choice{Mode: Mode64, Lock: true, Args: [4]Arg{mem, ax}, Mem: Mem{Seg: DS, Index: NoReg}}},
		{"REP", ADD, Choice{Mode: Mode64, Rep: true, Args: [4]Arg{ax, ax}}},
		{"index RSP", LEA, Choice{Mode: Mode64, Args: [4]Arg{ax, mem}, Mem: Mem{Seg: DS, Index: RSP}}},
		{"16-bit base", LEA, Choice{Mode: Mode16, Args: [4]Arg{ax, mem}, Mem: Mem{Seg: DS, Base: RAX, Index: NoReg}}},
		{"segment in 64-bit mode", LEA, Choice{Mode: Mode64, Args: [4]Arg{ax, mem}, Mem: Mem{Seg: ES, Index: NoReg}}},
		{"immediate", INT, Choice{Mode: Mode64, Args: [4]Arg{{Kind: KindImm, Imm: 256}}}},
		{"vector length", VPHMINPOSUW, Choice{Mode: Mode64, VecLen: 32}},
		{"gather with the same register", VPGATHERDD, Choice{Mode: Mode64, Args: [4]Arg{{}, mem, {}}, Mem: Mem{Seg: DS, VSIB: true}}},
	} {
		if code, err := Encode(row(tt.op), tt.c); !errors.Is(err, ErrChoice) {
			t.Errorf("%s: % x, %v; want ErrChoice", tt.name, code, err)
		}
	}
}
