package ahci_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
)

// start1 returns an adapter with a started disk at port 0.
func start1(t testing.TB, o ahci.Options, a ata.Options) (*hba, *store) {
	h := newHBA(t, o)
	_, s := h.disk(0, a, 1<<20)
	h.start(0)
	return h, s
}

func (h *hba) simple(cmd uint8, feature, count uint16, lba uint64) uint32 {
	h.t.Helper()
	return h.do(0, 0, command{Task: ata.Task{Command: cmd, Feature: feature, Count: count, LBA: lba, Device: 0x40}})
}

// log reads pages of a log through READ LOG DMA EXT, or with SMART READ LOG.
func (h *hba) log(addr uint8, page, n int, smart bool) ([]byte, uint32) {
	h.t.Helper()
	t := ata.Task{Command: ata.CmdReadLogDMAExt, Count: uint16(n), LBA: uint64(addr) | uint64(page&0xff)<<8 | uint64(page>>8)<<32, Device: 0x40}
	if smart {
		t = ata.Task{Command: ata.CmdSMART, Feature: 0xd5, Count: uint16(n), LBA: 0xc24f00 | uint64(addr)}
	}
	clear(h.bytes(buffer(0), n*512))
	tfd := h.do(0, 0, command{Task: t, prds: [][2]uint64{{buffer(0), uint64(n * 512)}}})
	return append([]byte(nil), h.bytes(buffer(0), n*512)...), tfd
}

func TestNonData(t *testing.T) {
	h, s := start1(t, ahci.Options{}, ata.Options{})
	const ok, abort, notFound = 0x50, 0x451, 0x1051
	for _, c := range []struct {
		name           string
		cmd            uint8
		feature, count uint16
		lba            uint64
		want           uint32
	}{
		{"NOP", ata.CmdNOP, 0, 0, 0, abort},
		{"FLUSH CACHE", ata.CmdFlush, 0, 0, 0, ok},
		{"FLUSH CACHE EXT", ata.CmdFlushExt, 0, 0, 0, ok},
		{"READ VERIFY", ata.CmdVerify, 0, 8, 5, ok},
		{"READ VERIFY EXT of 65536", ata.CmdVerifyExt, 0, 0, 0, notFound},
		{"READ VERIFY past the end", ata.CmdVerify, 0, 8, 2047, notFound},
		{"SET MULTIPLE 8", ata.CmdSetMultiple, 0, 8, 0, ok},
		{"SET MULTIPLE 3", ata.CmdSetMultiple, 0, 3, 0, abort},
		{"SET MULTIPLE 32", ata.CmdSetMultiple, 0, 32, 0, abort},
		{"DIAGNOSTIC", ata.CmdDiagnostic, 0, 0, 0, 0x150},
		{"SEEK", ata.CmdSeek, 0, 0, 5, ok},
		{"REQUEST SENSE", ata.CmdRequestSense, 0, 0, 0, ok},
		{"INITIALIZE DEVICE PARAMETERS", ata.CmdInitParameters, 0, 63, 0, ok},
		{"DEVICE RESET", ata.CmdDeviceReset, 0, 0, 0, abort},
		{"unknown", 0xff, 0, 0, 0, abort},
		{"PACKET", ata.CmdPacket, 0, 0, 0, abort},
		{"cache off", ata.CmdSetFeatures, 0x82, 0, 0, ok},
		{"cache on", ata.CmdSetFeatures, 0x02, 0, 0, ok},
		{"UDMA 6", ata.CmdSetFeatures, 0x03, 0x46, 0, ok},
		{"UDMA 7", ata.CmdSetFeatures, 0x03, 0x47, 0, abort},
		{"MWDMA 2", ata.CmdSetFeatures, 0x03, 0x22, 0, ok},
		{"PIO 4", ata.CmdSetFeatures, 0x03, 0x0c, 0, ok},
		{"APM 128", ata.CmdSetFeatures, 0x05, 128, 0, ok},
		{"APM 0", ata.CmdSetFeatures, 0x05, 0, 0, abort},
		{"APM off", ata.CmdSetFeatures, 0x85, 0, 0, ok},
		{"look-ahead off", ata.CmdSetFeatures, 0x55, 0, 0, ok},
		{"auto-activate", ata.CmdSetFeatures, 0x10, 2, 0, ok},
		{"no such SATA feature", ata.CmdSetFeatures, 0x10, 9, 0, abort},
		{"no such feature", ata.CmdSetFeatures, 0x44, 0, 0, abort},
		{"SMART wrong key", ata.CmdSMART, 0xda, 0, 0x123400, abort},
		{"SMART status", ata.CmdSMART, 0xda, 0, 0xc24f00, ok},
		{"SMART off", ata.CmdSMART, 0xd9, 0, 0xc24f00, ok},
		{"SMART status while off", ata.CmdSMART, 0xda, 0, 0xc24f00, abort},
		{"SMART on", ata.CmdSMART, 0xd8, 0, 0xc24f00, ok},
		{"WRITE UNCORRECTABLE, bad feature", ata.CmdWriteUncorrect, 0x11, 1, 7, abort},
		{"ZERO EXT", ata.CmdZeroExt, 0, 8, 16, ok},
		{"ZERO EXT past the end", ata.CmdZeroExt, 0, 8, 2044, notFound},
		{"READ NATIVE MAX", ata.CmdReadNativeMaxExt, 0, 0, 0, ok},
	} {
		got := h.simple(c.cmd, c.feature, c.count, c.lba)
		if got != c.want {
			t.Errorf("%s: PxTFD is %#x, want %#x", c.name, got, c.want)
		}
		if failed := got&1 != 0; failed != (h.pget(0, pIS)>>30&1 != 0) || failed != (h.pget(0, pCI) != 0) {
			t.Errorf("%s: PxIS %#x, PxCI %#x do not fit PxTFD %#x", c.name, h.pget(0, pIS), h.pget(0, pCI), got)
		}
		if got&1 != 0 {
			h.restart(0)
		}
	}
	if !bytes.Equal(s.data[16*512:24*512], make([]byte, 8*512)) {
		t.Error("ZERO EXT left something")
	}
	fis := h.bytes(rxAt(0)+0x40, 20)
	if fis[0] != 0x34 || fis[1] != 0x40 || fis[2] != 0x50 || fis[4] != 0xff || fis[5] != 0x07 {
		t.Errorf("D2H Register FIS of READ NATIVE MAX ADDRESS EXT: % x", fis)
	}
}

