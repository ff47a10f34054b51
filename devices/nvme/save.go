package nvme

import (
	"encoding/json"
	"fmt"

	"dfemu/devices"
)

const saveVersion = 1

// saved is a controller's state. Commands that were taken and not executed are in
// it as they were read from memory.
type saved struct {
	Version          int
	Function         []byte
	CC, CSTS, Mask   uint32
	AQA              uint32
	ASQ, ACQ, CMBMSC uint64
	CMB              []byte
	Features         features
	Events           events
	Errors           []errorEntry
	ErrorCount       uint64
	Test             selfTest
	Telemetry        telemetry
	Changed          changedSpaces
	Notices          notices
	Staged           []byte
	Counters         [8]uint64
	Clean            bool
	Shadow           *[2]uint64 // addresses
	CQs              []savedCQ
	SQs              []savedSQ
	Subsystem        *savedSubsystem
}

type savedCQ struct {
	ID, Vector       uint16
	Size, Head, Tail uint32
	Base             uint64
	IEN              bool
	Phase            uint16
	Backlog, Held    []completion
	Unsent           int
}

type savedSQ struct {
	ID, CQ           uint16
	Size, Head, Tail uint32
	Base             uint64
	Prio             uint8
	Requests         []savedRequest
}

type savedRequest struct {
	Entry   []byte
	Begun   bool // taken: it holds its command identifier
	Parked  parking
	Due     int64
	Faulted bool
	Effect  devices.Effect
	First   *savedRequest
}

// savedSubsystem is what namespaces have besides their content.
type savedSubsystem struct {
	Slots        [firmwareSlots]string
	Active, Next int
	Wipe         [3]uint32
	Spaces       []savedSpace
}

type savedSpace struct {
	ID          uint32
	LBAF        uint8
	Protect     uint32
	Attached    []uint16
	Bad         [][2]uint64
	Type        uint8
	Holder      [16]byte
	Registrants []registrant
	Generation  uint32
	Masks       map[uint16]uint32
	Zones       []zone
	Extensions  map[int][]byte
	Changed     []uint64
}

// encode is the inverse of parseEntry, for what the controller keeps.
func (e *entry) encode() []byte {
	b := make([]byte, sqeSize)
	for i := 2; i < 16; i++ {
		le.PutUint32(b[4*i:], e.dw[i])
	}
	b[0] = e.op
	b[1] = e.fuse | e.psdt<<6 | e.resv<<2
	le.PutUint16(b[2:], e.cid)
	le.PutUint32(b[4:], e.nsid)
	return b
}

func (r *request) save(begun bool) savedRequest {
	s := savedRequest{Entry: r.e.encode(), Begun: begun, Parked: r.parked, Due: r.due, Faulted: r.faulted, Effect: r.effect}
	if r.first != nil {
		f := r.first.save(begun)
		s.First = &f
	}
	return s
}

// SaveState implements devices.Saver. The content of the stores and of guest
// memory is not part of it.
func (d *Device) SaveState() ([]byte, error) {
	fn, err := d.fn.SaveState()
	if err != nil {
		return nil, err
	}
	d.sub.wipe.wg.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.counters
	s := saved{
		Version: saveVersion, Function: fn, CC: d.cc.Load(), CSTS: d.csts.Load(), Mask: d.mask.Load(), AQA: d.aqa, ASQ: d.asq, ACQ: d.acq,
		CMBMSC: d.cmbmsc, CMB: d.mem.cmb, Features: d.feat, Events: d.events, Test: d.test, Telemetry: d.telem, Changed: d.changed,
		Notices: d.notices, Staged: d.staged, Clean: c.cleanShutdown.Load(),
		Counters: [8]uint64{c.readUnits.Load(), c.writtenUnits.Load(), c.reads.Load(), c.writes.Load(), uint64(c.busy.Load()),
			c.powerCycles.Load(), c.mediaErrors.Load(), c.unsafeShutdowns.Load()},
	}
	s.Test.timer = nil
	d.errors.mu.Lock()
	s.Errors, s.ErrorCount = append(s.Errors, d.errors.Entries[:]...), d.errors.Count
	d.errors.mu.Unlock()
	if p := d.shadow.Load(); p != nil {
		s.Shadow = &[2]uint64{p.addr, p.eventAddr}
	}
	for i := range d.cqs {
		if q := d.cqs[i].Load(); q != nil {
			s.CQs = append(s.CQs, q.save())
		}
	}
	for i := range d.sqs {
		if q := d.sqs[i].Load(); q != nil {
			s.SQs = append(s.SQs, q.save())
		}
	}
	if d.owned || d.id == 0 {
		s.Subsystem = d.sub.save()
	}
	return json.Marshal(&s)
}

