package interp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"dfemu/cpu/x86"
)

// integerValues are edges that operands are more often than chance would have it.
var integerValues = []uint64{0, 0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000,
	0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1<<63 - 1, 1 << 63, ^uint64(0), ^uint64(0) - 1,
	0xffffff80, 0xffff8000, ^uint64(0x7f), ^uint64(0x7fff), ^uint64(0x7fffffff)}

func randomInteger(r *rand.Rand) uint64 {
	switch r.IntN(4) {
	case 0:
		return integerValues[r.IntN(len(integerValues))]
	case 1:
		return r.Uint64() >> r.IntN(64)
	}
	return r.Uint64()
}

// nativeInteger are the instructions that can be tried on the host with no danger to the Go runtime.
func nativeInteger(op x86.Op) bool {
	switch op {
	case x86.PUSH, x86.POP, x86.ENTER, x86.LEAVE, x86.CLD, x86.STD, x86.RDRAND, x86.RDSEED, x86.PAUSE,
		x86.LEA, x86.NOP, x86.INS, x86.OUTS, x86.UD0, x86.UD1, x86.UD2:
		return false
	}
	return true
}

// TestIntegerNative executes every form of every general-purpose instruction that
// only computes with random operands both here and on the host's processor.
func TestIntegerNative(t *testing.T) {
	n := newNative(t)
	host, err := syscall.Mmap(-1, 0, 2*pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(host) }()
	rig := newSysrig(t, 1)
	rig.enter(true, selWide3, selData3)
	guest := rig.mem[rigData : rigData+2*pageSize]
	trials := 60
	if testing.Short() {
		trials = 20
	}
	silicon := map[x86.Op]uint64{} // undefined flags that differ
	encs := x86.Encodings()
	tested := 0
	for i := range encs {
		e := &encs[i]
		if e.Attr&x86.Not64 != 0 || !nativeInteger(e.Op) || !n.has(e.Feat) || e.Exc != x86.ExcNone && e.Exc != x86.ExcGPR {
			continue
		}
		if e.Args[0] == x86.Ob || e.Args[0] == x86.Ov || e.Args[1] == x86.Ob || e.Args[1] == x86.Ov {
			continue // an absolute address
		}
		r := rand.New(rand.NewPCG(uint64(i), 2))
		for trial := range trials {
			ch := randomIntegerChoice(r, e, trial%2 == 0)
			code, err := x86.Encode(e, ch)
			if errors.Is(err, x86.ErrChoice) {
				continue
			}
			if err != nil {
				t.Fatalf("%v: %v", e.Op, err)
			}
			var in x86.Inst
			if err := x86.Decode(x86.Mode64, code, &in); err != nil {
				t.Fatalf("%v % x: %v", e.Op, code, err)
			}
			var o Op
			o.size = in.OpSize
			done, _ := compileInteger(rig.c, &in, &o)
			if str, _ := compileString(rig.c, &in, &o); !done && !str {
				break
			}
			tested++
			st := rig.state()
			st.RIP = rigCode
			for j := range st.GPR {
				switch j {
				case x86.RSP, x86.RBP, x86.R14:
				default:
					st.GPR[j] = randomInteger(r)
				}
			}
			st.RFLAGS = x86.Flag1 | r.Uint64()&x86.ArithFlags
			down := false
			switch in.Op {
			case x86.DIV, x86.IDIV:
				if r.IntN(2) == 0 {
					st.GPR[x86.RDX] = uint64(int64(r.IntN(3)) - 1)
				}
			case x86.MOVS, x86.STOS, x86.LODS, x86.CMPS, x86.SCAS:
				st.GPR[x86.RCX] = uint64(r.IntN(100))
				if in.AddrSize != 8 {
					continue // host addresses have more bits
				}
				down = r.IntN(2) == 0
			case x86.BT, x86.BTS, x86.BTR, x86.BTC:
				if isMem(&in, 0) && in.Args[1].Kind == x86.KindReg {
					st.GPR[in.Args[1].Reg] = uint64(r.IntN(4000) - 2000)
				}
			}
			if in.AddrSize != 8 && isMemInst(&in) {
				continue
			}
			for j := range host {
				host[j] = vecValues[r.IntN(len(vecValues))]
				if r.IntN(3) == 0 {
					host[j] = byte(r.Uint32())
				}
			}
			if in.Op == x86.CMPS { // so that it goes on for a while
				copy(host[pageSize:], host[:pageSize])
			}
			if in.Op == x86.SCAS || in.Op == x86.CMPS && r.IntN(2) == 0 {
				for j := range host {
					host[j] = byte(st.GPR[x86.RAX])
				}
				host[r.IntN(len(host))]++
			}
			copy(guest, host)
			// Sources and destinations near the boundary of the pages, aligned or not.
			si := uint64(pageSize - 1000 + r.IntN(2000))
			di := si
			if r.IntN(3) > 0 {
				di += uint64(r.IntN(64) - 32)
			}
			if in.Op == x86.CMPXCHG16B && r.IntN(8) > 0 {
				si &^= 15
			} else if in.Op == x86.CMPXCHG16B {
				continue
			}
			n.s.gpr, n.s.flags = st.GPR, st.RFLAGS
			st.GPR[x86.RSI], n.s.gpr[x86.RSI] = rigData+si, addressOf(host)+si
			st.GPR[x86.RDI], n.s.gpr[x86.RDI] = rigData+di, addressOf(host)+di
			if in.Op == x86.XLAT {
				st.GPR[x86.RBX], n.s.gpr[x86.RBX] = rigData+si, addressOf(host)+si
			}
			run := code
			if down {
				st.RFLAGS |= x86.DF
				run = append(append([]byte{0xfd}, code...), 0xfc)
			}
			rig.set(&st)
			if r.IntN(2) == 0 {
				rig.c.pending.And(pendSlow) // nothing interrupts a repetition
			}
			vec, ec := rig.exec(code...)
			for vec < 0 && rig.c.rip == rigCode {
				vec, ec = rig.exec(code...)
			}
			if vec == x86.VecDE {
				continue
			}
			if vec >= 0 {
				t.Fatalf("%v (% x): exception %d, %#x", &in, code, vec, ec)
			}
			n.run(false, run...)
			got := rig.state()
			fail := func(what string, got, want uint64) {
				t.Errorf("%v (% x): %s is %#x, on the processor %#x\nbefore: %x flags %#x", &in, code, what, got, want, st.GPR, st.RFLAGS)
			}
			for j := range got.GPR {
				switch j {
				case x86.RSP, x86.RBP, x86.R14:
					continue
				}
				want := n.s.gpr[j]
				if j == x86.RSI || j == x86.RDI || in.Op == x86.XLAT && j == x86.RBX {
					if want-addressOf(host) < uint64(len(host)) {
						want += rigData - addressOf(host)
					}
				}
				if got.GPR[j] != want {
					fail([]string{"RAX", "RCX", "RDX", "RBX", "", "", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "", "R15"}[j], got.GPR[j], want)
				}
			}
			f := in.Enc.Flags()
			diff := (got.RFLAGS ^ n.s.flags) & x86.ArithFlags
			undefined := uint64(f.Undefined)
			if n, ok := shiftCount(&in, &st); ok {
				switch {
				case n == 0:
					undefined = 0
				case n == 1:
					undefined &^= x86.OF
				case (in.Op == x86.SHLD || in.Op == x86.SHRD) && n > 8*uint64(in.OpSize):
					continue
				case in.Op == x86.SHL || in.Op == x86.SHR:
					if n > 8*uint64(in.OpSize) {
						undefined |= x86.CF
					}
				}
			}
			if bad := diff &^ undefined; bad != 0 {
				fail("flags", got.RFLAGS, n.s.flags)
			} else {
				silicon[in.Op] |= diff
			}
			if !bytes.Equal(guest, host) {
				for j := range host {
					if guest[j] != host[j] {
						t.Errorf("%v (% x): byte %#x of memory is %#x, on the processor %#x\nbefore: %x", &in, code, j, guest[j], host[j], st.GPR)
						break
					}
				}
			}
			if t.Failed() {
				return
			}
		}
	}
	if tested < 3000 && !testing.Short() {
		t.Errorf("only %d instructions were tried", tested)
	}
	for op, f := range silicon {
		if f != 0 {
			t.Logf("%v: undefined flags differ: %#x", op, f)
		}
	}
}