// TestErrors lets each way of moving data fail in each way that there is.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		cmd   uint8
		write bool
		ext   bool
	}{
		{ata.CmdReadSectors, false, false}, {ata.CmdReadSectorsExt, false, true}, {ata.CmdReadDMA, false, false},
		{ata.CmdReadDMAExt, false, true}, {ata.CmdReadMultiple, false, false}, {ata.CmdReadFPDMA, false, true},
		{ata.CmdWriteSectors, true, false}, {ata.CmdWriteDMA, true, false}, {ata.CmdWriteDMAExt, true, true},
		{ata.CmdWriteDMAFUAExt, true, true}, {ata.CmdWriteMultipleExt, true, true}, {ata.CmdWriteFPDMA, true, true},
	} {
		h, s := start1(t, ahci.Options{}, ata.Options{})
		ncq := c.cmd == ata.CmdReadFPDMA || c.cmd == ata.CmdWriteFPDMA
		run := func(lba uint64, prds ...[2]uint64) uint32 {
			k := command{Task: ata.Task{Command: c.cmd, LBA: lba & 0xffffff, Count: 8, Device: 0x40 | byte(lba>>24&15)}, prds: prds}
			if c.ext {
				k.LBA, k.Device = lba, 0x40
			}
			if c.write {
				k.flags = 1 << 6
			}
			if ncq {
				k.Feature, k.Count = 8, 0
				h.pset(0, pSACT, 1)
			}
			return h.do(0, 0, k)
		}
		good := [2]uint64{buffer(0), 4096}
		// Past the end: the address of the first block that is not there.
		if tfd := run(2044, good); tfd&0xff01 != 0x1001 {
			t.Errorf("%#x past the end: PxTFD %#x", c.cmd, tfd)
		}
		if !ncq {
			f := h.bytes(rxAt(0)+0x40, 20)
			if lba := int(f[4]) | int(f[5])<<8 | int(f[6])<<16; lba != 2048 {
				t.Errorf("%#x past the end: block %d reported", c.cmd, lba)
			}
		}
		recover := func() {
			h.restart(0)
			if !ncq {
				return
			}
			if tfd := run(0, good); tfd&0xff01 != 0x0401 {
				t.Errorf("%#x after an error, before log 10h was read: PxTFD %#x", c.cmd, tfd)
			}
			h.restart(0)
			p, tfd := h.log(0x10, 0, 1, false)
			if tfd != 0x50 || p[0] != 0 || p[2]&1 == 0 {
				t.Errorf("%#x: log 10h % x (%#x)", c.cmd, p[:17], tfd)
			}
		}
		recover()
		s.set(errors.New("broken"), nil)
		want := uint32(0x4001)
		if c.write {
			want = 0x0421
		}
		if tfd := run(8, good); tfd&0xff21 != want {
			t.Errorf("%#x of a broken store: PxTFD %#x, want %#x", c.cmd, tfd, want)
		}
		s.set(nil, nil)
		recover()
		// A bad pointer in the PRD table is a fatal host bus error.
		run(8, [2]uint64{1 << 40, 4096})
		if is := h.pget(0, pIS); is&(1<<29) == 0 {
			t.Errorf("%#x with a bad PRD: PxIS %#x", c.cmd, is)
		}
		// The drive hangs: only a COMRESET helps.
		h.comreset(0)
		if tfd := run(8, good); tfd&0xff != 0x50 && tfd&0xff != 0x40 {
			t.Errorf("%#x after COMRESET: PxTFD %#x", c.cmd, tfd)
		}
		h.short(c.cmd, c.write, ncq)
	}
}

