package pc64

// powerOff turns the machine off through ACPI's soft-off state. It returns only if the machine
// does not know it.
func powerOff() {
	const sleepEnable = 1 << 13
	if tables.HasS5 && tables.PM1aControl != 0 {
		if tables.SMICommand != 0 && in16(tables.PM1aControl)&1 == 0 {
			out8(tables.SMICommand, tables.Enable)
			for spin := 0; spin < 1<<20 && in16(tables.PM1aControl)&1 == 0; spin++ {
				pause()
			}
		}
		keep := in16(tables.PM1aControl) &^ (7<<10 | sleepEnable)
		out16(tables.PM1aControl, keep|uint16(tables.S5a)<<10|sleepEnable)
		if tables.PM1bControl != 0 {
			out16(tables.PM1bControl, in16(tables.PM1bControl)&^(7<<10)|uint16(tables.S5b)<<10|sleepEnable)
		}
		for spin := 0; spin < 1<<20; spin++ {
			pause()
		}
	}
	print("the machine does not power off; it may be turned off now\n")
	for {
		halt()
	}
}

// Reset restarts the machine.
func Reset() {
	if tables.ResetPort != 0 {
		out8(tables.ResetPort, tables.ResetValue)
	}
	out8(0xcf9, 0x0e)
	for range 1 << 16 {
		pause()
	}
	out8(0x64, 0xfe) // the keyboard controller's reset line
	for {
		halt()
	}
}
