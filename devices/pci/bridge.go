package pci

// Windows of a bridge (PCI-to-PCI Bridge 1.2, chapter 4).

// initBridge gives a port's function the registers of the type 1 header.
func (p *RootPort) initBridge() {
	f := p.Function
	f.preset8(RegHeaderType, headerBridge)
	for _, r := range []int{RegPrimaryBus, RegSecondaryBus, RegSubordinateBus} {
		f.wmask[r] = 0xff
	}
	f.wmask[RegIOBase], f.wmask[RegIOLimit] = 0xf0, 0xf0 // 16-bit ports
	f.w1c[RegSecondStatus+1] = 0xf9
	f.writable16(RegMemBase, 0xfff0)
	f.writable16(RegMemLimit, 0xfff0)
	f.Preset(RegPrefBase, 2, 1, 0xfff0) // 64-bit addresses
	f.Preset(RegPrefLimit, 2, 1, 0xfff0)
	f.writable32(RegPrefBaseHigh, 0xffffffff)
	f.writable32(RegPrefLimitHigh, 0xffffffff)
	f.writable16(RegBridgeControl, 0x0043) // parity, SERR#, reset
	// Windows start closed: limit below base.
	for _, r := range []int{RegIOBase, RegMemBase + 1, RegPrefBase + 1} {
		f.preset8(r, f.cfg[r]|0xf0)
	}
	f.HookConfig(RegBridgeControl, 2, ConfigHook{Written: func(int, int) {
		f.mu.Lock()
		now := f.get(RegBridgeControl, 2)&bridgeControlReset != 0
		start := now && !p.inReset
		p.inReset = now
		f.mu.Unlock()
		if start {
			p.secondary.reset((*Function).busReset)
		}
	}})
	remap := func(int, int) { f.remap() }
	f.HookConfig(RegIOBase, RegBridgeROM-RegIOBase, ConfigHook{Written: remap})
}

// passes tells whether the bridge forwards accesses to the range of r at base
// to its secondary side.
func (p *RootPort) passes(r *bar, base uint64) bool {
	f := p.Function
	f.mu.Lock()
	defer f.mu.Unlock()
	if !p.up() {
		return false
	}
	last := base + r.Size - 1
	in := func(lo, hi uint64) bool { return lo <= hi && base >= lo && last <= hi }
	cmd := f.get(RegCommand, 2)
	if r.Kind == BARIO {
		lo := uint64(f.cfg[RegIOBase]&0xf0) << 8
		hi := uint64(f.cfg[RegIOLimit]&0xf0)<<8 | 0xfff
		return cmd&CommandIO != 0 && in(lo, hi)
	}
	if cmd&CommandMemory == 0 {
		return false
	}
	lo := uint64(f.get(RegMemBase, 2)&0xfff0) << 16
	hi := uint64(f.get(RegMemLimit, 2)&0xfff0)<<16 | 0xfffff
	if in(lo, hi) {
		return true
	}
	lo = uint64(f.get(RegPrefBase, 2)&0xfff0)<<16 | uint64(f.get(RegPrefBaseHigh, 4))<<32
	hi = uint64(f.get(RegPrefLimit, 2)&0xfff0)<<16 | 0xfffff | uint64(f.get(RegPrefLimitHigh, 4))<<32
	return in(lo, hi)
}
