package ddb

import "dfemu/kernel/subr/digits"

// is tells whether a word is a name, or at least so many bytes of its start.
func (d *Debugger) is(i int, name string, least int) bool {
	w := d.word(i)
	return len(w) >= least && len(w) <= len(name) && string(w) == name[:len(w)]
}

// command executes the words of a line and tells whether the thread goes on.
func (d *Debugger) command() (leave bool) {
	switch {
	case d.is(0, "continue", 1):
		return true
	case d.is(0, "step", 1):
		if _, ok := d.thread(d.current); !ok || d.why == Panic {
			d.Str("no thread was stopped that can be stepped\n")
			return false
		}
		n := uint64(1)
		if d.nwords > 1 {
			var ok bool
			if n, ok = parse(d.word(1)); !ok || n == 0 || n > maxSteps {
				d.Str("step how often? At most 1000000 times\n")
				return false
			}
		}
		d.steps = int(n)
		return true
	case d.is(0, "break", 1):
		d.setBreak()
	case d.is(0, "delete", 1):
		d.deleteBreak()
	case d.is(0, "trace", 1), d.is(0, "bt", 2), d.is(0, "where", 1):
		d.trace()
	case d.is(0, "ps", 2), d.is(0, "threads", 2):
		d.ps()
	case d.is(0, "x", 1), d.is(0, "examine", 1):
		d.examine()
	case d.is(0, "symbol", 2):
		if d.nwords < 2 {
			d.Str("which address?\n")
		} else if a, ok := d.number(1); ok {
			d.frame(a)
		}
	case d.is(0, "show", 2):
		d.show()
	case d.is(0, "reset", 5):
		d.m.Reset()
	case d.is(0, "poweroff", 8):
		d.m.PowerOff()
	case d.is(0, "help", 1), d.is(0, "?", 1):
		d.help()
	default:
		d.Bytes(d.word(0))
		d.Str(": no such command; help lists them\n")
	}
	return false
}

func (d *Debugger) help() {
	d.Str("c[ontinue]            go on\n" +
		"s[tep] [N]            execute N instructions\n" +
		"b[reak] ADDR|NAME     stop there; without: list\n" +
		"d[elete] ADDR|NAME    do not stop there; without: nowhere\n" +
		"t[race] [THREAD]      calls of a thread\n" +
		"ps                    list the threads\n" +
		"x ADDR|NAME [N]       examine N bytes of memory\n" +
		"sym[bol] ADDR         what is there\n" +
		"show registers [THREAD]\nshow cpus\nshow token\nshow ipiq\n")
	for i := range d.shows {
		if d.shows[i].f == nil || d.shown(i) {
			continue
		}
		d.Str("show ")
		d.Str(d.shows[i].name)
		d.Line()
	}
	d.Str("reset, poweroff\nan empty line does the last command again\n")
}

// shown tells whether one before the i-th has its name.
func (d *Debugger) shown(i int) bool {
	for j := range i {
		if d.shows[j].f != nil && d.shows[j].name == d.shows[i].name {
			return true
		}
	}
	return false
}

// number reads a word: a number, in hexadecimal with 0x, or a name, of which the end is enough if
// it begins at a dot or slash.
func (d *Debugger) number(i int) (uint64, bool) {
	if i >= d.nwords {
		return 0, false
	}
	w := d.word(i)
	if v, ok := parse(w); ok {
		return v, true
	}
	from, to := d.m.Text()
	for pc := from; pc < to; {
		name, _, _, entry, ok := d.m.Symbol(pc)
		if ok && entry == pc && matches(name, w) {
			return entry, true
		}
		pc += 16 // functions are aligned
	}
	d.Bytes(w)
	d.Str(": neither a number nor a function\n")
	return 0, false
}

func parse(w []byte) (v uint64, ok bool) {
	hex := len(w) > 2 && w[0] == '0' && w[1] == 'x'
	if hex {
		w = w[2:]
	}
	if len(w) == 0 {
		return 0, false
	}
	base := uint64(10)
	if hex {
		base = 16
	}
	for _, c := range w {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case hex && c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		next := v*base + uint64(c)
		if v > ^uint64(0)/base || next < v*base {
			return 0, false // more than 64 bits
		}
		v = next
	}
	return v, true
}

func matches(name string, w []byte) bool {
	if len(w) > len(name) || len(w) == 0 {
		return false
	}
	tail := name[len(name)-len(w):]
	if tail != string(w) {
		return false
	}
	return len(tail) == len(name) || name[len(name)-len(w)-1] == '.' || name[len(name)-len(w)-1] == '/'
}