func (q *compQueue) save() savedCQ {
	q.mu.Lock()
	defer q.mu.Unlock()
	return savedCQ{ID: q.id, Vector: q.vector, Size: q.size, Head: q.head, Tail: q.tail, Base: q.base, IEN: q.ien, Phase: q.phase,
		Backlog: append([]completion(nil), q.backlog...), Held: append([]completion(nil), q.held...), Unsent: q.unsent}
}

func (q *subQueue) save() savedSQ {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := savedSQ{ID: q.id, CQ: q.cq.id, Size: q.size, Head: q.head.Load(), Tail: q.tail.Load(), Base: q.base, Prio: q.prio}
	for _, r := range q.active {
		s.Requests = append(s.Requests, r.save(true))
	}
	for r := q.pending; r != nil; r = r.next {
		s.Requests = append(s.Requests, r.save(false))
	}
	return s
}

func (s *Subsystem) save() *savedSubsystem {
	s.fw.mu.Lock()
	v := &savedSubsystem{Slots: s.fw.Slots, Active: s.fw.Active, Next: s.fw.Next}
	s.fw.mu.Unlock()
	v.Wipe = [3]uint32{uint32(s.wipe.State), s.wipe.Action, uint32(s.wipe.Progress)}
	for _, ns := range s.all() {
		n := savedSpace{ID: ns.id, LBAF: ns.geometry().lbaf, Protect: ns.protect.Load(), Attached: s.attachedTo(ns)}
		for _, b := range ns.bad.Ranges {
			n.Bad = append(n.Bad, [2]uint64{b.slba, b.blocks})
		}
		r := &ns.resv
		n.Type, n.Holder, n.Registrants, n.Generation, n.Masks = r.Type, r.Holder, r.Registrants, r.Generation, r.masks
		if z := ns.zones; z != nil {
			n.Zones, n.Changed, n.Extensions = z.zones, z.changed, map[int][]byte{}
			for i, x := range z.ext {
				n.Extensions[i] = x[:]
			}
		}
		v.Spaces = append(v.Spaces, n)
	}
	return v
}

// RestoreState implements devices.Saver. The controller must be made with the
// options of the one saved, be on a bus, and be paused.
func (d *Device) RestoreState(p []byte) error {
	var s saved
	if err := json.Unmarshal(p, &s); err != nil {
		return fmt.Errorf("restore %s: %w", d.o.Name, err)
	}
	if err := d.checkSaved(&s); err != nil {
		return fmt.Errorf("restore %s: %w", d.o.Name, err)
	}
	if s.Subsystem != nil {
		if err := d.sub.restore(s.Subsystem); err != nil {
			return fmt.Errorf("restore %s: %w", d.o.Name, err)
		}
	}
	d.halt()
	if err := d.fn.RestoreState(s.Function); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cc.Store(s.CC)
	d.csts.Store(s.CSTS)
	d.mask.Store(s.Mask)
	d.aqa, d.asq, d.acq, d.cmbmsc = s.AQA, s.ASQ, s.ACQ, s.CMBMSC
	copy(d.mem.cmb, s.CMB)
	d.placeBuffer()
	d.feat = s.Features
	d.feat.apply(d)
	d.events = s.Events
	timer := d.test.timer
	d.test = s.Test
	d.test.timer = timer
	if d.test.Code != 0 {
		d.test.arm(d)
	}
	d.telem, d.changed, d.notices, d.staged = s.Telemetry, s.Changed, s.Notices, s.Staged
	d.errors.mu.Lock()
	copy(d.errors.Entries[:], s.Errors)
	d.errors.Count = s.ErrorCount
	d.errors.mu.Unlock()
	d.errorCount.Store(s.ErrorCount)
	c := &d.counters
	c.cleanShutdown.Store(s.Clean)
	c.readUnits.Store(s.Counters[0])
	c.writtenUnits.Store(s.Counters[1])
	c.reads.Store(s.Counters[2])
	c.writes.Store(s.Counters[3])
	c.busy.Store(int64(s.Counters[4]))
	c.powerCycles.Store(s.Counters[5])
	c.mediaErrors.Store(s.Counters[6])
	c.unsafeShutdowns.Store(s.Counters[7])
	return d.restoreQueues(&s)
}

