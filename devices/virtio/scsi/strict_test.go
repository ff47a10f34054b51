package scsi

import (
	"strings"
	"testing"
)

// TestStrictIdentifier uses the identifier of a request that waits to be taken.
func TestStrictIdentifier(t *testing.T) {
	r := newRig(t)
	h := r.header([]byte{opTestUnitReady, 0, 0, 0, 0, 0})
	for round := range 3 { // it may be used again when the request has ended
		r.rec.Forget()
		r.dev.Pause()
		for i := range 2 {
			r.rq.Add([][]byte{h}, answerHeader+defaultSense)
			r.rq.Kick()
			if l := r.rec.Violations(); len(l) != i || i != 0 && !strings.Contains(l[0], "5.6.6.1: id 0x") {
				t.Errorf("round %d: %q at notification %d", round, l, i)
			}
		}
		r.dev.Resume()
		r.rq.Wait(2)
	}
	if len(r.dev.told) != 0 {
		t.Errorf("left over: %v", r.dev.told)
	}
}

// TestStrictCommands breaks each rule for commands once. The breach is known before the notification ends, while nobody takes
// requests, and again when it is taken.
func TestStrictCommands(t *testing.T) {
	set := func(cdb []byte, i int, v byte) []byte { cdb[i] = v; return cdb }
	parts := func(l ...[]byte) (b []byte) {
		for _, p := range l {
			b = append(b, p...)
		}
		return b
	}
	block := make([]byte, 512)
	list := unmapList(3, 1)
	out24 := make([]byte, 24)
	for _, c := range []struct {
		name    string
		cdb     []byte
		out     []byte
		in      int
		mangle  func(header []byte)
		want    string // "" for nothing
		another bool   // the other unit, of blocks of 4096 bytes
	}{
		{name: "read", cdb: cdb10(opRead10, 0x18, 5, 2), in: 1024},
		{name: "read with a group", cdb: set(cdb10(opRead10, 0, 5, 2), 6, 0x1f), in: 1024},
		{name: "old unit number", cdb: []byte{opRead6, 0xe0, 0, 1, 1, 0}, in: 512},
		{name: "room for more", cdb: cdb10(opRead10, 0, 5, 2), in: 4096},
		{name: "nothing", cdb: cdb10(opRead10, 0, 2048, 0)},
		{name: "no such command", cdb: []byte{0xff, 1, 2, 3}},
		{name: "no such service action", cdb: cdb16(opServiceIn16, 0x12, 0, 0), in: 32},
		{name: "no such page", cdb: []byte{opInquiry, 1, 0xb7, 0, 36, 0}, in: 36},
		{name: "inquiry", cdb: []byte{opInquiry, 0, 0, 0, 36, 0}, in: 36},
		{name: "verify without data", cdb: cdb10(opVerify10, 0, 0, 8)},
		{name: "verify with data", cdb: cdb10(opVerify10, 2, 0, 1), out: block},
		{name: "unmap", cdb: cdb10(opUnmap, 0, 0, uint16(len(list))), out: list},
		{name: "write same", cdb: cdb16(opWriteSame16, 0, 3, 9), out: block},
		{name: "write same without data", cdb: cdb16(opWriteSame16, 9, 3, 9)},
		{name: "flush beyond the end", cdb: cdb10(opSyncCache10, 0, 2040, 9), want: "SBC-3, 5.26: SYNCHRONIZE CACHE(10): 9 blocks from 2040"},
		{name: "flush", cdb: cdb10(opSyncCache10, 0, 0, 0)},
		{name: "reserved bit", cdb: cdb10(opRead10, 0, 5, 2), in: 1024, mangle: func(h []byte) { h[requestHeader+6] = 0x80 }, want: "SBC-3, 5.11: READ(10): bits 0x80 of byte 6"},
		{name: "protection", cdb: cdb16(opWrite16, 0x20, 5, 1), out: block, want: "SBC-3, 5.35: WRITE(16): bits 0x20 of byte 1"},
		{name: "reserved byte", cdb: []byte{opTestUnitReady, 0, 0, 7, 0, 0}, want: "SPC-4, TEST UNIT READY: TEST UNIT READY: bits 0x7 of byte 3"},
		{name: "NACA", cdb: []byte{opInquiry, 0, 0, 0, 36, 4}, in: 36, want: "SAM-5, 5.2: INQUIRY: NACA is set"},
		{name: "link", cdb: []byte{opTestUnitReady, 0, 0, 0, 0, 1}, want: "SAM-5, 5.2: TEST UNIT READY: the CONTROL byte is 0x1: linked"},
		{name: "control", cdb: cdb16(opRead16, 0, 0, 0), mangle: func(h []byte) { h[requestHeader+15] = 0x10 }, want: "SAM-5, 5.2: READ(16): the CONTROL byte is 0x10: bits 3 to 5"},
		{name: "beyond the end", cdb: cdb10(opRead10, 0, 2047, 2), in: 1024, want: "SBC-3, 5.11: READ(10): 2 blocks from 2047 on: the unit has 2048"},
		{name: "beyond the end of the other", cdb: cdb12(opWrite12, 256, 1), out: make([]byte, 4096), another: true, want: "SBC-3, 5.34: WRITE(12): 1 blocks from 256 on: the unit has 256"},
		{name: "beyond 64 bits", cdb: cdb16(opRead16, 0, ^uint64(0), 1), in: 512, want: "SBC-3, 5.13: READ(16): 1 blocks from 18446744073709551615"},
		{name: "short buffer", cdb: cdb10(opRead10, 0, 5, 2), in: 1023, want: "SPC-4, 4.2.5.4: READ(10): 2 blocks of 512 bytes, and a buffer of 1023"},
		{name: "blocks of the other", cdb: cdb10(opRead10, 0, 5, 2), in: 1024, another: true, want: "SPC-4, 4.2.5.4: READ(10): 2 blocks of 4096 bytes"},
		{name: "256 blocks", cdb: []byte{opRead6, 0, 0, 0, 0, 0}, in: 512, want: "SPC-4, 4.2.5.4: READ(6): 256 blocks"},
		{name: "short data", cdb: cdb10(opWrite10, 0, 5, 2), out: block, want: "SPC-4, 4.2.5.4: WRITE(10): 2 blocks of 512 bytes, and a buffer of 512"},
		{name: "short pattern", cdb: cdb10(opWriteSame10, 0, 5, 2), out: block[:8], want: "SPC-4, 4.2.5.4: WRITE SAME(10): 1 blocks of 512 bytes, and a buffer of 8"},
		{name: "short comparison", cdb: cdb10(opVerify10, 2, 5, 2), out: block, want: "SPC-4, 4.2.5.4: VERIFY(10): 2 blocks"},
		{name: "reserved comparison", cdb: cdb10(opVerify10, 4, 5, 2), want: "SBC-3, 5.29: VERIFY(10): BYTCHK is 2"},
		{name: "too many blocks", cdb: cdb16(opRead16, 0, 0, maxTransfer+1), in: 512, mangle: func(h []byte) { h[1] = 9 }, want: "Block Limits VPD page: READ(16): 65537 blocks: at most 65536"},
		{name: "same of nothing", cdb: cdb10(opWriteSame10, 0, 5, 0), out: block, want: "Block Limits VPD page: WRITE SAME(10): no blocks, and WSNZ is 1"},
		{name: "anchor", cdb: cdb10(opWriteSame10, 0x18, 5, 1), out: block, want: "SBC-3, 5.43: WRITE SAME(10): ANCHOR is set"},
		{name: "allocation length", cdb: []byte{opInquiry, 0, 0, 1, 0, 0}, in: 36, want: "SPC-4, 4.2.5.6: INQUIRY: the allocation length is 256, and there is room for 36"},
		{name: "room for capacity", cdb: cdb10(opReadCapacity10, 0, 0, 0), in: 4, want: "SBC-3, 5.15: READ CAPACITY(10): there is room for 4 bytes"},
		{name: "capacity at", cdb: cdb10(opReadCapacity10, 0, 9, 0), in: 8, want: "SBC-3, 5.15: READ CAPACITY(10): the logical block address is 9 without PMI"},
		{name: "units", cdb: cdb12(opReportLUNs, 0, 8), in: 8, want: "SPC-4, REPORT LUNS: REPORT LUNS: the allocation length is 8: at least 16"},
		{name: "list length", cdb: cdb10(opUnmap, 0, 0, 64), out: list, want: "SPC-4, 4.2.5.5: UNMAP: the parameter list length is 64, and there are 24"},
		{name: "unmap data length", cdb: cdb10(opUnmap, 0, 0, 24), out: parts([]byte{0, 16}, list[2:]), want: "SBC-3, 5.28: UNMAP: the data length is 16 with 16 bytes of descriptors: must be 22"},
		{name: "unmap without header", cdb: cdb10(opUnmap, 0, 0, 4), out: list[:4], want: "SBC-3, 5.28: UNMAP: a list of 4 bytes"},
		{name: "unmap list cut", cdb: cdb10(opUnmap, 0, 0, 20), out: list[:20], want: "SPC-4, 4.2.5.5: UNMAP: 16 bytes of descriptors in a list of 20"},
		{name: "unmap beyond the end", cdb: cdb10(opUnmap, 0, 0, 24), out: unmapList(2048, 1), want: "SBC-3, 5.28: UNMAP: 1 blocks from 2048 on"},
		{name: "reservation list", cdb: []byte{opPersistentOut, prRegister, 0, 0, 0, 0, 0, 0, 23, 0}, out: out24, want: "SPC-4, PERSISTENT RESERVE OUT REGISTER: PERSISTENT RESERVE OUT REGISTER: the parameter list length is 23: must be 24"},
		{name: "data for a read", cdb: cdb10(opRead10, 0, 5, 1), out: block, want: "SAM-5, 5.1: READ(10): 512 bytes of data and room for 0: the command has data to the driver"},
		{name: "room for a write", cdb: cdb10(opWrite10, 0, 5, 1), in: 512, want: "SAM-5, 5.1: WRITE(10): 0 bytes of data and room for 512: the command has data from the driver"},
		{name: "data for nothing", cdb: []byte{opTestUnitReady, 0, 0, 0, 0, 0}, out: block, want: "SAM-5, 5.1: TEST UNIT READY: 512 bytes of data and room for 0: the command has neither"},
		{name: "both", cdb: cdb10(opWrite10, 0, 5, 1), out: block, in: 512, want: "virtio 1.2, 5.6.6.1.1: 512 bytes of data and room for 512"},
		{name: "address", cdb: []byte{opTestUnitReady, 0, 0, 0, 0, 0}, mangle: func(h []byte) { h[5] = 1 }, want: "virtio 1.2, 5.6.6.1: lun is 01 00 40 00 00 01 00 00"},
		{name: "well-known unit", cdb: []byte{opTestUnitReady, 0, 0, 0, 0, 0}, mangle: func(h []byte) { h[0], h[1], h[2] = 0xc1, 1, 0 }},
		{name: "attribute", cdb: []byte{opTestUnitReady, 0, 0, 0, 0, 0}, mangle: func(h []byte) { h[16] = 4 }, want: "virtio 1.2, 5.6.6.1: task_attr is 4"},
		{name: "ACA", cdb: []byte{opTestUnitReady, 0, 0, 0, 0, 0}, mangle: func(h []byte) { h[16] = 3 }, want: "SAM-5, 5.1: TEST UNIT READY: the task attribute is ACA"},
	} {
		r := newRig(t)
		if c.another {
			r.at = address{3, 1}
		}
		h := r.header(c.cdb)
		if c.mangle != nil {
			c.mangle(h)
		}
		out, in := [][]byte{h}, []int{answerHeader + defaultSense}
		if c.out != nil {
			out = append(out, c.out)
		}
		if c.in != 0 {
			in = append(in, c.in)
		}
		r.rec.Forget()
		r.dev.Pause()
		r.rq.Add(out, in...)
		r.rq.Kick()
		prompt := r.rec.Violations()
		r.dev.Resume()
		r.rq.Wait(1)
		for _, l := range [][]string{prompt, r.rec.Violations()} {
			if c.want == "" && len(l) != 0 || c.want != "" && (len(l) != 1 || !strings.Contains(l[0], c.want)) {
				t.Errorf("%s: %q, want %q", c.name, l, c.want)
			}
		}
	}
}