// frame prints an address with function, file and line.
func (d *Debugger) frame(pc uint64) {
	d.Hex(pc)
	if name, file, line, entry, ok := d.m.Symbol(pc); ok {
		d.Str(" ")
		d.Str(name)
		d.Str("+")
		d.Hex(pc - entry)
		d.Str(" ")
		d.Str(file)
		d.Num(":", uint64(line))
	}
	d.Line()
}

func (d *Debugger) setBreak() {
	if d.nwords < 2 {
		for i := range d.breaks {
			if d.breaks[i].addr != 0 {
				d.frame(d.breaks[i].addr)
			}
		}
		return
	}
	a, ok := d.number(1)
	if !ok {
		return // which was said
	}
	if from, to := d.m.Text(); a < from || a >= to || !d.m.Mapped(a) {
		d.Str("that is not in the kernel's text\n")
		return
	}
	if d.at(a) != nil {
		return
	}
	for i := range d.breaks {
		if d.breaks[i].addr == 0 {
			d.breaks[i] = brk{addr: a}
			d.frame(a)
			return
		}
	}
	d.Str("no more breakpoints\n")
}

func (d *Debugger) deleteBreak() {
	if d.nwords < 2 {
		d.breaks = [maxBreaks]brk{}
		return
	}
	if a, ok := d.number(1); ok {
		if b := d.at(a); b != nil {
			*b = brk{}
			return
		}
		d.Str("there is no breakpoint\n")
	}
}

// load64 reads a word; ok is false if it is not all there.
func (d *Debugger) load64(a uint64) (v uint64, ok bool) {
	for i := range uint64(8) {
		if a+i < a || !d.m.Mapped(a+i) {
			return 0, false
		}
		v |= uint64(d.m.Load(a+i)) << (8 * i)
	}
	return v, true
}

// named returns the thread that word i names, else the one that was stopped.
func (d *Debugger) named(i int) (Thread, bool) {
	id := uint64(d.current)
	if _, ok := d.thread(d.current); !ok && d.nwords <= i {
		d.Str("no thread was stopped: say which, as ps lists them\n")
		return Thread{}, false
	}
	if d.nwords > i {
		var ok bool
		if id, ok = parse(d.word(i)); !ok {
			id = 0
		}
	}
	if id > 1<<20 {
		id = 0
	}
	t, ok := d.thread(int(id))
	if !ok {
		d.Str("there is no such thread\n")
	}
	return t, ok
}

func (d *Debugger) trace() {
	t, ok := d.named(1)
	if !ok {
		return
	}
	d.frame(t.Regs.IP)
	// At its first instruction a function has no frame yet: the caller is on top of the stack.
	if _, _, _, entry, ok := d.m.Symbol(t.Regs.IP); ok && entry == t.Regs.IP {
		if ret, ok := d.load64(t.Regs.SP); ok {
			d.frame(ret - 1)
		}
	}
	bp := t.Regs.BP
	for range 64 {
		ret, ok := d.load64(bp + 8)
		if !ok || bp&7 != 0 {
			return
		}
		if _, _, _, _, ok := d.m.Symbol(ret - 1); !ok {
			return
		}
		d.frame(ret - 1)
		next, ok := d.load64(bp)
		if !ok || next == bp {
			return
		}
		bp = next
	}
}

func (d *Debugger) ps() {
	d.Str("  ID CPU PRI STATE WAITS ON           NAME\n")
	for id := 1; id < d.m.Threads(); id++ {
		t, ok := d.m.Thread(id)
		if !ok {
			continue
		}
		d.pad(uint64(t.ID), 4)
		d.pad(uint64(t.CPU), 4)
		d.pad(uint64(t.Priority), 4)
		d.Str(" ")
		d.Str(t.State)
		for range 6 - min(len(t.State), 6) {
			d.Str(" ")
		}
		if t.Ident != 0 {
			d.Str("0x")
			d.digits(t.Ident, 16)
			d.Str(" ")
		} else {
			d.Str("                   ")
		}
		d.Bytes(t.Name)
		d.Line()
	}
}

func (d *Debugger) pad(v uint64, n int) {
	var b digits.Buffer
	for range n - len(digits.Dec(&b, v)) {
		d.Str(" ")
	}
	d.Dec(v)
}

