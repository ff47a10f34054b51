package gdb

import "dfemu/kernel/subr/digits"

// Machine is what is debugged. Its methods do not allocate.
type Machine interface {
	// Put and Get are the serial line; Get waits.
	Put(b byte)
	Get() byte
	// Mapped tells whether a byte can be read; Load reads it. Patch writes a byte of any memory, also of the kernel's text.
	Mapped(addr uint64) bool
	Load(addr uint64) byte
	Patch(addr uint64, b byte) bool
	// Threads bounds the threads' numbers, which begin with 1.
	Threads() int
	// Regs reads the registers of a thread, and tells whether there is one.
	Regs(id int, r *Regs) bool
	// SetRegs changes them.
	SetRegs(id int, r *Regs)
	// Describe writes one line about a thread into b and returns its length.
	Describe(id int, b []byte) int
	// Step makes a thread execute one instruction, or run on.
	Step(id int, how Step)
	// Watch sets the n-th debug register, from when the machine goes on. Hits are those that the last trap was for, the first in bit 0.
	Watch(n int, w Watch)
	Hits() uint8
	Reset()
}

// Step is how a thread goes on.
type Step uint8

// Ways to go on.
const (
	StepOff   Step = iota // it runs
	StepOn                // one instruction, while the others run
	StepAlone             // one instruction, while the others stand still, as far as the machine can
)

// Signal says why the machine was stopped, by gdb's numbers.
type Signal uint8

// Signals.
const (
	Interrupt Signal = 2 // by the operator
	Trap      Signal = 5 // breakpoint or step
	Abort     Signal = 6 // panic
)

const (
	maxPacket  = 4096
	maxBreaks  = 64
	breakInstr = 0xcc
	endMark    = 0x03 // Ctrl-C
	errArg     = 0x16 // EINVAL
	errFault   = 0x0e // EFAULT
	errFull    = 0x1c // ENOSPC
)

type brk struct {
	addr uint64
	old  byte
	set  bool // it is in memory
}

// Server speaks with one gdb.
type Server struct {
	m      Machine
	target []byte // the description of the registers

	breaks   [maxBreaks]brk
	watches  [NWatches]watch
	used     bool // there was a gdb
	owed     bool // gdb waits for the machine to stop
	noAck    bool
	swbreak  bool // gdb knows that stop reason
	hwbreak  bool // and that
	atBreak  bool
	atWatch  Watch // what was seen, if anything
	signal   Signal
	current  int // the thread that was stopped
	selected int // by Hg
	stepping int // the thread that executes one instruction, 0 for none
	pushed   [1]byte
	npushed  int
	nextList int // where the list of threads goes on

	in   [maxPacket]byte
	nin  int
	out  [maxPacket + 8]byte
	nout int
	regs Regs
	img  [imageSize]byte
	text [128]byte
}

// New returns a server.
func New(m Machine) *Server { return &Server{m: m, target: description()} }

// Wakes tells whether a byte that came while the machine runs is for the server: a request to stop, or the beginning of a packet of a gdb
// that connects. The machine is then to be stopped, and the byte to be given to Push.
func Wakes(b byte) bool { return b == endMark || b == '$' }

// Push gives the server the byte that woke it.
func (s *Server) Push(b byte) {
	if b == '$' {
		s.owed = false // a gdb that has just come does not wait for what its forerunner did
		s.pushed[0], s.npushed = b, 1
	}
}

// Active tells whether traps may be for the server.
func (s *Server) Active() bool { return s.used }

// Enter is called when the machine has been stopped: thread is the one the CPU was in, 0 for none. It returns when gdb lets the machine go
// on.
func (s *Server) Enter(thread int, why Signal) {
	s.atBreak, s.atWatch = false, Watch{}
	s.stop(thread, why)
}

// Trap is called when a thread has trapped: on a breakpoint instruction, whose address is one before pc, or after a single step or for a debug register. It returns
// false if the trap is none of the server's: a single step may be one that gdb has given up meanwhile.
func (s *Server) Trap(thread int, breakpoint bool, pc uint64) bool {
	if breakpoint {
		switch {
		case s.at(pc-1) != nil:
			s.setPC(thread, pc-1)
			s.atBreak, s.atWatch = true, Watch{}
			s.stop(thread, Trap)
			return true
		case s.m.Mapped(pc-1) && s.m.Load(pc-1) != breakInstr:
			s.setPC(thread, pc-1) // another CPU was just taking the breakpoint away
			return true
		}
		return false
	}
	w, seen := s.hit()
	if !seen && (thread == 0 || thread != s.stepping) {
		return false
	}
	s.atBreak, s.atWatch = false, w
	s.stop(thread, Trap)
	return true
}

// Discard takes a breakpoint away, for good, as what has run into it cannot be stopped. It returns false if there is none.
func (s *Server) Discard(addr uint64) bool {
	b := s.at(addr)
	if b == nil {
		return s.used && s.m.Mapped(addr) && s.m.Load(addr) != breakInstr // another CPU was faster
	}
	if b.set {
		s.m.Patch(b.addr, b.old)
	}
	*b = brk{}
	return true
}

