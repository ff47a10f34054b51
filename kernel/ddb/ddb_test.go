package ddb

import (
	"strings"
	"testing"
)

// fake is a machine of 256 bytes of text at 0x1000, in functions of 64 bytes, and one thread.
type fake struct {
	in, out strings.Builder
	pos     int
	text    [256]byte
	pc      uint64
	step    bool
	name    [3]byte
}

func (f *fake) Put(b byte) { f.out.WriteByte(b) }
func (f *fake) Get() byte {
	if f.pos == f.in.Len() {
		panic("the debugger reads on")
	}
	f.pos++
	return f.in.String()[f.pos-1]
}
func (f *fake) Mapped(a uint64) bool { return a >= 0x1000 && a < 0x1100 }
func (f *fake) Load(a uint64) byte   { return f.text[a-0x1000] }
func (f *fake) Patch(a uint64, b byte) bool {
	f.text[a-0x1000] = b
	return true
}
func (f *fake) Symbol(pc uint64) (string, string, int, uint64, bool) {
	if !f.Mapped(pc) {
		return "", "", 0, 0, false
	}
	n := (pc - 0x1000) / 64
	return []string{"a/b.zero", "a/b.one", "a/b.(*T).two", "main.three"}[n], "f.go", int(n), 0x1000 + n*64, true
}
func (f *fake) Text() (uint64, uint64) { return 0x1000, 0x1100 }
func (f *fake) Threads() int           { return 2 }
func (f *fake) Thread(id int) (Thread, bool) {
	f.name = [3]byte{'t', 0, 'x'}
	return Thread{ID: id, State: "run", Name: f.name[:], Regs: Regs{IP: f.pc, AX: 0xabc}}, id == 1
}
func (f *fake) Token(int, int) (Token, bool)           { return Token{}, false }
func (f *fake) CPUs() int                              { return 1 }
func (f *fake) CPU(int) CPU                            { return CPU{Switches: 7} }
func (f *fake) Ring(int, int) (uint32, uint32, uint32) { return 3, 2, 1 }
func (f *fake) Step(on bool)                           { f.step = on }
func (f *fake) SetPC(pc uint64)                        { f.pc = pc }
func (f *fake) Reset()                                 {}
func (f *fake) PowerOff()                              {}

// session enters the debugger with input and returns what it prints.
func session(d *Debugger, f *fake, input string) string {
	f.in.WriteString(input)
	f.out.Reset()
	d.Enter(1, Asked)
	return f.out.String()
}

func TestBreakpoint(t *testing.T) {
	f := &fake{pc: 0x1005}
	d := New(f)
	f.text[0x40] = 0x90
	session(d, f, "break one\rb three\rdelete three\rc\r")
	if f.text[0x40] != breakInstr || f.text[0xc0] != 0 || f.step {
		t.Fatalf("text % x, step %v", f.text[0x40], f.step)
	}
	// The thread runs into it: memory is as it was while it stands.
	f.pc = 0x1041
	f.in.WriteString("x one 4\r\r0bad\rc\r")
	f.out.Reset()
	if !d.Trap(1, true, f.pc) || f.pc != 0x1040 {
		t.Fatalf("the breakpoint was not taken; stands at %#x", f.pc)
	}
	if s := f.out.String(); strings.Count(s, "  90 00 00 00") != 2 || !strings.Contains(s, "0bad: no such command") {
		t.Errorf("examined:\n%s", s)
	}
	// It is stepped over before it is put back.
	if f.text[0x40] != 0x90 || !f.step {
		t.Error("it does not step over the breakpoint")
	}
	f.pc = 0x1042
	if !d.Trap(1, false, f.pc) || f.text[0x40] != breakInstr || f.step {
		t.Error("the breakpoint was not put back")
	}
	if d.Trap(1, true, 0x1011) {
		t.Error("another's breakpoint was taken")
	}
}

// TestBadStep asks for steps that cannot be: the thread then goes on without one.
func TestBadStep(t *testing.T) {
	for _, line := range []string{"s 0", "s x", "s 1000001", "step 99999999999999999999999", "s 0x10000000000000001", "s -1"} {
		f := &fake{pc: 0x1000}
		d := New(f)
		if s := session(d, f, line+"\rc\r"); !strings.Contains(s, "step how often?") || f.step || d.Active() {
			t.Errorf("%s: it steps: %v, %v:\n%s", line, f.step, d.Active(), s)
		}
	}
}

// TestEmptyLine repeats the last command of this stop, not of one before: that may have been to go on.
func TestEmptyLine(t *testing.T) {
	f := &fake{pc: 0x1000}
	d := New(f)
	session(d, f, "show cpus\rc\r")
	if s := session(d, f, "\r\rsym one\r\rc\r"); strings.Count(s, "a/b.one+0x0") != 2 || strings.Contains(s, "switches") {
		t.Errorf("at another stop an empty line does something:\n%s", s)
	}
	session(d, f, "s\r")
	f.in.WriteString("\r")
	if !d.Trap(1, false, f.pc) || !f.step {
		t.Error("an empty line after a step does not step again")
	}
}

// TestDiscard runs into a breakpoint where that cannot be stopped.
func TestDiscard(t *testing.T) {
	f := &fake{pc: 0x1000}
	d := New(f)
	f.text[0x40] = 0x90
	session(d, f, "b one\rc\r")
	if !d.Discard(0x1040) || f.text[0x40] != 0x90 || d.Active() {
		t.Errorf("the text is %#x, breakpoints left: %v", f.text[0x40], d.Active())
	}
	if !d.Discard(0x1040) {
		t.Error("another CPU that was in it is lost")
	}
	f.text[0x80] = breakInstr
	if d.Discard(0x1080) || d.Discard(0x9000) {
		t.Error("a breakpoint that is none of the debugger's is taken away")
	}
}