// shiftCount is the masked count of a shift or rotate.
func shiftCount(in *x86.Inst, s *x86.State) (uint64, bool) {
	switch in.Op {
	case x86.ROL, x86.ROR, x86.RCL, x86.RCR, x86.SHL, x86.SHR, x86.SAR, x86.SHLD, x86.SHRD:
	default:
		return 0, false
	}
	a := &in.Args[in.NArgs-1]
	n := uint64(a.Imm)
	if a.Kind == x86.KindReg {
		n = s.GPR[x86.RCX]
	}
	return n & shiftMask(in.OpSize), true
}

func isMemInst(in *x86.Inst) bool { return hasMem(in) }

// randomIntegerChoice chooses an encoding of e; mem asks for a memory operand where there is a choice.
func randomIntegerChoice(r *rand.Rand, e *x86.Enc, mem bool) x86.Choice {
	ch := x86.Choice{Mode: x86.Mode64, AddrSize: 8, VecLen: 16}
	if s := e.OpSizes(x86.Mode64); len(s) > 0 {
		ch.OpSize = s[r.IntN(len(s))]
	}
	gprs := []uint16{x86.RAX, x86.RCX, x86.RDX, x86.RBX, x86.R8, x86.R9, x86.R10, x86.R11, x86.R12, x86.R13, x86.R15}
	ch.Mem = x86.Mem{Seg: x86.DS, Base: x86.RSI, Index: x86.NoReg, Disp: int64(r.IntN(8)-4) * 16}
	ch.Lock = e.Attr&x86.Lockable != 0 && mem && r.IntN(2) == 0
	if e.Attr&(x86.Rep|x86.RepZ) != 0 {
		switch r.IntN(3) {
		case 0:
			ch.Rep = true
		case 1:
			ch.Repne = true
		}
	}
	for k, s := range e.Args {
		if s == x86.NoArg {
			break
		}
		info := s.Info()
		a := &ch.Args[k]
		a.Kind = info.Kind
		switch {
		case info.Kind == x86.KindNone, info.Mem && (mem && e.ModRM&x86.RegOnly == 0 || e.ModRM&x86.MemOnly != 0):
			a.Kind = x86.KindMem
		case info.Kind == x86.KindReg:
			a.Reg = gprs[r.IntN(len(gprs))]
			if ch.OpSize == 1 && r.IntN(4) == 0 {
				a.Reg, a.High = uint16(r.IntN(4)), true
			}
		case info.Kind == x86.KindImm:
			a.Imm = int64(int8(r.Uint32()))
			if info.RegSize == 1 && s != x86.Is {
				a.Imm &= 0xff
			}
			if r.IntN(2) == 0 {
				a.Imm &= 0x1f
			} else if s == x86.Iz || s == x86.Iv {
				a.Imm = int64(int32(randomInteger(r)))
				switch ch.OpSize {
				case 1:
					a.Imm = int64(int8(a.Imm))
				case 2:
					a.Imm = int64(int16(a.Imm))
				}
			}
		}
	}
	return ch
}
