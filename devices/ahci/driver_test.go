package ahci_test

import (
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/block"
	"dfemu/devices/devtest"
	"dfemu/devices/pci"
)

// Registers.
const (
	rCAP, rGHC, rIS, rPI, rVS            = 0x00, 0x04, 0x08, 0x0c, 0x10
	rCCC, rCCCPorts, rCAP2, rBOHC        = 0x14, 0x18, 0x24, 0x28
	pCLB, pCLBU, pFB, pFBU, pIS, pIE     = 0x00, 0x04, 0x08, 0x0c, 0x10, 0x14
	pCMD, pTFD, pSIG, pSSTS, pSCTL       = 0x18, 0x20, 0x24, 0x28, 0x2c
	pSERR, pSACT, pCI, pSNTF, pFBS       = 0x30, 0x34, 0x38, 0x3c, 0x40
	ramSize                              = 16 << 20
	abar, idp                            = 0xfebf0000, 0xc000
	listBase, tableBase, fisBase, dataAt = 0x10000, 0x100000, 0x80000, 0x800000
	patience                             = 20 * time.Second
)

// hba is an adapter with its driver.
type hba struct {
	t     testing.TB
	dev   *ahci.Device
	ram   *devtest.RAM
	clock *devtest.Clock
	mmio  devices.Space
	ports devices.Space
	irq   *devtest.Line
	msi   *devtest.MSI
	host  *pci.Host

	store0 *store // of the disk at port 0, where a test needs it
}

func newHBA(t testing.TB, o ahci.Options) *hba {
	t.Helper()
	h := &hba{t: t, ram: devtest.NewRAM(ramSize), clock: devtest.NewClock(time.Unix(1e9, 0)), irq: &devtest.Line{}, msi: &devtest.MSI{}}
	o.Name, o.Clock = "ahci0", h.clock
	var err error
	if h.dev, err = ahci.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.dev.Close(); err != nil {
			t.Error(err)
		}
	})
	env := pci.Env{MMIO: &h.mmio, Ports: &h.ports, Memory: h.ram, MSI: h.msi}
	for i := range env.PIRQ {
		env.PIRQ[i] = devices.NoLine
	}
	const slot = 5
	env.PIRQ[4+slot%4] = h.irq
	h.host = pci.NewHost(env)
	fn := h.dev.Function()
	if err := h.host.Bus().Add(slot, 0, fn); err != nil {
		t.Fatal(err)
	}
	h.enable()
	return h
}

// enable programs configuration space.
func (h *hba) enable() {
	fn := h.dev.Function()
	fn.WriteConfig(pci.RegBAR0+20, 4, abar)
	fn.WriteConfig(pci.RegBAR0+16, 4, idp)
	fn.WriteConfig(pci.RegCommand, 2, pci.CommandIO|pci.CommandMemory|pci.CommandMaster)
}

func (h *hba) get(off uint64) uint32 { return uint32(h.mmio.Read(abar+off, 4)) }
func (h *hba) set(off uint64, v uint32) {
	h.mmio.Write(abar+off, 4, uint64(v))
}
func pr(port int, off uint64) uint64               { return 0x100 + 0x80*uint64(port) + off }
func (h *hba) pget(port int, off uint64) uint32    { return h.get(pr(port, off)) }
func (h *hba) pset(port int, off uint64, v uint32) { h.set(pr(port, off), v) }
func (h *hba) put32(addr uint64, v uint32)         { binary.LittleEndian.PutUint32(h.ram.Data[addr:], v) }
func (h *hba) u32(addr uint64) uint32              { return binary.LittleEndian.Uint32(h.ram.Data[addr:]) }
func (h *hba) bytes(addr uint64, n int) []byte     { return h.ram.Data[addr : addr+uint64(n)] }
func listAt(port int) uint64                       { return listBase + uint64(port)*0x400 }
func rxAt(port int) uint64                         { return fisBase + uint64(port)*0x1000 }
func tableAt(port, slot int) uint64                { return tableBase + uint64(port*32+slot)*0x1000 }
func buffer(slot int) uint64                       { return dataAt + uint64(slot)*0x20000 }
func (h *hba) disk(port int, o ata.Options, size int) (*ata.Disk, *store) {
	h.t.Helper()
	s := newStore(h.t, size)
	return h.diskOn(port, o, s), s
}

