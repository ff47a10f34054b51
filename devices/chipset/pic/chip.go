package pic

import "math/bits"

// What follows the initialization command word that was written last.
const (
	ready = iota // operation
	wantICW2
	wantICW3
	wantICW4
)

// A chip is the register state of one 8259A. Field names are the datasheet's.
type chip struct {
	Lines uint8 // levels of the inputs IR0..IR7
	Edges uint8 // latched rising edges of edge-triggered inputs
	ELCR  uint8 // inputs that are level-triggered
	IMR   uint8 // interrupt mask
	ISR   uint8 // in service
	Base  uint8 // T7..T3: the vector of IR0
	Top   uint8 // the input with the highest priority, 0 after ICW1
	Init  uint8 // ready, wantICW2 …

	Single     bool // ICW1 SNGL: no ICW3
	IC4        bool // ICW1 IC4: ICW4 follows
	AEOI       bool // ICW4: end of interrupt at INTA
	SFNM       bool // ICW4: special fully nested mode
	RotateAEOI bool // OCW2: rotate at each automatic end of interrupt
	SMM        bool // OCW3: special mask mode
	Poll       bool // OCW3: the next read is a poll
	ReadISR    bool // OCW3: which register an A0=0 read gives
}

// irr is the interrupt request register: latched edges, and the levels of
// level-triggered inputs.
func (c *chip) irr() uint8 { return c.Edges&^c.ELCR | c.Lines&c.ELCR }

// set drives input n. A rising edge stays latched when the line falls again:
// emulated devices pulse their lines for no time at all, and a pulse is an
// interrupt.
func (c *chip) set(n int, level bool) {
	bit := uint8(1) << n
	if !level {
		c.Lines &^= bit
		return
	}
	if c.Lines&bit == 0 {
		c.Edges |= bit
	}
	c.Lines |= bit
}

// rank is the priority of the highest-priority input in set (0 is highest), or
// 8 if the set is empty.
func (c *chip) rank(set uint8) int {
	if set == 0 {
		return 8
	}
	return bits.TrailingZeros8(bits.RotateLeft8(set, -int(c.Top)))
}

// input is the inverse of rank.
func (c *chip) input(rank int) int { return (rank + int(c.Top)) & 7 }

// pending returns the input that INT is asserted for. cascades is the set of
// inputs that have a slave: in special fully nested mode a slave in service may
// interrupt again, since only it knows that the new request has priority.
func (c *chip) pending(cascades uint8) (n int, ok bool) {
	if c.Init != ready {
		return 0, false
	}
	want := c.rank(c.irr() &^ c.IMR)
	if want == 8 {
		return 0, false
	}
	served := c.ISR
	if c.SMM {
		served &^= c.IMR
	}
	busy := c.rank(served)
	n = c.input(want)
	if want == busy && c.SFNM && cascades>>n&1 != 0 {
		return n, true
	}
	return n, want < busy
}

// accept is what INTA does to the winner n.
func (c *chip) accept(n int) {
	bit := uint8(1) << n
	c.Edges &^= bit
	if !c.AEOI {
		c.ISR |= bit
	} else if c.RotateAEOI {
		c.Top = uint8(n+1) & 7
	}
}

// icw1 begins initialization: masks, service and edge latches are cleared;
// inputs must rise again to interrupt, and IR0 has the highest priority.
func (c *chip) icw1(v uint8) {
	*c = chip{Lines: c.Lines, ELCR: c.ELCR, Base: c.Base, Init: wantICW2,
		Single: v&0x02 != 0, IC4: v&0x01 != 0}
}

// writeOdd takes the initialization words after the first, and in operation OCW1.
func (c *chip) writeOdd(v uint8) {
	switch c.Init {
	case wantICW2:
		c.Base = v &^ 7
		switch {
		case !c.Single:
			c.Init = wantICW3
		case c.IC4:
			c.Init = wantICW4
		default:
			c.Init = ready
		}
	case wantICW3:
		// The wiring is fixed: the slave sits at the master's IR2.
		c.Init = ready
		if c.IC4 {
			c.Init = wantICW4
		}
	case wantICW4:
		c.AEOI, c.SFNM, c.Init = v&0x02 != 0, v&0x10 != 0, ready
	default:
		c.IMR = v
	}
}

// writeEven takes ICW1 (bit 4), OCW3 (bit 3) and OCW2.
func (c *chip) writeEven(v uint8) {
	switch {
	case v&0x10 != 0:
		c.icw1(v)
	case v&0x08 != 0:
		c.ocw3(v)
	default:
		c.ocw2(v)
	}
}

func (c *chip) ocw3(v uint8) {
	if v&0x40 != 0 {
		c.SMM = v&0x20 != 0
	}
	c.Poll = v&0x04 != 0
	if v&0x02 != 0 {
		c.ReadISR = v&0x01 != 0
	}
}

// Bits of OCW2. EOI alone ends the highest-priority input in service; with SL
// it ends the input in the low bits.
const (
	ocw2Rotate   = 0x80
	ocw2Specific = 0x40
	ocw2EOI      = 0x20
)

func (c *chip) ocw2(v uint8) {
	n := int(v & 7)
	switch v & (ocw2Rotate | ocw2Specific | ocw2EOI) {
	case 0:
		c.RotateAEOI = false
	case ocw2Rotate:
		c.RotateAEOI = true
	case ocw2Rotate | ocw2Specific:
		c.Top = uint8(n+1) & 7
	case ocw2EOI | ocw2Specific:
		c.ISR &^= 1 << n
	case ocw2EOI | ocw2Specific | ocw2Rotate:
		c.ISR &^= 1 << n
		c.Top = uint8(n+1) & 7
	case ocw2EOI, ocw2EOI | ocw2Rotate:
		served := c.ISR
		if c.SMM {
			served &^= c.IMR // a masked level is not ended unless named
		}
		rank := c.rank(served)
		if rank == 8 {
			return
		}
		n = c.input(rank)
		c.ISR &^= 1 << n
		if v&ocw2Rotate != 0 {
			c.Top = uint8(n+1) & 7
		}
	}
}
