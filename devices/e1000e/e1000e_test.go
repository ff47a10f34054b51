package e1000e

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sync"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
	"dfemu/devices/internal/nic"
	"dfemu/devices/pci"
)

// wire is a back end that keeps what is sent and lets the test receive.
type wire struct {
	mu    sync.Mutex
	to    devices.FrameReceiver
	sent  []devices.Frame
	more  chan struct{}
	ready chan struct{}
}

func (w *wire) Connect(to devices.FrameReceiver) { w.to = to }
func (w *wire) Properties() devices.NetworkProperties {
	return devices.NetworkProperties{Kind: "test", Takes: devices.OffloadsAll, Queues: 1, Link: true}
}
func (w *wire) Configure(devices.Offloads, int) {}
func (w *wire) Send(_ int, frames []devices.Frame) {
	w.mu.Lock()
	for i := range frames {
		w.sent = append(w.sent, nic.Copy(&frames[i]))
	}
	w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
}
func (w *wire) Ready(int) {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}
func (w *wire) Close() error { return nil }

const patience = 20 * time.Second

func (w *wire) take(t testing.TB, n int) []devices.Frame {
	t.Helper()
	deadline := time.After(patience)
	for {
		w.mu.Lock()
		if len(w.sent) >= n {
			l := w.sent
			w.sent = nil
			w.mu.Unlock()
			if len(l) != n {
				t.Fatalf("%d packets sent, want %d", len(l), n)
			}
			return l
		}
		w.mu.Unlock()
		select {
		case <-w.more:
		case <-deadline:
			t.Fatal("packets are not sent")
		}
	}
}

// Places in the test machine.
const (
	bar0   = 0xf000_0000
	bar3   = 0xf010_0000
	txRing = 0x10000
	rxRing = 0x20000
	data   = 0x40000
	slot   = 3
	ringN  = 16
)

// card is a device with a driver.
type card struct {
	t      testing.TB
	dev    *Device
	w      *wire
	ram    *devtest.RAM
	clock  *devtest.Clock
	mmio   devices.Space
	ports  devices.Space
	msi    devtest.MSI
	pin    *devtest.Line
	host   *pci.Host
	tail   [2]uint32 // of the transmit rings
	buffer uint64
	watch  *watcher
}

type watcher struct {
	mu         sync.Mutex
	violations []string
	origins    []devices.Origin
	rang       []int
	commands   []string
	decide     func(*devices.Command) devices.Effect
}

func (w *watcher) Access(devices.RegisterAccess)               {}
func (w *watcher) Completion(*devices.Command, devices.Status) {}
func (w *watcher) Interrupt(devices.Interrupt)                 {}
func (w *watcher) Rang(queue int)                              { w.rang = append(w.rang, queue) }
func (w *watcher) DMA(devices.Transfer)                        {}
func (w *watcher) State(string)                                {}
func (w *watcher) Command(c *devices.Command) {
	w.mu.Lock()
	w.commands = append(w.commands, c.Name)
	c.Fields()
	w.mu.Unlock()
}
func (w *watcher) Violation(v devices.Violation) {
	w.mu.Lock()
	w.violations = append(w.violations, v.Text)
	w.origins = append(w.origins, v.Origin)
	w.mu.Unlock()
}
func (w *watcher) Decide(c *devices.Command) devices.Effect { return w.decide(c) }

var ownMAC = [6]byte{0x52, 0x54, 0, 9, 8, 7}

func newCard(t testing.TB) *card {
	t.Helper()
	c := &card{t: t, w: &wire{more: make(chan struct{}, 1), ready: make(chan struct{}, 100)}, ram: devtest.NewRAM(1 << 20),
		clock: devtest.NewClock(time.Unix(0, 0)), pin: &devtest.Line{}, buffer: data, watch: &watcher{}}
	dev, err := New(Options{Name: "e1000e0", MAC: ownMAC, Clock: c.clock}, c.w)
	if err != nil {
		t.Fatal(err)
	}
	c.dev = dev
	t.Cleanup(func() { dev.Close() })
	env := pci.Env{MMIO: &c.mmio, Ports: &c.ports, Memory: c.ram, MSI: &c.msi}
	for i := range env.PIRQ {
		env.PIRQ[i] = c.pin
	}
	c.host = pci.NewHost(env)
	if err := c.host.Bus().Add(slot, 0, dev.Function()); err != nil {
		t.Fatal(err)
	}
	c.enable()
	return c
}

func (c *card) config(off, size int, v uint32) { c.host.WriteConfig(0, slot<<3, off, size, v) }

