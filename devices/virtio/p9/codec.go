package p9

import "encoding/binary"

var le = binary.LittleEndian

// A reader takes the fields of a message. After the first field that is not wholly there, bad is
// set and all others are empty.
type reader struct {
	p   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.p) {
		r.bad = true
		return nil
	}
	b := r.p[:n]
	r.p = r.p[n:]
	return b
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return le.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

func (r *reader) str() string { return string(r.take(int(r.u16()))) }

// A writer makes an answer: append-only, with the header filled in at the end.
type writer struct{ p []byte }

func (w *writer) u8(v uint8)   { w.p = append(w.p, v) }
func (w *writer) u16(v uint16) { w.p = le.AppendUint16(w.p, v) }
func (w *writer) u32(v uint32) { w.p = le.AppendUint32(w.p, v) }
func (w *writer) u64(v uint64) { w.p = le.AppendUint64(w.p, v) }

func (w *writer) str(s string) {
	w.u16(uint16(len(s)))
	w.p = append(w.p, s...)
}

// A qid is the server's name for a file.
type qid struct {
	kind    uint8
	version uint32
	path    uint64
}

func (w *writer) qid(q qid) {
	w.u8(q.kind)
	w.u32(q.version)
	w.u64(q.path)
}

// grow returns n more bytes of the answer, to be filled by the caller.
func (w *writer) grow(n int) []byte {
	at := len(w.p)
	if cap(w.p)-at < n {
		w.p = append(make([]byte, 0, at+n), w.p...)
	}
	w.p = w.p[:at+n]
	return w.p[at:]
}

// reset begins an answer again: room for the header only.
func (w *writer) reset() { w.p = append(w.p[:0], make([]byte, headerSize)...) }

// finish fills the header in.
func (w *writer) finish(kind uint8, tag uint16) {
	le.PutUint32(w.p, uint32(len(w.p)))
	w.p[4] = kind
	le.PutUint16(w.p[5:], tag)
}
