package interp

import (
	"testing"

	"dfemu/cpu/x86"
)

// TestPageFaultCodes checks which accesses fault, and with which error code, by
// the rights of the page and the modes of protection (Intel SDM vol. 3, 4.6, 4.7).
func TestPageFaultCodes(t *testing.T) {
	const (
		p, w, u, rsv = uint64(pteP), uint64(pteW), uint64(pteU), uint64(1) << 51
		nx           = uint64(pteNX)
		none         = -1
	)
	for _, tt := range []struct {
		name string
		user bool
		acc  access
		pte  uint64
		cr0  uint64
		cr4  uint64
		ac   bool
		want int // error code
	}{
		{"read", false, accRead, p, 0, 0, false, none},
		{"not present", false, accRead, 0, 0, 0, false, 0},
		{"not present, write", true, accWrite, 0, 0, 0, false, x86.PFW | x86.PFU},
		{"user reads supervisor page", true, accRead, p | w, 0, 0, false, x86.PFP | x86.PFU},
		{"user writes read-only page", true, accWrite, p | u, 0, 0, false, x86.PFP | x86.PFU | x86.PFW},
		{"supervisor writes read-only page", false, accWrite, p, 0, 0, false, none},
		{"supervisor writes read-only page, WP", false, accWrite, p, x86.CR0_WP, 0, false, x86.PFP | x86.PFW},
		{"reserved bit", false, accRead, p | rsv, 0, 0, false, x86.PFP | x86.PFR},
		{"NX, read", true, accRead, p | u | nx, 0, 0, false, none},
		{"NX, fetch", true, accFetch, p | u | nx, 0, 0, false, x86.PFP | x86.PFU | x86.PFI},
		{"NX, supervisor fetch", false, accFetch, p | nx, 0, 0, false, x86.PFP | x86.PFI},
		{"supervisor fetches user page", false, accFetch, p | u, 0, 0, false, none},
		{"SMEP", false, accFetch, p | u, 0, x86.CR4_SMEP, false, x86.PFP | x86.PFI},
		{"SMAP, read", false, accRead, p | u, 0, x86.CR4_SMAP, false, x86.PFP},
		{"SMAP, write", false, accWrite, p | u | w, 0, x86.CR4_SMAP, false, x86.PFP | x86.PFW},
		{"SMAP, AC", false, accRead, p | u, 0, x86.CR4_SMAP, true, none},
		{"SMAP, user", true, accRead, p | u, 0, x86.CR4_SMAP, false, none},
	} {
		r := newSysrig(t, 1)
		cs, ss := uint16(selWide0), uint16(selData0)
		if tt.user {
			cs, ss = selWide3, selData3
		}
		r.enter(true, cs, ss)
		c := r.c
		r.pte(rigData, rigData|tt.pte)
		c.s.CR0 |= tt.cr0
		c.s.CR4 |= tt.cr4
		if tt.ac {
			c.flags |= x86.AC
		}
		c.modeChanged()
		_, _, ok := c.translate(nil, rigData+5, tt.acc, c.ctx)
		switch {
		case ok != (tt.want == none):
			t.Errorf("%s: ok is %v", tt.name, ok)
		case !ok && (c.exc.vec != x86.VecPF || c.exc.code != uint32(tt.want) || c.s.CR2 != rigData+5):
			t.Errorf("%s: vector %d, error code %#x, CR2 %#x; want %#x", tt.name, c.exc.vec, c.exc.code, c.s.CR2, tt.want)
		case ok:
			e := r.get64(rigPML4 + 0x3000 + rigData>>12*8)
			if e&pteA == 0 || (e&pteD != 0) != (tt.acc == accWrite) {
				t.Errorf("%s: entry %#x afterwards", tt.name, e)
			}
		}
	}
}

// TestSystemAccessSMAP checks that AC does not suspend SMAP for accesses to system
// structures, and that those are supervisor accesses at CPL 3.
func TestSystemAccessSMAP(t *testing.T) {
	r := newSysrig(t, 1)
	r.enter(true, selWide0, selData0)
	c := r.c
	c.s.CR4 |= x86.CR4_SMAP
	c.flags |= x86.AC
	c.modeChanged()
	if _, ok := c.readSys(rigData, 8); ok {
		t.Error("a system structure was read from a user page")
	}
	r.enter(true, selWide3, selData3)
	r.pte(rigGDT, rigGDT|pteP)
	c.r[x86.RAX] = selData3
	if vec, code := r.exec(0x8e, 0xd8); vec != -1 {
		t.Errorf("MOV DS: exception %d %#x with the GDT in a supervisor page", vec, code)
	}
}

