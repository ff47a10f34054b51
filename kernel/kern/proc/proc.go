package proc

import (
	"errors"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
)

// Limits.
const (
	MaxPID = 999_999
	// FirstPID is the lowest id that is given again.
	FirstPID = 100
	// Delay is how long an id is not given again, at least.
	Delay = 10 * time.Second

	buckets = 256
	// domains is the number of slots that remember when one of their ids went: nearly each id has its own.
	domains = MaxPID / buckets * buckets
)

// Errors.
var (
	ErrNoID       = errors.New("all process ids are in use, or were lately") // EAGAIN
	ErrNoProcess  = errors.New("no such process")                            // ESRCH
	ErrPermission = errors.New("the process may not do that")                // EPERM
)

// Process is a process, as far as ids matter.
type Process struct {
	link  link[Process]
	group *Group // under the token of the process's bucket
	gone  bool
}

// Group is a process group. It exists as long as it has members.
type Group struct {
	link    link[Group]
	session *Session
	members int
}

// Session is a session. It exists as long as it has groups.
type Session struct {
	link   link[Session]
	groups int
}

func (p *Process) hook() *link[Process] { return &p.link }
func (g *Group) hook() *link[Group]     { return &g.link }
func (s *Session) hook() *link[Session] { return &s.link }

// PID is the process's id.
func (p *Process) PID() int { return int(p.link.id) }

// Table is all processes. Its methods are called by kernel threads, as they take tokens.
type Table struct {
	k       *kern.Kernel
	hint    atomic.Uint64
	buckets [buckets]bucket
	// went is when an id of a domain went, a byte each: the time modulo 255 s, plus one; 0 for never. After 255 s it looks for a while as if that had been just now, which
	// does no harm.
	went [domains / 4]atomic.Uint32
}

type bucket struct {
	token    kern.Token
	procs    chains[Process, *Process]
	groups   chains[Group, *Group]
	sessions chains[Session, *Session]
}

// New returns a table without processes.
func New(k *kern.Kernel) *Table {
	t := &Table{k: k}
	for i := range t.buckets {
		t.buckets[i].token.Name = "proc"
	}
	return t
}

// lock takes the token of an id's bucket, which has room for one more of each kind.
func (t *Table) lock(id int32, mode kern.TokenMode) *bucket {
	b := &t.buckets[id%buckets]
	t.k.GetToken(&b.token, mode)
	for mode == kern.Exclusive {
		p, g, s := b.procs.wants(), b.groups.wants(), b.sessions.wants()
		if p == 0 && g == 0 && s == 0 {
			break
		}
		// Not with the token: it may be lost meanwhile, at a moment that nobody has chosen.
		t.k.ReleaseToken(&b.token)
		ps, gs, ss := make([]*Process, p), make([]*Group, g), make([]*Session, s)
		t.k.GetToken(&b.token, mode)
		b.procs.grow(ps)
		b.groups.grow(gs)
		b.sessions.grow(ss)
	}
	return b
}

func (t *Table) unlock(b *bucket) { t.k.ReleaseToken(&b.token) }

// second is the present time as it is kept in went.
func (t *Table) second() uint32 { return uint32(t.k.Now()/time.Second%255) + 1 }

// goes notes that an id goes now.
func (t *Table) goes(id int32) {
	w, shift := &t.went[id%domains/4], id%4*8
	for now := t.second(); ; {
		v := w.Load()
		if w.CompareAndSwap(v, v&^(0xff<<shift)|now<<shift) {
			return
		}
	}
}

// lately tells whether an id, or the other of its domain, went a short time ago.
func (t *Table) lately(id int32) bool {
	v := t.went[id%domains/4].Load() >> (id % 4 * 8) & 0xff
	return v != 0 && (t.second()+255-v)%255 <= uint32(Delay/time.Second)
}

// free tells whether an id can be given; its bucket is locked.
func (t *Table) free(b *bucket, id int32) bool {
	return !t.lately(id) && b.procs.find(id) == nil && b.groups.find(id) == nil && b.sessions.find(id) == nil
}

// next is where the search for an id starts: one after the other, in the second round and later from FirstPID on.
func (t *Table) next() int32 {
	n := t.hint.Add(1)
	if n <= MaxPID {
		return int32(n)
	}
	return FirstPID + int32((n-MaxPID-1)%(MaxPID+1-FirstPID))
}

// New makes a process with an id of its own. It is in its parent's group; without a parent it is in none.
func (t *Table) New(parent *Process) (*Process, error) {
	p := &Process{}
	if parent != nil {
		if err := t.join(p, parent); err != nil {
			return nil, err
		}
	}
	for range buckets {
		id := t.next()
		b := t.lock(id, kern.Exclusive)
		for range MaxPID/buckets + 1 {
			if t.free(b, id) {
				p.link.id = id
				b.procs.add(p)
				t.unlock(b)
				return p, nil
			}
			if id += buckets; id > MaxPID {
				for id %= buckets; id < FirstPID; id += buckets {
				}
			}
		}
		t.unlock(b)
	}
	if p.group != nil {
		t.leave(p.group)
	}
	return nil, ErrNoID
}

