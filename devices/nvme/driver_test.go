package nvme_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/devtest"
	"dfemu/devices/nvme"
	"dfemu/devices/pci"
)

var le = binary.LittleEndian

// Places in the test machine.
const (
	ramSize  = 24 << 20
	ringBase = 1 << 20 // queues from here on
	dataBase = 6 << 20 // buffers from here on
	barBase  = 0x8_0000_0000
	cmbBase  = 0x9_0000_0000
	slot     = 3
	patience = 20 * time.Second
	pageSize = 4096
)

// driver is a small NVMe driver bound to one controller.
type driver struct {
	t     testing.TB
	dev   *nvme.Device
	ram   *devtest.RAM
	host  *pci.Host
	mmio  devices.Space
	pin   *devtest.Line
	clock *devtest.Clock
	mode  string // "msix", "msi", "intx"

	mu    sync.Mutex
	msgs  [256]int
	wakes chan struct{}

	rings, data uint64
	q           [130]*pair
}

// pair is a queue pair.
type pair struct {
	d              *driver
	id             int
	size           uint32
	sq, cq         uint64
	tail, head     uint32
	phase          uint32
	next           uint16
	stash          []cqe
	shadow, events uint64 // shadow doorbells, if used
}

// cqe is a completion.
type cqe struct {
	dw0, dw1 uint32
	sqhd, sq uint16
	cid      uint16
	status   uint16 // without the phase
	code     uint16 // type and code
}

// sqe is a command.
type sqe struct {
	op, fuse, psdt uint8
	nsid           uint32
	prp1, prp2     uint64
	dw             [6]uint32 // 10 to 15
	cid            int       // -1: next; others as they are, from 1
}

func (d *driver) SendMSI(_ uint64, data uint32) {
	d.mu.Lock()
	d.msgs[data&0xff]++
	d.mu.Unlock()
	select {
	case d.wakes <- struct{}{}:
	default:
	}
}

func (d *driver) messages(vector int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.msgs[vector]
}

