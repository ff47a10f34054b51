package nvme

import "dfemu/devices"

// registerRegion is the first half of BAR 0: properties and doorbells.
type registerRegion struct{ d *Device }

// Read implements devices.Region. Reserved properties read as zero.
func (g registerRegion) Read(off uint64, size int) (uint64, error) {
	if size < 4 || off%uint64(size) != 0 {
		g.d.misuse(-1, "NVMe over PCIe 1.0, 3.1", "a read of %d bytes at %#x: properties are accessed by aligned double or quad words", size, off)
	}
	v, err := bank.Read(registers(g), off, size)
	if err == devices.ErrNoRegister {
		g.d.misuse(-1, "NVMe base 2.0, 3.1.3", "a read of the reserved property at %#x", off)
		return 0, nil
	}
	return v, err
}

// Write implements devices.Region.
func (g registerRegion) Write(off uint64, size int, v uint64) error {
	if off >= doorbells && size == 4 && off&3 == 0 {
		g.d.doorbell(int(off-doorbells)>>2, uint32(v))
		return nil
	}
	if size < 4 || off%uint64(size) != 0 {
		g.d.misuse(-1, "NVMe over PCIe 1.0, 3.1", "a write of %d bytes at %#x: properties are accessed by aligned double or quad words", size, off)
	}
	err := bank.Write(registers(g), off, size, v)
	switch err {
	case devices.ErrReadOnly:
		g.d.misuse(-1, "NVMe base 2.0, 3.1.3", "a write of a read-only property at %#x", off)
	case devices.ErrNoRegister:
		g.d.misuse(-1, "NVMe base 2.0, 3.1.3", "a write of the reserved property at %#x", off)
	}
	return err
}

// registers implements devices.Registers.
type registers struct{ d *Device }

func (d *Device) capabilities() uint64 {
	v := uint64(d.o.QueueEntries-1) | capCQR | 15<<capTO | capNSSRS | capCSSNVM | capCSSIO | capCSSNo | maxMPS<<capMPSMAX | capCRWMS
	if d.o.Buffer > 0 {
		v |= capCMBS
	}
	return v
}

