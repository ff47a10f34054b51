package vsock

import (
	"encoding/binary"

	"dfemu/devices"
)

var le = binary.LittleEndian

// A header is that of a packet (struct virtio_vsock_hdr).
type header struct {
	srcCID, dstCID   uint64
	srcPort, dstPort uint32
	len              uint32
	kind, op         uint16
	flags            uint32
	bufAlloc, fwdCnt uint32
}

func parse(p *[headerSize]byte) header {
	return header{
		srcCID: le.Uint64(p[0:]), dstCID: le.Uint64(p[8:]), srcPort: le.Uint32(p[16:]), dstPort: le.Uint32(p[20:]),
		len: le.Uint32(p[24:]), kind: le.Uint16(p[28:]), op: le.Uint16(p[30:]), flags: le.Uint32(p[32:]),
		bufAlloc: le.Uint32(p[36:]), fwdCnt: le.Uint32(p[40:]),
	}
}

// exists tells whether there is such an operation.
func (h *header) exists() bool { return h.op != 0 && int(h.op) < len(opNames) }

// fits tells whether a packet's data are in its buffer of size bytes, and not too much of them.
func (h *header) fits(size uint64) bool {
	return uint64(h.len) <= size-headerSize && h.len <= maxPacket
}

func (h *header) encode() (p [headerSize]byte) {
	le.PutUint64(p[0:], h.srcCID)
	le.PutUint64(p[8:], h.dstCID)
	le.PutUint32(p[16:], h.srcPort)
	le.PutUint32(p[20:], h.dstPort)
	le.PutUint32(p[24:], h.len)
	le.PutUint16(p[28:], h.kind)
	le.PutUint16(p[30:], h.op)
	le.PutUint32(p[32:], h.flags)
	le.PutUint32(p[36:], h.bufAlloc)
	le.PutUint32(p[40:], h.fwdCnt)
	return p
}

// command describes a packet to watchers.
func (h *header) command(queue, tag int) *devices.Command {
	v := *h
	return &devices.Command{
		Queue: queue, Tag: tag, Opcode: uint32(h.op), Name: opName(h.op), Bytes: uint64(h.len), Write: queue == queueTx,
		Fields: func() []devices.FieldValue {
			return []devices.FieldValue{
				{Name: "src_cid", Value: v.srcCID}, {Name: "dst_cid", Value: v.dstCID},
				{Name: "src_port", Value: uint64(v.srcPort)}, {Name: "dst_port", Value: uint64(v.dstPort)},
				{Name: "type", Value: uint64(v.kind)}, {Name: "flags", Value: uint64(v.flags)},
				{Name: "buf_alloc", Value: uint64(v.bufAlloc)}, {Name: "fwd_cnt", Value: uint64(v.fwdCnt)},
			}
		},
	}
}

// How a packet ended, for watchers.
var (
	statusDone = devices.Status{Name: "delivered"}
	statusLost = devices.Status{Code: 1, Name: "lost"}
	statusBad  = devices.Status{Code: 2, Name: "refused"}
)
