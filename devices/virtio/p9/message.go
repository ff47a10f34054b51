package p9

import (
	"fmt"

	"dfemu/devices"
)

// A message is a T-message, understood: its fields have the right number and lengths, but nothing is known of their
// values.
type message struct {
	kind uint8
	tag  uint16

	fid, newFid uint32 // fid, dfid, olddirfid; newfid, dfid, newdirfid, afid
	name, name2 string // name, oldname, version, uname; newname, symtgt, aname
	names       []string
	offset      uint64 // offset, start, request mask
	length      uint64 // of a lock; of an attribute
	count       uint32
	flags       uint32
	mode        uint32
	gid         uint32
	lock        uint8
	proc        uint32
	set         setattr
	data        []byte
	oldTag      uint16

	wrong, clause string // what the fields say that cannot be, and where that is specified
}

// setattr is the body of Tsetattr.
type setattr struct {
	valid, mode, uid, gid                uint32
	size                                 uint64
	atimeSec, atimeNS, mtimeSec, mtimeNS uint64
}

// kindInfo says what a type of message is called and what is in it.
type kindInfo struct {
	name   string
	parse  func(m *message, r *reader)
	writes bool // refused on a read-only share
}

// kinds is the table of messages.
func kinds(kind uint8) *kindInfo {
	if int(kind) < len(kindTable) && kindTable[kind].parse != nil {
		return &kindTable[kind]
	}
	return nil
}

var kindTable = [...]kindInfo{
	tStatfs:   {"Tstatfs", func(m *message, r *reader) { m.fid = r.u32() }, false},
	tLopen:    {"Tlopen", func(m *message, r *reader) { m.fid, m.flags = r.u32(), r.u32() }, false},
	tLcreate:  {"Tlcreate", parseLcreate, true},
	tSymlink:  {"Tsymlink", parseSymlink, true},
	tMknod:    {"Tmknod", parseMknod, true},
	tRename:   {"Trename", func(m *message, r *reader) { m.fid, m.newFid, m.name = r.u32(), r.u32(), r.str() }, true},
	tReadlink: {"Treadlink", func(m *message, r *reader) { m.fid = r.u32() }, false},
	tGetattr:  {"Tgetattr", func(m *message, r *reader) { m.fid, m.offset = r.u32(), r.u64() }, false},
	tSetattr:  {"Tsetattr", parseSetattr, true},
	tXattrwalk: {"Txattrwalk", func(m *message, r *reader) {
		m.fid, m.newFid, m.name = r.u32(), r.u32(), r.str()
	}, false},
	tXattrcreate: {"Txattrcreate", func(m *message, r *reader) {
		m.fid, m.name, m.length, m.flags = r.u32(), r.str(), r.u64(), r.u32()
	}, true},
	tReaddir: {"Treaddir", parseRead, false},
	tFsync:   {"Tfsync", parseFsync, false},
	tLock:    {"Tlock", parseLock, false},
	tGetlock: {"Tgetlock", parseGetlock, false},
	tLink:    {"Tlink", func(m *message, r *reader) { m.newFid, m.fid, m.name = r.u32(), r.u32(), r.str() }, true},
	tMkdir: {"Tmkdir", func(m *message, r *reader) {
		m.fid, m.name, m.mode, m.gid = r.u32(), r.str(), r.u32(), r.u32()
	}, true},
	tRenameat: {"Trenameat", func(m *message, r *reader) {
		m.fid, m.name, m.newFid, m.name2 = r.u32(), r.str(), r.u32(), r.str()
	}, true},
	tUnlinkat: {"Tunlinkat", func(m *message, r *reader) { m.fid, m.name, m.flags = r.u32(), r.str(), r.u32() }, true},
	tVersion:  {"Tversion", func(m *message, r *reader) { m.count, m.name = r.u32(), r.str() }, false},
	tAuth: {"Tauth", func(m *message, r *reader) {
		m.newFid, m.name, m.name2, m.gid = r.u32(), r.str(), r.str(), r.u32()
	}, false},
	tAttach: {"Tattach", func(m *message, r *reader) {
		m.fid, m.newFid, m.name, m.name2, m.gid = r.u32(), r.u32(), r.str(), r.str(), r.u32()
	}, false},
	tFlush:  {"Tflush", func(m *message, r *reader) { m.oldTag = r.u16() }, false},
	tWalk:   {"Twalk", parseWalk, false},
	tRead:   {"Tread", parseRead, false},
	tWrite:  {"Twrite", parseWrite, true},
	tClunk:  {"Tclunk", func(m *message, r *reader) { m.fid = r.u32() }, false},
	tRemove: {"Tremove", func(m *message, r *reader) { m.fid = r.u32() }, true},
}

func parseLcreate(m *message, r *reader) {
	m.fid, m.name, m.flags, m.mode, m.gid = r.u32(), r.str(), r.u32(), r.u32(), r.u32()
}