// comreset stops the port, resets the link and starts it again.
func (h *hba) comreset(port int) {
	h.t.Helper()
	h.pset(port, pCMD, h.pget(port, pCMD)&^1)
	h.until("CR clear", func() bool { return h.pget(port, pCMD)&(1<<15) == 0 })
	h.pset(port, pSCTL, 1)
	h.pset(port, pSCTL, 0)
	h.until("link", func() bool { return h.pget(port, pSSTS)&0xf == 3 && h.pget(port, pTFD)&0x88 == 0 })
	h.pset(port, pSERR, 0xffffffff)
	h.pset(port, pIS, 0xffffffff)
	h.pset(port, pCMD, h.pget(port, pCMD)|1)
}

// short runs a transfer of 8 blocks with PRDs for 4.
func (h *hba) short(cmd uint8, write, ncq bool) {
	h.t.Helper()
	c := command{Task: ata.Task{Command: cmd, LBA: 8, Count: 8, Device: 0x40}, prds: [][2]uint64{{buffer(1), 2048}}}
	if write {
		c.flags = 1 << 6
	}
	if ncq {
		c.Feature, c.Count = 8, 0
		h.pset(0, pSACT, 1)
	}
	h.build(0, 0, c)
	h.pset(0, pCI, 1)
	h.until("overflow", func() bool { return h.pget(0, pIS)&(1<<24) != 0 })
	done := func() bool { return h.pget(0, pCI)|h.pget(0, pSACT) == 0 }
	if !write {
		h.until("read with a short table", done)
		return
	}
	h.pget(0, pTFD)
	if done() {
		h.t.Errorf("%#x: a write with too few PRDs ended", cmd)
	}
}

