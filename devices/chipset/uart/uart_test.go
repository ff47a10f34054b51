package uart

import (
	"bytes"
	"testing"
	"time"

	"dfemu/devices/chipset/internal/drive"
	"dfemu/devices/devtest"
)

type rig struct {
	*Device
	clock *devtest.Clock
	irq   devtest.Line
	sent  bytes.Buffer
	t     *testing.T
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, clock: devtest.NewClock(time.Time{})}
	r.Device = New(Config{Clock: r.clock, IRQ: &r.irq, Out: &r.sent})
	return r
}

func (r *rig) out(reg, v uint64) { r.t.Helper(); drive.Out(r.t, r.Ports(), reg, 1, v) }
func (r *rig) in(reg uint64) uint64 {
	r.t.Helper()
	return drive.In(r.t, r.Ports(), reg, 1)
}

// want compares the interrupt that IIR shows, and the line.
func (r *rig) want(iir uint64) {
	r.t.Helper()
	if line := r.irq.Level(); line != (iir&1 == 0) {
		r.t.Errorf("line is %v, want interrupt %#x", line, iir)
	}
	if got := r.in(regIIR); got != iir {
		r.t.Errorf("IIR %#x, want %#x", got, iir)
	}
}

// setup programs 115200 8N1, OUT2 and interrupts, and the FIFO with a trigger.
func (r *rig) setup(ier, fcr uint64) {
	r.out(regLCR, 0x83)
	r.out(0, 1)
	r.out(1, 0)
	r.out(regLCR, 0x03)
	r.out(regMCR, mcrDTR|mcrRTS|mcrOUT2)
	r.out(regIIR, fcr)
	r.out(regIER, ier)
}

const char8N1 = 86_805 // ns, rounded down

func TestBank(t *testing.T) {
	if err := bank.Check(); err != nil {
		t.Error(err)
	}
}

// TestProbe does what kernels do to tell that there is a 16550A.
func TestProbe(t *testing.T) {
	r := newRig(t)
	r.out(regIER, 0)
	if v := r.in(regIER); v != 0 {
		t.Errorf("IER %#x", v)
	}
	r.out(regIER, 0xff)
	if v := r.in(regIER); v != 0x0f {
		t.Errorf("IER %#x: the upper half is 0", v)
	}
	r.out(regIER, 0)
	r.out(regMCR, mcrLoop|0x0a)
	if v := r.in(regMSR); v&0xf0 != 0x90 {
		t.Errorf("MSR %#x in loopback", v)
	}
	r.out(regMCR, 0)
	r.out(regIIR, 0x01)
	if v := r.in(regIIR); v>>6 != 3 {
		t.Errorf("IIR %#x with the FIFO on", v)
	}
	r.out(regIIR, 0x21)
	if v := r.in(regIIR); v&0x20 != 0 {
		t.Errorf("IIR %#x: this is no 16750", v)
	}
	r.out(regIIR, 0)
	if v := r.in(regIIR); v != iirNone {
		t.Errorf("IIR %#x with the FIFO off", v)
	}
	r.out(regSCR, 0x5a)
	if v := r.in(regSCR); v != 0x5a {
		t.Errorf("SCR %#x", v)
	}
	r.out(regLCR, lcrDLAB)
	r.out(0, 0x34)
	r.out(1, 0x12)
	if r.in(0) != 0x34 || r.in(1) != 0x12 {
		t.Error("divisor latch")
	}
	r.out(regLCR, 0)
	if r.in(1) != 0 {
		t.Error("the divisor shows in IER")
	}
}

func TestTransmit(t *testing.T) {
	r := newRig(t)
	r.setup(ierTHRE, 0x01)
	r.want(iirFIFO | iirTHRE) // enabling tells that it is empty
	r.want(iirFIFO | iirNone)
	for _, b := range []byte("hello") {
		if r.in(regLSR) != lsrTHRE|lsrTEMT {
			t.Error("not empty")
		}
		r.out(regData, uint64(b))
	}
	if r.sent.String() != "hello" {
		t.Errorf("sent %q", r.sent.String())
	}
	r.want(iirFIFO | iirTHRE)
	r.out(regIER, 0)
	r.out(regIER, ierTHRE)
	r.want(iirFIFO | iirTHRE)
}