func (c *card) enable() {
	c.config(0x10, 4, bar0)
	c.config(0x18, 4, 0xc000)
	c.config(0x1c, 4, bar3)
	c.config(pci.RegCommand, 2, pci.CommandMemory|pci.CommandMaster|pci.CommandIO)
}

// msix turns MSI-X on, with the vector's number as data.
func (c *card) msix() {
	for v := range uint64(vectors) {
		c.mmio.Write(bar3+16*v, 4, 0xfee00000)
		c.mmio.Write(bar3+16*v+8, 4, v)
		c.mmio.Write(bar3+16*v+12, 4, 0)
	}
	for off := int(c.host.ReadConfig(0, slot<<3, pci.RegCapPtr, 1)); off != 0; off = int(c.host.ReadConfig(0, slot<<3, off+1, 1)) {
		if c.host.ReadConfig(0, slot<<3, off, 1) == pci.CapMSIX {
			c.config(off+2, 2, 0x8000)
		}
	}
}

func (c *card) get(off uint64) uint32    { return uint32(c.mmio.Read(bar0+off, 4)) }
func (c *card) put(off uint64, v uint32) { c.mmio.Write(bar0+off, 4, uint64(v)) }

// start sets both rings up and enables the units.
func (c *card) start(rctl uint32) {
	c.put(0, ctrlSLU)
	for q := range uint64(2) {
		c.put(0x3800+0x100*q, uint32(txRing+0x4000*q))
		c.put(0x3808+0x100*q, ringN*16)
		c.put(0x2800+0x100*q, uint32(rxRing+0x4000*q))
		c.put(0x2808+0x100*q, ringN*16)
	}
	c.tail = [2]uint32{}
	c.put(0x400, tctlEN|tctlPSP)
	c.put(0x100, rctlEN|rctlSECRC|rctl)
}

func (c *card) alloc(n int) uint64 {
	if c.buffer+uint64(n) > uint64(len(c.ram.Data)) {
		c.buffer = data
	}
	a := c.buffer
	c.buffer += uint64(n+15) &^ 15
	return a
}

// desc puts a transmit descriptor into ring q.
func (c *card) desc(q int, w0 uint64, w2, w3 uint32) uint64 {
	at := uint64(txRing+0x4000*q) + uint64(c.tail[q])*16
	b := binary.LittleEndian.AppendUint64(nil, w0)
	b = binary.LittleEndian.AppendUint32(b, w2)
	b = binary.LittleEndian.AppendUint32(b, w3)
	c.ram.Write(at, b)
	c.tail[q] = (c.tail[q] + 1) % ringN
	return at
}

func (c *card) put8(p []byte) uint64 {
	a := c.alloc(len(p))
	c.ram.Write(a, p)
	return a
}

// kick writes the tail and waits until the ring is empty.
func (c *card) kick(q int) {
	c.t.Helper()
	c.put(uint64(0x3818+0x100*q), c.tail[q])
	c.waitFor("transmit", func() bool { return c.get(uint64(0x3810+0x100*q)) == c.tail[q] })
}

func (c *card) waitFor(what string, f func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(end) {
			c.t.Fatalf("%s: waited in vain", what)
		}
	}
}

// buffers gives the device n receive descriptors on queue q.
func (c *card) buffers(q, n int) {
	for i := range n {
		at := uint64(rxRing+0x4000*q) + uint64(16*i)
		devices.WriteU64(c.ram, at, c.alloc(2048))
		devices.WriteU64(c.ram, at+8, 0)
	}
	c.put(uint64(0x2818+0x100*q), uint32(n))
}

func (c *card) rx(q, i int) []byte {
	b := make([]byte, 16)
	c.ram.Read(uint64(rxRing+0x4000*q)+uint64(16*i), b)
	return b
}

func (c *card) receive(p ...[]byte) int {
	var l []devices.Frame
	for _, b := range p {
		l = append(l, devices.Frame{Pieces: [][]byte{b[:5], b[5:]}})
	}
	return c.w.to.Receive(0, l)
}

func frame(n int, dst [6]byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	copy(b, dst[:])
	copy(b[6:], []byte{2, 9, 9, 9, 9, 9, 0x88, 0xb5})
	return b
}

// tcp is a TCP packet over IPv4 with complete checksums, from Microsoft's test
// vector for receive-side scaling.
func tcp(n int, proto byte) []byte {
	b := frame(54+n, ownMAC)
	copy(b[12:], []byte{8, 0, 0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, proto, 0, 0, 66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6})
	be := binary.BigEndian
	be.PutUint16(b[16:], uint16(40+n))
	b[46] = 0x50
	be.PutUint16(b[24:], ^devices.Fold(devices.Sum(0, b[14:34])))
	field := 50
	if proto == 17 {
		field = 40
	}
	b[field], b[field+1] = 0, 0
	s := devices.Sum(uint64(proto)+uint64(20+n), b[26:34])
	be.PutUint16(b[field:], ^devices.Fold(devices.Sum(s, b[34:])))
	return b
}