func TestQueueError(t *testing.T) {
	h, s := start1(t, ahci.Options{}, ata.Options{})
	gate := make(chan struct{})
	s.set(nil, gate)
	h.build(0, 4, queued(4, 0, 1, false, [2]uint64{buffer(4), 512}))
	h.build(0, 9, queued(9, 1<<40, 1, false, [2]uint64{buffer(9), 512}))
	h.issue(0, 1<<4)
	h.until("accepted", func() bool { return h.pget(0, pCI) == 0 })
	h.issue(0, 1<<9)
	h.until("error", func() bool { return h.pget(0, pIS)&(1<<30) != 0 })
	close(gate)
	h.dev.Pause() // the other one is done, and not reported
	h.dev.Resume()
	if sdb := h.bytes(rxAt(0)+0x58, 8); sdb[0] != 0xa1 || sdb[2]&1 == 0 || sdb[3] != 0x10 || h.u32(rxAt(0)+0x5c) != 0 {
		t.Errorf("Set Device Bits FIS % x", sdb)
	}
	if v := h.pget(0, pSACT); v != 1<<4|1<<9 {
		t.Errorf("PxSACT is %#x after an error: nothing more completes", v)
	}
	h.restart(0)
	if h.pget(0, pSACT)|h.pget(0, pCI) != 0 {
		t.Error("PxSACT and PxCI survive ST")
	}
	p, _ := h.log(0x10, 0, 1, false)
	if p[0] != 9 || p[3] != 0x10 || p[10] != 1 {
		t.Errorf("log 10h: % x", p[:17])
	}
	// A command that is not queued among queued ones is refused.
	gate = make(chan struct{})
	s.set(nil, gate)
	h.issue(0, 1<<4)
	h.until("accepted", func() bool { return h.pget(0, pCI) == 0 })
	if tfd := h.simple(ata.CmdFlush, 0, 0, 0); tfd&0xff01 != 0x401 {
		t.Errorf("FLUSH among queued commands: PxTFD %#x", tfd)
	}
	close(gate)
	s.set(nil, nil)
}

func TestDurability(t *testing.T) {
	h, s := start1(t, ahci.Options{}, ata.Options{})
	write := func(cmd uint8, dev uint8) int {
		before := s.flushed()
		c := command{Task: ata.Task{Command: cmd, Count: 1, Device: dev}, flags: 1 << 6, prds: [][2]uint64{{buffer(0), 512}}}
		if cmd == ata.CmdWriteFPDMA {
			c.Feature, c.Count = 1, 0
			h.pset(0, pSACT, 1)
		}
		h.do(0, 0, c)
		return s.flushed() - before
	}
	for _, c := range []struct {
		name  string
		cmd   uint8
		dev   uint8
		cache bool
		want  int
	}{
		{"cached", ata.CmdWriteDMAExt, 0x40, true, 0}, {"queued, cached", ata.CmdWriteFPDMA, 0x40, true, 0},
		{"FUA", ata.CmdWriteDMAFUAExt, 0x40, true, 1}, {"queued FUA", ata.CmdWriteFPDMA, 0xc0, true, 1},
		{"no cache", ata.CmdWriteDMAExt, 0x40, false, 1}, {"queued, no cache", ata.CmdWriteFPDMA, 0x40, false, 1},
	} {
		sub := uint16(0x82)
		if c.cache {
			sub = 0x02
		}
		h.simple(ata.CmdSetFeatures, sub, 0, 0)
		if got := write(c.cmd, c.dev); got != c.want {
			t.Errorf("%s: %d flushes, want %d", c.name, got, c.want)
		}
	}
	if id := h.identify(0); id[2*85]&(1<<5) != 0 {
		t.Error("IDENTIFY says that the cache is on")
	}
}

