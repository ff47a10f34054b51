package nvme_test

import (
	"bytes"
	"strings"
	"testing"

	"dfemu/devices/nvme"
)

func TestTable(t *testing.T) {
	if err := nvme.Bank().Check(); err != nil {
		t.Error(err)
	}
}

// TestBoot goes through what a driver does first.
func TestBoot(t *testing.T) {
	for _, mode := range []string{"msix", "msi", "intx"} {
		t.Run(mode, func(t *testing.T) {
			d := newDriver(t, nvme.Options{Queues: 7})
			d.program(mode)
			if v := d.get(rVS, 4); v != 0x20000 {
				t.Errorf("VS is %#x", v)
			}
			capability := d.get(rCAP, 4) | d.get(rCAP+4, 4)<<32
			if capability != d.get(rCAP, 8) || capability&0xffff != 1023 || capability>>37&1 != 1 || capability>>24&0xff == 0 {
				t.Errorf("CAP is %#x", capability)
			}
			d.start(16)
			id := d.identify(1, 0, 0)
			if got := strings.TrimSpace(string(id[4:24])); got != "dfemu" {
				t.Errorf("serial number %q", got)
			}
			if r := d.admin(sqe{op: 9, dw: [6]uint32{7, 3 | 3<<16}}); r.dw0 != 6|6<<16 {
				t.Errorf("Number of Queues gives %#x", r.dw0)
			}
			p := d.queue(1, 16)
			want := pattern(8192, 1)
			for i := range uint64(40) { // the queues wrap
				p.write(i*16, want, 512)
				if !bytes.Equal(p.read(i*16, 16, 512), want) {
					t.Fatal("read differs")
				}
			}
			switch mode {
			case "msix":
				if d.messages(1) == 0 || d.messages(0) == 0 {
					t.Error("no messages")
				}
			case "intx":
				if d.pin.Rises() == 0 || d.pin.Level() {
					t.Errorf("pin rose %d times, is %v", d.pin.Rises(), d.pin.Level())
				}
			}
			d.stop()
			p = d.boot()
			if !bytes.Equal(p.read(0, 16, 512), want) {
				t.Error("content is gone after a reset")
			}
		})
	}
}
