package scsi

// Mode pages (SPC-4, 7.5; SBC-3, 6.4).

const (
	pageCaching = 0x08
	pageControl = 0x0a
	pageAll     = 0x3f
	bitWCE      = 4
)

// modePage is a page as it is now, or the bits of it that can be changed.
func (u *unit) modePage(code uint8, changeable bool) []byte {
	switch code {
	case pageCaching:
		b := make([]byte, 20)
		b[0], b[1] = pageCaching, byte(len(b)-2)
		u.mu.Lock()
		if changeable || !u.through {
			b[2] = bitWCE
		}
		u.mu.Unlock()
		return b
	case pageControl:
		b := make([]byte, 12)
		b[0], b[1] = pageControl, byte(len(b)-2)
		if !changeable {
			b[3] = 0x10 // QAM: commands are carried out in any order
		}
		return b
	}
	return nil
}

func modeSense(t *task) result {
	c, u := &t.cmd, t.unit
	long := c.code == opModeSense10
	which, code := c.cdb[2]>>6, c.cdb[2]&0x3f
	if c.cdb[3] != 0 && c.cdb[3] != 0xff || c.cdb[3] == 0xff && code != pageAll {
		return check(senseField) // there are no subpages
	}
	if which == 3 {
		return check(senseNoSaving)
	}
	var pages []byte
	if code == pageAll {
		pages = append(u.modePage(pageCaching, which == 1), u.modePage(pageControl, which == 1)...)
	} else if pages = u.modePage(code, which == 1); pages == nil {
		return check(senseField)
	}
	if which == 2 && pages[0] == pageCaching {
		pages[2] = bitWCE // the default
	}
	flags := byte(0x10) // DPOFUA
	if u.store.ReadOnly() {
		flags |= 0x80
	}
	var desc []byte
	if c.cdb[1]&8 == 0 {
		desc = make([]byte, 8)
		be.PutUint32(desc, uint32(min(u.blocks.Load(), 0xffffffff)))
		be.PutUint32(desc[4:], uint32(u.o.BlockSize)) // 3 bytes; above is reserved
	}
	var b []byte
	if long {
		b = make([]byte, 8)
		b[3], b[7] = flags, byte(len(desc))
	} else {
		b = []byte{0, 0, flags, byte(len(desc))}
	}
	b = append(append(b, desc...), pages...)
	if long {
		be.PutUint16(b, uint16(len(b)-2))
	} else {
		b[0] = byte(len(b) - 1)
	}
	return t.give(b, c.length)
}

// modeSelect changes the only thing that can be: whether writes are cached.
func modeSelect(t *task) result {
	c, u := &t.cmd, t.unit
	if c.cdb[1]&1 != 0 || c.cdb[1]&0x10 == 0 {
		return check(senseField) // nothing is saved; pages must have the standard format
	}
	if c.length == 0 {
		return good(0)
	}
	p, r := t.list(c.length)
	if r != nil {
		return *r
	}
	head, desc := 4, 0
	if c.code == opModeSelect10 {
		head = 8
	}
	if len(p) < head {
		return check(senseListLength)
	}
	if desc = int(p[head-1]); c.code == opModeSelect10 {
		desc = int(be.Uint16(p[6:]))
	}
	if desc > len(p)-head {
		return check(senseListLength)
	}
	if desc != 0 && (desc != 8 || be.Uint32(p[head+4:])&0xffffff != uint32(u.o.BlockSize)) {
		return check(senseParameter)
	}
	through, given := false, false
	for p = p[head+desc:]; len(p) > 0; {
		if len(p) < 2 || int(p[1])+2 > len(p) {
			return check(senseListLength)
		}
		page := p[:int(p[1])+2]
		p = p[len(page):]
		now, can := u.modePage(page[0]&0x3f, false), u.modePage(page[0]&0x3f, true)
		if page[0]&0x40 != 0 || len(now) != len(page) {
			return check(senseParameter)
		}
		for i := 2; i < len(page); i++ {
			if (page[i]^now[i])&^can[i] != 0 {
				return check(senseParameter)
			}
		}
		if page[0]&0x3f == pageCaching {
			through, given = page[2]&bitWCE == 0, true
		}
	}
	if !given {
		return good(c.length)
	}
	if through {
		// What was written before counts as durable from now on.
		if err := u.store.Flush(); err != nil {
			return check(senseWriteError)
		}
	}
	u.mu.Lock()
	u.through = through
	u.mu.Unlock()
	return good(c.length)
}
