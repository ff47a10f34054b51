package scsi

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"dfemu/devices"
)

// out sends PERSISTENT RESERVE OUT and returns how it ended: as "GOOD", "CONFLICT" or sense data.
func (r *rig) out(action, kind byte, key, other uint64, flags byte) string {
	r.Helper()
	p := be.AppendUint64(be.AppendUint64(nil, key), other)
	p = append(p, 0, 0, 0, 0, flags, 0, 0, 0)
	return end(r.do([]byte{opPersistentOut, action, kind, 0, 0, 0, 0, 0, byte(len(p)), 0}, p, 0))
}

func end(a answer) string {
	switch {
	case a.resp != respOK:
		return fmt.Sprintf("response %d", a.resp)
	case a.status == statusConflict:
		return "CONFLICT"
	case a.status == statusCheck:
		return a.sense
	}
	return "GOOD"
}

func (r *rig) persistentIn(action byte) []byte {
	r.Helper()
	return r.good([]byte{opPersistentIn, action, 0, 0, 0, 0, 0, 1, 0, 0}, nil, 256)
}

// reserved describes what the unit says of itself: its generation, keys and reservation.
func (r *rig) reserved() string {
	r.Helper()
	keys, res := r.persistentIn(prReadKeys), r.persistentIn(prReadReservation)
	if int(be.Uint32(keys[4:])) != len(keys)-8 || int(be.Uint32(res[4:])) != len(res)-8 || !bytes.Equal(keys[:4], res[:4]) {
		r.Fatalf("keys % x, reservation % x", keys, res)
	}
	s := fmt.Sprintf("%d", be.Uint32(keys))
	for k := keys[8:]; len(k) > 0; k = k[8:] {
		s += fmt.Sprintf(" key %x", be.Uint64(k))
	}
	if len(res) > 8 {
		s += fmt.Sprintf(" type %x of %x", res[21], be.Uint64(res[8:]))
	}
	return s
}

