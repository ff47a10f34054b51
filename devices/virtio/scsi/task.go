package scsi

import (
	"errors"
	"fmt"

	"dfemu/devices"
	"dfemu/devices/virtio"
	"dfemu/devices/virtio/requests"
)

// A task is a command on its way through the device.
type task struct {
	d    *Device
	req  *requests.Request
	at   address
	id   uint64
	unit *unit // nil where there is none
	cmd  command

	out     uint64 // where in the device-readable part the data begins
	outSize uint64
	in      uint64 // where in the device-writable part the data goes
	inSize  uint64
	sense   uint32 // room for sense data

	running bool // guarded by Device.mu: it cannot be taken back
}

// result is how a command ended.
type result struct {
	response response
	code     uint8  // status of the command, if not GOOD or CHECK CONDITION
	sense    *sense // CHECK CONDITION, or nil
	moved    uint64 // bytes of data
}

func good(n uint64) result     { return result{moved: n} }
func check(s sense) result     { return result{sense: &s} }
func failed(r response) result { return result{response: r} }

// status describes the result for watchers.
func (r result) status() devices.Status {
	switch {
	case r.response != respOK:
		return devices.Status{Code: uint32(r.response), Name: responseNames[r.response]}
	case r.sense != nil:
		s := r.sense
		return devices.Status{Code: uint32(s.Key)<<16 | uint32(s.ASC)<<8 | uint32(s.ASCQ), Name: fmt.Sprintf("CHECK CONDITION %X/%02X/%02X", s.Key, s.ASC, s.ASCQ)}
	}
	return devices.Status{Code: uint32(r.code) << 24, Name: statusNames[r.code]}
}

// parseLUN understands an address of section 5.6.6.1.
func parseLUN(b []byte) (address, bool) {
	if b[0] != 1 || b[2]&0xc0 != 0x40 && b[2] != 0 || b[2]&0x3f != 0 || b[4]|b[5]|b[6]|b[7] != 0 {
		return address{}, false
	}
	return address{b[1], b[3]}, true
}

var errTooSmall = errors.New("the chain is too small for a request and its answer")

// understand makes a task of a chain of a request queue. The header is what comes before the CDB; exists tells whether there is
// such a target.
func (d *Device) understand(q int, c *virtio.Chain) (t *task, header []byte, exists bool, err error) {
	d.mu.Lock()
	cdbSize, senseRoom := d.cdbSize, d.sense
	d.mu.Unlock()
	out, in := virtio.Total(c.Out), virtio.Total(c.In)
	head, answer := uint64(requestHeader+cdbSize), uint64(answerHeader+senseRoom)
	if out < head || in < answer {
		d.Violation(q, "5.6.6.1", "a request of %d bytes with room for %d: at least %d and %d are needed", out, in, head, answer)
		return nil, nil, false, errTooSmall
	}
	b := make([]byte, head)
	if err := c.Read(0, b); err != nil {
		return nil, nil, false, err
	}
	t = &task{d: d, id: le.Uint64(b[8:]), out: head, outSize: out - head, in: answer, inSize: in - answer, sense: senseRoom}
	t.cmd = parse(d.table, b[requestHeader:])
	at, ok := parseLUN(b)
	t.at = at
	d.mu.Lock()
	defer d.mu.Unlock()
	if ok {
		t.unit = d.units[at]
		for a := range d.units {
			exists = exists || a.target == at.target
		}
	}
	return t, b[:requestHeader], exists, nil
}

// underWay tells whether a task has the identifier. The caller holds mu.
func (d *Device) underWay(id uint64) bool {
	for o := range d.tasks {
		if o.id == id {
			return true
		}
	}
	return false
}

// serve handles a chain of a request queue.
func (d *Device) serve(r *requests.Request) {
	c, q := r.Chain, r.Queue
	t, header, exists, err := d.understand(q.Index(), c)
	if err != nil {
		if !errors.Is(err, errTooSmall) {
			q.Broken(err)
		}
		r.Complete(0, result{response: respFailure}.status())
		return
	}
	t.req = r
	d.mu.Lock()
	double := d.underWay(t.id)
	d.take(t.id)
	d.tasks[t] = struct{}{}
	d.mu.Unlock()
	if d.Function().Probe().Wants(devices.ClassStrict) {
		t.judge(q.Index(), c, header, double)
	}
	r.OnAbort, r.KeepHung = func() { d.end(t) }, true
	r.Run(t.command, func() {
		d.mu.Lock()
		t.running = true
		d.mu.Unlock()
		var res result
		switch {
		case !exists:
			res = failed(respBadTarget)
		case t.outSize != 0 && t.inSize != 0:
			res = failed(respFailure)
		default:
			res = t.execute()
		}
		t.complete(res)
	})
}