func TestTable(t *testing.T) {
	if err := registers.Check(); err != nil {
		t.Error(err)
	}
	for id, name := range map[int]string{regCTRL: "CTRL", regTSYNCRXCTL: "TSYNCRXCTL", regRETA: "RETA"} {
		found := false
		for off := uint64(0); off < registersSize; off += 4 {
			if r, _, ok := registers.Find(off); ok && r.ID == id {
				found = r.Name == name
				break
			}
		}
		if !found {
			t.Errorf("row %d is not %s", id, name)
		}
	}
	if causeDefined != uint32(func() (v uint32) {
		for _, f := range causeFields[:len(causeFields)-1] {
			v |= 1 << f.Lo
		}
		return
	}()) {
		t.Errorf("causes %#x", uint32(causeDefined))
	}
}

func TestIdentity(t *testing.T) {
	c := newCard(t)
	if id := c.host.ReadConfig(0, slot<<3, 0, 4); id != 0x10d38086 {
		t.Errorf("identity %#x", id)
	}
	var sum uint16
	for a := range uint32(64) {
		c.put(0x14, a<<2|1)
		v := c.get(0x14)
		if v&2 == 0 || v&1 != 0 {
			t.Fatalf("EERD %#x", v)
		}
		sum += uint16(v >> 16)
		if a == 0 && v>>16 != 0x5452 {
			t.Errorf("first word %#x", v>>16)
		}
	}
	if sum != 0xbaba {
		t.Errorf("checksum of the NVM: %#x", sum)
	}
	c.put(0x102c, 0x1234<<16|5<<2|1)
	c.put(0x14, 5<<2|1)
	if v := c.get(0x14) >> 16; v != 0x1234 {
		t.Errorf("written word reads %#x", v)
	}
	phyRead := func(addr, r uint32) uint32 {
		c.put(0x20, 2<<26|addr<<21|r<<16)
		return c.get(0x20)
	}
	if v := phyRead(1, 2)<<16 | phyRead(1, 3)&0xffff; v != 0x01410cb1 {
		t.Errorf("transceiver %#x", v)
	}
	if v := phyRead(2, 2); v>>30&1 == 0 {
		t.Errorf("a transceiver answers at address 2: %#x", v)
	}
	if v := phyRead(1, 1); v&(phyLink|phyANDone) != phyLink|phyANDone {
		t.Errorf("transceiver status %#x", v)
	}
	c.put(0x20, 1<<26|1<<21|22<<16|3)
	c.put(0x20, 1<<26|1<<21|7<<16|0xabcd)
	if v := phyRead(1, 7); v&0xffff != 0xabcd {
		t.Errorf("page 3: %#x", v)
	}
	if c.get(0x5400) != 0x09005452 || c.get(0x5404) != 0x80000708 {
		t.Errorf("receive address %#x %#x", c.get(0x5400), c.get(0x5404))
	}
	c.put(0, ctrlSLU)
	if v := c.get(8); v&(statusLU|statusFD|statusMaster|3<<6) != statusLU|statusFD|statusMaster|2<<6 {
		t.Errorf("STATUS %#x", v)
	}
	c.put(0, ctrlSLU|ctrlMasterDisable)
	if c.get(8)&statusMaster != 0 {
		t.Error("master enable stays")
	}
	// The same registers through I/O ports.
	c.ports.Write(0xc000, 4, 0x5400)
	if v := c.ports.Read(0xc004, 4); v != 0x09005452 {
		t.Errorf("through ports %#x", v)
	}
	c.ports.Write(0xc000, 4, 0x00)
	c.ports.Write(0xc004, 4, ctrlRST|ctrlMasterDisable|ctrlSLU)
	if c.get(0) != 0 {
		t.Errorf("CTRL after reset %#x", c.get(0))
	}
	if c.get(0x5b50)&1 != 0 || c.get(0x5b50)&1 == 0 {
		t.Error("SMBI is not taken by the first reader")
	}
}

