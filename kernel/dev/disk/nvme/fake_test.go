package nvme

import (
	"encoding/binary"
	"sync"

	"dfemu/kernel/dev/disk/drivertest"
	"dfemu/kernel/dev/dma"
)

// ctrl is a controller for tests, with as much of NVM Express as the driver uses, and a single interrupt.
type ctrl struct {
	h *drivertest.Host

	mu       sync.Mutex
	cap      uint64
	cc, csts uint32
	aqa      uint32
	asq, acq uint64
	era      int
	sqs, cqs map[int]*ring
	size     uint64 // of the registers
	gone     bool
	wrong    []string // what the driver did against the rules
	events   []uint16 // commands that wait for an event
	queues   uint32   // how many it has, 0-based, both kinds

	// What it is like.
	identify []byte
	spaces   map[uint32]*space
	never    bool // never ready
	// answer tells what becomes of a command.
	answer func(admin bool, op byte) reply
}

// space is a namespace.
type space struct {
	identify    []byte
	descriptors []byte
	data        []byte
}

// reply is what becomes of a command.
type reply struct {
	status uint16
	silent bool
	twice  bool
	quiet  bool // no interrupt
	block  []byte
}

// ring is a queue.
type ring struct {
	at         uint64
	depth      int
	head, tail int
	phase      uint32
	cq         int
}

func newCtrl(h *drivertest.Host) *ctrl {
	c := &ctrl{h: h, cap: 63 | 1<<16 | 1<<24, size: 0x2000, queues: 3, spaces: map[uint32]*space{}}
	c.identify = make([]byte, 4096)
	copy(c.identify[4:], "SER                 FAKE                                    F1      ")
	binary.LittleEndian.PutUint32(c.identify[516:], 8)
	c.identify[520], c.identify[525] = 4, 1
	return c
}

// space adds a namespace with n blocks of 2^shift bytes.
func (c *ctrl) space(id uint32, n int, shift uint) *space {
	s := &space{identify: make([]byte, 4096), data: make([]byte, n<<shift)}
	for _, at := range []int{0, 8, 16} {
		binary.LittleEndian.PutUint64(s.identify[at:], uint64(n))
	}
	binary.LittleEndian.PutUint32(s.identify[128:], uint32(shift)<<16)
	c.spaces[id] = s
	return s
}

func (c *ctrl) Size() uint64 { return c.size }

func (c *ctrl) Read64(off uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return 1<<64 - 1
	}
	if off == regCAP {
		return c.cap
	}
	return 0
}

func (c *ctrl) Read32(off uint64) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return allOnes
	}
	switch off {
	case regVS:
		return 0x10400
	case regCC:
		return c.cc
	case regCSTS:
		return c.csts
	}
	return 0
}

func (c *ctrl) Write64(off uint64, v uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch off {
	case regASQ:
		c.asq = v
	case regACQ:
		c.acq = v
	}
}

func (c *ctrl) Write32(off uint64, v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	switch {
	case off == regAQA:
		c.aqa = v
	case off == regCC:
		if v&ccEnable == 0 {
			c.era++
			c.csts = 0
			c.sqs, c.cqs, c.events = map[int]*ring{}, map[int]*ring{}, nil
		} else if c.cc&ccEnable == 0 && !c.never {
			c.csts = cstsReady
			c.sqs[0] = &ring{at: c.asq, depth: int(c.aqa&0xfff) + 1}
			c.cqs[0] = &ring{at: c.acq, depth: int(c.aqa>>16&0xfff) + 1, phase: 1}
		}
		if v>>14&3 == 1 {
			c.csts |= cstsShutEnd
		}
		c.cc = v
	case off >= regBells:
		n := int(off-regBells) / (4 << (c.cap >> 32 & 15))
		set := c.sqs
		if n&1 != 0 {
			set = c.cqs
		}
		q := set[n/2]
		if q == nil || int(v) >= q.depth {
			c.wrong = append(c.wrong, "a doorbell of a queue that there is not, or a value that it cannot have")
			return
		}
		if n&1 != 0 {
			q.head = int(v)
			return
		}
		q.tail = int(v)
		for ; q.head != q.tail; q.head = (q.head + 1) % q.depth {
			e := append([]byte(nil), c.h.Memory(q.at+uint64(q.head)*sqEntry, sqEntry)...)
			go c.execute(n/2, e, c.era)
		}
	}
}