func (s *Server) setPC(thread int, pc uint64) {
	if s.m.Regs(thread, &s.regs) {
		s.regs.IP = pc
		s.m.SetRegs(thread, &s.regs)
	}
}

func (s *Server) at(addr uint64) *brk {
	for i := range s.breaks {
		if s.breaks[i].addr == addr && addr != 0 {
			return &s.breaks[i]
		}
	}
	return nil
}

// stop talks with gdb until the machine is to go on.
func (s *Server) stop(thread int, why Signal) {
	for i := range s.breaks {
		if b := &s.breaks[i]; b.set {
			s.m.Patch(b.addr, b.old)
			b.set = false
		}
	}
	if s.stepping != 0 {
		s.m.Step(s.stepping, StepOff) // should it have trapped already, that is nobody's trap
		s.stepping = 0
	}
	if !s.m.Regs(thread, &s.regs) {
		thread = s.next(0) // the CPU was idle: gdb wants some thread
	}
	s.current, s.selected, s.signal = thread, thread, why
	if s.owed {
		s.owed = false
		s.begin()
		s.stopReply()
		s.send()
	}
	for {
		s.receive()
		s.begin()
		leave, answer := s.command()
		if answer {
			s.send()
		}
		if leave {
			break
		}
	}
	for i := range s.breaks {
		if b := &s.breaks[i]; b.addr != 0 && s.m.Mapped(b.addr) {
			b.old = s.m.Load(b.addr)
			b.set = s.m.Patch(b.addr, breakInstr)
		}
	}
}

// next is the first thread after one, 0 for none.
func (s *Server) next(id int) int {
	for id++; id < s.m.Threads(); id++ {
		if s.m.Regs(id, &s.regs) {
			return id
		}
	}
	return 0
}

func (s *Server) get() byte {
	if s.npushed > 0 {
		s.npushed = 0
		return s.pushed[0]
	}
	return s.m.Get()
}

// receive reads a packet into in. Damaged ones are asked for again.
func (s *Server) receive() {
	for {
		switch c := s.get(); c {
		case '-':
			if s.nout > 0 && !s.noAck {
				s.transmit()
			}
			continue
		case '$':
		default:
			continue // an acknowledgement, or noise
		}
		if !s.packet() {
			s.m.Put('-')
			continue
		}
		s.used = true
		if s.hasPrefix("qSupported") {
			s.noAck = false // so a new gdb begins
		}
		if !s.noAck {
			s.m.Put('+')
		}
		return
	}
}

// packet reads what follows a '$', and tells whether it is sound.
func (s *Server) packet() bool {
	for {
		s.nin = 0
		sum, long := byte(0), false
		c := s.get()
		for ; c != '#' && c != '$'; c = s.get() {
			sum += c
			if c == '}' { // what follows is escaped
				c = s.get()
				sum += c
				c ^= 0x20
			}
			if s.nin == len(s.in) {
				long = true
				continue
			}
			s.in[s.nin] = c
			s.nin++
		}
		if c == '$' {
			continue // the last one was cut off
		}
		high, ok1 := nibble(s.get())
		low, ok2 := nibble(s.get())
		return ok1 && ok2 && high<<4|low == sum && !long
	}
}

// begin begins an answer.
func (s *Server) begin() { s.nout = 0 }

// byte adds a byte to the answer as it is; what does not fit is left out. Two hexadecimal digits of the checksum follow.
func (s *Server) byte(b byte) {
	if s.nout < maxPacket {
		s.out[s.nout] = b
		s.nout++
	}
}

func (s *Server) str(t string) {
	for i := 0; i < len(t); i++ {
		s.byte(t[i])
	}
}

// hex8 adds a byte as two digits.
func (s *Server) hex8(b byte) { s.hexDigits(uint64(b), 2) }

// hex adds a number without leading zeros.
func (s *Server) hex(v uint64) { s.hexDigits(v, 1) }

func (s *Server) hexDigits(v uint64, least int) {
	var b digits.Buffer
	for _, c := range digits.Hex(&b, v, least) {
		s.byte(c)
	}
}

// binary adds a byte of binary data.
func (s *Server) binary(b byte) {
	if b == '#' || b == '$' || b == '}' || b == '*' {
		s.byte('}')
		b ^= 0x20
	}
	s.byte(b)
}

func (s *Server) ok() { s.str("OK") }

func (s *Server) fail(code byte) {
	s.byte('E')
	s.hex8(code)
}

// send sends the answer.
func (s *Server) send() { s.transmit() }

func (s *Server) transmit() {
	s.m.Put('$')
	sum := byte(0)
	for _, b := range s.out[:s.nout] {
		s.m.Put(b)
		sum += b
	}
	s.m.Put('#')
	var b digits.Buffer
	for _, c := range digits.Hex(&b, uint64(sum), 2) {
		s.m.Put(c)
	}
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