// command describes the task to watchers.
func (t *task) command() *devices.Command {
	c := &devices.Command{
		Queue: t.req.Queue.Index(), Tag: int(t.req.Chain.ID()), NSID: uint32(t.at.lun)<<8 | uint32(t.at.target),
		Opcode: uint32(t.cmd.cdb[0]), Name: fmt.Sprintf("%02Xh", t.cmd.cdb[0]),
	}
	size := t.unitSize()
	if o := t.cmd.op; o != nil {
		c.Name, c.Write = o.name, o.dir == dirOut
		if o.dir == dirIn {
			c.Bytes = t.inSize
		} else if o.dir == dirOut {
			c.Bytes = t.outSize
		}
		if t.cmd.ranged() {
			c.LBA, c.Blocks = t.cmd.lba, t.cmd.blocks
		}
	}
	f := []devices.FieldValue{
		{Name: "target", Value: uint64(t.at.target)}, {Name: "lun", Value: uint64(t.at.lun)}, {Name: "id", Value: t.id},
		{Name: "cdb1", Value: uint64(t.cmd.cdb[1])}, {Name: "cdb2", Value: uint64(t.cmd.cdb[2])}, {Name: "block_size", Value: size},
	}
	c.Fields = func() []devices.FieldValue { return f }
	return c
}

func (t *task) unitSize() uint64 {
	if t.unit == nil {
		return 0
	}
	return uint64(t.unit.o.BlockSize)
}

// execute carries the command out.
func (t *task) execute() result {
	u, c := t.unit, &t.cmd
	if e := &t.req.Effect; e.Fail {
		return t.fault(e.Status)
	}
	if u == nil {
		switch {
		case c.op == nil:
		case c.code == opInquiry:
			return inquiryNoUnit(t)
		case c.code == opReportLUNs:
			return reportLUNs(t)
		case c.code == opRequestSense:
			return t.give(senseLUN.encode(), c.length)
		}
		return check(senseLUN)
	}
	if c.op == nil {
		if c.known {
			return check(senseField) // no such service action
		}
		return check(senseOpcode)
	}
	if !c.always {
		if s, ok := u.takeAttention(); ok {
			return check(s)
		}
	}
	for i, m := range c.usage {
		// Byte 0 is the code. Bits that mean nothing must be 0 (SPC-4, 4.3.3).
		if i > 0 && c.cdb[i]&^m&^groupNumber(c, i) != 0 {
			return check(senseField)
		}
	}
	if c.changes && u.store.ReadOnly() {
		return check(senseProtected)
	}
	if c.ranged() && !u.inside(c.lba, c.blocks) {
		s := senseRange
		s.Info, s.HasInfo = c.lba, true
		return check(s)
	}
	return c.run(t)
}

// groupNumber are bits of CDBs that are allowed and have no effect: the group number, and the old fields of a unit
// number.
func groupNumber(c *command, i int) byte {
	switch n := len(c.usage); {
	case i == 1 && n == 6:
		return 0xe0
	case n == 10 && i == 6 || n == 12 && i == 10 || n == 16 && i == 14:
		return 0x3f
	}
	return 0
}

// fault is how a command ends that a fault lets fail: with the sense key in bits 16 to 19 of the status, the additional code
// and its qualifier below; or without sense data and with the status in bits 24 to 31, as 18h for RESERVATION CONFLICT.
func (t *task) fault(status uint32) result {
	switch {
	case status>>24 != 0:
		return result{code: uint8(status >> 24)}
	case status != 0:
		return check(sense{Key: uint8(status>>16) & 0xf, ASC: uint8(status >> 8), ASCQ: uint8(status)})
	case t.cmd.op != nil && t.cmd.ranged():
		s := senseReadError
		if t.cmd.changes {
			s = senseWriteError
		}
		s.Info, s.HasInfo = t.cmd.lba, true
		return check(s)
	}
	return check(senseTargetFailed)
}

// give answers with data, cut to the allocation length.
func (t *task) give(p []byte, alloc uint64) result {
	p = p[:min(uint64(len(p)), alloc)]
	if uint64(len(p)) > t.inSize {
		return failed(respOverrun)
	}
	p = p[:t.req.Limit(len(p))]
	t.req.Flip(p)
	if err := t.req.Chain.Write(t.in, p); err != nil {
		return failed(respFailure)
	}
	return good(uint64(len(p)))
}

// list takes the n bytes of data that the guest has for the command.
func (t *task) list(n uint64) ([]byte, *result) {
	if n > t.outSize {
		r := failed(respOverrun)
		return nil, &r
	}
	p := make([]byte, n)
	if err := t.req.Chain.Read(t.out, p); err != nil {
		r := failed(respFailure)
		return nil, &r
	}
	t.req.Flip(p)
	return p, nil
}

// complete answers the request and forgets the task.
func (t *task) complete(r result) {
	var b [answerHeader + maxSense]byte
	room := t.inSize
	if t.cmd.op != nil && t.cmd.dir == dirOut {
		room = t.outSize
	}
	b[10] = r.code
	if r.sense != nil {
		s := r.sense.encode()
		n := copy(b[answerHeader:answerHeader+t.sense], s)
		le.PutUint32(b[0:], uint32(n))
		b[10] = statusCheck
	}
	le.PutUint32(b[4:], uint32(min(room-min(r.moved, room), 1<<32-1)))
	b[11] = byte(r.response)
	written := uint64(answerHeader + t.sense)
	if err := t.req.Chain.Write(0, b[:written]); err != nil {
		t.req.Queue.Broken(err)
	}
	if t.cmd.op != nil && t.cmd.dir == dirIn {
		written += r.moved
	}
	// The task is over before the driver can know it and use the id again.
	t.d.end(t)
	t.req.Complete(uint32(min(written, 1<<32-1)), r.status())
}