func (h *hba) newDisk(o ata.Options, s devices.Block) *ata.Disk {
	h.t.Helper()
	o.Name, o.Clock = "disk", h.clock
	if o.Serial == "" {
		o.Serial = "SN1"
	}
	d, err := ata.New(o, s)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

func (h *hba) diskOn(port int, o ata.Options, s devices.Block) *ata.Disk {
	h.t.Helper()
	d := h.newDisk(o, s)
	if err := h.dev.Attach(port, d); err != nil {
		h.t.Fatal(err)
	}
	return d
}

// until waits for a condition that the device's workers bring about.
func (h *hba) until(what string, f func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			h.t.Fatalf("waited in vain: %s; port 0: CI %#x SACT %#x TFD %#x IS %#x CMD %#x", what,
				h.pget(0, pCI), h.pget(0, pSACT), h.pget(0, pTFD), h.pget(0, pIS), h.pget(0, pCMD))
		}
	}
}

// start gives a port its memory and starts it.
func (h *hba) start(port int) {
	h.pset(port, pCLB, uint32(listAt(port)))
	h.pset(port, pFB, uint32(rxAt(port)))
	h.pset(port, pSERR, 0xffffffff)
	h.pset(port, pIS, 0xffffffff)
	h.pset(port, pCMD, h.pget(port, pCMD)|0x10)
	h.pset(port, pCMD, h.pget(port, pCMD)|1)
}

// stop stops it, waits, and starts it again.
func (h *hba) restart(port int) {
	h.t.Helper()
	h.pset(port, pCMD, h.pget(port, pCMD)&^1)
	h.until("CR clear", func() bool { return h.pget(port, pCMD)&(1<<15) == 0 })
	h.pset(port, pSERR, 0xffffffff)
	h.pset(port, pIS, 0xffffffff)
	h.pset(port, pCMD, h.pget(port, pCMD)|1)
}

// A command is what the driver puts into a slot.
type command struct {
	ata.Task
	prds   [][2]uint64 // address, bytes
	flags  uint32      // of the header: 1<<6 write …
	pmp    uint8
	ctl    bool // the C bit of the FIS is clear
	packet []byte
}

func (h *hba) build(port, slot int, c command) {
	t := tableAt(port, slot)
	f := h.bytes(t, 0x80)
	clear(f)
	f[0], f[1] = 0x27, 0x80|c.pmp
	if c.ctl {
		f[1] = c.pmp
	}
	f[2], f[3], f[11] = c.Command, byte(c.Feature), byte(c.Feature>>8)
	f[4], f[5], f[6] = byte(c.LBA), byte(c.LBA>>8), byte(c.LBA>>16)
	f[8], f[9], f[10] = byte(c.LBA>>24), byte(c.LBA>>32), byte(c.LBA>>40)
	f[7], f[15] = c.Device, c.Control
	binary.LittleEndian.PutUint16(f[12:], c.Count)
	binary.LittleEndian.PutUint32(f[16:], c.Aux)
	copy(f[0x40:], c.packet)
	for i, p := range c.prds {
		e := t + 0x80 + uint64(i)*16
		binary.LittleEndian.PutUint64(h.ram.Data[e:], p[0])
		h.put32(e+8, 0)
		h.put32(e+12, uint32(p[1]-1))
	}
	hd := listAt(port) + uint64(slot)*32
	h.put32(hd, 5|c.flags|uint32(c.pmp)<<12|uint32(len(c.prds))<<16)
	h.put32(hd+4, 0)
	binary.LittleEndian.PutUint64(h.ram.Data[hd+8:], t)
}

