package uart

import "dfemu/devices"

// Rows of the register table (16550D, table 2). Offsets 0 and 1 show the
// divisor latch while LCR.DLAB is set.
const (
	regData = iota // RBR, THR, DLL
	regIER         // IER, DLM
	regIIR         // IIR, FCR
	regLCR
	regMCR
	regLSR
	regMSR
	regSCR
)

var bank = devices.NewBank("16550A", []devices.Register{
	regData: {Offset: 0, Size: 1, Name: "RBR/THR"},
	regIER:  {Offset: 1, Size: 1, Name: "IER", Fields: []devices.Field{{Name: "ERBFI", Lo: 0, Hi: 0}, {Name: "ETBEI", Lo: 1, Hi: 1}, {Name: "ELSI", Lo: 2, Hi: 2}, {Name: "EDSSI", Lo: 3, Hi: 3}}},
	regIIR:  {Offset: 2, Size: 1, Name: "IIR/FCR"},
	regLCR:  {Offset: 3, Size: 1, Name: "LCR", Fields: []devices.Field{{Name: "WLS", Lo: 0, Hi: 1}, {Name: "STB", Lo: 2, Hi: 2}, {Name: "PEN", Lo: 3, Hi: 3}, {Name: "EPS", Lo: 4, Hi: 4}, {Name: "SP", Lo: 5, Hi: 5}, {Name: "BC", Lo: 6, Hi: 6}, {Name: "DLAB", Lo: 7, Hi: 7}}},
	regMCR:  {Offset: 4, Size: 1, Name: "MCR", Fields: []devices.Field{{Name: "DTR", Lo: 0, Hi: 0}, {Name: "RTS", Lo: 1, Hi: 1}, {Name: "OUT1", Lo: 2, Hi: 2}, {Name: "OUT2", Lo: 3, Hi: 3}, {Name: "LOOP", Lo: 4, Hi: 4}}},
	regLSR:  {Offset: 5, Size: 1, Name: "LSR", Fields: []devices.Field{{Name: "DR", Lo: 0, Hi: 0}, {Name: "OE", Lo: 1, Hi: 1}, {Name: "PE", Lo: 2, Hi: 2}, {Name: "FE", Lo: 3, Hi: 3}, {Name: "BI", Lo: 4, Hi: 4}, {Name: "THRE", Lo: 5, Hi: 5}, {Name: "TEMT", Lo: 6, Hi: 6}}},
	regMSR:  {Offset: 6, Size: 1, Name: "MSR", Fields: []devices.Field{{Name: "DCTS", Lo: 0, Hi: 0}, {Name: "DDSR", Lo: 1, Hi: 1}, {Name: "TERI", Lo: 2, Hi: 2}, {Name: "DDCD", Lo: 3, Hi: 3}, {Name: "CTS", Lo: 4, Hi: 4}, {Name: "DSR", Lo: 5, Hi: 5}, {Name: "RI", Lo: 6, Hi: 6}, {Name: "DCD", Lo: 7, Hi: 7}}},
	regSCR:  {Offset: 7, Size: 1, Name: "SCR"},
})

// registerName names the registers that share an offset.
func (d *Device) registerName(r devices.Reg, write bool) string {
	d.mu.Lock()
	latch := d.state.LCR&lcrDLAB != 0
	d.mu.Unlock()
	switch {
	case r.ID == regData && latch:
		return "DLL"
	case r.ID == regIER && latch:
		return "DLM"
	case r.ID == regData && write:
		return "THR"
	case r.ID == regData:
		return "RBR"
	case r.ID == regIIR && write:
		return "FCR"
	case r.ID == regIIR:
		return "IIR"
	}
	return ""
}

// Interrupt enable register.
const (
	ierRDA  = 1 << 0 // received data, and its timeout
	ierTHRE = 1 << 1
	ierLSR  = 1 << 2
	ierMSR  = 1 << 3
	ierAll  = 0x0f
)

// Interrupt identification register: the pending interrupt with the highest
// priority.
const (
	iirMSR     = 0x0
	iirNone    = 0x1
	iirTHRE    = 0x2
	iirRDA     = 0x4
	iirLSR     = 0x6
	iirTimeout = 0xc
	iirFIFO    = 0xc0
)

// FIFO control register.
const (
	fcrEnable  = 1 << 0
	fcrClearRx = 1 << 1
	fcrTrigger = 0xc0
)

// triggers are the receive FIFO's levels by FCR bits 7..6.
var triggers = [4]int{1, 4, 8, 14}

// Line control register.
const (
	lcrWLS   = 0x03
	lcrSTB   = 1 << 2
	lcrPEN   = 1 << 3
	lcrBreak = 1 << 6
	lcrDLAB  = 1 << 7
)

// Modem control register.
const (
	mcrDTR  = 1 << 0
	mcrRTS  = 1 << 1
	mcrOUT1 = 1 << 2
	mcrOUT2 = 1 << 3
	mcrLoop = 1 << 4
	mcrAll  = 0x1f
)

// Line status register.
const (
	lsrDR   = 1 << 0
	lsrOE   = 1 << 1
	lsrPE   = 1 << 2
	lsrFE   = 1 << 3
	lsrBI   = 1 << 4
	lsrTHRE = 1 << 5
	lsrTEMT = 1 << 6
	lsrFIFO = 1 << 7 // an error somewhere in the FIFO
)

// Modem status register. The low half has the changes since the last read.
const (
	msrTERI = 1 << 2
	msrCTS  = 1 << 4
	msrDSR  = 1 << 5
	msrRI   = 1 << 6
	msrDCD  = 1 << 7

	msrLines = msrCTS | msrDSR | msrRI | msrDCD
)
