package gdb

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// fake is a machine with four threads, of which 1, 2 and 4 exist, and some memory.
type fake struct {
	in    []byte
	out   bytes.Buffer
	base  uint64
	mem   []byte
	regs  map[int]*Regs
	steps map[int]Step
	reset bool
	watch [NWatches]Watch
	hits  uint8
}

var errEnd = errors.New("end of input")

func newFake() *fake {
	f := &fake{base: 0x1000, mem: make([]byte, 0x100), regs: map[int]*Regs{}, steps: map[int]Step{}}
	for i := range f.mem {
		f.mem[i] = byte(i)
	}
	for _, id := range []int{1, 2, 4} {
		r := &Regs{IP: 0x1000 + uint64(id), Flags: 0x202, CS: 8, SS: 0x10, FS: 0x7000, GS: 0x8000, HasFP: id == 2}
		for i := range r.GP {
			r.GP[i] = uint64(id)<<32 + uint64(i)
		}
		r.FP[24], r.FP[25] = 0x80, 0x1f
		r.FP[160] = 0xaa
		f.regs[id] = r
	}
	return f
}

func (f *fake) Put(b byte) { f.out.WriteByte(b) }
func (f *fake) Get() byte {
	if len(f.in) == 0 {
		panic(errEnd)
	}
	b := f.in[0]
	f.in = f.in[1:]
	return b
}
func (f *fake) Mapped(a uint64) bool { return a >= f.base && a-f.base < uint64(len(f.mem)) }
func (f *fake) Load(a uint64) byte   { return f.mem[a-f.base] }
func (f *fake) Patch(a uint64, b byte) bool {
	f.mem[a-f.base] = b
	return true
}
func (f *fake) Threads() int { return 6 }
func (f *fake) Regs(id int, r *Regs) bool {
	if f.regs[id] == nil {
		return false
	}
	*r = *f.regs[id]
	return true
}
func (f *fake) SetRegs(id int, r *Regs)       { *f.regs[id] = *r }
func (f *fake) Describe(id int, b []byte) int { return copy(b, fmt.Sprintf("thread %d", id)) }
func (f *fake) Step(id int, how Step)         { f.steps[id] = how }
func (f *fake) Watch(n int, w Watch)          { f.watch[n] = w }
func (f *fake) Hits() uint8                   { return f.hits }
func (f *fake) Reset()                        { f.reset = true }

// frame is a packet.
func frame(p string) string {
	sum := byte(0)
	for i := range len(p) {
		sum += p[i]
	}
	return fmt.Sprintf("$%s#%02x", p, sum)
}

// talk enters a machine at a thread, sends packets, the last of which lets it go on, and returns the answers.
func talk(t *testing.T, s *Server, f *fake, thread int, why Signal, packets ...string) []string {
	t.Helper()
	f.out.Reset()
	for _, p := range packets {
		f.in = append(f.in, frame(p)+"+"...)
	}
	s.Enter(thread, why)
	return answers(t, f)
}

// answers takes apart what came out.
func answers(t *testing.T, f *fake) (out []string) {
	t.Helper()
	for p := range strings.SplitSeq(f.out.String(), "$") {
		p, sum, ok := strings.Cut(p, "#")
		if !ok {
			continue
		}
		if frame(p) != "$"+p+"#"+sum[:2] {
			t.Errorf("the answer %q has the checksum %s", p, sum[:2])
		}
		out = append(out, p)
	}
	return out
}