// checkSaved reports state that cannot be this controller's. Nothing has been
// changed then.
func (d *Device) checkSaved(s *saved) error {
	if s.Version != saveVersion {
		return fmt.Errorf("its state has version %d, want %d", s.Version, saveVersion)
	}
	if !d.paused.Load() {
		return fmt.Errorf("it is not paused")
	}
	if len(s.CMB) != len(d.mem.cmb) {
		return fmt.Errorf("controller memory buffer of %d bytes, want %d", len(s.CMB), len(d.mem.cmb))
	}
	if len(s.SQs) > 0 && s.CC>>7&0xf > maxMPS {
		return fmt.Errorf("CC is %#x", s.CC)
	}
	cqs := map[uint16]bool{}
	for i := range s.CQs {
		q := &s.CQs[i]
		if int(q.ID) > d.o.Queues || cqs[q.ID] || q.Size < 2 || q.Size > 1<<16 || q.Head >= q.Size || q.Tail >= q.Size || q.Phase > 1 ||
			int(q.Vector) >= d.vectors {
			return fmt.Errorf("completion queue %d of %d entries (head %d, tail %d, vector %d) makes no sense", q.ID, q.Size, q.Head, q.Tail, q.Vector)
		}
		cqs[q.ID] = true
	}
	sqs := map[uint16]bool{}
	for i := range s.SQs {
		q := &s.SQs[i]
		if int(q.ID) > d.o.Queues || sqs[q.ID] || !cqs[q.CQ] || q.Size < 2 || q.Size > 1<<16 || q.Head >= q.Size || q.Tail >= q.Size {
			return fmt.Errorf("submission queue %d of %d entries (head %d, tail %d, completion queue %d) makes no sense", q.ID, q.Size, q.Head, q.Tail, q.CQ)
		}
		sqs[q.ID] = true
		for _, r := range q.Requests {
			if len(r.Entry) != sqeSize || r.First != nil && (len(r.First.Entry) != sqeSize || r.First.First != nil) || r.Parked > parkedDelay {
				return fmt.Errorf("a command of submission queue %d makes no sense", q.ID)
			}
		}
	}
	for i := range s.CQs {
		for _, l := range [][]completion{s.CQs[i].Backlog, s.CQs[i].Held} {
			for _, c := range l {
				if c.SQ >= maxQueues {
					return fmt.Errorf("a completion is for submission queue %d", c.SQ)
				}
			}
		}
	}
	return nil
}

// restoreQueues makes the queues again. The caller holds mu.
func (d *Device) restoreQueues(s *saved) error {
	d.pageSize = 4096 << (s.CC >> 7 & 0xf)
	if s.Shadow != nil {
		r := &request{}
		r.e.prp1, r.e.prp2 = s.Shadow[0], s.Shadow[1]
		if st := d.doorbellBuffer(r); st != success {
			return fmt.Errorf("restore %s: shadow doorbells: %v", d.o.Name, st)
		}
	}
	for i := range s.CQs {
		v := &s.CQs[i]
		q := newCompQueue(d, v.ID, v.Size, v.Base, v.Vector, v.IEN)
		q.head, q.tail, q.phase, q.backlog, q.held, q.unsent = v.Head, v.Tail, v.Phase, v.Backlog, v.Held, v.Unsent
		q.full.Store(int32(len(q.backlog)))
		q.busy.Store(q.head != q.tail)
		d.cqs[v.ID].Store(q)
	}
	for i := range s.SQs {
		v := &s.SQs[i]
		cq := d.cqs[v.CQ].Load()
		cq.refs++
		q := newSubQueue(d, v.ID, v.Size, v.Base, cq)
		q.prio = v.Prio
		q.head.Store(v.Head)
		q.tail.Store(v.Tail)
		q.mu.Lock()
		for i := range v.Requests {
			q.restore(&v.Requests[i])
		}
		for _, r := range q.active {
			if r.parked == parkedEvent {
				d.events.waiting = append(d.events.waiting, r)
			}
		}
		q.mu.Unlock()
		d.sqs[v.ID].Store(q)
	}
	d.updatePin()
	return nil
}

