package nvme

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"dfemu/devices"
)

// A Subsystem is an NVM subsystem: namespaces and what controllers share. Its
// methods may be called from any goroutine.
type Subsystem struct {
	o SubsystemOptions

	mu          sync.Mutex
	spaces      []*namespace // by identifier; nil where there is none
	controllers []*Device    // by identifier
	pool        *pool        // nil without a store for it
	fw          firmware
	wipe        sanitizing
	closed      bool
}

// NewSubsystem returns a subsystem with the static namespaces, and those in the
// pool. It takes the stores over, also when it fails.
func NewSubsystem(o SubsystemOptions) (*Subsystem, error) {
	s := &Subsystem{o: o}
	err := s.o.check()
	if err == nil {
		err = s.populate()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.fw.reset(s.o.Firmware)
	return s, nil
}

func (s *Subsystem) populate() error {
	s.o.Namespaces = slices.Clone(s.o.Namespaces)
	s.spaces = make([]*namespace, s.o.MaxNamespaces+1)
	for i := range s.o.Namespaces {
		n := &s.o.Namespaces[i]
		if n.Store == nil {
			return fmt.Errorf("NVMe namespace %d has no store", i+1)
		}
		if n.NSID == 0 {
			n.NSID = s.freeID()
		}
		if n.NSID == 0 || n.NSID > uint32(s.o.MaxNamespaces) || s.spaces[n.NSID] != nil {
			return fmt.Errorf("NVMe namespace identifier %d: must be unique and 1 to %d", n.NSID, s.o.MaxNamespaces)
		}
		ns, err := s.staticSpace(n)
		if err != nil {
			return err
		}
		s.spaces[n.NSID] = ns
	}
	if s.o.Pool == nil {
		return nil
	}
	p, err := openPool(s.o.Pool)
	if err != nil {
		return err
	}
	s.pool = p
	for i := range p.entries {
		e := &p.entries[i]
		if e.NSID == 0 || e.NSID > uint32(s.o.MaxNamespaces) || s.spaces[e.NSID] != nil {
			return fmt.Errorf("NVMe pool: namespace identifier %d is in use, or not 1 to %d; raise MaxNamespaces or renumber the static ones", e.NSID, s.o.MaxNamespaces)
		}
		ns, err := s.poolSpace(*e)
		if err != nil {
			return err
		}
		s.spaces[e.NSID] = ns
	}
	return nil
}

// freeID returns the lowest identifier that is not in use, or 0.
func (s *Subsystem) freeID() uint32 {
	for id := 1; id < len(s.spaces); id++ {
		if s.spaces[id] == nil {
			return uint32(id)
		}
	}
	return 0
}

// join makes d one of the controllers and attaches namespaces to it: those that
// are not detached, and shared or not attached elsewhere.
func (s *Subsystem) join(d *Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := 0
	for i < len(s.controllers) && s.controllers[i] != nil {
		i++
	}
	if i >= 0xfff0 || s.closed {
		return fmt.Errorf("the NVM subsystem takes no more controllers")
	}
	if i == len(s.controllers) {
		s.controllers = append(s.controllers, nil)
	}
	s.controllers[i] = d
	d.id = uint16(i)
	for _, ns := range s.spaces {
		if ns != nil && ns.automatic && (ns.shared || len(ns.attachedIDs) == 0) {
			ns.attachedIDs[d.id] = true
		}
	}
	s.refresh(d)
	return nil
}

// leave takes a controller out.
func (s *Subsystem) leave(d *Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int(d.id) < len(s.controllers) && s.controllers[d.id] == d {
		s.controllers[d.id] = nil
		for _, ns := range s.spaces {
			if ns != nil {
				delete(ns.attachedIDs, d.id)
			}
		}
		s.refresh(d)
	}
}

// refresh brings the controller's table of attached namespaces up to date. The
// caller holds mu.
func (s *Subsystem) refresh(d *Device) {
	l := make([]*namespace, len(s.spaces))
	for id, ns := range s.spaces {
		if ns != nil && ns.attachedIDs[d.id] {
			l[id] = ns
		}
	}
	d.spaces.Store(&l)
}

// space returns the namespace with an identifier, attached or not, or nil.
func (s *Subsystem) space(id uint32) *namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id < uint32(len(s.spaces)) {
		return s.spaces[id]
	}
	return nil
}