func TestTransmit(t *testing.T) {
	c := newCard(t)
	c.start(0)
	small := frame(20, broadcast)
	body := tcp(500, 6)
	for round := range 12 {
		// Legacy, in one piece: filled up to 60 bytes.
		a := c.desc(0, c.put8(small), uint32(20|cmdEOP<<24|cmdRS<<24), 0)
		// Legacy with a checksum, in two pieces.
		c.desc(0, c.put8(body[:100]), 100|cmdIC<<24|50<<16, 34<<8)
		c.desc(0, c.put8(body[100:]), uint32(len(body)-100)|(cmdEOP|cmdIC)<<24|50<<16, 34<<8)
		// Extended, with both checksums.
		c.desc(0, 14|24<<8|33<<16|34<<32|50<<40, cmdDEXT<<24, 0)
		zero := bytes.Clone(body)
		zero[24], zero[25] = 0, 0
		c.desc(0, c.put8(zero), uint32(len(body))|1<<20|(cmdDEXT|cmdEOP)<<24, (poptsIXSM|poptsTXSM)<<8)
		c.kick(0)
		l := c.w.take(t, 3)
		if want := append(bytes.Clone(small), make([]byte, 40)...); !bytes.Equal(l[0].Pieces[0], want) {
			t.Fatalf("round %d: %d bytes", round, l[0].Len())
		}
		want := devices.Offload{Flags: devices.FlagNeedsChecksum, ChecksumStart: 34, ChecksumOffset: 16}
		if l[1].Offload != want || !bytes.Equal(l[1].Pieces[0], body) {
			t.Errorf("legacy: %+v", l[1].Offload)
		}
		if l[2].Offload != want || !bytes.Equal(l[2].Pieces[0], body) {
			t.Errorf("extended: %+v, % x", l[2].Offload, l[2].Pieces[0][:40])
		}
		var dd [1]byte
		if c.ram.Read(a+12, dd[:]); dd[0] != 1 {
			t.Error("not written back")
		}
	}
	if n := c.get(0x4080); n != 36 {
		t.Errorf("GPTC %d", n)
	}
	if c.get(0x4080) != 0 {
		t.Error("GPTC is not cleared by reading")
	}
	if n := c.get(0x40f4); n != 12 {
		t.Errorf("BPTC %d", n)
	}
	if lo, hi := c.get(0x4090), c.get(0x4094); lo != 12*(64+2*(554+4)) || hi != 0 || c.get(0x4090) != 0 {
		t.Errorf("GOTC %d", lo)
	}
}

func TestSegmentation(t *testing.T) {
	c := newCard(t)
	c.start(0)
	c.put(0, ctrlSLU|ctrlVME)
	p := tcp(5000, 6)
	be := binary.BigEndian
	be.PutUint16(p[16:], 0)
	p[24], p[25] = 0, 0
	be.PutUint16(p[50:], devices.Fold(devices.Sum(6, p[26:34])))
	c.desc(0, 14|24<<8|33<<16|34<<32|50<<40, 5000|(cmdDEXT|cmdTSE|tuIP|tuTCP)<<24, 54<<8|1460<<16)
	c.desc(0, c.put8(p[:60]), 60|1<<20|(cmdDEXT|cmdTSE)<<24, (poptsIXSM|poptsTXSM)<<8)
	c.desc(0, c.put8(p[60:]), uint32(len(p)-60)|1<<20|(cmdDEXT|cmdTSE|cmdEOP|cmdVLE)<<24, 0x2005<<16)
	c.kick(0)
	f := c.w.take(t, 1)[0]
	b := f.Pieces[0]
	want := devices.Offload{Flags: 1, GSO: devices.GSOTCPv4, HeaderLen: 58, SegmentSize: 1460, ChecksumStart: 38, ChecksumOffset: 16}
	if f.Offload != want {
		t.Errorf("%+v, want %+v", f.Offload, want)
	}
	if !bytes.Equal(b[12:18], []byte{0x81, 0, 0x20, 5, 8, 0}) || len(b) != len(p)+4 || !bytes.Equal(b[58:], p[54:]) {
		t.Errorf("frame % x", b[:60])
	}
	if be.Uint16(b[20:]) != 5040 || devices.Fold(devices.Sum(0, b[18:38])) != 0xffff {
		t.Errorf("IP header % x", b[18:38])
	}
	if v := devices.Fold(devices.Sum(6+5020, b[30:38])); be.Uint16(b[54:]) != v {
		t.Errorf("pseudo-header sum %#x, want %#x", be.Uint16(b[54:]), v)
	}
	if n, s := c.get(0x4080), c.get(0x40f8); n != 4 || s != 1 {
		t.Errorf("GPTC %d, TSCTC %d", n, s)
	}
	// Nonsense is reported and lost, and the unit goes on.
	c.observe(nil)
	for _, x := range []struct{ w0, w2, w3 uint64 }{
		{14 | 24<<8 | 33<<16 | 34<<32 | 50<<40, (cmdDEXT | cmdTSE | tuIP | tuTCP) << 24, 54 << 8},            // no MSS
		{14 | 24<<8 | 33<<16 | 34<<32 | 50<<40, (cmdDEXT | cmdTSE | tuIP) << 24, 54<<8 | 1460<<16},           // UDP
		{14 | 24<<8 | 33<<16 | 34<<32 | 50<<40, (cmdDEXT | cmdTSE | tuIP | tuTCP) << 24, 40<<8 | 1460<<16},   // header too short
		{14 | 24<<8 | 33<<16 | 200<<32 | 216<<40, (cmdDEXT | cmdTSE | tuIP | tuTCP) << 24, 54<<8 | 1460<<16}, // TCP outside
		{200 | 210<<8, (cmdDEXT | cmdTSE | tuTCP) << 24, 250<<8 | 1460<<16},
	} {
		c.watch.violations = nil
		c.desc(0, x.w0, uint32(x.w2), uint32(x.w3))
		c.desc(0, c.put8(p), uint32(len(p))|1<<20|(cmdDEXT|cmdTSE|cmdEOP)<<24, 0)
		c.kick(0)
		if len(c.watch.violations) != 1 {
			t.Errorf("context %#x: %q", x.w0, c.watch.violations)
		}
		// Who is to be halted at the write of the tail hears of it before that ends, while nothing is sent.
		c.dev.Function().Probe().Watch(devices.ClassStrict|devices.ClassPrompt, c.watch, nil)
		c.dev.Pause()
		c.watch.violations = nil
		c.desc(0, c.put8(p), uint32(len(p))|1<<20|(cmdDEXT|cmdTSE|cmdEOP)<<24, 0)
		c.put(0x3818, c.tail[0])
		if len(c.watch.violations) != 1 {
			t.Errorf("context %#x: %q at the tail's write", x.w0, c.watch.violations)
		}
		c.dev.Resume()
		c.kick(0)
		c.observe(nil)
	}
	c.w.take(t, 0)
}

