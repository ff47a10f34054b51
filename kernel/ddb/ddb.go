package ddb

import (
	"sync"

	"dfemu/kernel/subr/digits"
)

// Machine is what the debugger runs on. Its methods do not allocate.
type Machine interface {
	// Put and Get are the console; Get waits.
	Put(b byte)
	Get() byte
	// Mapped tells whether a byte can be read; Load reads it. Patch writes a byte of the kernel's text.
	Mapped(addr uint64) bool
	Load(addr uint64) byte
	Patch(addr uint64, b byte) bool
	// Symbol returns where an address is in the program; Text are the bounds of the program's instructions.
	Symbol(pc uint64) (name, file string, line int, entry uint64, ok bool)
	Text() (from, to uint64)
	// Threads bounds the threads' numbers; Thread returns one that exists.
	Threads() int
	Thread(id int) (Thread, bool)
	// Token returns the i-th token of a thread.
	Token(id, i int) (Token, bool)
	// CPUs bounds the CPUs.
	CPUs() int
	CPU(n int) CPU
	// Ring returns the messages from one CPU to another.
	Ring(from, to int) (sent, taken, done uint32)
	// Step makes the thread that was stopped execute one instruction, or run on.
	Step(on bool)
	// SetPC changes where the thread that was stopped goes on.
	SetPC(pc uint64)
	Reset()
	PowerOff()
}

// Thread is a thread that stands still.
type Thread struct {
	ID, CPU, Priority int
	State             string
	Name              []byte
	Ident             uint64 // what it sleeps on
	Regs              Regs
}

// Token is a token of a thread.
type Token struct {
	Addr, Collisions uint64
	Shared, Held     bool
	Name             string
}

// Regs are a thread's registers.
type Regs struct {
	AX, BX, CX, DX, SI, DI, BP, SP                           uint64
	R8, R9, R10, R11, R12, R13, R14, R15, IP, Flags, CR2, FS uint64
}

// CPU is a CPU that stands still.
type CPU struct {
	Thread                                           int // 0 when it is idle
	Switches, Preemptions, IRQs, Syscalls, Traps     uint64
	IPIsSent, IPIsProcessed, IPIInterrupts, Callouts uint64
	LocalAPIC                                        uint64
}

// Why the debugger is entered.
type Why uint8

// Reasons.
const (
	Asked      Why = iota // by key or command
	Breakpoint            // the thread executed one
	Stepped               // the thread has executed an instruction
	Panic
)

const (
	maxBreaks  = 16
	maxLine    = 128
	maxShows   = 64
	maxSteps   = 1_000_000
	breakInstr = 0xcc
)

type brk struct {
	addr uint64
	old  byte
	set  bool // it is in memory
}

// show is something that the debugger shows, if f is not nil.
type show struct {
	name string
	f    func(d *Debugger)
}

// Debugger is the debugger. All its memory is in it.
type Debugger struct {
	m      Machine
	breaks [maxBreaks]brk
	mu     sync.Mutex // for those who change shows: all stand still while they are read
	shows  [maxShows]show

	line    [maxLine]byte
	last    [maxLine]byte
	nlast   int
	words   [8]struct{ from, to int } // no pointers: they could not be stored here while the collector runs
	nwords  int
	why     Why
	current int    // the thread that was stopped, 0 for none
	over    uint64 // a breakpoint that is stepped over
	steps   int    // instructions that are left
}

// New returns a debugger.
func New(m Machine) *Debugger { return &Debugger{m: m} }

// Add makes "show name" call f, which must not allocate, lock or block, until remove is called. It is for what runs above the debugger: drivers
// and the kernel, at any time. Several may have the same name; all are called. There is room for maxShows at a time; others are not shown.
func (d *Debugger) Add(name string, f func(d *Debugger)) (remove func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.shows {
		if s := &d.shows[i]; s.f == nil {
			// The debugger may be entered at any point: f, which is written in one piece, makes it a whole.
			s.name = name
			s.f = f
			return sync.OnceFunc(func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				s.f = nil
			})
		}
	}
	return func() {}
}

// Str, Dec, Num, Hex and Line print.
func (d *Debugger) Str(s string) {
	for i := 0; i < len(s); i++ {
		d.m.Put(s[i])
	}
}

// Bytes prints text up to a zero.
func (d *Debugger) Bytes(b []byte) {
	for _, c := range b {
		if c == 0 {
			return
		}
		d.m.Put(c)
	}
}

// Hex prints a number in hexadecimal.
func (d *Debugger) Hex(v uint64) { d.Str("0x"); d.digits(v, 1) }

func (d *Debugger) digits(v uint64, n int) {
	var b digits.Buffer
	for _, c := range digits.Hex(&b, v, n) {
		d.m.Put(c)
	}
}

// Dec prints a number.
func (d *Debugger) Dec(v uint64) {
	var b digits.Buffer
	for _, c := range digits.Dec(&b, v) {
		d.m.Put(c)
	}
}

// Num prints what a number is, and the number: " traps ", 12.
func (d *Debugger) Num(label string, v uint64) {
	d.Str(label)
	d.Dec(v)
}

