package pci

import "dfemu/devices"

// A Part is one region inside a larger one.
type Part struct {
	Off, Size uint64
	Region    devices.Region
}

// A Layout is a region made of parts, as a BAR that holds several structures.
// Between the parts nothing answers.
type Layout []Part

func (l Layout) find(off uint64, size int) (*Part, error) {
	for i := range l {
		p := &l[i]
		if off >= p.Off && off-p.Off < p.Size {
			if p.Size-(off-p.Off) < uint64(size) {
				return nil, devices.ErrAlign
			}
			return p, nil
		}
	}
	return nil, devices.ErrNoRegister
}

// Read implements devices.Region.
func (l Layout) Read(off uint64, size int) (uint64, error) {
	p, err := l.find(off, size)
	if err != nil {
		return 0, err
	}
	return p.Region.Read(off-p.Off, size)
}

// Write implements devices.Region.
func (l Layout) Write(off uint64, size int, v uint64) error {
	p, err := l.find(off, size)
	if err != nil {
		return err
	}
	return p.Region.Write(off-p.Off, size, v)
}
