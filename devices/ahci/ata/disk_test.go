package ata_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/block"
	"dfemu/devices/devtest"
)

func newDisk(t testing.TB, o ata.Options, size int) (*ata.Disk, *devtest.Clock, []byte) {
	t.Helper()
	clock := devtest.NewClock(time.Unix(1e9, 0))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i*7) ^ byte(i>>9)
	}
	m, err := block.NewMemory(data, false)
	if err != nil {
		t.Fatal(err)
	}
	return diskOver(t, o, m, clock), clock, data
}

func diskOver(t testing.TB, o ata.Options, s devices.Block, clock devices.Clock) *ata.Disk {
	t.Helper()
	o.Name, o.Clock = "disk", clock
	if o.Serial == "" {
		o.Serial = "S1"
	}
	d, err := ata.New(o, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// run parses and executes a task with a buffer of n bytes, as two pieces.
func run(d ata.Drive, task ata.Task, buf []byte) ata.Request {
	r := ata.Request{Task: task}
	r.Command = d.Parse(&task, &r.Packet)
	n := len(buf) / 2
	for _, p := range [][]byte{buf[:n], buf[n:]} {
		if len(p) > 0 {
			r.Data.Pieces = append(r.Data.Pieces, p)
			r.Data.Size += int64(len(p))
		}
	}
	d.Execute(&r)
	return r
}

func TestCommands(t *testing.T) {
	d, _, data := newDisk(t, ata.Options{}, 1<<20)
	page := func(s string) []byte { b := make([]byte, 512); copy(b, s); return b }
	for _, c := range []struct {
		name     string
		task     ata.Task
		buf      []byte
		protocol ata.Protocol
		failed   bool
		moved    int64
		check    func(r *ata.Request, buf []byte) bool
	}{
		{"READ DMA by cylinder, head and sector", ata.Task{Command: ata.CmdReadDMA, Count: 1, LBA: 1<<8 | 5, Device: 2}, page(""), ata.DMAIn, false, 512,
			func(_ *ata.Request, b []byte) bool {
				at := ((1*16+2)*63 + 4) * 512
				return bytes.Equal(b, data[at:at+512])
			}},
		{"READ DMA by sector 0", ata.Task{Command: ata.CmdReadDMA, Count: 1}, page(""), ata.DMAIn, true, 0, nil},
		{"WRITE BUFFER", ata.Task{Command: ata.CmdWriteBuffer}, page("abc"), ata.PIOOut, false, 512, nil},
		{"READ BUFFER", ata.Task{Command: ata.CmdReadBuffer}, page(""), ata.PIOIn, false, 512, func(_ *ata.Request, b []byte) bool { return string(b[:3]) == "abc" }},
		{"WRITE BUFFER DMA", ata.Task{Command: ata.CmdWriteBufferDMA}, page("xyz"), ata.DMAOut, false, 512, nil},
		{"READ BUFFER DMA", ata.Task{Command: ata.CmdReadBufferDMA}, page(""), ata.DMAIn, false, 512, func(_ *ata.Request, b []byte) bool { return string(b[:3]) == "xyz" }},
		{"READ LOG EXT", ata.Task{Command: ata.CmdReadLogExt, Count: 1}, page(""), ata.PIOIn, false, 512, func(_ *ata.Request, b []byte) bool { return b[0] == 1 && b[2*4] == 8 }},
		{"READ LOG EXT of no pages", ata.Task{Command: ata.CmdReadLogExt}, page(""), ata.PIOIn, true, 0, nil},
		{"RECEIVE FPDMA QUEUED", ata.Task{Command: ata.CmdReceiveFPDMA, Feature: 1, Count: 1 << 8, LBA: 0x30 | 1<<8}, page(""), ata.QueuedIn, false, 512,
			func(_ *ata.Request, b []byte) bool { return b[510] == 0xa5 }},
		{"WRITE LOG EXT", ata.Task{Command: ata.CmdWriteLogExt, Count: 1, LBA: 0x9f}, page("log"), ata.PIOOut, false, 512, nil},
		{"SMART READ LOG", ata.Task{Command: ata.CmdSMART, Feature: 0xd5, Count: 1, LBA: 0xc24f9f}, page(""), ata.PIOIn, false, 512, func(_ *ata.Request, b []byte) bool { return string(b[:3]) == "log" }},
		{"SMART WRITE LOG", ata.Task{Command: ata.CmdSMART, Feature: 0xd6, Count: 1, LBA: 0xc24f09}, page("\x01\x00span"), ata.PIOOut, false, 512, nil},
		{"SMART READ LOG, selective", ata.Task{Command: ata.CmdSMART, Feature: 0xd5, Count: 1, LBA: 0xc24f09}, page(""), ata.PIOIn, false, 512, func(_ *ata.Request, b []byte) bool { return string(b[2:6]) == "span" }},
		{"SMART WRITE LOG, read-only", ata.Task{Command: ata.CmdSMART, Feature: 0xd6, Count: 1, LBA: 0xc24f06}, page(""), ata.PIOOut, true, 0, nil},
		{"SMART READ THRESHOLDS", ata.Task{Command: ata.CmdSMART, Feature: 0xd1, LBA: 0xc24f00}, page(""), ata.PIOIn, false, 512, func(_ *ata.Request, b []byte) bool { return b[0] == 0x10 && b[2] == 1 && b[3] == 50 }},
		{"SMART autosave", ata.Task{Command: ata.CmdSMART, Feature: 0xd2, Count: 0xf1, LBA: 0xc24f00}, nil, ata.NonData, false, 0, nil},
		{"SMART save", ata.Task{Command: ata.CmdSMART, Feature: 0xd3, LBA: 0xc24f00}, nil, ata.NonData, false, 0, nil},
		{"SMART automatic off-line", ata.Task{Command: ata.CmdSMART, Feature: 0xdb, Count: 0xf8, LBA: 0xc24f00}, nil, ata.NonData, false, 0, nil},
		{"SMART captive self-test", ata.Task{Command: ata.CmdSMART, Feature: 0xd4, LBA: 0xc24f81}, nil, ata.NonData, false, 0, nil},
		{"SMART no such self-test", ata.Task{Command: ata.CmdSMART, Feature: 0xd4, LBA: 0xc24f33}, nil, ata.NonData, true, 0, nil},
		{"statistics", ata.Task{Command: ata.CmdReadLogDMAExt, Count: 1, LBA: 0x04 | 1<<8}, page(""), ata.DMAIn, false, 512,
			func(_ *ata.Request, b []byte) bool { return binary.LittleEndian.Uint64(b[40:]) == 3<<62|1 }},
		{"NCQ NON-DATA, features", ata.Task{Command: ata.CmdNCQNonData, Feature: 5 | 0x82<<8}, nil, ata.QueuedNone, false, 0, nil},
		{"IDLE IMMEDIATE with UNLOAD", ata.Task{Command: ata.CmdIdleImmediate, Feature: 0x44, LBA: 0x554e4c}, nil, ata.NonData, false, 0, func(r *ata.Request, _ []byte) bool { return r.Result.LBA&0xff == 0xc4 }},
		{"IDENTIFY PACKET DEVICE", ata.Task{Command: ata.CmdIdentifyPacket}, page(""), ata.PIOIn, true, 0, func(r *ata.Request, _ []byte) bool { return r.Result.LBA == 1 && r.Result.Count == 1 }},
		{"a short buffer", ata.Task{Command: ata.CmdReadDMAExt, Count: 2, LBA: 3}, make([]byte, 600), ata.DMAIn, false, 600, func(_ *ata.Request, b []byte) bool { return bytes.Equal(b, data[3*512:][:600]) }},
		{"a short buffer to write from", ata.Task{Command: ata.CmdWriteDMAExt, Count: 2, LBA: 3}, make([]byte, 600), ata.DMAOut, false, 512, nil},
		{"READ MULTIPLE", ata.Task{Command: ata.CmdReadMultiple, Count: 3, Device: 0x40}, make([]byte, 1536), ata.PIOIn, false, 1536, func(r *ata.Request, _ []byte) bool { return r.Command.Block == 16*512 }},
		{"multiple off", ata.Task{Command: ata.CmdSetMultiple}, nil, ata.NonData, false, 0, nil},
		{"READ MULTIPLE while off", ata.Task{Command: ata.CmdReadMultiple, Count: 3, Device: 0x40}, make([]byte, 1536), ata.PIOIn, true, 0, nil},
		{"SEND FPDMA QUEUED, no such", ata.Task{Command: ata.CmdSendFPDMA, Feature: 1, Count: 3 << 8}, page(""), ata.QueuedOut, true, 0, nil},
	} {
		r := run(d, c.task, c.buf)
		if r.Command.Protocol != c.protocol || r.Result.Failed() != c.failed || r.Moved != c.moved || c.check != nil && !c.check(&r, c.buf) {
			t.Errorf("%s (%s): protocol %d, result %+v, %d bytes: % x", c.name, r.Command.Name, r.Command.Protocol, r.Result, r.Moved, c.buf[:min(32, len(c.buf))])
		}
	}
	// The last one left the drive in its error state: everything but log 10h is refused.
	if r := run(d, ata.Task{Command: ata.CmdFlush}, nil); !r.Result.Failed() {
		t.Error("a command was executed before log 10h was read")
	}
	if r := run(d, ata.Task{Command: ata.CmdReadLogExt, Count: 1, LBA: 0x10}, page("")); r.Result.Failed() {
		t.Error("log 10h cannot be read")
	}
	if r := run(d, ata.Task{Command: ata.CmdFlush}, nil); r.Result.Failed() {
		t.Error("the drive stays in its error state")
	}
}

func TestReset(t *testing.T) {
	d, _, _ := newDisk(t, ata.Options{}, 1<<20)
	cache := func() bool {
		b := make([]byte, 512)
		run(d, ata.Task{Command: ata.CmdIdentify}, b)
		return b[2*85]&(1<<5) != 0
	}
	run(d, ata.Task{Command: ata.CmdSetFeatures, Feature: 0x82}, nil)
	d.Reset(true)
	if cache() {
		t.Error("settings are preserved at first")
	}
	run(d, ata.Task{Command: ata.CmdSetFeatures, Feature: 0x90, Count: 6}, nil)
	d.Reset(false)
	if cache() {
		t.Error("a software reset changed settings")
	}
	d.Reset(true)
	if !cache() {
		t.Error("a hard reset kept settings that were not to be preserved")
	}
}

func TestState(t *testing.T) {
	a, _, data := newDisk(t, ata.Options{}, 1<<20)
	run(a, ata.Task{Command: ata.CmdSetFeatures, Feature: 0x82}, nil)
	run(a, ata.Task{Command: ata.CmdStandby, Count: 1}, nil)
	run(a, ata.Task{Command: ata.CmdWriteUncorrect, Feature: 0x55, Count: 1, LBA: 9}, nil)
	state, err := a.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	b, clock, _ := newDisk(t, ata.Options{}, 1<<20)
	if err := b.RestoreState(state); err != nil {
		t.Fatal(err)
	}
	if r := run(b, ata.Task{Command: ata.CmdReadDMAExt, Count: 1, LBA: 9}, make([]byte, 512)); r.Result.Error != ata.ErrUncorrectable {
		t.Error("bad blocks are forgotten")
	}
	run(b, ata.Task{Command: ata.CmdReadDMAExt, Count: 1}, data[:512])
	clock.Advance(6e9)
	if r := run(b, ata.Task{Command: ata.CmdCheckPower}, nil); r.Result.Count != 0 {
		t.Errorf("power mode %#x: the standby timer is forgotten", r.Result.Count)
	}
	var m map[string]any
	if err := json.Unmarshal(state, &m); err != nil {
		t.Fatal(err)
	}
	for key, bad := range map[string]any{
		"Version": 9, "Blocks": 5, "Multi": 77, "Power": 12, "Buffer": nil, "UDMA": 33,
		"Bad": []map[string]uint64{{"First": 1 << 40, "N": 1}}, "Host": map[string][]byte{"5": {1}},
	} {
		old := m[key]
		m[key] = bad
		p, _ := json.Marshal(m)
		if b.RestoreState(p) == nil {
			t.Errorf("restored with %s %v", key, bad)
		}
		m[key] = old
	}
}

func TestReadOnly(t *testing.T) {
	m, err := block.NewMemory(make([]byte, 1<<16), true)
	if err != nil {
		t.Fatal(err)
	}
	d := diskOver(t, ata.Options{}, m, devtest.NewClock(time.Time{}))
	for _, cmd := range []uint8{ata.CmdWriteDMAExt, ata.CmdZeroExt, ata.CmdDataSetManagement} {
		if r := run(d, ata.Task{Command: cmd, Feature: 1, Count: 1}, make([]byte, 512)); r.Result.Error != ata.ErrAborted {
			t.Errorf("command %#x on a read-only disk: %+v", cmd, r.Result)
		}
	}
}

// FuzzTask executes tasks of any content on a buffer of any size.
func FuzzTask(f *testing.F) {
	for op := range 256 {
		f.Add(uint8(op), uint16(1), uint64(0xc24f04), uint16(1), uint8(0x40), uint32(1), uint16(512))
		f.Add(uint8(op), uint16(0xd5), uint64(1<<47), uint16(0xffff), uint8(0), uint32(0), uint16(4098))
	}
	f.Fuzz(func(t *testing.T, op uint8, feature uint16, lba uint64, count uint16, device uint8, aux uint32, size uint16) {
		d, _, _ := newDisk(t, ata.Options{}, 64<<10)
		buf := make([]byte, size)
		for i := range buf {
			buf[i] = byte(lba >> (i % 64))
		}
		r := run(d, ata.Task{Command: op, Feature: feature, LBA: lba & (1<<48 - 1), Count: count, Device: device, Aux: aux}, buf)
		if r.Moved < 0 || r.Moved > int64(size) || r.Moved > max(r.Command.Bytes, 0) {
			t.Errorf("%s moved %d bytes of %d, buffer %d", r.Command.Name, r.Moved, r.Command.Bytes, size)
		}
		if r.Result.Status&ata.StatusBusy != 0 || r.Result.Failed() && r.Result.Error == 0 {
			t.Errorf("%s: result %+v", r.Command.Name, r.Result)
		}
		state, err := d.SaveState()
		if err == nil {
			err = d.RestoreState(state)
		}
		if err != nil {
			t.Error(err)
		}
	})
}