func parseSymlink(m *message, r *reader) {
	m.fid, m.name, m.name2, m.gid = r.u32(), r.str(), r.str(), r.u32()
}

func parseMknod(m *message, r *reader) {
	m.fid, m.name, m.mode = r.u32(), r.str(), r.u32()
	r.u64() // major and minor number
	m.gid = r.u32()
}

func parseSetattr(m *message, r *reader) {
	m.fid = r.u32()
	s := &m.set
	s.valid, s.mode, s.uid, s.gid, s.size = r.u32(), r.u32(), r.u32(), r.u32(), r.u64()
	s.atimeSec, s.atimeNS, s.mtimeSec, s.mtimeNS = r.u64(), r.u64(), r.u64(), r.u64()
}

func parseRead(m *message, r *reader) { m.fid, m.offset, m.count = r.u32(), r.u64(), r.u32() }

func parseWrite(m *message, r *reader) {
	parseRead(m, r)
	if !r.bad && uint64(m.count) != uint64(len(r.p)) {
		m.wrong, m.clause = fmt.Sprintf("count is %d, and there are %d bytes of data", m.count, len(r.p)), "read(5)"
	}
	if uint64(m.count) > uint64(len(r.p)) {
		r.bad = true
		return
	}
	m.data = r.take(int(m.count))
}

// parseFsync takes messages of old drivers too, which say nothing of datasync.
func parseFsync(m *message, r *reader) {
	if m.fid = r.u32(); len(r.p) != 0 {
		m.flags = r.u32()
	}
}

func parseLock(m *message, r *reader) {
	m.fid, m.lock, m.flags, m.offset, m.length = r.u32(), r.u8(), r.u32(), r.u64(), r.u64()
	m.proc, m.name = r.u32(), r.str()
}

func parseGetlock(m *message, r *reader) {
	m.fid, m.lock, m.offset, m.length, m.proc, m.name = r.u32(), r.u8(), r.u64(), r.u64(), r.u32(), r.str()
}

func parseWalk(m *message, r *reader) {
	m.fid, m.newFid = r.u32(), r.u32()
	n := int(r.u16())
	if n > maxWalk {
		m.wrong, m.clause = fmt.Sprintf("nwname is %d: at most %d are possible", n, maxWalk), "walk(5)"
		r.bad = true
		return
	}
	for range n {
		m.names = append(m.names, r.str())
	}
}

// parse understands a message whose header says its type and tag. known is false for a type that does not exist, bad true for
// one whose fields do not fill it exactly.
func parse(p []byte) (m message, known, bad bool) {
	m.kind, m.tag = p[4], le.Uint16(p[5:])
	k := kinds(m.kind)
	if k == nil {
		return m, false, false
	}
	r := reader{p: p[headerSize:]}
	k.parse(&m, &r)
	return m, true, r.bad || len(r.p) != 0
}

// command describes a message to watchers.
func (m *message) command(queue, tag int) *devices.Command {
	c := &devices.Command{Queue: queue, Tag: tag, NSID: m.fid, Opcode: uint32(m.kind), Name: "?"}
	if k := kinds(m.kind); k != nil {
		c.Name, c.Write = k.name, k.writes
	}
	if m.kind == tRead || m.kind == tWrite || m.kind == tReaddir {
		c.Bytes = uint64(m.count)
	}
	f := *m
	f.data = nil
	c.Fields = func() []devices.FieldValue { return f.fields() }
	return c
}

func (m *message) fields() []devices.FieldValue {
	l := []devices.FieldValue{{Name: "tag", Value: uint64(m.tag)}, {Name: "fid", Value: uint64(m.fid)}}
	add := func(name string, v uint64) { l = append(l, devices.FieldValue{Name: name, Value: v}) }
	switch m.kind {
	case tVersion:
		add("msize", uint64(m.count))
	case tFlush:
		add("oldtag", uint64(m.oldTag))
	case tWalk:
		add("newfid", uint64(m.newFid))
		add("nwname", uint64(len(m.names)))
	case tRead, tWrite, tReaddir:
		add("offset", m.offset)
		add("count", uint64(m.count))
	case tLopen, tUnlinkat, tFsync:
		add("flags", uint64(m.flags))
	case tLcreate:
		add("flags", uint64(m.flags))
		add("mode", uint64(m.mode))
	case tMkdir, tMknod:
		add("mode", uint64(m.mode))
	case tGetattr:
		add("request_mask", m.offset)
	case tSetattr:
		add("valid", uint64(m.set.valid))
		add("mode", uint64(m.set.mode))
		add("size", m.set.size)
	case tRename, tRenameat, tLink, tXattrwalk:
		add("newfid", uint64(m.newFid))
	case tLock, tGetlock:
		add("type", uint64(m.lock))
		add("start", m.offset)
		add("length", m.length)
	}
	return l
}
