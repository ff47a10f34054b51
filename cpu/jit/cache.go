//go:build amd64 && linux

package jit

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"

	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

const (
	// codeSize bounds the translated code of a machine, in bytes. When it is used up, all is dropped.
	codeSize = 48 << 20
	// unitRoom is more than the code of one unit takes.
	unitRoom = 64 << 10
	// maxSites is the number of sites that a unit can have, by the form of their numbers.
	maxSites = 256
	maxUnits = 1 << 24
)

// translator makes and keeps units. It implements interp.Translator.
type translator struct {
	mu    sync.Mutex
	mem   *codeMemory
	start int // of the first unit
	stubs stubs
	epoch uint32
	// units holds all units of the epoch by their number, which starts at 1. Site reads it without the lock.
	units    unitList
	find     map[unitKey]*record
	plain    map[unitKey]bool // units to be made without groups
	pages    map[uint64][]*record
	build    builder
	features x86.FeatureSet // of the host
	dropped  atomic.Uint64  // units killed
}

type unitKey struct {
	phys uint64
	key  uint8
}

// record is what the translator knows of a unit.
type record struct {
	*interp.Unit
	entries
	id       uint32
	incoming []uint32 // sites that are linked to it
}

// checkHost reports what keeps the host from executing translated code.
func checkHost() error {
	if f := hostFeatures(); !f.Has(x86.FeatAVX2) || !f.Has(x86.FeatBMI2) {
		return errors.New("jit: the host's processor has no AVX2 and BMI2, which translated code uses: use --accel=interp")
	}
	return nil
}

func newTranslator() (*translator, error) {
	if err := checkHost(); err != nil {
		return nil, err
	}
	m, err := newCodeMemory(codeSize)
	if err != nil {
		return nil, err
	}
	t := &translator{mem: m, features: hostFeatures()}
	a := asm{base: m.base()}
	t.stubs = makeStubs(&a)
	m.used = copy(m.w, a.b)
	t.start = m.used
	t.reset()
	return t, nil
}

func (t *translator) close() { t.mem.close() }

func (t *translator) reset() {
	t.mem.truncate(t.start)
	t.units.reset()
	t.find, t.plain = map[unitKey]*record{}, map[unitKey]bool{}
	t.pages = map[uint64][]*record{}
}

// Full implements interp.Translator.
func (t *translator) Full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mem.used+unitRoom > len(t.mem.w) || t.units.len() >= maxUnits-1
}

// Recycle implements interp.Translator.
func (t *translator) Recycle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch++
	t.reset()
}

// Translate implements interp.Translator.
func (t *translator) Translate(r *interp.Request) *interp.Unit {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := unitKey{r.Phys, r.Key}
	if old := t.find[k]; old != nil {
		if old.serves(r) {
			return old.Unit
		}
		t.kill(old)
	}
	if t.mem.used+unitRoom > len(t.mem.w) {
		return nil
	}
	r.Plain = t.plain[k]
	id := uint32(t.units.len() + 1)
	u, entries, code := t.build.unit(t, r, id)
	if u == nil {
		return nil
	}
	t.mem.append(code)
	u.Epoch = t.epoch
	n := &record{Unit: u, id: id, entries: entries}
	t.units.add(n)
	t.find[k] = n
	page := r.Phys &^ 0xfff
	t.pages[page] = append(t.pages[page], n)
	if r.Phys2 != 0 {
		t.pages[r.Phys2] = append(t.pages[r.Phys2], n)
	}
	return u
}

// Site implements interp.Translator.
func (t *translator) Site(id uint32) (*interp.Unit, *interp.Site) {
	n := t.units.get(id >> 8)
	if n == nil || int(id&0xff) >= len(n.Sites) {
		return nil, nil
	}
	return n.Unit, &n.Sites[id&0xff]
}

// Link implements interp.Translator.
func (t *translator) Link(id uint32, to *interp.Unit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.find[unitKey{to.Phys, to.Key}]
	from := t.units.get(id >> 8)
	if n == nil || n.Unit != to || from == nil || from.Dead.Load() {
		return
	}
	s := &from.Sites[id&0xff]
	e := n.start
	switch {
	case s.HostFlags && s.Back:
		e = n.host
	case s.HostFlags:
		e = n.hostAhead
	case !s.Back:
		e = n.memAhead
	}
	t.mem.patch32(s.Patch, uint32(e-s.Patch-4))
	n.incoming = append(n.incoming, id)
}

// Drop implements interp.Translator.
func (t *translator) Drop(page, lines uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.pages[page]
	if list == nil {
		return
	}
	kept := list[:0]
	for _, n := range list {
		switch {
		case n.Dead.Load(): // killed through its other page, or simplified
		case lines&linesOf(n, page) == 0:
			kept = append(kept, n)
		default:
			t.kill(n)
			delete(t.find, unitKey{n.Phys, n.Key})
		}
	}
	clear(list[len(kept):])
	if len(kept) == 0 {
		delete(t.pages, page)
	} else {
		t.pages[page] = kept
	}
}

// Dropped implements interp.Translator.
func (t *translator) Dropped() uint64 { return t.dropped.Load() }

// Simplify implements interp.Translator.
func (t *translator) Simplify(u *interp.Unit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := unitKey{u.Phys, u.Key}
	if n := t.find[k]; n != nil && n.Unit == u {
		t.kill(n)
		delete(t.find, k)
		t.plain[k] = true
	}
}

// serves reports whether the unit is a translation of what r asks for. Its runs, which may be others than those of r, must be what memory has.
func (n *record) serves(r *interp.Request) bool {
	if n.Phys2 != r.Phys2 {
		return false
	}
	if n.Phys2 != 0 {
		return bytes.Equal(n.Runs[0].Code, r.Runs[0].Code)
	}
	for _, run := range n.Runs {
		end := int(run.Start) + len(run.Code)
		if end > len(r.Page) || !bytes.Equal(run.Code, r.Page[run.Start:end]) {
			return false
		}
	}
	return true
}

// linesOf returns the 64-byte lines of a page in which n has bytes.
func linesOf(n *record, page uint64) (lines uint64) {
	for _, r := range n.Runs {
		first, last := uint64(r.Start), uint64(r.Start)+uint64(len(r.Code))-1
		switch {
		case n.Phys&^0xfff != page:
			first, last = 0, last-0x1000
		case last > 0xfff:
			last = 0xfff
		}
		lines |= ^uint64(0) << (first >> 6) & (^uint64(0) >> (63 - last>>6))
	}
	return lines
}

// kill makes sure that no unit goes on in n.
func (t *translator) kill(n *record) {
	n.Dead.Store(true)
	t.dropped.Add(1)
	for _, id := range n.incoming {
		if from := t.units.get(id >> 8); from != nil {
			s := &from.Sites[id&0xff]
			t.mem.patch32(s.Patch, uint32(s.Resume-s.Patch-4))
		}
	}
	n.incoming = nil
}