// data is the memory of a command, by its PRPs.
func (c *ctrl) data(e []byte, n int) (pieces [][]byte) {
	le := binary.LittleEndian
	p1, p2 := le.Uint64(e[24:]), le.Uint64(e[32:])
	take := func(p uint64) {
		m := min(n, pageSize-int(p%pageSize))
		pieces = append(pieces, c.h.Memory(p, m))
		n -= m
	}
	take(p1)
	switch {
	case n == 0:
	case n <= pageSize:
		take(p2)
	default:
		for list := p2; n > 0; list += 8 {
			take(le.Uint64(c.h.Memory(list, 8)))
		}
	}
	return pieces
}

// execute does a command.
func (c *ctrl) execute(queue int, e []byte, era int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if era != c.era || c.gone {
		return
	}
	le := binary.LittleEndian
	op, id, nsid := e[0], le.Uint16(e[2:]), le.Uint32(e[4:])
	dw := func(i int) uint32 { return le.Uint32(e[4*i:]) }
	r := reply{}
	if c.answer != nil {
		r = c.answer(queue == 0, op)
	}
	if r.silent {
		return
	}
	result := uint32(0)
	s := c.spaces[nsid]
	copyTo := func(b []byte) {
		for _, p := range c.data(e, len(b)) {
			b = b[copy(p, b):]
		}
	}
	switch {
	case r.status != 0:
	case queue == 0 && op == admIdentify:
		b := make([]byte, 4096)
		switch dw(10) & 0xff {
		case cnsController:
			copy(b, c.identify)
		case cnsActive:
			i := 0
			for n := uint32(1); n < 100; n++ {
				if c.spaces[n] != nil {
					le.PutUint32(b[4*i:], n)
					i++
				}
			}
		case cnsDescriptor:
			if s != nil {
				copy(b, s.descriptors)
			}
		default:
			if s != nil {
				copy(b, s.identify)
			}
		}
		if r.block != nil {
			b = r.block
		}
		copyTo(b)
	case queue == 0 && op == admSetFeatures && dw(10)&0xff == featQueues:
		result = c.queues | c.queues<<16
	case queue == 0 && op == admCreateCQ:
		c.cqs[int(dw(10)&0xffff)] = &ring{at: le.Uint64(e[24:]), depth: int(dw(10)>>16) + 1, phase: 1}
	case queue == 0 && op == admCreateSQ:
		c.sqs[int(dw(10)&0xffff)] = &ring{at: le.Uint64(e[24:]), depth: int(dw(10)>>16) + 1, cq: int(dw(11) >> 16)}
	case queue == 0 && op == admDeleteSQ:
		delete(c.sqs, int(dw(10)&0xffff))
	case queue == 0 && op == admDeleteCQ:
		delete(c.cqs, int(dw(10)&0xffff))
	case queue == 0 && op == admAsyncEvent:
		c.events = append(c.events, id)
		return
	case queue == 0 && op == admAbort:
		result = 1
	case queue == 0:
	case s == nil:
		r.status = codeInvalidNS
	case op == ioRead || op == ioWrite:
		shift := s.identify[130]
		at, n := (uint64(dw(10))|uint64(dw(11))<<32)<<shift, int(dw(12)+1)<<shift
		if at+uint64(n) > uint64(len(s.data)) {
			r.status = codeLBARange
			break
		}
		b := s.data[at:][:n]
		for _, p := range c.data(e, n) {
			if op == ioRead {
				b = b[copy(p, b):]
			} else {
				b = b[copy(b, p):]
			}
		}
	}
	c.post(queue, id, r.status, result, r.quiet)
	if r.twice {
		c.post(queue, id, r.status, result, r.quiet)
	}
}

// post posts a completion.
func (c *ctrl) post(queue int, id, status uint16, result uint32, quiet bool) {
	s := c.sqs[queue]
	if s == nil {
		return
	}
	q := c.cqs[s.cq]
	m := c.h.Memory(q.at+uint64(q.tail)*cqEntry, cqEntry)
	dma.Store32(m, 0, result)
	dma.Store32(m, 8, uint32(queue)<<16|uint32(s.head))
	dma.Store32(m, 12, uint32(id)|q.phase<<16|uint32(status)<<17)
	if q.tail++; q.tail == q.depth {
		q.tail, q.phase = 0, q.phase^1
	}
	if !quiet {
		c.h.Raise(0)
	}
}

// event tells that namespaces have changed.
func (c *ctrl) event() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range c.events {
		c.post(0, id, 0, 2|4<<16, false)
	}
	c.events = nil
}

// The rest of kern.Registers, which the driver does not use.
func (c *ctrl) Read8(uint64) uint8     { panic("8 bits") }
func (c *ctrl) Read16(uint64) uint16   { panic("16 bits") }
func (c *ctrl) Write8(uint64, uint8)   { panic("8 bits") }
func (c *ctrl) Write16(uint64, uint16) { panic("16 bits") }
