package machine

import (
	"fmt"

	"dfemu/devices/watch"
)

// act carries out what a fault does to a device or to the machine. It is told whether that was possible: a fault that does not
// happen must not look like a driver that survives it.
func (c *Control) act(a watch.Act) {
	unit := c.m.pc.unitOf(&a)
	var err error
	switch a.Kind {
	case watch.LinkDown:
		if err = c.SetLink(unit, false); err == nil && a.For > 0 {
			up := c.m.clock.NewTimer(func() { c.told(&a, "link up", c.SetLink(unit, true)) })
			up.Set(c.m.clock.Now() + a.For)
		}
		c.told(&a, "link down", err)
	case watch.LinkUp:
		c.told(&a, "link up", c.SetLink(unit, true))
	case watch.Remove:
		c.told(&a, unit+" is taken away", c.Unplug(unit, true))
	case watch.PowerLoss:
		c.told(&a, "the power fails", nil)
		if err := c.PowerLoss(); err != nil {
			c.told(&a, "", err)
		}
	}
}

// told tells what a fault has done, or why it has not.
func (c *Control) told(a *watch.Act, what string, err error) {
	tell := c.m.cfg.Watch.Told
	switch {
	case tell == nil:
	case err != nil:
		tell(fmt.Sprintf("fault %s: %v", a.Rule, err))
	default:
		tell(fmt.Sprintf("fault %s: %s", a.Rule, what))
	}
}

// unitOf returns the name of what an act is about: for a command to a drive behind an adapter, the drive's.
func (p *pc) unitOf(a *watch.Act) string {
	if a.Command == nil {
		return a.Device
	}
	at := p.findPlace(func(s *sataPort) bool {
		return s.a.Name() == a.Device && s.port == a.Command.Queue && (s.m == nil || s.fan == int(a.Command.NSID))
	})
	switch {
	case at == nil:
	case a.Kind == watch.Remove:
		return at.name()
	default:
		return at.cable()
	}
	if h := p.scsiHost(); h != nil && h.Name() == a.Device {
		return fmt.Sprintf("%s.%d.%d", a.Device, a.Command.NSID&0xff, a.Command.NSID>>8)
	}
	return a.Device
}