func TestPersistentReservations(t *testing.T) {
	type step struct {
		action, kind byte
		key, other   uint64
		flags        byte
		ends, then   string // how it ends; what is there afterwards
	}
	register := step{prRegister, 0, 0, 0xa, 0, "GOOD", "1 key a"}
	for name, steps := range map[string][]step{
		"register": {
			{prRegister, 0, 5, 0xa, 0, "CONFLICT", "0"},                  // there is no key yet
			{prRegister, 0, 0, 0, 0, "GOOD", "0"},                        // nothing to do
			{prRegister, 0, 0, 0xa, bitSpecIPT, "5/26/00", "0"},          // not for others
			{prRegister, 0, 0, 0xa, bitAllTG, "5/26/00", "0"},            // nor through all ports
			{prRegister, 0xff, 0, 0xa, 0, "GOOD", "1 key a"},             // scope and type are ignored
			{prRegister, 0, 0, 0xb, 0, "CONFLICT", "1 key a"},            // it is registered
			{prRegister, 0, 0xa, 0xb, 0, "GOOD", "2 key b"},              // another key
			{prRegisterIgnore, 0, 0x99, 0xc, 0, "GOOD", "3 key c"},       // whatever the key was
			{prRegister, 0, 0xc, 0, 0, "GOOD", "4"},                      // unregister
			{prRegisterIgnore, 0, 0, 0, 0, "GOOD", "4"},                  // nothing to do
			{prRegisterIgnore, 0, 7, 0xd, bitAPTPL, "GOOD", "5 key d"},   // an unregistered one may say anything
			{prRegisterIgnore, 0, 7, 0, bitAPTPL, "GOOD", "6"},           //
			{0x07, 0, 0, 0xd, 0, "5/24/00", "6"},                         // REGISTER AND MOVE
			{prReserve, typeExclusive, 0xd, 0, 0, "CONFLICT", "6"},       // who is not registered can do nothing
			{prRelease, typeExclusive, 0, 0, 0, "CONFLICT", "6"},         //
			{prClear, 0, 0, 0, 0, "CONFLICT", "6"},                       //
			{prPreempt, typeExclusive, 0, 0xd, 0, "CONFLICT", "6"},       //
			{prPreemptAbort, typeExclusive, 0, 0xd, 0, "CONFLICT", "6"},  //
			{prRegister, 0, 0, 0xe, 0, "GOOD", "7 key e"},                //
			{prReserve, typeExclusive, 0xd, 0, 0, "CONFLICT", "7 key e"}, // the wrong key
		},
		"reserve": {
			register,
			{prReserve, 0x10 | typeExclusive, 0xa, 0, 0, "5/24/00", "1 key a"}, // a scope that does not exist
			{prReserve, 0, 0xa, 0, 0, "5/24/00", "1 key a"},
			{prReserve, 4, 0xa, 0, 0, "5/24/00", "1 key a"},
			{prReserve, 9, 0xa, 0, 0, "5/24/00", "1 key a"},
			{prRelease, typeExclusive, 0xa, 0, 0, "GOOD", "1 key a"}, // none is there
			{prReserve, typeWriteExclusive, 0xa, 0, 0, "GOOD", "1 key a type 1 of a"},
			{prReserve, typeWriteExclusive, 0xa, 0, 0, "GOOD", "1 key a type 1 of a"},
			{prReserve, typeExclusive, 0xa, 0, 0, "CONFLICT", "1 key a type 1 of a"},
			{prRelease, typeExclusive, 0xa, 0, 0, "5/26/04", "1 key a type 1 of a"},
			{prRelease, typeWriteExclusive, 0xb, 0, 0, "CONFLICT", "1 key a type 1 of a"},
			{prRelease, typeWriteExclusive, 0xa, 0, 0, "GOOD", "1 key a"},
			{prReserve, typeExclusiveAll, 0xa, 0, 0, "GOOD", "1 key a type 8 of 0"},
			{prRegister, 0, 0xa, 0xb, 0, "GOOD", "2 key b type 8 of 0"}, // the key changes, the holder does not
			{prRegister, 0, 0xb, 0, 0, "GOOD", "3"},
		},
		"clear": {
			register,
			{prReserve, typeExclusiveReg, 0xa, 0, 0, "GOOD", "1 key a type 6 of a"},
			{prClear, 0, 0xb, 0, 0, "CONFLICT", "1 key a type 6 of a"},
			{prClear, 0, 0xa, 0, 0, "GOOD", "2"},
		},
		"preempt": {
			register,
			{prPreempt, typeExclusive, 0xa, 0, 0, "5/26/00", "1 key a"},
			{prPreempt, typeExclusive, 0xa, 0xb, 0, "CONFLICT", "1 key a"}, // nobody has that key
			{prReserve, typeWriteExclusiveReg, 0xa, 0, 0, "GOOD", "1 key a type 5 of a"},
			{prPreempt, 9, 0xa, 0xa, 0, "5/24/00", "1 key a type 5 of a"},
			{prPreempt, typeExclusive, 0xa, 0xa, 0, "GOOD", "2 key a type 3 of a"}, // another type, in one step
			{prPreemptAbort, typeWriteExclusiveAll, 0xa, 0xa, 0, "GOOD", "3 key a type 7 of 0"},
			{prPreempt, typeExclusive, 0xa, 0, 0, "GOOD", "4 key a type 3 of a"}, // all registrants'
			{prPreempt, typeExclusiveAll, 0xa, 0xa, 0, "GOOD", "5 key a type 8 of 0"},
			{prPreempt, typeExclusiveAll, 0xa, 0xa, 0, "GOOD", "6"}, // the key of all holders: it goes
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.ready()
			for i, s := range steps {
				if got := r.out(s.action, s.kind, s.key, s.other, s.flags); got != s.ends {
					t.Fatalf("step %d: %s, want %s", i, got, s.ends)
				}
				if got := r.reserved(); got != s.then {
					t.Fatalf("step %d: %q, want %q", i, got, s.then)
				}
				r.good(cdb10(opWrite10, 0, 1, 1), make([]byte, 512), 0) // it is nobody else's
			}
		})
	}
}

