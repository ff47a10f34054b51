package perf

import (
	"encoding/binary"
	"slices"
	"testing"

	"dfemu/cpu/x86"
)

func TestAnchor(t *testing.T) {
	a := testKernel(t).anchor
	if a.va != 0xffffffff82020000 || string(a.text) != testBanner {
		t.Fatalf("the banner is %q at %#x", a.text, a.va)
	}
	for _, slide := range []uint64{0, 0x200000, 0x1f200000, 0x3b000000} {
		m := memory{}
		m.put(a.va+slide, []byte(testBanner)...)
		for _, last := range []uint64{0, slide, 0x400000} {
			if got, ok := a.find(m.read, last); !ok || got != slide {
				t.Errorf("moved by %#x: found at %#x, %v", slide, got, ok)
			}
		}
	}
	m := memory{}
	m.put(a.va+0x200000, []byte("Linux version 6.1.0-other (someone@somewhere) #1 SMP")...)
	m.put(a.va+0x100000, []byte(testBanner)...) // where no kernel can be
	if got, ok := a.find(m.read, 0); ok {
		t.Errorf("found at %#x", got)
	}
	// Of System.map only the beginning is known, and its addresses may be of a moved kernel.
	m.put(a.va+0x600000, []byte(testBanner)...)
	short := anchor{va: a.va + 0x400000, text: []byte(bannerPrefix + "6.1.0-test")}
	if got, ok := short.find(m.read, 0); !ok || got != 0x200000 {
		t.Errorf("found at %#x, %v", got, ok)
	}
}

func TestORC(t *testing.T) {
	const text = 0xffffffff81000000
	const sp = 0xffffc90000001000
	// The same rules with the numbers of three ages of kernels.
	for name, flags := range map[string]struct{ spCall, bpSaved, bpCall, regs, partial, spInd, bpInd uint16 }{
		"Linux 5 to 6.3": {0x005, 0x015, 0x014, 0x105, 0x205, 0x009, 0x048},
		"Linux 6.4":      {0x205, 0x215, 0x214, 0xb05, 0xc05, 0x209, 0x248},
		"Linux 7":        {0x203, 0x283, 0x284, 0xb03, 0xc03, 0x209, 0x24a},
	} {
		o := makeORC(encodeORC([]orcLine{
			{text, 8, 0, flags.spCall},
			{text + 0x10, 24, -16, flags.bpSaved},
			{text + 0x20, 16, -16, flags.bpCall},
			{text + 0x30, 0, 0, flags.regs},
			{text + 0x40, 8, 0, flags.partial},
			{text + 0x50, 32, 0, flags.spInd},
			{text + 0x60, 40, 0, flags.bpInd},
			{text + 0x70, 8, 0, flags.spCall},
			{text + 0x80, 0, 0, 0},
		}))
		if o == nil {
			t.Errorf("%s: refused", name)
			continue
		}
		m := memory{}
		for at := uint64(sp); at < sp+0x200; at += 8 {
			m.word(at, 0x1000+at-sp) // every word tells where it was read
		}
		m.word(sp+ptCS, 0x33)
		m.word(sp+16, 0x10) // the CS of the partial frame
		m.word(sp+8, text+0x999)
		m.word(sp+0x100, sp+0x40) // for the indirect ones
		bp := uint64(sp + 0x40)
		value := func(off uint64) uint64 { v, _ := reader(m.read).u64(sp + off); return v }
		for _, c := range []struct {
			what string
			at   uint64
			in   frame
			want frame
		}{
			{"SP", 0, frame{sp: sp + 0x10, bp: bp, bpKnown: true}, frame{ip: value(0x10), sp: sp + 0x18, bp: bp, bpKnown: true}},
			{"SP, BP saved", 0x10, frame{sp: sp + 0x20, bp: bp, bpKnown: true}, frame{ip: value(0x30), sp: sp + 0x38, bp: value(0x28), bpKnown: true}},
			{"BP", 0x20, frame{sp: sp + 0x20, bp: bp, bpKnown: true}, frame{ip: value(0x48), sp: sp + 0x50, bp: value(0x40), bpKnown: true}},
			{"registers", 0x30, frame{sp: sp, bp: bp, bpKnown: true},
				frame{ip: value(ptIP), sp: value(ptSP), bp: value(ptBP), bpKnown: true, user: true, exact: true}},
			{"partial registers", 0x40, frame{sp: sp, bp: bp, bpKnown: true},
				frame{ip: text + 0x999, sp: value(32), bp: bp, bpKnown: true, exact: true}},
			{"indirect SP", 0x50, frame{sp: sp + 0x100}, frame{ip: value(0x40 + 32 - 8), sp: sp + 0x40 + 32}},
			{"indirect BP", 0x60, frame{sp: sp, bp: sp + 0x100 - 40, bpKnown: true},
				frame{ip: value(0x38), sp: sp + 0x40, bp: value(0x100 - 40), bpKnown: true}},
		} {
			c.in.ip, c.in.exact = text+c.at, true
			got, ok := o.step(m.read, c.in, 0)
			if !ok || got != c.want {
				t.Errorf("%s, %s: %+v, %v; want %+v", name, c.what, got, ok, c.want)
			}
			c.in.ip += 0x600000
			if moved, ok := o.step(m.read, c.in, 0x600000); !ok || moved != got {
				t.Errorf("%s, %s, moved: %+v, %v", name, c.what, moved, ok)
			}
		}
		for what, in := range map[string]frame{
			"before the text":     {ip: text - 1, exact: true, sp: sp},
			"after the text":      {ip: text + 0x80, exact: true, sp: sp},
			"return to its start": {ip: text, sp: sp},
			"unreadable stack":    {ip: text, exact: true, sp: 0x1000},
			"unknown BP":          {ip: text + 0x20, exact: true, sp: sp},
			"unaligned":           {ip: text, exact: true, sp: sp + 1},
		} {
			if got, ok := o.step(m.read, in, 0); ok {
				t.Errorf("%s, %s: has a caller: %+v", name, what, got)
			}
		}
	}
	ips, va, entries := encodeORC([]orcLine{{text + 0x10, 8, 0, 0x205}, {text, 8, 0, 0x205}})
	if makeORC(ips, va, entries) != nil {
		t.Error("tables out of order are taken")
	}
	if makeORC(ips[:4], va, entries) != nil || makeORC(nil, va, nil) != nil {
		t.Error("tables of different lengths, or none, are taken")
	}
}

