package interp

import (
	"bytes"
	"errors"

	"dfemu/cpu/x86"
)

// maxBlockBytes bounds the bytes of one block.
const maxBlockBytes = 512

// decoder is the scratch space in which blocks are made.
type decoder struct {
	buf [maxBlockBytes + x86.MaxInstLen]byte
	ops [maxOps]Op
	n   int // of ops
	at  int // bytes that they stand for
	// count is the number of instructions, of which two may share an op.
	count uint8
	in    x86.Inst
}

// add appends the instruction in d.in. end is that of compile.
func (c *CPU) add(d *decoder, key uint8) (end bool) {
	o := &d.ops[d.n]
	*o = Op{start: uint16(d.at)}
	d.at += int(d.in.Len)
	o.next = uint16(d.at)
	end = c.prepare(&d.in, o, key)
	d.count++
	if d.n > 0 && o.fuseWith(&d.ops[d.n-1], d.in.Op) {
		o = &d.ops[d.n-1]
	} else {
		o.width = 1
		d.n++
	}
	o.count = d.count
	return end
}

// handlers makes the handlers of b, which has none while its translation serves.
func (c *CPU) handlers(b *block) {
	d := &c.dec
	d.n, d.at, d.count = 0, 0, 0
	for d.at < len(b.code) && x86.Decode(c.mode, b.code[d.at:], &d.in) == nil {
		c.add(d, b.key)
	}
	b.ops = newOps(d.ops[:d.n])
}

// source is where the bytes at an instruction pointer come from.
type source struct {
	va    uint64
	phys  uint64
	host  hostPage // nil: not RAM
	room  int      // bytes to the end of the page or of the code segment
	limit bool     // room ends with the segment
}

// decode makes the block at linear address va, physical address phys.
func (c *CPU) decode(va, phys uint64, host hostPage, key uint8) *block {
	src := source{va: va, phys: phys, host: host, room: pageSize - int(va&pageOffset)}
	if c.mode != x86.Mode64 {
		if left := uint64(c.s.Seg[x86.CS].Limit) - c.rip + 1; left < uint64(src.room) {
			src.room, src.limit = int(left), true
		}
	}
	if c.blocks.count >= maxBlocks {
		c.dropAll()
	}
	if c.decoded++; c.acc.translator != nil && c.decoded%sweepAfter == 0 {
		c.sweep()
	}
	for {
		b, ok := c.build(&src, key)
		if !ok {
			return nil
		}
		if src.host == nil {
			return b // not memory: nothing to watch, nothing to keep
		}
		c.stats.Blocks++
		// Mark first, then make sure that what was decoded is still there.
		first := min(int(b.size), pageSize-int(phys&pageOffset))
		c.markCode(lineSet{phys & pageMask, lines(phys, first)})
		if b.phys2 != 0 {
			c.markCode(lineSet{b.phys2, lines(b.phys2, int(b.size)-first)})
		}
		b.seq = c.acc.code.events.Load()
		if c.unchanged(b, host) {
			if len(c.acc.cpus) == 1 {
				b.seq = 0
				if c.acc.translator == nil {
					b.code = nil
				}
			}
			c.blocks.insert(b)
			return b
		}
	}
}

// prepare makes o, which has its place in the block already, that of an instruction of a block with the given key. end is
// that of compile.
func (c *CPU) prepare(in *x86.Inst, o *Op, key uint8) (end bool) {
	o.size = in.OpSize
	flat := key&keyFlat != 0 && in.Mem.Seg < x86.FS && in.Mem.Seg != x86.CS
	o.legacy = x86.Mode(key&keyMode) != x86.Mode64 && !flat
	if hasMem(in) {
		o.bindMem(in)
	}
	return c.compile(in, o)
}