// TestDialog asks for each thing.
func TestDialog(t *testing.T) {
	f := newFake()
	s := New(f)
	dialog := []struct{ ask, want string }{
		{"qSupported:swbreak+;xmlRegisters=i386", "PacketSize=1000;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+;QStartNoAckMode+"},
		{"?", "T02thread:2;"},
		{"vMustReplyEmpty", ""},
		{"vCont?", "vCont;c;C;s;S"},
		{"qAttached", "1"},
		{"qC", "QC2"},
		{"qfThreadInfo", "m1,2,4"},
		{"qsThreadInfo", "l"},
		{"qThreadExtraInfo,4", "7468726561642034"},
		{"T4", "OK"},
		{"T3", "E16"},
		{"Hg4", "OK"},
		{"p0", "0000000004000000"},
		{"p10", "0410000000000000"},
		{"p28", strings.Repeat("xx", 16)},
		{"Hg3", "E16"},
		{"Hg0", "OK"},
		{"p28", "aa" + strings.Repeat("00", 15)},
		{"p38", "801f0000"},
		{"p3b", "E16"},
		{"P1=8877665544332211", "OK"},
		{"p1", "8877665544332211"},
		{"P1=88", "E16"},
		{"m1010,4", "10111213"},
		{"m10fe,4", "feff"},
		{"m1100,4", "E0e"},
		{"mffffffffffffffff,2", "E0e"},
		{"m1000", "E16"},
		{"M1010,2:abcd", "OK"},
		{"X1012,3:a}\x03b", "OK"}, // escaped '#'
		{"m1010,6", "abcd61236215"},
		{"M10ff,2:0000", "E0e"},
		{"Z0,1020,1", "OK"},
		{"Z1,1021,1", "OK"},
		{"Z0,1020,1", "OK"},
		{"z1,1021,1", "OK"},
		{"Z3,1020,1", ""}, // processors do not know that
		{"Z5,1020,1", ""},
		{"Z2,1020,8", "OK"},
		{"Z2,1020,8", "OK"},
		{"Z4,1031,3", "OK"}, // takes two registers
		{"Z2,1040,5", "E1c"},
		{"Z2,10ff,2", "E0e"},
		{"Z2,1040,0", "E16"},
		{"Z2,ffffffffffffffff,2", "E16"},
		{"z4,1031,3", "OK"},
		{"Z1,1021,1", "OK"},
		{"Z0,2020,1", "E0e"},
		{"m1020,1", "20"}, // not yet in memory
		{"qRcmd,00", ""},
		{"D", "OK"},
	}
	var asks []string
	for _, d := range dialog {
		asks = append(asks, d.ask)
	}
	got := talk(t, s, f, 2, Interrupt, asks...)
	if len(got) != len(dialog) {
		t.Fatalf("%d answers to %d packets: %q", len(got), len(dialog), got)
	}
	for i, d := range dialog {
		if got[i] != d.want {
			t.Errorf("%q is answered by %q, want %q", d.ask, got[i], d.want)
		}
	}
	if s.breaks != [maxBreaks]brk{} || f.mem[0x20] != 0x20 || f.watch != [NWatches]Watch{} {
		t.Error("breakpoints are left after detaching")
	}
}

// TestRegisters reads and writes all registers at once, and the description agrees with the image.
func TestRegisters(t *testing.T) {
	f := newFake()
	s := New(f)
	got := talk(t, s, f, 2, Trap, "g", "c")[0]
	if len(got) != 2*imageSize {
		t.Fatalf("g has %d digits, want %d", len(got), 2*imageSize)
	}
	var target struct {
		Features []struct {
			Regs []struct {
				Name string `xml:"name,attr"`
				Bits int    `xml:"bitsize,attr"`
			} `xml:"reg"`
		} `xml:"feature"`
	}
	if err := xml.Unmarshal(s.target, &target); err != nil {
		t.Fatal(err)
	}
	n, total := 0, 0
	for _, feature := range target.Features {
		for _, r := range feature.Regs {
			off, size := place(n)
			if off != total || size*8 != r.Bits {
				t.Errorf("%s is at %d with %d bits, the image has it at %d with %d bytes", r.Name, total, r.Bits, off, size)
			}
			n, total = n+1, total+size
		}
	}
	if n != nregs || total != imageSize {
		t.Errorf("%d registers of %d bytes are described, want %d of %d", n, total, nregs, imageSize)
	}
	want := *f.regs[2]
	s.owed = false
	if a := talk(t, s, f, 2, Trap, "G"+got, "c"); a[0] != "OK" || *f.regs[2] != want {
		t.Errorf("what was read was written: %q\n%+v, want\n%+v", a, *f.regs[2], want)
	}
}

