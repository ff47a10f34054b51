package nvme

import "math/bits"

// Values of CNS of the command Identify (base specification, figure 273).
const (
	cnsNamespace        = 0x00
	cnsController       = 0x01
	cnsActive           = 0x02
	cnsDescriptors      = 0x03
	cnsSetNamespace     = 0x05
	cnsSetController    = 0x06
	cnsSetActive        = 0x07
	cnsIndependent      = 0x08
	cnsAllocated        = 0x10
	cnsAllocatedSpace   = 0x11
	cnsAttachedControls = 0x12
	cnsControllers      = 0x13
	cnsSetAllocated     = 0x1a
	cnsSetAllocSpace    = 0x1b
	cnsCommandSets      = 0x1c
)

// commandSetCombinations are the I/O command set vectors, by their index in the
// I/O Command Set Profile feature.
var commandSetCombinations = []uint64{1<<csiNVM | 1<<csiZoned, 1 << csiNVM}

// usesSets tells whether the attached namespaces can be used with a vector of
// command sets.
func (d *Device) usesSets(vector uint64) bool {
	for _, ns := range d.attached() {
		if vector>>ns.csi&1 == 0 {
			return false
		}
	}
	return true
}

// identify is the command Identify.
func (d *Device) identify(r *request) status {
	e := &r.e
	b := make([]byte, identBytes)
	if st := d.identity(b, uint8(e.dw[10]), uint16(e.dw[10]>>16), uint8(e.dw[11]>>24), e.nsid); st != success {
		return st
	}
	return d.toHost(r, b)
}

func (d *Device) identity(b []byte, cns uint8, cntid uint16, csi uint8, nsid uint32) status {
	s := d.sub
	switch cns {
	case cnsNamespace, cnsSetNamespace, cnsIndependent, cnsAllocatedSpace, cnsSetAllocSpace:
		return d.identifySpace(b, cns, csi, nsid)
	case cnsController:
		d.identifyController(b)
	case cnsSetController:
		switch csi {
		case csiNVM:
			// Zeroes: Verify, Write Zeroes, Write Uncorrectable and Dataset Management have no limits of their own.
		case csiZoned:
			// Zero: Zone Append is limited by MDTS.
		default:
			return commandSetInvalid
		}
	case cnsActive, cnsSetActive, cnsAllocated, cnsSetAllocated:
		if nsid >= 0xfffffffe {
			return invalidNamespace
		}
		bySet := cns == cnsSetActive || cns == cnsSetAllocated
		if bySet && csi != csiNVM && csi != csiZoned {
			return commandSetInvalid
		}
		n := 0
		for _, ns := range d.list(cns == cnsActive || cns == cnsSetActive) {
			if ns.id > nsid && n < identBytes && (!bySet || ns.csi == csi) {
				le.PutUint32(b[n:], ns.id)
				n += 4
			}
		}
	case cnsDescriptors:
		ns := d.space(nsid)
		if ns == nil {
			return invalidNamespace
		}
		ns.descriptors(b)
	case cnsAttachedControls, cnsControllers:
		var l []uint16
		if cns == cnsControllers {
			l = s.controllerIDs()
		} else {
			ns := s.space(nsid)
			if ns == nil {
				return invalidNamespace
			}
			l = s.attachedTo(ns)
		}
		n := uint16(0)
		for _, id := range l {
			if id >= cntid {
				n++
				le.PutUint16(b[2*n:], id)
			}
		}
		le.PutUint16(b, n)
	case cnsCommandSets:
		if cntid != 0xffff && cntid != d.id {
			return invalidField
		}
		for i, v := range commandSetCombinations {
			le.PutUint64(b[8*i:], v)
		}
	default:
		d.strictf(admin, "NVMe base 2.0, figure 273", "Identify with CNS %#02x is not supported", cns)
		return invalidField
	}
	return success
}

// list returns the attached or all allocated namespaces.
func (d *Device) list(attached bool) []*namespace {
	if attached {
		return d.attached()
	}
	return d.sub.all()
}

// identifySpace answers the forms of Identify that describe one namespace. An
// identifier that is valid but not in use reads as zeroes.
func (d *Device) identifySpace(b []byte, cns, csi uint8, nsid uint32) status {
	s := d.sub
	if cns == cnsSetNamespace || cns == cnsSetAllocSpace {
		if csi != csiNVM && csi != csiZoned {
			return commandSetInvalid
		}
	}
	if nsid == allSpaces && (cns == cnsNamespace || cns == cnsSetNamespace) {
		// What all namespaces have in common, for those to be created.
		switch {
		case cns == cnsNamespace:
			commonFormats(b)
		case csi == csiZoned:
			identifyZones(b, nil, s.o.PoolZoneSize)
		}
		return success
	}
	if nsid == 0 || nsid > uint32(s.o.MaxNamespaces) {
		return invalidNamespace
	}
	ns := d.space(nsid)
	if cns == cnsAllocatedSpace || cns == cnsSetAllocSpace {
		ns = s.space(nsid)
	}
	if ns == nil {
		return success
	}
	switch cns {
	case cnsNamespace, cnsAllocatedSpace:
		ns.identify(b)
	case cnsIndependent:
		if ns.shared {
			b[1] = 1
		}
		b[2] = reservationCapabilities
		if ns.readOnly() {
			b[8] = 1
		}
		b[14] = 1 // NSTAT: ready
	default:
		if csi == csiZoned {
			if ns.csi != csiZoned {
				return commandSetInvalid
			}
			identifyZones(b, ns.zones, 0)
		}
	}
	return success
}