// store returns a disk of n bytes of a pattern.
func store(t testing.TB, n int) devices.Block {
	t.Helper()
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i+8 <= len(p); i += 8 {
		le.PutUint64(p[i:], r.Uint64())
	}
	b, err := block.NewMemory(p, false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const diskSize = 4 << 20

// newDriver makes a controller with one namespace unless o has some, and a
// machine around it.
func newDriver(t testing.TB, o nvme.Options) *driver {
	t.Helper()
	if o.Subsystem == nil && o.Sub.Namespaces == nil && o.Sub.Pool == nil {
		o.Sub.Namespaces = []nvme.NamespaceOptions{{Store: store(t, diskSize)}}
	}
	clock, _ := o.Clock.(*devtest.Clock)
	if o.Clock == nil {
		clock = devtest.NewClock(time.Unix(1e9, 0))
		o.Clock = clock
	}
	dev, err := nvme.New(o)
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{t: t, dev: dev, ram: devtest.NewRAM(ramSize), pin: &devtest.Line{}, clock: clock, wakes: make(chan struct{}, 1)}
	d.pin.Change = func(bool) {
		select {
		case d.wakes <- struct{}{}:
		default:
		}
	}
	env := pci.Env{MMIO: &d.mmio, Ports: &devices.Space{}, Memory: d.ram, MSI: d}
	for i := range env.PIRQ {
		env.PIRQ[i] = d.pin
	}
	d.host = pci.NewHost(env)
	if err := d.host.Bus().Add(slot, 0, dev.Function()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	d.program("msix")
	return d
}

func (d *driver) config(off, size int) uint32 { return d.host.ReadConfig(0, slot<<3, off, size) }
func (d *driver) setConfig(off, size int, v uint32) {
	d.host.WriteConfig(0, slot<<3, off, size, v)
}

// program sets configuration space up.
func (d *driver) program(mode string) {
	d.mode = mode
	d.setConfig(pci.RegBAR0, 4, barBase&0xffffffff)
	d.setConfig(pci.RegBAR0+4, 4, barBase>>32)
	d.setConfig(pci.RegBAR0+8, 4, cmbBase&0xffffffff)
	d.setConfig(pci.RegBAR0+12, 4, cmbBase>>32)
	d.setConfig(pci.RegCommand, 2, pci.CommandMemory|pci.CommandMaster)
	for off := int(d.config(pci.RegCapPtr, 1)); off != 0; off = int(d.config(off+1, 1)) {
		switch id := d.config(off, 1); {
		case id == pci.CapMSIX:
			d.setConfig(off+2, 2, 0)
			if mode != "msix" {
				break
			}
			n := d.config(off+2, 2)&0x7ff + 1
			table := barBase + uint64(d.config(off+4, 4)&^7)
			for v := range uint64(n) {
				d.mmio.Write(table+16*v, 4, 0xfee00000)
				d.mmio.Write(table+16*v+8, 4, v)
				d.mmio.Write(table+16*v+12, 4, 0)
			}
			d.setConfig(off+2, 2, 0x8000)
		case id == pci.CapMSI:
			d.setConfig(off+2, 2, 0)
			if mode == "msi" {
				d.setConfig(off+4, 4, 0xfee00000)
				d.setConfig(off+12, 2, 0)
				d.setConfig(off+2, 2, 1|3<<4) // 8 messages
			}
		}
	}
}

// Registers.
const (
	rCAP       = 0x00
	rVS        = 0x08
	rINTMS     = 0x0c
	rINTMC     = 0x10
	rCC        = 0x14
	rCSTS      = 0x1c
	rNSSR      = 0x20
	rAQA       = 0x24
	rASQ       = 0x28
	rACQ       = 0x30
	rCMBLOC    = 0x38
	rCMBSZ     = 0x3c
	rCMBMSC    = 0x50
	rCRTO      = 0x68
	rDoorbells = 0x1000
)

func (d *driver) get(off uint64, size int) uint64    { return d.mmio.Read(barBase+off, size) }
func (d *driver) put(off uint64, size int, v uint64) { d.mmio.Write(barBase+off, size, v) }

// alloc returns n bytes of memory at a page.
func (d *driver) alloc(n int) uint64 {
	size := (uint64(n) + pageSize - 1) &^ (pageSize - 1)
	if d.data == 0 || d.data+size > ramSize {
		d.data = dataBase
	}
	a := d.data
	d.data += size
	return a
}

func (d *driver) allocRing(n int) uint64 {
	if d.rings == 0 {
		d.rings = ringBase
	}
	a := d.rings
	d.rings += (uint64(n) + pageSize - 1) &^ (pageSize - 1)
	if d.rings > dataBase {
		d.t.Fatal("no room for rings")
	}
	clear(d.bytes(a, n))
	return a
}

func (d *driver) bytes(addr uint64, n int) []byte {
	b, err := d.ram.View(addr, n)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

const ccEnable = 6<<4 | 6<<16 | 4<<20 | 1

// start enables the controller with admin queues of n entries.
func (d *driver) start(n uint32) *pair {
	d.t.Helper()
	p := &pair{d: d, size: n, sq: d.allocRing(int(n) * 64), cq: d.allocRing(int(n) * 16), phase: 1}
	d.q[0] = p
	d.put(rAQA, 4, uint64(n-1)|uint64(n-1)<<16)
	d.put(rASQ, 8, p.sq)
	d.put(rACQ, 4, p.cq)
	d.put(rACQ+4, 4, p.cq>>32)
	d.put(rCC, 4, ccEnable)
	if s := d.get(rCSTS, 4); s != 1 {
		d.t.Fatalf("CSTS is %#x after CC.EN", s)
	}
	return p
}

// waitStatus waits until CSTS has a value in the bits of mask.
func (d *driver) waitStatus(mask, v uint64) {
	d.t.Helper()
	for end := time.Now().Add(patience); d.get(rCSTS, 4)&mask != v; time.Sleep(50 * time.Microsecond) {
		if time.Now().After(end) {
			d.t.Fatalf("CSTS stays %#x, want %#x in %#x", d.get(rCSTS, 4), v, mask)
		}
	}
}

// stop disables the controller.
func (d *driver) stop() {
	d.t.Helper()
	d.put(rCC, 4, ccEnable&^1)
	d.waitStatus(1, 0)
	d.rings, d.q = 0, [130]*pair{}
}

// queue creates an I/O queue pair, with its number as the vector.
func (d *driver) queue(id int, n uint32) *pair {
	d.t.Helper()
	p := &pair{d: d, id: id, size: n, sq: d.allocRing(int(n) * 64), cq: d.allocRing(int(n) * 16), phase: 1}
	d.admin(sqe{op: 5, prp1: p.cq, dw: [6]uint32{uint32(id) | (n-1)<<16, 3 | uint32(id)<<16}})
	d.admin(sqe{op: 1, prp1: p.sq, dw: [6]uint32{uint32(id) | (n-1)<<16, 1 | uint32(id)<<16}})
	d.q[id] = p
	return p
}

// boot enables the controller and makes queue pair 1.
func (d *driver) boot() *pair {
	d.t.Helper()
	d.start(32)
	return d.queue(1, 64)
}

// add puts a command into the queue without telling.
func (p *pair) add(c sqe) uint16 {
	if c.cid <= 0 {
		p.next++
		c.cid = int(p.next)
	}
	b := p.d.bytes(p.sq+uint64(p.tail)*64, 64)
	clear(b)
	b[0], b[1] = c.op, c.fuse|c.psdt<<6
	le.PutUint16(b[2:], uint16(c.cid))
	le.PutUint32(b[4:], c.nsid)
	le.PutUint64(b[24:], c.prp1)
	le.PutUint64(b[32:], c.prp2)
	for i, v := range c.dw {
		le.PutUint32(b[40+4*i:], v)
	}
	if p.tail++; p.tail == p.size {
		p.tail = 0
	}
	return uint16(c.cid)
}

// ring tells the controller of new commands.
func (p *pair) ring() {
	if p.shadow != 0 {
		b := p.d.bytes(p.shadow, pageSize)
		old := nvme.Load32(b, p.id*8)
		nvme.Store32(b, p.id*8, p.tail)
		ev := nvme.Load32(p.d.bytes(p.events, pageSize), p.id*8)
		if uint16(p.tail-ev-1) >= uint16(p.tail-old) {
			return
		}
	}
	p.d.put(rDoorbells+uint64(p.id)*8, 4, uint64(p.tail))
}

func (p *pair) submit(c sqe) uint16 {
	cid := p.add(c)
	p.ring()
	return cid
}

// poll takes a completion if there is one.
func (p *pair) poll() (cqe, bool) {
	b := p.d.bytes(p.cq+uint64(p.head)*16, 16)
	v := nvme.Load64(b, 8)
	w := uint32(v >> 32)
	if w>>16&1 != p.phase {
		return cqe{}, false
	}
	c := cqe{dw0: le.Uint32(b), dw1: le.Uint32(b[4:]), sqhd: uint16(v), sq: uint16(v >> 16), cid: uint16(w), status: uint16(w >> 17)}
	c.code = c.status & 0x7ff
	if p.head++; p.head == p.size {
		p.head = 0
		p.phase ^= 1
	}
	return c, true
}

func (p *pair) ack() {
	if p.shadow != 0 {
		b := p.d.bytes(p.shadow, pageSize)
		old := nvme.Load32(b, p.id*8+4)
		nvme.Store32(b, p.id*8+4, p.head)
		ev := nvme.Load32(p.d.bytes(p.events, pageSize), p.id*8+4)
		if uint16(p.head-ev-1) >= uint16(p.head-old) {
			return
		}
	}
	p.d.put(rDoorbells+uint64(p.id)*8+4, 4, uint64(p.head))
}

// reap waits for the next completion of the queue.
func (p *pair) reap() cqe {
	p.d.t.Helper()
	if n := len(p.stash); n > 0 {
		c := p.stash[0]
		p.stash = p.stash[1:]
		return c
	}
	timeout := time.After(patience)
	for {
		if c, ok := p.poll(); ok {
			p.ack()
			return c
		}
		select {
		case <-p.d.wakes:
		case <-time.After(2 * time.Millisecond): // a lost interrupt, or another queue's waiter took the wake-up
		case <-timeout:
			p.d.t.Fatalf("no completion in queue %d", p.id)
		}
	}
}

// wait waits for the completion of one command and keeps others for later.
func (p *pair) wait(cid uint16) cqe {
	p.d.t.Helper()
	for i, c := range p.stash {
		if c.cid == cid {
			p.stash = append(p.stash[:i], p.stash[i+1:]...)
			return c
		}
	}
	var others []cqe
	for {
		c := p.reap()
		if c.cid == cid {
			p.stash = append(others, p.stash...)
			return c
		}
		others = append(others, c)
	}
}

// do submits a command and waits for it.
func (p *pair) do(c sqe) cqe {
	p.d.t.Helper()
	return p.wait(p.submit(c))
}

// ok is do for commands that must succeed.
func (p *pair) ok(c sqe) cqe {
	p.d.t.Helper()
	r := p.do(c)
	if r.status != 0 {
		p.d.t.Fatalf("command %#x (%#x) in queue %d: status %#x", c.op, c.dw, p.id, r.status)
	}
	return r
}

// fails is do for commands that must fail with a status.
func (p *pair) fails(c sqe, code uint16) cqe {
	p.d.t.Helper()
	r := p.do(c)
	if r.code != code {
		p.d.t.Errorf("command %#x nsid %d %#x in queue %d: status %#x, want %#x", c.op, c.nsid, c.dw, p.id, r.code, code)
	}
	return r
}

func (d *driver) admin(c sqe) cqe {
	d.t.Helper()
	return d.q[0].ok(c)
}

// identify returns an Identify data structure.
func (d *driver) identify(cns, csi, nsid uint32) []byte {
	d.t.Helper()
	a := d.alloc(4096)
	d.admin(sqe{op: 6, nsid: nsid, prp1: a, dw: [6]uint32{cns, csi << 24}})
	return bytes.Clone(d.bytes(a, 4096))
}

// logPage returns n bytes of a log page.
func (d *driver) logPage(id uint32, nsid uint32, n int, rest ...uint32) []byte {
	d.t.Helper()
	a := d.alloc(n)
	c := sqe{op: 2, nsid: nsid, dw: [6]uint32{id | uint32(n/4-1)<<16, uint32(n/4-1) >> 16}}
	c.prp1, c.prp2 = d.prps(a, n)
	copy(c.dw[2:], rest)
	d.admin(c)
	return bytes.Clone(d.bytes(a, n))
}

// prps describes n bytes at a, with a list if one is needed.
func (d *driver) prps(a uint64, n int) (prp1, prp2 uint64) {
	end := a + uint64(n)
	next := a&^(pageSize-1) + pageSize
	switch {
	case end <= next:
		return a, 0
	case end <= next+pageSize:
		return a, next
	}
	pages := int(end-next+pageSize-1) / pageSize
	list := d.alloc(8 * pages)
	for i := range pages {
		le.PutUint64(d.bytes(list+8*uint64(i), 8), next+uint64(i)*pageSize)
	}
	return a, list
}

// rw makes a Read, Write or similar of n blocks.
func rw(op uint8, slba uint64, n uint32) sqe {
	return sqe{op: op, nsid: 1, dw: [6]uint32{uint32(slba), uint32(slba >> 32), n - 1}}
}

// transfer is rw with a buffer of n bytes at a.
func (d *driver) transfer(op uint8, slba uint64, blocks uint32, a uint64, n int) sqe {
	c := rw(op, slba, blocks)
	c.prp1, c.prp2 = d.prps(a, n)
	return c
}

// read returns blocks of namespace 1.
func (p *pair) read(slba uint64, blocks uint32, blockSize int) []byte {
	p.d.t.Helper()
	n := int(blocks) * blockSize
	a := p.d.alloc(n)
	p.ok(p.d.transfer(2, slba, blocks, a, n))
	return bytes.Clone(p.d.bytes(a, n))
}

// write stores blocks of namespace 1.
func (p *pair) write(slba uint64, data []byte, blockSize int) {
	p.d.t.Helper()
	a := p.d.alloc(len(data))
	copy(p.d.bytes(a, len(data)), data)
	p.ok(p.d.transfer(1, slba, uint32(len(data)/blockSize), a, len(data)))
}

// pattern is n bytes that depend on a seed.
func pattern(n int, seed uint64) []byte {
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 9))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}
