package nvme

import "fmt"

// diagnosis is the controller's state in a few lines of text, for the telemetry logs.
func (d *Device) diagnosis() []byte {
	c := &d.counters
	s := fmt.Sprintf("CC %#x CSTS %#x\nreads %d writes %d\nerrors %d media errors %d\n",
		d.cc.Load(), d.csts.Load(), c.reads.Load(), c.writes.Load(), d.errorCount.Load(), c.mediaErrors.Load())
	for i := range d.sqs {
		if q := d.sqs[i].Load(); q != nil {
			s += fmt.Sprintf("SQ %d head %d tail %d of %d\n", i, q.head.Load(), q.tail.Load(), q.size)
		}
	}
	return []byte(s[:min(len(s), telemetryBlock)])
}