func TestTrim(t *testing.T) {
	for _, zeroes := range []bool{false, true} {
		h, s := start1(t, ahci.Options{}, ata.Options{TrimZeroes: zeroes})
		entry := func(i int, lba uint64, n uint16) {
			binary.LittleEndian.PutUint64(h.bytes(buffer(0)+uint64(8*i), 8), lba|uint64(n)<<48)
		}
		entry(0, 10, 4)
		entry(1, 100, 1)
		trim := command{Task: ata.Task{Command: ata.CmdDataSetManagement, Feature: 1, Count: 1, Device: 0x40}, flags: 1 << 6, prds: [][2]uint64{{buffer(0), 512}}}
		if tfd := h.do(0, 0, trim); tfd != 0x50 {
			t.Fatalf("TRIM: PxTFD %#x", tfd)
		}
		got := s.discards
		if zeroes {
			got = s.zeroes
		}
		if len(got) != 2 || got[0] != [2]int64{10 * 512, 4 * 512} || got[1] != [2]int64{100 * 512, 512} {
			t.Errorf("zeroes %v: trimmed %v", zeroes, got)
		}
		id := h.identify(0)
		if drat := id[2*69+1]&(1<<6) != 0; id[2*169]&1 == 0 || drat != zeroes {
			t.Errorf("IDENTIFY words 169, 69: %#x %#x", id[2*169], id[2*69+1])
		}
		// The queued form.
		clear(h.bytes(buffer(0), 512))
		entry(0, 10, 4)
		entry(1, 100, 1)
		send := command{Task: ata.Task{Command: ata.CmdSendFPDMA, Feature: 1, Aux: 1, Device: 0x40}, flags: 1 << 6, prds: [][2]uint64{{buffer(0), 512}}}
		h.pset(0, pSACT, 1)
		h.do(0, 0, send)
		if h.pget(0, pSACT) != 0 || len(s.discards)+len(s.zeroes) != 4 {
			t.Error("the queued form did nothing")
		}
		// One bad range spoils all.
		clear(h.bytes(buffer(0), 512))
		entry(0, 10, 4)
		entry(1, 2047, 2)
		if tfd := h.do(0, 0, trim); tfd&0xff01 != 0x1001 || len(s.discards)+len(s.zeroes) != 4 {
			t.Errorf("TRIM past the end: PxTFD %#x", tfd)
		}
	}
}

func TestUncorrectable(t *testing.T) {
	h, _ := start1(t, ahci.Options{}, ata.Options{})
	h.simple(ata.CmdWriteUncorrect, 0x55, 4, 100)
	read := command{Task: ata.Task{Command: ata.CmdReadDMAExt, LBA: 96, Count: 8, Device: 0x40}, prds: [][2]uint64{{buffer(0), 4096}}}
	if tfd := h.do(0, 0, read); tfd != 0x4051 {
		t.Errorf("read of bad blocks: PxTFD %#x", tfd)
	}
	if f := h.bytes(rxAt(0)+0x40, 20); f[4] != 100 {
		t.Errorf("block %d is reported", f[4])
	}
	h.restart(0)
	// The logs know.
	if p, _ := h.log(0x01, 0, 1, true); p[1] != 1 || p[452] != 1 || p[2+60+1] != 0x40 || p[2+60+3] != 100 {
		t.Errorf("summary error log % x", p[:100])
	}
	if p, _ := h.log(0x03, 0, 1, false); p[2] != 1 || p[500] != 1 || p[4+90+1] != 0x40 || p[4+72+12] != ata.CmdReadDMAExt {
		t.Errorf("extended error log % x", p[:130])
	}
	// A short self-test finds them, after its time.
	h.simple(ata.CmdSMART, 0xd4, 0, 0xc24f01)
	data := func() []byte {
		h.do(0, 0, command{Task: ata.Task{Command: ata.CmdSMART, Feature: 0xd0, LBA: 0xc24f00}, prds: [][2]uint64{{buffer(0), 512}}})
		return h.bytes(buffer(0), 512)
	}
	if p := data(); p[363]>>4 != 0xf || p[2+6*12] != 197 || p[2+6*12+5] != 4 {
		t.Errorf("self-test status %#x, attribute %d is %d", p[363], p[2+6*12], p[2+6*12+5])
	}
	h.clock.Advance(61e9)
	if p := data(); p[363]>>4 != 7 {
		t.Errorf("self-test status %#x", p[363])
	}
	if p, _ := h.log(0x06, 0, 1, true); p[2] != 1 || p[3]>>4 != 7 || p[7] != 100 || p[508] != 1 {
		t.Errorf("self-test log % x", p[:30])
	}
	if p, _ := h.log(0x07, 0, 1, false); p[4] != 1 || p[5]>>4 != 7 || p[2] != 1 {
		t.Errorf("extended self-test log % x", p[:30])
	}
	// Writing heals.
	h.do(0, 0, command{Task: ata.Task{Command: ata.CmdWriteDMAExt, LBA: 96, Count: 8, Device: 0x40}, flags: 1 << 6, prds: [][2]uint64{{buffer(0), 4096}}})
	if tfd := h.do(0, 0, read); tfd != 0x50 {
		t.Errorf("read of rewritten blocks: PxTFD %#x", tfd)
	}
}