func TestPersistentReserveData(t *testing.T) {
	r := newRig(t)
	r.ready()
	if p := r.persistentIn(prCapabilities); !bytes.Equal(p, []byte{0, 8, 0x11, 0x80, 0xea, 0x01, 0, 0}) {
		t.Errorf("capabilities % x", p)
	}
	if p := r.persistentIn(prReadFullStatus); !bytes.Equal(p, make([]byte, 8)) {
		t.Errorf("full status % x", p)
	}
	r.out(prRegister, 0, 0, 0x1122334455667788, bitAPTPL)
	r.out(prReserve, typeWriteExclusive, 0x1122334455667788, 0, 0)
	if p := r.persistentIn(prCapabilities); p[3] != 0x81 {
		t.Errorf("capabilities % x", p)
	}
	p := r.persistentIn(prReadFullStatus)
	if len(p) != 56 || be.Uint32(p[4:]) != 48 || be.Uint64(p[8:]) != 0x1122334455667788 || p[20] != 1 || p[21] != typeWriteExclusive ||
		be.Uint16(p[26:]) != 1 || be.Uint32(p[28:]) != 24 || p[32] != transportSAS || p[36]>>4 != 3 {
		t.Errorf("full status % x", p)
	}
	// The allocation length cuts; the length says how much there is.
	if p := r.good([]byte{opPersistentIn, prReadKeys, 0, 0, 0, 0, 0, 0, 10, 0}, nil, 256); len(p) != 10 || be.Uint32(p[4:]) != 8 {
		t.Errorf("% x", p)
	}
	r.bad("5/24/00", []byte{opPersistentIn, 9, 0, 0, 0, 0, 0, 1, 0, 0}, nil, 256)
	for _, n := range []byte{0, 23, 25} {
		r.bad("5/1A/00", []byte{opPersistentOut, prClear, 0, 0, 0, 0, 0, 0, n, 0}, make([]byte, 64), 0)
	}
	if a := r.do([]byte{opPersistentOut, prClear, 0, 0, 0, 0, 0, 0, 24, 0}, make([]byte, 20), 0); a.resp != respOverrun {
		t.Errorf("20 bytes for a list of 24: %+v", a)
	}
	if !r.rec.Has("state unit 0:0: key 0x1122334455667788, reservation of type 1") || !r.rec.Has("command PERSISTENT RESERVE OUT REGISTER") {
		t.Errorf("not traced:\n%s", r.rec.Log())
	}
	// The other unit has its own.
	r.at = address{3, 1}
	r.ready()
	if s := r.reserved(); s != "0" {
		t.Errorf("the other unit has %q", s)
	}
}