func TestReceiveTrigger(t *testing.T) {
	for _, c := range []struct {
		fcr   uint64
		level int
	}{{0x01, 1}, {0x41, 4}, {0x81, 8}, {0xc1, 14}} {
		r := newRig(t)
		r.setup(ierRDA, c.fcr)
		for i := 1; i < c.level; i++ {
			r.Receive([]byte{byte(i)})
			r.want(iirFIFO | iirNone)
		}
		r.Receive([]byte{byte(c.level)})
		r.want(iirFIFO | iirRDA)
		if v := r.in(regData); v != 1 {
			t.Errorf("level %d: read %d first", c.level, v)
		}
		r.want(iirFIFO | iirNone)
	}
}

func TestTimeout(t *testing.T) {
	r := newRig(t)
	r.setup(ierRDA, 0x81)
	r.Receive([]byte("ab"))
	r.clock.Advance(3 * char8N1)
	r.Receive([]byte("c")) // begins the wait again
	r.clock.Advance(4*char8N1 - 10)
	r.want(iirFIFO | iirNone)
	r.clock.Advance(20)
	r.want(iirFIFO | iirTimeout)
	r.want(iirFIFO | iirTimeout) // stays until a read
	r.in(regData)
	r.want(iirFIFO | iirNone)
	r.clock.Advance(4*char8N1 + 10)
	r.want(iirFIFO | iirTimeout)
	r.in(regData)
	r.in(regData)
	r.clock.Advance(1e9)
	r.want(iirFIFO | iirNone)
}

func TestBackPressure(t *testing.T) {
	for _, c := range []struct {
		fcr  uint64
		room int
	}{{0, 1}, {1, 16}} {
		r := newRig(t)
		r.setup(0, c.fcr)
		want := []byte("the quick brown fox jumps over the lazy dog")
		rest := want
		r.OnSpace(func() { rest = rest[r.Receive(rest):] })
		n := r.Receive(rest)
		if n != c.room {
			t.Errorf("took %d bytes, want %d", n, c.room)
		}
		rest = rest[n:]
		var got []byte
		for r.in(regLSR)&lsrDR != 0 {
			got = append(got, byte(r.in(regData)))
		}
		if !bytes.Equal(got, want) {
			t.Errorf("read %q", got)
		}
	}
}

func TestLineStatus(t *testing.T) {
	r := newRig(t)
	r.setup(ierLSR|ierRDA, 0x01)
	r.Receive([]byte("x"))
	r.Break()
	if v := r.in(regLSR); v != lsrDR|lsrTHRE|lsrTEMT|lsrFIFO {
		t.Errorf("LSR %#x: the break is behind a character", v)
	}
	r.want(iirFIFO | iirRDA)
	r.in(regData)
	r.want(iirFIFO | iirLSR)
	if v := r.in(regLSR); v != lsrDR|lsrBI|lsrFE|lsrTHRE|lsrTEMT|lsrFIFO {
		t.Errorf("LSR %#x: the break is next", v)
	}
	r.want(iirFIFO | iirRDA)
	if v := r.in(regData); v != 0 {
		t.Errorf("a break reads as %#x", v)
	}
	if v := r.in(regLSR); v != lsrTHRE|lsrTEMT {
		t.Errorf("LSR %#x", v)
	}
}

func TestLoopback(t *testing.T) {
	for _, c := range []struct {
		fcr  uint64
		want string // what the receiver has after 17 characters a, b, …
	}{{0, "q"}, {1, "abcdefghijklmnop"}} {
		r := newRig(t)
		r.setup(0, c.fcr)
		r.out(regMCR, mcrLoop|mcrOUT2)
		if r.Receive([]byte("!")) != 0 {
			t.Error("the host is not disconnected")
		}
		for i := range uint64(17) {
			r.out(regData, 'a'+i)
		}
		if v := r.in(regLSR); v&(lsrOE|lsrDR) != lsrOE|lsrDR {
			t.Errorf("LSR %#x, want an overrun", v)
		}
		if v := r.in(regLSR); v&lsrOE != 0 {
			t.Error("reading does not clear the overrun")
		}
		var got []byte
		for r.in(regLSR)&lsrDR != 0 {
			got = append(got, byte(r.in(regData)))
		}
		if string(got) != c.want || r.sent.Len() != 0 {
			t.Errorf("received %q, sent %q", got, r.sent.String())
		}
		r.out(regLCR, 0x03|lcrBreak)
		if v := r.in(regLSR); v&lsrBI == 0 {
			t.Errorf("LSR %#x, want a break", v)
		}
	}
}