// join makes p, which nobody else knows yet, a member of its parent's group.
func (t *Table) join(p, parent *Process) error {
	b := t.lock(parent.link.id, kern.Exclusive)
	defer t.unlock(b)
	for !parent.gone {
		g := parent.group
		if g == nil {
			return nil
		}
		gb := t.lock(g.link.id, kern.Exclusive) // who waits for a token has lost the others meanwhile
		same := parent.group == g
		if same {
			g.members++
			p.group = g
		}
		t.unlock(gb)
		if same {
			return nil
		}
	}
	return ErrNoProcess
}

// Find returns the process with an id, or nil.
func (t *Table) Find(pid int) *Process {
	if pid < 1 || pid > MaxPID {
		return nil
	}
	b := t.lock(int32(pid), kern.Shared)
	defer t.unlock(b)
	return b.procs.find(int32(pid))
}

// Reap takes a process out, and its group and session if it was their last.
func (t *Table) Reap(p *Process) error {
	b := t.lock(p.link.id, kern.Exclusive)
	if p.gone {
		t.unlock(b)
		return ErrNoProcess
	}
	p.gone = true
	b.procs.remove(p)
	t.goes(p.link.id)
	g := p.group
	p.group = nil
	t.unlock(b)
	if g != nil {
		t.leave(g)
	}
	return nil
}

// leave takes a member out of a group.
func (t *Table) leave(g *Group) {
	b := t.lock(g.link.id, kern.Exclusive)
	g.members--
	s := g.session
	last := g.members == 0
	if last {
		b.groups.remove(g)
		t.goes(g.link.id)
	}
	t.unlock(b)
	if !last {
		return
	}
	b = t.lock(s.link.id, kern.Exclusive)
	if s.groups--; s.groups == 0 {
		b.sessions.remove(s)
		t.goes(s.link.id)
	}
	t.unlock(b)
}

// Group returns the ids of the process's group and session, 0 if it has none.
func (t *Table) Group(p *Process) (group, session int) {
	b := t.lock(p.link.id, kern.Shared)
	defer t.unlock(b)
	if p.group == nil {
		return 0, 0
	}
	return int(p.group.link.id), int(p.group.session.link.id)
}

// NewSession makes the process the leader of a session and of a group, which have its id (setsid). It must not lead a group.
func (t *Table) NewSession(p *Process) error {
	s, g := &Session{groups: 1}, &Group{members: 1}
	s.link.id, g.link.id, g.session = p.link.id, p.link.id, s
	b := t.lock(p.link.id, kern.Exclusive)
	if err := canLead(b, p); err != nil {
		t.unlock(b)
		return err
	}
	old := p.group
	b.sessions.add(s)
	b.groups.add(g)
	p.group = g
	t.unlock(b)
	if old != nil {
		t.leave(old)
	}
	return nil
}

// canLead tells whether a process may have a session with its id; its bucket is locked.
func canLead(b *bucket, p *Process) error {
	switch {
	case p.gone:
		return ErrNoProcess
	case b.groups.find(p.link.id) != nil || b.sessions.find(p.link.id) != nil:
		return ErrPermission
	}
	return nil
}

// SetGroup moves the process to a group of its session, or, for id 0 or its own, to one that it leads (setpgid). The leader of a session stays where it is.
func (t *Table) SetGroup(p *Process, id int) error {
	if id == 0 {
		id = p.PID()
	}
	if id < 1 || id > MaxPID {
		return ErrPermission
	}
	fresh := &Group{}
	fresh.link.id = int32(id)
	b := t.lock(p.link.id, kern.Exclusive)
	gb := t.lock(fresh.link.id, kern.Exclusive)
	old := p.group
	for old != nil {
		sb := t.lock(old.session.link.id, kern.Exclusive)
		if p.group == old { // who waits for a token has lost the others meanwhile
			err := t.move(p, gb, fresh)
			t.unlock(sb)
			t.unlock(gb)
			t.unlock(b)
			if err == nil {
				t.leave(old)
			}
			return err
		}
		t.unlock(sb)
		old = p.group
	}
	gone := p.gone
	t.unlock(gb)
	t.unlock(b)
	if gone {
		return ErrNoProcess
	}
	return ErrPermission
}

// move makes the process a member of the group that has fresh's id in gb, or of fresh. The buckets of all three are locked.
func (t *Table) move(p *Process, gb *bucket, fresh *Group) error {
	s := p.group.session
	g := gb.groups.find(fresh.link.id)
	switch {
	case s.link.id == p.link.id, g == nil && fresh.link.id != p.link.id, g != nil && g.session != s:
		return ErrPermission
	case g == nil:
		g = fresh
		g.session = s
		s.groups++
		gb.groups.add(g)
	}
	g.members++ // also if it is the one that p is in, which p leaves afterwards
	p.group = g
	return nil
}