// observe attaches the watcher.
func (c *card) observe(decide func(*devices.Command) devices.Effect) {
	c.watch.decide = decide
	var f devices.Faults
	if decide != nil {
		f = c.watch
	}
	c.dev.Function().Probe().Watch(devices.ClassCommand|devices.ClassStrict, c.watch, f)
}

func TestReceive(t *testing.T) {
	c := newCard(t)
	c.start(rctlBAM | rctlLPE)
	c.put(0x5000, rxcsumIPOFL|rxcsumTUOFL|14)
	c.buffers(0, 15)
	c.put(0x2818, 8)
	long := frame(3000, ownMAC)
	good, bad := tcp(100, 6), tcp(100, 6)
	bad[100] ^= 1
	udp := tcp(100, 17)
	badIP := tcp(100, 6)
	badIP[22] ^= 1
	if n := c.receive(frame(30, ownMAC), long, good, bad, udp, badIP); n != 6 {
		t.Fatalf("%d packets taken", n)
	}
	for i, x := range []struct {
		n    int
		want []byte
		st   uint8
		err  uint8
	}{
		{60, append(frame(30, ownMAC), make([]byte, 30)...), rxDD | rxEOP | rxIXSM, 0}, {2048, long[:2048], rxDD, 0}, {952, long[2048:], rxDD | rxEOP | rxIXSM, 0},
		{154, good, rxDD | rxEOP | rxTCPCS | rxIPCS, 0}, {154, bad, rxDD | rxEOP | rxTCPCS | rxIPCS, rxTCPE},
		{154, udp, rxDD | rxEOP | rxTCPCS | rxUDPCS | rxIPCS, 0}, {154, badIP, rxDD | rxEOP | rxTCPCS | rxIPCS, rxIPE},
	} {
		d := c.rx(0, i)
		got := make([]byte, le.Uint16(d[8:]))
		c.ram.Read(le.Uint64(d), got)
		if len(got) != x.n || !bytes.Equal(got, x.want) || d[12] != x.st || d[13] != x.err {
			t.Errorf("descriptor %d: %d bytes, status %#x, errors %#x, equal %v; want %d, %#x, %#x", i, len(got), d[12], d[13], bytes.Equal(got, x.want), x.n, x.st, x.err)
		}
	}
	if d := c.rx(0, 3); le.Uint16(d[10:]) != devices.Fold(devices.Sum(0, good[14:])) {
		t.Errorf("packet checksum %#x", le.Uint16(d[10:]))
	}
	if h := c.get(0x2810); h != 7 {
		t.Errorf("RDH %d", h)
	}
	if v := c.get(0xc0); v&causeRXT0 == 0 {
		t.Errorf("ICR %#x", v)
	}
	if n := c.get(0x4074); n != 6 {
		t.Errorf("GPRC %d", n)
	}
	// One descriptor is left: a long packet waits, until there are more.
	if n := c.receive(long, good); n != 0 {
		t.Errorf("%d packets taken without room", n)
	}
	// A single one more is not worth going on at once.
	c.put(0x2818, 9)
	if len(c.w.ready) != 0 {
		t.Error("the back end goes on for a single descriptor")
	}
	c.clock.Advance(retryAfter)
	<-c.w.ready
	if n := c.receive(long, good); n != 1 {
		t.Errorf("%d packets taken", n)
	}
	c.receive(long)
	c.put(0x2818, 14)
	<-c.w.ready
	if n := c.receive(good); n != 1 {
		t.Errorf("%d packets taken", n)
	}
	c.put(0x100, rctlEN|rctlSECRC)
	if n := c.receive(long); n != 1 || c.get(0x40ac) != 1 {
		t.Error("a long packet is not counted and dropped")
	}
	// With FCS, a tag in the descriptor, and none in the packet.
	c.put(0x100, rctlEN)
	c.put(0, ctrlSLU|ctrlVME)
	tagged := frame(80, ownMAC)
	copy(tagged[12:], []byte{0x81, 0, 0x60, 9})
	c.receive(tagged)
	d := c.rx(0, int(c.get(0x2810))-1)
	got := make([]byte, le.Uint16(d[8:]))
	c.ram.Read(le.Uint64(d), got)
	want := append(bytes.Clone(tagged[:12]), tagged[16:]...)
	want = le.AppendUint32(want, crc32.ChecksumIEEE(want))
	if !bytes.Equal(got, want) || d[12]&rxVP == 0 || le.Uint16(d[14:]) != 0x6009 {
		t.Errorf("status %#x tag %#x, %d bytes", d[12], le.Uint16(d[14:]), len(got))
	}
}