// end forgets a task.
func (d *Device) end(t *task) {
	d.mu.Lock()
	delete(d.tasks, t)
	d.changed.Broadcast()
	d.mu.Unlock()
}

// abort ends tasks: those that have not begun with a response, the others as they are about to. The caller holds mu, which is
// released meanwhile. It returns how many there were.
func (d *Device) abort(which func(*task) bool, r response) int {
	l := map[*task]bool{}
	for t := range d.tasks {
		if which(t) {
			l[t] = true
		}
	}
	n := len(l)
	for t := range l {
		if t.running {
			continue
		}
		d.mu.Unlock()
		taken := t.req.Hasten()
		if taken {
			t.complete(failed(r))
		}
		d.mu.Lock()
		if taken {
			delete(l, t)
		}
	}
	for t := range l {
		for {
			if _, there := d.tasks[t]; !there {
				break
			}
			d.changed.Wait()
		}
	}
	return n
}

// control handles a chain of the control queue (section 5.6.6.2).
func (d *Device) control(r *requests.Request) {
	c := r.Chain
	out, in := virtio.Total(c.Out), virtio.Total(c.In)
	var b [tmfSize]byte
	n := min(out, tmfSize)
	if err := c.Read(0, b[:n]); err != nil {
		r.Queue.Broken(err)
		r.Complete(0, result{response: respFailure}.status())
		return
	}
	kind := le.Uint32(b[:])
	if !d.checkControl(b[:], out, in) {
		r.Complete(0, result{response: respFailure}.status())
		return
	}
	subtype := le.Uint32(b[4:])
	r.Run(func() *devices.Command {
		name := []string{"TMF", "AN QUERY", "AN SUBSCRIBE"}[kind]
		if kind == ctrlTMF && int(subtype) < len(tmfNames) {
			name = tmfNames[subtype]
		}
		return &devices.Command{Queue: queueControl, Tag: int(c.ID()), Opcode: kind<<8 | subtype&0xff, Name: name, Admin: true, Write: true,
			Fields: func() []devices.FieldValue {
				return []devices.FieldValue{{Name: "target", Value: uint64(b[9])}, {Name: "lun", Value: uint64(b[11])}, {Name: "id", Value: le.Uint64(b[16:])}}
			}}
	}, func() {
		answer := []byte{byte(respFailure)}
		switch {
		case r.Effect.Fail:
			if r.Effect.Status != 0 {
				answer[0] = byte(r.Effect.Status)
			}
		case kind == ctrlTMF:
			answer[0] = byte(d.manage(subtype, b[8:16], le.Uint64(b[16:])))
		default:
			answer[0] = byte(respOK)
		}
		res := response(answer[0])
		if kind != ctrlTMF {
			// No asynchronous notifications exist for disks: event_actual is 0.
			answer = []byte{0, 0, 0, 0, answer[0]}
		}
		if err := r.Chain.Write(0, answer); err != nil {
			r.Queue.Broken(err)
		}
		r.Complete(uint32(len(answer)), devices.Status{Code: uint32(res), Name: responseNames[res]})
	})
}

// manage carries a task management function out.
func (d *Device) manage(kind uint32, lun []byte, id uint64) response {
	at, ok := parseLUN(lun)
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.units[at]
	exists := false
	for a := range d.units {
		exists = exists || a.target == at.target
	}
	one := func(t *task) bool { return t.at == at && t.id == id }
	all := func(t *task) bool { return t.at == at }
	switch {
	case !ok || !exists:
		return respBadTarget
	case kind == tmfNexusReset:
		for a, u := range d.units {
			if a.target == at.target {
				d.abort(func(t *task) bool { return t.unit == u }, respReset)
				u.reset(senseDeviceReset)
			}
		}
		return respDone
	case u == nil:
		return respWrongLUN
	}
	count := func(which func(*task) bool) response {
		for t := range d.tasks {
			if which(t) {
				return respDone // "function succeeded": it is there
			}
		}
		return respOK // "function complete": it is not
	}
	switch kind {
	case tmfAbortTask:
		d.abort(one, respAborted)
	case tmfAbortTaskSet, tmfClearTaskSet:
		// There is one initiator: both are the same.
		d.abort(all, respAborted)
	case tmfLUNReset:
		d.abort(all, respReset)
		u.reset(senseDeviceReset)
	case tmfQueryTask:
		return count(one)
	case tmfQueryTaskSet:
		return count(all)
	default: // CLEAR ACA: NACA is not supported
		return respRejected
	}
	return respOK
}
