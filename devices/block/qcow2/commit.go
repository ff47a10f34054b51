package qcow2

import "slices"

// A commit writes the metadata that changed since the last one, in phases with
// a sync after each, so that whatever a crash leaves is consistent:
//
//  0. refcount blocks and a refcount table that nothing points at yet, then, if
//     the table moved, the header that points at it;
//  1. changes of refcounts, L2 tables that nothing points at yet, and with the
//     same sync the data that was written;
//  2. changes of L2 tables, and the L1 entries of the new ones;
//
// and only then gives up clusters that are no longer pointed at.
type commitJob struct {
	phase  [3][]piece
	header []byte // new refcount_table_offset and _clusters, or nil
	was    run    // where the refcount table was, if header
	blocks []savedBlock
	table  pages // of the refcount table
	tables []savedTable
	l1     pages
	frees  []run
	sync   bool // something was written before
}

// piece is content for a place in the file.
type piece struct {
	off int64
	p   []byte
}

type savedBlock struct {
	b     *refBlock
	dirty pages
	fresh bool
}

type savedTable struct {
	t     *l2Table
	dirty pages
	fresh bool
}

// commit makes everything written before the call durable. With refs, also
// refcounts that are otherwise written when the image is closed.
func (im *Image) commit(refs bool) error {
	want := im.started.Load() + 1
	im.commitMu.Lock()
	defer im.commitMu.Unlock()
	if im.covered >= want && !refs {
		return nil // one that began after the call did the work
	}
	im.mu.Lock()
	n := im.started.Add(1)
	job, err := im.collect(refs || !im.lazy())
	if err != nil {
		im.mu.Unlock()
		return err
	}
	im.mu.Unlock()
	err = im.apply(job)
	im.mu.Lock()
	for _, s := range job.tables {
		s.t.writing = false
	}
	if err != nil {
		im.restore(job)
		im.mu.Unlock()
		return err
	}
	if job.header != nil {
		job.frees = append(job.frees, job.was)
	}
	retired := im.retire(job.frees)
	im.evict()
	im.mu.Unlock()
	im.covered = n
	im.retired = append(im.retired, retired...)
	im.reclaim()
	return nil
}

// collect takes the changes out of the tables. mu is held.
func (im *Image) collect(refs bool) (*commitJob, error) {
	j := &commitJob{frees: im.frees}
	if im.eof > im.length {
		// Under the lock, because nothing may be written behind the new end
		// before the file has it.
		size, err := im.f.Size()
		if err == nil && size < im.eof {
			err = im.f.Truncate(im.eof)
		}
		if err != nil {
			return nil, err
		}
		im.length = im.eof
		j.sync = true
	}
	im.frees = nil
	j.sync = im.unsynced.Swap(false) || j.sync
	if refs {
		im.collectRefs(j)
	}
	for _, i := range im.resident {
		t := im.l2[i]
		if !t.dirty.any && !t.fresh {
			continue
		}
		s := savedTable{t, t.dirty.take(), t.fresh}
		if t.fresh {
			j.add(1, t.host, encodeTable(t.e, 0, im.geo.clusterSize))
		} else {
			s.dirty.each(im.geo.clusterSize, func(from, to int64) {
				j.add(2, t.host+from, encodeTable(t.e, from, to))
			})
		}
		t.fresh, t.writing = false, true
		j.tables = append(j.tables, s)
	}
	j.l1 = im.l1Dirty.take()
	j.l1.each(int64(len(im.l1))*8, func(from, to int64) {
		j.add(2, int64(im.h.L1TableOffset)+from, encodeTable(im.l1, from, to))
	})
	return j, nil
}

func (im *Image) collectRefs(j *commitJob) {
	r := &im.refs
	for _, b := range r.blocks {
		if b == nil || !b.dirty.any && !b.fresh {
			continue
		}
		s := savedBlock{b, b.dirty.take(), b.fresh}
		if b.fresh {
			j.add(0, b.host, slices.Clone(b.data))
		} else {
			s.dirty.each(im.geo.clusterSize, func(from, to int64) {
				j.add(1, b.host+from, slices.Clone(b.data[from:to]))
			})
		}
		b.fresh = false
		j.blocks = append(j.blocks, s)
	}
	j.table = r.dirty.take()
	at, n := int64(im.h.RefcountTableOffset), int64(len(r.table))*8
	if r.moved {
		j.add(0, at, encodeTable(r.table, 0, n))
		j.header = be.AppendUint64(nil, uint64(at))
		j.header = be.AppendUint32(j.header, im.h.RefcountTableClusters)
		j.was, r.moved = r.old, false
		return
	}
	j.table.each(n, func(from, to int64) { j.add(1, at+from, encodeTable(r.table, from, to)) })
}