func TestPagingModes(t *testing.T) {
	const flags = pteP | pteW | pteU
	for _, tt := range []struct {
		name    string
		cr4     uint64
		efer    uint64
		va      uint64
		phys    uint64
		prepare func(r *sysrig)
	}{
		{"32-bit, 4 KiB", 0, 0, 0xc0123456, 0x23456, func(r *sysrig) {
			r.put32(rigPML4+0xc01, 0)
			r.put32(rigPML4+0xc00, rigPML4+0x1000|flags)
			r.put32(rigPML4+0x1000+0x123*4, 0x23000|flags)
		}},
		{"32-bit, 4 MiB", x86.CR4_PSE, 0, 0xc0123456, 0x123456, func(r *sysrig) {
			r.put32(rigPML4+0xc00, flags|ptePS)
		}},
		{"32-bit, PSE-36", x86.CR4_PSE, 0, 0xc0123456, 0x5_0012_3456, func(r *sysrig) {
			r.put32(rigPML4+0xc00, 5<<13|flags|ptePS)
		}},
		{"PAE, 4 KiB", x86.CR4_PAE, 0, 0xc0123456, 0x23456, func(r *sysrig) {
			r.put64(rigPML4+24, rigPML4+0x1000|pteP)
			r.put64(rigPML4+0x1000, rigPML4+0x2000|flags)
			r.put64(rigPML4+0x2000+0x123*8, 0x23000|flags)
		}},
		{"PAE, 2 MiB", x86.CR4_PAE, 0, 0xc0123456, 0x323456, func(r *sysrig) {
			r.put64(rigPML4+24, rigPML4+0x1000|pteP)
			r.put64(rigPML4+0x1000, 0x200000|flags|ptePS)
		}},
		{"4 levels, 1 GiB", x86.CR4_PAE, x86.EFER_LME | x86.EFER_LMA, 0xffff888000123456, 0x4012_3456, func(r *sysrig) {
			r.put64(rigPML4+0x111*8, rigPML4+0x1000|flags)
			r.put64(rigPML4+0x1000, 0x40000000|flags|ptePS)
		}},
		{"4 levels, 2 MiB", x86.CR4_PAE, x86.EFER_LME | x86.EFER_LMA, 0x7fffffe00007, 0x200007, func(r *sysrig) {
			r.put64(rigPML4+0xff*8, rigPML4+0x1000|flags)
			r.put64(rigPML4+0x1000+0x1ff*8, rigPML4+0x2000|flags)
			r.put64(rigPML4+0x2000+0x1ff*8, 0x200000|flags|ptePS)
		}},
		{"5 levels", x86.CR4_PAE | x86.CR4_LA57, x86.EFER_LME | x86.EFER_LMA, 0xff11000000005678, 0x23678, func(r *sysrig) {
			r.put64(rigPML4+0x111*8, rigPML4+0x1000|flags)
			r.put64(rigPML4+0x1000, rigPML4+0x2000|flags)
			r.put64(rigPML4+0x2000, rigPML4+0x3000|flags)
			r.put64(rigPML4+0x3000, rigPML4+0x4000|flags)
			r.put64(rigPML4+0x4000+5*8, 0x23000|flags)
		}},
	} {
		r := newSysrig(t, 1)
		r.enter(false, selCode0, selData0)
		tt.prepare(r)
		c := r.c
		c.s.CR3, c.s.CR4, c.s.MSR.EFER = rigPML4, tt.cr4, tt.efer
		c.s.CR0 |= x86.CR0_PG
		c.modeChanged()
		c.flushTLB()
		phys, _, ok := c.translate(nil, tt.va, accWrite, c.ctx)
		if !ok || phys != tt.phys {
			t.Errorf("%s: %#x translates to %#x (exception %d %#x), want %#x", tt.name, tt.va, phys, c.exc.vec, c.exc.code, tt.phys)
		}
		if _, _, ok := c.translate(nil, tt.va^1<<30, accRead, c.ctx); ok {
			t.Errorf("%s: %#x is mapped", tt.name, tt.va^1<<30)
		}
	}
	// PDPTEs are checked when CR3 is loaded.
	r := newSysrig(t, 1)
	r.enter(false, selCode0, selData0)
	c := r.c
	c.s.CR4 = x86.CR4_PAE
	r.put64(rigPML4, 0x20000|pteP|pteW)
	c.s.CR3 = rigPML4
	c.r[x86.RAX] = x86.CR0_PE | x86.CR0_PG
	if vec, _ := r.exec(0x0f, 0x22, 0xc0); vec != 13 {
		t.Errorf("MOV CR0 with reserved bits in a PDPTE: exception %d", vec)
	}
}
