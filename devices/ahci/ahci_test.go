package ahci_test

import (
	"bytes"
	"testing"

	"dfemu/devices"
	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/devtest"
)

func TestIdentityAndRegisters(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	fn := h.dev.Function()
	if id, class := fn.Config(0, 4), fn.Config(8, 4); id != 0x29228086 || class>>8 != 0x010601 {
		t.Errorf("identity %#x, class %#x", id, class)
	}
	for _, c := range []struct {
		name string
		off  uint64
		want uint32
	}{
		{"CAP", rCAP, 5 | 31<<8 | 3<<20 | 1<<7 | 7<<13 | 1<<18 | 7<<24 | 7<<29},
		{"GHC", rGHC, 1 << 31}, {"IS", rIS, 0}, {"PI", rPI, 0x3f}, {"VS", rVS, 0x00010301}, {"CAP2", rCAP2, 5},
		{"CCC_CTL", rCCC, 0x00010100 | 6<<3}, {"BOHC", rBOHC, 0}, {"reserved", 0x2c, 0},
		{"PxCMD", pr(0, pCMD), 1<<18 | 6}, {"PxTFD", pr(0, pTFD), 0x7f}, {"PxSIG", pr(0, pSIG), 0xffffffff},
		{"PxSSTS", pr(0, pSSTS), 0}, {"no port", pr(9, pCMD), 0},
	} {
		if got := h.get(c.off); got != c.want {
			t.Errorf("%s is %#x, want %#x", c.name, got, c.want)
		}
	}
	// Parts of registers, and two at a time.
	h.pset(0, pCLB, 0x12345400)
	if v := h.mmio.Read(abar+pr(0, pCLB)+1, 1); v != 0x54 {
		t.Errorf("byte 1 of PxCLB is %#x", v)
	}
	h.mmio.Write(abar+pr(0, pCLB), 8, 0x1_2345_67ff)
	if v := h.mmio.Read(abar+pr(0, pCLB), 8); v != 0x1_2345_6400 {
		t.Errorf("PxCLB and PxCLBU are %#x", v)
	}
	// The index-data pair, whose accesses are seen like others.
	rec := &devtest.Recorder{}
	h.dev.Function().Probe().Watch(devices.ClassRegister, rec, nil)
	h.ports.Write(idp+16, 4, pr(0, pCLB))
	if v := h.ports.Read(idp+20, 4); v != 0x23456400 || !rec.Has("register PxCLB[0] write=false value=0x23456400") {
		t.Errorf("PxCLB through the index-data pair is %#x; seen is %s", v, rec.Log())
	}
}

func TestIdentify(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	h.disk(1, ata.Options{Serial: "ABC123", Model: "Model X", Firmware: "F1", WWN: 0x5000c50012345678}, 1<<20)
	if ssts, sig := h.pget(1, pSSTS), h.pget(1, pSIG); ssts != 0x133 || sig != 0x101 {
		t.Fatalf("PxSSTS %#x, PxSIG %#x", ssts, sig)
	}
	h.start(1)
	id := h.identify(1)
	for _, c := range []struct {
		name string
		off  int
		want string
	}{{"serial", 20, "BA1C32              "}, {"firmware", 46, "1F      "}, {"model", 54, "oMed l X"}} {
		if got := string(id[c.off : c.off+len(c.want)]); got != c.want {
			t.Errorf("%s is %q, want %q", c.name, got, c.want)
		}
	}
	if n := h.prdbc(1, 0); n != 512 {
		t.Errorf("PRDBC is %d", n)
	}
	if is := h.pget(1, pIS); is&3 != 2 {
		t.Errorf("PxIS is %#x: a PIO read ends with a PIO Setup FIS alone", is)
	}
	fis := h.bytes(rxAt(1)+0x20, 20)
	if fis[0] != 0x5f || fis[1] != 0x60 || fis[2] != 0x58 || fis[15] != 0x50 || fis[16] != 0 || fis[17] != 2 {
		t.Errorf("PIO Setup FIS % x", fis)
	}
	var sum byte
	for _, b := range id {
		sum += b
	}
	if sum != 0 || id[510] != 0xa5 {
		t.Errorf("integrity word: sum %#x, signature %#x", sum, id[510])
	}
}