// do executes a command that is not queued and waits for its end: it returns PxTFD.
func (h *hba) do(port, slot int, c command) uint32 {
	h.t.Helper()
	h.build(port, slot, c)
	h.pset(port, pIS, h.pget(port, pIS))
	h.pset(port, pCI, 1<<slot)
	h.wait(port, slot)
	return h.pget(port, pTFD)
}

// wait waits until a slot is done, or the port has stopped on an error.
func (h *hba) wait(port, slot int) {
	h.t.Helper()
	h.until("command done", func() bool {
		return (h.pget(port, pCI)|h.pget(port, pSACT))>>slot&1 == 0 || h.pget(port, pIS)&(1<<30|1<<29|1<<27) != 0
	})
}

// prdbc is how many bytes the adapter says it moved.
func (h *hba) prdbc(port, slot int) uint32 { return h.u32(listAt(port) + uint64(slot)*32 + 4) }

// identify returns IDENTIFY data.
func (h *hba) identify(port int) []byte {
	h.t.Helper()
	if tfd := h.do(port, 0, command{Task: ata.Task{Command: ata.CmdIdentify}, prds: [][2]uint64{{buffer(0), 512}}}); tfd != 0x50 {
		h.t.Fatalf("IDENTIFY DEVICE: PxTFD is %#x", tfd)
	}
	return append([]byte(nil), h.bytes(buffer(0), 512)...)
}

// queued returns a queued read or write of n blocks.
func queued(slot int, lba uint64, n uint16, write bool, prds ...[2]uint64) command {
	c := command{Task: ata.Task{Command: ata.CmdReadFPDMA, LBA: lba, Feature: n, Count: uint16(slot) << 3, Device: 0x40}, prds: prds}
	if write {
		c.Command, c.flags = ata.CmdWriteFPDMA, 1<<6
	}
	return c
}

// issue starts a queued command that was built.
func (h *hba) issue(port int, slots uint32) {
	h.pset(port, pSACT, slots)
	h.pset(port, pCI, slots)
}

// store is a disk in memory that counts, and can be made to fail or to wait.
type store struct {
	devices.Block
	mu       sync.Mutex
	data     []byte
	flushes  int
	writes   int // that are complete
	discards [][2]int64
	zeroes   [][2]int64
	fail     error
	gate     chan struct{} // reads wait for it, if not nil
	ro       bool
	closed   bool
	lost     bool
}

func newStore(t testing.TB, size int) *store {
	t.Helper()
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i>>9) ^ byte(i)*7
	}
	m, err := block.NewMemory(data, false)
	if err != nil {
		t.Fatal(err)
	}
	return &store{Block: m, data: data}
}

func (s *store) get() (gate chan struct{}, fail error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gate, s.fail
}

func (s *store) set(fail error, gate chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.gate = fail, gate
}

func (s *store) ReadAt(p []byte, off int64) (int, error) {
	gate, fail := s.get()
	if gate != nil {
		<-gate
	}
	if fail != nil {
		return 0, fail
	}
	return s.Block.ReadAt(p, off)
}

func (s *store) WriteAt(p []byte, off int64) (int, error) {
	if _, fail := s.get(); fail != nil {
		return 0, fail
	}
	n, err := s.Block.WriteAt(p, off)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return n, err
}

func (s *store) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes++
	return s.fail
}

func (s *store) flushed() int { s.mu.Lock(); defer s.mu.Unlock(); return s.flushes }

func (s *store) Discard(off, n int64) error {
	s.mu.Lock()
	s.discards = append(s.discards, [2]int64{off, n})
	s.mu.Unlock()
	return s.Block.Discard(off, n)
}

func (s *store) WriteZeroes(off, n int64, unmap bool) error {
	s.mu.Lock()
	s.zeroes = append(s.zeroes, [2]int64{off, n})
	s.mu.Unlock()
	return s.Block.WriteZeroes(off, n, unmap)
}

func (s *store) ReadOnly() bool   { return s.ro }
func (s *store) Close() error     { s.closed = true; return nil }
func (s *store) PowerLoss() error { s.lost = true; return nil }
