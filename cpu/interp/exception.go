package interp

// deliverFault delivers c.exc at c.rip, with the rules for double faults. It
// returns false when the processor shuts down (triple fault).
func (c *CPU) deliverFault() bool { return false }

// interrupt delivers an external interrupt or NMI at c.rip. It returns false
// when the processor shuts down.
func (c *CPU) interrupt(vec uint8) bool { return false }