// TestStrictControl breaks rules for control requests and buffers for events.
func TestStrictControl(t *testing.T) {
	r := newRig(t)
	tmf := func(kind, subtype uint32, n int) []byte {
		b := make([]byte, n)
		le.PutUint32(b, kind)
		le.PutUint32(b[4:], subtype)
		b[8], b[10] = 1, 0x40
		return b
	}
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{tmf(ctrlTMF, tmfLUNReset, 24), ""},
		{tmf(ctrlTMF, 8, 24), "5.6.6.2: a task management function of subtype 8"},
		{tmf(ctrlTMF, tmfLUNReset, 23), "5.6.6.2: a control request of type 0 with 23 bytes"},
		{tmf(3, 0, 24), "5.6.6.2: a control request of type 3: the types are 0 to 2"},
	} {
		r.rec.Forget()
		r.dev.Pause()
		r.ctl.Add([][]byte{c.b}, 5)
		r.ctl.Kick()
		prompt := r.rec.Violations()
		r.dev.Resume()
		r.ctl.Wait(1)
		for _, l := range [][]string{prompt, r.rec.Violations()} {
			if c.want == "" && len(l) != 0 || c.want != "" && (len(l) != 1 || !strings.Contains(l[0], c.want)) {
				t.Errorf("% x: %q, want %q", c.b, l, c.want)
			}
		}
	}
	r.ev.Add(nil, eventSize-1)
	r.ev.Kick()
	if l := r.rec.Violations(); len(l) != 1 || !strings.Contains(l[0], "5.6.6.3.1: a buffer of 15 bytes") {
		t.Errorf("event buffer: %q", l)
	}
}
