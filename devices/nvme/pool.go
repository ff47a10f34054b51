package nvme

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"sort"

	"dfemu/devices"
)

// The pool's table is at its start: a magic number, the length and the CRC-32 of
// what follows, and the entries as JSON.
const (
	poolTable = 64 << 10
	poolGrain = 64 << 10
	poolMagic = "dfemuNVP"
	poolHead  = 16
)

// A poolEntry is one namespace in the pool.
type poolEntry struct {
	NSID   uint32
	Offset int64 // bytes
	Bytes  int64
	LBAF   uint8
	CSI    uint8
	Shared bool
	EUI64  uint64
	Zones  *zoneLayout `json:",omitempty"`
}

// end is where the next namespace may begin.
func (e *poolEntry) end() int64 { return (e.Offset + e.Bytes + poolGrain - 1) / poolGrain * poolGrain }

// A pool is a store that namespaces are carved out of, guarded by Subsystem.mu.
type pool struct {
	store   devices.Block
	size    int64 // bytes for namespaces
	entries []poolEntry
}

// openPool reads the table.
func openPool(b devices.Block) (*pool, error) {
	p := &pool{store: b, size: (b.Size() - poolTable) / poolGrain * poolGrain}
	if p.size <= 0 {
		return nil, fmt.Errorf("NVMe pool of %d bytes: must be at least %d", b.Size(), poolTable+poolGrain)
	}
	t := make([]byte, poolTable)
	if _, err := b.ReadAt(t, 0); err != nil {
		return nil, fmt.Errorf("NVMe pool: read its table: %w", err)
	}
	if bytes.Count(t, []byte{0}) == len(t) {
		return p, nil
	}
	n := le.Uint32(t[8:])
	if string(t[:8]) != poolMagic || n > poolTable-poolHead {
		return nil, fmt.Errorf("NVMe pool: it holds something else, its first bytes are %q; give it zeroes to start afresh", t[:8])
	}
	body := t[poolHead : poolHead+n]
	if crc32.ChecksumIEEE(body) != le.Uint32(t[12:]) {
		return nil, fmt.Errorf("NVMe pool: its table at offset %d is damaged: wrong checksum", poolHead)
	}
	if err := json.Unmarshal(body, &p.entries); err != nil {
		return nil, fmt.Errorf("NVMe pool: its table at offset %d is damaged: %w", poolHead, err)
	}
	for i := range p.entries {
		e := &p.entries[i]
		if e.Offset < 0 || e.Bytes <= 0 || e.Offset > p.size || e.Bytes > p.size-e.Offset || int(e.LBAF) >= len(shifts) ||
			e.CSI != csiNVM && e.CSI != csiZoned || (e.CSI == csiZoned) != (e.Zones != nil) {
			return nil, fmt.Errorf("NVMe pool: entry %d of its table makes no sense: %+v", i, *e)
		}
	}
	p.sort()
	for i := 1; i < len(p.entries); i++ {
		if a := &p.entries[i-1]; a.Offset+a.Bytes > p.entries[i].Offset {
			return nil, fmt.Errorf("NVMe pool: namespaces %d and %d overlap", a.NSID, p.entries[i].NSID)
		}
	}
	return p, nil
}

func (p *pool) sort() {
	sort.Slice(p.entries, func(i, j int) bool { return p.entries[i].Offset < p.entries[j].Offset })
}

// free is the bytes not in use.
func (p *pool) free() int64 {
	n := p.size
	for i := range p.entries {
		n -= p.entries[i].end() - p.entries[i].Offset
	}
	return n
}

// find returns the offset of n free bytes in one piece.
func (p *pool) find(n int64) (int64, bool) {
	at := int64(0)
	for i := range p.entries {
		if p.entries[i].Offset-at >= n {
			return at, true
		}
		at = p.entries[i].end()
	}
	return at, p.size-at >= n
}

// save writes the table.
func (p *pool) save() error {
	body, err := json.Marshal(p.entries)
	if err != nil {
		return err
	}
	if len(body) > poolTable-poolHead {
		return fmt.Errorf("NVMe pool: its table is full")
	}
	t := make([]byte, poolTable)
	copy(t, poolMagic)
	le.PutUint32(t[8:], uint32(len(body)))
	le.PutUint32(t[12:], crc32.ChecksumIEEE(body))
	copy(t[poolHead:], body)
	if _, err := p.store.WriteAt(t, 0); err != nil {
		return err
	}
	return p.store.Flush()
}

// add enters a namespace; on failure nothing has changed.
func (p *pool) add(e poolEntry) error {
	old := p.entries
	p.entries = append(append([]poolEntry(nil), old...), e)
	p.sort()
	if err := p.save(); err != nil {
		p.entries = old
		return err
	}
	return nil
}

// remove takes a namespace out.
func (p *pool) remove(id uint32) error {
	old := p.entries
	p.entries = nil
	for _, e := range old {
		if e.NSID != id {
			p.entries = append(p.entries, e)
		}
	}
	if err := p.save(); err != nil {
		p.entries = old
		return err
	}
	return nil
}

// setFormat records another LBA format.
func (p *pool) setFormat(id uint32, lbaf uint8) error {
	for i := range p.entries {
		if p.entries[i].NSID == id {
			p.entries[i].LBAF = lbaf
		}
	}
	return p.save()
}

// poolSpace makes the namespace of an entry.
func (s *Subsystem) poolSpace(e poolEntry) (*namespace, error) {
	ns := &namespace{
		sub: s, id: e.NSID, csi: e.CSI, shared: e.Shared, store: s.o.Pool, base: poolTable + e.Offset, bytes: e.Bytes,
		entry: &e, eui: e.EUI64, automatic: true,
	}
	if e.Zones != nil {
		if err := ns.makeZones(*e.Zones, e.LBAF); err != nil {
			return nil, err
		}
	}
	return ns, ns.prepare(e.LBAF)
}
