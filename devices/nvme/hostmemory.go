package nvme

// hostMemory is the Host Memory Buffer feature (base specification, section
// 5.27.1.10). The controller asks for none and needs none: it keeps track of what
// the host lends it and stores nothing there, which the specification leaves to
// the controller.
type hostMemory struct {
	Size  uint32 // memory pages
	List  uint64 // address of the descriptor list
	Count uint32 // descriptors
	Sum   uint64 // pages in them
}

// Bits of double word 11.
const (
	hmbEnable = 1 << 0
	hmbReturn = 1 << 1
)

const maxHostMemoryEntries = 4096

// setHostMemory turns the buffer on or off. The caller holds mu.
func (d *Device) setHostMemory(r *request, v uint32) status {
	f := &d.feat
	if v&hmbEnable == 0 {
		f.Memory = hostMemory{}
		f.Value[featHostMemory] = 0
		return success
	}
	m, st := d.lentMemory(&r.e)
	if st != success {
		return st
	}
	f.Memory = m
	f.Value[featHostMemory] = v
	d.statef("host memory buffer of %d pages", m.Size)
	return success
}

// lentMemory is the buffer that a command enables. The caller holds mu.
func (d *Device) lentMemory(e *entry) (hostMemory, status) {
	if d.feat.Value[featHostMemory]&hmbEnable != 0 {
		d.strictf(admin, "NVMe base 2.0, 5.27.1.10", "the host memory buffer is enabled while it is enabled already")
		return hostMemory{}, sequenceError
	}
	m := hostMemory{Size: e.dw[12], List: uint64(e.dw[13]) | uint64(e.dw[14])<<32, Count: e.dw[15]}
	if m.Size == 0 || m.Count == 0 || m.Count > maxHostMemoryEntries || m.List&0xf != 0 {
		return m, invalidField
	}
	var b [16]byte
	for i := range uint64(m.Count) {
		if err := d.mem.Read(m.List+16*i, b[:]); err != nil {
			return m, dataTransferError
		}
		addr, pages := le.Uint64(b[:]), uint64(le.Uint32(b[8:]))
		if addr&(d.pageSize-1) != 0 {
			d.strictf(admin, "NVMe base 2.0, 5.27.1.10", "host memory buffer descriptor %d is at %#x, not at a page", i, addr)
			return m, invalidField
		}
		if pages == 0 {
			continue
		}
		m.Sum += pages
	}
	if m.Sum < uint64(m.Size) {
		d.strictf(admin, "NVMe base 2.0, 5.27.1.10", "the descriptors of the host memory buffer have %d pages; HSIZE says %d", m.Sum, m.Size)
		return m, invalidField
	}
	return m, success
}

// attributes is the data that Get Features returns.
func (m *hostMemory) attributes() []byte {
	b := make([]byte, 4096)
	le.PutUint32(b[0:], m.Size)
	le.PutUint64(b[4:], m.List)
	le.PutUint32(b[12:], m.Count)
	return b
}