// TestShows adds and removes what is shown, as drivers do that come and go.
func TestShows(t *testing.T) {
	f := &fake{pc: 0x1000}
	d := New(f)
	add := func(name string) func() { return d.Add(name, func(d *Debugger) { d.Str("this is " + name + "\n") }) }
	a, b := add("disk"), add("disk")
	other := add("net")
	if s := session(d, f, "show disk\rhelp\rc\r"); strings.Count(s, "this is disk\n") != 2 || strings.Count(s, "\nshow disk\n") != 1 {
		t.Errorf("two disks:\n%s", s)
	}
	a()
	third := add("third")
	a() // does nothing any more
	if s := session(d, f, "show third\rc\r"); !strings.Contains(s, "this is third\n") {
		t.Errorf("who was added since has gone:\n%s", s)
	}
	third()
	if s := session(d, f, "show disk\rshow net\rhelp\rc\r"); strings.Count(s, "this is disk\n") != 1 || !strings.Contains(s, "this is net\n") || strings.Count(s, "\nshow disk\n") != 1 {
		t.Errorf("a disk has gone:\n%s", s)
	}
	b()
	if s := session(d, f, "show disk\rhelp\rc\r"); !strings.Contains(s, "there is none") || strings.Contains(s, "\nshow disk\n") {
		t.Errorf("all disks have gone:\n%s", s)
	}
	for range 10 * maxShows {
		add("disk")()
	}
	add("disk")
	if s := session(d, f, "show disk\rc\r"); strings.Count(s, "this is disk\n") != 1 {
		t.Errorf("after many came and went:\n%s", s)
	}
	for range maxShows {
		defer add("more")()
	}
	if s := session(d, f, "show more\rc\r"); strings.Count(s, "this is more\n") != maxShows-2 {
		t.Errorf("too many are shown, or too few:\n%s", s)
	}
	other()
}

func TestStep(t *testing.T) {
	f := &fake{pc: 0x1000}
	d := New(f)
	session(d, f, "step 2\r")
	if !f.step || !d.Active() {
		t.Fatal("it does not step")
	}
	f.pc = 0x1001
	if !d.Trap(1, false, f.pc) || !f.step {
		t.Error("it does not step twice")
	}
	f.in.WriteString("c\r")
	if !d.Trap(1, false, f.pc) || f.step || d.Active() {
		t.Error("it steps on")
	}
	if d.Trap(1, false, f.pc) {
		t.Error("a trap of another was taken")
	}
}

func TestShow(t *testing.T) {
	f := &fake{pc: 0x1085}
	d := New(f)
	d.Add("disk", func(d *Debugger) { d.Str("a disk "); d.Dec(42); d.Hex(0); d.Line() })
	s := session(d, f, "ps\rshow registers\rshow cpus\rshow ipiq\rshow disk\rshow nothing\rtrace\rx 0xfff 2\rbreak 5\rsym 0x10c1\rhelp\rc\r")
	for _, want := range []string{"   1   0   0 run" + strings.Repeat(" ", 22) + "t\n", "rax 0000000000000abc", "switches 7", "written 3 taken 2 executed 1", "a disk 420x0\n",
		"nothing: there is none", "a/b.(*T).two+0x5 f.go:2", "  -- 00", "not in the kernel's text", "main.three+0x1", "show disk\n"} {
		if !strings.Contains(s, want) {
			t.Errorf("there is no %q", want)
		}
	}
	if t.Failed() {
		t.Log(s)
	}
}

// TestShort has commands and what they show in the forms that people guess.
func TestShort(t *testing.T) {
	f := &fake{pc: 0x1085}
	d := New(f)
	d.Add("disk", func(d *Debugger) { d.Str("a disk\n") })
	for in, want := range map[string]string{
		"cont": "", "thr": "  ID CPU", "exam one 1": " 00\n", "wh": "two+0x5", "bt": "two+0x5", "sho reg": "rax 0", "show regs": "rax 0", "show cpu": "switches 7", "show disks": "a disk\n",
		"show tokens": "no thread has tokens", "show ipiqs": "written 3", "symbol 0x10c1": "main.three", "h": "an empty line", "res": "res: no such command", "powero": "no such command",
		"show dis": "there is none",
	} {
		f.in.WriteString(in + "\rc\r")
		if in == "cont" {
			in = "c"
		}
		f.out.Reset()
		d.Enter(1, Asked)
		if in == "c" {
			d.Enter(1, Asked)
		}
		if s := f.out.String(); !strings.Contains(s, want) {
			t.Errorf("%s: want %q in:\n%s", in, want, s)
		}
	}
	f.in.WriteString("trace\rshow reg\rtrace 1\rc\r")
	f.out.Reset()
	d.Enter(0, Asked)
	if s := f.out.String(); strings.Count(s, "no thread was stopped: say which") != 2 || !strings.Contains(s, "two+0x5") {
		t.Errorf("with an idle CPU:\n%s", s)
	}
}

// TestAllocates: below the Go runtime nothing is allocated.
func TestAllocates(t *testing.T) {
	f := &fake{pc: 0x1000}
	d := New(f)
	f.out.Grow(1 << 20)
	f.in.WriteString(strings.Repeat("ps\rshow cpus\rbreak two\rdelete\rx 0x1000 64\rtrace\rc\r", 20))
	if n := testing.AllocsPerRun(10, func() { d.Enter(1, Asked) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzCommands(f *testing.F) {
	f.Add("break one\rs 5\r")
	f.Add("x 0xffffffffffffffff 4096\rshow token\r")
	f.Fuzz(func(t *testing.T, in string) {
		m := &fake{pc: 0x1000}
		d := New(m)
		session(d, m, in+"\rc\rc\rc\r")
	})
}