// TestBreak sets a breakpoint, runs into it, and steps away from it as gdb does.
func TestBreak(t *testing.T) {
	f := newFake()
	s := New(f)
	talk(t, s, f, 1, Interrupt, "qSupported:swbreak+", "Z0,1020,1", "vCont;c")
	if f.mem[0x20] != breakInstr || !s.Active() {
		t.Fatal("the breakpoint is not in memory")
	}
	f.regs[2].IP = 0x1021
	f.out.Reset()
	f.in = []byte(frame("m1020,1") + frame("z0,1020,1") + frame("vCont;s:2;c"))
	if !s.Trap(2, true, 0x1021) {
		t.Fatal("the breakpoint is not the server's")
	}
	if a := answers(t, f); a[0] != "T05swbreak:;thread:2;" || a[1] != "20" || f.regs[2].IP != 0x1020 || f.steps[2] != StepOn || f.mem[0x20] != 0x20 {
		t.Fatalf("at the breakpoint: %q, at %#x, steps %v", a, f.regs[2].IP, f.steps)
	}
	for p, want := range map[string]Step{"vCont;s:4": StepAlone, "vCont;s": StepOn, "vCont;s:4;c:-1": StepOn, "vCont;c": StepOff, "s": StepOn} {
		f.in = []byte(frame(p))
		f.steps[4] = StepOff
		s.Enter(4, Trap)
		if f.steps[4] != want {
			t.Errorf("%s steps in way %d, want %d", p, f.steps[4], want)
		}
	}
	f.in = []byte(frame("vCont;s:2;c"))
	s.Enter(2, Trap)
	// Another thread ran into the breakpoint before it was taken away.
	f.regs[4].IP = 0x1021
	if !s.Trap(4, true, 0x1021) || f.regs[4].IP != 0x1020 {
		t.Errorf("a thread late at a breakpoint goes on at %#x", f.regs[4].IP)
	}
	// A thread is stopped while another one steps, and that traps late.
	f.in = []byte(frame("Z0,1020,1") + frame("vCont;c"))
	f.out.Reset()
	s.Enter(4, Interrupt)
	if a := answers(t, f); a[0] != "T02thread:4;" || f.steps[2] != StepOff {
		t.Errorf("stopped during a step: %q, steps %v", a, f.steps)
	}
	if s.Trap(2, false, 0x1022) {
		t.Error("a step that was given up stops the machine")
	}
	f.mem[0x30] = breakInstr
	if s.Trap(1, true, 0x1031) || s.Discard(0x1030) {
		t.Error("another's breakpoint is the server's")
	}
	if f.mem[0x20] != breakInstr || !s.Discard(0x1020) || f.mem[0x20] != 0x20 {
		t.Error("a breakpoint is not taken away")
	}
	if !s.Discard(0x1020) {
		t.Error("a CPU that is late at a breakpoint does not go on")
	}
}

