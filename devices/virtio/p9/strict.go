package p9

import (
	"fmt"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

// What a driver must not do: rules of the pages of section 5 of the Plan 9 manual, and of 9P2000.L for its messages.

// violate reports what the driver did against the protocol.
func (d *Device) violate(m *message, clause, format string, a ...any) {
	p := d.Function().Probe()
	if !p.Wants(devices.ClassStrict) {
		return
	}
	name := "message"
	if k := kinds(m.kind); k != nil {
		name = k.name
	}
	p.Violation(devices.Violation{Clause: "9P2000, " + clause, Text: name + ": " + fmt.Sprintf(format, a...), Queue: 0})
}

// understand parses a message of the length that the chain has.
func (d *Device) understand(p []byte) (m message, known, bad bool) {
	m = message{kind: p[4], tag: le.Uint16(p[5:])}
	size := uint64(le.Uint32(p))
	if size < headerSize || size > uint64(len(p)) {
		d.violate(&m, "intro(5)", "size is %d in a buffer of %d bytes", size, len(p))
		return m, kinds(m.kind) != nil, true
	}
	m, known, bad = parse(p[:size])
	switch {
	case !known:
		d.violate(&m, "intro(5)", "type %d does not exist", m.kind)
	case m.wrong != "":
		d.violate(&m, m.clause, "%s", m.wrong)
	case bad:
		d.violate(&m, "intro(5)", "the fields do not fill a message of %d bytes", size)
	}
	return m, known, bad
}

// told counts what requests claim that were foreseen and are not answered.
type told map[claim]int

// A claim is what a request does to a tag or a fid.
type claim struct {
	what claimKind
	id   uint32
}

type claimKind uint8

const (
	claimTag  claimKind = iota // the tag is its own
	claimNew                   // it makes a fid
	claimOpen                  // it opens the file of a fid
	claimGone                  // it ends a fid
)

// maxTold bounds what is kept; a driver that changes requests that wait to be taken would have it grow.
const maxTold = 1 << 18

// claims are what a message claims.
func (m *message) claims() []claim {
	l := []claim{{claimTag, uint32(m.tag)}}
	switch m.kind {
	case tAttach:
		l = append(l, claim{claimNew, m.fid})
	case tWalk, tXattrwalk:
		if m.newFid != m.fid {
			l = append(l, claim{claimNew, m.newFid})
		}
	case tLopen, tLcreate:
		l = append(l, claim{claimOpen, m.fid})
	case tClunk, tRemove:
		l = append(l, claim{claimGone, m.fid})
	}
	return l
}

// enter notes a message.
func (t told) enter(m *message) {
	if len(t) < maxTold {
		for _, c := range m.claims() {
			t[c]++
		}
	}
}

// settle forgets a message: it is about to be answered, or never will be.
func (t told) settle(m *message) {
	for _, c := range m.claims() {
		if t[c]--; t[c] <= 0 {
			delete(t, c)
		}
	}
}

// Foresee implements virtio.Foreseer. A driver uses a fid and a tag only when it has the answer that makes them possible: of requests
// that are not answered it counts what they claim, not what they do.
func (d *Device) Foresee(_ int, c *virtio.Chain) {
	size, room := virtio.Total(c.Out), virtio.Total(c.In)
	if size < headerSize || size > maxMessage || room < errorSize {
		d.Violation(0, "2.1.2", "%v: message of %d bytes, answer of %d", errNoAnswer, size, room)
		return
	}
	p := make([]byte, size)
	if err := c.Read(0, p); err != nil {
		d.Breach(0, err)
		return
	}
	m, known, bad := d.understand(p)
	d.judge(&m, size, known && !bad)
	d.mu.Lock()
	has := func(what claimKind, id uint32) bool { return d.told[claim{what, id}] != 0 }
	twice := d.busy(m.tag) || has(claimTag, uint32(m.tag))
	gone, taken, open := has(claimGone, m.fid), uint32(noFid), has(claimOpen, m.fid)
	for _, c := range m.claims() {
		if c.what == claimNew && has(claimNew, c.id) {
			taken = c.id
		}
	}
	d.told.enter(&m)
	d.mu.Unlock()
	if twice {
		d.violate(&m, "intro(5)", "tag %d belongs to a request under way", m.tag)
	}
	if !known || bad {
		return
	}
	if need := m.answerSize(); room < need {
		d.violate(&m, "intro(5)", "there is room for %d bytes, but the answer has %d", room, need)
	}
	if !d.inSession(&m) {
		return
	}
	switch {
	case taken != noFid:
		d.violate(&m, "intro(5)", "fid %d is that of a request under way", taken)
	case m.usesFid() && gone:
		d.violate(&m, "intro(5)", "fid %d is ended by a request under way", m.fid)
	case open && (m.kind == tLopen || m.kind == tLcreate):
		d.violate(&m, "open(5)", "fid %d is opened by a request under way", m.fid)
	default:
		d.judgeFids(&m)
	}
}

// Bytes of answers behind their header.
const (
	attrSize   = 153
	statfsSize = 60
)

// answerSize is how long the answer to a message is when it is carried out, as far as that can be known before: at least.
func (m *message) answerSize() uint64 {
	switch m.kind {
	case tVersion:
		return uint64(headerSize + 4 + 2 + len(dialect))
	case tAttach, tSymlink, tMknod, tMkdir:
		return headerSize + qidSize
	case tWalk:
		return headerSize + 2 + qidSize*uint64(len(m.names))
	case tLopen, tLcreate:
		return headerSize + qidSize + 4
	case tGetattr:
		return headerSize + attrSize
	case tStatfs:
		return headerSize + statfsSize
	}
	return errorSize
}

// usesFid tells whether the fid of a message is one that must be in use.
func (m *message) usesFid() bool { return m.kind != tAuth && m.kind != tAttach }

// inSession tells whether a message may be sent now: after Tversion.
func (d *Device) inSession(m *message) bool {
	d.session.mu.Lock()
	msize := d.session.msize
	d.session.mu.Unlock()
	switch {
	case m.kind == tVersion, m.kind == tFlush:
		return false
	case msize == 0:
		d.violate(m, "version(5)", "there was no Tversion")
		return false
	}
	return true
}

// judge reports what is wrong with a message of size bytes by itself; of one that is not whole only the header counts.
func (d *Device) judge(m *message, size uint64, whole bool) {
	if !d.Function().Probe().Wants(devices.ClassStrict) {
		return
	}
	d.session.mu.Lock()
	msize := uint64(d.session.msize)
	d.session.mu.Unlock()
	switch {
	case m.kind == tVersion && m.tag != noTag:
		d.violate(m, "version(5)", "the tag is %d, not NOTAG", m.tag)
	case m.kind != tVersion && m.tag == noTag:
		d.violate(m, "version(5)", "the tag is NOTAG, which is for Tversion")
	}
	if m.kind != tVersion && msize != 0 && size > msize {
		d.violate(m, "version(5)", "a message of %d bytes, and msize is %d", size, msize)
	}
	if !whole {
		return
	}
	switch m.kind {
	case tVersion:
		if m.count < minMessage {
			d.violate(m, "version(5)", "msize is %d: at least %d are needed", m.count, minMessage)
		}
	case tAttach:
		if m.newFid != noFid {
			d.violate(m, "attach(5)", "afid is %d, and there was no Tauth: must be NOFID", m.newFid)
		}
		if m.fid == noFid {
			d.violate(m, "attach(5)", "fid is NOFID")
		}
	case tWalk:
		if m.newFid == noFid {
			d.violate(m, "walk(5)", "newfid is NOFID")
		}
		for _, name := range m.names {
			if name != ".." {
				d.judgeName(m, name)
			}
		}
	case tFlush:
		if m.oldTag == m.tag {
			d.violate(m, "flush(5)", "oldtag %d is the tag of the message itself", m.oldTag)
		}
	case tRead, tReaddir:
		if uint64(m.count)+readHeader > msize && msize != 0 {
			d.violate(m, "read(5)", "count is %d, and an answer has room for %d: msize is %d", m.count, max(int64(msize)-readHeader, 0), msize)
		}
	case tLock, tGetlock:
		if m.lock > lockUnlock {
			d.violate(m, "9P2000.L, lock", "type is %d: the types are 0 to %d", m.lock, lockUnlock)
		}
		if m.kind == tLock && m.flags&^lockFlags != 0 {
			d.violate(m, "9P2000.L, lock", "flags are %#x: only %#x are defined", m.flags, lockFlags)
		}
	case tRenameat:
		d.judgeName(m, m.name)
		d.judgeName(m, m.name2)
	case tLcreate, tSymlink, tMknod, tMkdir, tLink, tRename:
		d.judgeName(m, m.name)
	case tUnlinkat:
		d.judgeName(m, m.name)
		if m.flags&^unlinkDir != 0 {
			d.violate(m, "9P2000.L, unlinkat", "flags are %#x: only %#x is defined", m.flags, unlinkDir)
		}
	case tSetattr:
		if m.set.valid&^setAll != 0 {
			d.violate(m, "9P2000.L, setattr", "valid has the unknown bits %#x", m.set.valid&^setAll)
		}
	}
}

// judgeName reports what cannot be the name of a file. One that is too long is up to the server.
func (d *Device) judgeName(m *message, name string) {
	if legal(name) == eINVAL {
		d.violate(m, "intro(5)", "%q is not the name of a file", name)
	}
}

// judgeFids reports fids that are not what the message takes them for.
func (d *Device) judgeFids(m *message) {
	switch m.kind {
	case tAuth:
		return
	case tAttach:
		d.mustBeFree(m, m.fid, "attach(5)", "fid")
		return
	case tRename, tRenameat, tLink:
		if f := d.mustBe(m, m.newFid); f != nil {
			d.session.put(f)
		}
	case tWalk:
		if m.newFid != m.fid {
			d.mustBeFree(m, m.newFid, "walk(5)", "newfid")
		}
	case tXattrwalk:
		d.mustBeFree(m, m.newFid, "9P2000.L, xattrwalk", "newfid")
	}
	f := d.mustBe(m, m.fid)
	if f == nil {
		return
	}
	defer d.session.put(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	open := f.file >= 0
	switch m.kind {
	case tWalk:
		if open && m.newFid == m.fid {
			d.violate(m, "walk(5)", "fid %d is open: it cannot be moved", m.fid)
		}
	case tLopen, tLcreate:
		if open {
			d.violate(m, "open(5)", "fid %d is open already", m.fid)
		}
	case tRead, tWrite, tReaddir, tFsync, tLock, tGetlock:
		if !open {
			d.violate(m, "open(5)", "fid %d is not open", m.fid)
		} else {
			d.judgeOpen(m, f)
		}
	}
}

// mustBe returns a fid that a message needs, to be given back with put, or nil.
func (d *Device) mustBe(m *message, id uint32) *fid {
	f := d.session.get(id)
	if f == nil {
		d.violate(m, "intro(5)", "fid %d is not in use", id)
	}
	return f
}

// mustBeFree reports a fid that is to be new and is not.
func (d *Device) mustBeFree(m *message, id uint32, clause, field string) {
	if f := d.session.get(id); f != nil {
		d.session.put(f)
		d.violate(m, clause, "%s %d is in use", field, id)
	}
}

// judgeOpen reports what an open fid is not open for. The caller holds its mu.
func (d *Device) judgeOpen(m *message, f *fid) {
	folder := f.n != nil && f.n.isDir()
	switch {
	case m.kind == tRead && folder:
		d.violate(m, "9P2000.L, readdir", "fid %d is a folder, which is read with Treaddir", m.fid)
	case m.kind == tReaddir && !folder && f.n != nil:
		d.violate(m, "9P2000.L, readdir", "fid %d is not a folder", m.fid)
	case m.kind == tRead && f.flags&openAccess == openWriteOnly:
		d.violate(m, "read(5)", "fid %d is not open for reading", m.fid)
	case m.kind == tWrite && f.flags&openAccess == 0:
		d.violate(m, "read(5)", "fid %d is not open for writing", m.fid)
	}
}