func TestExtendedAndSplit(t *testing.T) {
	c := newCard(t)
	c.start(0)
	c.put(0x5008, rfctlEXSTEN)
	c.put(0x5000, rxcsumIPOFL|rxcsumTUOFL|rxcsumPCSD)
	// Microsoft's key and test vector.
	key := []byte{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
		0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa}
	for i := range uint64(10) {
		c.put(0x5c80+4*i, le.Uint32(key[4*i:]))
	}
	c.put(0x5818, 1|3<<16)
	c.put(0x5c00+0x78/4*4, 0x80) // hash & 0x7f is 0x78
	c.buffers(0, 4)
	c.buffers(1, 4)
	addr := le.Uint64(c.rx(1, 0))
	p := tcp(100, 6)
	if c.receive(p) != 1 {
		t.Fatal("not taken")
	}
	d := c.rx(1, 0)
	if le.Uint32(d) != rssTCPv4|1<<8 || le.Uint32(d[4:]) != 0x51ccc178 || le.Uint32(d[8:]) != rxDD|rxEOP|rxTCPCS|rxIPCS|rxIPIDV || le.Uint16(d[12:]) != 154 {
		t.Errorf("extended descriptor % x", d)
	}
	if got := c.ram.Data[addr : addr+154]; !bytes.Equal(got, p) {
		t.Error("data differ")
	}
	c.put(0x5818, 1|2<<16)
	c.put(0x5c00+0x42/4*4, 0) // 0x323e8fc2
	c.receive(p)
	if d := c.rx(0, 0); le.Uint32(d[4:]) != 0x323e8fc2 || d[0] != rssIPv4 {
		t.Errorf("hash of addresses: % x", d[:8])
	}
	// Without a hash the field is 0, and not something that differs from packet to packet.
	c.put(0x5818, 0)
	c.receive(p)
	if d := c.rx(0, 1); le.Uint64(d) != 0 {
		t.Errorf("no hash: % x", d[:8])
	}
	// Packet split: 128, 1024 and 1024 bytes.
	c.put(0, ctrlRST)
	c.start(1<<10 | rctlLPE)
	c.put(0x5008, rfctlEXSTEN)
	c.put(0x2170, 1|1<<8|1<<16)
	var addrs []uint64
	for i := range uint64(4) {
		a := c.alloc(1024)
		addrs = append(addrs, a)
		devices.WriteU64(c.ram, rxRing+8*i, a)
	}
	c.put(0x2818, 2)
	long := frame(2000, ownMAC)
	if c.receive(long) != 1 {
		t.Fatal("not taken")
	}
	w := make([]byte, 32)
	c.ram.Read(rxRing, w)
	if le.Uint32(w[8:])&3 != 3 || le.Uint16(w[12:]) != 128 || le.Uint16(w[18:]) != 1024 || le.Uint16(w[20:]) != 848 || le.Uint16(w[22:]) != 0 {
		t.Errorf("split descriptor % x", w)
	}
	got := slices.Concat(c.ram.Data[addrs[0]:addrs[0]+128], c.ram.Data[addrs[1]:addrs[1]+1024], c.ram.Data[addrs[2]:addrs[2]+848])
	if !bytes.Equal(got, long) {
		t.Error("data differ")
	}
}

