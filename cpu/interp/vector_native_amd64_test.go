package interp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"syscall"
	"testing"

	"dfemu/cpu/x86"
)

// vecValues are bytes that vector elements are made of more often than chance would.
var vecValues = []byte{0, 0, 1, 0x7f, 0x80, 0xff, 0xff, 'a', 'b'}

func randomVecBytes(r *rand.Rand, p []byte) {
	some := r.IntN(3) > 0
	for i := range p {
		p[i] = byte(r.Uint32())
		if some && r.IntN(2) == 0 {
			p[i] = vecValues[r.IntN(len(vecValues))]
		}
	}
}

func randomQuad(r *rand.Rand) uint64 {
	var b [8]byte
	randomVecBytes(r, b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// TestVectorNative executes every form of every packed instruction with
// random operands both here and on the host's processor.
func TestVectorNative(t *testing.T) {
	n := newNative(t)
	host, err := syscall.Mmap(-1, 0, pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(host) }()
	rig := newSysrig(t, 1)
	rig.enter(true, selWide3, selData3)
	guest := rig.mem[rigData : rigData+pageSize]
	const middle = pageSize / 2
	trials := 24
	if testing.Short() {
		trials = 4
	}
	encs := x86.Encodings()
	tested := 0
	for i := range encs {
		e := &encs[i]
		if e.Exc < x86.Exc1 || e.Exc == x86.ExcGPR || e.Exc > x86.ExcMMXF || e.Attr&x86.Not64 != 0 {
			continue
		}
		switch e.Op {
		case x86.LDMXCSR, x86.VLDMXCSR, x86.STMXCSR, x86.VSTMXCSR, x86.EMMS: // the Go runtime relies on MXCSR, and run executes EMMS
			continue
		}
		if !n.has(e.Feat) {
			t.Logf("the host has no %v", e.Op)
			continue
		}
		r := rand.New(rand.NewPCG(uint64(i), 1))
		for trial := range trials {
			ch := randomVectorChoice(r, e, trial%2 == 0)
			code, err := x86.Encode(e, ch)
			if err != nil {
				t.Fatalf("%v: %v", e.Op, err)
			}
			var in x86.Inst
			if err := x86.Decode(x86.Mode64, code, &in); err != nil {
				t.Fatal(err)
			}
			if !compilePacked(&in, new(Op)) {
				break // floating point
			}
			tested++
			// The registers' and the memory's contents.
			st := rig.state()
			st.RIP = rigCode
			st.FPU = x86.FPU{CW: 0x37f}
			for j := range st.Vec {
				for k := range st.Vec[j] {
					st.Vec[j][k] = randomQuad(r)
				}
			}
			for j := range st.GPR {
				switch j {
				case x86.RSP, x86.RBP, x86.R14:
				default:
					st.GPR[j] = randomQuad(r)
				}
			}
			if in.Op == x86.PCMPESTRI || in.Op == x86.PCMPESTRM || in.Op == x86.VPCMPESTRI || in.Op == x86.VPCMPESTRM {
				if r.IntN(4) > 0 {
					st.GPR[x86.RAX], st.GPR[x86.RDX] = uint64(r.IntN(40)-20), uint64(r.IntN(40)-20)
				}
			}
			if shiftOps[in.Op&opMask] != nil && r.IntN(4) > 0 {
				for j := range st.Vec {
					st.Vec[j][0] = uint64(r.IntN(70))
				}
			}
			if in.Mem.VSIB {
				x := &st.Vec[in.Mem.Index]
				for k := range x {
					lo, hi := uint64(int64(r.IntN(200)-100)), uint64(int64(r.IntN(200)-100))
					x[k] = lo
					if e.Code == 0x90 || e.Code == 0x92 { // doubleword indices
						x[k] = lo&0xffffffff | hi<<32
					}
				}
			}
			st.RFLAGS = x86.Flag1 | r.Uint64()&x86.ArithFlags
			randomVecBytes(r, host)
			copy(guest, host)
			n.s.vec, n.s.gpr, n.s.flags = st.Vec, st.GPR, st.RFLAGS
			for j := range n.s.mm {
				v := randomQuad(r)
				if shiftOps[in.Op&opMask] != nil && r.IntN(4) > 0 {
					v = uint64(r.IntN(70))
				}
				n.s.mm[j], st.FPU.R[j].Mant = v, v
			}
			st.GPR[x86.RSI], n.s.gpr[x86.RSI] = rigData+middle, addressOf(host)+middle
			st.GPR[x86.RDI], n.s.gpr[x86.RDI] = rigData+middle, addressOf(host)+middle
			rig.set(&st)

			n.run(true, code...)
			if vec, ec := rig.exec(code...); vec >= 0 {
				t.Fatalf("%v (% x): exception %d, %#x", &in, code, vec, ec)
			}
			got := rig.state()
			fail := func(what string, got, want any) {
				t.Errorf("%v (% x): %s is %#x, on the processor %#x", &in, code, what, got, want)
			}
			for j := range got.Vec {
				if got.Vec[j] != n.s.vec[j] {
					fail("a vector register", got.Vec[j], n.s.vec[j])
				}
			}
			for j := range got.GPR {
				if j != x86.RSP && j != x86.RBP && j != x86.R14 && j != x86.RSI && j != x86.RDI && got.GPR[j] != n.s.gpr[j] {
					fail("a register", got.GPR[j], n.s.gpr[j])
				}
			}
			if f := n.s.flags & x86.ArithFlags; got.RFLAGS&x86.ArithFlags != f {
				fail("RFLAGS", got.RFLAGS&x86.ArithFlags, f)
			}
			for j := range n.s.mm {
				if got.FPU.R[j].Mant != n.s.mm[j] {
					fail("an MMX register", got.FPU.R[j].Mant, n.s.mm[j])
				}
			}
			if full := binary.LittleEndian.Uint16(n.s.env[8:]) == 0xffff; full != (got.FPU.Tag == 0) {
				fail("the x87 tag", got.FPU.Tag, n.s.env)
			}
			if !bytes.Equal(guest, host) {
				for k := range guest {
					if guest[k] != host[k] {
						fail("memory", guest[k:k+16], host[k:k+16])
						break
					}
				}
			}
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	t.Logf("%d executions compared", tested)
}

// randomVectorChoice chooses operands for row e: memory at RSI where mem asks for it and the
// row allows it.
func randomVectorChoice(r *rand.Rand, e *x86.Enc, mem bool) x86.Choice {
	ch := x86.Choice{Mode: x86.Mode64}
	if s := e.OpSizes(x86.Mode64); len(s) > 0 {
		ch.OpSize = s[r.IntN(len(s))]
	}
	v := e.VecLens()
	ch.VecLen = v[r.IntN(len(v))]
	gprs := []uint16{x86.RAX, x86.RCX, x86.RDX, x86.RBX, x86.R8, x86.R9, x86.R10, x86.R11, x86.R12, x86.R13, x86.R15}
	ch.Mem = x86.Mem{Seg: x86.DS, Base: x86.RSI, Index: x86.NoReg, Disp: int64(r.IntN(8)-4) * 32}
	vecs := r.Perm(16)
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
		case info.Kind == x86.KindMMX:
			a.Reg = uint16(r.IntN(8))
		case info.Kind == x86.KindVec:
			a.Reg = uint16(r.IntN(16))
			if e.Attr&x86.Gather != 0 {
				a.Reg = uint16(vecs[k])
			}
		case info.Kind == x86.KindImm:
			a.Imm = int64(r.Uint32() & 0xff)
			if r.IntN(2) == 0 {
				a.Imm &= 0x1f
			}
		}
	}
	if e.Attr&x86.Gather != 0 {
		ch.Mem.VSIB = true
		ch.Mem.Index = uint8(vecs[3])
		ch.Mem.Scale = uint8(r.IntN(4))
	}
	return ch
}