// TestTransfers moves data with every read and write command, in one piece and in
// many.
func TestTransfers(t *testing.T) {
	shapes := map[string]func(at uint64, n int) [][2]uint64{
		"one": func(at uint64, n int) [][2]uint64 { return [][2]uint64{{at, uint64(n)}} },
		"many": func(at uint64, n int) (l [][2]uint64) {
			for sizes := []int{2, 510, 1024, 62}; n > 0; {
				k := min(n, sizes[len(l)%4])
				l = append(l, [2]uint64{at, uint64(k)})
				at += uint64(k)
				n -= k
			}
			return l
		},
		"too much": func(at uint64, n int) [][2]uint64 { return [][2]uint64{{at, uint64(n)}, {at + uint64(n), 4096}} },
	}
	type op struct {
		cmd    uint8
		ext    bool
		write  bool
		blocks []uint16
	}
	ops := []op{
		{ata.CmdReadSectors, false, false, []uint16{1, 8, 100}}, {ata.CmdReadSectorsExt, true, false, []uint16{1, 9}},
		{ata.CmdReadDMA, false, false, []uint16{1, 8}}, {ata.CmdReadDMAExt, true, false, []uint16{1, 8, 64}},
		{ata.CmdReadMultiple, false, false, []uint16{1, 16, 33}}, {ata.CmdReadMultipleExt, true, false, []uint16{17}},
		{ata.CmdReadFPDMA, true, false, []uint16{1, 8, 64}},
		{ata.CmdWriteSectors, false, true, []uint16{1, 8}}, {ata.CmdWriteSectorsExt, true, true, []uint16{5}},
		{ata.CmdWriteDMA, false, true, []uint16{1, 8}}, {ata.CmdWriteDMAExt, true, true, []uint16{1, 64}},
		{ata.CmdWriteDMAFUAExt, true, true, []uint16{4}}, {ata.CmdWriteMultiple, false, true, []uint16{16, 33}},
		{ata.CmdWriteMultipleExt, true, true, []uint16{3}}, {ata.CmdWriteMultipleFUA, true, true, []uint16{3}},
		{ata.CmdWriteFPDMA, true, true, []uint16{1, 8, 64}},
	}
	for _, bs := range []int{512, 4096} {
		h := newHBA(t, ahci.Options{})
		_, s := h.disk(0, ata.Options{LogicalSize: bs}, 2<<20)
		h.start(0)
		for _, o := range ops {
			for shape, split := range shapes {
				for _, n := range o.blocks {
					if int(n)*bs > 0x20000 {
						continue
					}
					const slot, lba = 3, 37
					size := int(n) * bs
					c := command{Task: ata.Task{Command: o.cmd, LBA: lba, Count: n, Device: 0x40}, prds: split(buffer(0), size)}
					if o.write {
						c.flags = 1 << 6
					}
					if o.cmd == ata.CmdReadFPDMA || o.cmd == ata.CmdWriteFPDMA {
						c.Feature, c.Count = n, slot<<3
						h.pset(0, pSACT, 1<<slot)
					}
					mem, disk := h.bytes(buffer(0), size), s.data[lba*bs:lba*bs+size]
					for i := range mem {
						mem[i] = byte(i*3) ^ o.cmd ^ byte(n)
					}
					if h.do(0, slot, c) != 0x50 && c.Feature == 0 {
						t.Errorf("%#x %s %d: PxTFD is %#x", o.cmd, shape, n, h.pget(0, pTFD))
					}
					if !bytes.Equal(mem, disk) {
						t.Errorf("command %#x, %s, %d blocks of %d: memory and disk differ", o.cmd, shape, n, bs)
					}
					if got := h.prdbc(0, slot); c.Feature == 0 && got != uint32(size) {
						t.Errorf("command %#x, %s, %d blocks: PRDBC is %d, want %d", o.cmd, shape, n, got, size)
					}
				}
			}
		}
	}
}

func TestQueueOutOfOrder(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	_, s := h.disk(0, ata.Options{}, 1<<20)
	h.start(0)
	h.set(rGHC, 2)
	h.pset(0, pIE, 8)
	gate := make(chan struct{})
	s.set(nil, gate)
	h.build(0, 0, queued(0, 5, 1, false, [2]uint64{buffer(0), 512}))
	h.build(0, 1, queued(1, 9, 1, true, [2]uint64{buffer(1), 512}))
	h.issue(0, 1)
	h.until("accepted", func() bool { return h.pget(0, pCI) == 0 })
	h.issue(0, 2)
	// The write does not wait for the read.
	h.until("write done", func() bool { return h.pget(0, pSACT) == 1 })
	h.until("interrupt", h.irq.Level) // which the adapter raises after the port's registers show why
	if !h.irq.Level() || h.get(rIS) != 1 || h.pget(0, pIS)&8 == 0 {
		t.Errorf("interrupt %v, IS %#x, PxIS %#x", h.irq.Level(), h.get(rIS), h.pget(0, pIS))
	}
	if sdb := h.bytes(rxAt(0)+0x58, 8); sdb[0] != 0xa1 || sdb[1] != 0x40 || sdb[4] != 2 {
		t.Errorf("Set Device Bits FIS % x", sdb)
	}
	close(gate)
	h.until("read done", func() bool { return h.pget(0, pSACT) == 0 })
	if !bytes.Equal(h.bytes(buffer(0), 512), s.data[5*512:6*512]) {
		t.Error("wrong data")
	}
	h.pset(0, pIS, 8)
	h.set(rIS, 1)
	if h.irq.Level() {
		t.Error("the interrupt stays after it was acknowledged")
	}
}

func TestDeepQueue(t *testing.T) {
	h := newHBA(t, ahci.Options{})
	_, s := h.disk(0, ata.Options{}, 1<<20)
	h.start(0)
	for round := range 20 {
		for i := range 32 {
			h.build(0, i, queued(i, uint64(i*8+round), 8, false, [2]uint64{buffer(i), 4096}))
		}
		h.issue(0, 0xffffffff)
		h.until("queue empty", func() bool { return h.pget(0, pSACT)|h.pget(0, pCI) == 0 })
		for i := range 32 {
			if !bytes.Equal(h.bytes(buffer(i), 4096), s.data[(i*8+round)*512:][:4096]) {
				t.Fatalf("round %d, tag %d: wrong data", round, i)
			}
			clear(h.bytes(buffer(i), 4096))
		}
	}
}
