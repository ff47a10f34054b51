package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// FuzzSystem executes arbitrary code with arbitrary descriptor tables, task states and page tables in all
// modes: nothing that a guest does may panic, and state must stay consistent.
func FuzzSystem(f *testing.F) {
	f.Add(uint8(0), uint64(0), []byte{0x0f, 0x05}, []byte{})
	f.Add(uint8(1), uint64(3), farPtr(0x9a, selGate, 0), []byte{1, 2, 3})
	f.Add(uint8(2), uint64(selTSS2), farPtr(0xea, selTSS2, 0), []byte{})
	f.Add(uint8(3), uint64(7), []byte{0x0f, 0x22, 0xc0, 0x0f, 0x22, 0xe0, 0x0f, 0x30}, []byte{0xff})
	f.Add(uint8(4), uint64(7), []byte{0x48, 0x0f, 0xae, 0x2b, 0x48, 0xcf, 0xcd, 0x80}, []byte{0x80})
	f.Add(uint8(5), uint64(rigData), []byte{0xcd, 0x21, 0x9c, 0x9d, 0xcf, 0xfb, 0xfa}, []byte{0x11})
	f.Add(uint8(6), uint64(rigGDT), []byte{0x66, 0xdd, 0x37, 0xca, 8, 0, 0x17, 0x0f, 0x00, 0xd8}, []byte{0x11})
	r := newSysrig(f, 1)
	r.acc.cfg.Logf = nil
	f.Fuzz(func(t *testing.T, mode uint8, v uint64, code, tables []byte) {
		r.t = t
		clear(r.mem)
		switch mode % 7 {
		case 0:
			r.enter(true, selWide3, selData3)
		case 1:
			r.enter(true, selWide0, selData0)
		case 2:
			r.enter(false, selCode0, selData0)
		case 3:
			r.enter(false, selCode3, selData3)
		case 4:
			r.enter(true, selCode3, selData3)
		case 5:
			r.enterVM(v>>60, x86.CR4_VME)
		case 6:
			s := r.state()
			r.c.powerOn(&s)
			s.Seg[x86.CS].Base, s.RIP = rigCode, 0
			r.set(&s)
		}
		c := r.c
		for i := range 16 {
			if i != x86.RSP {
				c.r[i] = v>>(4*i) | v<<(64-4*i)
			}
		}
		for i, b := range tables {
			switch {
			case i < 0xb0:
				r.mem[rigGDT+8+i] ^= b
			case i < 0x200:
				r.mem[rigTSS+i-0xb0] ^= b
			case i < 0x400:
				r.mem[rigIDT+i-0x200] ^= b
			case i < 0x800:
				r.mem[rigPML4+0x3000+i-0x400] ^= b
			}
		}
		r.code(code[:min(len(code), 256)]...)
		for range 40 {
			if c.s.Run != x86.Running || !r.step() {
				break
			}
			if c.s.CR0&x86.CR0_PE != 0 && c.flags&x86.VM == 0 && c.cpl != uint8(c.s.Seg[x86.SS].Attr.DPL()) {
				t.Fatalf("CPL %d, SS %+v", c.cpl, c.s.Seg[x86.SS])
			}
			if c.s.CR0&x86.CR0_PG != 0 && c.s.CR0&x86.CR0_PE == 0 || c.r[regZero] != 0 || c.flags&x86.Flag1 == 0 {
				t.Fatalf("CR0 %#x, zero register %#x, flags %#x", c.s.CR0, c.r[regZero], c.flags)
			}
		}
	})
}
