package gdb

// hasPrefix tells whether the packet begins with a text.
func (s *Server) hasPrefix(p string) bool { return s.nin >= len(p) && string(s.in[:len(p)]) == p }

// cursor reads a packet from a place on.
type cursor struct{ at int }

// number reads hexadecimal digits.
func (s *Server) number(c *cursor) (v uint64, ok bool) {
	for from := c.at; c.at < s.nin; c.at++ {
		d, isDigit := nibble(s.in[c.at])
		if !isDigit || c.at-from >= 16 {
			break
		}
		v, ok = v<<4|uint64(d), true
	}
	return v, ok
}

// skip reads a certain byte.
func (s *Server) skip(c *cursor, b byte) bool {
	if c.at < s.nin && s.in[c.at] == b {
		c.at++
		return true
	}
	return false
}

// thread reads a thread's number; -1 for all and 0 for any are 0.
func (s *Server) thread(c *cursor) (id int, ok bool) {
	if s.skip(c, '-') {
		v, ok := s.number(c)
		return 0, ok && v == 1
	}
	v, ok := s.number(c)
	if !ok || v >= 1<<31 {
		return 0, false
	}
	return int(v), true
}

// bytes2 reads two digits.
func (s *Server) bytes2(c *cursor) (byte, bool) {
	if s.nin-c.at < 2 {
		return 0, false
	}
	h, ok1 := nibble(s.in[c.at])
	l, ok2 := nibble(s.in[c.at+1])
	c.at += 2
	return h<<4 | l, ok1 && ok2
}

// command obeys the packet, and tells whether the machine goes on and whether there is an answer.
func (s *Server) command() (leave, answer bool) {
	if s.nin == 0 {
		return false, true
	}
	c := cursor{1}
	switch s.in[0] {
	case '?':
		s.stopReply()
	case 'g':
		s.readAll()
	case 'G':
		s.writeAll(&c)
	case 'p':
		s.readOne(&c)
	case 'P':
		s.writeOne(&c)
	case 'm':
		s.readMemory(&c)
	case 'M', 'X':
		s.writeMemory(&c, s.in[0] == 'X')
	case 'Z', 'z':
		s.breakpoint(&c, s.in[0] == 'Z')
	case 'H':
		s.choose(&c)
	case 'T':
		if id, ok := s.thread(&c); ok && s.m.Regs(id, &s.regs) {
			s.ok()
		} else {
			s.fail(errArg)
		}
	case 'c', 's', 'C', 'S':
		return s.resume(&c, s.in[0])
	case 'v':
		return s.verbose()
	case 'D':
		s.breaks = [maxBreaks]brk{}
		s.unwatch()
		s.ok()
		return true, true
	case 'k':
		s.m.Reset()
		return true, false // where that cannot be
	case 'q':
		s.query()
	case 'Q':
		if s.hasPrefix("QStartNoAckMode") {
			s.noAck = true
			s.ok()
		}
	}
	return false, true
}

// stopReply tells why the machine stands still.
func (s *Server) stopReply() {
	s.byte('T')
	s.hex8(byte(s.signal))
	if s.atBreak && s.swbreak {
		s.str("swbreak:;")
	}
	switch s.atWatch.Kind {
	case WatchExec:
		if s.hwbreak {
			s.str("hwbreak:;")
		}
	case WatchWrite, WatchAccess:
		if s.atWatch.Kind == WatchAccess {
			s.byte('a')
		}
		s.str("watch:")
		s.hex(s.atWatch.Addr)
		s.byte(';')
	}
	s.str("thread:")
	s.hex(uint64(max(s.current, 1)))
	s.byte(';')
}

// load reads the selected thread's registers, and tells whether there are any.
func (s *Server) load() bool {
	if s.m.Regs(s.selected, &s.regs) {
		return true
	}
	s.fail(errArg)
	return false
}

func (s *Server) readAll() {
	if !s.load() {
		return
	}
	s.toImage()
	for n := range nregs {
		s.putReg(n)
	}
}

// putReg adds a register of the image to the answer.
func (s *Server) putReg(n int) {
	off, size := place(n)
	for _, b := range s.img[off : off+size] {
		if floating(n) && !s.regs.HasFP {
			s.str("xx") // not known
		} else {
			s.hex8(b)
		}
	}
}