// restore puts a command back. The caller holds mu.
func (q *subQueue) restore(s *savedRequest) {
	make1 := func(s *savedRequest) *request {
		r := q.newRequest()
		r.e = parseEntry((*[sqeSize]byte)(s.Entry))
		r.parked, r.due, r.faulted, r.effect = s.Parked, s.Due, s.Faulted, s.Effect
		if s.Begun {
			q.cids[r.e.cid/64] |= 1 << (r.e.cid % 64)
		}
		return r
	}
	r := make1(s)
	if s.First != nil {
		r.first = make1(s.First)
	}
	if !s.Begun {
		q.append(r)
		return
	}
	r.slot = len(q.active)
	q.active = append(q.active, r)
	if q.id != admin {
		// Looked up again: what was checked once needs its namespace.
		r.ns = q.d.space(r.e.nsid)
		r.io, _ = parseRW(&r.e)
		if r.first != nil {
			r.first.ns = r.ns
			r.first.io, _ = parseRW(&r.first.e)
		}
	}
}

// restore takes over what namespaces had besides their content. All of them must
// be there: the static ones by the options, the others by the pool's table.
func (s *Subsystem) restore(v *savedSubsystem) error {
	if v.Active < 1 || v.Active > firmwareSlots || v.Next < 0 || v.Next > firmwareSlots {
		return fmt.Errorf("firmware slots %d and %d do not exist", v.Active, v.Next)
	}
	for i := range v.Spaces {
		n := &v.Spaces[i]
		ns := s.space(n.ID)
		if ns == nil {
			return fmt.Errorf("namespace %d is not there; start with the same disks", n.ID)
		}
		if int(n.LBAF) >= len(shifts) || ns.zones != nil && len(n.Zones) != len(ns.zones.zones) || n.Type > resvAll {
			return fmt.Errorf("namespace %d is another one", n.ID)
		}
	}
	s.fw.mu.Lock()
	s.fw.Slots, s.fw.Active, s.fw.Next = v.Slots, v.Active, v.Next
	s.fw.mu.Unlock()
	s.wipe.mu.Lock()
	s.wipe.State, s.wipe.Action, s.wipe.Progress = uint8(v.Wipe[0]), v.Wipe[1], uint16(v.Wipe[2])
	s.wipe.mu.Unlock()
	for i := range v.Spaces {
		s.space(v.Spaces[i].ID).restore(&v.Spaces[i])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.controllers {
		if d != nil {
			s.refresh(d)
		}
	}
	return nil
}

func (ns *namespace) restore(n *savedSpace) {
	ns.setFormat(n.LBAF)
	ns.protect.Store(n.Protect)
	ns.sub.mu.Lock()
	ns.attachedIDs = map[uint16]bool{}
	for _, id := range n.Attached {
		ns.attachedIDs[id] = true
	}
	ns.sub.mu.Unlock()
	ns.bad.clear(0, ^uint64(0))
	for _, b := range n.Bad {
		ns.bad.mark(b[0], b[1])
	}
	r := &ns.resv
	r.mu.Lock()
	r.Type, r.Holder, r.Registrants, r.Generation, r.masks = n.Type, n.Holder, n.Registrants, n.Generation, n.Masks
	r.active.Store(r.Type != resvNone)
	r.mu.Unlock()
	z := ns.zones
	if z == nil {
		return
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.zones, z.changed, z.ext = n.Zones, n.Changed, map[int][zoneExtension]byte{}
	z.open, z.active, z.dirty = 0, 0, true
	for i, x := range n.Extensions {
		var e [zoneExtension]byte
		copy(e[:], x)
		z.ext[i] = e
	}
	limit := z.capacity(ns.geometry())
	for i := range z.zones {
		z.zones[i].WP = min(z.zones[i].WP, limit)
		if isOpen(z.zones[i].State) {
			z.open++
		}
		if isActive(z.zones[i].State) {
			z.active++
		}
	}
}