// ReadRegister implements devices.Registers.
func (g registers) ReadRegister(r devices.Reg, _ uint64) uint64 {
	d := g.d
	switch r.ID {
	case regCAP:
		return d.capabilities()
	case regVS:
		return version
	case regINTMS, regINTMC:
		d.checkMaskAccess(r.Name)
		return uint64(d.mask.Load())
	case regCC:
		return uint64(d.cc.Load())
	case regCSTS:
		return uint64(d.csts.Load())
	case regCRTO:
		return 15
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.ID {
	case regAQA:
		return uint64(d.aqa)
	case regASQ:
		return d.asq
	case regACQ:
		return d.acq
	case regCMBLOC:
		if d.cmbmsc&cmbCRE != 0 {
			return cmbBAR | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8
		}
	case regCMBSZ:
		if d.cmbmsc&cmbCRE != 0 {
			return uint64(d.o.Buffer)/4096<<12 | 0x1f
		}
	case regCMBMSC:
		return d.cmbmsc
	case regCMBSTS:
		if d.cmbErr {
			return 1
		}
	}
	return 0
}

func (d *Device) checkMaskAccess(name string) {
	if d.msix != nil && d.probe.Wants(devices.ClassStrict) && d.msixEnabled() {
		d.misuse(-1, "NVMe over PCIe 1.0, 3.1.3", "%s is accessed while MSI-X is enabled", name)
	}
}

// WriteRegister implements devices.Registers.
func (g registers) WriteRegister(r devices.Reg, v, mask uint64) {
	d := g.d
	switch r.ID {
	case regINTMS:
		d.checkMaskAccess("INTMS")
		d.mask.Or(uint32(v))
		d.updatePin()
	case regINTMC:
		d.checkMaskAccess("INTMC")
		d.unmask(uint32(v))
	case regCC:
		d.writeCC(uint32(v), uint32(mask))
	case regCSTS:
		if v&cstsNSSRO != 0 {
			d.csts.And(^uint32(cstsNSSRO))
		}
	case regNSSR:
		if v&mask == nssrValue && uint32(mask) == 0xffffffff {
			d.sub.reset()
		}
	case regSQTDBL:
		d.doorbell(r.Index*2, uint32(v))
	case regCQHDBL:
		d.doorbell(r.Index*2+1, uint32(v))
	default:
		d.writeAddress(r, v, mask)
	}
}

// writeAddress serves the registers that place structures.
func (d *Device) writeAddress(r devices.Reg, v, mask uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.ID == regCMBMSC {
		if d.o.Buffer == 0 {
			d.misuse(-1, "NVMe base 2.0, 3.1.3.16", "CMBMSC is written, but CAP.CMBS is 0")
			return
		}
		d.cmbmsc = (d.cmbmsc&^mask | v) & (cmbCRE | cmbCMSE | ^uint64(0xfff))
		d.placeBuffer()
		return
	}
	if d.cc.Load()&ccEN != 0 {
		d.misuse(-1, r.Clause, "%s is written while CC.EN is 1", r)
	}
	switch r.ID {
	case regAQA:
		if v&^0x0fff0fff&mask != 0 {
			d.misuse(-1, r.Clause, "reserved bits of AQA are set: %#x", v)
		}
		d.aqa = uint32(uint64(d.aqa)&^mask|v) & 0x0fff0fff
	case regASQ:
		d.asq = (d.asq&^mask | v) &^ 0xfff
	case regACQ:
		d.acq = (d.acq&^mask | v) &^ 0xfff
	}
}

// placeBuffer follows CMBMSC. The caller holds mu.
func (d *Device) placeBuffer() {
	base := d.cmbmsc &^ 0xfff
	d.cmbErr = false
	if d.cmbmsc&(cmbCRE|cmbCMSE) != cmbCRE|cmbCMSE {
		d.mem.window.Store(nil)
		return
	}
	if base+uint64(d.o.Buffer) < base {
		d.cmbErr = true
		d.misuse(-1, "NVMe base 2.0, 3.1.3.16", "CMBMSC.CBA %#x: the buffer would pass the end of the address space", base)
		d.mem.window.Store(nil)
		return
	}
	d.mem.window.Store(&base)
}

// doorbell is a write of v to the n-th doorbell.
func (d *Device) doorbell(n int, v uint32) {
	id := n >> 1
	if d.csts.Load()&cstsRDY == 0 {
		d.misuse(id, "NVMe base 2.0, 3.1.3.5", "the doorbell of queue %d is written while CSTS.RDY is 0", id)
		return
	}
	if v>>16 != 0 {
		d.misuse(id, "NVMe over PCIe 1.0, 3.1.2", "reserved bits of a doorbell are set: %#x", v)
	}
	v &= 0xffff
	if n&1 == 0 {
		if id < maxQueues {
			if q := d.sqs[id].Load(); q != nil {
				d.ringTail(q, v)
				return
			}
		}
	} else if id < maxQueues {
		if q := d.cqs[id].Load(); q != nil {
			d.ringHead(q, v)
			return
		}
	}
	d.misuse(id, "NVMe base 2.0, 3.3.1.5", "the doorbell of queue %d is written; there is no such queue", id)
	d.badDoorbell(eventDoorbellRegister, id)
}

func (d *Device) ringTail(q *subQueue, v uint32) {
	if v >= q.size {
		d.misuse(int(q.id), "NVMe base 2.0, 3.3.1.5", "the tail of submission queue %d is set to %d; it has %d entries", q.id, v, q.size)
		d.badDoorbell(eventDoorbellValue, int(q.id))
		return
	}
	var used []uint64
	if d.prompt() {
		used = q.outstanding()
	}
	head := q.head.Load() // before anybody sees the new tail: a worker may take what it tells of at once
	old := q.tail.Swap(v)
	if old == v && (d.shadow.Load() == nil || q.id == admin) {
		d.misuse(int(q.id), "NVMe base 2.0, 3.3.1.5", "the tail of submission queue %d is set to %d, which it is already", q.id, v)
		d.badDoorbell(eventDoorbellValue, int(q.id))
		return
	}
	if d.probe.Wants(devices.ClassStrict) {
		d.checkOverrun(q, head, old, v)
		if d.prompt() {
			q.foresee(old, v, used)
			q.foreseeShadow(v)
		}
	}
	q.kick()
}

// checkOverrun reports a tail that passes the head, as the driver can know it: the head as it was before the tail moved.
func (d *Device) checkOverrun(q *subQueue, head, old, v uint32) {
	used := (old + q.size - head) % q.size
	moved := (v + q.size - old) % q.size
	if used+moved >= q.size {
		d.misuse(int(q.id), "NVMe base 2.0, 3.3.1.4", "submission queue %d is overrun: its tail goes from %d to %d with the head at %d", q.id, old, v, head)
	}
}

func (d *Device) ringHead(q *compQueue, v uint32) {
	if !q.setHead(v) {
		d.misuse(int(q.id), "NVMe base 2.0, 3.3.1.5", "the head of completion queue %d is set to %d, beyond what was posted", q.id, v)
		d.badDoorbell(eventDoorbellValue, int(q.id))
		return
	}
	if d.pinMode() {
		d.updatePin()
	}
}

// bufferRegion is the controller memory buffer as the host sees it.
type bufferRegion []byte

// Read implements devices.Region.
func (b bufferRegion) Read(off uint64, size int) (uint64, error) {
	if off+uint64(size) > uint64(len(b)) {
		return 0, devices.ErrNoRegister
	}
	var v uint64
	for i := range uint64(size) {
		v |= uint64(b[off+i]) << (8 * i)
	}
	return v, nil
}

// Write implements devices.Region.
func (b bufferRegion) Write(off uint64, size int, v uint64) error {
	if off+uint64(size) > uint64(len(b)) {
		return devices.ErrNoRegister
	}
	for i := range uint64(size) {
		b[off+i] = byte(v >> (8 * i))
	}
	return nil
}