func (j *commitJob) add(phase int, off int64, p []byte) {
	j.phase[phase] = append(j.phase[phase], piece{off, p})
}

// apply writes a job's changes.
func (im *Image) apply(j *commitJob) error {
	write := func(phase int) error {
		for _, w := range j.phase[phase] {
			if _, err := im.f.WriteAt(w.p, w.off); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write(0); err != nil {
		return err
	}
	if len(j.phase[0]) > 0 {
		if err := im.sync(); err != nil {
			return err
		}
	}
	if j.header != nil {
		if _, err := im.f.WriteAt(j.header, offRefcount); err != nil {
			return err
		}
		if err := im.sync(); err != nil {
			return err
		}
	}
	if err := write(1); err != nil {
		return err
	}
	if j.sync || len(j.phase[1]) > 0 {
		if err := im.sync(); err != nil {
			return err
		}
	}
	if len(j.phase[2]) == 0 {
		return nil
	}
	if err := write(2); err != nil {
		return err
	}
	return im.sync()
}

// restore puts a job that failed back, to be tried again. mu is held.
func (im *Image) restore(j *commitJob) {
	for _, s := range j.blocks {
		s.b.dirty.merge(s.dirty)
		s.b.fresh = s.b.fresh || s.fresh
	}
	im.refs.dirty.merge(j.table)
	if j.header != nil {
		if im.refs.moved {
			im.frees = append(im.frees, im.refs.old)
		}
		im.refs.moved, im.refs.old = true, j.was
	}
	for _, s := range j.tables {
		s.t.dirty.merge(s.dirty)
		s.t.fresh = s.t.fresh || s.fresh
	}
	im.l1Dirty.merge(j.l1)
	im.frees = append(j.frees, im.frees...)
	im.unsynced.Store(true)
}

// retired are clusters without users that old requests may still read or write.
type retired struct {
	run
	epoch uint64
}

// retire takes a user from each of the clusters, and returns those that have
// none left. They are not allocated before reclaim is done with them. mu is
// held.
func (im *Image) retire(frees []run) []retired {
	var l []retired
	epoch := im.epochs.now.Load()
	for _, f := range frees {
		for c := f.c; c < f.c+f.n; c++ {
			left, err := im.refs.decrease(c)
			if err != nil {
				// What was asked for is durable; later changes will fail.
				_ = im.fail(err)
				return l
			}
			if left == 0 {
				im.refs.held[c] = struct{}{}
				l = append(l, retired{run{c, 1}, epoch})
			}
		}
	}
	return l
}

// reclaim makes clusters that no request can be using any more holes of the
// file, and free. commitMu is held.
func (im *Image) reclaim() {
	im.epochs.advance()
	im.epochs.advance()
	now := im.epochs.now.Load()
	n := 0
	for n < len(im.retired) && im.retired[n].epoch+2 <= now {
		n++
	}
	if n == 0 {
		return
	}
	ready := im.retired[:n]
	slices.SortFunc(ready, func(a, b retired) int { return int(a.c - b.c) })
	if !im.o.KeepFreed {
		for i := 0; i < n; {
			k := i + 1
			for k < n && ready[k].c == ready[k-1].c+1 {
				k++
			}
			// Without holes the room is used again all the same.
			_ = im.f.Punch(ready[i].c<<im.geo.clusterBits, int64(k-i)<<im.geo.clusterBits)
			i = k
		}
	}
	im.mu.Lock()
	for _, f := range ready {
		delete(im.refs.held, f.c)
		im.refs.hint = min(im.refs.hint, f.c)
	}
	im.mu.Unlock()
	im.retired = slices.Clone(im.retired[n:])
}
