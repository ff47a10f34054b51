package machine

// extras makes the devices that a machine has on demand only, besides disks, networks and consoles.
func (p *pc) extras() error {
	for _, f := range []func() error{p.shares, p.vsock, p.balloon} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}