func TestCallers(t *testing.T) {
	const (
		f0, f1, f2 = 0x401000, 0x402000, 0x403000 // functions
		sp         = 0x7ffe0000
	)
	base := memory{}
	base.call(f1+0x20, f0)                            // f1 calls f0
	base.put(f2+0x30-7, 0x90, 0x90, 0x90, 0xff, 0x50) // f2 calls f1 through a register
	base.put(f2+0x30-3, 0xff, 0x50, 0x08)
	base.put(f0, 0x55, 0x48, 0x89, 0xe5, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90)
	chain := func(m memory) {
		m.word(sp+0x10, sp+0x40)
		m.word(sp+0x18, f1+0x20)
		m.word(sp+0x40, 0)
		m.word(sp+0x48, f2+0x30)
	}
	for _, c := range []struct {
		name  string
		mem   func(memory)
		f     frame
		begin uint64
		want  []uint64
	}{
		{"frames", chain, frame{ip: f0 + 8, sp: sp, bp: sp + 0x10}, f0, []uint64{f1 + 0x20, f2 + 0x30}},
		{"no frame pointer", func(memory) {}, frame{ip: f0 + 8, sp: sp, bp: 0x1234}, f0, nil},
		{"below the stack", chain, frame{ip: f0 + 8, sp: sp + 0x20, bp: sp + 0x10}, f0, nil},
		{"unaligned", chain, frame{ip: f0 + 8, sp: sp, bp: sp + 0x11}, f0, nil},
		{"return to no call", func(m memory) { chain(m); m.word(sp+0x48, f2+0x31); m.put(f2+0x30, 0x90) },
			frame{ip: f0 + 8, sp: sp, bp: sp + 0x10}, f0, []uint64{f1 + 0x20}},
		{"at the beginning", func(m memory) { m.word(sp, f1+0x20); m.word(sp+0x40, 0); m.word(sp+0x48, f2+0x30) },
			frame{ip: f0, sp: sp, bp: sp + 0x40}, f0, []uint64{f1 + 0x20, f2 + 0x30}},
		{"at a push without symbols", func(m memory) { m.word(sp, f1+0x20) },
			frame{ip: f0, sp: sp, bp: 0}, 0, []uint64{f1 + 0x20}},
		{"at a return", func(m memory) { m.put(f0+8, 0xc3); m.word(sp, f1+0x20) },
			frame{ip: f0 + 8, sp: sp, bp: 0}, 0, []uint64{f1 + 0x20}},
		{"leaf without a frame", func(m memory) { m.put(f0, 0x90, 0x90, 0x90, 0x90); m.word(sp, f1+0x20) },
			frame{ip: f0 + 8, sp: sp, bp: 0}, f0, []uint64{f1 + 0x20}},
		{"stale address above a frame", func(m memory) { m.word(sp, f1+0x20) },
			frame{ip: f0 + 8, sp: sp, bp: 0}, f0, nil},
		{"leaf called by another", func(m memory) { m.put(f0, 0x90, 0x90, 0x90, 0x90); m.call(f1+0x20, f2); m.word(sp, f1+0x20) },
			frame{ip: f0 + 8, sp: sp, bp: 0}, f0, nil},
		{"ring of frames", func(m memory) { m.word(sp+0x10, sp+0x10); m.word(sp+0x18, f1+0x20) },
			frame{ip: f0 + 8, sp: sp, bp: sp + 0x10}, f0, []uint64{f1 + 0x20}},
	} {
		m := memory{}
		for a, b := range base {
			m[a] = b
		}
		c.mem(m)
		c.f.exact, c.f.bpKnown = true, true
		var got []uint64
		callers(m.read, c.f, x86.Mode64, c.begin, func(f frame) bool { got = append(got, f.ip); return true })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

// TestCallers32 walks a stack of 4-byte words.
func TestCallers32(t *testing.T) {
	m := memory{}
	m.call(0x10050, 0x10000)
	put := func(at uint64, v uint32) { m.put(at, binary.LittleEndian.AppendUint32(nil, v)...) }
	put(0x2000, 0x2040)
	put(0x2004, 0x10050)
	var got []frame
	callers(m.read, frame{ip: 0x10008, sp: 0x1ff0, bp: 0x2000, exact: true, bpKnown: true}, x86.Mode32, 0,
		func(f frame) bool { got = append(got, f); return true })
	if len(got) != 1 || got[0].ip != 0x10050 || got[0].sp != 0x2008 || got[0].bp != 0x2040 {
		t.Errorf("callers %+v", got)
	}
}

// TestOperandLen compares with the forms of ModRM in the Intel SDM vol. 2, 2.1.5.
func TestOperandLen(t *testing.T) {
	for _, c := range []struct {
		p    []byte
		want int
	}{
		{[]byte{0xd0}, 1},             // CALL RAX
		{[]byte{0x10}, 1},             // CALL [RAX]
		{[]byte{0x50, 8}, 2},          // CALL [RAX+8]
		{[]byte{0x90, 0, 0, 0, 0}, 5}, // CALL [RAX+disp32]
		{[]byte{0x15, 0, 0, 0, 0}, 5}, // CALL [RIP+disp32]
		{[]byte{0x14, 0xc8}, 2},       // CALL [RAX+8*RCX]
		{[]byte{0x14, 0x25, 0, 0, 0, 0}, 6},
		{[]byte{0x54, 0x24, 8}, 3},          // CALL [RSP+8]
		{[]byte{0x94, 0x24, 0, 0, 0, 0}, 6}, // CALL [RSP+disp32]
	} {
		if got := operandLen(c.p); got != c.want {
			t.Errorf("% x: %d bytes, want %d", c.p, got, c.want)
		}
	}
}

// FuzzUnwind walks stacks in memory of any contents.
func FuzzUnwind(f *testing.F) {
	f.Add([]byte{0x55, 0x48, 0x89, 0xe5}, uint64(0x7000), uint64(0x7010), true)
	f.Add(make([]byte, 512), uint64(8), uint64(16), false)
	o := makeORC(encodeORC([]orcLine{{0xffffffff81000000, 8, -16, 0x215}, {0xffffffff81000010, 0, 0, 0xb05}, {0xffffffff81000020, 8, 8, 0x209}}))
	f.Fuzz(func(t *testing.T, mem []byte, sp, bp uint64, wide bool) {
		read := func(va uint64, p []byte) int {
			if len(mem) == 0 {
				return 0
			}
			for i := range p {
				p[i] = mem[(va+uint64(i))%uint64(len(mem))]
			}
			return len(p)
		}
		mode := x86.Mode32
		if wide {
			mode = x86.Mode64
		}
		n := 0
		callers(read, frame{ip: sp ^ bp, sp: sp, bp: bp, exact: true, bpKnown: true}, mode, sp, func(frame) bool { n++; return n < maxDepth })
		if n > maxDepth {
			t.Errorf("%d frames", n)
		}
		fr := frame{ip: 0xffffffff81000000 + bp%64, sp: sp, bp: bp, exact: true, bpKnown: true}
		for range maxDepth {
			var ok bool
			if fr, ok = o.step(read, fr, 0); !ok {
				break
			}
		}
	})
}