// TestOldReservations checks RESERVE and RELEASE, and how they go together with persistent reservations.
func TestOldReservations(t *testing.T) {
	for _, c := range [][2][]byte{
		{{opReserve6, 0, 0, 0, 0, 0}, {opRelease6, 0, 0, 0, 0, 0}},
		{{opReserve10, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {opRelease10, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
	} {
		r := newRig(t)
		r.ready()
		do := func(cdb []byte) string { return end(r.do(cdb, nil, 0)) }
		keys := []byte{opPersistentIn, prReadKeys, 0, 0, 0, 0, 0, 1, 0, 0}
		want := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		want("release of nothing", do(c[1]), "GOOD")
		want("reserve", do(c[0]), "GOOD")
		want("reserve again", do(c[0]), "GOOD")
		want("read", end(r.do(cdb10(opRead10, 0, 1, 1), nil, 512)), "GOOD")
		want("read keys", end(r.do(keys, nil, 256)), "CONFLICT")
		want("register", r.out(prRegister, 0, 0, 1, 0), "CONFLICT")
		want("release", do(c[1]), "GOOD")
		want("register", r.out(prRegister, 0, 0, 1, 0), "GOOD")
		want("reserve with a key", do(c[0]), "CONFLICT")
		want("release with a key", do(c[1]), "CONFLICT")
		want("persistent reserve", r.out(prReserve, typeExclusiveReg, 1, 0, 0), "GOOD")
		want("reserve as the holder", do(c[0]), "GOOD")
		want("release as the holder", do(c[1]), "GOOD")
		want("reserved", r.reserved(), "1 key 1 type 6 of 1")
		want("clear", r.out(prClear, 0, 1, 0, 0), "GOOD")
		want("reserve", do(c[0]), "GOOD")
		r.manage(tmfLUNReset)
		r.bad("6/29/03", []byte{opTestUnitReady, 0, 0, 0, 0, 0}, nil, 0)
		want("after a reset", r.reserved(), "2")
		bad := bytes.Clone(c[0])
		bad[1] = 1 // an extent
		r.bad("5/24/00", bad, nil, 0)
	}
}

// manage has a task management function done to the unit.
func (r *rig) manage(kind uint32) {
	r.Helper()
	b := le.AppendUint32(le.AppendUint32(nil, ctrlTMF), kind)
	b = append(b, 1, r.at.target, 0x40, r.at.lun, 0, 0, 0, 0)
	b = le.AppendUint64(b, 0)
	if a := response(r.ctl.Do([][]byte{b}, 1).In[0][0]); a != respOK && a != respDone {
		r.Fatalf("%d: response %d", kind, a)
	}
}

// TestReservationsStay checks what resets and losses of power leave.
func TestReservationsStay(t *testing.T) {
	for flags, after := range map[byte]string{0: "0", bitAPTPL: "0 key a type 3 of a"} {
		r := newRig(t)
		r.ready()
		r.out(prRegister, 0, 0, 0xa, flags)
		r.out(prReserve, typeExclusive, 0xa, 0, 0)
		r.manage(tmfLUNReset)
		r.manage(tmfNexusReset)
		r.start() // the driver resets the device
		r.do([]byte{opTestUnitReady, 0, 0, 0, 0, 0}, nil, 0)
		if s := r.reserved(); s != "1 key a type 3 of a" {
			t.Errorf("after resets: %q", s)
		}
		check1(t, r.dev.PowerLoss())
		r.d.Enable(true)
		r.dev.mu.Lock()
		v := r.dev.units[r.at].reservations
		r.dev.mu.Unlock()
		got := fmt.Sprint(v.Generation)
		if v.Registered {
			got += fmt.Sprintf(" key %x type %x of %x", v.Key, v.Type, v.Key)
		}
		if got != after {
			t.Errorf("flags %#x: %q after a loss of power, want %q", flags, got, after)
		}
	}
}

// TestPreemptAbort aborts what the preempted nexus has under way.
func TestPreemptAbort(t *testing.T) {
	r := newRig(t)
	r.ready()
	r.out(prRegister, 0, 0, 0xa, 0)
	r.out(prReserve, typeExclusive, 0xa, 0, 0)
	r.rec.Disturb("READ(10)", devices.Effect{Hang: true})
	r.rq.Add([][]byte{r.header(cdb10(opRead10, 0, 1, 1))}, answerHeader+defaultSense, 512)
	r.rq.Kick()
	for hung := false; !hung; runtime.Gosched() {
		r.dev.mu.Lock()
		for o := range r.dev.tasks {
			hung = hung || o.req.Waiting()
		}
		r.dev.mu.Unlock()
	}
	p := be.AppendUint64(be.AppendUint64(nil, 0xa), 0xa)
	r.rq.Add([][]byte{r.header([]byte{opPersistentOut, prPreemptAbort, typeExclusive, 0, 0, 0, 0, 0, 24, 0}), append(p, make([]byte, 8)...)}, answerHeader+defaultSense)
	r.rq.Kick()
	l := r.rq.Wait(2)
	if a, b := r.parse(l[0]), r.parse(l[1]); a.resp != respAborted || end(b) != "GOOD" {
		t.Errorf("%+v, %+v", a, b)
	}
}

func TestReservationsSaved(t *testing.T) {
	r := newRig(t)
	r.ready()
	r.out(prRegister, 0, 0, 0xa, bitAPTPL)
	r.out(prReserve, typeWriteExclusiveAll, 0xa, 0, 0)
	r.dev.Pause()
	r.move(func(state []byte) {
		for _, x := range [][2]string{{`"Type":7`, `"Type":4`}, {`"Reserved":false`, `"Reserved":true`}, {`"Registered":true`, `"Registered":false`}} {
			p := bytes.Replace(state, []byte(x[0]), []byte(x[1]), 1)
			le.PutUint32(p[1:], le.Uint32(p[1:])+uint32(len(p)-len(state)))
			if err := r.dev.RestoreState(p); err == nil || !strings.Contains(err.Error(), "unit 0:0: a reservation of type") {
				t.Errorf("%s: %v", x[1], err)
			}
		}
	})
	if s := r.reserved(); s != "1 key a type 7 of 0" {
		t.Errorf("%q", s)
	}
	if p := r.persistentIn(prCapabilities); p[3] != 0x81 {
		t.Errorf("capabilities % x", p)
	}
}

// TestStatusFault has a command end with a status that has no sense data.
func TestStatusFault(t *testing.T) {
	r := newRig(t)
	r.ready()
	for _, status := range []byte{statusBusy, statusConflict, statusFull} {
		r.rec.Disturb("READ(10)", devices.Effect{Fail: true, Status: uint32(status) << 24})
		if a := r.do(cdb10(opRead10, 0, 1, 1), nil, 512); a.resp != respOK || a.status != status || a.sense != "" || a.residual != 512 {
			t.Errorf("status %#x: %+v", status, a)
		}
		if !r.rec.Has("completion READ(10)", statusNames[status]) {
			t.Errorf("status %#x is not traced", status)
		}
	}
}