// all returns the namespaces in the order of their identifiers.
func (s *Subsystem) all() []*namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l []*namespace
	for _, ns := range s.spaces {
		if ns != nil {
			l = append(l, ns)
		}
	}
	return l
}

func (s *Subsystem) controllerIDs() []uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l []uint16
	for i, d := range s.controllers {
		if d != nil {
			l = append(l, uint16(i))
		}
	}
	return l
}

func (s *Subsystem) attachedTo(ns *namespace) []uint16 {
	var l []uint16
	for _, id := range s.controllerIDs() {
		s.mu.Lock()
		on := ns.attachedIDs[id]
		s.mu.Unlock()
		if on {
			l = append(l, id)
		}
	}
	return l
}

// each calls f for all controllers, with no lock held.
func (s *Subsystem) each(f func(d *Device)) {
	s.mu.Lock()
	l := append([]*Device(nil), s.controllers...)
	s.mu.Unlock()
	for _, d := range l {
		if d != nil {
			f(d)
		}
	}
}

// changed tells controllers that a namespace's attributes or attachment changed.
// except, if not nil, is left out: the one whose command did it.
func (s *Subsystem) changed(id uint32, except *Device) {
	s.each(func(d *Device) {
		if d == except {
			return
		}
		d.mu.Lock()
		d.changed.add(id)
		d.events.add(d, eventNotice, eventNamespaces, logChanged)
		d.mu.Unlock()
	})
}

// capacity returns the bytes of all namespaces and the pool, and those that are free.
func (s *Subsystem) capacity() (total, free uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ns := range s.spaces {
		if ns != nil && ns.entry == nil {
			total += uint64(ns.bytes)
		}
	}
	if s.pool != nil {
		total += uint64(s.pool.size)
		free = uint64(s.pool.free())
	}
	return total, free
}

// reset is an NVM subsystem reset.
func (s *Subsystem) reset() { s.each((*Device).subsystemReset) }

func (s *Subsystem) allReadOnly() bool {
	l := s.all()
	for _, ns := range l {
		if !ns.store.ReadOnly() {
			return false
		}
	}
	return len(l) > 0
}

// flushAll makes everything durable.
func (s *Subsystem) flushAll() error {
	var errs []error
	for _, ns := range s.all() {
		errs = append(errs, ns.flush())
	}
	return errors.Join(errs...)
}

// powerLoss passes a failure of power on to the stores.
func (s *Subsystem) powerLoss() error {
	var errs []error
	for _, ns := range s.all() {
		if l, ok := ns.store.(devices.PowerLoser); ok && ns.entry == nil {
			errs = append(errs, l.PowerLoss())
		}
		if ns.protect.Load() == protectUntilPower {
			ns.protect.Store(protectNone)
		}
	}
	if l, ok := s.o.Pool.(devices.PowerLoser); ok {
		errs = append(errs, l.PowerLoss())
	}
	return errors.Join(errs...)
}

// Resized takes over the size that the store of a static namespace has got, and
// tells the guest. Zoned namespaces and those of the pool keep theirs.
func (s *Subsystem) Resized(nsid uint32) error {
	ns := s.space(nsid)
	if ns == nil || ns.entry != nil || ns.zones != nil {
		return fmt.Errorf("NVMe namespace %d cannot change its size: it is not a static one without zones", nsid)
	}
	ns.guard.Lock()
	s.mu.Lock()
	ns.bytes = ns.store.Size()
	s.mu.Unlock()
	ns.setFormat(ns.geometry().lbaf)
	ns.guard.Unlock()
	s.changed(nsid, nil)
	return nil
}

// Close closes the stores. Controllers are closed before.
func (s *Subsystem) Close() error {
	s.wipe.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, ns := range s.spaces {
		if ns != nil && ns.zones != nil {
			errs = append(errs, ns.zones.persist(ns))
		}
	}
	errs = append(errs, s.o.closeStores())
	return errors.Join(errs...)
}