// ascii fills a field with text, padded with spaces.
func ascii(b []byte, s string) {
	for i := range b {
		b[i] = ' '
	}
	copy(b, s)
}

const (
	powerStates        = 3
	warningTemperature = 343 // kelvin
	temperature        = 310
)

// identifyController is the Identify Controller data structure (figure 275).
func (d *Device) identifyController(b []byte) {
	s := d.sub
	le.PutUint16(b[0:], d.o.VendorID)
	le.PutUint16(b[2:], d.o.VendorID)
	ascii(b[4:24], s.o.Serial)
	ascii(b[24:64], s.o.Model)
	ascii(b[64:72], s.revision())
	b[72] = 6 // RAB
	b[73], b[74], b[75] = 0x00, 0x54, 0x52
	if !d.owned {
		b[76] = 1 << 1 // CMIC: the subsystem may have several controllers
	}
	b[77] = uint8(bits.TrailingZeros(uint(d.o.MaxTransfer / 4096)))
	le.PutUint16(b[78:], d.id)
	le.PutUint32(b[80:], version)
	le.PutUint32(b[84:], 100_000)   // RTD3R in us
	le.PutUint32(b[88:], 1_000_000) // RTD3E
	le.PutUint32(b[92:], configNamespace|configFirmware|configZones)
	le.PutUint32(b[96:], 1) // CTRATT: 128-bit host identifiers
	b[111] = 1              // I/O controller
	le.PutUint16(b[256:], 1<<1|1<<2|1<<3|1<<4|1<<8)
	b[258] = 3                                   // ACL
	b[259] = maxEventRequests - 1                // AERL
	b[260] = 1 | firmwareSlots<<1 | 1<<4         // FRMW: slot 1 read-only, activation without reset
	b[261] = 1<<1 | 1<<2 | 1<<3 | 1<<5           // LPA
	b[262] = errorEntries - 1                    // ELPE
	b[263] = powerStates - 1                     // NPSS
	le.PutUint16(b[266:], warningTemperature)    // WCTEMP
	le.PutUint16(b[268:], warningTemperature+10) // CCTEMP
	le.PutUint32(b[272:], uint32(d.o.HostMemory/4096))
	if d.o.HostMemory > 0 {
		le.PutUint32(b[276:], 1)
	}
	total, free := s.capacity()
	le.PutUint64(b[280:], total)
	le.PutUint64(b[296:], free)
	le.PutUint16(b[316:], 1)               // EDSTT in minutes
	b[318] = 1                             // DSTO: one self-test at a time
	b[319] = 1                             // FWUG: 4 KiB
	le.PutUint32(b[328:], 1<<1|1<<2|1<<30) // SANICAP: block erase, overwrite
	b[512], b[513] = 0x66, 0x44            // SQES, CQES
	le.PutUint16(b[514:], 0)               // MAXCMD
	le.PutUint32(b[516:], uint32(s.o.MaxNamespaces))
	le.PutUint16(b[520:], 0x1ff) // ONCS: all of it
	le.PutUint16(b[522:], 1)     // FUSES: Compare and Write
	b[524] = 0                   // FNA: Format NVM is for one namespace
	b[525] = 1 | 3<<1            // VWC: present, and Flush takes all namespaces
	b[531] = 1                   // NWPC
	le.PutUint16(b[532:], 0xffff)
	le.PutUint16(b[534:], 1)                         // OCFS: copy descriptor format 0
	le.PutUint32(b[536:], 1|1<<16|1<<18)             // SGLS: bit buckets, SGLs longer than the data
	le.PutUint32(b[540:], uint32(s.o.MaxNamespaces)) // MNAN
	copy(b[768:1024], s.o.NQN)
	for i := range powerStates {
		p := b[2048+32*i:]
		le.PutUint16(p, uint16(2500>>(2*i))) // centiwatts
		le.PutUint32(p[4:], uint32(i*100))   // ENLAT in us
		le.PutUint32(p[8:], uint32(i*100))   // EXLAT
		p[12], p[13], p[14], p[15] = byte(i), byte(i), byte(i), byte(i)
		if i == powerStates-1 {
			p[3] = 1 << 1 // non-operational
		}
	}
}