// TestWatch sets debug registers, has them see something, and takes them away.
func TestWatch(t *testing.T) {
	f := newFake()
	s := New(f)
	talk(t, s, f, 1, Interrupt, "qSupported:swbreak+;hwbreak+", "Z2,1014,c", "Z4,1030,2", "Z1,1001,1", "vCont;c")
	if want := [NWatches]Watch{{WatchWrite, 0x1014, 4}, {WatchWrite, 0x1018, 8}, {WatchAccess, 0x1030, 2}, {WatchExec, 0x1001, 1}}; f.watch != want || f.mem[1] != 1 {
		t.Fatalf("the registers are %v, want %v", f.watch, want)
	}
	for hits, want := range map[uint8]string{1: "T05watch:1014;thread:2;", 2: "T05watch:1018;thread:2;", 4: "T05awatch:1030;thread:2;", 8: "T05hwbreak:;thread:2;", 6: "T05watch:1018;thread:2;"} {
		f.hits, f.in = hits, []byte(frame("vCont;c"))
		f.out.Reset()
		if !s.Trap(2, false, 0x1002) {
			t.Errorf("hits %#x: not the server's", hits)
		} else if a := answers(t, f); a[0] != want {
			t.Errorf("hits %#x are told as %q, want %q", hits, a[0], want)
		}
	}
	// A stop for another reason does not tell of them, and one for what gdb has taken away is none.
	f.out.Reset()
	f.in = []byte(frame("z2,1014,c") + frame("vCont;c"))
	s.Enter(2, Interrupt)
	if a := answers(t, f); a[0] != "T02thread:2;" {
		t.Errorf("stopped by the operator: %q", a)
	}
	for _, hits := range []uint8{0, 1, 2, 3} {
		if f.hits = hits; s.Trap(2, false, 0x1002) {
			t.Errorf("hits %#x stop the machine", hits)
		}
	}
	if f.watch[0] != (Watch{}) || f.watch[1] != (Watch{}) || f.watch[2].Kind != WatchAccess {
		t.Errorf("the registers are %v", f.watch)
	}
}

// TestReceive damages packets, breaks them off, and asks for answers again.
func TestReceive(t *testing.T) {
	f := newFake()
	s := New(f)
	f.in = []byte("+\x03junk$m1000,1#00" + frame("m1000,1") + "-" + "$m10" + frame("m1001,1") + frame(strings.Repeat("m", maxPacket+1)) +
		frame("QStartNoAckMode") + frame("m1002,1") + frame("c"))
	s.Push('$')
	f.in = append([]byte("?#3f"), f.in...)
	s.Enter(0, Interrupt)
	want := "+$T02thread:1;#" // an idle CPU is shown as some thread
	if got := f.out.String(); !strings.HasPrefix(got, want) {
		t.Errorf("%q, want it to begin with %q", got, want)
	}
	if got, want := f.out.String()[len(want)+2:], "-+$00#60$00#60+$01#61-+$OK#9a$02#62"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestKill resets the machine.
func TestKill(t *testing.T) {
	f := newFake()
	if talk(t, New(f), f, 1, Abort, "k"); !f.reset {
		t.Error("not reset")
	}
}

// TestNoAllocation goes through what runs below the Go runtime.
func TestNoAllocation(t *testing.T) {
	f := newFake()
	s := New(f)
	in := []byte(frame("qSupported:swbreak+") + frame("g") + frame("qfThreadInfo") + frame("m1000,80") + frame("Z0,1020,1") +
		frame("qXfer:features:read:target.xml:0,ffb") + frame("P1=8877665544332211") + frame("z0,1020,1") + frame("Z2,1014,c") + frame("vCont;s:2"))
	n := testing.AllocsPerRun(10, func() {
		f.out.Reset()
		f.in = in
		s.Enter(2, Interrupt)
		s.Trap(1, true, 0x1001)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzServer gives the server anything. It must end waiting for more, or let the machine go on.
func FuzzServer(f *testing.F) {
	for _, p := range []string{"g", "m1000,10", "X1000,2:}\x03", "vCont;s:2;c", "Z0,1020,1", "qXfer:features:read:target.xml:10,20", "G00", "P10=00", "Hg-1", "qThreadExtraInfo,1", "Z2,1014,c", "z4,1001,9"} {
		f.Add([]byte(frame(p)), uint8(2))
	}
	f.Fuzz(func(t *testing.T, b []byte, thread uint8) {
		m := newFake()
		m.in = b
		s := New(m)
		defer func() {
			if r := recover(); r != nil && r != errEnd {
				panic(r)
			}
			answers(t, m)
		}()
		for len(m.in) > 0 {
			s.Enter(int(thread%6), Interrupt)
			s.Trap(2, false, 0x1000)
		}
	})
}