func (d *Debugger) examine() {
	if d.nwords < 2 {
		d.Str("examine what?\n")
		return
	}
	a, ok := d.number(1)
	if !ok {
		return
	}
	n := uint64(64)
	if d.nwords > 2 {
		if n, ok = parse(d.word(2)); !ok || n > 4096 {
			d.Str("at most 4096 bytes\n")
			return
		}
	}
	for i := uint64(0); i < n; i += 16 {
		d.digits(a+i, 16)
		d.Str(" ")
		for j := i; j < min(i+16, n); j++ {
			if a+j < a || !d.m.Mapped(a+j) {
				d.Str(" --")
				continue
			}
			d.Str(" ")
			d.digits(uint64(d.m.Load(a+j)), 2)
		}
		d.Line()
	}
}

func (d *Debugger) show() {
	if d.nwords < 2 {
		d.help()
		return
	}
	switch {
	case d.is(1, "registers", 1), d.is(1, "regs", 4):
		d.registers()
		return
	case d.is(1, "cpus", 1):
		d.cpus()
		return
	case d.is(1, "tokens", 1):
		d.tokens()
		return
	case d.is(1, "ipiqs", 1):
		d.ipiq()
		return
	}
	found := false
	for i := range d.shows {
		if d.shows[i].f == nil {
			continue
		}
		w := d.word(1)
		name := d.shows[i].name
		if len(w) == len(name)+1 && w[len(name)] == 's' { // several
			w = w[:len(name)]
		}
		if name == string(w) {
			d.shows[i].f(d)
			found = true
		}
	}
	if !found {
		d.Bytes(d.word(1))
		d.Str(": there is none\n")
	}
}

func (d *Debugger) registers() {
	t, ok := d.named(2)
	if !ok {
		return
	}
	r := &t.Regs
	d.four("rax", r.AX, "rbx", r.BX, "rcx", r.CX, "rdx", r.DX)
	d.four("rsi", r.SI, "rdi", r.DI, "rbp", r.BP, "rsp", r.SP)
	d.four("r8 ", r.R8, "r9 ", r.R9, "r10", r.R10, "r11", r.R11)
	d.four("r12", r.R12, "r13", r.R13, "r14", r.R14, "r15", r.R15)
	d.four("rip", r.IP, "flg", r.Flags, "cr2", r.CR2, "fs ", r.FS)
}

func (d *Debugger) four(a string, av uint64, b string, bv uint64, c string, cv uint64, e string, ev uint64) {
	d.one(a, av)
	d.one(b, bv)
	d.one(c, cv)
	d.one(e, ev)
	d.Line()
}

func (d *Debugger) one(name string, v uint64) {
	d.Str(name)
	d.Str(" ")
	d.digits(v, 16)
	d.Str("  ")
}

func (d *Debugger) cpus() {
	for n := range d.m.CPUs() {
		c := d.m.CPU(n)
		d.Num("cpu", uint64(n))
		d.Num(": APIC ", c.LocalAPIC)
		if c.Thread == 0 {
			d.Str(" idle")
		} else {
			d.Num(" thread ", uint64(c.Thread))
		}
		d.Num(" switches ", c.Switches)
		d.Num(" preemptions ", c.Preemptions)
		d.Num(" irqs ", c.IRQs)
		d.Num(" syscalls ", c.Syscalls)
		d.Num(" traps ", c.Traps)
		d.Num(" callouts ", c.Callouts)
		d.Line()
	}
}

func (d *Debugger) tokens() {
	any := false
	for id := 1; id < d.m.Threads(); id++ {
		t, ok := d.m.Thread(id)
		if !ok {
			continue
		}
		for i := 0; ; i++ {
			k, ok := d.m.Token(id, i)
			if !ok {
				break
			}
			any = true
			d.Hex(k.Addr)
			d.Str(" ")
			d.Str(k.Name)
			d.Num(" thread ", uint64(t.ID))
			d.Str(" ")
			d.Bytes(t.Name)
			if k.Shared {
				d.Str(" shared")
			} else {
				d.Str(" exclusive")
			}
			if !k.Held {
				d.Str(" waiting")
			}
			d.Num(" collisions ", k.Collisions)
			d.Line()
		}
	}
	if !any {
		d.Str("no thread has tokens\n")
	}
}

func (d *Debugger) ipiq() {
	for n := range d.m.CPUs() {
		c := d.m.CPU(n)
		d.Num("cpu", uint64(n))
		d.Num(": sent ", c.IPIsSent)
		d.Num(" processed ", c.IPIsProcessed)
		d.Num(" interrupts ", c.IPIInterrupts)
		d.Line()
		for to := range d.m.CPUs() {
			w, r, x := d.m.Ring(n, to)
			if w == 0 {
				continue
			}
			d.Num("  to cpu", uint64(to))
			d.Num(": written ", uint64(w))
			d.Num(" taken ", uint64(r))
			d.Num(" executed ", uint64(x))
			d.Line()
		}
	}
}