// build decodes the bytes at src. When not even the first instruction can be
// had, the exception is pending.
func (c *CPU) build(src *source, key uint8) (*block, bool) {
	d := &c.dec
	b := &block{phys: src.phys, key: key}
	n := c.fetchBytes(src, d.buf[:maxBlockBytes])
	limit := maxOps
	if key&keySingle != 0 || src.host == nil {
		limit = 1
	}
	d.n, d.at, d.count = 0, 0, 0
	for d.n < limit {
		err := x86.Decode(c.mode, d.buf[d.at:n], &d.in)
		if errors.Is(err, x86.ErrTruncated) {
			if d.n > 0 {
				break
			}
			if n, err = c.fetchMore(src, b, n); err == nil {
				err = x86.Decode(c.mode, d.buf[:n], &d.in)
			}
			if errors.Is(err, errFault) {
				return nil, false
			}
		}
		if err != nil {
			if d.n > 0 {
				break
			}
			if errors.Is(err, x86.ErrTooLong) || errors.Is(err, x86.ErrTruncated) {
				c.gp(0)
				return nil, false
			}
			c.logf("%s", undefined(d.buf[:min(n, x86.MaxInstLen)]))
			c.ud()
			return nil, false
		}
		end := c.add(d, key)
		if d.in.Op == x86.STI {
			limit = min(limit, d.n+1) // interrupts are looked at after the next instruction
		}
		if end && d.in.Ctl() != x86.CtlCond {
			break
		}
	}
	b.ops, b.last = newOps(d.ops[:d.n]), d.ops[d.n-1].start
	b.size = uint64(d.at)
	b.code = append([]byte(nil), d.buf[:d.at]...)
	if d.at <= src.room {
		b.phys2 = 0
	}
	return b, true
}

var errFault = errors.New("exception pending")

// fetchBytes copies what is left of the page, as far as it fits into buf.
func (c *CPU) fetchBytes(src *source, buf []byte) int {
	n := min(src.room, len(buf))
	if src.host != nil {
		return copy(buf, hostBytes(src.host, n))
	}
	n = min(n, x86.MaxInstLen)
	for i := range n {
		buf[i] = uint8(c.busRead(nil, src.phys+uint64(i), 1))
	}
	return n
}

// fetchMore appends the bytes of the following page after the first n of the
// decoder's buffer. It fails with errFault, or ErrTruncated where the code segment ends.
func (c *CPU) fetchMore(src *source, b *block, n int) (int, error) {
	if src.limit {
		return n, x86.ErrTruncated
	}
	va := (src.va + pageSize) & pageMask
	if c.mode != x86.Mode64 {
		va &= 0xffffffff
	}
	phys, host, ok := c.fetchPage(va)
	if !ok {
		return n, errFault
	}
	more := source{va: va, phys: phys, host: host, room: x86.MaxInstLen}
	if c.mode != x86.Mode64 {
		if left := uint64(c.s.Seg[x86.CS].Limit) - (c.rip + uint64(src.room)) + 1; left < uint64(more.room) {
			more.room = int(left)
		}
	}
	if host == nil {
		src.host = nil
	}
	b.phys2 = phys & pageMask
	return n + c.fetchBytes(&more, c.dec.buf[n:]), nil
}

// markCode tells everybody that this processor has decoded some lines.
func (c *CPU) markCode(l lineSet) {
	if c.acc.code.mark(l.page, l.mask) {
		c.flushWrites()
		c.acc.announce(c)
	}
}

func hasMem(in *x86.Inst) bool {
	for i := range in.NArgs {
		if in.Args[i].Kind == x86.KindMem {
			return true
		}
	}
	return false
}

// undefined describes bytes that do not decode.
func undefined(p []byte) string {
	var w bytes.Buffer
	w.WriteString("undefined instruction:")
	for _, b := range p {
		const hex = "0123456789abcdef"
		w.WriteByte(' ')
		w.WriteByte(hex[b>>4])
		w.WriteByte(hex[b&15])
	}
	return w.String()
}

// compile puts the handler for in into o, whose memory operand is already
// bound. end tells that nothing may follow in the same block.
func (c *CPU) compile(in *x86.Inst, o *Op) (end bool) {
	if !c.sys.features.Has(in.Enc.Feat) {
		o.fn = undefinedOp
		return true
	}
	for _, f := range [...]func(*CPU, *x86.Inst, *Op) (done, end bool){
		compileInteger, compileString, compileBranch, compileSystem, compileX87, compileVector,
	} {
		if done, end := f(c, in, o); done {
			return end
		}
	}
	c.logf("instruction not provided: %v", in)
	o.fn = undefinedOp
	return true
}

// undefinedOp raises #UD.
func undefinedOp(c *CPU, _ *Op) status { return c.ud() }