func TestFilter(t *testing.T) {
	c := newCard(t)
	group := [6]byte{1, 0, 0x5e, 0, 0x12, 0x34}
	other := [6]byte{2, 2, 2, 2, 2, 2}
	second := [6]byte{2, 3, 4, 5, 6, 7}
	tagged := frame(64, ownMAC)
	copy(tagged[12:], []byte{0x81, 0, 0, 100})
	check := func(what string, rctl uint32, want ...bool) {
		t.Helper()
		c.put(0x100, rctlEN|rctl)
		c.dev.mu.Lock()
		var s setup
		s.read(c.dev)
		c.dev.mu.Unlock()
		var got []bool
		for _, p := range [][]byte{frame(60, ownMAC), frame(60, broadcast), frame(60, group), frame(60, other), frame(60, second), tagged} {
			got = append(got, s.filter.pass(p, &s))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: own, broadcast, multicast, other, second, tagged pass %v, want %v", what, got, want)
		}
	}
	check("nothing", 0, true, false, false, false, false, true)
	check("BAM", rctlBAM, true, true, false, false, false, true)
	check("MPE", rctlMPE, true, true, true, false, false, true)
	check("UPE", rctlUPE, true, false, false, true, true, true)
	check("VFE", rctlVFE, true, false, false, false, false, false)
	c.put(0x5600+100/32*4, 1<<(100%32))
	check("VFTA", rctlVFE, true, false, false, false, false, true)
	check("CFI", rctlVFE|rctlCFIEN|rctlCFI, true, false, false, false, false, false)
	c.put(0x5400+8*7, 0x05040302)
	c.put(0x5404+8*7, 0x0706|1<<31)
	check("second address", 0, true, false, false, false, true, true)
	for mo, h := range []uint64{0x3412 >> 4, 0x3412 >> 3 & 0xfff, 0x3412 >> 2 & 0xfff, 0x412} {
		for i := range uint64(128) {
			c.put(0x5200+4*i, 0)
		}
		c.put(0x5200+h/32*4, 1<<(h%32))
		check("MTA", uint32(mo)<<12, true, false, true, false, true, true)
	}
}

func TestInterrupts(t *testing.T) {
	c := newCard(t)
	c.start(rctlBAM)
	c.buffers(0, 15)
	p := frame(60, ownMAC)
	c.receive(p)
	if c.pin.Level() {
		t.Error("interrupt without a mask")
	}
	c.put(0xd0, causeRXT0)
	if !c.pin.Level() {
		t.Fatal("no interrupt for a cause that was there")
	}
	if v := c.get(0xc0); v&(causeAssert|causeRXT0) != causeAssert|causeRXT0 || c.pin.Level() {
		t.Errorf("ICR %#x, pin %v", v, c.pin.Level())
	}
	// A read while nothing is asserted has no effect.
	c.put(0xc8, causeTXDW)
	for range 2 {
		if c.get(0xc0)&causeTXDW == 0 {
			t.Error("a read without an interrupt cleared a cause")
		}
	}
	c.put(0xc0, causeTXDW)
	if c.get(0xc0) != 0 {
		t.Error("writing a one does not clear")
	}
	// IAM masks with the read.
	c.put(0x18, ctrlExtIAME)
	c.put(0xe0, 0xffffffff)
	c.receive(p)
	c.get(0xc0)
	if c.get(0xd0) != 0 {
		t.Errorf("IMS %#x", c.get(0xd0))
	}
	// Throttling: 1000 units of 256 ns.
	c.put(0x18, 0)
	c.put(0xd0, causeRXT0)
	c.put(0xc4, 1000)
	c.clock.Advance(1e6)
	rises := c.pin.Rises()
	for range 3 {
		c.receive(p)
		c.get(0xc0)
		c.clock.Advance(80_000)
	}
	if n := c.pin.Rises() - rises; n != 1 {
		t.Errorf("%d interrupts within 240 µs with an interval of 256 µs", n)
	}
	c.put(0xc4, 0)
	c.get(0xc0)
	c.put(0x2818, (c.get(0x2810)+ringN-1)%ringN)
	// Delayed receive interrupts: 10 units, at most 15.
	c.put(0x2820, 10)
	c.put(0x282c, 15)
	c.clock.Advance(1e6)
	c.get(0xc0)
	c.put(0xc0, 0xffffffff)
	rises = c.pin.Rises()
	c.receive(p)
	c.clock.Advance(9 * 1024)
	c.receive(p)
	c.clock.Advance(5 * 1024)
	if c.pin.Rises() != rises {
		t.Error("interrupt too early")
	}
	c.clock.Advance(1024)
	if c.pin.Rises() != rises+1 {
		t.Error("no interrupt after the absolute delay")
	}
	c.get(0xc0)
	c.dev.SetLink(0, false)
	if c.get(8)&statusLU != 0 || c.get(0xc0)&causeLSC == 0 {
		t.Error("the link does not go down")
	}
	if c.receive(p, p) != 2 {
		t.Error("packets wait for a link")
	}
}