func TestLogs(t *testing.T) {
	h, _ := start1(t, ahci.Options{}, ata.Options{})
	dir, tfd := h.log(0, 0, 1, false)
	if tfd != 0x50 || dir[0] != 1 {
		t.Fatalf("directory: %#x, % x", tfd, dir[:8])
	}
	sums := map[int]bool{0x03: true, 0x07: true, 0x10: true, 0x11: true}
	for i := 1; i < 256; i++ {
		n := int(binary.LittleEndian.Uint16(dir[2*i:]))
		if n == 0 {
			if _, tfd := h.log(uint8(i), 0, 1, false); tfd != 0x451 {
				t.Errorf("log %#x is not in the directory, but answers with %#x", i, tfd)
			}
			h.restart(0)
			continue
		}
		p, tfd := h.log(uint8(i), 0, n, false)
		if tfd != 0x50 {
			t.Errorf("log %#x, %d pages: %#x", i, n, tfd)
		}
		if sums[i] {
			var sum byte
			for _, b := range p[:512] {
				sum += b
			}
			if sum != 0 {
				t.Errorf("log %#x: bad checksum", i)
			}
		}
		if _, tfd := h.log(uint8(i), n, 1, false); tfd != 0x451 {
			t.Errorf("log %#x past its end: %#x", i, tfd)
		}
		h.restart(0)
	}
	// The IDENTIFY log repeats IDENTIFY; capacity is in page 2.
	p, _ := h.log(0x30, 0, 3, false)
	if !bytes.Equal(p[512:1024], h.identify(0)) || binary.LittleEndian.Uint64(p[1024+8:]) != 1<<63|2048 {
		t.Error("IDENTIFY DEVICE data log")
	}
	// A host's log keeps what is written, through either command set.
	copy(h.bytes(buffer(0), 1024), "written by the host")
	if tfd := h.do(0, 0, command{Task: ata.Task{Command: ata.CmdWriteLogDMAExt, Count: 1, LBA: 0x80 | 1<<8, Device: 0x40}, flags: 1 << 6, prds: [][2]uint64{{buffer(0), 512}}}); tfd != 0x50 {
		t.Fatalf("WRITE LOG DMA EXT: %#x", tfd)
	}
	if p, _ := h.log(0x80, 0, 2, true); string(p[512:519]) != "written" {
		t.Errorf("host log %q", p[512:530])
	}
}

func TestPower(t *testing.T) {
	h, s := start1(t, ahci.Options{}, ata.Options{})
	mode := func() byte {
		h.simple(ata.CmdCheckPower, 0, 0, 0)
		return h.bytes(rxAt(0)+0x40, 20)[12]
	}
	step := func(name string, want byte) {
		t.Helper()
		if got := mode(); got != want {
			t.Errorf("%s: mode %#x, want %#x", name, got, want)
		}
	}
	step("at first", 0xff)
	h.simple(ata.CmdIdleImmediate, 0, 0, 0)
	step("idle", 0x80)
	h.simple(ata.CmdStandbyImmediate, 0, 0, 0)
	step("standby", 0)
	if s.flushed() != 1 {
		t.Errorf("%d flushes on the way to standby", s.flushed())
	}
	read := command{Task: ata.Task{Command: ata.CmdReadDMA, Count: 1, Device: 0x40}, prds: [][2]uint64{{buffer(0), 512}}}
	h.do(0, 0, read)
	step("after a read", 0xff)
	h.simple(ata.CmdIdle, 0, 2, 0) // standby after 10 s
	h.clock.Advance(9e9)
	h.do(0, 0, read)
	h.clock.Advance(9e9)
	step("9 s after the last use", 0xff)
	h.clock.Advance(2e9)
	step("after the standby timer", 0)
	h.simple(ata.CmdSleep, 0, 0, 0)
	h.build(0, 0, read)
	h.pset(0, pCI, 1)
	h.until("no answer in sleep", func() bool { return h.pget(0, pTFD)&0x80 != 0 })
	h.comreset(0)
	step("after COMRESET", 0)
}