// Line ends a line.
func (d *Debugger) Line() { d.m.Put('\n') }

// Active tells whether a breakpoint is set or instructions are stepped: traps are then for the debugger.
func (d *Debugger) Active() bool {
	if d.over != 0 || d.steps > 0 {
		return true
	}
	for i := range d.breaks {
		if d.breaks[i].addr != 0 {
			return true
		}
	}
	return false
}

// Trap is called when a thread has trapped: on a breakpoint, whose address pc is one before where it stands, or after a
// single step. It returns false if the trap is none of the debugger's.
func (d *Debugger) Trap(thread int, breakpoint bool, pc uint64) bool {
	d.current = thread
	if breakpoint {
		b := d.at(pc - 1)
		if b == nil || !b.set {
			return false
		}
		d.m.SetPC(pc - 1)
		d.loop(Breakpoint)
		return true
	}
	if d.over == 0 && d.steps == 0 {
		return false
	}
	d.over = 0
	if d.steps > 0 {
		if d.steps--; d.steps == 0 {
			d.loop(Stepped)
			return true
		}
	}
	d.leave()
	return true
}

// Discard takes a breakpoint away, for good, as what has run into it cannot be stopped. It returns false if there is none.
func (d *Debugger) Discard(addr uint64) bool {
	b := d.at(addr)
	if b == nil {
		return d.m.Mapped(addr) && d.m.Load(addr) != breakInstr // another CPU was faster
	}
	if b.set {
		d.m.Patch(b.addr, b.old)
	}
	*b = brk{}
	return true
}

// Enter is called when the debugger is asked for, or the system panics.
func (d *Debugger) Enter(thread int, why Why) {
	d.current = thread
	d.loop(why)
}

func (d *Debugger) at(addr uint64) *brk {
	for i := range d.breaks {
		if d.breaks[i].addr == addr && addr != 0 {
			return &d.breaks[i]
		}
	}
	return nil
}

// loop reads and executes commands until the thread is to go on.
func (d *Debugger) loop(why Why) {
	d.why = why
	d.steps = 0
	if why != Stepped {
		d.nlast = 0 // what was done at another stop is not what an empty line means here
	}
	for i := range d.breaks {
		if b := &d.breaks[i]; b.set {
			d.m.Patch(b.addr, b.old)
			b.set = false
		}
	}
	d.m.Step(false)
	switch why {
	case Asked:
		d.Str("\nstopped by the operator\n")
	case Breakpoint:
		d.Str("\nbreakpoint\n")
	case Panic:
		d.Str("\nstopped by the panic\n")
	}
	if t, ok := d.thread(d.current); ok {
		d.Num("thread ", uint64(t.ID))
		d.Str(" ")
		d.Bytes(t.Name)
		d.Str(": ")
		d.frame(t.Regs.IP)
	}
	for {
		d.Str("ddb> ")
		n := d.read()
		if n > 0 {
			d.nlast = copy(d.last[:], d.line[:n])
		} else {
			n = copy(d.line[:], d.last[:d.nlast]) // the same again
		}
		d.split(n)
		if d.nwords > 0 && d.command() {
			break
		}
	}
	d.leave()
}

// leave puts the breakpoints back and lets the thread go on; one it stands on is stepped over first.
func (d *Debugger) leave() {
	pc := uint64(0)
	if t, ok := d.thread(d.current); ok {
		pc = t.Regs.IP
	}
	d.over = 0
	for i := range d.breaks {
		b := &d.breaks[i]
		if b.addr == 0 || b.set {
			continue
		}
		if b.addr == pc {
			d.over = pc
			continue
		}
		if d.m.Mapped(b.addr) {
			b.old = d.m.Load(b.addr)
			b.set = d.m.Patch(b.addr, breakInstr)
		}
	}
	d.m.Step(d.over != 0 || d.steps > 0)
}

func (d *Debugger) thread(id int) (Thread, bool) {
	if id <= 0 || id >= d.m.Threads() {
		return Thread{}, false
	}
	return d.m.Thread(id)
}

// read reads a line with echo and returns its length.
func (d *Debugger) read() int {
	n := 0
	for {
		switch c := d.m.Get(); {
		case c == '\r' || c == '\n':
			d.Line()
			return n
		case c == 8 || c == 127:
			if n > 0 {
				n--
				d.Str("\b \b")
			}
		case c == 21 || c == 3:
			n = 0
			d.Str("\nddb> ")
		case c >= ' ' && c < 127 && n < maxLine:
			d.line[n] = c
			n++
			d.m.Put(c)
		}
	}
}

// word is a word of the line.
func (d *Debugger) word(i int) []byte { return d.line[d.words[i].from:d.words[i].to] }

// split makes the line words.
func (d *Debugger) split(n int) {
	d.nwords = 0
	for i := 0; i < n; {
		for i < n && (d.line[i] == ' ' || d.line[i] == ',') {
			i++
		}
		from := i
		for i < n && d.line[i] != ' ' && d.line[i] != ',' {
			i++
		}
		if i > from && d.nwords < len(d.words) {
			d.words[d.nwords].from, d.words[d.nwords].to = from, i
			d.nwords++
		}
	}
}
