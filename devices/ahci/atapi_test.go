package ahci_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/ahci/atapi"
)

// cd is an adapter with an optical drive at port 0.
type cd struct {
	*hba
	drive *atapi.Drive
	s     *store
	tray  []bool
}

func newCD(t testing.TB, size int) *cd {
	t.Helper()
	c := &cd{hba: newHBA(t, ahci.Options{})}
	var err error
	c.drive, err = atapi.New(atapi.Options{Name: "cd0", Serial: "CD123", Ejected: func(open bool) { c.tray = append(c.tray, open) }})
	if err != nil {
		t.Fatal(err)
	}
	if size > 0 {
		c.s = newStore(t, size)
		if err := c.drive.Insert(c.s); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.dev.Attach(0, c.drive); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	return c
}

// packet executes a packet with room for n bytes and returns the data. With an error
// the sense key and the additional codes are in code.
func (c *cd) packet(n int, dma bool, cdb ...byte) (data []byte, code uint32) {
	c.t.Helper()
	k := command{Task: ata.Task{Command: ata.CmdPacket, LBA: 0x0800 << 8}, flags: 1 << 5, packet: cdb}
	if dma {
		k.Feature = 1
	}
	if n > 0 {
		k.prds = [][2]uint64{{buffer(0), uint64(n)}}
		clear(c.bytes(buffer(0), n))
	}
	if tfd := c.do(0, 0, k); tfd&1 != 0 {
		c.restart(0)
		k := command{Task: ata.Task{Command: ata.CmdPacket, Feature: 1}, flags: 1 << 5, packet: []byte{3, 0, 0, 0, 18}, prds: [][2]uint64{{buffer(1), 18}}}
		if got := c.do(0, 0, k); got&1 != 0 {
			c.t.Fatalf("REQUEST SENSE: PxTFD %#x", got)
		}
		s := c.bytes(buffer(1), 18)
		if tfd>>12 != uint32(s[2]) {
			c.t.Errorf("packet %#x: sense key %#x, Error register %#x", cdb[0], s[2], tfd>>8)
		}
		return nil, uint32(s[2])<<16 | uint32(s[12])<<8 | uint32(s[13])
	}
	return append([]byte(nil), c.bytes(buffer(0), int(c.prdbc(0, 0)))...), 0
}

// ready takes what unit attention there is.
func (c *cd) ready() uint32 {
	c.t.Helper()
	var code uint32
	for range 5 {
		if _, code = c.packet(0, true, 0); code>>16 != 6 {
			break
		}
	}
	return code
}

func TestOpticalIdentity(t *testing.T) {
	c := newCD(t, 1<<20)
	if sig := c.pget(0, pSIG); sig != 0xeb140101 {
		t.Errorf("signature %#x", sig)
	}
	if tfd := c.do(0, 0, command{Task: ata.Task{Command: ata.CmdIdentify}}); tfd&0xff01 != 0x401 {
		t.Errorf("IDENTIFY DEVICE: PxTFD %#x", tfd)
	}
	if f := c.bytes(rxAt(0)+0x40, 20); f[5] != 0x14 || f[6] != 0xeb {
		t.Errorf("IDENTIFY DEVICE: no signature in % x", f)
	}
	c.restart(0)
	c.do(0, 0, command{Task: ata.Task{Command: ata.CmdIdentifyPacket}, prds: [][2]uint64{{buffer(0), 512}}})
	if id := c.bytes(buffer(0), 512); binary.LittleEndian.Uint16(id) != 0x85c0 || string(id[54:68]) != "fdme u  DCR-MO" {
		t.Errorf("IDENTIFY PACKET DEVICE % x", id[:80])
	}
	for _, k := range []struct {
		cmd  uint8
		feat uint16
		n    uint16
		want uint32
	}{
		{ata.CmdDeviceReset, 0, 0, 0x100}, {ata.CmdDiagnostic, 0, 0, 0x100}, {ata.CmdNOP, 0, 0, 0x451},
		{ata.CmdSetFeatures, 3, 0x45, 0x50}, {ata.CmdSetFeatures, 3, 0x46, 0x451}, {ata.CmdFlush, 0, 0, 0x50},
		{ata.CmdReadDMA, 0, 1, 0x451}, {ata.CmdStandbyImmediate, 0, 0, 0x50}, {ata.CmdCheckPower, 0, 0, 0x50}, {ata.CmdReadSectors, 0, 1, 0x451},
	} {
		if tfd := c.simple(k.cmd, k.feat, k.n, 0); tfd != k.want {
			t.Errorf("command %#x: PxTFD %#x, want %#x", k.cmd, tfd, k.want)
		}
		c.restart(0)
	}
}

func TestOpticalPackets(t *testing.T) {
	c := newCD(t, 1<<20) // 512 blocks
	if _, code := c.packet(0, true, 0); code != 0x062900 {
		t.Errorf("at first: sense %#x", code)
	}
	if code := c.ready(); code != 0 {
		t.Fatalf("not ready: %#x", code)
	}
	be := binary.BigEndian
	for _, k := range []struct {
		name  string
		n     int
		cdb   []byte
		code  uint32
		check func(p []byte) bool
	}{
		{"INQUIRY", 96, []byte{0x12, 0, 0, 0, 96}, 0, func(p []byte) bool { return p[0] == 5 && string(p[8:24]) == "dfemu   CD-ROM  " }},
		{"INQUIRY, short", 5, []byte{0x12, 0, 0, 0, 5}, 0, func(p []byte) bool { return len(p) == 5 }},
		{"INQUIRY, pages", 64, []byte{0x12, 1, 0, 0, 64}, 0, func(p []byte) bool { return bytes.Equal(p[3:7], []byte{3, 0, 0x80, 0x83}) }},
		{"INQUIRY, serial number", 64, []byte{0x12, 1, 0x80, 0, 64}, 0, func(p []byte) bool { return string(p[4:9]) == "CD123" }},
		{"INQUIRY, no page", 64, []byte{0x12, 1, 0x99, 0, 64}, 0x052400, nil},
		{"READ CAPACITY", 8, []byte{0x25}, 0, func(p []byte) bool { return be.Uint32(p) == 511 && be.Uint32(p[4:]) == 2048 }},
		{"READ(10)", 4096, []byte{0x28, 0, 0, 0, 0, 7, 0, 0, 2}, 0, func(p []byte) bool { return bytes.Equal(p, c.s.data[7*2048:9*2048]) }},
		{"READ(10), none", 0, []byte{0x28, 0, 0, 0, 0, 7, 0, 0, 0}, 0, nil},
		{"READ(10), past the end", 4096, []byte{0x28, 0, 0, 0, 1, 0xff, 0, 0, 2}, 0x052100, nil},
		{"READ(12)", 2048, []byte{0xa8, 0, 0, 0, 0, 9, 0, 0, 0, 1}, 0, func(p []byte) bool { return bytes.Equal(p, c.s.data[9*2048:10*2048]) }},
		{"READ CD", 2048, []byte{0xbe, 0, 0, 0, 0, 3, 0, 0, 1, 0x10}, 0, func(p []byte) bool { return bytes.Equal(p, c.s.data[3*2048:4*2048]) }},
		{"READ CD, raw", 2352, []byte{0xbe, 0, 0, 0, 0, 3, 0, 0, 1, 0xf8}, 0x052400, nil},
		{"READ CD, audio", 2352, []byte{0xbe, 4, 0, 0, 0, 3, 0, 0, 1, 0x10}, 0x056400, nil},
		{"READ CD MSF", 2048, []byte{0xb9, 0, 0, 0, 2, 4, 0, 2, 5, 0x10}, 0, func(p []byte) bool { return bytes.Equal(p, c.s.data[4*2048:5*2048]) }},
		{"SEEK", 0, []byte{0x2b, 0, 0, 0, 1, 0}, 0, nil},
		{"SEEK, past the end", 0, []byte{0x2b, 0, 0, 0, 2, 0}, 0x052100, nil},
		{"VERIFY", 0, []byte{0x2f, 0, 0, 0, 0, 0, 0, 2, 0}, 0, nil},
		{"VERIFY, past the end", 0, []byte{0x2f, 0, 0, 0, 0, 1, 0, 2, 0}, 0x052100, nil},
		{"READ TOC", 100, []byte{0x43, 0, 0, 0, 0, 0, 0, 0, 100}, 0, func(p []byte) bool {
			return len(p) == 20 && p[6] == 1 && p[14] == 0xaa && be.Uint32(p[16:]) == 512
		}},
		{"READ TOC, MSF", 100, []byte{0x43, 2, 0, 0, 0, 0, 0, 0, 100}, 0, func(p []byte) bool {
			return bytes.Equal(p[8:12], []byte{0, 0, 2, 0}) && bytes.Equal(p[16:20], []byte{0, 0, 8, 62})
		}},
		{"READ TOC, sessions", 100, []byte{0x43, 0, 1, 0, 0, 0, 0, 0, 100}, 0, func(p []byte) bool { return len(p) == 12 && p[6] == 1 }},
		{"READ TOC, full", 100, []byte{0x43, 2, 2, 0, 0, 0, 0, 0, 100}, 0, func(p []byte) bool { return len(p) == 48 && p[3+4] == 0xa0 }},
		{"READ TOC, no track", 100, []byte{0x43, 0, 0, 0, 0, 0, 9, 0, 100}, 0x052400, nil},
		{"READ SUB-CHANNEL", 100, []byte{0x42, 2, 0x40, 1, 0, 0, 0, 0, 100}, 0, func(p []byte) bool { return len(p) == 16 && p[1] == 0x15 }},
		{"READ HEADER", 8, []byte{0x44, 0, 0, 0, 0, 6, 0, 0, 8}, 0, func(p []byte) bool { return p[0] == 1 && p[7] == 6 }},
		{"GET CONFIGURATION", 256, []byte{0x46, 0, 0, 0, 0, 0, 0, 1, 0}, 0, func(p []byte) bool { return be.Uint16(p[6:]) == 8 && be.Uint32(p) == uint32(len(p)-4) }},
		{"GET CONFIGURATION, one", 256, []byte{0x46, 2, 0, 3, 0, 0, 0, 1, 0}, 0, func(p []byte) bool { return len(p) == 16 && p[9] == 3 && p[12] == 0x39 }},
		{"GET EVENT STATUS, not polled", 8, []byte{0x4a, 0, 0, 0, 16, 0, 0, 0, 8}, 0x052400, nil},
		{"GET EVENT STATUS", 8, []byte{0x4a, 1, 0, 0, 16, 0, 0, 0, 8}, 0, func(p []byte) bool { return p[2] == 4 && p[4] == 2 && p[5] == 2 }},
		{"GET EVENT STATUS again", 8, []byte{0x4a, 1, 0, 0, 16, 0, 0, 0, 8}, 0, func(p []byte) bool { return p[4] == 0 && p[5] == 2 }},
		{"READ DISC INFORMATION", 100, []byte{0x51, 0, 0, 0, 0, 0, 0, 0, 100}, 0, func(p []byte) bool { return len(p) == 34 && p[2] == 0x0e }},
		{"READ TRACK INFORMATION", 100, []byte{0x52, 1, 0, 0, 0, 1, 0, 0, 100}, 0, func(p []byte) bool { return len(p) == 36 && be.Uint32(p[24:]) == 512 }},
		{"READ TRACK INFORMATION, none", 100, []byte{0x52, 1, 0, 0, 0, 2, 0, 0, 100}, 0x052400, nil},
		{"MODE SENSE(10)", 100, []byte{0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 100}, 0, func(p []byte) bool { return len(p) == 30 && p[8] == 0x2a }},
		{"MODE SENSE(6), all", 100, []byte{0x1a, 0, 0x3f, 0, 100}, 0, func(p []byte) bool { return int(p[0]) == len(p)-1 && p[4] == 1 }},
		{"MODE SENSE, saved", 100, []byte{0x5a, 0, 0xea, 0, 0, 0, 0, 0, 100}, 0x053900, nil},
		{"MODE SENSE, no page", 100, []byte{0x5a, 0, 0x17, 0, 0, 0, 0, 0, 100}, 0x052400, nil},
		{"MECHANISM STATUS", 8, []byte{0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8}, 0, func(p []byte) bool { return len(p) == 8 && p[1] == 0 }},
		{"GET PERFORMANCE", 24, []byte{0xac, 0x10, 0, 0, 0, 0, 0, 0, 0, 1}, 0, func(p []byte) bool { return len(p) == 24 && be.Uint32(p[16:]) == 511 }},
		{"READ DISC STRUCTURE of a CD", 24, []byte{0xad, 0, 0, 0, 0, 0, 0, 0, 0, 24}, 0x053002, nil},
		{"READ FORMAT CAPACITIES", 12, []byte{0x23, 0, 0, 0, 0, 0, 0, 0, 12}, 0, func(p []byte) bool { return p[3] == 8 && p[8] == 2 }},
		{"REPORT LUNS", 16, []byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16}, 0, func(p []byte) bool { return len(p) == 16 && p[3] == 8 }},
		{"SET CD SPEED", 0, []byte{0xbb}, 0, nil},
		{"unknown", 0, []byte{0xff}, 0x052000, nil},
		{"REQUEST SENSE, nothing", 18, []byte{3, 0, 0, 0, 18}, 0, func(p []byte) bool { return p[0] == 0x70 && p[2] == 0 && p[7] == 10 }},
	} {
		for _, dma := range []bool{true, false} {
			if k.name == "GET EVENT STATUS" && !dma {
				continue
			}
			p, code := c.packet(k.n, dma, k.cdb...)
			if code != k.code || code == 0 && k.check != nil && (len(p) == 0 || !k.check(p)) {
				t.Errorf("%s (DMA %v): sense %#x, data % x", k.name, dma, code, p[:min(len(p), 64)])
			}
		}
	}
	// A page that can be changed.
	copy(c.bytes(buffer(0), 20), []byte{8: 1, 9: 10, 11: 9, 19: 0})
	sel := command{Task: ata.Task{Command: ata.CmdPacket, Feature: 1}, flags: 1<<5 | 1<<6, packet: []byte{0x55, 0x10, 0, 0, 0, 0, 0, 0, 20}, prds: [][2]uint64{{buffer(0), 20}}}
	if tfd := c.do(0, 0, sel); tfd != 0x50 {
		t.Errorf("MODE SELECT(10): PxTFD %#x", tfd)
	}
	if p, _ := c.packet(20, true, 0x5a, 0, 1, 0, 0, 0, 0, 0, 20); len(p) != 20 || p[11] != 9 {
		t.Errorf("page 1 is % x", p)
	}
	// A store that fails.
	c.s.set(errors.New("scratched"), nil)
	if _, code := c.packet(2048, true, 0x28, 0, 0, 0, 0, 1, 0, 0, 1); code != 0x031100 {
		t.Errorf("unreadable block: sense %#x", code)
	}
}

