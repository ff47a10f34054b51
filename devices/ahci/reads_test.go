package ahci_test

import (
	"bytes"
	"testing"

	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/devtest"
)

// filled is n bytes that depend on a seed.
func filled(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>9) ^ byte(i)*7 ^ seed
	}
	return p
}

// onFile is an adapter whose port 0 is a file past the page cache.
func onFile(t *testing.T) (*hba, *devtest.File, []byte) {
	content := filled(4<<20, 0)
	f := devtest.NewFile(t, content)
	h := newHBA(t, ahci.Options{})
	h.diskOn(0, ata.Options{}, f)
	h.start(0)
	return h, f, content
}

// TestReads has reads and writes under way in all slots, and then commands that are waited for.
func TestReads(t *testing.T) {
	h, f, content := onFile(t)
	const size = 8 << 10
	for round := range 6 {
		for i := range 32 {
			lba := uint64(i * 24)
			write := i%2 == round%2
			if write {
				data := filled(size, byte(i+round))
				copy(h.bytes(buffer(i), size), data)
				copy(content[lba*512:], data)
			}
			h.build(0, i, queued(i, lba, size/512, write, [2]uint64{buffer(i), 4096}, [2]uint64{buffer(i) + 4096, 4096}))
		}
		h.issue(0, 1<<32-1)
		h.until("commands done", func() bool { return h.pget(0, pCI)|h.pget(0, pSACT) == 0 })
		for i := range 32 {
			if !bytes.Equal(h.bytes(buffer(i), size), content[i*24*512:][:size]) {
				t.Fatalf("round %d: content of slot %d differs", round, i)
			}
		}
		if tfd := h.do(0, 3, command{Task: ata.Task{Command: ata.CmdFlushExt}}); tfd != 0x50 {
			t.Fatalf("FLUSH CACHE EXT: PxTFD is %#x", tfd)
		}
		// One that is not queued holds the next one up.
		c := command{Task: ata.Task{Command: ata.CmdReadDMAExt, LBA: 8, Count: 8, Device: 0x40}, prds: [][2]uint64{{buffer(1), 4096}}}
		h.build(0, 1, c)
		c.prds = [][2]uint64{{buffer(2), 4096}}
		h.build(0, 2, c)
		h.pset(0, pCI, 6)
		h.until("commands done", func() bool { return h.pget(0, pCI) == 0 })
		for i := 1; i <= 2; i++ {
			if !bytes.Equal(h.bytes(buffer(i), 4096), content[4096:8192]) || h.prdbc(0, i) != 4096 {
				t.Errorf("slot %d: %d bytes moved", i, h.prdbc(0, i))
			}
		}
	}
	if f.Offered.Load() == 0 || f.Flushes.Load() != 6 {
		t.Errorf("%d transfers were on the file, with %d flushes", f.Offered.Load(), f.Flushes.Load())
	}
}

// TestReadsErrors reads what the host cannot, and goes on.
func TestReadsErrors(t *testing.T) {
	h, f, content := onFile(t)
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	c := command{Task: ata.Task{Command: ata.CmdReadDMAExt, LBA: 2048 - 4, Count: 8, Device: 0x40}, prds: [][2]uint64{{buffer(0), 4096}}}
	if tfd := h.do(0, 0, c); tfd>>8 != uint32(ata.ErrUncorrectable) || h.pget(0, pIS)>>30&1 == 0 {
		t.Errorf("PxTFD is %#x, PxIS %#x", tfd, h.pget(0, pIS))
	}
	h.restart(0)
	c.LBA = 8
	if tfd := h.do(0, 0, c); tfd != 0x50 || !bytes.Equal(h.bytes(buffer(0), 4096), content[4096:8192]) {
		t.Errorf("PxTFD is %#x", tfd)
	}
}

// TestReadsHotPlug detaches, attaches and pauses a drive with commands under way.
func TestReadsHotPlug(t *testing.T) {
	h, _, content := onFile(t)
	all := func() {
		for i := range 32 {
			h.build(0, i, queued(i, uint64(i), 8, false, [2]uint64{buffer(i), 4096}))
		}
		h.issue(0, 1<<32-1)
	}
	for range 10 {
		all()
		v, err := h.dev.Detach(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.dev.Attach(0, v); err != nil {
			t.Fatal(err)
		}
		h.restart(0)
		all()
		h.dev.Pause()
		if _, err := h.dev.SaveState(); err != nil {
			t.Fatal(err)
		}
		h.dev.Resume()
		h.until("commands done", func() bool { return h.pget(0, pCI)|h.pget(0, pSACT) == 0 })
		if !bytes.Equal(h.bytes(buffer(31), 4096), content[31*512:][:4096]) {
			t.Fatal("content differs")
		}
		all()
		h.dev.Reset()
		h.enable()
		h.start(0)
	}
}
