package machine

import (
	"errors"
	"fmt"
	"strconv"

	"dfemu/devices/virtio/vsock"
)

// Vsock connects programs of the guest and of the host: see package vsock.
type Vsock struct {
	CID  uint32 // the guest's address, 3 or more
	Path string // of the host's Unix socket
}

// ParseVsock reads cid=N,path=SOCKET. A comma in the path is written twice.
func ParseVsock(s string) (Vsock, error) {
	_, settings, err := splitSettings("," + s)
	if err != nil {
		return Vsock{}, err
	}
	var v Vsock
	for _, x := range settings {
		switch x.key {
		case "cid":
			n, err := strconv.ParseUint(x.value, 0, 32)
			if err != nil || n < 3 || n == 1<<32-1 {
				return Vsock{}, fmt.Errorf("%s: must be a number from 3 to %d", x.text, uint32(1<<32-2))
			}
			v.CID = uint32(n)
		case "path":
			v.Path = x.value
		default:
			return Vsock{}, fmt.Errorf("%s: must be cid=N or path=SOCKET", x.text)
		}
	}
	if v.CID == 0 || v.Path == "" {
		return Vsock{}, errors.New("must be cid=N,path=SOCKET")
	}
	return v, nil
}

// vsock makes the socket device.
func (p *pc) vsock() error {
	o := p.m.cfg.Vsock
	if o == nil {
		return nil
	}
	d, err := vsock.New(vsock.Options{Name: "virtio-vsock0", CID: o.CID, Path: o.Path, Clock: p.m.clock, Broken: p.broken})
	if err != nil {
		return &FileError{"vsock", o.Path, err}
	}
	p.add(d)
	return p.plug(d.Function())
}