func (s *Server) writeAll(c *cursor) {
	if !s.load() {
		return
	}
	s.toImage()
	if s.nin-c.at != 2*imageSize {
		s.fail(errArg)
		return
	}
	for n := range nregs {
		off, size := place(n)
		for i := range size {
			b, ok := s.bytes2(c)
			if !ok {
				if floating(n) && !s.regs.HasFP {
					continue // as it was told
				}
				s.fail(errArg)
				return
			}
			s.img[off+i] = b
		}
	}
	s.fromImage()
	s.m.SetRegs(s.selected, &s.regs)
	s.ok()
}

func (s *Server) readOne(c *cursor) {
	n, ok := s.number(c)
	if !ok || n >= nregs {
		s.fail(errArg)
		return
	}
	if s.load() {
		s.toImage()
		s.putReg(int(n))
	}
}

func (s *Server) writeOne(c *cursor) {
	n, ok := s.number(c)
	if !ok || n >= nregs || !s.skip(c, '=') {
		s.fail(errArg)
		return
	}
	if !s.load() {
		return
	}
	s.toImage()
	off, size := place(int(n))
	if s.nin-c.at != 2*size || floating(int(n)) && !s.regs.HasFP {
		s.fail(errArg)
		return
	}
	for i := range size {
		b, ok := s.bytes2(c)
		if !ok {
			s.fail(errArg)
			return
		}
		s.img[off+i] = b
	}
	s.fromImage()
	s.m.SetRegs(s.selected, &s.regs)
	s.ok()
}

// span reads "address,length".
func (s *Server) span(c *cursor) (a, n uint64, ok bool) {
	a, ok1 := s.number(c)
	comma := s.skip(c, ',')
	n, ok2 := s.number(c)
	return a, n, ok1 && comma && ok2
}

// readMemory answers with as much as there is.
func (s *Server) readMemory(c *cursor) {
	a, n, ok := s.span(c)
	if !ok {
		s.fail(errArg)
		return
	}
	n = min(n, maxPacket/2)
	for i := range n {
		if a+i < a || !s.m.Mapped(a+i) {
			if i == 0 {
				s.fail(errFault)
			}
			return
		}
		s.hex8(s.m.Load(a + i))
	}
}

// writeMemory writes hexadecimal or binary data.
func (s *Server) writeMemory(c *cursor, raw bool) {
	a, n, ok := s.span(c)
	if !ok || !s.skip(c, ':') || raw && n != uint64(s.nin-c.at) || !raw && n != uint64(s.nin-c.at)/2 {
		s.fail(errArg)
		return
	}
	for i := range n {
		if a+i < a || !s.m.Mapped(a+i) {
			s.fail(errFault)
			return
		}
	}
	for i := range n {
		b, ok := byte(0), true
		if raw {
			b = s.in[c.at]
			c.at++
		} else {
			b, ok = s.bytes2(c)
		}
		if !ok {
			s.fail(errArg)
			return
		}
		if !s.m.Patch(a+i, b) {
			s.fail(errFault)
			return
		}
	}
	s.ok()
}

// breakpoint sets or takes away a breakpoint in memory, which also works in text that cannot be written, or a debug register.
func (s *Server) breakpoint(c *cursor, set bool) {
	kind, ok := s.number(c)
	if ok && (kind > uint64(WatchAccess) || kind == uint64(watchRead)) {
		return // not known here
	}
	comma := s.skip(c, ',')
	a, n, ok2 := s.span(c)
	if !ok || !comma || !ok2 || a == 0 {
		s.fail(errArg)
		return
	}
	if kind != 0 {
		s.watchpoint(WatchKind(kind), a, n, set)
		return
	}
	b := s.at(a)
	switch {
	case !set:
		if b != nil {
			*b = brk{}
		}
	case !s.m.Mapped(a):
		s.fail(errFault)
		return
	case b == nil:
		for i := range s.breaks {
			if s.breaks[i].addr == 0 {
				s.breaks[i] = brk{addr: a}
				s.ok()
				return
			}
		}
		s.fail(errFull)
		return
	}
	s.ok()
}

// choose is Hg and Hc.
func (s *Server) choose(c *cursor) {
	if c.at >= s.nin {
		s.fail(errArg)
		return
	}
	what := s.in[c.at]
	c.at++
	id, ok := s.thread(c)
	if id == 0 {
		id = s.current
	}
	switch {
	case !ok || what != 'g' && what != 'c' || !s.m.Regs(id, &s.regs):
		s.fail(errArg)
	case what == 'g':
		s.selected = id
		s.ok()
	default:
		s.ok() // all threads go on, or one steps, which vCont says
	}
}

