package e1000e

// phy is the transceiver: the IEEE 802.3 clause 22 registers, and those of its
// own (section 9). Pages other than 0 are storage.
type phy struct {
	Page  uint16
	Regs  [32]uint16
	Pages [8][32]uint16
}

const (
	phyControl  = 0
	phyStatus   = 1
	phyID1      = 2
	phyID2      = 3
	phyANA      = 4
	phyLPA      = 5
	phyANE      = 6
	phyGControl = 9
	phyGStatus  = 10
	phyExtended = 15
	phySpecific = 17
	phyPage     = 22
	phyPageAlt  = 31

	phyReset     = 1 << 15
	phyLoopback  = 1 << 14
	phyAutoNeg   = 1 << 12
	phyPowerDown = 1 << 11
	phyRestart   = 1 << 9

	// All modes up to 1000 Mbit/s, auto-negotiation, extended registers.
	phyStatusBase = 0x7949
	phyANDone     = 1 << 5
	phyLink       = 1 << 2

	phyAddress = 1
)

func (p *phy) reset() {
	*p = phy{}
	p.Regs[phyControl] = 0x1140
	p.Regs[phyANA] = 0x0de1
	p.Regs[phyGControl] = 0x0e00
	p.Regs[16] = 0x0078
	p.Regs[20] = 0x0c60
}

// read returns a register as it is with the cable in or out.
func (p *phy) read(r int, link bool) uint16 {
	if r == phyPage || r == phyPageAlt {
		return p.Page
	}
	if p.Page != 0 {
		if int(p.Page) < len(p.Pages) {
			return p.Pages[p.Page][r]
		}
		return 0
	}
	link = link && p.Regs[phyControl]&phyPowerDown == 0
	switch r {
	case phyStatus:
		if link {
			return phyStatusBase | phyANDone | phyLink
		}
		return phyStatusBase
	case phyID1:
		return 0x0141
	case phyID2:
		return 0x0cb1 // BME1000, revision 1
	case phyLPA:
		if link {
			return 0x45e1
		}
		return 0
	case phyANE:
		if link {
			return 0x000d
		}
		return 0x000c
	case phyGStatus:
		if link {
			return 0x3c00 // both receivers are good, the partner has 1000BASE-T in both duplexes
		}
		return 0
	case phyExtended:
		return 0x3000
	case phySpecific:
		if link {
			return 0xac08 // 1000 Mbit/s, full duplex, resolved, link
		}
		return 0x0008
	}
	return p.Regs[r]
}

// write stores a register. It reports whether the link is negotiated anew.
func (p *phy) write(r int, v uint16) (restart bool) {
	if r == phyPage || r == phyPageAlt {
		p.Page = v
		return false
	}
	if p.Page != 0 {
		if int(p.Page) < len(p.Pages) {
			p.Pages[p.Page][r] = v
		}
		return false
	}
	switch r {
	case phyControl:
		old := p.Regs[r]
		if v&phyReset != 0 {
			p.reset()
			return true
		}
		p.Regs[r] = v &^ phyRestart
		return v&phyRestart != 0 || (v^old)&phyPowerDown != 0
	case phyStatus, phyID1, phyID2, phyLPA, phyANE, phyGStatus, phyExtended, phySpecific:
		return false
	}
	p.Regs[r] = v
	return false
}