// TestPacketPIO looks at the FISes of a packet command without DMA.
func TestPacketPIO(t *testing.T) {
	c := newCD(t, 1<<20)
	c.ready()
	if _, code := c.packet(8, false, 0x25); code != 0 {
		t.Fatalf("READ CAPACITY: %#x", code)
	}
	if f := c.bytes(rxAt(0)+0x20, 20); f[0] != 0x5f || f[1] != 0x60 || f[16] != 8 {
		t.Errorf("PIO Setup FIS % x", f)
	}
	if f := c.bytes(rxAt(0)+0x40, 20); f[2] != 0x50 || f[12] != 3 {
		t.Errorf("D2H Register FIS % x", f)
	}
	if is := c.pget(0, pIS); is&3 != 3 {
		t.Errorf("PxIS %#x", is)
	}
}

func TestMediaChange(t *testing.T) {
	c := newCD(t, 0)
	if code := c.ready(); code != 0x023a01 {
		t.Errorf("empty drive: sense %#x", code)
	}
	if _, code := c.packet(2048, true, 0x28, 0, 0, 0, 0, 1, 0, 0, 1); code != 0x023a01 {
		t.Errorf("read of an empty drive: sense %#x", code)
	}
	event := func() (event, status byte) {
		p, _ := c.packet(8, true, 0x4a, 1, 0, 0, 16, 0, 0, 0, 8)
		return p[4], p[5]
	}
	// Asynchronous notification.
	c.simple(ata.CmdSetFeatures, 0x10, 5, 0)
	c.pset(0, pIS, 0xffffffff)
	s := newStore(t, 1<<20)
	if err := c.drive.Insert(s); err != nil {
		t.Fatal(err)
	}
	if c.pget(0, pSNTF) != 1 || c.pget(0, pIS)&8 == 0 || c.bytes(rxAt(0)+0x58, 8)[1]&0x80 == 0 {
		t.Errorf("no notification: PxSNTF %#x, PxIS %#x", c.pget(0, pSNTF), c.pget(0, pIS))
	}
	if e, st := event(); e != 2 || st != 2 {
		t.Errorf("event %d, status %d", e, st)
	}
	if _, code := c.packet(0, true, 0); code != 0x062800 {
		t.Errorf("after a medium was inserted: sense %#x", code)
	}
	if code := c.ready(); code != 0 {
		t.Errorf("not ready: %#x", code)
	}
	if c.drive.Insert(s) == nil {
		t.Error("two media in one drive")
	}
	// Locked.
	c.packet(0, true, 0x1e, 0, 0, 0, 1)
	if _, code := c.packet(0, true, 0x1b, 0, 0, 0, 2); code != 0x055302 {
		t.Errorf("eject of a locked medium: sense %#x", code)
	}
	if _, err := c.drive.Eject(false); !errors.Is(err, atapi.ErrLocked) {
		t.Errorf("eject of a locked medium from outside: %v", err)
	}
	if e, _ := event(); e != 1 {
		t.Errorf("event %d: the guest was not asked to eject", e)
	}
	c.packet(0, true, 0x1e)
	// The guest opens and closes the tray.
	c.packet(0, true, 0x1b, 0, 0, 0, 2)
	if e, st := event(); e != 3 || st != 1 {
		t.Errorf("tray open: event %d, status %d", e, st)
	}
	if code := c.ready(); code != 0x023a02 {
		t.Errorf("tray open: sense %#x", code)
	}
	c.packet(0, true, 0x1b, 0, 0, 0, 3)
	if code := c.ready(); code != 0 {
		t.Errorf("tray closed: sense %#x", code)
	}
	if len(c.tray) != 2 || !c.tray[0] || c.tray[1] {
		t.Errorf("tray moved %v", c.tray)
	}
	if b, err := c.drive.Eject(false); b != s || err != nil {
		t.Error(err)
	}
	if present, open, locked := c.drive.Medium(); present || !open || locked {
		t.Error("after Eject")
	}
	if c.drive.Insert(newStore(t, 512)) == nil {
		t.Error("a medium without a whole block")
	}
	// A DVD has other structures.
	if err := c.drive.Insert(&sized{newStore(t, 4096), 4 << 30}); err != nil {
		t.Fatal(err)
	}
	c.ready()
	if p, code := c.packet(24, true, 0xad, 0, 0, 0, 0, 0, 0, 0, 0, 24); code != 0 || p[4] != 1 {
		t.Errorf("READ DISC STRUCTURE: %#x % x", code, p)
	}
	if p, _ := c.packet(8, true, 0x46, 0, 0, 0, 0, 0, 0, 0, 8); p[7] != 0x10 {
		t.Errorf("profile of a DVD: % x", p)
	}
}

// sized is a store that says it is larger.
type sized struct {
	*store
	size int64
}

func (s *sized) Size() int64 { return s.size }

func TestOpticalState(t *testing.T) {
	c := newCD(t, 1<<20)
	c.ready()
	c.packet(0, true, 0x1e, 0, 0, 0, 1)
	c.dev.Pause()
	state, err := c.dev.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	d := newCD(t, 1<<20)
	d.dev.Pause()
	if err := d.dev.RestoreState(state); err != nil {
		t.Fatal(err)
	}
	d.dev.Resume()
	if _, _, locked := d.drive.Medium(); !locked {
		t.Error("the lock was forgotten")
	}
	if _, code := d.packet(0, true, 0); code != 0 {
		t.Errorf("sense %#x: there was no unit attention when it was saved", code)
	}
	e := newCD(t, 2<<20)
	e.dev.Pause()
	if e.dev.RestoreState(state) == nil {
		t.Error("restored with another medium")
	}
	if _, err := atapi.New(atapi.Options{Model: "a model with more than 24 characters"}); err == nil {
		t.Error("a long model name")
	}
}