// resume is c, s, C and S: the thread selected goes on, at an address if one is given.
func (s *Server) resume(c *cursor, what byte) (leave, answer bool) {
	if what == 'C' || what == 'S' { // with a signal, which nobody takes
		s.number(c)
		s.skip(c, ';')
	}
	if a, ok := s.number(c); ok {
		s.setPC(s.current, a)
	}
	if what == 's' || what == 'S' {
		s.step(s.current, StepOn)
	}
	s.owed = true
	return true, false
}

func (s *Server) step(id int, how Step) {
	if id != 0 && s.m.Regs(id, &s.regs) {
		s.stepping = id
		s.m.Step(id, how)
	}
}

// verbose is the packets with long names.
func (s *Server) verbose() (leave, answer bool) {
	switch {
	case s.hasPrefix("vCont?"):
		s.str("vCont;c;C;s;S")
	case s.hasPrefix("vCont;"):
		c := cursor{len("vCont;")}
		step, how := -1, StepAlone
		for c.at < s.nin {
			what := s.in[c.at]
			c.at++
			if what == 'C' || what == 'S' {
				s.number(&c)
			}
			id := 0
			if s.skip(&c, ':') {
				var ok bool
				if id, ok = s.thread(&c); !ok {
					s.fail(errArg)
					return false, true
				}
			}
			if id == 0 || what == 'c' || what == 'C' {
				how = StepOn // others go on, too
			}
			if id == 0 {
				id = s.current
			}
			switch what {
			case 'c', 'C':
			case 's', 'S':
				if step < 0 {
					step = id
				}
			default:
				s.fail(errArg)
				return false, true
			}
			if !s.skip(&c, ';') && c.at < s.nin {
				s.fail(errArg)
				return false, true
			}
		}
		if step > 0 {
			s.step(step, how)
		}
		s.owed = true
		return true, false
	case s.hasPrefix("vKill"):
		s.ok()
		s.send()
		s.m.Reset()
		return true, false
	}
	return false, true
}

// query is the packets that ask.
func (s *Server) query() {
	switch {
	case s.hasPrefix("qSupported"):
		s.swbreak, s.hwbreak = s.contains("swbreak+"), s.contains("hwbreak+")
		s.str("PacketSize=1000;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+;QStartNoAckMode+")
	case s.hasPrefix("qXfer:features:read:target.xml:"):
		s.features(cursor{len("qXfer:features:read:target.xml:")})
	case s.hasPrefix("qXfer:features:read:"):
		s.fail(0)
	case s.hasPrefix("qAttached"):
		s.byte('1')
	case s.hasPrefix("qfThreadInfo"):
		s.nextList = s.next(0)
		s.list()
	case s.hasPrefix("qsThreadInfo"):
		s.list()
	case s.hasPrefix("qThreadExtraInfo,"):
		c := cursor{len("qThreadExtraInfo,")}
		id, ok := s.thread(&c)
		if !ok || !s.m.Regs(id, &s.regs) {
			s.fail(errArg)
			return
		}
		for _, b := range s.text[:min(s.m.Describe(id, s.text[:]), len(s.text))] {
			s.hex8(b)
		}
	case s.nin == 2 && s.in[1] == 'C':
		s.str("QC")
		s.hex(uint64(max(s.current, 1)))
	case s.hasPrefix("qSymbol"):
		s.ok()
	}
}

func (s *Server) contains(t string) bool {
	for i := 0; i+len(t) <= s.nin; i++ {
		if string(s.in[i:i+len(t)]) == t {
			return true
		}
	}
	return false
}

// list answers with as many threads as fit, from nextList on.
func (s *Server) list() {
	if s.nextList == 0 {
		s.byte('l')
		return
	}
	s.byte('m')
	for first := true; s.nextList != 0 && s.nout < maxPacket-32; first = false {
		if !first {
			s.byte(',')
		}
		s.hex(uint64(s.nextList))
		s.nextList = s.next(s.nextList)
	}
}

// features sends a part of the description.
func (s *Server) features(c cursor) {
	off, n, ok := s.span(&c)
	if !ok {
		s.fail(errArg)
		return
	}
	off = min(off, uint64(len(s.target)))
	n = min(n, uint64(len(s.target))-off, (maxPacket-8)/2)
	if off+n == uint64(len(s.target)) {
		s.byte('l')
	} else {
		s.byte('m')
	}
	for _, b := range s.target[off : off+n] {
		s.binary(b)
	}
}