func TestMSIX(t *testing.T) {
	c := newCard(t)
	c.msix()
	c.start(rctlBAM)
	c.buffers(0, 15)
	vec := func() (l []uint32) {
		for _, m := range c.msi.Take() {
			l = append(l, m.Data)
		}
		return l
	}
	c.put(0xe4, 8|(8|1)<<8|(8|2)<<16)
	c.put(0xdc, causeRxQ0|causeTxQ0)
	c.put(0xd0, causeRxQ0|causeTxQ0|causeOther|causeLSC)
	p := frame(60, ownMAC)
	c.receive(p)
	c.receive(p)
	if got := vec(); !slices.Equal(got, []uint32{0, 0}) {
		t.Errorf("receive vectors %v", got)
	}
	c.desc(0, c.put8(p), 60|(cmdEOP|cmdRS)<<24, 0)
	c.kick(0)
	if got := vec(); !slices.Equal(got, []uint32{1}) {
		t.Errorf("transmit vectors %v", got)
	}
	c.dev.SetLink(0, false)
	if got := vec(); !slices.Equal(got, []uint32{2}) {
		t.Errorf("link vectors %v", got)
	}
	c.dev.SetLink(0, true)
	if v := c.get(0xc0); v&(causeLSC|causeOther) != causeLSC|causeOther || v&causeRxQ0 != 0 {
		t.Errorf("ICR %#x", v)
	}
	vec()
	// Masked, the cause waits; EIAME masks with the message.
	c.put(0xd8, causeRxQ0)
	c.receive(p)
	if got := vec(); got != nil {
		t.Errorf("masked: %v", got)
	}
	c.put(0x18, ctrlExtEIAME)
	c.put(0xe0, causeRxQ0)
	c.put(0xd0, causeRxQ0)
	c.receive(p)
	if got := vec(); !slices.Equal(got, []uint32{0}) || c.get(0xd0)&causeRxQ0 != 0 {
		t.Errorf("unmasked: %v, IMS %#x", got, c.get(0xd0))
	}
	// Throttled by the vector's own interval.
	c.put(0x18, 0)
	c.put(0xc0, 0xffffffff)
	c.put(0xe8, 1000)
	c.put(0xd0, causeRxQ0)
	c.clock.Advance(1e6)
	for range 3 {
		c.receive(p)
	}
	if got := vec(); len(got) != 1 {
		t.Errorf("%d messages at once", len(got))
	}
	c.clock.Advance(256_000)
	if got := vec(); len(got) != 1 {
		t.Errorf("%d messages after the interval", len(got))
	}
}

func TestLoopbackAndTime(t *testing.T) {
	c := newCard(t)
	c.start(rctlUPE | 1<<6)
	c.buffers(0, 4)
	p := frame(100, [6]byte{2})
	c.desc(0, c.put8(p), 100|(cmdEOP|cmdRS)<<24, 0)
	c.kick(0)
	if d := c.rx(0, 0); d[12]&rxDD == 0 || le.Uint16(d[8:]) != 100 {
		t.Errorf("descriptor % x", d)
	}
	c.w.take(t, 0)
	c.put(0xb608, 1<<24|10)
	c.put(0xb600, 5)
	c.put(0xb604, 0)
	c.clock.Advance(400)
	if v := c.get(0xb600); v != 5+100 {
		t.Errorf("time %d", v)
	}
}
