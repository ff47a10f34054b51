package pci

import "encoding/binary"

// PortType is the device/port type of the PCI Express capability.
type PortType uint8

// The device/port types (PCI Express, section 7.5.3.2).
const (
	Endpoint           PortType = 0
	RootPortType       PortType = 4
	IntegratedEndpoint PortType = 9 // in the root complex: on bus 0
)

// Offsets in the PCI Express capability structure (section 7.5.3).
const (
	expFlags    = 0x02
	expDevCap   = 0x04
	expDevCtl   = 0x08
	expDevSta   = 0x0a
	expLinkCap  = 0x0c
	expLinkCtl  = 0x10
	expLinkSta  = 0x12
	expSlotCap  = 0x14
	expSlotCtl  = 0x18
	expSlotSta  = 0x1a
	expRootCtl  = 0x1c
	expRootSta  = 0x20
	expDevCap2  = 0x24
	expDevCtl2  = 0x28
	expLinkCap2 = 0x2c
	expLinkCtl2 = 0x30
	expLinkSta2 = 0x32
	expSize     = 0x3c

	expDevCtlFLR = 1 << 15
)

// AddExpress adds the PCI Express capability, version 2, as an endpoint (behind
// a root port) or an endpoint integrated in the root complex (on bus 0). With
// an OnReset function the endpoint offers function-level reset. It is a builder
// method, called after OnReset.
func (f *Function) AddExpress(t PortType) {
	f.addExpress(t, 0)
	if f.onReset == nil || f.express == 0 {
		return
	}
	f.preset32(f.express+expDevCap, f.get(f.express+expDevCap, 4)|1<<28)
	f.HookConfig(f.express+expDevCtl, 2, ConfigHook{Written: func(int, int) {
		f.mu.Lock()
		c := f.get(f.express+expDevCtl, 2)
		f.put(f.express+expDevCtl, 2, c&^expDevCtlFLR)
		f.mu.Unlock()
		if c&expDevCtlFLR != 0 {
			f.busReset()
		}
	}})
	f.writable16(f.express+expDevCtl, 0x78ff|expDevCtlFLR)
}

func (f *Function) addExpress(t PortType, flags uint16) {
	if f.express != 0 {
		f.fail("two PCI Express capabilities")
		return
	}
	var b, w [expSize]byte
	le := binary.LittleEndian
	le.PutUint16(b[expFlags:], 2|uint16(t)<<4|flags)
	// 128-byte payloads, 8-bit tags, role-based error reporting.
	le.PutUint32(b[expDevCap:], 1<<15|1<<5)
	le.PutUint16(b[expDevCtl:], 2<<12)
	le.PutUint16(w[expDevCtl:], 0x78ff)
	le.PutUint32(b[expDevCap2:], 1<<4) // completion timeout disable
	le.PutUint16(w[expDevCtl2:], 1<<4)
	if t != IntegratedEndpoint {
		le.PutUint32(b[expLinkCap:], 1|1<<4) // 2.5 GT/s, one lane
		le.PutUint16(b[expLinkSta:], 1|1<<4)
		le.PutUint16(w[expLinkCtl:], 0x00c0) // common clock, extended synch
		le.PutUint32(b[expLinkCap2:], 1<<1)  // 2.5 GT/s
		le.PutUint16(b[expLinkCtl2:], 1)
		le.PutUint16(w[expLinkCtl2:], 0xf)
	}
	f.express = f.AddCapability(CapExpress, b[2:], w[2:])
	if f.err != nil {
		f.express = 0
		return
	}
	le.PutUint16(f.w1c[f.express+expDevSta:], 0xf)
}