func TestModemStatus(t *testing.T) {
	r := newRig(t)
	r.setup(ierMSR, 0)
	if v := r.in(regMSR); v != connected {
		t.Errorf("MSR %#x", v)
	}
	for _, c := range []struct{ mcr, msr uint64 }{
		{mcrLoop, 0x0b}, // CTS, DSR and DCD went away
		{mcrLoop | mcrRTS, msrCTS | 0x01},
		{mcrLoop | mcrOUT1, msrRI | 0x01},
		{mcrLoop | mcrOUT1 | mcrDTR, msrRI | msrDSR | 0x02},
		{mcrLoop | mcrDTR, msrDSR | msrTERI},
		{mcrOUT2, connected | 0x09},
	} {
		r.out(regMCR, c.mcr)
		if v := r.in(regIIR); v != iirMSR {
			t.Errorf("MCR %#x: IIR %#x", c.mcr, v)
		}
		if v := r.in(regMSR); v != c.msr {
			t.Errorf("MCR %#x: MSR %#x, want %#x", c.mcr, v, c.msr)
		}
		if v := r.in(regIIR); v != iirNone {
			t.Errorf("MCR %#x: IIR %#x after MSR was read", c.mcr, v)
		}
	}
}

func TestOUT2Gate(t *testing.T) {
	r := newRig(t)
	r.setup(ierTHRE, 0)
	for _, c := range []struct {
		mcr  uint64
		line bool
	}{{0, false}, {mcrOUT2, true}, {mcrOUT2 | mcrLoop, false}, {mcrOUT2, true}} {
		r.out(regMCR, c.mcr)
		if r.irq.Level() != c.line {
			t.Errorf("MCR %#x: line %v", c.mcr, r.irq.Level())
		}
	}
}

func TestClearFIFO(t *testing.T) {
	r := newRig(t)
	r.setup(0, 1)
	r.Receive([]byte("abc"))
	r.out(regIIR, 3)
	if r.in(regLSR)&lsrDR != 0 {
		t.Error("FCR bit 1 does not clear")
	}
	r.Receive([]byte("abc"))
	r.out(regIIR, 0)
	if r.in(regLSR)&lsrDR != 0 {
		t.Error("turning the FIFO off does not clear")
	}
}

func TestRegisterNames(t *testing.T) {
	d := New(Config{Clock: devtest.NewClock(time.Time{})})
	n := d.Ports().(interface {
		RegisterName(off uint64, write bool) string
	})
	for _, c := range []struct {
		lcr, off uint64
		write    bool
		want     string
	}{{0, 0, true, "THR"}, {0, 0, false, "RBR"}, {0x80, 0, true, "DLL"}, {0x80, 1, false, "DLM"}, {0, 2, true, "FCR"}, {0, 5, false, "LSR"}} {
		drive.Out(t, d.Ports(), regLCR, 1, c.lcr)
		if got := n.RegisterName(c.off, c.write); got != c.want {
			t.Errorf("RegisterName(%d, %v) with LCR %#x = %q, want %q", c.off, c.write, c.lcr, got, c.want)
		}
	}
}

func FuzzUART(f *testing.F) {
	f.Add([]byte{1, 4, 0, 0x18, 0, 0, 0, 1, 0, 0, 'a', 0, 0, 0, 0, 5, 0, 0, 0, 0})
	f.Add([]byte{1, 2, 0, 0xc1, 0, 0, 0, 1, 1, 0, 0x0f, 0, 0, 0, 0x0c, 0x85, 0x0f, 255, 16, 0, 2, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		clock := devtest.NewClock(time.Time{})
		d := New(Config{Clock: clock})
		d.OnSpace(func() { d.Receive(nil) })
		drive.Fuzz(t, program, clock, d, func(op byte) {
			if op == 0 {
				d.Break()
			}
			p := make([]byte, op&31)
			if n := d.Receive(p); n > len(p) {
				t.Errorf("took %d bytes of %d", n, len(p))
			}
		}, drive.Window{Region: d.Ports(), Size: Size})
	})
}

func FuzzRestore(f *testing.F) {
	p, _ := New(Config{Clock: devtest.NewClock(time.Time{})}).SaveState()
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		clock := devtest.NewClock(time.Time{})
		d := New(Config{Clock: clock})
		drive.FuzzRestore(p, clock, d, drive.Window{Region: d.Ports(), Size: Size})
	})
}

func TestConcurrency(t *testing.T) {
	clock := devtest.NewClock(time.Time{})
	d := New(Config{Clock: clock})
	drive.Hammer(clock, d, drive.Window{Region: d.Ports(), Size: Size})
}
